package gopclntab

import "iter"

// Piece is a part of a function with one value.
type Piece struct {
	// Start and End are offsets in the module.
	Start, End uint64
	Value      int32
}

// cursor runs over one of a function's lists of values: steps of value and
// address, in turn, as numbers of seven bits per byte.
type cursor struct {
	table *Table
	at    uint64 // of what follows block
	block []byte
	end   uint64 // of the function
	piece Piece
	ended bool
	taken int // bytes of the list
}

// cursor begins a list of values. A function without has one piece of -1.
func (t *Table) cursor(f *Function, list uint32) cursor {
	c := cursor{table: t, at: t.values + uint64(list), end: f.End, piece: Piece{Start: f.Start, End: f.Start, Value: -1}}
	c.ended = list == 0
	return c
}

// next goes to the next piece. What the list does not cover belongs to none.
func (c *cursor) next() bool {
	for {
		if c.ended || c.piece.End >= c.end {
			return false
		}
		first := c.taken == 0
		value, ok := c.number()
		if !ok || value == 0 && !first {
			c.ended = true
			return false
		}
		distance, ok := c.number()
		if !ok {
			c.ended = true
			return false
		}
		c.piece.Value += int32(-(value & 1) ^ value>>1)
		c.piece.Start = c.piece.End
		c.piece.End = min(c.end, c.piece.End+uint64(distance)*c.table.quantum)
		if c.piece.End > c.piece.Start {
			return true
		}
		if !first {
			c.ended = true // only a list that goes on and on does that
			return false
		}
	}
}

// number reads a number of up to 32 bits.
func (c *cursor) number() (n uint32, ok bool) {
	for shift := 0; shift < 35; shift += 7 {
		if len(c.block) == 0 {
			if c.block = c.table.block(c.at); len(c.block) == 0 {
				return 0, false
			}
			c.at += uint64(len(c.block))
		}
		b := c.block[0]
		c.block = c.block[1:]
		c.taken++
		n |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return n, true
		}
	}
	return 0, false
}

// seek goes to the piece that covers an offset. Offsets that are asked for one
// after the other must rise.
func (c *cursor) seek(offset uint64) (int32, bool) {
	for c.piece.End <= offset {
		if !c.next() {
			return -1, false
		}
	}
	return c.piece.Value, c.piece.Start <= offset
}

// Depths are the distances of the stack pointer from where it stood when the
// function was entered: the bytes that were pushed or allocated since.
func (t *Table) Depths(f *Function) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		c := t.cursor(f, f.delta)
		for c.next() {
			if c.piece.Value < 0 || !yield(c.piece) {
				return
			}
		}
	}
}

// Depth is the distance at one place, and how many bytes of table told it.
func (t *Table) Depth(f *Function, offset uint64) (p Piece, taken int, ok bool) {
	c := t.cursor(f, f.delta)
	v, ok := c.seek(offset)
	return c.piece, c.taken, ok && v >= 0
}

// NoFile is the file of a line that has none.
const NoFile = ^uint32(0)

// Line is a part of a function that belongs to one line: that of the innermost
// call where calls were inlined.
type Line struct {
	// Start and End are offsets in the module.
	Start, End uint64
	// File is for FileAt.
	File   uint32
	Number uint32
}

// Lines are the lines of a function, in the order of their places; neighbours of
// one line are one.
func (t *Table) Lines(f *Function) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		var last Line
		files, lines := t.cursor(f, f.file), t.cursor(f, f.line)
		files.next()
		units := unit{table: t}
		for lines.next() {
			for at := lines.piece.Start; at < lines.piece.End; {
				l := Line{Start: at, End: lines.piece.End, File: NoFile, Number: uint32(max(lines.piece.Value, 0))}
				if file, ok := files.seek(at); ok {
					l.File, l.End = units.file(f, file), min(l.End, files.piece.End)
				}
				at = l.End
				switch {
				case last.End == l.Start && last.File == l.File && last.Number == l.Number:
					last.End = l.End
					continue
				case last.End > last.Start && !yield(last):
					return
				}
				last = l
			}
		}
		if last.End > last.Start {
			yield(last)
		}
	}
}

// unit finds files by their numbers in a unit of compilation. It remembers the
// last, since most of a function is of one file.
type unit struct {
	table  *Table
	known  bool
	number int32
	at     uint32
}

func (u *unit) file(f *Function, number int32) uint32 {
	if u.known && u.number == number {
		return u.at
	}
	u.known, u.number, u.at = true, number, NoFile
	if number < 0 || f.unit == 1<<32-1 {
		return NoFile
	}
	if b := u.table.bytes(u.table.units+4*(uint64(f.unit)+uint64(number)), 4); b != nil {
		u.at = u.table.order.Uint32(b)
	}
	return u.at
}

// FileAt is the name of the file that a Line or an Inline refers to, "" for
// NoFile.
func (t *Table) FileAt(at uint32) string {
	if at == NoFile {
		return ""
	}
	return t.string(t.files + uint64(at))
}
