// Package bundle finds the raw debug files in what a build machine sends: the
// file itself, packed by gzip, zstd, bzip2 or xz, in a tar, zip or cabinet, a
// folder such as a dSYM packed by any of these, and these within each other.
// What it is, the bytes say, not the name.
//
// Memory holds blocks only: what must be unpacked goes to temporary files. How
// much may be unpacked, how many members looked at and how deep, is bounded, so
// that a small upload does not fill the disk. Members that are no debug files
// are looked at no further than their first bytes.
//
// Not read: cabinets packed by Quantum, sparse members of tars, links.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"runtime/debug"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"mayday/app/fault"
	"mayday/symbols/cab"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/binary"
)

const (
	// maxDepth bounds packings within each other: a zip of cabinets, a tar.gz.
	maxDepth = 5
	// maxWindow bounds the memory of zstd and xz: what zstd's levels up to 19
	// use, and xz -9.
	maxWindow = 64 << 20
	// headSize is how much of a member tells what it is: a tar says so at 257.
	headSize = 512
)

// Options say how a bundle is unpacked.
type Options struct {
	// Temporary makes a file; the bundle removes it.
	Temporary func() (*os.File, error)
	// Most bounds the bytes that are unpacked in all.
	Most int64
	// MaxFile bounds one file.
	MaxFile int64
}

// File is one debug file that was found.
type File struct {
	Name string // without folders
	Path string // where it was found, for messages
	What binary.Identity
	io.ReaderAt
	Size int64
}

// Bundle is what was found. Close removes what was unpacked.
type Bundle struct {
	Files []File
	// Ignored are the members that are no debug files, and debug files that
	// nothing names, with the reason.
	Ignored []string

	o     Options
	temps []*os.File
	left  int64
	seen  int
	work  int64 // bytes that were unpacked to get at others
	queue []entry
}

// entry is something to look into.
type entry struct {
	path  string
	depth int
	size  int64
	io.ReaderAt
}

// Open finds the debug files in r, which has size bytes and a file name. Files
// that cannot be read are an error of kind Malformed, TooLarge or Unsupported;
// so are bundles without any debug file.
func Open(ctx context.Context, r io.ReaderAt, size int64, name string, o Options) (_ *Bundle, err error) {
	b := &Bundle{o: o, left: o.Most, queue: []entry{{path: name, size: size, ReaderAt: r}}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	for len(b.queue) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(err, "unpack")
		}
		e := b.queue[0]
		b.queue = b.queue[1:]
		if err := b.look(ctx, e); err != nil {
			return nil, err
		}
	}
	if len(b.Files) == 0 {
		why := ""
		if len(b.Ignored) > 0 {
			why = ": " + b.Ignored[0]
		}
		return nil, fault.New(fault.Malformed, "no debug file (ELF, Mach-O, PE, PDB) in %s%s", archive.Quote(name), why)
	}
	return b, nil
}

// Close removes what was unpacked.
func (b *Bundle) Close() {
	for _, f := range b.temps {
		f.Close()
		os.Remove(f.Name())
	}
	b.temps = nil
}

// look takes an entry for what its first bytes say it is.
func (b *Bundle) look(ctx context.Context, e entry) error {
	head := make([]byte, headSize)
	n, err := e.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fault.As(fault.Malformed, err, "%s", archive.Quote(e.path))
	}
	kind := sniff(head[:n])
	if kind != raw && kind != other && e.depth == maxDepth {
		return fault.New(fault.TooLarge, "%s is packed more than %d times", archive.Quote(e.path), maxDepth)
	}
	switch kind {
	case raw:
		b.found(e)
		return nil
	case packed:
		return b.unpack(ctx, e)
	case inTar:
		return b.readTar(ctx, e)
	case inZip:
		return b.readZip(ctx, e)
	case inCabinet:
		return b.readCabinet(ctx, e)
	}
	b.ignore(e.path, "neither ELF, Mach-O, PE nor PDB")
	return nil
}

// what an entry is.
type what int

const (
	other what = iota
	raw
	packed // one file by itself: gzip, zstd, bzip2, xz
	inTar
	inZip
	inCabinet
)

func sniff(head []byte) what {
	switch {
	case binary.Magic(head):
		return raw
	case bytes.HasPrefix(head, []byte("\x1f\x8b")), bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")), bytes.HasPrefix(head, []byte("BZh")),
		bytes.HasPrefix(head, []byte(xzMagic)):
		return packed
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return inZip
	case cab.Magic(head):
		return inCabinet
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return inTar
	}
	return other
}

const maxIgnored = 1000 // names; more are not worth their memory

func (b *Bundle) ignore(path, why string) {
	if len(b.Ignored) < maxIgnored {
		b.Ignored = append(b.Ignored, archive.Quote(path)+": "+why)
	}
}

// found adds a debug file, or each of several in one.
func (b *Bundle) found(e entry) {
	parts, err := binary.Identify(e, e.size)
	if err != nil {
		b.ignore(e.path, err.Error())
		return
	}
	name := path.Base(strings.ReplaceAll(e.path, `\`, "/"))
	for _, p := range parts {
		b.Files = append(b.Files, File{Name: name, Path: e.path, What: p, ReaderAt: io.NewSectionReader(e, p.Offset, p.Size), Size: p.Size})
	}
}

// count bounds the members.
func (b *Bundle) count() error {
	if b.seen++; b.seen > archive.MaxMembers {
		return fault.New(fault.TooLarge, "more than %d members in the archive", archive.MaxMembers)
	}
	return nil
}

// extract unpacks a member into a temporary file and queues it, unless its
// first bytes say that nothing in it is wanted.
func (b *Bundle) extract(ctx context.Context, e entry, r io.Reader) error {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return asBad(err, e.path)
	}
	head = head[:n]
	if sniff(head) == other {
		b.ignore(e.path, "neither ELF, Mach-O, PE nor PDB")
		return nil
	}
	f, err := b.o.Temporary()
	if err != nil {
		return err
	}
	b.temps = append(b.temps, f)
	most := min(b.left, b.o.MaxFile)
	size, err := io.Copy(f, io.LimitReader(&stoppable{ctx, io.MultiReader(bytes.NewReader(head), r)}, most+1))
	if size > most {
		return fault.New(fault.TooLarge, "%s unpacks to more than %d bytes", archive.Quote(e.path), most)
	}
	if err != nil {
		return asBad(err, e.path)
	}
	b.left -= size
	e.ReaderAt, e.size = f, size
	b.queue = append(b.queue, e)
	return nil
}

// stoppable ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// asBad is the error of a reader of something packed.
func asBad(err error, path string) error {
	if k := fault.Of(err); k != fault.Internal {
		return fault.Wrap(err, "%s", archive.Quote(path))
	}
	var disk *os.PathError
	if errors.As(err, &disk) {
		return fault.As(fault.Unavailable, err, "unpack %s", archive.Quote(path))
	}
	return fault.As(fault.Malformed, err, "%s", archive.Quote(path))
}

// unpack takes the packing off one file.
func (b *Bundle) unpack(ctx context.Context, e entry) error {
	if err := b.count(); err != nil {
		return err
	}
	in := io.NewSectionReader(e, 0, e.size)
	var head [2]byte
	_, _ = in.ReadAt(head[:], 0) // it was read before
	var r io.Reader
	switch {
	case head == [2]byte{0x1f, 0x8b}:
		z, err := gzip.NewReader(in)
		if err != nil {
			return asBad(err, e.path)
		}
		r = z
	case head == [2]byte{'B', 'Z'}:
		r = bzip2.NewReader(in)
	case head == [2]byte{0xfd, '7'}:
		x, err := newXZ(in)
		if err != nil {
			return asBad(err, e.path)
		}
		defer func() {
			x.block = nil // holds the window
			letGo(x.most)
		}()
		r = x
	default:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return asBad(err, e.path)
		}
		defer letGo(maxWindow) // what it took is not told
		defer z.Close()
		r = z
	}
	return b.extract(ctx, entry{path: unpackedName(e.path), depth: e.depth + 1}, r)
}

// largeWindow is what is worth a collection of garbage of its own.
const largeWindow = 8 << 20

// letGo gives the memory of a large window back at once: the next file wants one
// too, and the runtime would let several pile up.
func letGo(window int) {
	if window > largeWindow {
		debug.FreeOSMemory()
	}
}

// unpackedName is the name of what a packed file holds.
func unpackedName(name string) string {
	ext := path.Ext(name)
	switch strings.ToLower(ext) {
	case ".gz", ".zst", ".zstd", ".bz2", ".xz":
		return strings.TrimSuffix(name, ext)
	case ".tgz", ".tbz", ".tzst", ".txz":
		return strings.TrimSuffix(name, ext) + ".tar"
	}
	return name
}

// readTar queues the members of a tar. They lie in it as they are.
func (b *Bundle) readTar(ctx context.Context, e entry) error {
	in := io.NewSectionReader(e, 0, e.size)
	t := tar.NewReader(in)
	for {
		if err := ctx.Err(); err != nil {
			return fault.Wrap(err, "unpack")
		}
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return asBad(err, e.path)
		}
		if err := b.count(); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || h.Size == 0 {
			continue
		}
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				return fault.New(fault.Unsupported, "%s is kept sparse", archive.Quote(h.Name))
			}
		}
		at, err := in.Seek(0, io.SeekCurrent) // the reader reads no further than the header
		if err != nil {
			return asBad(err, e.path)
		}
		if h.Size > e.size-at {
			return fault.New(fault.Malformed, "%s claims %d bytes, %d are left", archive.Quote(h.Name), h.Size, e.size-at)
		}
		b.queueInside(e, h.Name, at, h.Size)
	}
}

// queueInside queues a member that lies in its archive as it is.
func (b *Bundle) queueInside(e entry, name string, at, size int64) {
	in := io.NewSectionReader(e, at, size)
	head := make([]byte, headSize)
	n, _ := in.ReadAt(head, 0) // what cannot be read is nothing that is known
	if sniff(head[:n]) == other {
		b.ignore(name, "neither ELF, Mach-O, PE nor PDB")
		return
	}
	b.queue = append(b.queue, entry{path: name, depth: e.depth + 1, size: size, ReaderAt: in})
}

func (b *Bundle) readZip(ctx context.Context, e entry) error {
	members, err := archive.Read(e, e.size)
	if err != nil {
		return asBad(err, e.path)
	}
	for _, m := range members {
		if err := b.count(); err != nil {
			return err
		}
		if m.IsDir() || m.Size == 0 {
			continue
		}
		r := m.Open()
		err := b.extract(ctx, entry{path: m.Name, depth: e.depth + 1}, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Bundle) readCabinet(ctx context.Context, e entry) error {
	c, err := cab.NewReader(e, e.size)
	if err != nil {
		return asBad(err, e.path)
	}
	for _, f := range c.Files {
		if err := b.count(); err != nil {
			return err
		}
		if f.Size == 0 {
			continue
		}
		if b.work += f.Before(); b.work > b.o.Most {
			return fault.New(fault.TooLarge, "the members of %s lie too far behind each other", archive.Quote(e.path))
		}
		r, err := c.Open(f)
		if err != nil {
			return asBad(err, e.path)
		}
		if err := b.extract(ctx, entry{path: f.Name, depth: e.depth + 1}, r); err != nil {
			return err
		}
	}
	return nil
}
