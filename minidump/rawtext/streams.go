package rawtext

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"mayday/minidump/format"
)

// stream prints one stream.
func (p *printer) stream(s format.Directory) {
	if p.err != nil {
		return
	}
	b, ok := p.d.Stream(s.Type)
	if !ok {
		p.title("%s", s.Type)
		p.line("  (%d bytes at %#x are not in the file)", s.Location.Size, s.Location.RVA)
		return
	}
	c := format.NewCursor(b, p.d.Order)
	switch s.Type {
	case format.StreamThreadList:
		p.threads(b)
	case format.StreamThreadNames:
		p.threadNames(b)
	case format.StreamThreadInfoList:
		list(p, "ThreadInfoList", "MINIDUMP_THREAD_INFO", b, extended, format.ThreadInfoSize, func(t *format.ThreadInfo) []pair { return fields("", *t) }, nil)
	case format.StreamModuleList:
		list(p, "ModuleList", "MINIDUMP_MODULE", b, plain, format.ModuleSize, p.module, nil)
	case format.StreamUnloadedModules:
		list(p, "UnloadedModuleList", "MINIDUMP_UNLOADED_MODULE", b, extended, format.UnloadedModuleSize, func(m *format.UnloadedModule) []pair {
			return append(fields("", *m), pair{"(name)", p.utf16At(uint64(m.NameRVA))})
		}, nil)
	case format.StreamMemoryList:
		list(p, "MemoryList", "MINIDUMP_MEMORY_DESCRIPTOR", b, plain, format.MemoryDescriptorSize, func(m *format.MemoryDescriptor) []pair { return fields("", *m) },
			func(m *format.MemoryDescriptor) { p.memory(m.Start, uint64(m.Memory.RVA), uint64(m.Memory.Size)) })
	case format.StreamMemory64List:
		p.memory64(b)
	case format.StreamMemoryInfoList:
		list(p, "MemoryInfoList", "MINIDUMP_MEMORY_INFO", b, wide, format.MemoryInfoSize, func(m *format.MemoryInfo) []pair { return fields("", *m) }, nil)
	case format.StreamHandleData:
		p.handles(b)
	case format.StreamException:
		p.exception(c)
	case format.StreamSystemInfo:
		var r format.SystemInfo
		c.Record(&r)
		p.title("MINIDUMP_SYSTEM_INFO")
		p.pairs(append(fields("", r), pair{"(os)", fmt.Sprint(p.osName())}, pair{"(csd_version)", p.utf16At(uint64(r.CSDVersionRVA))}))
		p.broken(c)
	case format.StreamMiscInfo:
		p.misc(c)
	case format.StreamBreakpadInfo:
		record[format.BreakpadInfo](p, "MINIDUMP_BREAKPAD_INFO", c)
	case format.StreamAssertionInfo:
		record[format.Assertion](p, "MINIDUMP_ASSERTION_INFO", c)
	case format.StreamCrashpadInfo:
		p.crashpad(c)
	case format.StreamMacCrashInfo:
		p.macCrashInfo()
	case format.StreamMacBootArgs:
		record[format.MacBootArgs](p, "MINIDUMP_MAC_BOOTARGS", c)
		if a := p.d.MacBootArgs; a != nil {
			p.line("  (bootargs) = %s", strconv.Quote(*a))
		}
	default:
		p.bytes(s, b)
	}
}

// osName is what the system info says, as far as it could be read.
func (p *printer) osName() any {
	if p.d.System == nil {
		return "unknown"
	}
	return p.d.System.OS
}

// bytes prints streams that are texts, and those that nobody knows.
func (p *printer) bytes(s format.Directory, b []byte) {
	p.title("%s (%#x), %d bytes", s.Type, uint32(s.Type), len(b))
	switch s.Type {
	case format.StreamLinuxCPUInfo, format.StreamLinuxProcStatus, format.StreamLinuxLSBRelease, format.StreamLinuxMaps, format.StreamLinuxProcLimits, format.StreamSoftErrors:
		p.text(b, "\n")
	case format.StreamLinuxCmdLine, format.StreamLinuxEnviron, format.StreamCommentA:
		p.text(b, "\x00")
	case format.StreamCommentW:
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = p.d.Order.Uint16(b[2*i:])
		}
		p.line("  %s", quoteUTF16(units))
	case format.StreamLinuxAuxv:
		p.auxv(b)
	default:
		if p.left < uint64(len(b)) {
			p.line("  (left out: streams share more bytes than the file has)")
			return
		}
		p.left -= uint64(len(b))
		p.hexdump(uint64(s.Location.RVA), b)
	}
}

// broken says that a record ended too early.
func (p *printer) broken(c *format.Cursor) {
	if at, failed := c.Failed(); failed {
		p.line("  (breaks off at byte %#x of the stream)", at)
	}
}

// record prints a stream of one record.
func record[T any](p *printer, name string, c *format.Cursor) {
	var r T
	c.Record(&r)
	p.title("%s", name)
	p.pairs(fields("", r))
	p.broken(c)
}

// heading is how a list begins.
type heading uint8

const (
	plain    heading = iota // a count of 4 bytes, perhaps 4 of padding
	extended                // sizes of the header and of an entry, and a count, of 4 bytes each
	wide                    // the same with a count of 8 bytes
)

// entries finds the entries of a list: how many it claims, and the bytes of those
// that are there, each of the size given or as the list says.
func (p *printer) entries(b []byte, h heading, size int) (count uint64, rest []byte, each int) {
	c := format.NewCursor(b, p.d.Order)
	if h == plain {
		count = uint64(c.U32())
		if rest := len(b) - 4; count <= uint64(len(b)) && rest == int(count)*size+4 {
			c.Skip(4)
		}
		return count, c.Bytes(c.Left()), size
	}
	head, each := c.U32(), int(c.U32())
	if h == wide {
		count = c.U64()
	} else {
		count = uint64(c.U32())
	}
	if uint64(head) > uint64(len(b)) || each < size {
		return count, nil, size
	}
	return count, b[head:], each
}

// list prints the entries of a list.
func list[T any](p *printer, name, entry string, b []byte, h heading, size int, show func(*T) []pair, more func(*T)) {
	count, rest, each := p.entries(b, h, size)
	p.title("%s: %d entries", name, count)
	for i := uint64(0); i < count && p.err == nil; i++ {
		if len(rest) < size {
			p.line("  (the other %d are not in the stream)", count-i)
			return
		}
		var r T
		format.NewCursor(rest, p.d.Order).Record(&r)
		p.title("%s[%d]", entry, i)
		p.pairs(show(&r))
		if more != nil {
			more(&r)
		}
		rest = rest[min(each, len(rest)):]
	}
}

// thread is MINIDUMP_THREAD.
type thread struct {
	ThreadID, SuspendCount  uint32
	PriorityClass, Priority uint32
	TEB                     uint64
	Stack                   format.MemoryDescriptor
	ThreadContext           format.Location
}

func (p *printer) threads(b []byte) {
	list(p, "ThreadList", "MINIDUMP_THREAD", b, plain, format.ThreadSize, func(t *thread) []pair {
		all := fields("", *t)
		if i, ok := p.d.ThreadByID(t.ThreadID); ok && p.d.Threads[i].HasName {
			all = append(all, pair{"(name)", strconv.Quote(p.d.Threads[i].Name)})
		}
		return all
	}, func(t *thread) {
		p.context(t.ThreadContext)
		if t.Stack.Memory.Size > 0 && !p.brief {
			p.line("  (stack)")
		}
		p.memory(t.Stack.Start, uint64(t.Stack.Memory.RVA), uint64(t.Stack.Memory.Size))
	})
}

func (p *printer) threadNames(b []byte) {
	type name struct {
		ThreadID uint32
		NameRVA  [8]byte // not aligned
	}
	list(p, "ThreadNames", "MINIDUMP_THREAD_NAME", b, plain, format.ThreadNameSize, func(n *name) []pair {
		rva := p.d.Order.Uint64(n.NameRVA[:])
		return []pair{{"thread_id", hexNumber(uint64(n.ThreadID))}, {"rva_of_thread_name", hexNumber(rva)}, {"(thread_name)", p.utf16At(rva)}}
	}, nil)
}

// module prints a module and what names its symbols.
func (p *printer) module(m *format.Module) []pair {
	all := append(fields("", *m), pair{"(name)", p.utf16At(uint64(m.NameRVA))})
	all = append(all, p.codeView(m.CodeView)...)
	if i, ok := p.d.ModuleAt(m.Base); ok && p.d.Modules[i].Base == m.Base {
		k := &p.d.Modules[i]
		all = append(all, pair{"(debug_id)", k.DebugID}, pair{"(code_id)", k.CodeID}, pair{"(version)", clean(k.Version)})
	}
	if m.Misc.Size > 0 {
		if b, why := p.at(m.Misc, maxRecord); b == nil {
			all = append(all, pair{"(misc_record)", why})
		} else {
			all = append(all, pair{"(misc_record)", hex.EncodeToString(b)})
		}
	}
	return all
}

// maxRecord is the most of a record of unknown content that is printed.
const maxRecord = 4 << 10

// codeView prints the record that names a module's debug file.
func (p *printer) codeView(l format.Location) []pair {
	const name = "(cv_record)"
	if l.Size == 0 {
		return nil
	}
	b, why := p.at(l, maxRecord)
	if b == nil {
		return []pair{{name, why}}
	}
	c := format.NewCursor(b, p.d.Order)
	kind := c.U32()
	all := []pair{{name + ".cv_signature", hexNumber(uint64(kind))}}
	switch kind {
	case format.CodeViewPDB70:
		var g format.GUID
		c.Record(&g)
		all = append(all, pair{name + ".signature", guid(g)}, pair{name + ".age", fmt.Sprint(c.U32())}, pair{name + ".pdb_file_name", quoted(c.Bytes(c.Left()))})
	case format.CodeViewPDB20:
		all = append(all, pair{name + ".cv_offset", hexNumber(uint64(c.U32()))}, pair{name + ".signature", hexNumber(uint64(c.U32()))},
			pair{name + ".age", fmt.Sprint(c.U32())}, pair{name + ".pdb_file_name", quoted(c.Bytes(c.Left()))})
	case format.CodeViewELF:
		all = append(all, pair{name + ".build_id", hex.EncodeToString(c.Bytes(c.Left()))})
	default:
		return append(all, pair{name + ".bytes", hex.EncodeToString(b)})
	}
	if _, failed := c.Failed(); failed {
		all = append(all, pair{name, "(breaks off)"})
	}
	return all
}

// quoted is a text that ends with a zero, or with its room.
func quoted(b []byte) string {
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	return strconv.Quote(string(b))
}

func (p *printer) memory64(b []byte) {
	c := format.NewCursor(b, p.d.Order)
	count, rva := c.U64(), c.U64()
	p.title("Memory64List: %d entries, memory from %#x on", count, rva)
	for i := uint64(0); i < count && p.err == nil; i++ {
		if c.Left() < format.MemoryDescriptor64Size {
			p.line("  (the other %d are not in the stream)", count-i)
			return
		}
		var m format.MemoryDescriptor64
		c.Record(&m)
		p.title("MINIDUMP_MEMORY_DESCRIPTOR64[%d]", i)
		p.pairs(append(fields("", m), pair{"(rva)", hexNumber(rva)}))
		p.memory(m.Start, rva, m.Size)
		rva += m.Size
	}
}

func (p *printer) handles(b []byte) {
	if p.d.Handles == nil {
		p.title("HandleDataStream, %d bytes", len(b))
		p.line("  (broken)")
		return
	}
	p.title("HandleDataStream: %d entries", p.d.Handles.Len())
	i := 0
	for h := range p.d.Handles.All() {
		if p.err != nil {
			return
		}
		p.title("MINIDUMP_HANDLE_DESCRIPTOR[%d]", i)
		all := fields("", h.Raw)
		if h.HasType {
			all = append(all, pair{"(type_name)", strconv.Quote(h.Type)})
		}
		if h.HasObject {
			all = append(all, pair{"(object_name)", strconv.Quote(h.Object)})
		}
		p.pairs(all)
		i++
	}
}
