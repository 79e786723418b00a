package server_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/filebucket"
	"mayday/symbols"
	"mayday/symbols/sample"
	"mayday/symbols/server"
)

// tokens knows callers by short tokens.
type tokens map[string]server.Caller

func (t tokens) Caller(c echo.Context, key string) (server.Caller, error) {
	if h := c.Request().Header.Get("Auth-Token"); h != "" {
		key = h
	}
	if key == "" {
		return server.Caller{}, nil
	}
	if who, ok := t[key]; ok {
		return who, nil
	}
	return server.Caller{}, fault.New(fault.Forbidden, "API Token not matched")
}

type world struct {
	t     testing.TB
	url   string
	spool string
	dir   string

	mu      sync.Mutex
	arrived []symbols.ModuleID // guarded by mu
}

// start starts a server that ends with the test.
func start(t testing.TB, edit func(*server.Options)) *world {
	t.Helper()
	s := raise(t, t.TempDir(), true, edit)
	t.Cleanup(s.stop)
	return s.world
}

// stage is a server over files that outlast it.
type stage struct {
	*world
	db   *catalog.DB
	stop func()
}

// raise starts a server in dir; work false leaves background work undone.
func raise(t testing.TB, dir string, work bool, edit func(*server.Options)) *stage {
	t.Helper()
	w := &world{t: t, spool: filepath.Join(dir, "spool"), dir: filepath.Join(dir, "symbols")}
	ctx, cancel := context.WithCancel(context.Background())
	db, err := catalog.Open(ctx, filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := filebucket.Open(w.dir, filebucket.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := tokens{}
	for i, p := range []catalog.Permission{catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads, catalog.ManageTokens} {
		email := string(p) + "@example.com"
		if _, err := db.AddUser(ctx, email, catalog.Permissions{p}); err != nil {
			t.Fatal(err)
		}
		all[string(p)] = server.Caller{Email: email, UserID: int64(i + 1), Permissions: catalog.Permissions{p}, Token: true, Expires: time.Now().Add(time.Hour)}
	}
	o := server.Options{Catalog: db, Bucket: bucket, Callers: all, Spool: w.spool,
		Config: config.Symbols{MaxUpload: 64 << 20, DisallowedSnippets: []string{"qcom/proprietary"}, Domains: []string{"files.example.com"}},
		Arrived: func(_ context.Context, id symbols.ModuleID) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.arrived = append(w.arrived, id)
		}}
	if edit != nil {
		edit(&o)
	}
	s := server.New(o)
	e := echo.New()
	s.Mount(e)
	h := httptest.NewServer(e)
	w.url = h.URL
	done := make(chan error, 1)
	if work {
		go func() { done <- s.Run(ctx) }()
	} else {
		done <- nil
	}
	return &stage{world: w, db: db, stop: func() {
		h.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		bucket.Close()
		db.Close()
	}}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return v
}

func (w *world) do(method, path, token string, body io.Reader, header ...string) answer {
	w.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = w.url + path
	}
	r, err := http.NewRequest(method, path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Auth-Token", token)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

func form(name, filename string, data []byte, fields ...string) (io.Reader, string) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = m.WriteField(fields[i], fields[i+1]) // a buffer takes all
	}
	p, _ := m.CreateFormFile(name, filename)
	_, _ = p.Write(data)
	_ = m.Close()
	return &b, m.FormDataContentType()
}

func zipped(files ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		f, _ := z.Create(files[i])
		_, _ = io.WriteString(f, files[i+1])
	}
	_ = z.Close()
	return b.Bytes()
}

func (w *world) upload(token string, archive []byte, header ...string) answer {
	w.t.Helper()
	body, kind := form("symbols.zip", "symbols.zip", archive)
	return w.do("POST", "/upload/", token, body, append(header, "Content-Type", kind)...)
}

const id1 = "44E4EC8C2F41492B9369D6B9A059577C2"

func symText(name, id string) string {
	return "MODULE windows x86_64 " + id + " " + name + "\nINFO CODE_ID 5AF1C0DE1A000 xul.dll\nINFO GENERATOR mozilla/dump_syms 2.3.9\nFUNC 1000 10 0 main\n"
}

func TestUploadDownload(t *testing.T) {
	w := start(t, nil)
	key, text := "xul.pdb/"+id1+"/xul.sym", symText("xul.pdb", id1)
	if a := w.upload("upload_symbols", zipped(key, text)); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if len(w.arrived) != 1 || w.arrived[0].DebugFile != "xul.pdb" || w.arrived[0].DebugID != id1 {
		t.Errorf("arrived: %v", w.arrived)
	}
	plain := w.do("GET", "/"+key, "", nil)
	if plain.status != 200 || string(plain.body) != text {
		t.Errorf("%d %q", plain.status, plain.body)
	}
	packed := w.do("GET", "/"+strings.ToLower(key[:41])+key[41:], "", nil, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(packed.body))
	if err != nil || packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Content-Length") != fmt.Sprint(len(packed.body)) {
		t.Fatalf("%v %v", err, packed.header)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != text {
		t.Errorf("%q %v", got, err)
	}
	tag := packed.header.Get("ETag")
	if a := w.do("GET", "/"+key, "", nil, "Accept-Encoding", "gzip", "If-None-Match", tag); a.status != 304 || tag == plain.header.Get("ETag") {
		t.Errorf("ETag %s: %d", tag, a.status)
	}
	if a := w.do("GET", "/"+key, "", nil, "Accept-Encoding", "gzip", "Range", "bytes=2-9"); a.status != 206 || !bytes.Equal(a.body, packed.body[2:10]) {
		t.Errorf("range: %d %x", a.status, a.body)
	}
	// A client that takes no gzip gets parts of the text.
	for asked, want := range map[string]string{"bytes=0-5": text[:6], "bytes=40-": text[40:], "bytes=-7": text[len(text)-7:]} {
		a := w.do("GET", "/"+key, "", nil, "Range", asked)
		if a.status != 206 || string(a.body) != want || a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %q, want %q", asked, a.status, a.body, want)
		}
	}
	for asked, want := range map[string]int{"bytes=0-1,4-5": 200, fmt.Sprintf("bytes=%d-", len(text)): 416} {
		if a := w.do("GET", "/"+key, "", nil, "Range", asked); a.status != want {
			t.Errorf("%s: %d, want %d", asked, a.status, want)
		}
	}
	if a := w.do("HEAD", "/"+key, "", nil); a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(len(text)) || a.header.Get("ETag") != plain.header.Get("ETag") {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	if a := w.do("GET", "/xul.dll/5af1c0de1a000/xul.sym?x=1", "", nil); a.status != 302 || a.header.Get("Location") != "/"+key+"?x=1" {
		t.Errorf("code id: %d %s", a.status, a.header.Get("Location"))
	}
	if a := w.upload("upload_symbols", zipped(key, text), "Accept", "text/html,*/*"); a.status != 303 || a.header.Get("Location") != "/uploads/upload/2" {
		t.Errorf("a browser: %d %s", a.status, a.header.Get("Location"))
	}
	if a := w.upload("upload_symbols", zipped(key, text)).json(t); len(a["upload"].(map[string]any)["skipped_keys"].([]any)) != 1 {
		t.Errorf("not skipped: %v", a)
	}
	w.nothingSpooled()
}

func (w *world) nothingSpooled() {
	w.t.Helper()
	left, err := os.ReadDir(w.spool)
	if err != nil || len(left) > 0 {
		w.t.Errorf("left in the spool: %v %v", left, err)
	}
}

func (w *world) objects() (n int) {
	_ = filepath.WalkDir(w.dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

func TestRefusedUploadsLeaveNothing(t *testing.T) {
	w := start(t, nil)
	good, text := "a.so/"+id1+"/a.so.sym", symText("a.so", id1)
	broken := zipped(good, text, "b.so/"+id1+"/b.so.sym", strings.Repeat("x", 9000))
	broken[bytes.LastIndex(broken, []byte("PK\x01\x02"))+16] ^= 1
	bomb := zipped("a.so/"+id1+"/a.so.sym", strings.Repeat("\x00", 1<<20))
	at := bytes.LastIndex(bomb, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(bomb[at+24:], 0xfffffff0)
	le := binary.LittleEndian
	overlapping := zipped(good, text, "b.so/"+id1+"/a.so.sym", text)
	le.PutUint32(overlapping[bytes.LastIndex(overlapping, []byte("PK\x01\x02"))+42:], 0)
	encrypted := zipped(good, text)
	encrypted[bytes.Index(encrypted, []byte("PK\x01\x02"))+8] |= 1
	counts := zipped(good, text)
	for _, at := range []int{8, 10} {
		le.PutUint16(counts[bytes.LastIndex(counts, []byte("PK\x05\x06"))+at:], 0xffff)
	}
	tenGigabytes := zip64(good, text, 10<<30)
	for _, c := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"checksum of the last member", broken, "Bad CRC-32"},
		{"claims 4 GB", bomb, "claims"},
		{"leaves the store", zipped(good, text, "../"+id1+"/x.sym", "x"), "Unrecognized file pattern"},
		{"dots", zipped("a/1F/..", "x"), "Unrecognized file pattern"},
		{"absolute", zipped("/etc/1F/passwd", "x"), "Unrecognized file pattern"},
		{"backslash", zipped("a\\b/1F/x.sym", "x"), `(First unrecognized pattern was 'a\b/1F/x.sym')`},
		{"quote", zipped(`a/1F/x"`, "x"), `(First unrecognized pattern was 'a/1F/x"')`},
		{"what nobody sees", zipped("a/1F/x\x7f", "x"), "(First unrecognized pattern was 'a/1F/x\ufffd')"},
		{"NUL", zipped("a\x00b/1F/x.sym", "x"), "Unrecognized file pattern"},
		{"too long", zipped(strings.Repeat("a", 201)+"/1F/x.sym", "x"), "Unrecognized file pattern"},
		{"deep", zipped("a/1F/b/x.sym", "x"), "Unrecognized file pattern"},
		{"twice", zipped(good, "x", good, "yy"), "twice"},
		{"forbidden", zipped("qcom/proprietary/x.sym", "x"), "qcom/proprietary"},
		{"no zip", []byte("x"), "not a zip"},
		{"empty", nil, "not a zip"},
		{"members over each other", overlapping, "overlaps"},
		{"claims 10 GB", tenGigabytes, "claims"},
		{"claims 65,535 members", counts, "with 65535 members"},
		{"cut off", zipped(good, text)[:60], "not a zip"},
		{"encrypted", encrypted, "encrypted"},
		{"long snippet", zipped("x/"+strings.Repeat("y", 300)+"/qcom/proprietary", "x"), "qcom/proprietary"},
		{"id without digits", zipped("a.so/xyz/a.so.sym", "x"), "Unrecognized file pattern"},
		{"id too long", zipped("a.so/"+strings.Repeat("F", 200)+"/a.so.sym", "x"), "Unrecognized file pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.upload("upload_symbols", c.archive)
			if msg, _ := a.json(t)["error"].(string); a.status != 400 || !strings.Contains(msg, c.want) {
				t.Errorf("%d %s, want 400 with %q", a.status, a.body, c.want)
			}
			if n := w.objects(); n != 0 {
				t.Errorf("%d objects were kept", n)
			}
			w.nothingSpooled()
		})
	}
}

// zip64 makes an archive whose one member claims a size beyond 4 GB.
func zip64(name, text string, size uint64) []byte {
	plain := zipped(name, text)
	le := binary.LittleEndian
	at := bytes.Index(plain, []byte("PK\x01\x02"))
	end := bytes.Index(plain, []byte("PK\x05\x06"))
	dir := bytes.Clone(plain[at:end])
	le.PutUint32(dir[24:], 1<<32-1)
	le.PutUint16(dir[30:], 12)
	field := make([]byte, 12)
	le.PutUint16(field, 1)
	le.PutUint16(field[2:], 8)
	le.PutUint64(field[4:], size)
	n := 46 + len(name)
	dir = append(append(bytes.Clone(dir[:n]), field...), dir[n:]...)
	tail := bytes.Clone(plain[end:])
	le.PutUint32(tail[12:], uint32(len(dir)))
	return append(append(bytes.Clone(plain[:at]), dir...), tail...)
}

// A member that unpacks to hundreds of megabytes is read through, not held.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 400 MB")
	}
	w := start(t, nil)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	block := []byte(strings.Repeat("FUNC 1000 10 0 main\n", 50_000))
	for i := range 4 {
		f, err := z.Create(fmt.Sprintf("a%d.so/%s/a.so.sym", i, id1))
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := f.Write(block); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if a := w.upload("upload_symbols", b.Bytes()); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("%d MB were allocated for 400 MB of text", used>>20)
	}
}

func TestTry(t *testing.T) {
	w := start(t, nil)
	key := "a.so/" + id1 + "/a.so.sym"
	body, kind := form("f", "x.zip", zipped(key, "x"), "try", "")
	if a := w.do("POST", "/upload/", "upload_try_symbols", body, "Content-Type", kind); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for path, want := range map[string]int{"/" + key: 404, "/try/" + key: 200, "/" + key + "?try": 200} {
		if a := w.do("GET", path, "", nil); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
}

func TestAsync(t *testing.T) {
	w := start(t, nil)
	key := "a.so/" + id1 + "/a.so.sym"
	a := w.upload("upload_symbols", zipped(key, "x"), "Prefer", "respond-async")
	if a.status != 202 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for deadline := time.Now().Add(100 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s := w.do("GET", a.header.Get("Location"), "upload_symbols", nil).json(t)
		if s["state"] == "done" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v", s)
		}
	}
	if a := w.do("GET", "/"+key, "", nil); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

func hash(b string) string { s := md5.Sum([]byte(b)); return hex.EncodeToString(s[:]) }

func TestResumedUpload(t *testing.T) {
	w := start(t, nil)
	key, text := "a.so/"+id1+"/a.so.sym", symText("a.so", id1)
	ask := fmt.Sprintf(`{"files":[{"key":%q,"size":%d,"md5_hash":%q}]}`, key, len(text), hash(text))
	first := func() map[string]any {
		a := w.do("POST", "/upload/v2/", "upload_symbols", strings.NewReader(ask))
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.json(t)["files"].([]any)[0].(map[string]any)["action"].(map[string]any)
	}
	address := first()["url"].(string)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	raw := b.Bytes()
	half := len(raw) / 2
	put := func(from, to int) answer {
		return w.do("PUT", address, "", bytes.NewReader(raw[from:to]), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(raw)))
	}
	if a := put(0, half); a.status != 308 || a.header.Get("Range") != fmt.Sprintf("bytes=0-%d", half-1) {
		t.Fatalf("%d %v", a.status, a.header)
	}
	if a := put(half+1, len(raw)); a.status != 400 {
		t.Errorf("a gap was taken: %d", a.status)
	}
	if a := w.do("PUT", address, "", nil, "Content-Range", fmt.Sprintf("bytes */%d", len(raw))); a.status != 308 {
		t.Errorf("asked how far it is: %d", a.status)
	}
	if a := put(half, len(raw)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.do("GET", "/"+key, "", nil); string(a.body) != text {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := first(); a["type"] != "skip" {
		t.Errorf("%v", a)
	}
	if a := w.do("GET", "/xul.dll/5AF1C0DE1A000/xul.sym", "", nil); a.status != 302 {
		t.Errorf("code id is not known: %d", a.status)
	}
	text += "PUBLIC 1 0 x\n"
	ask = strings.Replace(ask, `"md5_hash":"`, `"md5_hash":"0`, 1)
	ask = strings.Replace(ask, hash(text[:len(text)-len("PUBLIC 1 0 x\n")]), strings.Repeat("0", 31), 1)
	address = first()["url"].(string)
	if a := w.do("PUT", address, "", bytes.NewReader(raw)); a.status != 400 {
		t.Errorf("other bytes than announced: %d %s", a.status, a.body)
	}
	w.nothingSpooled()
}

func TestSymUploadV2(t *testing.T) {
	w := start(t, nil)
	text := symText("a.so", id1)
	for _, want := range []string{`"result": "OK"`, `"result": "DUPLICATE_DATA"`} {
		created := w.do("POST", "/v1/uploads:create?key=upload_symbols", "", nil)
		if created.status != 200 || !bytes.Contains(created.body, []byte(`"uploadUrl": "http`)) || !bytes.Contains(created.body, []byte(`"uploadKey": "`)) {
			t.Fatalf("%d %s", created.status, created.body)
		}
		v := created.json(t)
		if a := w.do("PUT", v["uploadUrl"].(string), "", strings.NewReader(text)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		done := w.do("POST", "/v1/uploads/"+v["uploadKey"].(string)+":complete?key=upload_symbols", "",
			strings.NewReader(`{"symbol_id":{"debug_file":"a.so","debug_id":"`+id1+`"},"symbol_upload_type":"BREAKPAD"}`))
		if done.status != 200 || !bytes.Contains(done.body, []byte(want)) {
			t.Errorf("%d %s, want %s", done.status, done.body, want)
		}
	}
	if a := w.do("GET", "/v1/symbols/a.so/"+id1+":checkStatus?key=upload_symbols", "", nil); !bytes.Contains(a.body, []byte(`"status": "FOUND"`)) {
		t.Errorf("%s", a.body)
	}
	if a := w.do("POST", "/v1/uploads:create?key=wrong", "", nil); a.status != 403 {
		t.Errorf("%d", a.status)
	}
	if a := w.do("GET", "/a.so/"+id1+"/a.so.sym", "", nil); string(a.body) != text {
		t.Errorf("%d %q", a.status, a.body)
	}
}

func TestBreakpadForm(t *testing.T) {
	w := start(t, nil)
	text := symText("a.so", id1)
	body, kind := form("symbol_file", "a.so.sym", []byte(text), "debug_file", "a.so", "debug_identifier", id1, "os", "Linux", "cpu", "x86_64", "type", "breakpad")
	if a := w.do("POST", "/upload/breakpad/?key=upload_symbols", "", body, "Content-Type", kind); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.do("GET", "/a.so/"+id1+"/a.so.sym", "", nil); string(a.body) != text {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// elf is a file with a build id and nothing else.
func elf() []byte { return sample.ELF([]byte("abcdefghijklmnopqrst")) }

func TestDebugFiles(t *testing.T) {
	w := start(t, nil)
	body, kind := form("file", "a.so", elf())
	a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind)
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	buildID := hex.EncodeToString([]byte("abcdefghijklmnopqrst"))
	for _, path := range []string{"/buildid/" + buildID + "/debuginfo", "/buildid/" + buildID + "/executable", "/a.so/" + buildID + "/a.so"} {
		if got := w.do("GET", path, "", nil); got.status != 200 || !bytes.Equal(got.body, elf()) {
			t.Errorf("%s: %d, %d bytes", path, got.status, len(got.body))
		}
	}
	if got := w.do("GET", "/buildid/"+buildID[:38]+"/debuginfo", "", nil); got.status != 404 {
		t.Errorf("%d", got.status)
	}
	if got := w.do("GET", "/a.so/"+a.json(t)["debug_id"].(string)+"/a.so.sym", "", nil); got.status != 404 {
		t.Errorf("nobody makes symbols: %d %q", got.status, got.body)
	}
	body, kind = form("file", "a.txt", []byte("neither"))
	if a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestMissing(t *testing.T) {
	w := start(t, nil)
	path := "/xul.pdb/" + id1 + "/xul.sym"
	for range 3 {
		w.do("GET", path+"?code_file=xul.dll&code_id=5af1c0de", "", nil)
	}
	w.do("HEAD", "/other.pdb/"+id1+"/other.sym", "", nil)
	w.do("GET", "/long.pdb/"+id1+"/long.sym?code_file="+strings.Repeat("x", 151), "", nil)
	if a := w.do("GET", "/missingsymbols.csv", "unknown", nil); a.status != 403 || a.header.Get("Vary") != "Auth-Token" {
		t.Errorf("CSV for a token that is none: %d %s", a.status, a.body)
	}
	if a := w.do("GET", "/missingsymbols.csv?today=1", "", nil); string(a.body) != "debug_file,debug_id,code_file,code_id\nxul.pdb,"+id1+",xul.dll,5AF1C0DE\n" {
		t.Errorf("%s", a.body)
	}
	if a := w.upload("upload_symbols", zipped(path[1:], "x")); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if n := w.do("GET", "/missingsymbols/", "", nil).json(t)["total_count"]; n != 0.0 {
		t.Errorf("%v are missing after they came", n)
	}
}

func TestUploadByURL(t *testing.T) {
	key := "a.so/" + id1 + "/a.so.sym"
	there := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/go.zip":
			http.Redirect(w, r, "/there.zip", http.StatusFound)
		case "/away.zip":
			http.Redirect(w, r, "https://169.254.169.254/x.zip", http.StatusFound)
		case "/there.zip":
			_, _ = w.Write(zipped(key, "x"))
		case "/round.zip":
			http.Redirect(w, r, "/round.zip", http.StatusFound)
		default:
			http.Error(w, "no", 404)
		}
	}))
	defer there.Close()
	c := there.Client()
	w := start(t, func(o *server.Options) {
		o.Client = c
		o.Config.Domains = []string{"127.0.0.1"}
	})
	for _, x := range []struct {
		url    string
		status int
		want   string
	}{
		{there.URL + "/go.zip", 201, `"redirect_urls":["` + there.URL + `/there.zip"]`},
		{there.URL + "/away.zip", 400, "Not an allowed domain ('169.254.169.254')"},
		{there.URL + "/round.zip", 400, "Too many redirects"},
		{there.URL + "/none.zip", 400, "can't be found (404)"},
		{"http://127.0.0.1/x.zip", 400, "Insecure URL"},
		{"https://127.0.0.1@evil.example.com/x.zip", 400, "Not an allowed domain ('evil.example.com')"},
		{"https://evil.example.com:443@127.0.0.1/x.zip", 400, "Not an allowed domain"},
	} {
		a := w.do("POST", "/upload/", "upload_symbols", strings.NewReader("url="+x.url), "Content-Type", "application/x-www-form-urlencoded")
		if a.status != x.status || !strings.Contains(string(a.body), x.want) {
			t.Errorf("%s: %d %s, want %d with %q", x.url, a.status, a.body, x.status, x.want)
		}
	}
}

// Without a client of its own the server connects to no inner address.
func TestUploadByURLStaysOutside(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Config.AnyDomain = true })
	for _, host := range []string{"127.0.0.1:1", "localhost:1", "[::1]:1", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]:1"} {
		a := w.do("POST", "/upload/", "upload_symbols", strings.NewReader("url=http://"+host+"/x.zip"), "Content-Type", "application/x-www-form-urlencoded")
		if a.status != 400 || !strings.Contains(string(a.body), "Not an allowed address") {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
	}
}
