// Package debuginfo reads functions, inlined calls and source lines from the
// DWARF of ELF files, versions 2 to 5 (dwarfstd.org).
//
// It reads what a symbol file says and nothing else: no types, variables or
// places of values. Split DWARF (.dwo), supplementary files (dwz) and relocatable
// files are not read.
//
// Files come from strangers, and DWARF lets few bytes say much: a table of lines
// makes a row of a byte, entries share lists of ranges, tables of forms and names.
// So everything that is kept is counted against a limit on memory, entries are
// read in one pass without recursion, units one at a time, names stay where they
// lie until somebody asks, and the context is looked at every few thousand steps.
package debuginfo

import (
	"cmp"
	"slices"

	"mayday/app/fault"
	"mayday/symbols/executable"
)

// Span is a range of addresses, without its end.
type Span struct{ Start, End uint64 }

// Overlap is what two ranges have in common.
func (s Span) Overlap(o Span) (Span, bool) {
	c := Span{max(s.Start, o.Start), min(s.End, o.End)}
	return c, c.Start < c.End
}

// Line is a range of addresses of one source line.
type Line struct {
	Start  uint64
	Size   uint32
	File   uint32 // of Info.Files
	Number uint32
}

// End is the address behind the line.
func (l Line) End() uint64 { return l.Start + uint64(l.Size) }

// Function is a function, or one of the parts of one.
type Function struct {
	Span
	Entry   uint64 // for Info.Named
	Inlines []Inline
}

// Inline is a call that was inlined.
type Inline struct {
	Entry uint64 // of the function called
	Depth uint32
	File  uint32 // of the call, of Info.Files
	Line  uint32

	first, count uint32 // of Info.spans
}

// Info is what was read.
type Info struct {
	// Functions stand in the order of the file; those of several parts are there
	// several times.
	Functions []Function
	// Lines stand in the order of the file.
	Lines []Line
	// Files are the names of source files; the first is "".
	Files []string

	spans    []Span
	entities []entity // by at
	scopes   []scope
	text     texts
}

// Spans is the code of an inlined call.
func (i *Info) Spans(in *Inline) []Span { return i.spans[in.first : in.first+in.count] }

// The limits, far above what compilers and linkers make.
const (
	maxParts   = 4096     // of a function, of an inlined call
	maxDepth   = 1 << 10  // entries around an entry
	maxOrigins = 16       // from a copy of a function to its name
	maxScopes  = 64       // around a function that its name spells
	maxName    = 16 << 10 // bytes of a name with its scopes; some of C++ templates have thousands
	maxPath    = 4 << 10  // bytes of the name of a source file
	maxCode    = 4096     // sections of code
)

// Read reads the debug information of an image, which may be the separate debug
// file of a binary. What it keeps is counted by meter. A
// file without debug information has none of anything.
func Read(im *executable.Image, meter *Meter) (*Info, error) {
	r := &reader{info: &Info{Files: []string{""}}, meter: meter, image: im, tables: map[tableKey]*table{}, seen: map[uint64]bool{}, files: map[string]uint32{"": 0}}
	for i := range im.Sections {
		if s := &im.Sections[i]; s.Executable && s.Size > 0 {
			r.code = append(r.code, Span{s.Address, s.Address + s.Size})
		}
	}
	if len(r.code) > maxCode {
		return nil, fault.New(fault.Malformed, "%d sections of code", len(r.code))
	}
	slices.SortFunc(r.code, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	section := r.section(".debug_info")
	if section == nil {
		return r.info, nil
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	if err := r.units(section); err != nil {
		return nil, err
	}
	for _, b := range [][]byte{r.abbrev, r.addr, r.ranges, r.rangeLists, r.offsets, r.lines} {
		meter.Give(int64(len(b))) // only texts are kept
	}
	r.info.text = r.texts
	return r.info, nil
}

// reader reads one file.
type reader struct {
	info  *Info
	meter *Meter
	image *executable.Image
	code  []Span // sections, by start
	last  Span   // the section that was asked for last
	head  [12]byte

	abbrev, addr, ranges, rangeLists, offsets, lines []byte
	texts

	tables map[tableKey]*table
	seen   map[uint64]bool // tables of lines
	files  map[string]uint32
}

// section finds a section of debug information by its name, packed or not.
func (r *reader) section(name string) *executable.Section {
	if s := r.image.Section(name); s != nil && s.FileSize > 0 {
		return s
	}
	if s := r.image.Section(".z" + name[1:]); s != nil && s.FileSize > 0 {
		return s
	}
	return nil
}

// load reads the sections that others point into.
func (r *reader) load() error {
	for _, want := range []struct {
		name string
		to   *[]byte
	}{
		{".debug_abbrev", &r.abbrev}, {".debug_addr", &r.addr}, {".debug_ranges", &r.ranges}, {".debug_rnglists", &r.rangeLists},
		{".debug_str_offsets", &r.offsets}, {".debug_line", &r.lines}, {".debug_str", &r.texts.str}, {".debug_line_str", &r.texts.lineStr},
	} {
		s := r.section(want.name)
		if s == nil {
			continue
		}
		if err := r.content(s, want.to); err != nil {
			return err
		}
	}
	return nil
}

// content reads a whole section.
func (r *reader) content(s *executable.Section, to *[]byte) error {
	in, size, err := r.image.Stream(s, uint64(min(r.meter.Left(), maxSection)))
	if err != nil {
		return err
	}
	defer in.Close()
	*to, err = r.fill(in, nil, int(size))
	return err
}

// maxSection is the most of a section: offsets of the 32-bit form reach no
// further.
const maxSection = 1<<32 - 1

// isCode says whether a range lies in a section of code.
func (r *reader) isCode(s Span) bool {
	if s.Start >= s.End {
		return false
	}
	if s.Start >= r.last.Start && s.End <= r.last.End {
		return true
	}
	i, found := slices.BinarySearchFunc(r.code, s.Start, func(c Span, at uint64) int { return cmp.Compare(c.Start, at) })
	if !found {
		i--
	}
	if i < 0 || s.End > r.code[i].End {
		return false
	}
	r.last = r.code[i]
	return true
}
