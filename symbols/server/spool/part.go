package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"mayday/app/fault"
)

// Part is a file that comes in ranges, over several requests.
type Part struct {
	*os.File
	limit int64
	stall time.Duration
}

func (s *Spool) partPath(name string) string { return filepath.Join(s.dir, "part-"+name) }

// Part opens what came so far of the file name, which holds letters and digits
// only. The caller closes it.
func (s *Spool) Part(name string) (*Part, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.partPath(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	return &Part{f, s.limit, s.stall}, nil
}

// Came opens what came of the file name; NotFound when nothing did.
func (s *Spool) Came(name string) (*Part, error) {
	f, err := os.OpenFile(s.partPath(name), os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "nothing was sent to the upload address")
	}
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	return &Part{f, s.limit, s.stall}, nil
}

// Drop removes the file name; Tidy does when that fails.
func (s *Spool) Drop(name string) { _ = os.Remove(s.partPath(name)) }

// Size is how much came.
func (p *Part) Size() (int64, error) {
	info, err := p.Stat()
	if err != nil {
		return 0, fault.As(fault.Unavailable, err, "symbol spool")
	}
	return info.Size(), nil
}

// Resume answers how much came so far.
func (p *Part) Resume(w http.ResponseWriter) error {
	size, err := p.Size()
	if err != nil {
		return err
	}
	if size > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", size-1))
	}
	w.WriteHeader(http.StatusPermanentRedirect) // 308 means "resume incomplete" here
	return nil
}

// contentRange is what the header Content-Range says.
type contentRange struct {
	ask      bool  // bytes */…: nothing comes, the client asks how far it is
	from, to int64 // the first and last byte that come
	total    int64 // of the whole file; math.MaxInt64 when the client does not know
}

var rangeText = regexp.MustCompile(`^bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)$`)

// parseRange reads a Content-Range.
func parseRange(text string) (r contentRange, ok bool) {
	m := rangeText.FindStringSubmatch(text)
	if m == nil {
		return r, false
	}
	r.total = math.MaxInt64
	if m[3] != "*" {
		r.total, _ = strconv.ParseInt(m[3], 10, 64) // 18 digits fit
	}
	if m[1] == "" {
		r.ask = true
		return r, true
	}
	r.from, _ = strconv.ParseInt(m[1], 10, 64)
	r.to, _ = strconv.ParseInt(m[2], 10, 64)
	return r, r.from <= r.to && r.to < r.total
}

// Receive adds the bytes of a request to what is there and says whether the
// file is whole. Without a Content-Range the body is the whole file.
func (p *Part) Receive(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	body := newPatient(w, r, p.stall)
	have, err := p.Size()
	if err != nil {
		return false, err
	}
	text := r.Header.Get("Content-Range")
	if text == "" {
		return true, p.append(body, 0, p.limit)
	}
	c, ok := parseRange(text)
	switch {
	case !ok:
		return false, fault.New(fault.Invalid, "Content-Range %q is not understood", text)
	case c.ask:
		return have == c.total, nil
	case c.from > have:
		return false, fault.New(fault.Invalid, "Content-Range %q does not go on from byte %d", text, have)
	}
	if err := p.append(body, c.from, c.to-c.from+1); err != nil {
		return false, err
	}
	return c.to+1 == c.total, nil
}

// append writes n bytes at most of r behind the first at bytes. What came
// before it broke off is kept: the client goes on from there.
func (p *Part) append(r io.Reader, at, n int64) error {
	if at > p.limit || n > p.limit-at {
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", p.limit)
	}
	if err := p.Truncate(at); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	if _, err := p.Seek(at, io.SeekStart); err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	got, err := io.Copy(p.File, io.LimitReader(r, n+1))
	switch {
	case got > n:
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", n)
	case err != nil:
		return fault.As(fault.Invalid, err, "the upload broke off after %d bytes", at+got)
	}
	return nil
}
