// Package rawtext prints what is in a minidump as it lies there: header,
// directory, and every stream's records field by field, with the bytes of memory
// in hexadecimal. Layouts are those of package format; names of fields follow
// Microsoft's, Breakpad's and Crashpad's headers.
//
// It is for people who look into a broken dump or a writer of dumps, so it
// interprets little: no stacks, no symbols. Records are taken from the file itself
// and not from what package minidump made of them, and what cannot be read is said
// where it lies. Streams without a reader here are printed as bytes.
//
// Bytes that many records point at are printed as long as all of them together
// are no more than the file has; so the text is bounded by a multiple of the file.
package rawtext

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"mayday/minidump"
	"mayday/minidump/format"
)

// Options say how much is printed.
type Options struct {
	// Brief leaves out the bytes of memory.
	Brief bool
}

// Write prints the dump d, which was read from r. An error is that of w or of the
// context.
func Write(ctx context.Context, w io.Writer, r io.ReaderAt, d *minidump.Dump, o Options) error {
	p := &printer{w: bufio.NewWriter(w), ctx: ctx, d: d, r: r, brief: o.Brief, left: uint64(d.Size) + least}
	p.header()
	p.directory()
	for i, s := range d.Streams {
		if p.err != nil {
			break
		}
		if s.Type != format.StreamUnused && p.last(i) {
			p.stream(s)
		}
	}
	if len(d.Errors) > 0 {
		p.title("Errors")
		for _, e := range d.Errors {
			p.line("  %s", clean(e.Error()))
		}
	}
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// least is what may be printed of the smallest dump besides its own size.
const least = 64 << 10

// printer prints one dump.
type printer struct {
	w     *bufio.Writer
	ctx   context.Context
	err   error
	d     *minidump.Dump
	r     io.ReaderAt
	brief bool
	left  uint64 // bytes pointed at that may still be printed
	lines uint
}

// line prints one line.
func (p *printer) line(text string, args ...any) {
	if p.err != nil {
		return
	}
	const often = 1 << 10
	if p.lines++; p.lines%often == 0 {
		p.err = p.ctx.Err()
	}
	if _, err := fmt.Fprintf(p.w, text+"\n", args...); err != nil {
		p.err = err
	}
}

// title begins a part.
func (p *printer) title(text string, args ...any) {
	p.line("")
	p.line(text, args...)
}

// pair is a field and its value.
type pair struct{ name, value string }

// pairs prints fields under each other.
func (p *printer) pairs(list []pair) {
	width := 0
	for _, f := range list {
		width = max(width, len(f.name))
	}
	for _, f := range list {
		p.line("  %-*s = %s", width, f.name, f.value)
	}
}

// header prints the header.
func (p *printer) header() {
	p.line("MINIDUMP_HEADER")
	h := &p.d.Header
	p.pairs(append(fields("", *h), pair{"(byte order)", p.d.Order.String()}, pair{"(file size)", fmt.Sprint(p.d.Size)}))
}

// directory prints the list of streams.
func (p *printer) directory() {
	for i, s := range p.d.Streams {
		p.title("MINIDUMP_DIRECTORY[%d]", i)
		list := append([]pair{{"stream_type", fmt.Sprintf("%#x (%s)", uint32(s.Type), s.Type)}}, fields("", struct{ Location format.Location }{s.Location})...)
		switch {
		case uint64(s.Location.RVA)+uint64(s.Location.Size) > uint64(p.d.Size):
			list = append(list, pair{"(broken)", "reaches beyond the file"})
		case s.Type != format.StreamUnused && !p.last(i):
			list = append(list, pair{"(ignored)", "the same stream comes again"})
		}
		p.pairs(list)
	}
}

// last reports whether entry i of the directory is the one that counts for its
// stream.
func (p *printer) last(i int) bool {
	t := p.d.Streams[i].Type
	// What reads dumps takes the last, so most directories end this soon.
	for _, s := range p.d.Streams[i+1 : min(len(p.d.Streams), i+1+maxRepeated)] {
		if s.Type == t {
			return false
		}
	}
	return true
}

// maxRepeated bounds how far ahead in the directory a stream is looked for again.
const maxRepeated = 256

// at reads bytes of the file that a record points at. What is printed of them is
// paid for; nil says that they are not there or are too many, and why.
func (p *printer) at(l format.Location, most uint64) (b []byte, why string) {
	return p.atWide(uint64(l.RVA), min(uint64(l.Size), most))
}

func (p *printer) atWide(rva, n uint64) (b []byte, why string) {
	size := uint64(p.d.Size)
	switch {
	case rva > size || n > size-rva:
		return nil, fmt.Sprintf("(%d bytes at %#x are not in the file)", n, rva)
	case n > p.left:
		return nil, "(left out: records point at more bytes than the file has)"
	}
	p.left -= n
	b = make([]byte, n)
	if _, err := p.r.ReadAt(b, int64(rva)); err != nil && err != io.EOF {
		return nil, "(" + err.Error() + ")"
	}
	return b, ""
}

// utf16At is a text that its length in bytes stands before.
func (p *printer) utf16At(rva uint64) string {
	const longest = 64 << 10
	head, why := p.atWide(rva, 4)
	if head == nil {
		return why
	}
	n := uint64(p.d.Order.Uint32(head))
	b, why := p.atWide(rva+4, min(n, longest))
	if b == nil && n > 0 {
		return why
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = p.d.Order.Uint16(b[2*i:])
	}
	return quoteUTF16(units)
}

// hexdump prints bytes that lie at an address of the process or of the file.
func (p *printer) hexdump(address uint64, b []byte) {
	if p.brief {
		return
	}
	const row = 16
	text := make([]byte, 0, 80)
	for at := 0; at < len(b) && p.err == nil; at += row {
		part := b[at:min(at+row, len(b))]
		text = text[:0]
		for i := range row {
			switch {
			case i >= len(part):
				text = append(text, "   "...)
			default:
				text = append(hex.AppendEncode(text, part[i:i+1]), ' ')
			}
			if i == row/2-1 {
				text = append(text, ' ')
			}
		}
		text = append(text, '|')
		for _, c := range part {
			if c < ' ' || c > '~' {
				c = '.'
			}
			text = append(text, c)
		}
		p.line("    %016x  %s|", address+uint64(at), text)
	}
}

// memory prints what a location holds, which lay at an address.
func (p *printer) memory(address uint64, rva, n uint64) {
	if p.brief || n == 0 {
		return
	}
	const portion = 1 << 20
	for at := uint64(0); at < n && p.err == nil; at += portion {
		b, why := p.atWide(rva+at, min(portion, n-at))
		if b == nil {
			p.line("    %s", why)
			return
		}
		p.hexdump(address+at, b)
	}
}

// text prints lines of a text.
func (p *printer) text(b []byte, separator string) {
	for line := range strings.SplitSeq(strings.TrimRight(string(b), separator), separator) {
		p.line("  %s", clean(line))
	}
}

// clean makes a text fit for one line of a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// seconds is a time in seconds since 1970.
func seconds(v uint64) string { return time.Unix(int64(v), 0).UTC().Format(time.RFC3339) }
