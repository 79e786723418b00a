package e2e

import (
	"testing"

	"mayday/minidump/synth"
)

// sampleProgram is a Linux program on amd64 with symbols, and a crash of it.
func sampleProgram() (*synth.Binary, *synth.Crash) {
	b := &synth.Binary{CPU: synth.AMD64, OS: synth.LinuxOS, Path: "/opt/storm/storm", ID: [16]byte{0xab, 0xcd, 3, 4}, Base: 0x400000, Size: 0x10000,
		Functions: []synth.Function{
			{Name: "storm::Cloud::rain(int)", Address: 0x1000, Size: 0x100, File: "src/cloud.cpp", Line: 10, Locals: 32},
			{Name: "storm::run()", Address: 0x2000, Size: 0x100, File: "src/run.cpp", Line: 20, Locals: 64},
			{Name: "main", Address: 0x3000, Size: 0x100, File: "src/main.cpp", Line: 5, Locals: 16},
		}}
	calls := []synth.Call{{Binary: b, Offset: 0x1024}, {Binary: b, Offset: 0x2040}, {Binary: b, Offset: 0x3020}}
	return b, &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Seed: 7, Binaries: []*synth.Binary{b}, PID: 42, Time: 1_790_000_000,
		Threads: []synth.Stack{{ID: 42, Name: "main", Calls: calls}, {ID: 43, Name: "worker", Calls: calls[1:]}},
		Fault:   synth.Fault{Code: 11, Address: 0x10}}
}

func sampleDump(t *testing.T) []byte {
	t.Helper()
	_, crash := sampleProgram()
	return crash.Dump().Bytes()
}

// otherDump is a crash of another program.
func otherDump(t *testing.T) []byte {
	t.Helper()
	program, crash := sampleProgram()
	program.Path, program.ID = "/opt/calm/calm", [16]byte{9, 9}
	return crash.Dump().Bytes()
}
