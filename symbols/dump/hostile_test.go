package dump

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// part is a section of a made-up file.
type part struct {
	name  string
	data  []byte
	flags uint64
	kind  uint32
}

// made is an ELF file for amd64 of these sections, with 1 MB of code at 0x1000.
func made(parts ...part) []byte {
	parts = append(parts, part{".text", nil, 6, 8}) // SHF_ALLOC | SHF_EXECINSTR, SHT_NOBITS
	var names, body bytes.Buffer
	names.WriteByte(0)
	le := binary.LittleEndian
	const header = 64
	table := make([]byte, header)
	for _, p := range parts {
		h := make([]byte, header)
		le.PutUint32(h, uint32(names.Len()))
		le.PutUint32(h[4:], max(p.kind, 1))
		le.PutUint64(h[8:], p.flags)
		le.PutUint64(h[24:], uint64(header+body.Len()))
		le.PutUint64(h[32:], uint64(len(p.data)))
		if p.name == ".text" {
			le.PutUint64(h[16:], 0x1000)
			le.PutUint64(h[32:], 1<<20)
		}
		names.WriteString(p.name + "\x00")
		body.Write(p.data)
		table = append(table, h...)
	}
	h := make([]byte, header)
	le.PutUint32(h[4:], 3)
	le.PutUint64(h[24:], uint64(header+body.Len()))
	le.PutUint64(h[32:], uint64(names.Len()))
	body.Write(names.Bytes())
	table = append(table, h...)
	head := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	le.PutUint16(head[16:], 3)
	le.PutUint16(head[18:], 62)
	le.PutUint64(head[40:], uint64(header+body.Len()))
	le.PutUint16(head[58:], header)
	le.PutUint16(head[60:], uint16(len(table)/header))
	le.PutUint16(head[62:], uint16(len(table)/header-1))
	return append(append(head, body.Bytes()...), table...)
}

// cu is a unit of DWARF 4 with these entries, by the abbreviations at an offset.
func cu(abbreviations uint32, entries []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(7+len(entries)))
	b = append(b, 4, 0)
	b = binary.LittleEndian.AppendUint32(b, abbreviations)
	return append(append(b, 8), entries...)
}

// packed is a section as SHF_COMPRESSED has it.
func packed(data []byte) []byte {
	b := make([]byte, 24)
	b[0] = 1
	binary.LittleEndian.PutUint64(b[8:], uint64(len(data)))
	out := bytes.NewBuffer(b)
	z := zlib.NewWriter(out)
	_, _ = z.Write(data)
	_ = z.Close()
	return out.Bytes()
}

// hostile are files in which few bytes ask for much.
func hostile() map[string][]byte {
	const unit, inner = "\x01\x11\x01\x00\x00", "\x02\x2e\x01\x03\x0e\x00\x00" // a unit; a function with children and a name in .debug_str
	long := append(bytes.Repeat([]byte("n"), 2<<20), 0)
	// A function in 4000 parts, over and over: low_pc and high_pc of none, ranges at 0.
	ranged := "\x02\x2e\x00\x55\x17\x00\x00"
	var list []byte
	for i := range uint64(4000) {
		list = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(list, 0x1000+i*16), 0x1008+i*16)
	}
	list = append(list, make([]byte, 16)...)
	// An abbreviation of one byte more after the other, and a unit for each place.
	var tables, units []byte
	for i := range 60000 {
		tables = append(tables, byte(i%100+1), 0x2e, 0, 0, 0)
	}
	for i := range 60000 {
		units = append(units, cu(uint32(i*5), []byte{1})...)
	}
	// A table of lines whose every byte makes a row.
	program := bytes.Repeat([]byte{0x1f}, 1<<20)
	line := []byte("\x00\x00\x00\x00\x04\x00\x14\x00\x00\x00\x01\x01\x01\x00\x01\x0d\x00\x01\x01\x01\x01\x00\x00\x00\x01\x00\x00\x01\x00a\x00\x00\x00\x00\x00")
	line = append(append(line, 0, 9, 2, 0, 0x10, 0, 0, 0, 0, 0, 0), program...)
	line = append(line, 0, 1, 1)
	binary.LittleEndian.PutUint32(line, uint32(len(line)-4))
	lined := "\x01\x11\x00\x10\x17\x00\x00\x00"
	symbols := make([]byte, 24)
	for i := range uint64(4000) {
		s := make([]byte, 24)
		binary.LittleEndian.PutUint32(s, 1)
		s[4], s[6] = 0x12, 1
		binary.LittleEndian.PutUint64(s[8:], 0x1000+i)
		symbols = append(symbols, s...)
	}
	return map[string][]byte{
		"names": made(part{".debug_abbrev", []byte(unit + inner + "\x00"), 0, 0}, part{".debug_str", long, 0, 0},
			part{".debug_info", cu(0, append([]byte{1}, bytes.Repeat([]byte{2, 0, 0, 0, 0, 0}, 200_000)...)), 0, 0}),
		"nested": made(part{".debug_abbrev", []byte(unit + inner + "\x00"), 0, 0}, part{".debug_str", long, 0, 0},
			part{".debug_info", cu(0, append([]byte{1}, bytes.Repeat([]byte{2, 0, 0, 0, 0}, 200_000)...)), 0, 0}),
		"ranges": made(part{".debug_abbrev", []byte(unit + ranged + "\x00"), 0, 0}, part{".debug_ranges", list, 0, 0},
			part{".debug_info", cu(0, append([]byte{1}, bytes.Repeat([]byte{2, 0, 0, 0, 0}, 200_000)...)), 0, 0}),
		"abbreviations": made(part{".debug_abbrev", tables, 0, 0}, part{".debug_info", units, 0, 0}),
		"lines":         made(part{".debug_abbrev", []byte(lined), 0, 0}, part{".debug_line", line, 0, 0}, part{".debug_info", bytes.Repeat(cu(0, []byte{1, 0, 0, 0, 0}), 1000), 0, 0}),
		"packed":        made(part{".debug_abbrev", []byte(unit + "\x00"), 0, 0}, part{".debug_info", packed(make([]byte, 64<<20)), 0x800, 0}),
		"packed names":  made(part{".debug_abbrev", []byte(unit + "\x00"), 0, 0}, part{".debug_str", packed(make([]byte, 64<<20)), 0x800, 0}, part{".debug_info", cu(0, []byte{1}), 0, 0}),
		"rules":         made(part{".eh_frame", alternating(16), 2, 0}),
		"go names":      madeGo(1<<18, goFunctions(1<<14, 16, func(f *sample.GoFunction) { f.Name = string(long[:16<<10]) })...),
		"go inlines":    madeGo(1<<18, goInlines(1<<18)),
		"go lines":      madeGo(1<<18, goFunctions(1<<14, 16, func(*sample.GoFunction) {})...),
		"symbols":       made(part{".symtab", symbols, 0, 2}, part{".strtab", long, 0, 3}),
	}
}

// madeGo is a program in Go with so much code.
func madeGo(code int, functions ...sample.GoFunction) []byte {
	g := sample.GoTable{Machine: executable.AMD64, Minor: 20, At: 0x1000_0000, Text: 0x1000, Functions: functions, Files: []string{"a.go", "b.go"}}
	table, module := g.Bytes()
	return (&sample.Binary{Format: executable.ELF, Machine: executable.AMD64, Sections: []sample.Section{
		{Name: ".text", Offset: 0x1000, Data: make([]byte, code), Executable: true},
		{Name: ".gopclntab", Offset: 0x1000_0000, Data: table}, {Name: ".go.module", Offset: 0x2000_0000, Data: module},
	}}).Bytes()
}

// goFunctions are n functions of size bytes, with a line, a file and a depth for
// each byte, in tables that all of them share.
func goFunctions(n int, size uint64, set func(*sample.GoFunction)) (all []sample.GoFunction) {
	var steps []sample.GoStep
	for i := range int32(1 << 18) {
		steps = append(steps, sample.GoStep{Value: i & 1, Size: 1})
	}
	for i := range uint64(n) {
		f := sample.GoFunction{Name: "f", Start: i * size, End: (i + 1) * size, Lines: steps, Files: steps, Depths: steps}
		set(&f)
		all = append(all, f)
	}
	return all
}

// goInlines is one function of which each byte belongs to another of 1000 calls in
// each other.
func goInlines(size uint64) sample.GoFunction {
	f := goFunctions(1, size, func(*sample.GoFunction) {})[0]
	for i := range int32(size) {
		f.Inlines = append(f.Inlines, sample.GoStep{Value: i % 1000, Size: 1})
	}
	for i := range uint32(1000) {
		f.Tree = append(f.Tree, sample.GoCall{Name: "call", Place: i % 100})
	}
	return f
}

// alternating is an .eh_frame of n entries, in which a few bytes of program switch
// between a short rule and a long one.
func alternating(n int) []byte {
	le := binary.LittleEndian
	entry := func(b []byte) []byte { return append(le.AppendUint32(nil, uint32(len(b))), b...) }
	expression := append([]byte{0x77, 0}, bytes.Repeat([]byte{0x31, 0x22}, 60)...) // r7, then 60 times: 1, plus
	long := append([]byte{0x0f, byte(len(expression))}, expression...)             // def_cfa_expression
	all := entry([]byte{0, 0, 0, 0, 1, 0, 1, 1, 16, 0x0c, 7, 8, 0x90, 1})          // def_cfa r7+8, r16 saved
	program := append(long, 0x0a)                                                  // remember
	program = append(program, bytes.Repeat([]byte{0x0c, 7, 8, 0x41, 0x0b, 0x0a, 0x41}, 9000)...)
	for i := range n {
		b := le.AppendUint32(nil, uint32(len(all)+4))
		b = le.AppendUint64(le.AppendUint64(b, 0x1000+uint64(i)*0x8000), 0x8000)
		all = append(all, entry(append(b, program...))...)
	}
	return append(all, 0, 0, 0, 0)
}

// peak watches how large the heap gets until stop is called.
func peak() (stop func() int64) {
	read := func() int64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return int64(s[0].Value.Uint64())
	}
	end, result := make(chan bool), make(chan int64)
	before := read()
	go func() {
		most := before
		for {
			most = max(most, read())
			select {
			case <-end:
				result <- most - before
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() int64 { close(end); return <-result }
}

func TestHostileFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute, and goes on one goroutine: there is nothing to race")
	}
	const memory = 16 << 20
	// What the tests keep themselves would let as much garbage pass.
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	for name, b := range hostile() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			in := input(b)
			in.Memory = memory
			runtime.GC()
			stop, start := peak(), time.Now()
			err := Write(ctx, io.Discard, in)
			most := stop()
			if err != nil && !fault.Is(err, fault.TooLarge) && !fault.Is(err, fault.Malformed) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
			// The collector comes late.
			if most > 3*memory {
				t.Errorf("%d bytes of file took %d bytes of memory", len(b), most)
			}
			t.Logf("%d bytes, %v, %d KB: %v", len(b), time.Since(start), most>>10, err)
		})
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	for name, b := range hostile() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		err := Write(ctx, io.Discard, input(b))
		if took := time.Since(start); took > 10*time.Second { // the machine may be busy
			t.Errorf("%s: took %v after the end", name, took)
		}
		if err != nil && !fault.Is(err, fault.Canceled) && !fault.Is(err, fault.TooLarge) && !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
