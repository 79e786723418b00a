package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
)

const (
	// maxField and maxFields bound the fields of a form beside its file.
	maxField  = 64 << 10
	maxFields = 100
	// stallTimeout is how long a client may send nothing; an upload as a
	// whole may take hours.
	stallTimeout = 60 * time.Second
	// maxRatio bounds how much an archive may unpack to: symbol text packs 5
	// to 20 times. minUnpacked is allowed whatever the archive's size.
	maxRatio    = 200
	minUnpacked = 1 << 30
	// maxMember bounds one unpacked file; the largest real ones have 2 GB.
	maxMember = 4 << 30
	// examiners is how many members are unpacked at a time.
	examiners = 4
)

// incoming is what a client sent: a form's fields, and its file in the spool.
type incoming struct {
	fields   url.Values
	filename string
	field    string // the field that the file came in
	file     *os.File
	size     int64

	source    string // address it was fetched from
	redirects []string
}

// close removes the spooled file.
func (in *incoming) close() {
	if in.file != nil {
		in.file.Close()
		os.Remove(in.file.Name())
		in.file = nil
	}
}

// spool copies r to a new file in the spool.
func (s *Server) spool(in *incoming, r io.Reader, limit int64) error {
	if err := s.prepare(); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.o.Spool, "upload-*")
	if err != nil {
		return fault.As(fault.Unavailable, err, "symbol spool")
	}
	in.file = f
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	in.size = n
	switch {
	case n > limit:
		return fault.New(fault.TooLarge, "the upload has more than %d bytes", limit)
	case err != nil:
		return fault.As(fault.Invalid, err, "the upload broke off after %d bytes", n)
	}
	return nil
}

// patient extends the deadline of a request whenever bytes come.
type patient struct {
	r    io.Reader
	c    *http.ResponseController
	next time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if now := time.Now(); n > 0 && now.After(p.next) {
		_ = p.c.SetReadDeadline(now.Add(stallTimeout)) // without deadlines it just waits
		p.next = now.Add(time.Second)
	}
	return n, err
}

// read receives the body of a request.
func (s *Server) read(c echo.Context, wantFile string) (*incoming, error) {
	r := c.Request()
	body := &patient{r: r.Body, c: http.NewResponseController(c.Response())}
	in := &incoming{fields: url.Values{}}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data" && params["boundary"] != "":
		err = s.readParts(in, multipart.NewReader(body, params["boundary"]), wantFile)
	case err == nil && kind == "application/x-www-form-urlencoded":
		text, readErr := io.ReadAll(io.LimitReader(body, maxField+1))
		if readErr != nil || len(text) > maxField {
			return nil, fault.New(fault.Invalid, "the form is too long or broke off")
		}
		in.fields, err = url.ParseQuery(string(text))
		err = fault.As(fault.Invalid, err, "form")
	default:
		err = nil
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// readParts takes the first file (of the field wantFile, or of any) and every
// other field.
func (s *Server) readParts(in *incoming, parts *multipart.Reader, wantFile string) error {
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
			in.fields.Add(params["name"], string(text))
			continue
		}
		if in.file != nil || wantFile != "" && params["name"] != wantFile {
			continue // NextRawPart reads over it
		}
		in.filename, in.field = baseName(filename), params["name"]
		if err := s.spool(in, part, int64(s.o.Config.MaxUpload)); err != nil {
			return err
		}
	}
}

// baseName is the last part of a path in either notation, cut to what a
// catalog shows.
func baseName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.ToValidUTF8(name[:min(len(name), maxText)], "")
}

// isTry reports whether an upload is of a trial build: one who may upload no
// others, or says so.
func isTry(caller Caller, in *incoming) bool {
	return !caller.Has(catalog.UploadSymbols) || in.fields.Get("try") != ""
}

// uploadV1 is POST /upload/.
func (s *Server) uploadV1(c echo.Context) error {
	ctx := c.Request().Context()
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	in, err := s.read(c, "")
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			in.close()
		}
	}()
	if in.file == nil {
		address := in.fields.Get("url")
		if address == "" {
			return fault.New(fault.Invalid, "Must be multipart form data with at least one file")
		}
		if err := s.fetchURL(ctx, in, address); err != nil {
			return err
		}
	}
	if ext := path.Ext(in.filename); !strings.EqualFold(ext, ".zip") {
		return fault.New(fault.Invalid, "Unrecognized archive file extension %s", archive.Quote(ext))
	}
	take, skip, err := s.openArchive(in)
	if err != nil {
		return err
	}
	u := s.newUpload(caller, in)
	u.Ignored = skip
	job := &job{s: s, in: in, upload: u, take: take}
	if strings.Contains(strings.ToLower(c.Request().Header.Get("Prefer")), "respond-async") {
		keep = true
		return s.later(c, job)
	}
	if err := job.run(ctx); err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, map[string]any{"upload": s.showUpload(job.upload, false)})
}

func (s *Server) newUpload(caller Caller, in *incoming) catalog.SymbolUpload {
	return catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, Filename: in.filename, Size: in.size, Try: isTry(caller, in),
		DownloadURL: in.source, RedirectURLs: in.redirects, Created: s.now()}
}

// openArchive reads the directory of a zip and checks what can be checked
// without unpacking.
func (s *Server) openArchive(in *incoming) (take []*archive.Member, skip []string, err error) {
	members, err := archive.Read(in.file, in.size)
	if err != nil {
		return nil, nil, asInvalid(err)
	}
	take, skip, err = s.checkNames(members)
	if err != nil {
		return nil, nil, err
	}
	total := int64(0)
	most := max(in.size*maxRatio, minUnpacked)
	for _, m := range take {
		if m.Size > maxMember {
			return nil, nil, fault.New(fault.Invalid, "File %s claims %d bytes; at most %d are taken", archive.Quote(m.Name), m.Size, int64(maxMember))
		}
		if total += m.Size; total > most {
			return nil, nil, fault.New(fault.Invalid, "The archive of %d bytes claims to unpack to more than %d", in.size, most)
		}
	}
	return take, skip, nil
}

// asInvalid has an archive that is too large in itself answered like a broken
// one.
func asInvalid(err error) error {
	if fault.Is(err, fault.TooLarge) || fault.Is(err, fault.Malformed) {
		return fault.New(fault.Invalid, "%s", err.Error())
	}
	return err
}

// job is an archive on its way into the bucket.
type job struct {
	s      *Server
	in     *incoming
	upload catalog.SymbolUpload
	take   []*archive.Member

	files []catalog.SymbolFile
}

// run checks every member, keeps what is new, and records the upload. It
// leaves nothing when a member is bad.
func (j *job) run(ctx context.Context) error {
	s := j.s
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), "upload")
	}
	start := time.Now()
	if err := j.examine(ctx); err != nil {
		metrics.SymbolUploads.Inc("refused")
		return err
	}
	if j.upload.ID == 0 {
		id, err := s.files.AddSymbolUpload(ctx, j.upload)
		if err != nil {
			return err
		}
		j.upload.ID = id
	}
	if err := j.keep(ctx); err != nil {
		metrics.SymbolUploads.Inc("failed")
		j.upload.Error, j.upload.Completed = err.Error(), s.now()
		// The files that were kept are of use, and a second try skips them.
		_ = s.files.FinishSymbolUpload(context.WithoutCancel(ctx), j.upload, j.kept())
		return err
	}
	metrics.SymbolUploads.Inc("stored")
	metrics.SymbolUploadSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// examine unpacks every member once, to nowhere.
func (j *job) examine(ctx context.Context) error {
	j.files = make([]catalog.SymbolFile, len(j.take))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for i, m := range j.take {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fault.Wrap(err, "upload")
			}
			f := &j.files[i]
			f.Try, f.Created = j.upload.Try, j.s.now()
			f.Key, _ = cleanKey(m.Name)
			e := newExaminer()
			r := m.Open()
			defer r.Close()
			if _, err := io.Copy(e, r); err != nil {
				return asInvalid(err)
			}
			e.describe(f)
			return nil
		})
	}
	return group.Wait()
}

// keep copies what is new to the bucket and records it.
func (j *job) keep(ctx context.Context) error {
	s := j.s
	skipped := make([]bool, len(j.files))
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for i := range j.files {
		group.Go(func() (err error) {
			skipped[i], err = s.keepMember(ctx2, &j.files[i], j.take[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, f := range j.files {
		if skipped[i] {
			j.upload.Skipped = append(j.upload.Skipped, f.Key)
		}
	}
	files := j.kept()
	j.upload.Completed = s.now()
	if err := s.files.FinishSymbolUpload(ctx, j.upload, files); err != nil {
		return err
	}
	for _, f := range files {
		metrics.SymbolFiles.Inc("stored")
		if err := s.arrived(ctx, f); err != nil {
			return err
		}
	}
	metrics.SymbolFiles.Add(float64(len(j.upload.Skipped)), "skipped")
	return nil
}

// kept are the files that were copied to the bucket.
func (j *job) kept() []catalog.SymbolFile {
	var out []catalog.SymbolFile
	for _, f := range j.files {
		if !f.Completed.IsZero() {
			out = append(out, f)
		}
	}
	return out
}

// keepMember copies one member to the bucket unless it is there.
func (s *Server) keepMember(ctx context.Context, f *catalog.SymbolFile, m *archive.Member) (skipped bool, err error) {
	defer s.keys.lock(objectKey(f.Key, f.Try))()
	same, other, err := s.have(ctx, *f)
	if err != nil {
		return false, err
	}
	if same {
		return true, s.files.RenewSymbolFile(ctx, f.Key, f.Try, s.now())
	}
	f.Updated = other
	if packed(f.Key) {
		f.Compressed = true
		if r, _, ok := m.Gzip(); ok {
			return false, s.put(ctx, f, r)
		}
	}
	r := m.Open()
	defer r.Close()
	if !f.Compressed {
		return false, s.put(ctx, f, r)
	}
	z := gzipped(r)
	defer z.Close()
	return false, s.put(ctx, f, z)
}

// later answers 202 and has the job done in the background.
func (s *Server) later(c echo.Context, j *job) error {
	id, err := s.files.AddSymbolUpload(c.Request().Context(), j.upload)
	if err != nil {
		j.in.close()
		return err
	}
	j.upload.ID = id
	work := func(ctx context.Context) {
		defer j.in.close()
		err := j.run(ctx)
		if err == nil {
			return
		}
		s.log.Info("upload refused in the background", zap.Int64("upload", id), zap.Error(err))
		j.upload.Error, j.upload.Completed = err.Error(), s.now()
		if err := s.files.FinishSymbolUpload(context.WithoutCancel(ctx), j.upload, nil); err != nil {
			s.log.Warn("record upload", zap.Int64("upload", id), zap.Error(err))
		}
	}
	select {
	case s.work <- work:
	default:
		j.in.close()
		return fault.New(fault.Throttled, "%d uploads wait already", maxQueued)
	}
	address := s.base(c) + "/upload/status/" + strconv.FormatInt(id, 10)
	c.Response().Header().Set("Location", address)
	c.Response().Header().Set("Preference-Applied", "respond-async")
	return c.JSON(http.StatusAccepted, map[string]any{"upload": s.showUpload(j.upload, false), "state": "working", "status_url": address})
}

// uploadStatus is GET /upload/status/<id>: what became of an upload that was
// answered before it was done.
func (s *Server) uploadStatus(c echo.Context) error {
	caller, err := s.permit(c, "", catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads)
	if err != nil {
		return err
	}
	u, err := s.ownUpload(c, caller)
	if err != nil {
		return err
	}
	state := "done"
	switch {
	case u.Error != "":
		state = "failed"
	case u.Completed.IsZero():
		state = "working"
	}
	return c.JSON(http.StatusOK, map[string]any{"upload": s.showUpload(u, false), "state": state, "error": nullable(u.Error)})
}

// base is the address that clients reach the server by.
func (s *Server) base(c echo.Context) string {
	if s.o.BaseURL != "" {
		return strings.TrimRight(s.o.BaseURL, "/")
	}
	return c.Scheme() + "://" + c.Request().Host
}

// fetchURL gets an archive from an address that a client names.
func (s *Server) fetchURL(ctx context.Context, in *incoming, address string) error {
	u, err := s.allowed(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	in.source, in.filename, in.redirects = address, baseName(u.Path), []string{}
	for n := 0; ; n++ {
		if n > maxRedirects {
			return fault.New(fault.Invalid, "Too many redirects trying to open %s", address)
		}
		resp, err := s.ask(ctx, http.MethodHead, u.String())
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode < 300 {
			break
		}
		if resp.StatusCode >= 500 {
			return &statusError{http.StatusInternalServerError, fmt.Sprintf("%s errored (%d)", u, resp.StatusCode)}
		}
		if resp.StatusCode >= 400 {
			return fault.New(fault.Invalid, "%s can't be found (%d)", u, resp.StatusCode)
		}
		next, err := resp.Location()
		if err != nil {
			return fault.New(fault.Invalid, "%s redirects to nowhere", u)
		}
		if u, err = s.allowed(next.String()); err != nil {
			return err
		}
		in.redirects = append(in.redirects, u.String())
		if strings.HasSuffix(strings.ToLower(u.Path), ".zip") {
			in.filename = baseName(u.Path)
		}
	}
	resp, err := s.ask(ctx, http.MethodGet, u.String())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fault.New(fault.Invalid, "non-200 status code when retrieving %s", u)
	}
	return s.spool(in, resp.Body, int64(s.o.Config.MaxUpload))
}

const (
	maxRedirects = 5
	fetchTimeout = time.Hour
)

// ask does one request without following redirects.
func (s *Server) ask(ctx context.Context, method, address string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "url")
	}
	c := *s.client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	if err != nil {
		s.log.Info("upload by URL", zap.String("url", address), zap.Error(err))
		var refused *refusedAddress
		if errors.As(err, &refused) {
			return nil, fault.New(fault.Invalid, "%s", refused.Error())
		}
		return nil, &statusError{http.StatusInternalServerError, "ConnectionError trying to open " + address}
	}
	return resp, nil
}

// temporary makes a file in the spool that its caller removes.
func (s *Server) temporary(pattern string) (*os.File, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.o.Spool, pattern)
	return f, fault.As(fault.Unavailable, err, "symbol spool")
}

// spooled is the path of a file that waits for the rest of itself.
func (s *Server) spooled(name string) string { return filepath.Join(s.o.Spool, name) }
