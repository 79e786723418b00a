package store

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
)

// examiners is how many files of an upload are unpacked at a time.
const examiners = 4

// Item is one file of an upload.
type Item struct {
	File catalog.SymbolFile // Key is set; of raw files also what names them
	// Open reads the file unpacked. An error of kind Malformed at the end
	// says that it is not what its archive claims.
	Open func() io.ReadCloser
	// Gzip gives the file packed, where that takes no packing; nil where it
	// never does.
	Gzip func() (r io.Reader, size int64, ok bool)

	Skip bool // it is there already
}

// room is how many bytes of the bucket the file will take at most.
func (i *Item) room() int64 {
	if Packed(i.File.Key) && i.Gzip != nil {
		if _, size, ok := i.Gzip(); ok {
			return size
		}
	}
	return i.File.TextSize
}

// Batch is an upload on its way into the bucket.
type Batch struct {
	Upload catalog.SymbolUpload
	Items  []*Item
}

// Begin waits until there is room for one more upload that is worked on.
func (s *Store) Begin(ctx context.Context) (end func(), err error) {
	select {
	case s.uploads <- struct{}{}:
		return func() { <-s.uploads }, nil
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), "upload")
	}
}

// Run checks every file, keeps what is new, and records the upload. It leaves
// nothing when a file is bad.
func (s *Store) Run(ctx context.Context, b *Batch) error {
	end, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	start := time.Now()
	if err := s.Examine(ctx, b); err != nil {
		metrics.SymbolUploads.Inc("refused")
		return err
	}
	release, err := s.Room(ctx, b)
	if err != nil {
		metrics.SymbolUploads.Inc("refused")
		return err
	}
	defer release()
	if b.Upload.ID == 0 {
		if b.Upload.ID, err = s.catalog.AddSymbolUpload(ctx, b.Upload); err != nil {
			return err
		}
	}
	finish := func(files []catalog.SymbolFile) error {
		b.Upload.Completed = s.now()
		return s.finish(ctx, b, files)
	}
	if err := s.keep(ctx, b, finish); err != nil {
		metrics.SymbolUploads.Inc("failed")
		b.Upload.Error, b.Upload.Completed = err.Error(), s.now()
		// The files that were kept are of use, and a second try skips them.
		_ = s.catalog.FinishSymbolUpload(context.WithoutCancel(ctx), b.Upload, b.kept())
		return err
	}
	metrics.SymbolUploads.Inc("stored")
	metrics.SymbolUploadSeconds.Observe(time.Since(start).Seconds())
	return nil
}

// finish records an upload whose files are kept.
func (s *Store) finish(ctx context.Context, b *Batch, files []catalog.SymbolFile) error {
	b.Upload.Skipped = nil
	for _, i := range b.Items {
		if i.Skip {
			b.Upload.Skipped = append(b.Upload.Skipped, i.File.Key)
		}
	}
	if err := s.catalog.FinishSymbolUpload(ctx, b.Upload, files); err != nil {
		return err
	}
	for _, i := range b.Items {
		if i.Skip && i.File.Convert {
			if err := s.catalog.RenewConversion(ctx, i.File, b.Upload.ID, s.now()); err != nil {
				return err
			}
		}
	}
	metrics.SymbolFiles.Add(float64(len(b.Upload.Skipped)), "skipped")
	return nil
}

// Add keeps files that belong to an upload which is recorded already; record is
// told of those that were kept, before the world is.
func (s *Store) Add(ctx context.Context, b *Batch, record func([]catalog.SymbolFile) error) error {
	end, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.Examine(ctx, b); err != nil {
		return err
	}
	release, err := s.Room(ctx, b)
	if err != nil {
		return err
	}
	defer release()
	return s.keep(ctx, b, record)
}

// Examine unpacks every file once, to nowhere.
func (s *Store) Examine(ctx context.Context, b *Batch) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for _, i := range b.Items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return fault.Wrap(err, "upload")
			}
			i.File.Try, i.File.Created = b.Upload.Try, s.now()
			e := NewExaminer(i.File.Key)
			r := i.Open()
			defer r.Close()
			if _, err := io.Copy(e, r); err != nil {
				return archive.Refused(err)
			}
			e.Describe(&i.File)
			return s.checkQuality(i.File)
		})
	}
	return group.Wait()
}

// checkQuality refuses a file with a fault that the configuration names.
func (s *Store) checkQuality(f catalog.SymbolFile) error {
	for _, q := range f.Quality {
		if slices.Contains(s.refuse, q.Code) {
			return fault.New(fault.Invalid, "File %s is not taken: %s: %s", archive.Quote(f.Key), q.Code, q.Text)
		}
	}
	return nil
}

// Room finds out what is there already, and sets room apart for the rest.
func (s *Store) Room(ctx context.Context, b *Batch) (release func(), err error) {
	need := int64(0)
	for _, i := range b.Items {
		same, other, err := s.Have(ctx, i.File)
		if err != nil {
			return nil, err
		}
		if i.Skip = same; same {
			continue
		}
		n := i.room()
		if other { // what it takes the place of makes room
			old, err := s.catalog.SymbolFileByKey(ctx, i.File.Key, i.File.Try)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			n -= old.Size
		}
		need += n
	}
	return s.Reserve(ctx, Owner{UserID: b.Upload.UserID, TokenID: b.Upload.TokenID}, need)
}

// keep copies what is new to the bucket and has it recorded. What an end of the
// server leaves of it is found by the records that stand first.
func (s *Store) keep(ctx context.Context, b *Batch, record func([]catalog.SymbolFile) error) error {
	var begun []*catalog.SymbolFile
	for _, i := range b.Items {
		if !i.Skip {
			begun = append(begun, &i.File)
		}
	}
	if err := s.catalog.BeginSymbolFiles(ctx, b.Upload.ID, begun); err != nil {
		return err
	}
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(examiners)
	for _, i := range b.Items {
		group.Go(func() error { return s.KeepItem(ctx2, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	files := b.kept()
	if err := record(files); err != nil {
		return err
	}
	for _, f := range files {
		metrics.SymbolFiles.Inc("stored")
		if err := s.arrived(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// kept are the files that were copied to the bucket.
func (b *Batch) kept() []catalog.SymbolFile {
	var out []catalog.SymbolFile
	for _, i := range b.Items {
		if !i.File.Completed.IsZero() {
			out = append(out, i.File)
		}
	}
	return out
}

// KeepItem copies one file to the bucket unless it is there.
func (s *Store) KeepItem(ctx context.Context, i *Item) error {
	f := &i.File
	defer s.Lock(f.Key, f.Try)()
	same, other, err := s.Have(ctx, *f)
	if err != nil {
		return err
	}
	if i.Skip = same; same {
		return s.catalog.RenewSymbolFile(ctx, f.Key, f.Try, s.now())
	}
	f.Updated, f.Compressed = other, Packed(f.Key)
	if f.Compressed && i.Gzip != nil {
		if r, _, ok := i.Gzip(); ok {
			return s.Put(ctx, f, r)
		}
	}
	r := i.Open()
	defer r.Close()
	if !f.Compressed {
		return s.Put(ctx, f, r)
	}
	z := Gzipped(r)
	defer z.Close()
	return s.Put(ctx, f, z)
}
