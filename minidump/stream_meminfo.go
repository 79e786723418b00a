package minidump

import (
	"bytes"
	"iter"
	"math"
	"strconv"

	"mayday/minidump/format"
)

// Mapping is a range of the address space and what could be done with it.
type Mapping struct {
	// First and Last belong to the range.
	First, Last                    uint64
	Readable, Writable, Executable bool
}

// MemoryMap is one line of /proc/<pid>/maps.
type MemoryMap struct {
	Start, End                             uint64 // End is the address behind it
	Readable, Writable, Executable, Shared bool
	Offset                                 uint64
	Inode                                  uint64
	Path                                   string // as listed, [stack] and the like included
}

// MemoryMaps are the lines of /proc/<pid>/maps. They are read anew whenever
// they are asked for.
type MemoryMaps struct {
	text  []byte
	lines int
}

// Len is how many there are.
func (m *MemoryMaps) Len() int { return m.lines }

// All yields the lines in file order.
func (m *MemoryMaps) All() iter.Seq[MemoryMap] {
	return func(yield func(MemoryMap) bool) {
		if m == nil {
			return
		}
		for line := range bytes.Lines(m.text) {
			l, _ := parseMapsLine(bytes.TrimSuffix(line, []byte{'\n'}))
			if !yield(MemoryMap{l.start, l.end, l.has('r'), l.has('w'), l.has('x'), l.has('s'), l.offset, l.inode, string(l.path)}) {
				return
			}
		}
	}
}

func (d *Dump) readMemoryInfo(b []byte) *FormatError {
	entries, n, size, err := d.extendedList(b, format.MemoryInfoSize)
	if err != nil {
		return err
	}
	d.memoryInfo = entries[:n*size]
	return nil
}

// MemoryInfo yields Windows' map of the address space in file order.
func (d *Dump) MemoryInfo() iter.Seq[format.MemoryInfo] {
	return func(yield func(format.MemoryInfo) bool) {
		for b := d.memoryInfo; len(b) > 0; b = b[format.MemoryInfoSize:] {
			c := format.NewCursor(b, d.Order)
			m := format.MemoryInfo{Base: c.U64(), AllocationBase: c.U64(), AllocationProtection: c.U32()}
			c.U32()
			m.Size, m.State, m.Protection, m.Type = c.U64(), c.U32(), c.U32(), c.U32()
			if !yield(m) {
				return
			}
		}
	}
}

// readLinuxMaps reads /proc/<pid>/maps. A line that cannot be understood makes
// the list absent, since what it covers would be missing from every lookup.
func (d *Dump) readLinuxMaps(b []byte) *FormatError {
	at, lines := 0, 0
	for line := range bytes.Lines(b) {
		lines++
		if _, ok := parseMapsLine(bytes.TrimSuffix(line, []byte{'\n'})); !ok {
			return &FormatError{Offset: d.streamOffset(format.StreamLinuxMaps) + uint64(at), Detail: "line " + strconv.Itoa(lines) + " is no mapping"}
		}
		at += len(line)
	}
	d.MemoryMaps = &MemoryMaps{b, lines}
	return nil
}

// mapsLine is a line of /proc/<pid>/maps whose texts lie in the file.
type mapsLine struct {
	start, end, offset, inode uint64
	permissions, path         []byte
}

func (l *mapsLine) has(permission byte) bool { return bytes.IndexByte(l.permissions, permission) >= 0 }

// parseMapsLine reads "start-end rwxp offset major:minor inode path". The space
// before the path is there even without a path.
func parseMapsLine(line []byte) (l mapsLine, ok bool) {
	var f [6][]byte
	for i := range 5 {
		at := bytes.IndexByte(line, ' ')
		if at < 0 {
			return l, false
		}
		f[i], line = line[:at], line[at+1:]
	}
	lo, hi, dash := bytes.Cut(f[0], []byte{'-'})
	major, minor, colon := bytes.Cut(f[3], []byte{':'})
	good := dash && colon && len(f[1]) >= 4
	number := func(b []byte, base uint64) (v uint64) {
		good = good && len(b) > 0
		for _, c := range b {
			n := uint64(c - '0')
			if n > 9 {
				if n = uint64(c | 0x20 - 'a' + 10); n < 10 || c < 'A' {
					n = base
				}
			}
			next := v*base + n
			good = good && n < base && v <= math.MaxUint64/base && next >= v
			v = next
		}
		return v
	}
	l.start, l.end, l.offset, l.inode = number(lo, 16), number(hi, 16), number(f[2], 16), number(f[4], 10)
	number(major, 16)
	number(minor, 16)
	l.permissions, l.path = f[1], bytes.TrimLeft(line, " ")
	return l, good
}

// HasMappings reports whether the dump says how the address space was laid out.
func (d *Dump) HasMappings() bool { return d.memoryInfo != nil || d.MemoryMaps != nil }

// Mappings finds the mapping of an address: from Windows' list if the dump has
// it, else from Linux'.
type Mappings struct{ idx rangeIndex }

// What a mapping allows, as items of its index.
const (
	mayRead = 1 << iota
	mayWrite
	mayExecute
)

// NewMappings sorts the mappings of a dump for lookup.
func (d *Dump) NewMappings() *Mappings {
	var ranges []addressRange
	if d.memoryInfo != nil {
		ranges = make([]addressRange, 0, len(d.memoryInfo)/format.MemoryInfoSize)
		for m := range d.MemoryInfo() {
			var allowed uint64
			if m.Protection&(format.PageReadOnly|format.PageReadWrite|format.PageExecuteRead|format.PageExecuteReadWrite) != 0 {
				allowed |= mayRead
			}
			if m.Protection&(format.PageReadWrite|format.PageWriteCopy|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0 {
				allowed |= mayWrite
			}
			if m.Protection&(format.PageExecute|format.PageExecuteRead|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0 {
				allowed |= mayExecute
			}
			if r, ok := spanOf(m.Base, m.Size, allowed); ok {
				ranges = append(ranges, r)
			}
		}
	} else if d.MemoryMaps != nil {
		ranges = make([]addressRange, 0, d.MemoryMaps.lines)
		for line := range bytes.Lines(d.MemoryMaps.text) {
			l, _ := parseMapsLine(bytes.TrimSuffix(line, []byte{'\n'}))
			var allowed uint64
			for i, c := range []byte("rwx") {
				if l.has(c) {
					allowed |= 1 << i
				}
			}
			if l.start < l.end {
				ranges = append(ranges, addressRange{l.start, l.end - 1, allowed})
			}
		}
	}
	return &Mappings{newRangeIndex(ranges)}
}

func (r *addressRange) mapping() Mapping {
	return Mapping{r.first, r.last, r.item&mayRead != 0, r.item&mayWrite != 0, r.item&mayExecute != 0}
}

// At returns the mapping that covers addr.
func (x *Mappings) At(addr uint64) (Mapping, bool) {
	if r := x.idx.find(addr); r != nil {
		return r.mapping(), true
	}
	return Mapping{}, false
}

// All calls yield for each mapping that can be found, lowest address first.
func (x *Mappings) All(yield func(Mapping) bool) {
	for i := range x.idx {
		if !yield(x.idx[i].mapping()) {
			return
		}
	}
}
