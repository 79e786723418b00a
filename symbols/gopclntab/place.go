package gopclntab

import (
	"bytes"
	"strings"

	"mayday/app/fault"
	"mayday/symbols/executable"
)

// piece is a part of a module that the file holds.
type piece struct {
	image       *executable.Image
	start, size uint64 // in the module
	offset      uint64 // in the file
}

// bytes reads n bytes of it, nil when it has not as many there. Other than
// executable.Image.Bytes it need not look for the segment first, of which hostile
// files have thousands.
func (p *piece) bytes(at uint64, n int) []byte {
	return p.image.Read(&executable.Section{Offset: p.offset, FileSize: p.size}, at, n)
}

// cut is the first part of it.
func (p piece) cut(size uint64) piece {
	p.size = min(p.size, size)
	return p
}

// The limits on searching.
const (
	// maxSearched bounds the data that is searched for a table or for the module
	// data. Go's are behind some MB of constants at most; the largest programs have
	// some 100 MB.
	maxSearched = 256 << 20
	// chunk is how much is read at once in a search.
	chunk = 2 << 20
	// maxBuildInfo is how far into data Go's tools look for what says that a file
	// was built by them.
	maxBuildInfo = 64 << 10
	// maxCandidates is the number of places with the head of a table that are tried.
	maxCandidates = 16
)

// Possible reports whether a binary may have a table, without a look at its data:
// files with a section of that name have, PE files and those without sections may.
func Possible(im *executable.Image) bool {
	return im.Format == executable.PE || len(im.Sections) == 0 || len(sections(im)) > 0
}

// sections are those that hold the table by their names.
func sections(im *executable.Image) (all []piece) {
	for i := range im.Sections {
		s := &im.Sections[i]
		name := strings.TrimPrefix(s.Name, ".data.rel.ro")
		if (name == ".gopclntab" || name == "__gopclntab") && s.FileSize > 0 && s.Address >= im.Base && !s.Compressed {
			if p, ok := held(im, s.Address-im.Base); ok {
				all = append(all, p.cut(s.FileSize))
			}
		}
	}
	return all
}

// candidates are the places where the table may lie: the section of that name,
// or where the first bytes of one stand in data, if Go built the file.
func candidates(im *executable.Image) []piece {
	all := sections(im)
	if len(all) > 0 || im.Format != executable.PE && len(im.Sections) > 0 || !builtByGo(im) {
		return all
	}
	return searchTable(im)
}

// held is what the file holds from an offset of the module on, in one piece.
func held(im *executable.Image, offset uint64) (piece, bool) {
	address := im.Base + offset
	for i := range im.Segments {
		if s := &im.Segments[i]; address >= s.Address && address-s.Address < s.FileSize {
			return piece{im, offset, s.FileSize - (address - s.Address), s.Offset + address - s.Address}, true
		}
	}
	return piece{}, false
}

// data are the segments without code, and before them the sections in which
// linkers of late put the module data.
func data(im *executable.Image) []piece {
	var all []piece
	for i := range im.Sections {
		s := &im.Sections[i]
		if (s.Name == ".go.module" || s.Name == "__go_module") && s.Address >= im.Base {
			if p, ok := held(im, s.Address-im.Base); ok {
				all = append(all, p.cut(s.FileSize))
			}
		}
	}
	for i := range im.Segments {
		if s := &im.Segments[i]; !s.Executable && s.FileSize > 0 && s.Address >= im.Base {
			all = append(all, piece{im, s.Address - im.Base, s.FileSize, s.Offset})
		}
	}
	return all
}

// builtByGo looks for the mark before the build information, which lies at the
// start of a segment of data.
func builtByGo(im *executable.Image) bool {
	for _, p := range data(im) {
		if bytes.Contains(p.bytes(0, int(min(p.size, maxBuildInfo))), []byte("\xff Go buildinf:")) {
			return true
		}
	}
	return false
}

// searchTable looks for heads of tables.
func searchTable(im *executable.Image) (all []piece) {
	word := uint64(im.Machine.PointerSize())
	search(im, data(im), int(word), 8, func(at uint64, b []byte) bool {
		if versionOf(b, im.Order) != 0 && uint64(b[7]) == word {
			if p, ok := held(im, at); ok {
				all = append(all, p)
			}
		}
		return len(all) < maxCandidates
	})
	return all
}

// search shows look the size bytes at each multiple of step, until it has seen
// enough.
func search(im *executable.Image, where []piece, step, size int, look func(at uint64, b []byte) bool) {
	left := min(maxSearched, 2*im.Size()) // segments may lie in each other, but need not
	for _, p := range where {
		p.size = min(p.size, left)
		left -= p.size
		for p.size >= uint64(size) {
			n := min(p.size, chunk)
			b := p.bytes(0, int(n))
			if b == nil {
				break
			}
			first := int(-(im.Base + p.start) & uint64(step-1)) // places are multiples in memory
			at := first
			for ; at+size <= len(b); at += step {
				if !look(p.start+uint64(at), b[at:at+size]) {
					return
				}
			}
			if at == first {
				break
			}
			p.start, p.size, p.offset = p.start+uint64(at), p.size-uint64(at), p.offset+uint64(at)
		}
	}
}

// place finds where functions and inlined calls count from.
func (t *Table) place() error {
	t.moduleData()
	if t.version == go116 || t.text != 0 && t.plausible() {
		return nil
	}
	t.treesKnown = false
	// Up to Go 1.25 the table told where the code is, if nothing was to be moved.
	if at := t.word(8 + 2*t.pointer); at > t.image.Base {
		if t.text = at - t.image.Base; t.plausible() {
			return nil
		}
	}
	for _, name := range []string{".text", "__text"} {
		if s := t.image.Section(name); s != nil && s.Address > t.image.Base {
			if t.text = s.Address - t.image.Base; t.plausible() {
				return nil
			}
		}
	}
	return fault.New(fault.Malformed, "the table of Go functions does not fit the code")
}

// maxSegments is how many segments of code may be; one is usual.
const maxSegments = 64

// code are the segments of code that the file holds.
func code(im *executable.Image) (all []piece) {
	for i := range im.Segments {
		if s := &im.Segments[i]; s.Executable && s.FileSize > 0 && s.Address >= im.Base && len(all) < maxSegments {
			all = append(all, piece{im, s.Address - im.Base, s.FileSize, s.Offset})
		}
	}
	return all
}

// plausible reports whether the first function and the last one lie in code.
func (t *Table) plausible() bool {
	_, first := t.Function(0)
	_, last := t.Function(t.count - 1)
	return first && last
}

// The words of the module data (runtime.moduledata) from its start on.
const (
	wordNames     = 1  // pointer to the names
	wordText      = 22 // where functions count from
	wordTrees118  = 38 // go:func.*, where data of functions counts from
	wordTrees120  = 40 // two words for coverage came before
	moduleWords   = 41
	mostPointers  = 36 // bits of a pointer that is still to be moved, in Mach-O files
	pointerMarker = 1<<mostPointers - 1
)

// moduleData finds the module data, and in it where functions and inlined calls
// count from. Data of Go 1.16 has pointers to the latter, which are not read.
func (t *Table) moduleData() {
	if t.version == go116 {
		return
	}
	word, found := int(t.pointer), false
	search(t.image, data(t.image), word, moduleWords*word, func(_ uint64, b []byte) bool {
		for _, decode := range []func(uint64) uint64{absolute(t.image), fromBase(t.image)} {
			found = found || t.use(func(i int) uint64 {
				if word == 4 {
					return decode(uint64(t.order.Uint32(b[4*i:])))
				}
				return decode(t.order.Uint64(b[8*i:]))
			})
		}
		return !found
	})
	if !found && t.image.Format == executable.ELF && word == 8 {
		t.relocations()
	}
}

// use takes what it needs of the module data, whose words are offsets in the
// module, if it is the one of this table.
func (t *Table) use(word func(i int) uint64) bool {
	if word(0) != t.start || word(wordNames) != t.start+t.names {
		return false
	}
	trees := word(wordTrees120)
	if t.version == go118 {
		trees = word(wordTrees118)
	}
	t.text = word(wordText)
	t.trees, t.treesKnown = held(t.image, trees)
	return true
}

// relocations finds the module data where a linker left the words themselves to
// the loader: the relocations of ELF files with addends (gABI) say what will
// stand there.
func (t *Table) relocations() {
	var found []map[int]uint64
	var places []uint64
	t.eachRelocation(func(at, value uint64) {
		if value == t.start+t.image.Base && len(places) < maxCandidates {
			places, found = append(places, at), append(found, map[int]uint64{})
		}
	})
	t.eachRelocation(func(at, value uint64) {
		for i, p := range places {
			if at >= p && at-p < moduleWords*8 && at%8 == p%8 {
				found[i][int(at-p)/8] = value - t.image.Base
			}
		}
	})
	for _, words := range found {
		if t.use(func(i int) uint64 { return words[i] }) {
			return
		}
	}
}

// eachRelocation shows the words that will be addresses in the module.
func (t *Table) eachRelocation(show func(at, value uint64)) {
	const entry = 24 // the place, symbol and kind, and the value
	for i := range t.image.Sections {
		s := &t.image.Sections[i]
		if s.Name != ".rela.dyn" && s.Name != ".rela" {
			continue
		}
		for at := uint64(0); at+entry <= min(s.FileSize, maxSearched); {
			n := min((chunk - chunk%entry), (s.FileSize-at)/entry*entry)
			b := t.image.Read(s, at, int(n))
			if b == nil {
				return
			}
			for ; len(b) >= entry; b = b[entry:] {
				if symbol := t.order.Uint64(b[8:]) >> 32; symbol == 0 {
					show(t.order.Uint64(b), t.order.Uint64(b[16:]))
				}
			}
			at += n
		}
	}
}

// absolute makes an offset of an address as files have it that were linked to a
// place, or whose pointers are moved as a whole.
func absolute(im *executable.Image) func(uint64) uint64 {
	return func(v uint64) uint64 { return v - im.Base }
}

// fromBase makes an offset of a pointer as a Mach-O file has it whose pointers
// form a chain: the place is in the lower bits, with or without the base
// (mach-o/fixup-chains.h).
func fromBase(im *executable.Image) func(uint64) uint64 {
	return func(v uint64) uint64 {
		if im.Format != executable.MachO {
			return ^uint64(0)
		}
		if v &= pointerMarker; v >= im.Base {
			v -= im.Base
		}
		return v
	}
}
