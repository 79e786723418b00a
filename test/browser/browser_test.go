// Package browser looks at the pages of the real binary with a real browser:
// Debian's Chromium, driven by chromedp. Where there is none the tests skip.
package browser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// crashes is how many the demo month of these tests has.
const crashes = 300

var (
	site    string // address of the instance that all tests look at
	program string // the binary that serves it
	data    string // its data directory
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if chromium() == "" {
		if os.Getenv("MAYDAY_TEST_NEEDS_BROWSER") != "" {
			fmt.Println("no Chromium, though MAYDAY_TEST_NEEDS_BROWSER says that there is one")
			return 1
		}
		fmt.Println("no Chromium: the browser tests skip")
		return 0
	}
	dir, err := os.MkdirTemp("", "mayday-browser")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	stop, err := instance(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// chromium is the browser's program, "" when there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// instance builds the binary, starts it and fills it.
func instance(dir string) (stop func(), err error) {
	binary := filepath.Join(dir, "mayday")
	if out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	site, program, data = "http://"+address, binary, filepath.Join(dir, "data")
	var log bytes.Buffer
	serve := exec.Command(binary, "serve", "--data-dir", filepath.Join(dir, "data"), "--listen", address, "--storage.fsync=false", "--web.rate-limit", "0")
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = serve.Process.Kill()
		_ = serve.Wait() // says "killed"
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if r, err := http.Get(site + "/__lbheartbeat__"); err == nil {
			r.Body.Close()
			break
		}
		if time.Now().After(end) {
			stop()
			return nil, fmt.Errorf("the server does not answer:\n%s", log.String())
		}
	}
	demo := exec.Command(binary, "demo", "--data-dir", filepath.Join(dir, "data"), "--crashes", fmt.Sprint(crashes))
	if out, err := demo.CombinedOutput(); err != nil {
		stop()
		return nil, fmt.Errorf("demo: %w\n%s", err, out)
	}
	return stop, nil
}

// tab opens a browser tab of a width in a colour scheme.
func tab(t *testing.T, width int64, scheme string) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium()), chromedp.NoSandbox,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("blink-settings", "preferredColorScheme="+map[string]string{"dark": "0", "light": "1"}[scheme]))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.EmulateViewport(width, 900)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// patience is how long one step in the browser may take.
const patience = time.Minute

// do runs a step in the browser; when it fails, a picture of the page is kept.
func do[T any](t *testing.T, tab context.Context, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err == nil {
		return v
	}
	if picture, shot := chromedp.Run(tab, chromedp.FullScreenshot(90)); shot == nil {
		path := filepath.Join(t.ArtifactDir(), "failed.png")
		if os.WriteFile(path, picture, 0o644) == nil {
			t.Logf("picture of the page: %s", path)
		}
	}
	t.Fatal(err)
	return v
}

// open goes to a page.
func open(t *testing.T, tab context.Context, path string) {
	t.Helper()
	do(t, tab, chromedp.Navigate(site+path))
}

// click clicks the first element of a selector and waits for another to show.
func click(t *testing.T, tab context.Context, selector, then string) {
	t.Helper()
	do(t, tab, chromedp.Click(chromedp.CSS(selector)))
	do(t, tab, chromedp.WaitVisible(chromedp.CSS(then)))
}

func text(t *testing.T, tab context.Context, selector string) string {
	t.Helper()
	return do(t, tab, chromedp.Text(chromedp.CSS(selector)))
}

// From the home page a newcomer gets to a report in two clicks.
func TestHomeToReport(t *testing.T) {
	b := tab(t, 1280, "light")
	open(t, b, "/")
	signature := text(t, b, "td.sig a")
	click(t, b, "td.sig a", "#reports")
	if heading := text(t, b, "h1"); heading != signature {
		t.Errorf("the signature page is of %q, %q was clicked", heading, signature)
	}
	click(t, b, "#reports td.id a", "#annotations")
	open(t, b, "/search/?signature=^kite::layout")
	click(t, b, "#crash-reports td.id a", "#crashing-thread")
	function, trust := text(t, b, "#crashing-thread .fn"), text(t, b, "#crashing-thread .trust")
	if !strings.Contains(function, "kite::layout") || trust != "exact" {
		t.Errorf("the first frame is %q, found %q", function, trust)
	}
}

// Threads fold and unfold, without any script.
func TestThreadsFold(t *testing.T) {
	b := tab(t, 1280, "light")
	open(t, b, "/search/?signature=^kite::layout")
	click(t, b, "#crash-reports td.id a", "#threads")
	const unfolded = `document.querySelector("details.thread").open`
	if do(t, b, chromedp.Evaluate[bool](unfolded)) {
		t.Error("a thread is open before the click")
	}
	click(t, b, "details.thread summary", "details.thread table")
	if !do(t, b, chromedp.Evaluate[bool](unfolded)) {
		t.Error("a thread is folded after the click")
	}
}

// Searching by the form narrows the results, and a facet narrows them further.
func TestSearchForm(t *testing.T) {
	b := tab(t, 1280, "light")
	open(t, b, "/search/")
	all := text(t, b, ".between h2")
	do(t, b, chromedp.SetValue(chromedp.CSS("input[name=signature]"), "~Cache"))
	click(t, b, "form.card button", ".chip")
	if some := text(t, b, ".between h2"); all == some {
		t.Errorf("the search for a signature found as much as all: %s", all)
	}
	click(t, b, ".facet a", ".chip + .chip")
	if address := do(t, b, chromedp.Location()); !strings.Contains(address, "product=") {
		t.Errorf("a click on a facet leads to %s", address)
	}
}

// The search form offers values of the field that one types into, and a value
// of the box for all fields becomes a filter.
func TestCompletion(t *testing.T) {
	b := tab(t, 1280, "light")
	open(t, b, "/search/?product=Kite")
	typed := func(name, value, event string) {
		t.Helper()
		do(t, b, chromedp.Evaluate[bool](fmt.Sprintf(`(() => {
			const input = document.querySelector("#search input[name=%s]");
			input.value = %q;
			return input.dispatchEvent(%s);
		})()`, name, value, event)))
	}
	offered := func(name, text string) string {
		t.Helper()
		typed(name, text, `new InputEvent("input", {bubbles: true})`)
		do(t, b, chromedp.WaitReady(chromedp.CSS("#values option")))
		return do(t, b, chromedp.Evaluate[string](`document.querySelector("#values option").value`))
	}
	if got := offered("signature", "!~cache"); !strings.HasPrefix(got, "!~") || !strings.Contains(strings.ToLower(got), "cache") {
		t.Errorf("offered for a signature without cache: %q", got)
	}
	typed("signature", "", `new Event("change")`)
	do(t, b, chromedp.Evaluate[bool](`document.querySelector("#values").replaceChildren() === undefined`))
	value := offered("q", "layout")
	typed("q", value, `new Event("input", {bubbles: true})`)
	do(t, b, chromedp.WaitVisible(chromedp.CSS(".chip + .chip")))
	address, err := url.Parse(do(t, b, chromedp.Location()))
	if err != nil {
		t.Fatal(err)
	}
	if q := address.Query(); q.Get("product") != "Kite" || q.Get("signature") != "="+value && q.Get("signature") != "" || !strings.Contains(address.RawQuery, "layout") {
		t.Errorf("choosing %q leads to %s", value, address)
	}
}

// What a page shows a part of can be had whole.
func TestDownloads(t *testing.T) {
	b := tab(t, 1280, "light")
	open(t, b, "/search/?product=Kite")
	for selector, first := range map[string]string{"#crash-reports a[download]": "uuid,date,signature", "#signatures a[download]": "signature,count"} {
		address := do(t, b, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).href", selector)))
		r, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), first) || strings.Count(string(body), "\n") < 3 {
			t.Errorf("%s: %s, %v, %.200s", address, r.Status, err, body)
		}
	}
}

// No page is wider than a phone or loads anything from elsewhere.
func TestPhone(t *testing.T) {
	b := tab(t, 390, "dark")
	for name, path := range pages(t) {
		open(t, b, path)
		if width := do(t, b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); width > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", name, width)
		}
		if n := do(t, b, chromedp.Evaluate[int](`performance.getEntriesByType("resource").filter(r => !r.name.startsWith(location.origin)).length`)); n > 0 {
			t.Errorf("%s loads %d things from elsewhere", name, n)
		}
		if background := do(t, b, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`)); background != "rgb(20, 23, 28)" {
			t.Errorf("%s is not dark for a reader who wants it: %s", name, background)
		}
	}
}

// pages are the pages with a picture each.
func pages(t *testing.T) map[string]string {
	t.Helper()
	r, err := http.Get(site + "/api/SuperSearch/?signature=^kite::layout&_columns=uuid&_results_number=1&_facets_size=0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(body), `"uuid":"`)
	if !ok {
		t.Fatalf("no crash found: %s", body)
	}
	return map[string]string{
		"home": "/", "search": "/search/?product=Kite", "signature": "/signature/?signature=kite::layout::Box::measure",
		"report": "/report/index/" + after[:36], "help": "/documentation/", "signin": "/login/", "missing": "/uploads/missing/",
	}
}

// TestScreenshots takes a picture of every page, light and dark, wide and
// narrow, into the folder MAYDAY_SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("MAYDAY_SCREENSHOTS")
	if dir == "" {
		t.Skip("MAYDAY_SCREENSHOTS names no folder; see make screenshots")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		width  int64
		scheme string
	}{{1280, "light"}, {1280, "dark"}, {390, "light"}} {
		b := tab(t, c.width, c.scheme)
		for name, path := range pages(t) {
			open(t, b, path)
			picture := do(t, b, chromedp.FullScreenshot(100))
			file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, c.scheme, c.width))
			if err := os.WriteFile(file, picture, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Log(file)
		}
	}
}
