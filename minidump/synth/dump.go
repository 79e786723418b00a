package synth

// Dump describes a minidump; Bytes writes it. A nil or empty part leaves its
// stream out. The zero value is a file with an empty directory.
type Dump struct {
	BigEndian bool
	Time      uint32 // seconds since 1970, in the header
	Flags     uint64
	// Padded puts 4 bytes between the count and the entries of the list
	// streams, as writers that align entries to 8 do.
	Padded bool
	// StackInMemory lists every thread's stack in the memory list too, sharing
	// the bytes, as most writers do.
	StackInMemory bool

	System      *System
	Threads     []Thread
	ThreadNames []ThreadName
	Modules     []Module
	Unloaded    []UnloadedModule
	Exception   *Exception
	Memory      []Memory // MemoryListStream
	Memory64    []Memory // Memory64ListStream, of full dumps
	MemoryInfo  []MemoryInfo
	Misc        *Misc
	Breakpad    *Breakpad
	Assertion   *Assertion
	Linux       Linux
	MacCrash    []MacCrash
	MacBootArgs string
	Handles     []Handle
	Crashpad    *Crashpad
	SoftErrors  string // JSON
	// Raw streams are written as they are, after all others.
	Raw []Raw
}

// Raw is a stream given as bytes.
type Raw struct {
	Kind uint32
	Data []byte
}

// Stream kinds (MINIDUMP_STREAM_TYPE and its extensions by Breakpad, Crashpad
// and Mozilla).
const (
	streamThreadList     uint32 = 3
	streamModuleList     uint32 = 4
	streamMemoryList     uint32 = 5
	streamException      uint32 = 6
	streamSystemInfo     uint32 = 7
	streamMemory64List   uint32 = 9
	streamHandleData     uint32 = 12
	streamUnloadedList   uint32 = 14
	streamMiscInfo       uint32 = 15
	streamMemoryInfoList uint32 = 16
	streamThreadNames    uint32 = 24
	streamCrashpadInfo   uint32 = 0x43500001
	streamBreakpadInfo   uint32 = 0x47670001
	streamAssertion      uint32 = 0x47670002
	streamLinuxCPUInfo   uint32 = 0x47670003
	streamLinuxStatus    uint32 = 0x47670004
	streamLinuxLSB       uint32 = 0x47670005
	streamLinuxCmdLine   uint32 = 0x47670006
	streamLinuxEnviron   uint32 = 0x47670007
	streamLinuxAuxv      uint32 = 0x47670008
	streamLinuxMaps      uint32 = 0x47670009
	streamLinuxDSODebug  uint32 = 0x4767000a
	streamMacCrashInfo   uint32 = 0x4d7a0001
	streamMacBootArgs    uint32 = 0x4d7a0002
	streamLinuxLimits    uint32 = 0x4d7a0003
	streamSoftErrors     uint32 = 0x4d7a0004
)

// writer holds what streams refer to in each other: the memory a thread's
// stack and the memory list share, the context of the crashed thread.
type writer struct {
	*File
	d        *Dump
	stacks   []Location
	contexts map[uint32]Location // by thread id
}

// Bytes writes the dump. The same Dump gives the same bytes.
func (d *Dump) Bytes() []byte {
	steps := d.steps()
	f := NewFile(d.BigEndian, len(steps)+len(d.Raw))
	f.Time, f.Flags = d.Time, d.Flags
	w := &writer{File: f, d: d, contexts: make(map[uint32]Location, len(d.Threads))}
	for _, s := range steps {
		f.StreamAt(s.kind, s.write(w))
	}
	for _, r := range d.Raw {
		f.Stream(r.Kind, r.Data)
	}
	return f.Bytes()
}

type step struct {
	kind  uint32
	write func(*writer) Location
}

// steps are the streams that the dump has, in the order they are written:
// threads come before the streams that share their bytes.
func (d *Dump) steps() []step {
	var all []step
	add := func(has bool, kind uint32, write func(*writer) Location) {
		if has {
			all = append(all, step{kind, write})
		}
	}
	text := func(kind uint32, s string) {
		add(s != "", kind, func(w *writer) Location { return w.Put([]byte(s)) })
	}
	add(d.System != nil, streamSystemInfo, (*writer).system)
	add(d.Threads != nil, streamThreadList, (*writer).threads)
	add(d.ThreadNames != nil, streamThreadNames, (*writer).threadNames)
	add(d.Modules != nil, streamModuleList, (*writer).modules)
	add(d.Unloaded != nil, streamUnloadedList, (*writer).unloaded)
	add(d.Exception != nil, streamException, (*writer).exception)
	add(d.Memory != nil || d.StackInMemory, streamMemoryList, (*writer).memory)
	add(d.Memory64 != nil, streamMemory64List, (*writer).memory64)
	add(d.MemoryInfo != nil, streamMemoryInfoList, (*writer).memoryInfo)
	add(d.Misc != nil, streamMiscInfo, (*writer).misc)
	add(d.Breakpad != nil, streamBreakpadInfo, (*writer).breakpad)
	add(d.Assertion != nil, streamAssertion, (*writer).assertion)
	text(streamLinuxCPUInfo, d.Linux.CPUInfo)
	text(streamLinuxStatus, d.Linux.Status)
	text(streamLinuxLSB, d.Linux.LSBRelease)
	text(streamLinuxCmdLine, d.Linux.CmdLine)
	text(streamLinuxEnviron, d.Linux.Environ)
	add(d.Linux.Auxv != nil, streamLinuxAuxv, (*writer).auxv)
	text(streamLinuxMaps, d.Linux.Maps)
	text(streamLinuxLimits, d.Linux.Limits)
	add(d.Linux.DSODebug != nil, streamLinuxDSODebug, (*writer).dsoDebug)
	add(d.MacCrash != nil, streamMacCrashInfo, (*writer).macCrash)
	add(d.MacBootArgs != "", streamMacBootArgs, (*writer).macBootArgs)
	add(d.Handles != nil, streamHandleData, (*writer).handles)
	add(d.Crashpad != nil, streamCrashpadInfo, (*writer).crashpad)
	text(streamSoftErrors, d.SoftErrors)
	return all
}

// compose writes a stream into a buffer of its own, so that strings and other
// things it points to can go into the file meanwhile.
func (w *writer) compose(fill func(b *buffer)) Location {
	b := buffer{order: w.order}
	fill(&b)
	return w.Put(b.b)
}

func (w *writer) list(n int, fill func(b *buffer)) Location {
	return w.compose(func(b *buffer) {
		b.u32(uint32(n))
		if w.d.Padded {
			b.u32(0)
		}
		fill(b)
	})
}
