package demo

import (
	"math/rand/v2"

	"mayday/minidump/synth"
)

// Dump builds the minidump of a crash; nil for crashes that have none.
func (c Crash) Dump() []byte { return c.DeepDump(0) }

// DeepDump is Dump with stacks of at least so many frames in each thread, for
// measuring: the functions below the crash call each other again and again.
func (c Crash) DeepDump(frames int) []byte {
	if c.culprit.fault == "java" || c.culprit.fault == "nodump" {
		return nil
	}
	r := rand.New(rand.NewPCG(c.random, 2))
	b := build(*c.program)
	pl := platforms[c.program.platform]
	calls := c.calls(b, r, frames)
	threads := []synth.Stack{{ID: 100, Name: "main", Calls: calls}}
	for i := range 2 + r.IntN(3) {
		threads = append(threads, synth.Stack{ID: uint32(101 + i), Name: "worker", Calls: idleCalls(b, frames)})
	}
	crash := &synth.Crash{CPU: pl.cpu, OS: pl.os, Seed: c.random, Binaries: []*synth.Binary{b.exe, b.library, b.system}, Threads: threads,
		PID: 1000 + uint32(r.IntN(30000)), Time: uint32(c.Submitted.Unix()), Uptime: uint32(r.IntN(9000))}
	crash.Fault = faultOf(c.culprit.fault, pl, r)
	crash.System = systemOf(pl, c.program.platform, r)
	return crash.Dump().Bytes()
}

// most is how often the innermost calls of a stack overflow repeat.
const most = 180

func (c Crash) calls(b *built, r *rand.Rand, frames int) []synth.Call {
	at := func(m *synth.Binary, name string, back uint32) synth.Call {
		return synth.Call{Binary: m, Offset: m.Function(name).Address + back}
	}
	var out []synth.Call
	if c.culprit.fault == "abort" {
		out = append(out, at(b.system, "raise", 0x14))
	}
	// The place in the function stays, so that builds agree on the line.
	for i, f := range c.culprit.calls {
		out = append(out, at(b.library, f, 0x38+uint32(i)*0x10))
	}
	if c.culprit.fault == "stack" {
		inner := out[:2]
		for len(out) < most+r.IntN(20) {
			out = append(inner[:2:2], out...)
		}
	}
	for len(out)+len(loop) < frames {
		out = append(out, at(b.exe, loop[len(out)%2], 0x60))
	}
	for _, f := range loop {
		out = append(out, at(b.exe, f, 0x60))
	}
	return out
}

func idleCalls(b *built, frames int) []synth.Call {
	out := []synth.Call{{Binary: b.system, Offset: b.system.Function("wait").Address + 0x14}}
	for {
		out = append(out, synth.Call{Binary: b.exe, Offset: b.exe.Function(idle).Address + 0x44})
		if len(out)+1 >= frames {
			return append(out, synth.Call{Binary: b.system, Offset: b.system.Function("start_thread").Address + 0x24})
		}
	}
}

// Exception codes by system: Windows exceptions, Mach exceptions, signals.
const (
	winAccess, winStack, winIllegal, winDivide, winAbort = 0xC0000005, 0xC00000FD, 0xC000001D, 0xC0000094, 0xC0000409
	machAccess, machIllegal, machArithmetic, machCrash   = 1, 2, 3, 6
	sigILL, sigABRT, sigFPE, sigSEGV                     = 4, 6, 8, 11
)

// faultOf is the exception of a kind of crash.
func faultOf(kind string, pl platform, r *rand.Rand) synth.Fault {
	address := uint64(r.IntN(64) * 8)
	if kind == "read" || kind == "write" {
		address = 0x7fe0_0000_0000 + uint64(r.IntN(1<<30))&^7
		if pl.cpu == synth.X86 {
			address = 0x50000000 + uint64(r.IntN(1<<26))&^3
		}
	}
	switch pl.os {
	case synth.Windows:
		access := uint64(0)
		if kind == "write" {
			access = 1
		}
		codes := map[string]uint32{"stack": winStack, "illegal": winIllegal, "divide": winDivide, "abort": winAbort}
		if code, ok := codes[kind]; ok {
			return synth.Fault{Code: code}
		}
		return synth.Fault{Code: winAccess, Address: address, Information: []uint64{access, address}}
	case synth.MacOS:
		codes := map[string]uint32{"illegal": machIllegal, "divide": machArithmetic, "abort": machCrash}
		if code, ok := codes[kind]; ok {
			return synth.Fault{Code: code}
		}
		return synth.Fault{Code: machAccess, Flags: 1, Address: address}
	}
	codes := map[string]uint32{"illegal": sigILL, "divide": sigFPE, "abort": sigABRT}
	if code, ok := codes[kind]; ok {
		return synth.Fault{Code: code}
	}
	return synth.Fault{Code: sigSEGV, Flags: 1, Address: address}
}

// systemOf is the machine a crash happened on.
func systemOf(pl platform, which byte, r *rand.Rand) *synth.System {
	s := &synth.System{CPU: pl.cpu, OS: pl.os, Processors: uint8(4 + 4*r.IntN(4)), Level: 6, Revision: 0x9e0a}
	if pl.cpu != synth.ARM64 {
		s.Vendor = []string{"GenuineIntel", "AuthenticAMD"}[r.IntN(2)]
		s.VersionInfo, s.Features = 0x906ea, 0xbfebfbff
	}
	switch which {
	case 'w':
		s.Major, s.Build = 10, []uint32{19045, 22631, 26100}[r.IntN(3)]
	case 'x':
		s.Major, s.Build = 10, 19045
	case 'l':
		s.CSD = "Linux 6.1.0-18-amd64 #1 SMP x86_64"
	case 'm':
		s.Major, s.Minor, s.CSD = uint32(13+r.IntN(3)), uint32(r.IntN(5)), "22G90"
	case 'a':
		s.CSD = "Linux 5.10.157-android13 #1 aarch64"
	}
	return s
}
