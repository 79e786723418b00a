package dump

import (
	"debug/dwarf"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// entity is what is known of a name: a function or a declaration of one.
type entity struct {
	name  string
	scope string // "" at the top
	// of is the declaration or the abstract function that has the name, 0 when
	// it is here.
	of dwarf.Offset
}

// maxOrigins bounds the chain from a copy of a function to its name.
const maxOrigins = 16

// nameOf is the name of the function at an offset, with its scope.
func (m *module) nameOf(at dwarf.Offset) string {
	for range maxOrigins {
		e := m.names[at]
		switch {
		case e.of != 0:
			at = e.of
			continue
		case e.name == "":
			return "<unnamed>"
		case e.scope != "":
			return e.scope + "::" + e.name
		}
		return e.name
	}
	return "<unnamed>"
}

// place is where the reader of entries stands.
type place struct {
	scope    string
	function []int  // of module.functions, the parts of the one around; nil outside
	depth    uint32 // of inlined calls
}

// readUnits reads all functions and lines.
func (m *module) readUnits(data *dwarf.Data) error {
	m.names = map[dwarf.Offset]entity{}
	r := data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			return nil
		}
		switch e.Tag {
		case dwarf.TagCompileUnit, dwarf.TagPartialUnit:
			u := &unit{module: m, data: data}
			if err := u.readLines(e); err != nil {
				return err
			}
			if !e.Children {
				continue
			}
			if err := u.readEntries(r); err != nil {
				return err
			}
		default:
			r.SkipChildren()
		}
	}
}

// unit is a compilation unit that is being read.
type unit struct {
	*module
	data  *dwarf.Data
	files []*dwarf.LineFile
}

func (u *unit) file(i int64) string {
	if i < 0 || i >= int64(len(u.files)) || u.files[i] == nil {
		return ""
	}
	return u.files[i].Name
}

// readEntries reads the entries of a unit up to its end.
func (u *unit) readEntries(r *dwarf.Reader) error {
	places := []place{{}}
	for len(places) > 0 {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			return nil
		}
		if e.Tag == 0 {
			places = places[:len(places)-1]
			continue
		}
		within, err := u.entry(e, places[len(places)-1])
		if err != nil {
			return err
		}
		if !e.Children {
			continue
		}
		if within == nil {
			r.SkipChildren()
			continue
		}
		places = append(places, *within)
	}
	return nil
}

// entry reads one entry and says where its children stand, nil when they do
// not matter.
func (u *unit) entry(e *dwarf.Entry, at place) (*place, error) {
	switch e.Tag {
	case dwarf.TagNamespace:
		name, _ := e.Val(dwarf.AttrName).(string)
		if name == "" {
			name = "(anonymous namespace)"
		}
		at.scope = join(at.scope, name)
		return &at, nil
	case dwarf.TagStructType, dwarf.TagClassType, dwarf.TagUnionType, dwarf.TagEnumerationType, dwarf.TagInterfaceType:
		name, _ := e.Val(dwarf.AttrName).(string)
		if name != "" {
			at.scope = join(at.scope, name)
		}
		at.function, at.depth = nil, 0
		return &at, nil
	case dwarf.TagSubprogram:
		return u.subprogram(e, at)
	case dwarf.TagLexDwarfBlock, dwarf.TagTryDwarfBlock, dwarf.TagCatchDwarfBlock:
		return &at, nil
	case dwarf.TagInlinedSubroutine:
		if at.function == nil {
			return nil, nil
		}
		if err := u.inlined(e, at); err != nil {
			return nil, err
		}
		at.depth++
		return &at, nil
	}
	return nil, nil
}

func join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "::" + name
}

// subprogram notes the name of a function and, where it has code, the function.
func (u *unit) subprogram(e *dwarf.Entry, at place) (*place, error) {
	name, _ := e.Val(dwarf.AttrName).(string)
	known := entity{name: name, scope: at.scope}
	if of, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
		known.of = of
	} else if of, ok := e.Val(dwarf.AttrSpecification).(dwarf.Offset); ok {
		known.of = of
	}
	if name == "" && known.of == 0 {
		known.name, _ = e.Val(dwarf.AttrLinkageName).(string)
	}
	u.names[e.Offset] = known
	inner := place{scope: join(at.scope, name)}
	ranges, err := u.ranges(e)
	if err != nil {
		return nil, err
	}
	if len(ranges) > maxParts {
		return nil, fmt.Errorf("a function in %d parts", len(ranges))
	}
	for _, s := range ranges {
		inner.function = append(inner.function, len(u.functions))
		u.functions = append(u.functions, function{span: s, origin: e.Offset})
	}
	return &inner, nil
}

// inlined notes an inlined call.
func (u *unit) inlined(e *dwarf.Entry, at place) error {
	ranges, err := u.ranges(e)
	if err != nil || len(ranges) == 0 {
		return err
	}
	if len(ranges) > maxParts {
		return fmt.Errorf("an inlined call in %d parts", len(ranges))
	}
	in := inline{depth: at.depth, ranges: ranges}
	in.origin, _ = e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
	if n, ok := e.Val(dwarf.AttrCallLine).(int64); ok && n >= 0 {
		in.line = uint32(n)
	}
	if n, ok := e.Val(dwarf.AttrCallFile).(int64); ok {
		in.file = u.file(n)
	}
	for _, i := range at.function {
		f := &u.functions[i]
		if slices.ContainsFunc(ranges, func(s span) bool { _, ok := s.overlap(f.span); return ok }) {
			f.inlines = append(f.inlines, in)
		}
	}
	return nil
}

// ranges are the addresses of an entry, as far as there is code: linkers leave
// 0 behind for what they dropped.
func (u *unit) ranges(e *dwarf.Entry) ([]span, error) {
	if e.Val(dwarf.AttrLowpc) == nil && e.Val(dwarf.AttrRanges) == nil {
		return nil, nil
	}
	pairs, err := u.data.Ranges(e)
	if err != nil {
		return nil, err
	}
	var all []span
	for _, p := range pairs {
		if s := (span{p[0], p[1]}); u.isCode(s) {
			all = append(all, s)
		}
	}
	return all, nil
}

// readLines reads the line table of a unit.
func (u *unit) readLines(e *dwarf.Entry) error {
	r, err := u.data.LineReader(e)
	if err != nil || r == nil {
		return err
	}
	u.files = r.Files()
	var rows []row
	for {
		var entry dwarf.LineEntry
		err := r.Next(&entry)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.EndSequence {
			u.addSequence(rows, entry.Address)
			rows = rows[:0]
			continue
		}
		if entry.Line <= 0 || entry.File == nil {
			continue // the line before stays in force
		}
		rows = addRow(rows, row{entry.Address, entry.File.Name, uint32(entry.Line), entry.IsStmt})
	}
}

// row is a row of a line table that counts.
type row struct {
	address   uint64
	file      string
	line      uint32
	statement bool
}

// addRow adds a row. Of those at one address the last that starts a statement
// counts, or the last one where none does.
func addRow(rows []row, r row) []row {
	if n := len(rows); n > 0 && rows[n-1].address == r.address {
		if r.statement || !rows[n-1].statement {
			rows[n-1] = r
		}
		return rows
	}
	return append(rows, r)
}

// addSequence adds the lines of rows that follow each other up to end.
func (u *unit) addSequence(rows []row, end uint64) {
	for i, r := range rows {
		s := span{r.address, end}
		if i+1 < len(rows) {
			s.end = rows[i+1].address
		}
		if u.isCode(s) {
			u.lines = append(u.lines, line{s, strings.ToValidUTF8(r.file, "?"), r.line})
		}
	}
}
