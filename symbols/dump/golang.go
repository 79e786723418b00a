package dump

import (
	"mayday/symbols/dump/debuginfo"
	"mayday/symbols/gopclntab"
	"mayday/symbols/sym"
)

// addGolang adds the functions of Go that no debug information describes.
func (m *module) addGolang() error {
	if m.golang == nil {
		return nil
	}
	m.goFiles, m.goOrigins = map[uint32]uint32{}, map[uint32]uint32{}
	var all []function
	for i := range m.golang.Len() {
		if err := m.meter.Step(); err != nil {
			return err
		}
		g, ok := m.golang.Function(i)
		if !ok || m.covered(m.base+g.Start) {
			continue
		}
		f := function{golang: i + 1}
		f.Span = debuginfo.Span{Start: m.base + g.Start, End: m.base + g.End}
		var err error
		if all, err = debuginfo.Append(m.meter, all, f); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	if m.functions == nil {
		m.functions = all
	} else {
		for i := range all {
			var err error
			if m.functions, err = debuginfo.Append(m.meter, m.functions, all[i]); err != nil {
				return err
			}
		}
	}
	m.sortFunctions()
	return nil
}

// goFunction reads the function of the table again, of which little is kept. It
// may have lost its end to a function that starts within.
func (m *module) goFunction(f *function) gopclntab.Function {
	g, _ := m.golang.Function(f.golang - 1)
	g.End = min(g.End, f.End-m.base)
	return g
}

// writeGoFiles numbers the files of a function.
func (m *module) writeGoFiles(f *function) error {
	g := m.goFunction(f)
	file := func(at uint32) error {
		if at == gopclntab.NoFile || m.goFiles[at] > 0 {
			return nil
		}
		m.goFiles[at] = m.writeFile(debuginfo.Clean(m.golang.FileAt(at)))
		return m.meter.Take(mapEntry)
	}
	for l := range m.golang.Lines(&g) {
		if err := file(l.File); err != nil {
			return err
		}
		if err := m.meter.Step(); err != nil {
			return err
		}
	}
	for _, in := range m.golang.Inlines(&g) {
		if err := file(in.File); err != nil {
			return err
		}
	}
	return m.meter.Step()
}

// writeGoOrigins numbers the functions that were inlined in one.
func (m *module) writeGoOrigins(f *function, known map[string]uint32) error {
	g := m.goFunction(f)
	for _, in := range m.golang.Inlines(&g) {
		if err := m.meter.Step(); err != nil {
			return err
		}
		if m.goOrigins[in.Name] > 0 {
			continue
		}
		n, err := m.writeOrigin(known, debuginfo.Clean(m.golang.NameAt(in.Name)))
		if err != nil {
			return err
		}
		m.goOrigins[in.Name] = n
		if err := m.meter.Take(mapEntry); err != nil {
			return err
		}
	}
	return nil
}

// writeGoFunction writes a function from the table.
func (m *module) writeGoFunction(f *function) error {
	g := m.goFunction(f)
	if err := m.out.Write(&sym.Record{Kind: sym.KindFunc, Address: g.Start, Size: g.End - g.Start, Text: []byte(debuginfo.Clean(m.golang.Name(&g)))}); err != nil {
		return err
	}
	for _, in := range m.golang.Inlines(&g) {
		if m.goFiles[in.File] == 0 {
			continue
		}
		r := sym.Record{Kind: sym.KindInline, Depth: in.Depth, Line: in.Line, File: m.goFiles[in.File] - 1, Origin: m.goOrigins[in.Name] - 1}
		for _, c := range in.Code {
			r.Ranges = append(r.Ranges, sym.Range{Address: c.Start, Size: c.End - c.Start})
		}
		if err := m.out.Write(&r); err != nil {
			return err
		}
		if err := m.meter.Step(); err != nil {
			return err
		}
	}
	for l := range m.golang.Lines(&g) {
		if l.Number == 0 || m.goFiles[l.File] == 0 {
			continue
		}
		if err := m.out.Write(&sym.Record{Kind: sym.KindLine, Address: l.Start, Size: l.End - l.Start, Line: l.Number, File: m.goFiles[l.File] - 1}); err != nil {
			return err
		}
		if err := m.meter.Step(); err != nil {
			return err
		}
	}
	return m.meter.Step()
}
