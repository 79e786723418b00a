package minidump

import (
	"encoding/binary"
	"fmt"

	"mayday/minidump/format"
)

// streamReaders lists the streams that are read. Modules need the operating
// system, so system info comes first.
var streamReaders = []struct {
	stream format.StreamType
	read   func(*Dump, []byte) *FormatError
}{
	{format.StreamSystemInfo, (*Dump).readSystemInfo},
	{format.StreamThreadList, (*Dump).readThreads},
	{format.StreamThreadNames, (*Dump).readThreadNames},
	{format.StreamThreadInfoList, (*Dump).readThreadInfo},
	{format.StreamModuleList, (*Dump).readModules},
	{format.StreamUnloadedModules, (*Dump).readUnloaded},
	{format.StreamMemory64List, (*Dump).readMemory64},
	{format.StreamMemoryList, (*Dump).readMemory},
	{format.StreamMemoryInfoList, (*Dump).readMemoryInfo},
	{format.StreamException, (*Dump).readException},
	{format.StreamMiscInfo, (*Dump).readMisc},
	{format.StreamBreakpadInfo, (*Dump).readBreakpad},
	{format.StreamAssertionInfo, (*Dump).readAssertion},
	{format.StreamHandleData, (*Dump).readHandles},
	{format.StreamCrashpadInfo, (*Dump).readCrashpad},
	{format.StreamMacCrashInfo, (*Dump).readMacCrashInfo},
	{format.StreamMacBootArgs, (*Dump).readMacBootArgs},
	{format.StreamLinuxMaps, (*Dump).readLinuxMaps},
	{format.StreamLinuxCPUInfo, linuxFile(func(l *LinuxFiles) *[]byte { return &l.CPUInfo })},
	{format.StreamLinuxProcStatus, linuxFile(func(l *LinuxFiles) *[]byte { return &l.Status })},
	{format.StreamLinuxLSBRelease, linuxFile(func(l *LinuxFiles) *[]byte { return &l.LSBRelease })},
	{format.StreamLinuxCmdLine, linuxFile(func(l *LinuxFiles) *[]byte { return &l.CmdLine })},
	{format.StreamLinuxEnviron, linuxFile(func(l *LinuxFiles) *[]byte { return &l.Environ })},
	{format.StreamLinuxAuxv, linuxFile(func(l *LinuxFiles) *[]byte { return &l.Auxv })},
	{format.StreamLinuxDSODebug, linuxFile(func(l *LinuxFiles) *[]byte { return &l.DSODebug })},
	{format.StreamLinuxProcLimits, linuxFile(func(l *LinuxFiles) *[]byte { return &l.Limits })},
	{format.StreamSoftErrors, (*Dump).readSoftErrors},
	{format.StreamCommentA, (*Dump).readCommentA},
	{format.StreamCommentW, (*Dump).readCommentW},
}

func (d *Dump) readStreams() {
	for _, s := range streamReaders {
		b, err := d.stream(s.stream)
		if err == nil && b != nil {
			err = s.read(d, b)
		}
		if err != nil {
			err.Stream = s.stream
			if err.Offset == 0 {
				err.Offset = d.streamOffset(s.stream)
			}
			d.noteError(err)
		}
	}
	d.index()
}

// index sorts what is looked up by address.
func (d *Dump) index() {
	ranges := make([]addressRange, 0, len(d.Modules))
	for i := range d.Modules {
		if r, ok := spanOf(d.Modules[i].Base, d.Modules[i].Size, uint64(i)); ok {
			ranges = append(ranges, r)
		}
	}
	d.moduleIdx = newRangeIndex(ranges)
	d.memoryIdx = newRangeIndex(d.memoryIdx)
}

func (d *Dump) streamOffset(t format.StreamType) uint64 {
	for i := len(d.Streams) - 1; i >= 0; i-- {
		if d.Streams[i].Type == t {
			return uint64(d.Streams[i].Location.RVA)
		}
	}
	return 0
}

// bad is an error within a stream; readStreams adds which one it is.
func bad(text string, args ...any) *FormatError {
	return &FormatError{Detail: fmt.Sprintf(text, args...)}
}

// list returns the entries of a counted list: a 32-bit count and entries of
// size bytes each. Some writers put 4 bytes of padding behind the count, which
// shows in the stream's length alone; any other length makes the list
// unusable, since nobody can say where its entries are.
func (d *Dump) list(b []byte, size int) (entries []byte, count int, err *FormatError) {
	if len(b) < 4 {
		return nil, 0, bad("a count has 4 bytes, %d are there", len(b))
	}
	n := uint64(d.Order.Uint32(b))
	want := 4 + n*uint64(size)
	switch uint64(len(b)) {
	case want:
		return b[4:], int(n), nil
	case want + 4:
		return b[8:], int(n), nil
	}
	return nil, 0, bad("%d entries of %d bytes are claimed, the stream has %d bytes", n, size, len(b))
}

// listHead is the head of a list that states the sizes of its head and entries.
type listHead struct{ size, entry, count uint64 }

// minListHead is how long such a head is at least.
const minListHead = 12

// listHead reads the head of a list with sizes and checks that the entries are
// all there.
func (d *Dump) listHead(b []byte) (h listHead, err *FormatError) {
	if len(b) < minListHead {
		return h, bad("a list header has %d bytes, %d are there", minListHead, len(b))
	}
	h = listHead{uint64(d.Order.Uint32(b)), uint64(d.Order.Uint32(b[4:])), uint64(d.Order.Uint32(b[8:]))}
	if h.size >= 16 && d.Order == binary.BigEndian && h.count == 0 && len(b) >= 16 {
		h.count = uint64(d.Order.Uint32(b[12:])) // the low half of a 64-bit count, big endian
	}
	if h.size+h.count*h.entry > uint64(len(b)) {
		return h, bad("%d entries of %d bytes after %d are claimed, the stream has %d bytes", h.count, h.entry, h.size, len(b))
	}
	return h, nil
}

// extendedList returns the entries of a list with sizes. Entries of another
// size, or that begin within the head, are refused.
func (d *Dump) extendedList(b []byte, size uint64) (entries []byte, count int, err *FormatError) {
	h, err := d.listHead(b)
	switch {
	case err != nil:
		return nil, 0, err
	case h.size < minListHead || h.entry != size:
		return nil, 0, bad("entries of %d bytes after %d are unknown", h.entry, h.size)
	}
	return b[h.size:][:h.count*size], int(h.count), nil
}
