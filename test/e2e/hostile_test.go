package e2e

import (
	bytesof "encoding/binary" // this package has a variable binary
	"testing"

	"mayday/minidump/synth"
)

// deepCalls is the depth of the stack that all threads of hostileDump share.
const deepCalls = 900

// hostileDump is a dump of a few MB that claims many threads, all with the
// same deep stack: honest work on it never ends and needs no end of memory.
func hostileDump(t *testing.T, threads int) []byte {
	t.Helper()
	program, crash := sampleProgram()
	var calls []synth.Call
	for range deepCalls {
		calls = append(calls, synth.Call{Binary: program, Offset: 0x2040})
	}
	crash.Threads = []synth.Stack{{ID: 42, Name: "main", Calls: calls}}
	dump := crash.Dump().Bytes()
	le := bytesof.LittleEndian
	const (
		directoryEntry = 12
		threadSize     = 48
		threadList     = 3
	)
	count, directory := le.Uint32(dump[8:]), le.Uint32(dump[12:])
	for i := range count {
		entry := dump[directory+i*directoryEntry:]
		if le.Uint32(entry) != threadList {
			continue
		}
		first := dump[le.Uint32(entry[8:])+4:][:threadSize]
		le.PutUint32(entry[4:], uint32(4+threads*threadSize))
		le.PutUint32(entry[8:], uint32(len(dump)))
		list := le.AppendUint32(nil, uint32(threads))
		for n := range threads {
			at := len(list)
			list = append(list, first...)
			le.PutUint32(list[at:], uint32(42+n))
		}
		return append(dump, list...)
	}
	t.Fatal("the dump has no list of threads")
	return nil
}
