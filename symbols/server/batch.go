package server

import (
	"context"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/store"
)

// examiners is how many files of an upload are unpacked at a time.
const examiners = 4

// item is one file of an upload.
type item struct {
	file catalog.SymbolFile // Key is set; of raw files also what names them
	// open reads the file unpacked. An error of kind Malformed at the end
	// says that it is not what its archive claims.
	open func() io.ReadCloser
	// gzip gives the file packed, where that takes no packing; nil where it
	// never does.
	gzip func() (r io.Reader, size int64, ok bool)

	skip bool // it is there already
}

// room is how many bytes of the bucket the file will take at most.
func (i *item) room() int64 {
	if store.Packed(i.file.Key) && i.gzip != nil {
		if _, size, ok := i.gzip(); ok {
			return size
		}
	}
	return i.file.TextSize
}

// batch is an upload on its way into the bucket.
type batch struct {
	s      *Server
	upload catalog.SymbolUpload
	items  []*item
	shut   []func()       // what close calls
	extra  map[string]any // what the answer says besides
}

func (b *batch) close() {
	for _, f := range b.shut {
		f()
	}
	b.shut = nil
}

// answer is what the client of a finished upload gets.
func (b *batch) answer() map[string]any {
	out := map[string]any{"upload": b.s.showUpload(b.upload, false)}
	for k, v := range b.extra {
		out[k] = v
	}
	return out
}

// run checks every file, keeps what is new, and records the upload. It leaves
// nothing when a file is bad.
func (b *batch) run(ctx context.Context) error {
	s := b.s
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), "upload")
	}
	start := time.Now()
	if err := b.examine(ctx); err != nil {
		metrics.SymbolUploads.Inc("refused")
		return err
	}
	release, err := b.reserve(ctx)
	if err != nil {
		metrics.SymbolUploads.Inc("refused")
		return err
	}
	defer release()
	if b.upload.ID == 0 {
		if b.upload.ID, err = s.files.AddSymbolUpload(ctx, b.upload); err != nil {
			return err
		}
	}
	if err := b.keep(ctx); err != nil {
		metrics.SymbolUploads.Inc("failed")
		b.upload.Error, b.upload.Completed = err.Error(), s.now()
		// The files that were kept are of use, and a second try skips them.
		_ = s.files.FinishSymbolUpload(context.WithoutCancel(ctx), b.upload, b.kept())
		return err
	}
	metrics.SymbolUploads.Inc("stored")
	metrics.SymbolUploadSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// examine unpacks every file once, to nowhere.
func (b *batch) examine(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for _, i := range b.items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fault.Wrap(err, "upload")
			}
			i.file.Try, i.file.Created = b.upload.Try, b.s.now()
			e := store.NewExaminer(i.file.Key)
			r := i.open()
			defer r.Close()
			if _, err := io.Copy(e, r); err != nil {
				return asInvalid(err)
			}
			e.Describe(&i.file)
			return b.s.checkQuality(i.file)
		})
	}
	return group.Wait()
}

// checkQuality refuses a file with a fault that the configuration names.
func (s *Server) checkQuality(f catalog.SymbolFile) error {
	for _, q := range f.Quality {
		if slices.Contains(s.o.Config.Refuse, q.Code) {
			return fault.New(fault.Invalid, "File %s is not taken: %s: %s", archive.Quote(f.Key), q.Code, q.Text)
		}
	}
	return nil
}

// reserve finds out what is there already, and sets room apart for the rest.
func (b *batch) reserve(ctx context.Context) (release func(), err error) {
	need := int64(0)
	for _, i := range b.items {
		same, other, err := b.s.store.Have(ctx, i.file)
		if err != nil {
			return nil, err
		}
		if i.skip = same; same {
			continue
		}
		n := i.room()
		if other { // what it takes the place of makes room
			old, err := b.s.files.SymbolFileByKey(ctx, i.file.Key, i.file.Try)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			n -= old.Size
		}
		need += n
	}
	return b.s.store.Reserve(ctx, store.Owner{UserID: b.upload.UserID, TokenID: b.upload.TokenID}, need)
}

// keep copies what is new to the bucket and records it. What an end of the
// server leaves of it is found by the records that stand first.
func (b *batch) keep(ctx context.Context) error {
	s := b.s
	var begun []*catalog.SymbolFile
	for _, i := range b.items {
		if !i.skip {
			begun = append(begun, &i.file)
		}
	}
	if err := s.files.BeginSymbolFiles(ctx, b.upload.ID, begun); err != nil {
		return err
	}
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for _, i := range b.items {
		group.Go(func() error { return s.keepItem(ctx2, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.upload.Skipped = nil
	for _, i := range b.items {
		if i.skip {
			b.upload.Skipped = append(b.upload.Skipped, i.file.Key)
		}
	}
	files := b.kept()
	b.upload.Completed = s.now()
	if err := s.files.FinishSymbolUpload(ctx, b.upload, files); err != nil {
		return err
	}
	for _, f := range files {
		metrics.SymbolFiles.Inc("stored")
		if err := s.arrived(ctx, f); err != nil {
			return err
		}
	}
	metrics.SymbolFiles.Add(float64(len(b.upload.Skipped)), "skipped")
	return nil
}

// kept are the files that were copied to the bucket.
func (b *batch) kept() []catalog.SymbolFile {
	var out []catalog.SymbolFile
	for _, i := range b.items {
		if !i.file.Completed.IsZero() {
			out = append(out, i.file)
		}
	}
	return out
}

// keepItem copies one file to the bucket unless it is there.
func (s *Server) keepItem(ctx context.Context, i *item) error {
	f := &i.file
	defer s.store.Lock(f.Key, f.Try)()
	same, other, err := s.store.Have(ctx, *f)
	if err != nil {
		return err
	}
	if i.skip = same; same {
		return s.files.RenewSymbolFile(ctx, f.Key, f.Try, s.now())
	}
	f.Updated, f.Compressed = other, store.Packed(f.Key)
	if f.Compressed && i.gzip != nil {
		if r, _, ok := i.gzip(); ok {
			return s.store.Put(ctx, f, r)
		}
	}
	r := i.open()
	defer r.Close()
	if !f.Compressed {
		return s.store.Put(ctx, f, r)
	}
	z := store.Gzipped(r)
	defer z.Close()
	return s.store.Put(ctx, f, z)
}

// arrived tells everybody that the symbols of a file came. Of raw debug files
// that is said when symbols are made of them: they are missing until then.
func (s *Server) arrived(ctx context.Context, f catalog.SymbolFile) error {
	if store.Raw(f) {
		return nil
	}
	id := store.Module(f)
	s.codes.forget()
	s.missing.Found(id.DebugFile, id.DebugID)
	if err := s.files.FoundSymbol(ctx, id.DebugFile, id.DebugID); err != nil {
		return err
	}
	s.o.Arrived(ctx, id)
	return nil
}
