package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/config"
	"mayday/storage"
	"mayday/storage/catalog"
)

func (i *instance) json(method, target, token string, form url.Values, status int) map[string]any {
	i.t.Helper()
	w := i.do(method, target, token, form)
	if w.Code != status {
		i.t.Fatalf("%s %s: status %d, want %d: %.500s", method, target, w.Code, status, w.Body.String())
	}
	if got := w.Header().Get("Content-Type"); got != "application/json; charset=UTF-8" {
		i.t.Errorf("%s: content type %q", target, got)
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		i.t.Fatalf("%s: %v in %.300s", target, err, w.Body.String())
	}
	return out
}

func TestCrashAPIs(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil).String()
	token := i.token(catalog.ViewPII, catalog.ViewRawDump)
	raw := i.json("GET", "/api/RawCrash/?crash_id="+id, "", nil, 200)
	if raw["ProductName"] != "Kite" || raw["URL"] != nil || raw["Oddity"] != nil {
		t.Errorf("public raw crash: %v", raw)
	}
	if raw := i.json("GET", "/api/RawCrash/?crash_id=bp-"+id, token, nil, 200); raw["URL"] == nil || raw["Oddity"] == nil {
		t.Errorf("protected raw crash: %v", raw)
	}
	p := i.json("GET", "/api/ProcessedCrash/?crash_id="+id, "", nil, 200)
	if p["signature"] != "kite::Sail::tear" || p["user_comments"] != nil {
		t.Errorf("public processed crash: %v", p)
	}
	if p := i.json("GET", "/api/ProcessedCrash/?crash_id="+id, token, nil, 200); p["user_comments"] == nil {
		t.Errorf("protected processed crash lacks the comment")
	}
	verify := i.json("GET", "/api/CrashVerify/?crash_id="+id, "", nil, 200)
	want := map[string]any{"uuid": id, "raw_crash": true, "processed_crash": true, "elasticsearch_crash": true, "telemetry_crash": false}
	if diff := cmp.Diff(want, verify); diff != "" {
		t.Errorf("CrashVerify (-want +got):\n%s", diff)
	}
	if r := i.json("GET", "/api/SuperSearch/?product=Kite&_columns=uuid", "", nil, 200); r["total"] != 1.0 {
		t.Errorf("SuperSearch: %v", r)
	}
	if r := i.json("GET", "/api/SuperSearchFields/", "", nil, 200); len(r) < 100 {
		t.Errorf("%d search fields", len(r))
	}
}

func TestAPIErrors(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil).String()
	reader := i.token(catalog.ViewPII)
	gone := "00000000-0000-0000-0000-000000261120"
	for _, c := range []struct {
		name, method, target, token string
		status                      int
		want                        string
	}{
		{"no service", "GET", "/api/Nothing/", "", 404, "No service called 'Nothing'"},
		{"method", "POST", "/api/RawCrash/", "", 405, "Method not allowed"},
		{"permission", "POST", "/api/Reprocessing/", "", 403, "Use of this endpoint requires the 'Reprocess Crashes' permission"},
		{"unredacted", "GET", "/api/SuperSearchUnredacted/", "", 403, "Use of this endpoint requires the 'View Personal Identifiable Information' permission"},
		{"no id", "GET", "/api/RawCrash/", "", 400, "This field is required."},
		{"bad id", "GET", "/api/ProcessedCrash/?crash_id=1", "", 400, "Bad value for parameter(s) 'uuid'"},
		{"unknown id", "GET", "/api/ProcessedCrash/?crash_id=" + gone, "", 404, "Not found: CrashIDNotFound " + gone},
		{"bad format", "GET", "/api/RawCrash/?format=xml&crash_id=" + id, "", 400, "'format'"},
		{"missing file comes before permission", "GET", "/api/RawCrash/?format=raw&crash_id=" + id, reader, 404, "CrashIDNotFound"},
		{"path in a file name", "GET", "/api/RawCrash/?format=raw&name=../x&crash_id=" + id, reader, 400, "'name'"},
		{"wrong token", "GET", "/api/NoOp/?product=x", "feedfeedfeedfeedfeedfeedfeedfeed", 403, "API Token not matched"},
		{"bad date", "GET", "/api/SuperSearch/?date=yesterday", "", 400, "date"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i.t = t
			body, err := json.Marshal(i.json(c.method, c.target, c.token, nil, c.status))
			if err != nil || !strings.Contains(string(body), c.want) {
				t.Errorf("answer %s lacks %q", body, c.want)
			}
		})
	}
}

func TestReprocessing(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil).String()
	token := i.token(catalog.ReprocessCrashes)
	w := i.do("POST", "/api/Reprocessing/", token, url.Values{"crash_ids": {id, id + ":regenerate_signature"}})
	if w.Code != 200 || w.Body.String() != "null" {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{id + ":", id + ":regenerate_signature"}, i.reruns); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"x", id + ":everything"} {
		if w := i.do("POST", "/api/Reprocessing/", token, url.Values{"crash_ids": {id, bad}}); w.Code != 400 {
			t.Errorf("%s: status %d", bad, w.Code)
		}
	}
	if len(i.reruns) != 2 {
		t.Errorf("a refused request queued something: %v", i.reruns)
	}
}

func TestFilesNeedPermission(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil)
	if err := i.Crashes.SaveRaw(t.Context(), id, storage.RawCrash{"uuid": id.String()}, []storage.Dump{bytesDump("upload_file_minidump", "MDMP…")}); err != nil {
		t.Fatal(err)
	}
	target := "/api/RawCrash/?format=raw&crash_id=" + id.String()
	if got := i.json("GET", target, "", nil, 403)["error"]; got != "Binary response requires permissions: View Raw Dumps" {
		t.Errorf("stranger: %v", got)
	}
	w := i.do("GET", target+"&name=dump", i.token(catalog.ViewRawDump), nil)
	if w.Code != 200 || w.Body.String() != "MDMP…" || !strings.Contains(w.Header().Get("Content-Disposition"), id.String()+".dmp") {
		t.Errorf("owner: %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestRateLimit(t *testing.T) {
	i := newInstance(t, config.Web{RateLimit: 3})
	for n := range 5 {
		w := i.do("GET", "/api/NoOp/?product=x", "", nil)
		if want := map[bool]int{true: 200, false: 429}[n < 3]; w.Code != want {
			t.Errorf("request %d: %d, want %d", n, w.Code, want)
		}
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if w := i.do("GET", "/api/NoOp/?product=x", i.token(), nil); w.Code != 200 {
		t.Errorf("a known user is limited with the others: %d", w.Code)
	}
}

func TestClosedInstance(t *testing.T) {
	i := newInstance(t, config.Web{Anonymous: "none"})
	i.json("GET", "/api/NoOp/?product=x", "", nil, 403)
	i.json("GET", "/api/NoOp/?product=x", i.token(), nil, 200)
}

func TestCrashSignature(t *testing.T) {
	i := newInstance(t, config.Web{})
	ask := func(body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		i.echo.ServeHTTP(w, httptest.NewRequest("POST", "/api/CrashSignature/", strings.NewReader(body)))
		return w
	}
	w := ask(`{"jobs": [{"os": "Linux", "crashing_thread": 0, "threads": [{"frames": [{"module": "kite", "function": "kite::Sail::tear(int)"}]}]}]}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"signature":"kite::Sail::tear"`) {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	for body, want := range map[string]string{`{}`: "no jobs specified", `[`: "no JSON object"} {
		if w := ask(body); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %q", body, w.Code, w.Body, want)
		}
	}
}

func TestCatalogAPIs(t *testing.T) {
	i := newInstance(t, config.Web{})
	for id, signatures := range map[int64][]string{7: {"a", "b"}, 9: {"b"}, 11: {"c"}} {
		if err := i.Catalog.SaveBugs(t.Context(), id, signatures); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"63.0b4", "63.0rc1"} {
		if err := i.Catalog.SaveVersion(t.Context(), catalog.ProductVersion{Product: "Kite", Channel: "Beta", BuildID: "1", Version: v}); err != nil {
			t.Fatal(err)
		}
	}
	for target, want := range map[string]string{
		"/api/Bugs/?signatures=a":                                  `{"hits":[{"id":7,"signature":"a"},{"id":7,"signature":"b"}],"total":2}`,
		"/api/Bugs/?signatures=none":                               `{"hits":[],"total":0}`,
		"/api/SignaturesByBugs/?bug_ids=9&bug_ids=11":              `{"hits":[{"id":9,"signature":"b"},{"id":11,"signature":"c"}],"total":2}`,
		"/api/SignaturesByBugs/?bug_ids=x":                         `{"error":"Bad request: BadArgumentError: Bad value for parameter(s) 'bug_ids'"}`,
		"/api/VersionString/?product=Kite&channel=beta&build_id=1": `{"hits":[{"version_string":"63.0b4"}],"total":1}`,
		"/api/VersionString/?product=Kite":                         `{"errors":{"build_id":["This field is required."],"channel":["This field is required."]}}`,
		"/api/NoOp/?product=bad":                                   `{"error":"Bad request: BadArgumentError: Bad product"}`,
	} {
		if got := i.do("GET", target, "", nil).Body.String(); got != want {
			t.Errorf("%s answers %s, want %s", target, got, want)
		}
	}
}
