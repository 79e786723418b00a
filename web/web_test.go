package web_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/cascadia"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"
	"golang.org/x/net/html"

	"mayday/app/config"
	"mayday/roles/rolestest"
	"mayday/signature"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/schema"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web"
	"mayday/web/api"
	"mayday/web/auth"
)

// instance is the web role on memory and a temporary folder.
type instance struct {
	t    *testing.T
	echo *echo.Echo
	*rolestest.Stores
	priority []storage.CrashID
	reruns   []string
}

// searchFields are those the tests search by, beside id and date; app makes the
// real list of the field table in the same way.
var searchFields = []plan.Field{
	{Name: "signature", Path: "signature", Type: plan.Str, Storage: plan.Text},
	{Name: "product", Path: "product", Type: plan.Enum, Storage: plan.Keyword, Whole: true},
	{Name: "version", Path: "version", Type: plan.Enum, Storage: plan.Keyword, BetaPrefix: true},
	{Name: "platform", Path: "os_name", Type: plan.Enum, Storage: plan.Keyword},
	{Name: "platform_pretty_version", Path: "os_pretty_version", Type: plan.Enum, Storage: plan.Text},
	{Name: "reason", Path: "reason", Type: plan.Str, Storage: plan.Text},
	{Name: "release_channel", Path: "release_channel", Type: plan.Enum, Storage: plan.Keyword},
	{Name: "process_type", Path: "process_type", Type: plan.Enum, Storage: plan.Keyword},
	{Name: "cpu_arch", Path: "cpu_arch", Type: plan.Enum, Storage: plan.Keyword},
	{Name: "report_type", Path: "report_type", Type: plan.Enum, Storage: plan.Keyword},
	{Name: "install_time", Path: "install_time", Type: plan.Int, Storage: plan.Long, Histogram: true},
	{Name: "user_comments", Path: "user_comments", Type: plan.Str, Storage: plan.Text, Permission: plan.ViewPII},
}

func newInstance(t *testing.T, cfg config.Web) *instance {
	t.Helper()
	i := &instance{t: t, echo: echo.New(), Stores: rolestest.Open(t, searchFields...)}
	who := auth.New(auth.Options{Users: i.Catalog, Sessions: i.Catalog.Sessions()})
	site, err := web.New(web.Options{Crashes: i.Crashes, Index: i.Engine, Fields: i.Fields, Schema: schema.Default(), Catalog: i.Catalog, Auth: who,
		Config: cfg, Log: zaptest.NewLogger(t), Version: "test",
		Prioritise: func(_ context.Context, id storage.CrashID) error { i.priority = append(i.priority, id); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	site.Mount(i.echo)
	api.New(api.Options{Crashes: i.Crashes, Engine: i.Engine, Fields: i.Fields, Schema: schema.Default(), Catalog: i.Catalog, Auth: who, Config: cfg, Log: zaptest.NewLogger(t),
		Lists: signature.Default,
		Reprocess: func(_ context.Context, id storage.CrashID, ruleset string) error {
			i.reruns = append(i.reruns, id.String()+":"+ruleset)
			return nil
		}}).Mount(i.echo)
	return i
}

// crash stores and indexes a processed crash; more is laid over its fields.
func (i *instance) crash(more map[string]any) storage.CrashID {
	i.t.Helper()
	now := time.Now().UTC()
	id := storage.NewCrashID(now, storage.Accepted)
	at := now.Format("2006-01-02T15:04:05.000000+00:00")
	raw := storage.RawCrash{"uuid": id.String(), "submitted_timestamp": at, "ProductName": "Kite", "Version": "1.2", "URL": "https://secret.example/", "Oddity": "unknown things stay hidden"}
	p := storage.ProcessedCrash{"uuid": id.String(), "crash_id": id.String(), "date_processed": at, "submitted_timestamp": at, "success": true,
		"product": "Kite", "version": "1.2", "signature": "kite::Sail::tear", "os_name": "Linux", "os_pretty_version": "Linux", "reason": "SIGSEGV / SEGV_MAPERR",
		"report_type": "crash", "process_type": "parent", "mdsw_status_string": "OK", "url": "https://secret.example/", "user_comments": "my password is hunter2",
		"json_dump": map[string]any{"status": "OK", "crash_info": map[string]any{"crashing_thread": 1, "type": "SIGSEGV"},
			"threads": []any{
				map[string]any{"thread_name": "worker", "frames": []any{map[string]any{"frame": 0, "module": "libc.so.6", "module_offset": "0x10", "offset": "0x7f10", "trust": "scan", "missing_symbols": true}}},
				map[string]any{"thread_name": "main", "frames": []any{
					map[string]any{"frame": 0, "module": "kite", "function": "kite::Sail::tear(int)", "file": "src/sail.cpp", "line": 41, "offset": "0x400010", "trust": "context",
						"inlines":   []any{map[string]any{"function": "kite::Thread::pull()", "file": "src/thread.h", "line": 7}},
						"registers": map[string]any{"rax": "0xdeadbeefcafe"}},
					map[string]any{"frame": 1, "module": "kite", "function": "main", "file": "src/main.cpp", "line": 9, "offset": "0x400020", "trust": "cfi"}}},
			},
			"modules": []any{
				map[string]any{"filename": "kite", "debug_file": "kite", "debug_id": "AB", "base_addr": "0x400000", "loaded_symbols": true, "missing_symbols": false},
				map[string]any{"filename": "libc.so.6", "debug_file": "libc.so.6", "debug_id": "CD", "base_addr": "0x7f00", "loaded_symbols": false, "missing_symbols": true}}}}
	for k, v := range more {
		p[k] = v
	}
	if err := i.Crashes.SaveRaw(i.t.Context(), id, raw, nil); err != nil {
		i.t.Fatal(err)
	}
	if err := i.Crashes.SaveProcessed(i.t.Context(), id, p); err != nil {
		i.t.Fatal(err)
	}
	back, err := i.Crashes.Processed(i.t.Context(), id)
	if err != nil {
		i.t.Fatal(err)
	}
	doc, err := search.NewDoc(back, i.Fields)
	if err != nil {
		i.t.Fatal(err)
	}
	if err := i.Engine.Index(i.t.Context(), []search.Doc{doc}); err != nil {
		i.t.Fatal(err)
	}
	return id
}

// token makes an API token with permissions.
func (i *instance) token(permissions ...catalog.Permission) string {
	i.t.Helper()
	if _, err := i.Catalog.AddUser(i.t.Context(), "ann@example.com", permissions); err != nil {
		i.t.Fatal(err)
	}
	key, err := i.Catalog.CreateToken(i.t.Context(), catalog.NewToken{User: "ann@example.com", Permissions: permissions, Operator: true})
	if err != nil {
		i.t.Fatal(err)
	}
	return key
}

func (i *instance) do(method, target, token string, form url.Values) *httptest.ResponseRecorder {
	i.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		r.Header.Set("Auth-Token", token)
	}
	w := httptest.NewRecorder()
	i.echo.ServeHTTP(w, r)
	return w
}

// page fetches a page and parses it.
func (i *instance) page(target, token string, status int) *page {
	i.t.Helper()
	w := i.do(http.MethodGet, target, token, nil)
	if w.Code != status {
		i.t.Fatalf("%s: status %d, want %d\n%.2000s", target, w.Code, status, w.Body.String())
	}
	return parsed(i.t, w.Body.String())
}

func parsed(t *testing.T, text string) *page {
	t.Helper()
	n, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &page{t, n, text}
}

type page struct {
	t    *testing.T
	root *html.Node
	text string
}

// find returns the text of every element that a selector matches.
func (p *page) find(selector string) (out []string) {
	p.t.Helper()
	for _, n := range cascadia.QueryAll(p.root, cascadia.MustCompile(selector)) {
		out = append(out, strings.Join(strings.Fields(inner(n)), " "))
	}
	return out
}

func inner(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(inner(c) + " ")
	}
	return b.String()
}

// has fails unless some element of selector holds text.
func (p *page) has(selector, text string) {
	p.t.Helper()
	found := p.find(selector)
	for _, f := range found {
		if strings.Contains(f, text) {
			return
		}
	}
	p.t.Errorf("no %s holds %q; there are %q", selector, text, found)
}

func TestHome(t *testing.T) {
	i := newInstance(t, config.Web{})
	i.page("/", "", 200).has("h1", "No crashes yet")
	i.crash(nil)
	i.crash(map[string]any{"signature": "kite::Sail::tear"})
	i.crash(map[string]any{"product": "Glider", "signature": "main"})
	p := i.page("/", "", 200)
	p.has(".grid h2", "Kite")
	p.has(".grid h2", "Glider")
	p.has("td.sig a", "kite::Sail::tear")
	if bars := p.find("svg rect title"); len(bars) != 2 {
		t.Errorf("charts have %q, want one day for each product", bars)
	}
	i.page("/home/product/Kite", "", 200).has(".grid h2", "Kite")
	i.page("/home/product/Nothing", "", 404)
}

func TestSearch(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil)
	i.crash(map[string]any{"product": "Glider", "version": "9", "signature": "other"})
	p := i.page("/search/?product=Kite", "", 200)
	p.has(".between h2", "1 crash")
	p.has("td.id a", id.String()[:8])
	p.has(".chip", "Kite")
	p.has("#signatures td.sig a", "kite::Sail::tear")
	p.has(".facet", "1.2")
	i.page("/search/?signature=~Sail", "", 200).has(".between h2", "1 crash")
	i.page("/search/?version=9&product=Kite", "", 200).has(".empty", "No crash matches")
	i.page("/search/?date=yesterday", "", 400).has("[role=alert]", "date")
	i.page("/search/?user_comments=~hunter2", "", 200).has(".between h2", "2 crashes") // a filter that one may not use is dropped
	i.page("/search/?q=sail", "", 200).has(".between h2", "1 crash")
	i.page("/search/?product=Kite&field=version&value=9", "", 200).has(".empty", "No crash matches")
	w := i.do(http.MethodGet, "/search/quick/?query=bp-"+id.String(), "", nil)
	if got := w.Header().Get("Location"); got != "/report/index/"+id.String() {
		t.Errorf("quick search goes to %s", got)
	}
}

func TestSignature(t *testing.T) {
	i := newInstance(t, config.Web{})
	i.crash(nil)
	i.crash(map[string]any{"os_name": "Windows NT", "install_time": 5})
	p := i.page("/signature/?signature=kite::Sail::tear", "", 200)
	p.has("h1", "kite::Sail::tear")
	p.has(".badge", "2 crashes")
	p.has("th", "Windows NT")
	i.page("/signature/", "", 400)
	i.page("/signature/?signature=a&signature=b", "", 400)
}

func TestReport(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil)
	p := i.page("/report/index/"+id.String(), "", 200)
	p.has("h1", "kite::Sail::tear")
	p.has("#crashing-thread h2", "Crashing thread 1 · main")
	p.has("#crashing-thread tr.inline .fn", "kite::Thread::pull()")
	p.has("#crashing-thread .fn", "kite::Sail::tear(int)")
	p.has("#crashing-thread .src", "src/sail.cpp:41")
	p.has("#threads summary", "Thread 0 · worker")
	p.has("#modules tr", "loaded")
	p.has("#missing-symbols td", "libc.so.6")
	p.has("#annotations td", "Kite")
	for _, secret := range []string{"hunter2", "secret.example", "unknown things", "0xdeadbeefcafe"} {
		if strings.Contains(p.text, secret) {
			t.Errorf("an anonymous visitor sees %q", secret)
		}
	}
	p = i.page("/report/index/"+id.String(), i.token(catalog.ViewPII), 200)
	p.has("dd", "hunter2")
	p.has("#annotations td", "unknown things")
	p.has(".badge", "shows protected data")
	if w := i.do(http.MethodGet, "/report/index/bp-"+id.String(), "", nil); w.Code != http.StatusMovedPermanently {
		t.Errorf("bp- prefix: status %d", w.Code)
	}
	i.page("/report/index/nonsense", "", 400)
	i.page("/report/index/00000000-0000-0000-0000-000000261120", "", 404).has("h1", "No such crash")
}

func TestReportOfWhatIsNotProcessed(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := storage.NewCrashID(time.Now(), storage.Accepted)
	if err := i.Crashes.SaveRaw(t.Context(), id, storage.RawCrash{"uuid": id.String()}, nil); err != nil {
		t.Fatal(err)
	}
	i.page("/report/index/"+id.String(), "", 200).has("h1", "being processed")
	i.page("/report/index/"+id.String(), "", 200)
	if len(i.priority) != 1 || i.priority[0] != id {
		t.Errorf("priority was asked for %v, want once for %s", i.priority, id)
	}
	if err := i.Crashes.SaveVerdict(t.Context(), id, storage.Verdict{Reason: "walker ran out of time", Tries: 5}); err != nil {
		t.Fatal(err)
	}
	if page := i.do(http.MethodGet, "/report/index/"+id.String(), i.token(catalog.ViewPII), nil).Body.String(); !strings.Contains(page, "set aside") || strings.Contains(page, "ran out of time") {
		t.Error("the page must say that the crash was set aside, and why only to administrators")
	}
	i.page("/report/index/"+id.String(), i.token(catalog.Admin), 200).has("p", "walker ran out of time")
}

func TestReportOfWhatWasCutShort(t *testing.T) {
	i := newInstance(t, config.Web{})
	frame := map[string]any{"frame": 0, "module": "kite", "function": "spin", "offset": "0x1", "trust": "context"}
	id := i.crash(map[string]any{"json_dump": map[string]any{"truncated": "more than 9 threads", "crash_info": map[string]any{"crashing_thread": 0},
		"threads": []any{map[string]any{"frames": []any{frame}, "truncated": "more than 1 frames"}, map[string]any{"frames": []any{frame}, "truncated": true}}}})
	p := i.page("/report/index/"+id.String(), "", 200)
	p.has(".note", "The stacks are not whole: more than 9 threads.")
	p.has("#crashing-thread td", "The walk ended here: more than 1 frames")
	p.has("#threads .fn", "spin")
}

// What clients send must not become markup, whatever it is.
func TestHostileText(t *testing.T) {
	i := newInstance(t, config.Web{})
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) ` + "\u202e\x00"
	id := i.crash(map[string]any{"signature": evil, "product": evil, "version": evil, "reason": evil, "url": "javascript:alert(1)"})
	token := i.token(catalog.ViewPII)
	q := url.QueryEscape(strings.ReplaceAll(evil, "\x00", ""))
	for _, target := range []string{"/", "/search/?product=" + q, "/search/?signature=" + q, "/signature/?signature=" + q, "/report/index/" + id.String(), "/report/index/" + url.PathEscape("<script>"), "/documentation/"} {
		w := i.do(http.MethodGet, target, token, nil)
		root, err := html.Parse(strings.NewReader(w.Body.String()))
		if err != nil {
			t.Fatal(err)
		}
		if n := cascadia.QueryAll(root, cascadia.MustCompile("script:not([src^='/static/']), [onerror], img, a[href^=javascript]")); len(n) > 0 {
			t.Errorf("%s: hostile text became markup", target)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", target, csp)
		}
	}
}

func TestSignIn(t *testing.T) {
	i := newInstance(t, config.Web{Anonymous: "none"})
	if w := i.do(http.MethodGet, "/", "", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login/" {
		t.Errorf("a stranger gets %d %s", w.Code, w.Header().Get("Location"))
	}
	if _, err := i.Catalog.AddUser(t.Context(), "ann@example.com", catalog.Permissions{catalog.Admin}); err != nil {
		t.Fatal(err)
	}
	key, err := i.Catalog.CreateLink(t.Context(), "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	i.page("/login/link?key="+key, "", 200).has("button", "Sign in") // looking at the link does not use it up
	w := i.do(http.MethodPost, "/login/link", "", url.Values{"key": {key}})
	if w.Code != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", w.Code, w.Body)
	}
	cookie := w.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie %v", cookie)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(cookie)
	w = httptest.NewRecorder()
	i.echo.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "ann@example.com") {
		t.Errorf("not signed in: %d", w.Code)
	}
	r = httptest.NewRequest(http.MethodPost, "/logout/", nil)
	r.AddCookie(cookie)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w = httptest.NewRecorder()
	i.echo.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("a post from another site: %d, want 403", w.Code)
	}
	if w := i.do(http.MethodPost, "/login/link", "", url.Values{"key": {key}}); w.Code != http.StatusForbidden {
		t.Errorf("second use of the link: %d", w.Code)
	}
}

func bytesDump(name, content string) storage.Dump {
	return storage.Dump{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}
