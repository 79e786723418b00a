package server

import (
	"context"
	"io"
	"net/http"
	"path"
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
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

const (
	// maxRatio bounds how much an archive may unpack to: symbol text packs 5
	// to 20 times. minUnpacked is allowed whatever the archive's size.
	maxRatio    = 200
	minUnpacked = 1 << 30
	// maxMember bounds one unpacked file; the largest real ones have 2 GB.
	maxMember = 4 << 30
	// examiners is how many members are unpacked at a time.
	examiners = 4
)

// isTry reports whether an upload is of a trial build: one who may upload no
// others, or says so.
func isTry(caller Caller, in *spool.Incoming) bool {
	return !caller.Has(catalog.UploadSymbols) || in.Fields.Get("try") != ""
}

// uploadV1 is POST /upload/.
func (s *Server) uploadV1(c echo.Context) error {
	ctx := c.Request().Context()
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	in, err := s.spool.Read(c.Response(), c.Request(), "")
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			in.Close()
		}
	}()
	if in.File == nil {
		address := in.Fields.Get("url")
		if address == "" {
			return fault.New(fault.Invalid, "Must be multipart form data with at least one file")
		}
		fetched, err := s.fetcher.Fetch(ctx, address)
		if err != nil {
			return err
		}
		fetched.Fields = in.Fields
		in = fetched
	}
	if ext := path.Ext(in.Filename); !strings.EqualFold(ext, ".zip") {
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

func (s *Server) newUpload(caller Caller, in *spool.Incoming) catalog.SymbolUpload {
	return catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, Filename: in.Filename, Size: in.Size, Try: isTry(caller, in),
		DownloadURL: in.Source, RedirectURLs: in.Redirects, Created: s.now()}
}

// openArchive reads the directory of a zip and checks what can be checked
// without unpacking.
func (s *Server) openArchive(in *spool.Incoming) (take []*archive.Member, skip []string, err error) {
	members, err := archive.Read(in.File, in.Size)
	if err != nil {
		return nil, nil, asInvalid(err)
	}
	take, skip, err = s.checkNames(members)
	if err != nil {
		return nil, nil, err
	}
	total := int64(0)
	most := max(in.Size*maxRatio, minUnpacked)
	for _, m := range take {
		if m.Size > maxMember {
			return nil, nil, fault.New(fault.Invalid, "File %s claims %d bytes; at most %d are taken", archive.Quote(m.Name), m.Size, int64(maxMember))
		}
		if total += m.Size; total > most {
			return nil, nil, fault.New(fault.Invalid, "The archive of %d bytes claims to unpack to more than %d", in.Size, most)
		}
	}
	return take, skip, nil
}

// checkNames checks the members of an archive by their names, in the order
// that clients know, and gives those that are symbols and those to ignore.
func (s *Server) checkNames(members []*archive.Member) (take []*archive.Member, skip []string, err error) {
	sizes := map[string]int64{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if size, twice := sizes[m.Name]; twice && size != m.Size {
			return nil, nil, fault.New(fault.Invalid, "The file %s is in the archive twice, with %d and with %d bytes", archive.Quote(m.Name), size, m.Size)
		}
		sizes[m.Name] = m.Size
	}
	last := map[string]int{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if store.Ignored(m.Name) {
			skip = append(skip, m.Name)
			continue
		}
		for _, snippet := range s.o.Config.DisallowedSnippets {
			if strings.Contains(m.Name, snippet) {
				return nil, nil, fault.New(fault.Invalid, "Content of archive file contains the snippet '%s' which is not allowed", snippet)
			}
		}
		key, ok := store.Clean(m.Name)
		if !ok {
			return nil, nil, fault.New(fault.Invalid, "Unrecognized file pattern. Should only be <module>/<hex>/<file> or <name>-symbols.txt and nothing else. (First unrecognized pattern was '%s')", strings.Trim(archive.Quote(m.Name), `"`))
		}
		if i, twice := last[key]; twice { // the later one counts
			take[i] = m
			continue
		}
		last[key] = len(take)
		take = append(take, m)
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
	in     *spool.Incoming
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
			f.Key, _ = store.Clean(m.Name)
			e := store.NewExaminer()
			r := m.Open()
			defer r.Close()
			if _, err := io.Copy(e, r); err != nil {
				return asInvalid(err)
			}
			e.Describe(f)
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
	defer s.store.Lock(f.Key, f.Try)()
	same, other, err := s.store.Have(ctx, *f)
	if err != nil {
		return false, err
	}
	if same {
		return true, s.files.RenewSymbolFile(ctx, f.Key, f.Try, s.now())
	}
	f.Updated = other
	if store.Packed(f.Key) {
		f.Compressed = true
		if r, _, ok := m.Gzip(); ok {
			return false, s.store.Put(ctx, f, r)
		}
	}
	r := m.Open()
	defer r.Close()
	if !f.Compressed {
		return false, s.store.Put(ctx, f, r)
	}
	z := store.Gzipped(r)
	defer z.Close()
	return false, s.store.Put(ctx, f, z)
}

// later answers 202 and has the job done in the background.
func (s *Server) later(c echo.Context, j *job) error {
	id, err := s.files.AddSymbolUpload(c.Request().Context(), j.upload)
	if err != nil {
		j.in.Close()
		return err
	}
	j.upload.ID = id
	work := func(ctx context.Context) {
		defer j.in.Close()
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
		j.in.Close()
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

// arrived tells everybody that the symbols of a file came.
func (s *Server) arrived(ctx context.Context, f catalog.SymbolFile) error {
	id := store.Module(f)
	s.codes.forget()
	s.missing.Found(id.DebugFile, id.DebugID)
	if err := s.files.FoundSymbol(ctx, id.DebugFile, id.DebugID); err != nil {
		return err
	}
	s.o.Arrived(ctx, id)
	return nil
}
