package fetch

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/dump"
)

const theirs = "MODULE Linux x86_64 44E4EC8C2F41492B9369D6B9A059577CA a b.so\n"

var placedID = symbols.ModuleID{DebugFile: "a b.so", DebugID: "44E4EC8C2F41492B9369D6B9A059577CA", CodeFile: "a b.so", CodeID: "8cece444412f2b499369d6b9a059577c0badcafe"}

// outside is a server that counts what it is asked for.
type outside struct {
	URL   string
	mu    sync.Mutex
	asked map[string]int
	all   int
}

func (o *outside) count(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if path == "" {
		return o.all
	}
	return o.asked[path]
}

func serve(t *testing.T, h http.HandlerFunc) *outside {
	t.Helper()
	o := &outside{asked: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked[r.URL.Path]++
		o.all++
		o.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(s.Close)
	o.URL = s.URL
	return o
}

// files serves texts by path.
func files(texts map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, ok := texts[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, b)
	}
}

func openPlaces(t *testing.T, o PlacesOptions, addresses ...string) *Places {
	t.Helper()
	p, err := OpenPlaces(t.Context(), addresses, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func webOf(p *Places) *web {
	for _, at := range p.list {
		if s, ok := at.(*tecken); ok {
			return s.web
		}
	}
	return nil
}

func readAll(t *testing.T, r io.ReadCloser, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPlacesInOrder(t *testing.T) {
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) })
	empty := serve(t, http.NotFound)
	full := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x/a b.so/44E4EC8C2F41492B9369D6B9A059577CA/a b.so.sym" {
			http.NotFound(w, r)
			return
		}
		z := gzip.NewWriter(w) // without saying so, as some stores do
		_, _ = io.WriteString(z, theirs)
		_ = z.Close()
	})
	p := openPlaces(t, PlacesOptions{}, broken.URL, empty.URL, full.URL+"/x/")
	now := time.Unix(1000, 0)
	webOf(p).now = func() time.Time { return now }
	for range 3 {
		r, err := p.Fetch(t.Context(), placedID)
		if got := readAll(t, r, err); got != theirs {
			t.Errorf("got %q", got)
		}
	}
	if n := broken.count(""); n != 1 {
		t.Errorf("the broken server was asked %d times within a second", n)
	}
	if n := empty.count(""); n != 2 { // both spellings of the id
		t.Errorf("the empty server was asked %d times for the same", n)
	}
	now = now.Add(2 * time.Second)
	other := placedID
	other.DebugFile = "other.so"
	if _, err := p.Fetch(t.Context(), other); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want unavailable: one did not answer", err)
	}
	if n := broken.count(""); n != 2 {
		t.Errorf("the broken server was asked %d times after its rest", n)
	}
	now = now.Add(2 * time.Hour)
	r, err := p.Fetch(t.Context(), placedID)
	readAll(t, r, err)
	if n := empty.count("/a b.so/44E4EC8C2F41492B9369D6B9A059577CA/a b.so.sym"); n != 2 {
		t.Errorf("the empty server was asked %d times, want again after what it has not is forgotten", n)
	}
	if _, err := openPlaces(t, PlacesOptions{}, empty.URL).Fetch(t.Context(), placedID); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v, want not found", err)
	}
}

// A server that begins an answer and never ends it is given up, and left alone
// for a time that grows with what it took.
func TestPlacesThatStall(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, theirs)
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	p := openPlaces(t, PlacesOptions{}, s.URL)
	webOf(p).stall = 50 * time.Millisecond
	r, err := p.Fetch(t.Context(), placedID)
	if err == nil {
		_, err = io.ReadAll(r)
		r.Close()
	}
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if _, err := p.Fetch(t.Context(), placedID); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("right after: %v, want left alone", err)
	}
	if n := s.count(""); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w := webOf(p)
	w.leave("slow", 20*time.Second)
	if pause := w.rests["slow"].pause; pause != 2*time.Minute {
		t.Errorf("a failure of 20 s makes a pause of %s, want 2 min", pause)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openPlaces(t, PlacesOptions{}, s.URL).Fetch(ctx, placedID); !fault.Is(err, fault.Canceled) {
		t.Errorf("who gave up gets %v", err)
	}
}

// Redirects lead to public addresses alone, unless others are listed.
func TestPlacesStayOutside(t *testing.T) {
	inner := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, theirs) })
	u, err := url.Parse(inner.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		host := "127.0.0.1:" + u.Port()
		if strings.Contains(r.URL.Path, "by name") {
			host = "localhost:" + u.Port()
		}
		http.Redirect(w, r, "http://"+host+"/secret", http.StatusFound)
	})
	for _, c := range []struct {
		name    string
		private []string
		base    string
		reached bool
	}{
		{"address", nil, front.URL, false},
		{"name", nil, front.URL + "/by name", false},
		{"another network", []string{"10.0.0.0/8", "192.168.1.1"}, front.URL, false},
		{"network is listed", []string{"127.0.0.0/8"}, front.URL, true},
		{"address is listed", []string{"127.0.0.1"}, front.URL, true},
		{"host is listed", []string{"LOCALHOST"}, front.URL + "/by name", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := inner.count("")
			r, err := openPlaces(t, PlacesOptions{Private: c.private}, c.base).Fetch(t.Context(), placedID)
			if c.reached {
				if got := readAll(t, r, err); got != theirs {
					t.Errorf("got %q", got)
				}
				return
			}
			if err == nil || inner.count("") != before {
				t.Errorf("a private address was reached: %v", err)
			}
		})
	}
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	if _, err := openPlaces(t, PlacesOptions{}, loop.URL).Fetch(t.Context(), placedID); err == nil || loop.count("") > maxRedirects+1 {
		t.Errorf("%v after %d redirects", err, loop.count(""))
	}
	w := newWeb(PlacesOptions{Log: nil})
	for address, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1": true, "10.1.2.3": false, "100.64.1.1": false, "169.254.169.254": false,
		"fe80::1": false, "fd00::1": false, "::1": false, "0.0.0.0": false, "224.0.0.1": false} {
		if got := w.reachable(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is reachable: %v, want %v", address, got, want)
		}
	}
}

// cabinet makes a cabinet of one stored member.
func cabinet(name, text string) string {
	le := binary.LittleEndian
	b := append([]byte("MSCF"), make([]byte, 32)...)
	b[24], b[25] = 3, 1
	le.PutUint16(b[26:], 1) // folders
	le.PutUint16(b[28:], 1) // files
	le.PutUint32(b[16:], 44)
	file := le.AppendUint32(nil, uint32(len(text)))
	file = append(file, make([]byte, 12)...)
	file = append(append(file, name...), 0)
	folder := le.AppendUint32(nil, uint32(44+len(file)))
	folder = le.AppendUint16(folder, 1)
	folder = le.AppendUint16(folder, 0)
	b = append(append(b, folder...), file...)
	b = le.AppendUint32(b, 0) // no checksum
	b = le.AppendUint16(b, uint16(len(text)))
	b = le.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	le.PutUint32(b[8:], uint32(len(b)))
	return string(b)
}

func TestMicrosoft(t *testing.T) {
	id := symbols.ModuleID{DebugFile: "wntdll.pdb", DebugID: "3844DBB920174967BE7AA4A2C20430FAB", CodeFile: "ntdll.dll", CodeID: "4CE7BA5813D000"}
	for _, c := range []struct {
		name  string
		files map[string]string
		kind  FileKind
		want  string
	}{
		{"plain", map[string]string{"/s/wntdll.pdb/3844DBB920174967BE7AA4A2C20430FAB/wntdll.pdb": "pdb"}, DebugFile, "pdb"},
		{"small letters in the age", map[string]string{"/s/wntdll.pdb/3844DBB920174967BE7AA4A2C20430FAb/wntdll.pdb": "pdb"}, DebugFile, "pdb"},
		{"cabinet", map[string]string{"/s/wntdll.pdb/3844DBB920174967BE7AA4A2C20430FAB/wntdll.pd_": cabinet("WNTDLL.PDB", "packed")}, DebugFile, "packed"},
		{"two tiers", map[string]string{"/s/index2.txt": "", "/s/wn/wntdll.pdb/3844DBB920174967BE7AA4A2C20430FAB/wntdll.pd_": cabinet("x", "two")}, DebugFile, "two"},
		{"executable", map[string]string{"/s/ntdll.dll/4CE7BA5813d000/ntdll.dll": "dll"}, Executable, "dll"},
		{"nothing", nil, Executable, ""},
		{"broken cabinet", map[string]string{"/s/wntdll.pdb/3844DBB920174967BE7AA4A2C20430FAB/wntdll.pd_": "MSCF\x00\x00\x00\x00"}, DebugFile, "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, files(c.files))
			p := openPlaces(t, PlacesOptions{TempDir: t.TempDir()}, "microsoft+"+s.URL+"/s")
			r, err := p.File(t.Context(), id, c.kind)
			switch c.want {
			case "":
				if !fault.Is(err, fault.NotFound) {
					t.Errorf("got %v, want not found", err)
				}
			case "error":
				if err == nil || fault.Is(err, fault.NotFound) {
					t.Errorf("got %v, want an error", err)
				}
			default:
				if got := readAll(t, r, err); got != c.want {
					t.Errorf("got %q", got)
				}
				r, err = p.File(t.Context(), id, c.kind)
				readAll(t, r, err)
				if n := s.count("/s/index2.txt"); n != 1 {
					t.Errorf("asked %d times how the store is divided", n)
				}
			}
			if _, err := p.Fetch(t.Context(), id); !fault.Is(err, fault.NotFound) {
				t.Errorf("text: got %v, want not found", err)
			}
			if left, _ := filepath.Glob(filepath.Join(p.tempDir, "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestDebuginfod(t *testing.T) {
	s := serve(t, files(map[string]string{"/buildid/" + placedID.CodeID + "/debuginfo": "elf", "/buildid/" + placedID.CodeID + "/executable": "program"}))
	p := openPlaces(t, PlacesOptions{}, "debuginfod+"+s.URL)
	for kind, want := range map[FileKind]string{DebugFile: "elf", Executable: "program"} {
		r, err := p.File(t.Context(), placedID, kind)
		if got := readAll(t, r, err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	before := s.count("")
	for _, id := range []symbols.ModuleID{{DebugFile: "a.pdb", DebugID: placedID.DebugID}, {DebugFile: "a.pdb", CodeID: "4CE7BA5813D000"}, {CodeID: "../../../etc/passwd"}} {
		if _, err := p.File(t.Context(), id, DebugFile); !fault.Is(err, fault.NotFound) {
			t.Errorf("%+v: %v", id, err)
		}
	}
	if s.count("") != before {
		t.Error("asked for what has no build id")
	}
}

func TestDirectoriesAndBuckets(t *testing.T) {
	rel, _ := placedID.Path()
	dir := t.TempDir()
	for path, text := range map[string]string{rel: theirs, "a b.so/8CECE444412f2b499369d6b9a059577c0badcafe/a b.so": "program"} {
		p := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := memblob.OpenBucket(nil)
	defer b.Close()
	if err := b.WriteAll(t.Context(), rel, []byte(theirs), nil); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Places{
		"path": openPlaces(t, PlacesOptions{}, dir), "file URL": openPlaces(t, PlacesOptions{}, "file://"+filepath.ToSlash(dir)),
		"behind an empty bucket": openPlaces(t, PlacesOptions{}, "mem://", dir), "bucket": {list: []place{objects{b}}},
	} {
		r, err := p.Fetch(t.Context(), placedID)
		if got := readAll(t, r, err); got != theirs {
			t.Errorf("%s: got %q", name, got)
		}
		if _, err := p.Fetch(t.Context(), symbols.ModuleID{DebugFile: "../../x", DebugID: placedID.DebugID}); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "path" {
			r, err := p.File(t.Context(), placedID, Executable)
			if got := readAll(t, r, err); got != "program" {
				t.Errorf("%s: got %q", name, got)
			}
		}
	}
	for _, bad := range []string{"ftp+https://host/", "nothing://x", "https://", "file://host/x", "symbols"} {
		if _, err := OpenPlaces(t.Context(), []string{bad}, PlacesOptions{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want invalid", bad, err)
		}
	}
}

// converter makes symbols of files that begin with a word.
type converter struct{}

func (converter) Convert(_ context.Context, w io.Writer, in dump.Input) error {
	read := func(r io.ReaderAt, size int64) string {
		b, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	text, ok := strings.CutPrefix(read(in.Binary, in.Size), "raw ")
	if !ok {
		return fault.New(fault.Unsupported, "%s is nothing known", in.Name)
	}
	if in.Debug != nil {
		text += " and " + read(in.Debug, in.DebugSize)
	}
	_, err := fmt.Fprintf(w, "made of %s", text)
	return err
}

func TestConverted(t *testing.T) {
	path := "/buildid/" + placedID.CodeID + "/"
	unknown, known := serve(t, files(map[string]string{path + "debuginfo": "what"})), serve(t, files(map[string]string{path + "debuginfo": "raw file"}))
	both := serve(t, files(map[string]string{path + "debuginfo": "debug file", path + "executable": "raw program"}))
	tmp := t.TempDir()
	for want, servers := range map[string][]string{"made of file": {unknown.URL, known.URL}, "made of program and debug file": {both.URL, known.URL}} {
		var places []string
		for _, s := range servers {
			places = append(places, "debuginfod+"+s)
		}
		p := openPlaces(t, PlacesOptions{Convert: converter{}, TempDir: tmp}, places...)
		r, err := p.Fetch(t.Context(), placedID)
		if got := readAll(t, r, err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		pdb := placedID
		pdb.DebugFile = "a.PDB"
		if r, err := p.Fetch(t.Context(), pdb); !fault.Is(err, fault.NotFound) {
			t.Errorf("%v, %v", r, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestLimited(t *testing.T) {
	r := &limited{r: strings.NewReader("0123456789"), left: 9, what: "x"}
	if _, err := io.ReadAll(r); !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v, want too large", err)
	}
}
