package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayday/app/config"
	"mayday/storage/catalog"
	"mayday/symbols/server"
)

// Faults of a symbol file are recorded with it and shown, not refused.
func TestQuality(t *testing.T) {
	w := start(t, nil)
	text := symText("xul.pdb", id1) // neither lines nor unwind information
	key := "other.pdb/" + id1 + "/other.sym"
	up := w.upload("upload_symbols", zipped(key, text))
	if up.status != 201 {
		t.Fatalf("%d %s", up.status, up.body)
	}
	id := int(up.json(t)["upload"].(map[string]any)["id"].(float64))
	shown := w.do("GET", fmt.Sprintf("/api/uploads/upload/%d", id), "upload_symbols", nil).json(t)["upload"].(map[string]any)
	var codes []string
	for _, f := range shown["file_uploads"].([]any)[0].(map[string]any)["quality"].([]any) {
		codes = append(codes, f.(map[string]any)["code"].(string))
	}
	if got := strings.Join(codes, " "); got != "wrong-name no-lines no-cfi" || shown["files_faulty_count"] != 1.0 {
		t.Errorf("faults: %q of %v files", got, shown["files_faulty_count"])
	}
}

// An instance may refuse faults; then nothing is kept.
func TestQualityRefused(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Config.Refuse = []string{"wrong-id"} })
	good := "a.pdb/" + id1 + "/a.sym"
	a := w.upload("upload_symbols", zipped(good, symText("a.pdb", id1), "b.pdb/"+id1+"/b.sym", symText("b.pdb", strings.Replace(id1, "44", "45", 1))))
	if a.status != 400 || !strings.Contains(string(a.body), "wrong-id") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects were kept", n)
	}
	if a := w.upload("upload_symbols", zipped(good, symText("a.pdb", id1))); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Quotas are kept to, whichever way symbols come, and nothing is left of what
// is refused.
func TestQuota(t *testing.T) {
	for _, c := range []struct {
		name   string
		config config.Symbols
		status int
		words  string
	}{
		{"in all", config.Symbols{Quota: 1000}, http.StatusInsufficientStorage, "all symbols may take 1000 bytes"},
		{"of a user", config.Symbols{UserQuota: 1000}, http.StatusRequestEntityTooLarge, "your symbols may take 1000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t, func(o *server.Options) {
				o.Config.Quota, o.Config.UserQuota = c.config.Quota, c.config.UserQuota
			})
			noise := func(seed byte) []byte { // does not pack
				b := make([]byte, 600)
				for i := range b {
					seed = seed*167 + 13
					b[i] = seed ^ byte(i*i>>3)
				}
				return b
			}
			first := "a.dll/1F/a.dl_"
			if a := w.upload("upload_symbols", zipped(first, string(noise(1)))); a.status != 201 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			n := w.objects()
			refused := func(what string, a answer) {
				t.Helper()
				if a.status != c.status || !strings.Contains(string(a.body), c.words) {
					t.Errorf("%s: %d %s, want %d with %q", what, a.status, a.body, c.status, c.words)
				}
				if got := w.objects(); got != n {
					t.Errorf("%s: %d objects, there were %d", what, got, n)
				}
			}
			refused("zip", w.upload("upload_symbols", zipped("b.dll/1F/b.dl_", string(noise(2)))))
			body, kind := form("symbol_file", "c.sym", noise(3), "debug_file", "c.so", "debug_identifier", id1)
			refused("form", w.do("POST", "/upload/breakpad/", "upload_symbols", body, "Content-Type", kind))
			ask := fmt.Sprintf(`{"files":[{"key":"d.so/%s/d.so","size":600,"md5_hash":%q}]}`, id1, hash(string(noise(4))))
			v2 := w.do("POST", "/upload/v2/", "upload_symbols", strings.NewReader(ask)).json(t)
			address := v2["files"].([]any)[0].(map[string]any)["action"].(map[string]any)["url"].(string)
			refused("v2", w.do("PUT", address, "", bytes.NewReader(noise(4))))
			// What is there already takes no more room, what takes its place little.
			if a := w.upload("upload_symbols", zipped(first, string(noise(1)))); a.status != 201 {
				t.Errorf("the same again: %d %s", a.status, a.body)
			}
			if a := w.upload("upload_symbols", zipped(first, string(noise(5)))); a.status != 201 {
				t.Errorf("in its place: %d %s", a.status, a.body)
			}
			if c.name == "of a user" {
				if a := w.upload("upload_try_symbols", zipped("b.dll/1F/b.dl_", string(noise(2)))); a.status != 201 {
					t.Errorf("another user: %d %s", a.status, a.body)
				}
			}
		})
	}
}

func (s *stage) await(path string) map[string]any {
	s.t.Helper()
	for end := time.Now().Add(100 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		v := s.do("GET", path, "upload_symbols", nil).json(s.t)
		if v["state"] != "working" {
			return v
		}
		if time.Now().After(end) {
			s.t.Fatalf("still %v", v)
		}
	}
}

// An upload that was answered with 202 is finished by the next life of the
// server; one whose file is gone is said to have failed; one that ended the
// server three times is given up.
func TestJobsSurvive(t *testing.T) {
	dir := t.TempDir()
	before := raise(t, dir, false, nil)
	path := func(a answer) string {
		t.Helper()
		if a.status != 202 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return strings.TrimPrefix(a.header.Get("Location"), before.url)
	}
	var paths []string
	for i := range 4 {
		key := fmt.Sprintf("a%d.so/%s/a.so.sym", i, id1)
		paths = append(paths, path(before.upload("upload_symbols", zipped(key, symText("a.so", id1)), "Prefer", "respond-async")))
	}
	body, kind := form("file", "a.so", elf())
	paths = append(paths, path(before.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind, "Prefer", "respond-async")))
	if s := before.do("GET", paths[0], "upload_symbols", nil).json(t); s["state"] != "working" {
		t.Errorf("%v", s)
	}
	jobs, err := before.db.SymbolJobs(t.Context(), time.Now())
	if err != nil || len(jobs) != 5 {
		t.Fatalf("%v %v", jobs, err)
	}
	if err := os.Remove(filepath.Join(before.spool, jobs[1].Source)); err != nil {
		t.Fatal(err)
	}
	jobs[2].Attempts = 3
	if err := before.db.SetSymbolJob(t.Context(), jobs[2]); err != nil {
		t.Fatal(err)
	}
	before.stop()

	after := raise(t, dir, true, nil)
	defer after.stop()
	for i, want := range []string{"", "send it again", "given up", "", ""} {
		v := after.await(paths[i])
		got, _ := v["error"].(string)
		if (v["state"] == "done") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("upload %d: %v, want %q", i, v, want)
		}
	}
	for i, want := range []int{200, 404, 404, 200} {
		if a := after.do("GET", fmt.Sprintf("/a%d.so/%s/a.so.sym", i, id1), "", nil); a.status != want {
			t.Errorf("file %d: %d, want %d", i, a.status, want)
		}
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := os.ReadDir(after.spool)
		if err == nil && len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("left in the spool: %v %v", left, err)
			break
		}
	}
}

// What a server that was killed was about to keep is not there for the next
// one: objects that no answer told of go, and what took another's place is not
// taken for the old.
func TestHalfKeptIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	one := raise(t, dir, true, nil)
	old := "old.so/" + id1 + "/old.so.sym"
	if a := one.upload("upload_symbols", zipped(old, "old")); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	u := catalog.SymbolUpload{UserID: 1, Email: "upload_symbols@example.com", Filename: "x.zip", Created: time.Now()}
	var err error
	if u.ID, err = one.db.AddSymbolUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	fresh := "fresh.so/" + id1 + "/fresh.so.sym"
	begun := []*catalog.SymbolFile{{Key: old, Created: time.Now()}, {Key: fresh, Created: time.Now()}}
	if err := one.db.BeginSymbolFiles(t.Context(), u.ID, begun); err != nil {
		t.Fatal(err)
	}
	one.stop()
	for _, key := range []string{old, fresh} {
		path := filepath.Join(one.dir, "v1", filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("new"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	two := raise(t, dir, true, nil)
	defer two.stop()
	v := two.await(fmt.Sprintf("/upload/status/%d", u.ID))
	if v["state"] != "failed" || !strings.Contains(v["error"].(string), "interrupted") {
		t.Errorf("%v", v)
	}
	if a := two.do("GET", "/"+fresh, "", nil); a.status != 404 {
		t.Errorf("a file of an upload that was not answered is there: %d", a.status)
	}
	if a := two.upload("upload_symbols", zipped(old, "old")).json(t); len(a["upload"].(map[string]any)["skipped_keys"].([]any)) != 0 {
		t.Errorf("another object was taken for the old one: %v", a)
	}
	if a := two.do("GET", "/"+old, "", nil); string(a.body) != "old" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// What is pinned stays, also what was there before the upload that is pinned.
func TestPins(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func(o *server.Options) {
		o.Now = func() time.Time { return now }
		o.Config.Days, o.Config.TryDays = 100, 10
	}
	s := raise(t, dir, true, clock)
	key := func(name string) string { return name + "/" + id1 + "/x.sym" }
	up := func(names ...string) int {
		t.Helper()
		var files []string
		for _, n := range names {
			files = append(files, key(n), n)
		}
		a := s.upload("upload_symbols", zipped(files...))
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return int(a.json(t)["upload"].(map[string]any)["id"].(float64))
	}
	up("a", "b", "c")
	release := up("a", "d") // a is skipped
	up("e")
	pin := func(method string, want int) {
		t.Helper()
		a := s.do(method, fmt.Sprintf("/api/uploads/upload/%d/pin", release), "upload_symbols", strings.NewReader("note=release+1.0"), "Content-Type", "application/x-www-form-urlencoded")
		if a.status != want {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	there := func(want string) {
		t.Helper()
		s.stop()
		s = raise(t, dir, true, clock) // tidies at once
		got := ""
		for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && got != want; time.Sleep(20 * time.Millisecond) {
			got = ""
			for _, n := range []string{"a", "b", "c", "d", "e"} {
				if a := s.do("GET", "/"+key(n), "", nil); a.status == 200 {
					got += n
				}
			}
		}
		if got != want {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
	pin("DELETE", 404)
	pin("POST", 200)
	shown := s.do("GET", fmt.Sprintf("/api/uploads/upload/%d", release), "upload_symbols", nil).json(t)["upload"].(map[string]any)
	if p, ok := shown["pin"].(map[string]any); !ok || p["note"] != "release 1.0" || p["user"] != "upload_symbols@example.com" {
		t.Errorf("pin: %v", shown["pin"])
	}
	now = now.AddDate(0, 0, 101)
	there("ad")
	pin("DELETE", 200)
	there("")
	s.stop()
}

// An upload by URL that was answered with 202 is fetched by the next life of
// the server; what is not allowed is refused at once, what the address leads to
// is told by the status.
func TestJobsByURL(t *testing.T) {
	key := "a.so/" + id1 + "/a.so.sym"
	there := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away.zip":
			http.Redirect(w, r, "https://169.254.169.254/x.zip", http.StatusFound)
		case "/here.zip", "/here.tar":
			_, _ = w.Write(zipped(key, "x"))
		default:
			http.Error(w, "no", http.StatusNotFound)
		}
	}))
	defer there.Close()
	edit := func(o *server.Options) { o.Client, o.Config.Domains = there.Client(), []string{"127.0.0.1"} }
	dir := t.TempDir()
	before := raise(t, dir, false, edit)
	ask := func(address string) answer {
		return before.do("POST", "/upload/", "upload_symbols", strings.NewReader("url="+address), "Content-Type", "application/x-www-form-urlencoded", "Prefer", "respond-async")
	}
	if a := ask("https://evil.example.com/x.zip"); a.status != 400 || !strings.Contains(string(a.body), "Not an allowed domain") {
		t.Errorf("%d %s", a.status, a.body)
	}
	want := []struct{ path, state, words string }{
		{"/here.zip", "done", ""}, {"/away.zip", "failed", "Not an allowed domain ('169.254.169.254')"}, {"/none.zip", "failed", "can't be found (404)"},
		{"/here.tar", "failed", `Unrecognized archive file extension ".tar"`},
	}
	var paths []string
	for _, c := range want {
		a := ask(there.URL + c.path)
		if a.status != 202 {
			t.Fatalf("%s: %d %s", c.path, a.status, a.body)
		}
		paths = append(paths, strings.TrimPrefix(a.header.Get("Location"), before.url))
	}
	before.stop()
	after := raise(t, dir, true, edit)
	defer after.stop()
	for i, c := range want {
		v := after.await(paths[i])
		if got, _ := v["error"].(string); v["state"] != c.state || !strings.Contains(got, c.words) {
			t.Errorf("%s: %v, want %s with %q", c.path, v, c.state, c.words)
		}
		if u := v["upload"].(map[string]any); u["download_url"] != there.URL+c.path {
			t.Errorf("%s: fetched from %v", c.path, u["download_url"])
		}
	}
	if a := after.do("GET", "/"+key, "", nil); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// A token says which protocol its clients shall speak, and can be extended.
func TestTokenAPI(t *testing.T) {
	w := start(t, func(o *server.Options) {
		all := o.Callers.(tokens)
		two := all["upload_symbols"]
		two.UploadVersion = 2
		all["two"] = two
		all["manage"] = server.Caller{Email: "manage_tokens@example.com", UserID: 4, Permissions: catalog.Permissions{catalog.ManageTokens, catalog.UploadSymbols}, Token: true}
	})
	for token, want := range map[string]float64{"upload_symbols": 1, "two": 2} {
		if got := w.do("POST", "/upload/auth_info/", token, nil).json(t)["upload_api_version"]; got != want {
			t.Errorf("%s: version %v, want %v", token, got, want)
		}
	}
	post := func(path, form string, status int) map[string]any {
		t.Helper()
		a := w.do("POST", path, "manage", strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded")
		if a.status != status {
			t.Errorf("%s %s: %d %s, want %d", path, form, a.status, a.body, status)
		}
		return a.json(t)
	}
	list := func(state string) []any {
		t.Helper()
		return w.do("GET", "/api/tokens/?state="+state, "manage", nil).json(t)["tokens"].([]any)
	}
	if made := post("/api/tokens/", "expires=10&notes=nightly&upload_api_version=2&quota=10GiB", 201); made["ok"] != true || len(made["key"].(string)) != 32 {
		t.Errorf("%v", made)
	}
	for form, field := range map[string]string{"expires=0": "expires", "upload_api_version=7": "upload_api_version", "quota=much": "quota", "permissions=999": "permissions"} {
		if errs, _ := post("/api/tokens/", form, 400)["errors"].(map[string]any); errs[field] == nil {
			t.Errorf("%s: %v", form, errs)
		}
	}
	shown := list("")[0].(map[string]any)
	if shown["notes"] != "nightly" || shown["upload_api_version"] != 2.0 || shown["quota"] != float64(10<<30) || shown["key"] != nil {
		t.Errorf("%v", shown)
	}
	one := fmt.Sprintf("/api/tokens/token/%v", shown["id"])
	if v := post(one+"/extend", "", 200); v["ok"] != true || v["days"] != 365.0 {
		t.Errorf("%v", v)
	}
	post(one+"/extend", "days=x", 400)
	post(one+"/extend", "days=99999", 400)
	post("/api/tokens/token/12345/extend", "", 404)
	if later := list("")[0].(map[string]any)["expires_at"].(string); later < time.Now().AddDate(0, 0, 374).UTC().Format(time.DateOnly) {
		t.Errorf("good until %s", later)
	}
	if a := w.do("DELETE", one, "manage", nil); a.status != 200 || len(list("all")) != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
