// Package convert makes symbol files of the raw debug files that were uploaded,
// in the background, one build at a time. What is to be made stands in the
// catalog, written together with the record of the upload, so that neither a
// stop of the server nor its death forgets any.
//
// A build is told by its build id. Its program and its debug information may
// come by one upload or several, in any order: whenever a file of it comes, its
// symbols are made of everything that is there, the program's tables for
// unwinding and the debug file's functions and lines. They are kept as if they
// had been uploaded, under each name that the program came by or calls itself;
// what somebody uploaded under such a name stays.
//
// How symbols are made is the Converter's affair. Only ELF files are tried.
package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/dump"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/binary"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// Converter makes a Breakpad symbol file of raw debug files.
type Converter interface {
	// Convert writes the symbols of a binary to w. An error of kind
	// fault.Unsupported means that there are none in it.
	Convert(ctx context.Context, w io.Writer, in dump.Input) error
}

// Options say what a Queue works with; all but Log and Timeout are needed.
type Options struct {
	Catalog *catalog.DB
	Bucket  *blob.Bucket
	Store   *store.Store
	Spool   *spool.Spool
	Convert Converter
	Timeout time.Duration // of one conversion; 0 is DefaultTimeout
	Log     *zap.Logger
}

const (
	// DefaultTimeout is how long one conversion may take. A browser's takes
	// minutes.
	DefaultTimeout = 30 * time.Minute
	// maxAttempts is how often a conversion is begun. One that takes the
	// server with it would do so for ever otherwise.
	maxAttempts = 3
	// maxNames bounds the names that a build's symbols are kept under.
	maxNames = 4
	// maxText bounds a symbol file that is made; so are those that come.
	maxText = 4 << 30
	// again is when a conversion is tried again that could not read or write
	// the bucket, and how often the catalog is looked at without a call.
	again = 30 * time.Second
)

// Convertible reports whether symbols are made of a file of a kind.
func Convertible(kind string) bool {
	return kind == binary.ELF || kind == binary.Executable || kind == binary.Debuginfo
}

// Queue converts what waits.
type Queue struct {
	o    Options
	wake chan struct{}
}

// New makes a queue. Run must run.
func New(o Options) *Queue {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Queue{o: o, wake: make(chan struct{}, 1)}
}

// Wake says that something may wait.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run converts until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		v, err := q.o.Catalog.NextConversion(ctx)
		if err == nil {
			err = q.do(ctx, v)
		}
		if err == nil {
			continue
		}
		if !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
			q.o.Log.Warn("conversion of debug files is tried again", zap.String("build", v.CodeID), zap.Error(err))
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// do does one conversion and records what became of it. Its error says that it
// is to be tried again.
func (q *Queue) do(ctx context.Context, v catalog.Conversion) error {
	if v.Attempts++; v.Attempts > maxAttempts {
		v.State, v.Reason = catalog.ConversionFailed, fmt.Sprintf("given up: the server ended %d times while it worked on this", maxAttempts)
		return q.o.Catalog.FinishConversion(ctx, v, nil)
	}
	if err := q.o.Catalog.BeginConversion(ctx, v); err != nil {
		return err
	}
	start := time.Now()
	made, files, err := q.attempt(ctx, v)
	if err != nil && (ctx.Err() != nil || fault.Is(err, fault.Unavailable)) {
		// The server stops in good order, or something that it needs is not
		// there: this was no attempt. Others go first.
		v.Attempts--
		v.Changed = time.Now()
		if err := q.o.Catalog.BeginConversion(context.WithoutCancel(ctx), v); err != nil {
			return err
		}
		return fault.Wrap(err, "convert")
	}
	if err == nil {
		metrics.SymbolConversions.Inc("made")
		q.o.Log.Info("symbols made of debug files", zap.String("build", v.CodeID), zap.Int("files", len(made)), zap.Duration("took", time.Since(start)))
		return nil // attempt recorded it
	}
	metrics.SymbolConversions.Inc("failed")
	q.o.Log.Info("no symbols are made of debug files", zap.String("build", v.CodeID), zap.Error(err))
	v.State, v.Reason = catalog.ConversionFailed, err.Error()
	var quota *store.QuotaError
	if p := fault.Of(err).Policy(); p.Level >= fault.Warn && !errors.As(err, &quota) {
		v.Reason = p.Name + ": the log of the server says more"
	}
	return q.o.Catalog.FinishConversion(ctx, v, files)
}

// attempt does a conversion. What it panics with is its error: a bug met by one
// file does not end the server. The files are those that were kept although it
// failed.
func (q *Queue) attempt(ctx context.Context, v catalog.Conversion) (made map[string]string, files []catalog.SymbolFile, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "panic: %v", p)
			q.o.Log.Error("conversion of debug files", zap.String("build", v.CodeID), zap.Error(err), zap.Stack("stack"))
		}
	}()
	raw, err := q.choose(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	u, err := q.o.Catalog.SymbolUpload(ctx, v.Upload)
	if err != nil {
		return nil, nil, err
	}
	u.Try = v.Try
	text, size, err := q.convert(ctx, raw)
	if err != nil {
		return nil, nil, err
	}
	defer os.Remove(text.Name())
	defer text.Close()
	items, left, err := q.items(ctx, v, raw, text, size)
	if err != nil {
		return nil, nil, err
	}
	b := &store.Batch{Upload: u, Items: items}
	err = q.o.Store.Add(ctx, b, func(kept []catalog.SymbolFile) error {
		made = map[string]string{}
		for _, i := range items {
			made[i.File.Key] = i.File.MD5
		}
		v.State, v.Reason, v.Made = catalog.ConversionDone, left, made
		return q.o.Catalog.FinishConversion(ctx, v, kept)
	})
	if err != nil {
		for _, i := range items {
			if !i.File.Completed.IsZero() {
				files = append(files, i.File)
			}
		}
	}
	return made, files, err
}

// build is the files of one build that symbols are made of.
type build struct {
	program *catalog.SymbolFile // nil when only debug information came
	debug   *catalog.SymbolFile // nil when the program has it in itself, or none came
	debugID string
	names   []string // that crashes may know the module by
}

// choose finds the files of a build: the newest of each kind.
func (q *Queue) choose(ctx context.Context, v catalog.Conversion) (b build, err error) {
	files, err := q.o.Catalog.DebugFiles(ctx, v.CodeID)
	if err != nil {
		return b, err
	}
	var bare []string // names of debug files
	for i := range files {
		f := &files[i]
		if f.Try && !v.Try {
			continue
		}
		switch f.Kind {
		case binary.ELF, binary.Executable:
			if b.program == nil || b.program.Kind == binary.Executable && f.Kind == binary.ELF {
				b.program = f
			}
			b.names = append(b.names, f.CodeFile, f.DebugFile)
		case binary.Debuginfo:
			if b.debug == nil {
				b.debug = f
			}
			bare = append(bare, strings.TrimSuffix(strings.TrimSuffix(f.DebugFile, ".debug"), ".dbg"))
		default:
			continue
		}
		b.debugID = f.DebugID
	}
	if b.program == nil && b.debug == nil {
		return b, fault.New(fault.Invalid, "the debug files are gone")
	}
	if b.program != nil && b.program.Kind == binary.ELF {
		b.debug = nil // it has it in itself
	}
	if b.program == nil {
		b.names = bare
	}
	b.names = slices.DeleteFunc(b.names, func(n string) bool { return !store.GoodPart(n) })
	seen := map[string]bool{}
	b.names = slices.DeleteFunc(b.names, func(n string) bool { was := seen[n]; seen[n] = true; return was })
	b.names = b.names[:min(len(b.names), maxNames)]
	if len(b.names) == 0 || b.debugID == "" {
		return b, fault.New(fault.Invalid, "the debug files have neither a name nor an id that crashes ask by")
	}
	return b, nil
}

// convert writes the symbols of a build to a temporary file.
func (q *Queue) convert(ctx context.Context, b build) (text *os.File, size int64, err error) {
	in := dump.Input{Name: b.names[0]}
	first, second := b.program, b.debug
	if first == nil {
		first, second = second, nil
	}
	program, err := q.copy(ctx, *first)
	if err != nil {
		return nil, 0, err
	}
	defer program.Close()
	in.Binary, in.Size = program.File, program.Size
	if second != nil {
		information, err := q.copy(ctx, *second)
		if err != nil {
			return nil, 0, err
		}
		defer information.Close()
		in.Debug, in.DebugSize = information.File, information.Size
	}
	out, err := q.o.Spool.Temporary()
	if err != nil {
		return nil, 0, err
	}
	whole := false
	defer func() {
		if !whole { // also when the converter panics
			out.Close()
			os.Remove(out.Name())
		}
	}()
	limited, cancel := context.WithTimeout(ctx, q.o.Timeout)
	defer cancel()
	w := &bounded{w: out, left: maxText}
	err = q.o.Convert.Convert(limited, w, in)
	switch {
	case ctx.Err() != nil:
		return nil, 0, fault.Wrap(ctx.Err(), "convert")
	case limited.Err() != nil:
		return nil, 0, fault.New(fault.TooLarge, "it took longer than %s", q.o.Timeout)
	case w.err != nil: // which is why the converter ended
		return nil, 0, w.err
	case err != nil:
		return nil, 0, err
	}
	whole = true
	return out, maxText - w.left, nil
}

// copy fetches a raw file to the spool.
func (q *Queue) copy(ctx context.Context, f catalog.SymbolFile) (in *spool.Incoming, err error) {
	r, err := q.o.Bucket.NewReader(ctx, store.Object(f.Key, f.Try), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fault.New(fault.Invalid, "%s is gone", archive.Quote(f.Key))
	}
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbols %s", f.Key)
	}
	defer r.Close()
	out, err := q.o.Spool.Temporary()
	if err != nil {
		return nil, err
	}
	in = &spool.Incoming{File: out}
	if in.Size, err = io.Copy(out, r); err != nil {
		in.Close()
		return nil, fault.As(fault.Unavailable, err, "symbols %s", f.Key)
	}
	return in, nil
}

// bounded refuses to take more than so many bytes.
type bounded struct {
	w    io.Writer
	left int64
	err  error
}

func (b *bounded) Write(p []byte) (n int, err error) {
	if int64(len(p)) > b.left {
		b.err = fault.New(fault.TooLarge, "the symbols have more than %d bytes", int64(maxText))
		return 0, b.err
	}
	if n, err = b.w.Write(p); err != nil {
		b.err = fault.As(fault.Unavailable, err, "symbol spool")
	}
	b.left -= int64(n)
	return n, b.err
}

// items are the symbol files to keep, one for each name. left tells of names
// whose symbols somebody uploaded.
func (q *Queue) items(ctx context.Context, v catalog.Conversion, b build, text io.ReaderAt, size int64) (items []*store.Item, left string, err error) {
	rest, err := behindModule(text, b.names[0])
	if err != nil {
		return nil, "", err
	}
	for n, name := range b.names {
		path, ok := symbols.ModuleID{DebugFile: name, DebugID: b.debugID}.Normalize().Path()
		key, good := store.Clean(path)
		if !ok || !good {
			return nil, "", fault.New(fault.Invalid, "%s with debug id %s cannot be kept", archive.Quote(name), b.debugID)
		}
		there, err := q.o.Catalog.SymbolFileByKey(ctx, key, v.Try)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, "", err
		}
		if err == nil && there.MD5 != v.Made[key] {
			left = "the symbols that were uploaded as " + key + " stay"
			continue
		}
		open := func() io.ReadCloser { return io.NopCloser(io.NewSectionReader(text, 0, size)) }
		if n > 0 {
			open = func() io.ReadCloser {
				return io.NopCloser(io.MultiReader(strings.NewReader(rest.head+name+"\n"), io.NewSectionReader(text, rest.at, size-rest.at)))
			}
		}
		items = append(items, &store.Item{File: catalog.SymbolFile{Key: key}, Open: open})
	}
	return items, left, nil
}

// remainder is a symbol file without the name of its module.
type remainder struct {
	head string // of the MODULE record, up to the name
	at   int64  // where the second line begins
}

// behindModule takes the MODULE record apart, whose last word is the name.
func behindModule(text io.ReaderAt, name string) (remainder, error) {
	first := make([]byte, 1024)
	n, err := text.ReadAt(first, 0)
	if err != nil && err != io.EOF {
		return remainder{}, fault.As(fault.Unavailable, err, "symbol spool")
	}
	line, _, ended := strings.Cut(string(first[:n]), "\n")
	head, found := strings.CutSuffix(line, name)
	if !ended || !found || !strings.HasPrefix(line, "MODULE ") {
		return remainder{}, fault.New(fault.Internal, "what was made begins with %.100q", line)
	}
	return remainder{head, int64(len(line)) + 1}, nil
}
