// Package sample makes up symbol files of any size, for tests, benchmarks and
// load. A file is shaped like that of a large C++ library: FILE and
// INLINE_ORIGIN records, functions with nested inlined calls and lines, PUBLIC
// records, STACK CFI. The same options make the same bytes. Nothing in it is
// of a real program.
package sample

import (
	"fmt"
	"io"
	"math/rand/v2"

	"mayday/symbols/sym"
)

// Options shape a symbol file.
type Options struct {
	Name, ID string
	Funcs    int
	Seed     uint64
}

// maker writes one file.
type maker struct {
	w      *sym.Writer
	r      *rand.Rand
	o      Options
	files  int
	origin int
	err    error
}

var (
	spaces = []string{"engine::dom", "engine::layout", "engine::net", "engine::gfx", "script::jit", "script::gc", "std::__1", "engine::media"}
	nouns  = []string{"Frame", "Style", "Layer", "Node", "Event", "Text", "Paint", "Cache", "Channel", "Script", "Buffer", "Image", "Stream", "Request", "Window", "Shader", "Parser", "Token", "Index", "Context"}
	verbs  = []string{"Get", "Set", "Update", "Compute", "Resolve", "Flush", "Append", "Remove", "Notify", "Build", "Handle", "Dispatch", "Create", "Destroy", "Process"}
	types  = []string{"int", "unsigned int", "bool", "char const*", "RefPtr<Element>&&", "Span<unsigned char> const&", "void*", "double", "std::function<void (int)> const&"}
)

// Write writes a symbol file.
func Write(w io.Writer, o Options) error {
	m := &maker{w: sym.NewWriter(w), r: rand.New(rand.NewPCG(o.Seed, 7)), o: o, files: max(8, o.Funcs/100), origin: max(8, o.Funcs/5)}
	m.put(sym.Record{Kind: sym.KindModule, OS: []byte("Linux"), Arch: []byte("x86_64"), ModuleID: []byte(o.ID), Text: []byte(o.Name)})
	m.put(sym.Record{Kind: sym.KindInfo, Text: []byte("CODE_ID " + o.ID)})
	for i := range m.files {
		m.put(sym.Record{Kind: sym.KindFile, ID: uint32(i), Text: fmt.Appendf(nil, "/build/src/%s/%s%s%d.cpp", m.pick(spaces), m.pick(nouns), m.pick(nouns), i)})
	}
	for i := range m.origin {
		m.put(sym.Record{Kind: sym.KindInlineOrigin, ID: uint32(i), Text: m.name(i)})
	}
	var unwind []sym.Record
	address := uint64(0x1000)
	for i := range o.Funcs {
		start := address
		address = m.function(i, start)
		size := address - start
		unwind = append(unwind, sym.Record{Kind: sym.KindCFIInit, Address: start, Size: size, Text: []byte(".cfa: $rsp 8 + .ra: .cfa -8 + ^")})
		if size > 8 {
			unwind = append(unwind, sym.Record{Kind: sym.KindCFI, Address: start + 1, Text: []byte(".cfa: $rsp 16 +")},
				sym.Record{Kind: sym.KindCFI, Address: start + 4, Text: []byte(".cfa: $rbp 16 + $rbp: .cfa -16 + ^")})
		}
		address = (address + 15) &^ 15
		if i%12 == 11 {
			m.put(sym.Record{Kind: sym.KindPublic, Address: address, Text: fmt.Appendf(nil, "exported_%x", address)})
			address += 32
		}
	}
	for i := range unwind {
		m.put(unwind[i])
	}
	if m.err != nil {
		return m.err
	}
	return m.w.Flush()
}

func (m *maker) put(r sym.Record) {
	if m.err == nil {
		m.err = m.w.Write(&r)
	}
}

func (m *maker) pick(s []string) string { return s[m.r.IntN(len(s))] }

func (m *maker) name(i int) []byte {
	b := fmt.Appendf(nil, "%s::%s%s::%s%s%x(", m.pick(spaces), m.pick(nouns), m.pick(nouns), m.pick(verbs), m.pick(nouns), i)
	for k := range m.r.IntN(4) {
		if k > 0 {
			b = append(b, ", "...)
		}
		b = append(b, m.pick(types)...)
	}
	return append(b, ')')
}

// function writes a FUNC and returns its end.
func (m *maker) function(i int, start uint64) uint64 {
	count := 1 + m.r.IntN(18)
	lines := make([]sym.Record, count)
	file := uint32(m.r.IntN(m.files))
	at := start
	for k := range lines {
		l := sym.Record{Kind: sym.KindLine, Address: at, Size: 1 + uint64(m.r.IntN(40)), Line: 1 + uint32(m.r.IntN(9000)), File: file}
		if m.r.IntN(3) == 0 {
			l.File = uint32(m.r.IntN(m.files))
		}
		lines[k] = l
		at += l.Size
	}
	m.put(sym.Record{Kind: sym.KindFunc, Address: start, Size: at - start, Multiple: i%40 == 39, Text: m.name(i)})
	for k := 0; k < count; k++ {
		if count < 4 || m.r.IntN(4) != 0 {
			continue
		}
		k = m.inlines(lines, k, min(count, k+1+m.r.IntN(4)), file)
	}
	for _, l := range lines {
		m.put(l)
	}
	return at
}

// inlines writes calls nested in the lines from..to and returns the last line.
func (m *maker) inlines(lines []sym.Record, from, to int, file uint32) int {
	last := to - 1
	for depth := uint32(0); from < to && depth < 8; depth++ {
		start, end := lines[from].Address, lines[to-1].Address+lines[to-1].Size
		m.put(sym.Record{Kind: sym.KindInline, Depth: depth, Line: 1 + uint32(m.r.IntN(4000)), File: file, Origin: uint32(m.r.IntN(m.origin)),
			Ranges: []sym.Range{{Address: start, Size: end - start}}})
		if m.r.IntN(3) == 0 {
			break
		}
		to -= m.r.IntN(2)
		file = uint32(m.r.IntN(m.files))
	}
	return last
}
