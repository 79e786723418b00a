package minidump

import (
	"bytes"
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

func (d *Dump) readMemoryInfo(b []byte) *FormatError {
	entries, n, _, err := d.extendedList(b, format.MemoryInfoSize)
	if err != nil {
		return err
	}
	d.MemoryInfo = make([]format.MemoryInfo, n)
	c := format.NewCursor(entries, d.Order)
	for i := range d.MemoryInfo {
		c.Record(&d.MemoryInfo[i])
	}
	return nil
}

// readLinuxMaps reads /proc/<pid>/maps. A line that cannot be understood makes
// the list absent, since what it covers would be missing from every lookup.
func (d *Dump) readLinuxMaps(b []byte) *FormatError {
	maps := make([]MemoryMap, 0, bytes.Count(b, []byte{'\n'})+1)
	if !d.texts.take(len(b)) {
		return bad("%d bytes are more than the budget allows", len(b))
	}
	at := 0
	for line := range bytes.Lines(b) {
		m, ok := parseMapsLine(bytes.TrimSuffix(line, []byte{'\n'}))
		if !ok {
			return &FormatError{Offset: d.streamOffset(format.StreamLinuxMaps) + uint64(at), Detail: "line " + strconv.Itoa(len(maps)+1) + " is no mapping"}
		}
		maps = append(maps, m)
		at += len(line)
	}
	d.MemoryMaps = maps
	return nil
}

// parseMapsLine reads "start-end rwxp offset major:minor inode path". The space
// before the path is there even without a path.
func parseMapsLine(line []byte) (m MemoryMap, ok bool) {
	f := bytes.SplitN(line, []byte{' '}, 6)
	if len(f) != 6 || len(f[1]) < 4 {
		return m, false
	}
	lo, hi, dash := bytes.Cut(f[0], []byte{'-'})
	major, minor, colon := bytes.Cut(f[3], []byte{':'})
	var bad bool
	num := func(b []byte, base int) uint64 {
		v, err := strconv.ParseUint(string(b), base, 64)
		bad = bad || err != nil
		return v
	}
	m.Start, m.End, m.Offset, m.Inode = num(lo, 16), num(hi, 16), num(f[2], 16), num(f[4], 10)
	num(major, 16)
	num(minor, 16)
	for _, c := range f[1] {
		switch c {
		case 'r':
			m.Readable = true
		case 'w':
			m.Writable = true
		case 'x':
			m.Executable = true
		case 's':
			m.Shared = true
		}
	}
	m.Path = string(bytes.TrimLeft(f[5], " "))
	return m, dash && colon && !bad
}

// HasMappings reports whether the dump says how the address space was laid out.
func (d *Dump) HasMappings() bool { return d.MemoryInfo != nil || d.MemoryMaps != nil }

// Mappings finds the mapping of an address: from Windows' list if the dump has
// it, else from Linux'.
type Mappings struct {
	list []Mapping
	idx  rangeIndex
}

// NewMappings sorts the mappings of a dump for lookup.
func (d *Dump) NewMappings() *Mappings {
	x := &Mappings{}
	var ranges []addressRange
	add := func(m Mapping) {
		ranges = append(ranges, addressRange{m.First, m.Last, len(x.list)})
		x.list = append(x.list, m)
	}
	if d.MemoryInfo != nil {
		for i := range d.MemoryInfo {
			m := &d.MemoryInfo[i]
			if r, ok := spanOf(m.Base, m.Size, i); ok {
				p := m.Protection
				add(Mapping{r.first, r.last,
					p&(format.PageReadOnly|format.PageReadWrite|format.PageExecuteRead|format.PageExecuteReadWrite) != 0,
					p&(format.PageReadWrite|format.PageWriteCopy|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0,
					p&(format.PageExecute|format.PageExecuteRead|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0})
			}
		}
	} else {
		for i := range d.MemoryMaps {
			m := &d.MemoryMaps[i]
			if m.Start < m.End {
				add(Mapping{m.Start, m.End - 1, m.Readable, m.Writable, m.Executable})
			}
		}
	}
	x.idx = newRangeIndex(ranges)
	return x
}

// At returns the mapping that covers addr.
func (x *Mappings) At(addr uint64) (Mapping, bool) {
	if i, ok := x.idx.find(addr); ok {
		return x.list[i], true
	}
	return Mapping{}, false
}

// All calls yield for each mapping that can be found, lowest address first.
func (x *Mappings) All(yield func(Mapping) bool) {
	for _, r := range x.idx {
		if !yield(x.list[r.item]) {
			return
		}
	}
}
