package sample

import (
	"encoding/binary"

	"mayday/symbols/executable"
)

// GoTable is a made-up table of the functions of a Go program, in the layout of
// Go 1.16, 1.18 or 1.20. All numbers are little-endian.
type GoTable struct {
	Machine executable.Machine
	Minor   int // 16, 18 or 20
	// At is the address of the table, Text that of the code.
	At, Text  uint64
	Functions []GoFunction
	// Files are the names that the steps of GoFunction.Files number.
	Files []string
}

// GoFunction is a function of a GoTable.
type GoFunction struct {
	Name string
	// Start counts from the code on; the function ends where the next one starts.
	Start, End uint64
	// Depths, Files, Lines and Inlines are lists of values. A list that is the same
	// slice as that of the function before is stored once.
	Depths, Files, Lines, Inlines []GoStep
	Tree                          []GoCall
	Flags, Special                byte
}

// GoStep is a piece of code with one value.
type GoStep struct {
	Value int32
	Size  uint64 // in instructions of the smallest size
}

// GoCall is an inlined call: the name of the function called, and where, as an
// offset in the caller, an instruction belongs to the caller alone.
type GoCall struct {
	Name  string
	Place uint32
}

// GoSteps encodes a list of values.
func GoSteps(steps []GoStep) (out []byte) {
	last := int32(-1)
	for _, s := range steps {
		d := s.Value - last
		last = s.Value
		out = binary.AppendUvarint(out, uint64(uint32(d<<1^d>>31)))
		out = binary.AppendUvarint(out, s.Size)
	}
	return append(out, 0)
}

// goParts are the parts of a table but for its head.
type goParts struct {
	names, units, files, values, functions, trees []byte
	nameAt                                        map[string]uint32
}

func (p *goParts) name(s string) uint32 {
	at, ok := p.nameAt[s]
	if !ok {
		at = uint32(len(p.names))
		p.names = append(append(p.names, s...), 0)
		p.nameAt[s] = at
	}
	return at
}

func align(b []byte, to int) []byte {
	for len(b)%to != 0 {
		b = append(b, 0)
	}
	return b
}

// quantum is the size of the smallest instruction.
func (t *GoTable) quantum() byte {
	if t.Machine == executable.ARM || t.Machine == executable.ARM64 {
		return 4
	}
	return 1
}

// word appends an address.
func (t *GoTable) word(b []byte, v uint64) []byte {
	if t.Machine.PointerSize() == 4 {
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(b, v)
}

// parts lays out everything.
func (t *GoTable) parts() *goParts {
	le, p := binary.LittleEndian, &goParts{nameAt: map[string]uint32{}}
	p.name("") // the place 0 is that of no name
	for _, f := range t.Files {
		p.units = le.AppendUint32(p.units, uint32(len(p.files)))
		p.files = append(append(p.files, f...), 0)
	}
	p.values = []byte{0} // the place 0 is that of no list
	var records, list []byte
	size := 4
	if t.Minor == 16 {
		size = t.Machine.PointerSize()
	}
	first := ((len(t.Functions)*2+1)*size + 7) &^ 7
	start := func(v uint64) {
		if t.Minor == 16 {
			list = t.word(list, t.Text+v)
		} else {
			list = le.AppendUint32(list, uint32(v))
		}
	}
	record := func(v uint64) {
		if t.Minor == 16 {
			list = t.word(list, v)
		} else {
			list = le.AppendUint32(list, uint32(v))
		}
	}
	var kept map[*GoStep]uint32
	store := func(steps []GoStep) uint32 {
		if len(steps) == 0 {
			return 0
		}
		if at, ok := kept[&steps[0]]; ok {
			return at
		}
		at := uint32(len(p.values))
		p.values = append(p.values, GoSteps(steps)...)
		if kept == nil {
			kept = map[*GoStep]uint32{}
		}
		kept[&steps[0]] = at
		return at
	}
	for i := range t.Functions {
		f := &t.Functions[i]
		start(f.Start)
		record(uint64(first + len(records)))
		records = align(t.record(records, p, f, store), 8)
	}
	if n := len(t.Functions); n > 0 {
		start(t.Functions[n-1].End)
	}
	for len(list) < first {
		list = append(list, 0)
	}
	p.functions = append(list, records...)
	return p
}

// record appends the record of a function, with four lists of values and data.
func (t *GoTable) record(b []byte, p *goParts, f *GoFunction, store func([]GoStep) uint32) []byte {
	le := binary.LittleEndian
	if t.Minor == 16 {
		b = t.word(b, t.Text+f.Start)
	} else {
		b = le.AppendUint32(b, uint32(f.Start))
	}
	for _, v := range []uint32{p.name(f.Name), 0, 0, store(f.Depths), store(f.Files), store(f.Lines), 4, 0} {
		b = le.AppendUint32(b, v)
	}
	if t.Minor >= 20 {
		b = le.AppendUint32(b, 1)
	}
	b = append(b, f.Special, f.Flags, 0, 4)
	for _, v := range []uint32{0, 0, store(f.Inlines), 0} {
		b = le.AppendUint32(b, v)
	}
	if t.Minor == 16 {
		return append(b, make([]byte, 4*t.Machine.PointerSize())...)
	}
	tree := ^uint32(0)
	if len(f.Tree) > 0 {
		tree = uint32(len(p.trees))
		for _, c := range f.Tree {
			if t.Minor == 18 {
				p.trees = append(p.trees, make([]byte, 12)...)
				p.trees = le.AppendUint32(le.AppendUint32(p.trees, p.name(c.Name)), c.Place)
				continue
			}
			for _, v := range []uint32{0, p.name(c.Name), c.Place, 1} {
				p.trees = le.AppendUint32(p.trees, v)
			}
		}
	}
	for _, v := range []uint32{^uint32(0), ^uint32(0), ^uint32(0), tree} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// Bytes are the table, and the module data that says where it lies.
func (t *GoTable) Bytes() (table, module []byte) {
	p, word := t.parts(), t.Machine.PointerSize()
	head := binary.LittleEndian.AppendUint32(nil, map[int]uint32{16: 0xfffffffa, 18: 0xfffffff0, 20: 0xfffffff1}[t.Minor])
	head = append(head, 0, 0, t.quantum(), byte(word))
	head = t.word(t.word(head, uint64(len(t.Functions))), uint64(len(t.Files)))
	words := 7
	if t.Minor > 16 {
		head = t.word(head, t.Text)
		words = 8
	}
	at := 8 + words*word
	var body []byte
	var places []uint64
	for _, part := range [][]byte{p.names, p.units, p.files, p.values, p.functions, p.trees} {
		body = align(body, 8)
		places = append(places, uint64(at+len(body)))
		body = append(body, part...)
	}
	for _, v := range places[:5] {
		head = t.word(head, v)
	}
	module = t.word(t.word(nil, t.At), t.At+places[0])
	trees := map[int]int{18: 38, 20: 40}[t.Minor]
	for i := 2; i <= 41; i++ {
		switch i {
		case 22:
			module = t.word(module, t.Text)
		case trees:
			module = t.word(module, t.At+places[5])
		default:
			module = t.word(module, 0)
		}
	}
	return append(head, body...), module
}
