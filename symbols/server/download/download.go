// Package download gives symbols to debuggers and crash processing: .sym files
// and raw debug files by name and id, as Tecken and Microsoft's symbol servers
// lay them out; programs, debug information and sources by build id, as
// elfutils' debuginfod does; and what is known of a module as JSON. It records
// what was asked for in vain.
//
// Handlers return errors of a fault kind, which whoever mounts them answers.
package download

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/server/missing"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// Options say what a Desk works with; all are needed.
type Options struct {
	Catalog *catalog.DB
	Bucket  *blob.Bucket
	Missing *missing.List
	Spool   *spool.Spool // holds copies of archives of sources
	Base    func(echo.Context) string
	Now     func() time.Time
}

// Desk hands out symbols; it is safe for concurrent use.
type Desk struct {
	files   *catalog.DB
	bucket  *blob.Bucket
	missing *missing.List
	spool   *spool.Spool
	base    func(echo.Context) string
	codes   *codeCache
	copies  store.Locks // of archives of sources
}

// New makes a desk.
func New(o Options) *Desk {
	return &Desk{files: o.Catalog, bucket: o.Bucket, missing: o.Missing, spool: o.Spool, base: o.Base, codes: newCodeCache(o.Now)}
}

// Forget drops what is remembered of code ids: something was uploaded.
func (d *Desk) Forget() { d.codes.forget() }

// extensions are those of files that are looked for; compared with case.
var extensions = [...]string{".sym", ".dl_", ".ex_", ".pd_", ".dbg.gz", ".tar.bz2", ".debug", ".dwarf"}

// wanted reports whether a file is worth looking for. Besides the extensions
// that symbol servers have, a debugger asks for a file by its own name.
func wanted(debugFile, id, file string) bool {
	if file == "file.ptr" || id == symbols.NoDebugID {
		return false
	}
	if file == debugFile {
		return true
	}
	for _, e := range extensions {
		if strings.HasSuffix(file, e) {
			return true
		}
	}
	return false
}

// Download is GET /<debug file>/<id>/<file>, also below /try/.
func (d *Desk) Download(c echo.Context) error {
	start := time.Now()
	r := c.Request()
	asked := strings.TrimPrefix(r.URL.Path, "/")
	_, try := r.URL.Query()["try"]
	inTry := false
	if rest, ok := strings.CutPrefix(asked, "try/"); ok && strings.Count(rest, "/") == 2 {
		asked, try, inTry = rest, true, true
	}
	debug := false
	switch strings.ToLower(r.Header.Get("Debug")) {
	case "1", "true", "yes":
		debug = true
	}
	if debug {
		c.Response().Header().Set("Debug-Time", "0.0")
	}
	debugFile, id, file, ok := store.Split(asked)
	if !ok {
		metrics.SymbolDownloads.Inc("ignored")
		return c.JSON(http.StatusNotFound, map[string]string{"error": "Not Found", "path": r.URL.Path})
	}
	if !wanted(debugFile, id, file) {
		metrics.SymbolDownloads.Inc("ignored")
		return c.String(http.StatusNotFound, "Symbol Not Found (and ignored)")
	}
	key := debugFile + "/" + id + "/" + file
	object, ofTry, err := d.find(r.Context(), key, try)
	if debug {
		c.Response().Header().Set("Debug-Time", strconv.FormatFloat(time.Since(start).Seconds(), 'f', -1, 64))
	}
	if err == nil {
		metrics.SymbolDownloads.Inc("found")
		defer object.Close()
		return d.send(c, object, key, ofTry)
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if strings.HasSuffix(file, ".sym") && len(id) < 33 {
		_, refresh := r.URL.Query()["_refresh"]
		key, err := d.byCode(r.Context(), debugFile, id, try, refresh)
		if err != nil {
			return err
		}
		if key != "" {
			metrics.SymbolDownloads.Inc("redirected")
			return c.Redirect(http.StatusFound, Address("", key, inTry, r.URL.RawQuery))
		}
	}
	if file == debugFile { // a debugger that knows the other id of a file
		files, err := d.files.RawFiles(r.Context(), debugFile, id, try)
		if err != nil {
			return err
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Key, "/"+file) {
				continue // its debug information, which has the same name and ids
			}
			if done, err := d.sendRaw(c, f); done || err != nil {
				return err
			}
		}
	}
	metrics.SymbolDownloads.Inc("missing")
	if r.Method == http.MethodGet {
		d.missing.Record(debugFile, id, file, r.URL.Query().Get("code_file"), r.URL.Query().Get("code_id"))
	}
	return c.String(http.StatusNotFound, "Symbol Not Found")
}

// Address is where a key is downloaded from.
func Address(base, key string, try bool, query string) string {
	var b strings.Builder
	b.WriteString(base)
	if try {
		b.WriteString("/try")
	}
	for _, part := range strings.Split(key, "/") {
		b.WriteString("/" + url.PathEscape(part))
	}
	if query != "" {
		b.WriteString("?" + query)
	}
	return b.String()
}

// find opens the object of a key, regular ones first, and says which it is.
func (d *Desk) find(ctx context.Context, key string, try bool) (r *blob.Reader, inTry bool, err error) {
	r, err = d.bucket.NewReader(ctx, store.Object(key, false), nil)
	if try && gcerrors.Code(err) == gcerrors.NotFound {
		inTry = true
		r, err = d.bucket.NewReader(ctx, store.Object(key, true), nil)
	}
	switch {
	case err == nil:
		return r, inTry, nil
	case gcerrors.Code(err) == gcerrors.NotFound, gcerrors.Code(err) == gcerrors.InvalidArgument:
		return nil, false, fault.New(fault.NotFound, "no symbols at %s", key)
	}
	return nil, false, fault.As(fault.Unavailable, err, "symbols %s", key)
}

// small objects are read whole; others are read where a range begins.
const small = 256 << 10

// send answers with an object. One that is kept gzipped and whose name does not
// say so goes out as it is to clients that take gzip, and unpacked to others.
func (d *Desk) send(c echo.Context, object *blob.Reader, key string, try bool) error {
	file := path.Base(key)
	w, r := c.Response(), c.Request()
	var content io.ReadSeeker = object
	var head [2]byte
	if object.Size() <= small {
		b := make([]byte, object.Size())
		if _, err := io.ReadFull(object, b); err != nil {
			return fault.As(fault.Unavailable, err, "read %s", file)
		}
		copy(head[:], b)
		content = bytes.NewReader(b)
	} else {
		if _, err := io.ReadFull(object, head[:]); err != nil {
			return fault.As(fault.Unavailable, err, "read %s", file)
		}
		if _, err := object.Seek(0, io.SeekStart); err != nil {
			return fault.As(fault.Unavailable, err, "read %s", file)
		}
	}
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	if strings.HasSuffix(file, ".sym") {
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	tag := fmt.Sprintf("%x-%x", object.ModTime().UnixNano(), object.Size())
	if head != [2]byte{0x1f, 0x8b} || strings.HasSuffix(file, ".gz") {
		header.Set("ETag", `"`+tag+`"`)
		http.ServeContent(w, r, "", object.ModTime(), content)
		return nil
	}
	header.Add("Vary", "Accept-Encoding")
	header.Set("Cache-Control", "no-transform")
	if !takesGzip(r.Header.Get("Accept-Encoding")) {
		header.Set("ETag", `"`+tag+`"`)
		if done, err := d.sendRange(c, object, content, key, try); done || err != nil {
			return err
		}
		return sendUnpacked(c, content, tag)
	}
	header.Set("Content-Encoding", "gzip")
	header.Set("ETag", `"`+tag+`-gz"`)
	if r.Header.Get("Range") == "" {
		header.Set("Content-Length", strconv.FormatInt(object.Size(), 10))
	}
	http.ServeContent(w, r, "", object.ModTime(), content)
	return nil
}

// sendRange answers a client that takes no gzip and wants a part, or only to
// know how much there is; not done says that the whole is to be sent. Several
// parts are not cut out: each could mean to unpack from the start.
func (d *Desk) sendRange(c echo.Context, object *blob.Reader, content io.ReadSeeker, key string, try bool) (done bool, err error) {
	r := c.Request()
	if text := r.Header.Get("Range"); r.Method != http.MethodHead && (text == "" || strings.Contains(text, ",")) {
		return false, nil
	}
	f, err := d.files.SymbolFileByKey(r.Context(), key, try)
	if fault.Is(err, fault.NotFound) || err == nil && f.Size != object.Size() { // another program put it there
		return false, nil
	}
	if err != nil {
		return false, err
	}
	http.ServeContent(c.Response(), r, "", object.ModTime(), &unpackedText{in: content, size: f.TextSize})
	return true, nil
}

// unpackedText is the text of a gzip file that can be read from anywhere.
type unpackedText struct {
	in   io.ReadSeeker
	size int64
	at   int64 // where the next read begins
	z    *gzip.Reader
	done int64 // what was read of z
}

// Seek implements io.Seeker.
func (u *unpackedText) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += u.at
	case io.SeekEnd:
		offset += u.size
	}
	if offset < 0 {
		return 0, fault.New(fault.Invalid, "seek to %d", offset)
	}
	u.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (u *unpackedText) Read(p []byte) (n int, err error) {
	if u.at >= u.size {
		return 0, io.EOF
	}
	if u.z == nil || u.done > u.at {
		if _, err := u.in.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		if u.z, err = gzip.NewReader(u.in); err != nil {
			return 0, err
		}
		u.done = 0
	}
	skipped, err := io.CopyN(io.Discard, u.z, u.at-u.done)
	if u.done += skipped; err != nil {
		return 0, err
	}
	n, err = u.z.Read(p[:min(int64(len(p)), u.size-u.at)])
	u.done += int64(n)
	u.at += int64(n)
	return n, err
}

func sendUnpacked(c echo.Context, content io.Reader, tag string) error {
	w, r := c.Response(), c.Request()
	if match := r.Header.Get("If-None-Match"); match != "" && strings.Contains(match, `"`+tag+`"`) {
		return c.NoContent(http.StatusNotModified)
	}
	z, err := gzip.NewReader(content)
	if err != nil {
		return fault.As(fault.Malformed, err, "stored symbols")
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(w, z)
	if err != nil {
		// The status is out; cutting the connection is the only way to tell.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// takesGzip reports whether an Accept-Encoding takes gzip.
func takesGzip(accept string) bool {
	for _, part := range strings.Split(accept, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		q = strings.ReplaceAll(q, " ", "")
		return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
	}
	return false
}

// codeCache remembers which symbols a code file and code id stand for.
type codeCache struct {
	now func() time.Time

	mu      sync.Mutex
	answers map[string]codeAnswer // guarded by mu
	version int                   // guarded by mu; counts calls of forget
}

type codeAnswer struct {
	key   string
	until time.Time
}

const (
	codeLife = 10 * time.Minute
	maxCodes = 50_000
)

func newCodeCache(now func() time.Time) *codeCache {
	return &codeCache{now: now, answers: map[string]codeAnswer{}}
}

func (c *codeCache) get(what string) (key string, version int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[what]
	return a.key, c.version, ok && c.now().Before(a.until)
}

// put keeps an answer unless something was uploaded since it was looked for.
func (c *codeCache) put(what, key string, version int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.version {
		return
	}
	if len(c.answers) >= maxCodes {
		clear(c.answers)
	}
	c.answers[what] = codeAnswer{key, c.now().Add(codeLife)}
}

// forget drops all answers: something was uploaded.
func (c *codeCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	clear(c.answers)
}

// byCode finds the key of the symbols that a code file and code id stand for;
// "" when there are none.
func (d *Desk) byCode(ctx context.Context, file, id string, try, refresh bool) (string, error) {
	what := strconv.FormatBool(try) + file + "/" + id
	key, version, ok := d.codes.get(what)
	if ok && !refresh {
		return key, nil
	}
	f, err := d.files.SymbolFileByModule(ctx, file, id, try)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	d.codes.put(what, f.Key, version)
	return f.Key, nil
}

// Syminfo is GET /api/syminfo/<file>/<id>.
func (d *Desk) Syminfo(c echo.Context) error {
	parts := strings.Split(strings.Trim(c.Request().URL.Path, "/"), "/")
	file, id := parts[len(parts)-2], strings.ToUpper(parts[len(parts)-1])
	if !store.GoodPart(file) || !symbols.IsHex(id) {
		return c.String(http.StatusNotFound, "Code file / id Not Found")
	}
	f, err := d.files.SymbolFileByModule(c.Request().Context(), file, id, true)
	if fault.Is(err, fault.NotFound) {
		return c.String(http.StatusNotFound, "Code file / id Not Found")
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"debug_id": f.DebugID, "debug_filename": f.DebugFile, "code_file": nullable(f.CodeFile),
		"code_id": nullable(f.CodeID), "generator": nullable(f.Generator), "url": Address(d.base(c), f.Key, f.Try, "")})
}

// nullable shows "" as null.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
