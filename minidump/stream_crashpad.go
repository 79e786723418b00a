package minidump

import (
	"fmt"

	"mayday/minidump/format"
)

// CrashpadInfo is what Crashpad adds to a dump: ids and annotations.
type CrashpadInfo struct {
	// ReportID names the report and ClientID the installation, both as
	// xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in lower case.
	ReportID, ClientID string
	// Annotations are those of the process, in file order.
	Annotations []Annotation
	// Modules are the annotations that modules set.
	Modules []CrashpadModule
}

// All are the annotations of all modules, and then those of the process.
func (p *CrashpadInfo) All() []Annotation {
	var all []Annotation
	for i := range p.Modules {
		all = append(append(all, p.Modules[i].Simple...), p.Modules[i].Objects...)
	}
	return append(all, p.Annotations...)
}

// CrashpadModule are the annotations of one module.
type CrashpadModule struct {
	// Module is its number in the dump's module list as written, modules of size
	// 0 included.
	Module uint32
	// List are texts without a name, Simple and Objects pairs.
	List            []string
	Simple, Objects []Annotation
}

// Annotation is a name and its value.
type Annotation struct {
	Name  string
	Value string
	// Type is 1 for text; others are the program's own and Value is their bytes.
	Type uint16
}

// maxAnnotations bounds all annotations of a dump; Crashpad itself stops at
// some hundreds a module.
const maxAnnotations = 20_000

func (d *Dump) readCrashpad(b []byte) *FormatError {
	var r format.CrashpadInfo
	c := format.NewCursor(b, d.Order)
	c.Record(&r)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	if r.Version == 0 {
		return bad("version 0 is none")
	}
	p := &CrashpadInfo{ReportID: dashed(r.ReportID), ClientID: dashed(r.ClientID)}
	left := maxAnnotations
	var err *FormatError
	if p.Annotations, err = d.dictionary(r.SimpleAnnotations, &left); err != nil {
		return err
	}
	entries, n, err := d.rvaList(r.ModuleList, 12)
	if err != nil {
		return err
	}
	links := format.NewCursor(entries, d.Order)
	for range n {
		if left--; left < 0 {
			return bad("more than %d annotations", maxAnnotations)
		}
		m, err := d.crashpadModule(format.CrashpadModuleLink{ModuleIndex: links.U32(), Location: links.Location()}, &left)
		if err != nil {
			return err
		}
		p.Modules = append(p.Modules, m)
	}
	d.Crashpad = p
	return nil
}

func (d *Dump) crashpadModule(link format.CrashpadModuleLink, left *int) (m CrashpadModule, err *FormatError) {
	var r format.CrashpadModule
	b, ok := d.src.slice(uint64(link.Location.RVA), 28)
	if !ok {
		return m, &FormatError{Offset: uint64(link.Location.RVA), Detail: "the record of a module is not in the file"}
	}
	format.NewCursor(b, d.Order).Record(&r)
	m.Module = link.ModuleIndex
	entries, n, err := d.rvaList(r.ListAnnotations, 4)
	if err != nil {
		return m, err
	}
	c := format.NewCursor(entries, d.Order)
	for range n {
		rva := uint64(c.U32())
		text, ok := d.utf8At(rva)
		if *left--; !ok || *left < 0 {
			return m, unreadable(rva)
		}
		m.List = append(m.List, text)
	}
	if m.Simple, err = d.dictionary(r.SimpleAnnotations, left); err != nil {
		return m, err
	}
	m.Objects, err = d.annotationObjects(r.AnnotationObjects, left)
	return m, err
}

// rvaList returns the entries of a counted list that lies at l; an empty
// location is an empty list.
func (d *Dump) rvaList(l format.Location, size uint64) (entries []byte, n int, err *FormatError) {
	b, ok := d.location(l)
	if !ok {
		return nil, 0, &FormatError{Offset: uint64(l.RVA), Detail: fmt.Sprintf("%d bytes are claimed, %d are left", l.Size, d.src.left(uint64(l.RVA)))}
	}
	if len(b) == 0 {
		return nil, 0, nil
	}
	if len(b) < 4 || uint64(d.Order.Uint32(b))*size > uint64(len(b)-4) {
		return nil, 0, &FormatError{Offset: uint64(l.RVA), Detail: fmt.Sprintf("a list claims more entries than its %d bytes hold", len(b))}
	}
	return b[4:], int(d.Order.Uint32(b)), nil
}

func (d *Dump) dictionary(l format.Location, left *int) ([]Annotation, *FormatError) {
	entries, n, err := d.rvaList(l, 8)
	if err != nil {
		return nil, err
	}
	var out []Annotation
	c := format.NewCursor(entries, d.Order)
	for range n {
		k, v := uint64(c.U32()), uint64(c.U32())
		name, ok := d.utf8At(k)
		value, ok2 := d.utf8At(v)
		if *left--; !ok || !ok2 || *left < 0 {
			return nil, unreadable(k)
		}
		out = append(out, Annotation{Name: name, Value: value, Type: format.CrashpadAnnotationString})
	}
	return out, nil
}

func (d *Dump) annotationObjects(l format.Location, left *int) ([]Annotation, *FormatError) {
	entries, n, err := d.rvaList(l, 12)
	if err != nil {
		return nil, err
	}
	var out []Annotation
	c := format.NewCursor(entries, d.Order)
	for range n {
		var r format.CrashpadAnnotation
		c.Record(&r)
		name, ok := d.utf8At(uint64(r.NameRVA))
		if *left--; !ok || *left < 0 {
			return nil, unreadable(uint64(r.NameRVA))
		}
		a := Annotation{Name: name, Type: r.Type}
		if r.Type != format.CrashpadAnnotationInvalid {
			value, ok := d.countedAt(uint64(r.ValueRVA), &d.texts)
			if !ok {
				return nil, unreadable(uint64(r.ValueRVA))
			}
			a.Value = string(value)
			if r.Type == format.CrashpadAnnotationString {
				a.Value = ValidText(value)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

func unreadable(rva uint64) *FormatError {
	return &FormatError{Offset: rva, Detail: "an annotation cannot be read"}
}

func dashed(g format.GUID) string {
	h := guidHex(g, lowerDigits)
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
