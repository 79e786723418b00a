package fetch

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/dump"
)

// FileKind says which raw file of a module is wanted.
type FileKind uint8

// The kinds of files.
const (
	DebugFile  FileKind = iota // PDB, or ELF with debug information
	Executable                 // what the crash had loaded: EXE, DLL, ELF
)

// Converter makes a Breakpad symbol file of raw debug files.
type Converter interface {
	// Convert writes the symbols of a binary to w. An error of kind
	// fault.Unsupported means that there are none in it.
	Convert(ctx context.Context, w io.Writer, in dump.Input) error
}

// PlacesOptions say how places outside are asked.
type PlacesOptions struct {
	// Private are hosts, addresses and networks (CIDR) that servers may redirect
	// to although they lie in a private network. Hosts that the places name need
	// not stand here.
	Private []string
	// Convert makes symbols of raw files; nil has those places asked for raw
	// files alone.
	Convert Converter
	// TempDir is where raw files lie while they are unpacked or converted; "" is
	// that of the system.
	TempDir string
	Client  *http.Client // nil makes one that keeps to Private
	Log     *zap.Logger
}

// place is somewhere outside that may have symbols or raw files of a module.
// Errors of kind fault.NotFound mean that it has not.
type place interface {
	text(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error)
	file(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error)
}

// Places are the suppliers that are asked for what the own bucket lacks, in
// order. Each is given by its address:
//
//	https://host/path             a symbol server in Breakpad's layout, such as Tecken
//	microsoft+https://host/path   a Microsoft symbol server, or a store written by symstore
//	debuginfod+https://host/      a debuginfod server
//	s3://…, gs://…, mem://…       a bucket in Breakpad's layout; ?prefix=v1/ for a folder of it
//	file:///path, /path           a directory in Breakpad's layout, or a single .sym file
//
// A server that does not answer is left alone for a while, longer each time,
// so that crashes do not wait for it; what one has not is remembered for an
// hour.
type Places struct {
	list    []place
	convert Converter
	tempDir string
	closers []io.Closer
}

// OpenPlaces opens the places at addresses. Nothing is asked yet.
func OpenPlaces(ctx context.Context, addresses []string, o PlacesOptions) (_ *Places, err error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Places{convert: o.Convert, tempDir: o.TempDir}
	defer func() {
		if err != nil {
			_ = p.Close() // the address is refused already
		}
	}()
	w := newWeb(o)
	for _, address := range addresses {
		kind, rest, found := strings.Cut(address, "+")
		if !found {
			kind, rest = "", address
		}
		scheme, _, _ := strings.Cut(rest, ":")
		switch {
		case scheme == "http" || scheme == "https":
			s, err := w.server(rest)
			if err != nil {
				return nil, err
			}
			switch kind {
			case "":
				p.list = append(p.list, &tecken{s})
			case "microsoft":
				p.list = append(p.list, &microsoft{server: s, tempDir: o.TempDir})
			case "debuginfod":
				p.list = append(p.list, &debuginfod{s})
			default:
				return nil, fault.New(fault.Invalid, "symbol supplier %q: %s+ is none of microsoft+, debuginfod+", address, kind)
			}
		case strings.HasPrefix(address, "/") || strings.HasPrefix(address, "file:"):
			u, err := url.Parse(address)
			if err != nil || u.Path == "" || u.Host != "" {
				return nil, fault.New(fault.Invalid, "symbol supplier %q: not file:///path", address)
			}
			p.list = append(p.list, directory{filepath.FromSlash(u.Path)})
		default:
			b, err := blob.OpenBucket(ctx, address)
			if err != nil {
				return nil, fault.As(fault.Invalid, err, "symbol supplier %q", address)
			}
			p.closers = append(p.closers, b)
			p.list = append(p.list, objects{b})
		}
	}
	return p, nil
}

// Close closes buckets that were opened.
func (p *Places) Close() error {
	var err error
	for _, c := range p.closers {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// Fetch opens the .sym text of a module from the first place that has it, or
// has a raw file it can be made of. The error is of kind fault.NotFound when
// all say that they have not, fault.Unavailable when one did not answer and no
// other has it.
func (p *Places) Fetch(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	return p.first(ctx, id, func(at place) (io.ReadCloser, error) {
		r, err := at.text(ctx, id)
		if p.convert == nil || !fault.Is(err, fault.NotFound) {
			return r, err
		}
		return p.converted(ctx, at, id)
	})
}

// File opens a raw file of a module from the first place that has it, unpacked.
// It is not checked that the file is of that module.
func (p *Places) File(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	return p.first(ctx, id, func(at place) (io.ReadCloser, error) { return at.file(ctx, id, kind) })
}

func (p *Places) first(ctx context.Context, id symbols.ModuleID, ask func(place) (io.ReadCloser, error)) (io.ReadCloser, error) {
	var failed error
	for _, at := range p.list {
		r, err := ask(at)
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil:
			return nil, fault.Wrap(ctx.Err(), "symbols of %s", id.DebugFile)
		case !fault.Is(err, fault.NotFound):
			failed = err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fault.New(fault.NotFound, "no supplier has %s %s", id.DebugFile, id.DebugID)
}

// converted makes the text of a place's raw files: the one with the debug
// information, and the program that it was taken out of, whose tables for
// unwinding it lacks. A program alone has too little to say. PDB files are not
// even asked for: nothing makes symbols of them.
func (p *Places) converted(ctx context.Context, at place, id symbols.ModuleID) (io.ReadCloser, error) {
	if strings.HasSuffix(strings.ToLower(id.DebugFile), ".pdb") {
		return nil, fault.New(fault.NotFound, "no symbols are made of %s", id.DebugFile)
	}
	information, err := p.rawFile(ctx, at, id, DebugFile)
	if err != nil {
		return nil, err
	}
	defer information.Close()
	in := dump.Input{Name: symbols.Leaf(id.DebugFile), Binary: information.File, Size: information.size}
	program, err := p.rawFile(ctx, at, id, Executable)
	if err == nil {
		defer program.Close()
		in.Debug, in.DebugSize = in.Binary, in.Size
		in.Binary, in.Size = program.File, program.size
	} else if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	out, err := os.CreateTemp(p.tempDir, "mayday-converted-*")
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "temporary file")
	}
	f := temporary{out}
	err = p.convert.Convert(ctx, f, in)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		if fault.Is(err, fault.Unsupported) {
			return nil, fault.As(fault.NotFound, err, "%s holds no symbols", id.DebugFile)
		}
		return nil, fault.Wrap(err, "convert %s", id.DebugFile)
	}
	return f, nil
}

// rawFile copies a raw file of a place to a temporary one.
func (p *Places) rawFile(ctx context.Context, at place, id symbols.ModuleID, kind FileKind) (local, error) {
	r, err := at.file(ctx, id, kind)
	if err != nil {
		return local{}, err
	}
	f, err := spool(r, p.tempDir)
	if err != nil {
		return local{}, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return local{}, fault.As(fault.Unavailable, err, "temporary file")
	}
	return local{f, size}, nil
}

// local is a raw file that was copied here.
type local struct {
	temporary
	size int64
}

// temporary is a file that goes when it is closed.
type temporary struct{ *os.File }

// Close implements io.Closer.
func (t temporary) Close() error {
	err := t.File.Close()
	_ = os.Remove(t.Name()) // nobody else has its name
	return err
}

// spool copies what r reads into a temporary file and closes r.
func spool(r io.ReadCloser, dir string) (_ temporary, err error) {
	defer r.Close()
	f, err := os.CreateTemp(dir, "mayday-symbols-*")
	if err != nil {
		return temporary{}, fault.As(fault.Unavailable, err, "temporary file")
	}
	t := temporary{f}
	if _, err := io.Copy(f, r); err != nil {
		t.Close()
		return temporary{}, fault.Wrap(err, "download")
	}
	return t, nil
}

// noFile is the answer of places that have no raw files.
func noFile(id symbols.ModuleID) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "no raw file of %s", id.DebugFile)
}

// directory is a directory in Breakpad's layout, or a single .sym file.
type directory struct{ path string }

func (f directory) text(_ context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	if r := openIn(f.path, id); r != nil {
		return unpacked(r, f.path)
	}
	return nil, fault.New(fault.NotFound, "%s has no symbols of %s", f.path, id.DebugFile)
}

// file finds raw files kept as FILE/ID/FILE beside the symbols.
func (f directory) file(_ context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	name, keys := rawKeys(id, kind)
	for _, key := range keys {
		if r, err := os.Open(filepath.Join(f.path, name, key, name)); err == nil {
			return r, nil
		}
	}
	return noFile(id)
}

// objects is a bucket in Breakpad's layout.
type objects struct{ bucket *blob.Bucket }

func (o objects) text(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	return o.open(ctx, storePaths(id))
}

func (o objects) file(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	name, keys := rawKeys(id, kind)
	var paths []string
	for _, key := range keys {
		paths = append(paths, name+"/"+key+"/"+name)
	}
	return o.open(ctx, paths)
}

func (o objects) open(ctx context.Context, keys []string) (io.ReadCloser, error) {
	for _, key := range keys {
		r, err := o.bucket.NewReader(ctx, key, nil)
		switch {
		case gcerrors.Code(err) == gcerrors.NotFound:
		case err != nil:
			return nil, fault.As(fault.Unavailable, err, "symbols %s", key)
		default:
			return unpacked(r, key)
		}
	}
	return nil, fault.New(fault.NotFound, "the bucket has none of %q", keys)
}

// rawKeys are the name of a raw file and the ids, as stores write them, that it
// may be kept under; none when it cannot be named.
func rawKeys(id symbols.ModuleID, kind FileKind) (name string, keys []string) {
	m := id.Normalize()
	if kind == DebugFile {
		if _, ok := m.Path(); !ok || m.DebugFile == "" {
			return "", nil
		}
		return m.DebugFile, spellings(m.DebugID, 32)
	}
	if _, ok := m.CodePath(); !ok {
		return "", nil
	}
	return m.CodeFile, spellings(m.CodeID, 8)
}

// spellings are an id in capitals, and with what stands behind the first n
// digits in small letters, where that makes a difference.
func spellings(id string, n int) []string {
	if len(id) <= n {
		return []string{id}
	}
	if small := id[:n] + strings.ToLower(id[n:]); small != id {
		return []string{small, id}
	}
	return []string{id}
}
