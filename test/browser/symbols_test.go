package browser

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// signIn signs a browser in as a new user with every permission.
func signIn(t *testing.T, b context.Context, email string) {
	t.Helper()
	out, err := exec.Command(program, "user", "add", "--data-dir", data, "--admin", email).CombinedOutput()
	link := regexp.MustCompile(`/login/link\?key=[0-9a-f]+`).Find(out)
	if err != nil || link == nil {
		t.Fatalf("no sign-in link: %v\n%s", err, out)
	}
	open(t, b, string(link))
	do(t, b, chromedp.Click(chromedp.CSS("main form button")))
	do(t, b, chromedp.WaitVisible(chromedp.CSS(".who button")))
}

// makeToken makes an upload token on the page and returns what it shows.
func makeToken(t *testing.T, b context.Context) string {
	t.Helper()
	open(t, b, "/tokens/")
	do(t, b, chromedp.Click(chromedp.CSS("input[value=upload_symbols]")))
	do(t, b, chromedp.SetValue(chromedp.CSS("input[name=notes]"), "nightly builds"))
	click(t, b, "#make button", "#new-token")
	return strings.TrimSpace(text(t, b, "#new-token pre"))
}

// send uploads an archive of symbols of a program with a token.
func send(t *testing.T, token, program string) {
	t.Helper()
	const id = "44E4EC8C2F41492B9369D6B9A059577C2"
	var archive, body bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, name := range []string{program + ".pdb", "lib" + program + "-with-quite-a-long-name.so"} {
		f, err := z.Create(name + "/" + id + "/" + strings.TrimSuffix(name, ".pdb") + ".sym")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "MODULE windows x86_64 %s %s\nINFO GENERATOR mozilla/dump_syms 2.3.9\nFUNC 1000 10 0 main\n1000 10 1 0\n", id, name)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m := multipart.NewWriter(&body)
	part, err := m.CreateFormFile("f", "kite-2.1-symbols.zip")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(archive.Bytes()) // a buffer takes all
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, site+"/upload/", &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Auth-Token", token)
	r.Header.Set("Content-Type", m.FormDataContentType())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(answer.Body)
		t.Fatalf("upload: %d %s", answer.StatusCode, said)
	}
}

// Somebody makes a token, uploads with it, finds the upload, its file and what
// is wrong with it, pins it, and leaves a driver out of the missing symbols.
func TestSymbols(t *testing.T) {
	b := tab(t, 1280, "light")
	signIn(t, b, "builder@example.com")
	token := makeToken(t, b)
	if len(token) != 32 {
		t.Fatalf("the token is %q", token)
	}
	open(t, b, "/tokens/")
	if page := text(t, b, "main"); strings.Contains(page, token) || !strings.Contains(page, "nightly builds") {
		t.Errorf("the token is shown again, or not listed:\n%s", page)
	}
	send(t, token, "kite")
	open(t, b, "/")
	click(t, b, `nav[aria-label=Main] a[href="/uploads/"]`, "#uploads td a")
	click(t, b, "#uploads td a", "#files td.sig a")
	if shown := text(t, b, "#files"); !strings.Contains(shown, "no-cfi") || !strings.Contains(shown, "kite.pdb/44E4EC8C2F41492B9369D6B9A059577C2/kite.sym") {
		t.Errorf("the files: %s", shown)
	}
	do(t, b, chromedp.SetValue(chromedp.CSS("#pin input[name=note]"), "release 2.1"))
	click(t, b, "#pin button", "h1 .badge.good")
	if shown := text(t, b, "#pin"); !strings.Contains(shown, "release 2.1") {
		t.Errorf("the pin: %s", shown)
	}
	click(t, b, "#files td.sig a", "main .note")
	if shown := text(t, b, "main .note"); !strings.Contains(shown, "no STACK record") {
		t.Errorf("the fault: %s", shown)
	}
	answer, err := http.Get(site + "/nvoglv64.pdb/54E4EC8C2F41492B9369D6B9A059577C2/nvoglv64.sym?code_file=nvoglv64.dll&code_id=5AF1C0DE1A000")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer, err = http.Get(site + "/missingsymbols.csv"); err != nil { // writes what was counted
		t.Fatal(err)
	}
	answer.Body.Close()
	click(t, b, `nav.tabs a[href="/uploads/missing/"]`, "#missing")
	if shown := text(t, b, "#missing"); !strings.Contains(shown, "nvoglv64.pdb") {
		t.Errorf("the missing symbols: %s", shown)
	}
	do(t, b, chromedp.SetValue(chromedp.CSS("#ignores input[name=pattern]"), "nvoglv*"))
	click(t, b, "#ignores form:last-child button", "#ignores td.mono")
	if shown := text(t, b, "#missing"); strings.Contains(shown, "nvoglv64.pdb") {
		t.Errorf("still missing: %s", shown)
	}
}

// The pages about symbols fit a phone, and a picture of each is taken where
// TestScreenshots takes them.
func TestSymbolPages(t *testing.T) {
	dir := os.Getenv("MAYDAY_SCREENSHOTS")
	b := tab(t, 390, "light")
	signIn(t, b, "phone@example.com")
	send(t, makeToken(t, b), "sloop")
	open(t, b, "/uploads/")
	paths := map[string]string{"uploads": "/uploads/", "files": "/uploads/files/", "missing": "/uploads/missing/", "tokens": "/tokens/"}
	click(t, b, "#uploads td a", "#files td.sig a")
	paths["upload"] = strings.TrimPrefix(do(t, b, chromedp.Location()), site)
	click(t, b, "#files td.sig a", "main .note")
	paths["file"] = strings.TrimPrefix(do(t, b, chromedp.Location()), site)
	for name, path := range paths {
		for _, width := range []int64{390, 1280} {
			if _, err := chromedp.Run(b, chromedp.EmulateViewport(width, 900)); err != nil {
				t.Fatal(err)
			}
			open(t, b, path)
			if got := do(t, b, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); got > width {
				t.Errorf("%s is %d pixels wide on %d", name, got, width)
			}
			if dir == "" {
				continue
			}
			picture := do(t, b, chromedp.FullScreenshot(100))
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("symbols-%s-%d.png", name, width)), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
