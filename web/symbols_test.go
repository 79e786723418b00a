package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mayday/app/config"
	"mayday/storage/catalog"
	"mayday/symbols/quality"
)

// keyOf makes a user with permissions and a token that carries the same.
func (i *instance) keyOf(email string, permissions ...catalog.Permission) string {
	i.t.Helper()
	if _, err := i.Catalog.AddUser(i.t.Context(), email, permissions); err != nil {
		i.t.Fatal(err)
	}
	key, err := i.Catalog.CreateToken(i.t.Context(), catalog.NewToken{User: email, Permissions: permissions})
	if err != nil {
		i.t.Fatal(err)
	}
	return key
}

const hostile = `<script>alert(1)</script>"'`

// symbolUpload records an upload of a user with one file, in words that try to
// become markup.
func (i *instance) symbolUpload(email string) (upload, file int64) {
	i.t.Helper()
	ctx := i.t.Context()
	who, err := i.Catalog.User(ctx, email)
	if err != nil {
		i.t.Fatal(err)
	}
	now := time.Now()
	u := catalog.SymbolUpload{UserID: who.ID, Email: email, Filename: "symbols of " + hostile + ".zip", Size: 12_345_678, Protocol: "v1", Skipped: []string{"c.so/1F/" + hostile}, Created: now}
	if u.ID, err = i.Catalog.AddSymbolUpload(ctx, u); err != nil {
		i.t.Fatal(err)
	}
	u.Completed = now
	files := []catalog.SymbolFile{{Key: "xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym", Size: 2345, TextSize: 1 << 20, Kind: "sym", DebugFile: "xul.pdb", Generator: hostile, Created: now, Completed: now,
		Quality: []quality.Fault{{Code: quality.NoCFI, Text: "nothing to unwind by " + hostile}}},
		{Key: "kite/6B697465/kite", Kind: "elf", CodeID: "6B697465", Convert: true, Created: now, Completed: now}}
	if err := i.Catalog.FinishSymbolUpload(ctx, u, files); err != nil {
		i.t.Fatal(err)
	}
	made := catalog.Conversion{CodeID: "6B697465", Upload: u.ID, Version: 1, State: catalog.ConversionFailed, Reason: "a unit of 0 bytes " + hostile}
	if err := i.Catalog.FinishConversion(ctx, made, nil); err != nil {
		i.t.Fatal(err)
	}
	return u.ID, files[0].ID
}

func TestSymbolPages(t *testing.T) {
	i := newInstance(t, config.Web{})
	ann := i.keyOf("ann@example.com", catalog.UploadSymbols)
	bob := i.keyOf("bob@example.com", catalog.UploadTrySymbols)
	boss := i.keyOf("boss@example.com", catalog.ViewAllUploads)
	reader := i.keyOf("reader@example.com", catalog.ViewPII)
	upload, file := i.symbolUpload("ann@example.com")
	one, single := fmt.Sprintf("/uploads/upload/%d", upload), fmt.Sprintf("/uploads/files/file/%d", file)
	for path, want := range map[string]map[string]int{ // who sees what
		"/uploads/":           {"": 403, ann: 200, bob: 200, boss: 200, reader: 403},
		one:                   {"": 403, ann: 200, bob: 403, boss: 200, reader: 403},
		"/uploads/files/":     {"": 403, ann: 403, bob: 403, boss: 200, reader: 403},
		single:                {"": 403, ann: 200, bob: 403, boss: 200, reader: 403},
		"/uploads/missing/":   {"": 200, ann: 200, bob: 200, boss: 200, reader: 200},
		"/tokens/":            {"": 403, ann: 403, bob: 403, boss: 403, reader: 403},
		"/uploads/upload":     {"": 403, ann: 200, bob: 200, boss: 403, reader: 403},
		"/uploads/upload/99":  {ann: 404},
		"/uploads/upload/x":   {ann: 404},
		"/uploads/?size=huge": {ann: 400, "": 403},
	} {
		for key, status := range want {
			p := i.page(path, key, status)
			if strings.Contains(p.text, "<script") {
				t.Errorf("%s: text became markup", path)
			}
		}
	}
	p := i.page("/uploads/", ann, 200)
	p.has("#uploads td a", "symbols of "+hostile+".zip")
	p.has("#uploads .badge.warn", "1 with faults")
	p.has("nav.tabs a[aria-current]", "Uploads")
	if rows := i.page("/uploads/", bob, 200).find("#uploads tbody a"); len(rows) != 0 {
		t.Errorf("somebody else's uploads are listed: %q", rows)
	}
	i.page("/uploads/?user=ann", boss, 200).has("#uploads tbody td", "ann@example.com")
	if rows := i.page("/uploads/?user=zoe", boss, 200).find("#uploads tbody a"); len(rows) != 0 {
		t.Errorf("the filter is not obeyed: %q", rows)
	}
	p = i.page(one, ann, 200)
	p.has("#files td.sig", "xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym")
	p.has("#files .badge.warn", "no-cfi")
	p.has("#skipped li", "c.so/1F/")
	p.has("#conversions td", "6B697465")
	p.has("#conversions td", "a unit of 0 bytes "+hostile)
	p.has("#conversions .badge.bad", "failed")
	i.page("/uploads/upload", ann, 200).has("form[action='/upload/debug/'] button", "Upload")
	if tries := i.page("/uploads/upload", bob, 200).find("input[name=try]"); len(tries) != 0 {
		t.Error("one who uploads trial builds alone is asked whether it is one")
	}
	i.page(single, ann, 200).has(".note", "nothing to unwind by")
	i.page("/uploads/files/?faults=1", boss, 200).has("#files td.sig", "xul.sym")
	i.page("/uploads/files/?key=100%25", boss, 200).has("#files td", "No files.")
}

func TestPinPage(t *testing.T) {
	i := newInstance(t, config.Web{})
	ann := i.keyOf("ann@example.com", catalog.UploadSymbols)
	bob := i.keyOf("bob@example.com", catalog.UploadSymbols)
	upload, _ := i.symbolUpload("ann@example.com")
	one := fmt.Sprintf("/uploads/upload/%d", upload)
	pin := url.Values{"pin": {"1"}, "note": {"release 1.0"}}
	for key, want := range map[string]int{"": 403, bob: 403, ann: http.StatusSeeOther} {
		if w := i.do("POST", one+"/pin", key, pin); w.Code != want {
			t.Errorf("pin: %d, want %d", w.Code, want)
		}
	}
	i.page(one, ann, 200).has("#pin", "release 1.0")
	i.page("/uploads/", ann, 200).has(".badge.good", "pinned")
	if w := i.do("POST", one+"/pin", ann, url.Values{}); w.Code != http.StatusSeeOther {
		t.Errorf("unpin: %d", w.Code)
	}
	if got := i.page(one, ann, 200).find(".badge.good"); len(got) != 0 {
		t.Errorf("still %q", got)
	}
	if w := i.do("POST", one+"/pin", ann, url.Values{"pin": {"1"}, "note": {strings.Repeat("x", 2000)}}); w.Code != 400 {
		t.Errorf("a long note: %d", w.Code)
	}
}

func TestMissingPage(t *testing.T) {
	i := newInstance(t, config.Web{})
	ann := i.keyOf("ann@example.com", catalog.UploadSymbols)
	now := time.Now()
	if err := i.Catalog.RecordMissing(t.Context(), []catalog.MissingSymbol{{DebugFile: "nvoglv64.pdb", DebugID: "1F", Filename: "nvoglv64.sym", Count: 3, Modified: now},
		{DebugFile: hostile, DebugID: "2F", Filename: "x.sym", CodeFile: hostile, Count: 1, Modified: now}}); err != nil {
		t.Fatal(err)
	}
	p := i.page("/uploads/missing/", "", 200)
	p.has("#missing td", "nvoglv64.pdb")
	if forms := p.find("#ignores form"); len(forms) != 0 || strings.Contains(p.text, "<script") {
		t.Errorf("a visitor may change rules: %q", forms)
	}
	rule := url.Values{"pattern": {"nv*"}, "note": {"drivers"}}
	for key, want := range map[string]int{"": 403, ann: http.StatusSeeOther} {
		if w := i.do("POST", "/uploads/missing/ignore", key, rule); w.Code != want {
			t.Errorf("ignore: %d, want %d", w.Code, want)
		}
	}
	p = i.page("/uploads/missing/", ann, 200)
	p.has("#ignores td", "nv*")
	if strings.Contains(p.text, "nvoglv64") {
		t.Error("what is left out is still listed")
	}
	if strings.Contains(i.page("/uploads/missing/", "", 200).text, "ann@example.com") {
		t.Error("a visitor sees who made a rule")
	}
	if w := i.do("POST", "/uploads/missing/ignore", ann, url.Values{"pattern": {"*"}}); w.Code != 400 {
		t.Errorf("everything may be left out: %d", w.Code)
	}
	rule.Set("remove", "1")
	if w := i.do("POST", "/uploads/missing/ignore", ann, rule); w.Code != http.StatusSeeOther {
		t.Errorf("remove: %d", w.Code)
	}
}

func TestTokensPage(t *testing.T) {
	i := newInstance(t, config.Web{})
	ann := i.keyOf("ann@example.com", catalog.ManageTokens, catalog.UploadSymbols, catalog.UploadTrySymbols)
	made := func(form url.Values, status int) *page {
		t.Helper()
		w := i.do("POST", "/tokens/", ann, form)
		if w.Code != status {
			t.Fatalf("%v: %d, want %d\n%s", form, w.Code, status, w.Body)
		}
		return parsed(t, w.Body.String())
	}
	p := made(url.Values{"permission": {"upload_symbols"}, "notes": {hostile}, "days": {"10"}, "upload_version": {"2"}, "quota": {"10GiB"}}, 200)
	shown := p.find("#new-token pre")
	if len(shown) != 1 || len(shown[0]) != 32 || strings.Contains(p.text, "<script") {
		t.Fatalf("the new token: %q", shown)
	}
	token, err := i.Catalog.Token(t.Context(), shown[0])
	if err != nil || token.Permissions.String() != "upload_symbols" || token.UploadVersion != 2 || token.Quota != 10<<30 || time.Until(token.Expires) > 10*24*time.Hour {
		t.Fatalf("%+v %v", token, err)
	}
	p = i.page("/tokens/", ann, 200)
	p.has("#tokens td", hostile)
	if strings.Contains(p.text, shown[0]) {
		t.Error("the text of a token is shown twice")
	}
	for _, bad := range []url.Values{{"permission": {"admin"}}, {"permission": {"upload_symbols", "upload_try_symbols"}}, {"days": {"0"}}, {"days": {"99999"}}, {"upload_version": {"3"}}, {"quota": {"x"}}, {"permission": {"nonsense"}}} {
		made(bad, 400).has(".note.bad", "")
	}
	change := func(id int64, what string, status int) {
		t.Helper()
		if w := i.do("POST", fmt.Sprintf("/tokens/%d/%s", id, what), ann, url.Values{}); w.Code != status {
			t.Errorf("%s %d: %d, want %d", what, id, w.Code, status)
		}
	}
	change(token.ID, "extend", http.StatusSeeOther)
	if later, err := i.Catalog.Token(t.Context(), shown[0]); err != nil || !later.Expires.After(token.Expires.AddDate(0, 0, 364)) {
		t.Errorf("not extended: %v %v", later.Expires, err)
	}
	change(token.ID, "rename", 404)
	change(token.ID, "delete", http.StatusSeeOther)
	change(token.ID, "delete", 404)
	bob := i.keyOf("bob@example.com", catalog.ViewPII)
	other, err := i.Catalog.Token(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	change(other.ID, "delete", 404) // somebody else's
	if w := i.do("POST", "/tokens/", bob, url.Values{}); w.Code != 403 {
		t.Errorf("a token without the right to: %d", w.Code)
	}
}
