// Package spool receives uploads into files: forms, bodies that come in ranges
// and are resumed (the protocol of Google Cloud Storage), and archives that are
// fetched from an address. Memory holds blocks of them only.
//
// A client may take hours, but not be silent for longer than StallTimeout, and
// may not send more than the limit. Files of uploads that broke off are removed
// at once; those that wait for the rest of themselves, by Tidy.
//
// Nothing is looked into here but the framing of forms.
package spool

import (
	"crypto/rand"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
)

const (
	// maxField and maxFields bound the fields of a form beside its file.
	maxField  = 64 << 10
	maxFields = 100
	// maxName is the longest file name that is kept of a form.
	maxName = 200
	// StallTimeout is how long a client may send nothing; an upload as a
	// whole may take hours.
	StallTimeout = 60 * time.Second
)

// Spool is a directory of uploads under way. Only one process may work in it.
type Spool struct {
	dir      string
	limit    int64
	life     string // begins the names of this life's temporary files
	stall    time.Duration
	prepared sync.Once
}

// New makes a spool in dir for uploads of at most limit bytes.
func New(dir string, limit int64) *Spool {
	return &Spool{dir: dir, limit: limit, life: temporary + rand.Text() + "-", stall: StallTimeout}
}

// prepare makes the directory.
func (s *Spool) prepare() (err error) {
	s.prepared.Do(func() { err = os.MkdirAll(s.dir, 0o700) })
	return fault.As(fault.Unavailable, err, "symbol spool")
}

// Incoming is what a client sent: a form's fields, and its file in the spool.
type Incoming struct {
	Fields   url.Values
	Filename string
	Field    string   // the field that the file came in
	File     *os.File // nil when the form had none
	Size     int64

	Source    string // address it was fetched from
	Redirects []string
}

// Close removes the spooled file.
func (in *Incoming) Close() {
	if in.File != nil {
		in.File.Close()
		os.Remove(in.File.Name())
		in.File = nil
	}
}

// Temporary makes a file that its user removes. Tidy drops it when its name
// begins as the files of uploads do and a crash left it.
func (s *Spool) Temporary() (*os.File, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, s.life+"*")
	return f, fault.As(fault.Unavailable, err, "symbol spool")
}

// Keep gives the file of an upload a name that lasts, and sees to it that it is
// on the disk. in no longer has the file afterwards.
func (s *Spool) Keep(in *Incoming, name string) error {
	f := in.File
	if err := f.Sync(); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	if err := os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	in.File = nil
	f.Close()
	dir, err := os.Open(s.dir)
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	defer dir.Close()
	return fault.As(fault.Unavailable, dir.Sync(), "symbol spool")
}

// Kept opens a file that was kept; NotFound when it is gone.
func (s *Spool) Kept(name string) (*Incoming, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "interrupted: what was sent is gone; send it again")
	}
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	return &Incoming{Fields: url.Values{}, File: f, Size: info.Size()}, nil
}

// Discard removes a file that was kept; Tidy does when that fails.
func (s *Spool) Discard(name string) { _ = os.Remove(filepath.Join(s.dir, name)) }

// temporary begins the names of files that no later life of the server needs.
const temporary = "upload-"

// receive copies r to a new file in the spool.
func (s *Spool) receive(in *Incoming, r io.Reader) error {
	f, err := s.Temporary()
	if err != nil {
		return err
	}
	in.File = f
	n, err := io.Copy(f, io.LimitReader(r, s.limit+1))
	in.Size = n
	switch {
	case n > s.limit:
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", s.limit)
	case err != nil:
		return fault.As(fault.Invalid, err, "the upload broke off after %d bytes", n)
	}
	return nil
}

// patient extends the deadline of a request whenever bytes come.
type patient struct {
	r    io.Reader
	c    *http.ResponseController
	wait time.Duration
	next time.Time
}

// newPatient reads the body of r, whose answer goes to w.
func newPatient(w http.ResponseWriter, r *http.Request, wait time.Duration) *patient {
	p := &patient{r: r.Body, c: http.NewResponseController(w), wait: wait}
	_ = p.c.SetReadDeadline(time.Now().Add(wait)) // without deadlines it just waits
	return p
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if now := time.Now(); n > 0 && now.After(p.next) {
		_ = p.c.SetReadDeadline(now.Add(p.wait)) // without deadlines it just waits
		p.next = now.Add(p.wait / 60)
	}
	return n, err
}

const (
	// maxDrain is how much of a refused body is read, drainTime how long that
	// may take, and drainStall how long a client may be silent then.
	maxDrain   = 256 << 20
	drainTime  = time.Minute
	drainStall = 5 * time.Second
)

// Drain reads what is left of the body of a request that is refused: a client
// that sends it in pieces would not get to see the answer otherwise.
func Drain(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil {
		return
	}
	c := http.NewResponseController(w)
	end := time.Now().Add(drainTime)
	b := make([]byte, 64<<10)
	for n := 0; n < maxDrain && time.Now().Before(end); {
		_ = c.SetReadDeadline(time.Now().Add(drainStall)) // a server without deadlines waits longer
		got, err := r.Body.Read(b)
		if n += got; err != nil {
			return // the answer is the same
		}
	}
}

// Read receives the form in the body of a request. The file is the first one
// of the field wantFile, or of any field when that is "". A body that is no
// form gives an Incoming without fields and file.
func (s *Spool) Read(w http.ResponseWriter, r *http.Request, wantFile string) (*Incoming, error) {
	body := newPatient(w, r, s.stall)
	in := &Incoming{Fields: url.Values{}}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data" && params["boundary"] != "":
		err = s.readParts(in, multipart.NewReader(body, params["boundary"]), wantFile)
	case err == nil && kind == "application/x-www-form-urlencoded":
		text, readErr := io.ReadAll(io.LimitReader(body, maxField+1))
		if readErr != nil || len(text) > maxField {
			return nil, fault.New(fault.Invalid, "the form is too long or broke off")
		}
		in.Fields, err = url.ParseQuery(string(text))
		err = fault.As(fault.Invalid, err, "form")
	default:
		err = nil
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// readParts takes the first file (of the field wantFile, or of any) and every
// other field.
func (s *Spool) readParts(in *Incoming, parts *multipart.Reader, wantFile string) error {
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault.As(fault.Invalid, err, "multipart form")
		}
		if n == maxFields {
			return fault.New(fault.TooLarge, "more than %d fields in the form", maxFields)
		}
		_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		filename, isFile := params["filename"]
		if !isFile {
			text, err := io.ReadAll(io.LimitReader(part, maxField+1))
			if err != nil {
				return fault.As(fault.Invalid, err, "multipart form")
			}
			if len(text) > maxField {
				return fault.New(fault.TooLarge, "a field of the form has more than %d bytes", maxField)
			}
			in.Fields.Add(params["name"], string(text))
			continue
		}
		if in.File != nil || wantFile != "" && params["name"] != wantFile {
			continue // NextRawPart reads over it
		}
		in.Filename, in.Field = BaseName(filename), params["name"]
		if err := s.receive(in, part); err != nil {
			return err
		}
	}
}

// BaseName is the last part of a path in either notation, cut to what a
// catalog shows.
func BaseName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}

// Tidy drops what an upload left that ended without a word: temporary files of
// earlier lives of the server, and others that nothing was added to for longer
// than life.
func (s *Spool) Tidy(now time.Time, life time.Duration) error {
	if err := s.prepare(); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it went meanwhile
		}
		old := now.Sub(info.ModTime()) > life
		orphan := strings.HasPrefix(e.Name(), temporary) && !strings.HasPrefix(e.Name(), s.life)
		if old || orphan {
			_ = os.Remove(filepath.Join(s.dir, e.Name())) // tried again the next time
		}
	}
	return nil
}
