package minidump

import (
	"bytes"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"mayday/minidump/format"
)

// MemoryMap is one line of /proc/<pid>/maps.
type MemoryMap struct {
	Start, End                             uint64 // End is the address behind it
	Readable, Writable, Executable, Shared bool
	Offset                                 uint64
	Inode                                  uint64
	Path                                   string // as listed, [stack] and the like included
}

// MemoryMaps are the lines of /proc/<pid>/maps or smaps. They are read anew
// whenever they are asked for.
type MemoryMaps struct {
	text []byte
	n    int
}

// Len is how many there are.
func (m *MemoryMaps) Len() int { return m.n }

// All yields the mappings in file order.
func (m *MemoryMaps) All() iter.Seq[MemoryMap] {
	return func(yield func(MemoryMap) bool) {
		for l := range m.lines() {
			if !yield(MemoryMap{l.start, l.end, l.has('r'), l.has('w'), l.has('x'), l.has('s'), l.offset, l.inode, string(l.path)}) {
				return
			}
		}
	}
}

// lines yields the lines that are mappings.
func (m *MemoryMaps) lines() iter.Seq[mapsLine] {
	return func(yield func(mapsLine) bool) {
		if m == nil {
			return
		}
		for line := range bytes.Lines(m.text) {
			if isAttribute(line) {
				continue
			}
			if l, _ := parseMapsLine(line); !yield(l) {
				return
			}
		}
	}
}

// readLinuxMaps reads /proc/<pid>/maps. A line that cannot be understood makes
// the list absent, since what it covers would be missing from every lookup.
func (d *Dump) readLinuxMaps(b []byte) *FormatError {
	at, lines, n := 0, 0, 0
	for line := range bytes.Lines(b) {
		lines++
		good := utf8.Valid(line)
		if isAttribute(line) {
			good = good && n > 0 && goodAttribute(line)
		} else if good {
			n++
			_, good = parseMapsLine(line)
		}
		if !good {
			return &FormatError{Offset: d.streamOffset(format.StreamLinuxMaps) + uint64(at), Detail: "line " + strconv.Itoa(lines) + " is no mapping"}
		}
		at += len(line)
	}
	d.MemoryMaps = &MemoryMaps{b, n}
	return nil
}

// isAttribute reports a line of smaps, which tells more about the mapping above
// it.
func isAttribute(line []byte) bool { return line[0] >= 'A' && line[0] <= 'Z' }

// goodAttribute reports whether a line is KEY: NUMBER and perhaps a unit.
func goodAttribute(line []byte) bool {
	f := bytes.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\f\r", r) })
	if len(f) < 2 || bytes.HasPrefix(line, []byte("VmFlags")) {
		return true
	}
	_, ok := unsigned(f[1], 10)
	return ok
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
	var f [5][]byte
	for i := range f {
		at := bytes.IndexByte(line, ' ')
		if at < 0 {
			return l, false
		}
		f[i], line = line[:at], line[at+1:]
	}
	l.permissions, l.path = f[1], bytes.TrimSpace(line)
	ok = goodMapsPath(l.path)
	number := func(b []byte, base uint64) (v uint64) {
		v, good := unsigned(b, base)
		ok = ok && good
		return v
	}
	pair := func(b []byte, separator byte) (first, second []byte) {
		first, rest, found := bytes.Cut(b, []byte{separator})
		ok = ok && found
		second, _, _ = bytes.Cut(rest, []byte{separator}) // what follows a second one has no meaning
		return first, second
	}
	lo, hi := pair(f[0], '-')
	l.start, l.end, l.offset, l.inode = number(lo, 16), number(hi, 16), number(f[2], 16), number(f[4], 10)
	major, minor := pair(f[3], ':')
	return l, ok && goodDevice(major) && goodDevice(minor)
}

// goodDevice reports whether b is a device number in hexadecimal.
func goodDevice(b []byte) bool {
	most := uint64(math.MaxInt32)
	if len(b) > 1 && b[0] == '-' && b[1] != '+' {
		b, most = b[1:], most+1
	}
	v, ok := unsigned(b, 16)
	return ok && v <= most
}

// goodMapsPath reports whether the numbers are right that some paths have:
// [stack:THREAD] and /SYSVxxxxxxxx, shared memory.
func goodMapsPath(path []byte) bool {
	if stack, ok := bytes.CutPrefix(path, []byte("[stack:")); ok {
		thread, _, _ := bytes.Cut(stack[:max(len(stack)-1, 0)], []byte{':'}) // but for the bracket
		v, ok := unsigned(thread, 10)
		return ok && v <= math.MaxUint32
	}
	if key, ok := bytes.CutPrefix(path, []byte("/SYSV")); ok {
		v, ok := unsigned(key[:min(len(key), 8)], 16)
		return ok && v <= math.MaxUint32
	}
	return true
}

// unsigned reads a number that may have a plus sign; it reports false when b is
// none or does not fit.
func unsigned(b []byte, base uint64) (v uint64, ok bool) {
	if len(b) > 1 && b[0] == '+' {
		b = b[1:]
	}
	ok = len(b) > 0
	for _, c := range b {
		n := uint64(c - '0')
		if n > 9 {
			if n = uint64(c | 0x20 - 'a' + 10); n < 10 || c < 'A' {
				n = base
			}
		}
		next := v*base + n
		ok = ok && n < base && v <= math.MaxUint64/base && next >= v
		v = next
	}
	return v, ok
}
