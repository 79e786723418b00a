package synth

import "testing"

// The load generator makes dumps as fast as a collector takes them.
func BenchmarkCrash(b *testing.B) {
	p := program(AMD64, LinuxOS)
	c := &Crash{CPU: AMD64, OS: LinuxOS, Binaries: []*Binary{p}, Fault: Fault{Code: 11, Instruction: []byte{0x0f, 0x0b}}}
	for i := range 10 {
		t := Stack{ID: uint32(i + 1), Name: "worker"}
		for j := range 12 {
			f := &p.Functions[(i+j)%len(p.Functions)]
			t.Calls = append(t.Calls, Call{p, f.Address + 0x40})
		}
		c.Threads = append(c.Threads, t)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Seed++
		b.SetBytes(int64(len(c.Dump().Bytes())))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "dumps/s")
}

func BenchmarkSym(b *testing.B) {
	p := program(AMD64, LinuxOS)
	for i := range 2000 {
		p.Functions = append(p.Functions, Function{Name: "g(int)", Address: uint32(0x2000 + 0x100*i), Size: 0x100, File: "src/g.cc", Line: i, Frame: CFI, Saves: []string{"rbx"}})
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(p.Sym())))
	}
}
