package synth

import "slices"

// Hostile is a dump made to cost its reader as much as its bytes allow: in
// memory, in time, or in what it prints.
type Hostile struct {
	Name string
	fill func(h *hostileWriter)
}

// Bytes writes the dump; it has about size bytes.
func (h Hostile) Bytes(size int) []byte {
	w := &hostileWriter{size: size}
	c := &Context{CPU: AMD64}
	c.Set("rip", hostileCode)
	c.Set("rsp", hostileStack)
	c.Set("rbp", hostileStack)
	d := &Dump{
		System:    &System{CPU: AMD64, OS: LinuxOS, Processors: 1, CSD: "Linux 6.1.0 x86_64"},
		Threads:   []Thread{{ID: 1, Context: c, Stack: Memory{Start: hostileStack, Data: make([]byte, 64)}}},
		Modules:   []Module{{Base: hostileBase, Size: 1 << 20, Name: "app"}},
		Exception: &Exception{Thread: 1, Code: 11, Flags: 1, Address: 8},
	}
	steps := d.steps()
	f := NewFile(false, len(steps)+1)
	w.writer = &writer{File: f, d: d, contexts: map[uint32]Location{}}
	for _, s := range steps {
		f.StreamAt(s.kind, s.write(w.writer))
	}
	h.fill(w)
	return f.Bytes()
}

// Where the program and its stack lie.
const (
	hostileBase  = 0x400000
	hostileCode  = hostileBase + 0x1010
	hostileStack = 0x7ffc_0000_0000
	hostileHole  = 0x5000_0000 // in no module
)

// hostileWriter adds what makes a dump hostile behind a small good one.
type hostileWriter struct {
	*writer
	size int
}

// left is how many more entries of n bytes fit.
func (h *hostileWriter) left(n int) int { return max(h.size-len(h.b)-256, 0) / n }

// entries adds a stream of a counted list of as many entries as fit.
func (h *hostileWriter) entries(kind uint32, size int, entry func(b *buffer, i int)) {
	h.count(kind, h.left(size), entry)
}

func (h *hostileWriter) count(kind uint32, n int, entry func(b *buffer, i int)) {
	h.StreamAt(kind, h.list(n, func(b *buffer) {
		for i := range n {
			entry(b, i)
		}
	}))
}

// extended adds a stream of a list that states the size of its entries.
func (h *hostileWriter) extended(kind uint32, header, size int, entry func(b *buffer, i int)) {
	n := h.left(size)
	h.StreamAt(kind, h.compose(func(b *buffer) {
		b.u32s(uint32(header), uint32(size), uint32(n))
		b.zero(header - 12)
		for i := range n {
			entry(b, i)
		}
	}))
}

// text adds a stream that repeats piece.
func (h *hostileWriter) text(kind uint32, before, piece, after string) {
	n := h.left(len(piece))
	b := make([]byte, 0, len(before)+n*len(piece)+len(after))
	b = append(b, before...)
	for range n {
		b = append(b, piece...)
	}
	h.Stream(kind, append(b, after...))
}

// words puts n words into the file and says where.
func (h *hostileWriter) words(n int, word func(i int) uint64) Location {
	return h.compose(func(b *buffer) {
		for i := range n {
			b.u64(word(i))
		}
	})
}

// threadSize is the size of an entry of the list of threads.
const threadSize = 48

// threadsOn adds n threads that share a stack and the registers of the first
// one.
func (h *hostileWriter) threadsOn(n int, stack Location) {
	h.count(streamThreadList, n, func(b *buffer, i int) {
		b.u32s(uint32(i), 0, 0, 0)
		b.u64(0)
		b.u64(hostileStack)
		b.location(stack)
		b.location(h.contexts[1])
	})
}

// fillOn fills the dump with such threads.
func (h *hostileWriter) fillOn(stack Location) { h.threadsOn(h.left(threadSize), stack) }

// chain is a word of a stack of frame pointers and return addresses to at.
func chain(at uint64) func(i int) uint64 {
	return func(i int) uint64 {
		if i%2 == 1 {
			return at
		}
		return hostileStack + 8*uint64(i) + 16
	}
}

func always(v uint64) func(int) uint64 { return func(int) uint64 { return v } }

// each is a return address that differs from word to word.
func each(i int) uint64 { return hostileBase + 0x1000 + uint64(i)%0xf0000 }

func (b *buffer) module(base uint64, size uint32, name uint32, codeView Location) {
	b.u64(base)
	b.u32s(size, 0, 0, name)
	b.zero(52)
	b.location(codeView)
	b.zero(24)
}

// HostileDumps lists them.
func HostileDumps() []Hostile {
	return slices.Concat(hostileStacks(), hostileLists(), hostileEntries(), hostileTexts())
}

// hostileStacks are threads without end.
func hostileStacks() []Hostile {
	shared := func(words int, word func(i int) uint64) func(*hostileWriter) {
		return func(h *hostileWriter) { h.fillOn(h.words(words, word)) }
	}
	large := func(word func(i int) uint64) func(*hostileWriter) {
		return func(h *hostileWriter) { h.fillOn(h.words(h.left(12), word)) } // two thirds of the dump
	}
	return []Hostile{
		{"threads", shared(50, always(hostileCode))},
		{"threads without a stack", func(h *hostileWriter) { h.fillOn(Location{}) }},
		{"threads and noise", shared(200, always(hostileHole))},
		{"threads of scattered frames", shared(20_000, func(i int) uint64 {
			if i%39 == 38 {
				return hostileCode
			}
			return hostileHole
		})},
		{"one large stack of frames", large(always(hostileCode))},
		{"one large stack of distinct frames", large(each)},
		{"one large stack of noise", large(always(hostileHole))},
		{"one large chain", large(chain(hostileCode))},
		{"one large chain outside modules", large(chain(hostileHole))},
		{"one large stack of zeros", large(always(0))},
		{"one large stack of small numbers", large(func(i int) uint64 { return uint64(i) })},
		{"frames in unloaded modules", func(h *hostileWriter) {
			stack := h.words(4000, chain(hostileHole))
			h.threadsOn(200, stack)
			name := h.PutString("gone.so")
			h.extended(streamUnloadedList, 12, 24, func(b *buffer, i int) {
				b.u64(hostileHole - uint64(i%4096))
				b.u32s(1<<20, 0, 0, name)
			})
		}},
		{"frames in a module of a long name", func(h *hostileWriter) {
			stack := h.words(20_000, always(hostileCode))
			name := h.PutString(repeat("n", h.size/8))
			h.count(streamModuleList, 1, func(b *buffer, _ int) { b.module(hostileBase, 1<<20, name, Location{}) })
			h.fillOn(stack)
		}},
		{"signal frames", shared(40_000, signalStack)},
	}
}

// signalStack is a word of a stack of which every 32nd word could begin what
// Linux saves for a signal handler.
func signalStack(i int) uint64 {
	base := i / 32 * 32
	switch i % 32 {
	case 20: // rsp
		return hostileStack + 8*uint64(base+32)
	case 21: // rip
		return hostileCode
	case 22: // flags
		return 0x202
	case 23: // segments
		return 0x002b_0000_0000_0033
	case 15:
		return hostileStack + 8*uint64(base+32)
	}
	return hostileCode
}

func repeat(s string, n int) string {
	b := make([]byte, 0, len(s)*n)
	for range n {
		b = append(b, s...)
	}
	return string(b)
}

// hostileLists are streams with as many entries as fit.
func hostileLists() []Hostile {
	return []Hostile{
		{"modules", func(h *hostileWriter) {
			name := h.PutString("m")
			h.entries(streamModuleList, 108, func(b *buffer, i int) { b.module(uint64(i+1)<<20, 1<<16, name, Location{}) })
		}},
		{"overlapping modules", func(h *hostileWriter) {
			name := h.PutString("m")
			h.entries(streamModuleList, 108, func(b *buffer, i int) { b.module(hostileBase-uint64(i%256), 1<<20, name, Location{}) })
		}},
		{"modules of long names", func(h *hostileWriter) {
			h.entries(streamModuleList, 108+2*1000+8, func(b *buffer, i int) {
				b.module(uint64(i+1)<<20, 1<<16, h.PutString(repeat("n", 1000)), Location{})
			})
		}},
		{"modules that share a name", func(h *hostileWriter) {
			name := h.PutString(repeat("n", h.size/16))
			h.entries(streamModuleList, 108, func(b *buffer, i int) { b.module(uint64(i+1)<<20, 1<<16, name, Location{}) })
		}},
		{"modules that share a build id", func(h *hostileWriter) {
			name, id := h.PutString("m"), h.compose(ELF{BuildID: []byte(repeat("b", 1000))}.record)
			h.entries(streamModuleList, 108, func(b *buffer, i int) { b.module(uint64(i+1)<<20, 1<<16, name, id) })
		}},
		{"modules of one name with ids", func(h *hostileWriter) {
			name := h.PutString("m")
			h.entries(streamModuleList, 108+28, func(b *buffer, i int) {
				b.module(uint64(i+1)<<20, 1<<16, name, h.compose(PDB70{GUID: [16]byte{1, byte(i), byte(i >> 8), byte(i >> 16)}, Path: "m"}.record))
			})
		}},
		{"unloaded modules", func(h *hostileWriter) {
			name := h.PutString("gone")
			h.extended(streamUnloadedList, 12, 24, func(b *buffer, i int) {
				b.u64(uint64(i) << 12)
				b.u32s(1<<12, 0, 0, name)
			})
		}},
		{"memory", func(h *hostileWriter) {
			at := h.words(64, always(1))
			h.entries(streamMemoryList, 16, func(b *buffer, i int) {
				b.u64(hostileStack - uint64(i))
				b.location(at)
			})
		}},
		{"memory outside the file", func(h *hostileWriter) {
			h.entries(streamMemoryList, 16, func(b *buffer, i int) {
				b.u64(uint64(i) << 12)
				b.location(Location{Size: 1 << 31, RVA: 1 << 31})
			})
		}},
		{"memory of full dumps", func(h *hostileWriter) {
			n := h.left(16)
			h.StreamAt(streamMemory64List, h.compose(func(b *buffer) {
				b.u64(uint64(n))
				b.u64(32)
				for i := range n {
					b.u64(uint64(n-i) << 12)
					b.u64(1)
				}
			}))
		}},
		{"memory info", func(h *hostileWriter) {
			h.extended(streamMemoryInfoList, 16, 48, func(b *buffer, i int) {
				b.u64(uint64(i) << 12)
				b.zero(16)
				b.u64(1 << 13)
				b.u32s(MemCommit, PageExecuteReadWrite, MemPrivate, 0)
			})
		}},
	}
}

// hostileEntries are more of them.
func hostileEntries() []Hostile {
	return []Hostile{
		{"handles", func(h *hostileWriter) {
			name := h.PutString("F")
			h.extended(streamHandleData, 16, 32, func(b *buffer, i int) {
				b.u64(uint64(i))
				b.u32s(name, name, 0, 0, 0, 0)
			})
		}},
		{"thread names", func(h *hostileWriter) {
			name := h.PutString("worker")
			h.entries(streamThreadNames, 12, func(b *buffer, i int) {
				b.u32(1)
				b.u64(uint64(name))
			})
		}},
		{"threads with names", func(h *hostileWriter) {
			n := h.left(48 + 12)
			name := h.PutString("w")
			h.count(streamThreadList, n, func(b *buffer, i int) {
				b.u32s(uint32(i), 0, 0, 0)
				b.zero(32)
			})
			h.count(streamThreadNames, n, func(b *buffer, i int) {
				b.u32(uint32(i))
				b.u64(uint64(name))
			})
		}},
		{"thread info", func(h *hostileWriter) {
			h.extended(17, 12, 64, func(b *buffer, i int) {
				b.u32(1)
				b.zero(60)
			})
		}},
		{"annotations", func(h *hostileWriter) {
			// Every entry names the same pair.
			key, value := h.PutUTF8("key"), h.PutUTF8("value")
			n := min(h.left(8), 19_000)
			at := h.compose(func(b *buffer) {
				b.u32(uint32(n))
				for range n {
					b.u32s(key, value)
				}
			})
			h.StreamAt(streamCrashpadInfo, h.compose(func(b *buffer) {
				b.u32(1)
				b.zero(32)
				b.location(at)
				b.location(Location{})
			}))
		}},
		{"directory", func(h *hostileWriter) {
			for range min(h.left(directoryEntrySize), 1<<20-16) {
				h.StreamAt(0x4767ffff, Location{})
			}
		}},
	}
}

// hostileTexts are streams of text.
func hostileTexts() []Hostile {
	text := func(kind uint32, before, piece, after string) func(*hostileWriter) {
		return func(h *hostileWriter) { h.text(kind, before, piece, after) }
	}
	return []Hostile{
		{"memory maps", text(streamLinuxMaps, "", "0-1 r--- 0 0:0 0 \n", "")},
		{"memory maps with paths", text(streamLinuxMaps, "", "0-1 r--- 0 0:0 0 /p\n", "")},
		{"soft errors", text(streamSoftErrors, "[0", ",{}", "]")},
		{"soft errors of many keys", text(streamSoftErrors, `{"":0`, `,"":0`, "}")},
		{"soft errors of numbers", text(streamSoftErrors, "[0", ",0", "]")},
		{"limits", text(streamLinuxLimits, "Limit\n", "a  1  2\n", "")},
		{"limits without end", text(streamLinuxLimits, "Limit\n", "a  1  2  ", "")},
		{"cpu info", text(streamLinuxCPUInfo, "", ":\n", "")},
		{"process status", text(streamLinuxStatus, "", "Pid:1\n", "")},
		{"release", text(streamLinuxLSB, "ID=", "\x01", "\n")},
		{"comment", text(10, "", "\x01", "")},
		{"wide comment", text(11, "", "\x01\x00", "")},
		{"long thread name", func(h *hostileWriter) {
			name := h.PutString(repeat("\x01", h.left(2)))
			h.count(streamThreadNames, 1, func(b *buffer, _ int) {
				b.u32(1)
				b.u64(uint64(name))
			})
		}},
		{"long names of handles", func(h *hostileWriter) {
			name := h.PutString(repeat("\x01", 10_000))
			h.extended(streamHandleData, 16, 32, func(b *buffer, i int) {
				b.u64(uint64(i))
				b.u32s(name, name, 0, 0, 0, 0)
			})
		}},
		{"macOS notes", func(h *hostileWriter) {
			h.text(0xffff0001, "", "\x01", "")
			long := repeat("\x01", h.left(1)/2)
			body := h.compose(func(b *buffer) {
				b.u64(uint64(streamMacCrashInfo))
				b.u64(5)
				b.zero(24)
				b.bytes([]byte(long))
				b.zero(5)
			})
			h.StreamAt(streamMacCrashInfo, h.compose(func(b *buffer) {
				b.u32s(streamMacCrashInfo, 20, 40)
				for range 20 {
					b.location(body)
				}
			}))
		}},
		{"system version", func(h *hostileWriter) {
			csd := h.PutString(repeat(" a", h.left(4)))
			h.StreamAt(streamSystemInfo, h.compose(func(b *buffer) {
				b.u16(9)
				b.zero(18)
				b.u32s(uint32(LinuxOS), csd)
				b.zero(28)
			}))
		}},
	}
}
