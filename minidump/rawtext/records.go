package rawtext

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"mayday/minidump"
	"mayday/minidump/format"
)

// exception prints why the dump was written.
func (p *printer) exception(c *format.Cursor) {
	var e format.Exception
	c.Record(&e)
	p.title("MINIDUMP_EXCEPTION_STREAM")
	p.pairs(fields("", e))
	p.broken(c)
	p.context(e.Context)
}

// misc prints as many of the parts of MINIDUMP_MISC_INFO as the record has.
func (p *printer) misc(c *format.Cursor) {
	record[format.MiscInfo](p, "MINIDUMP_MISC_INFO", c)
	part(p, "MINIDUMP_MISC_INFO_2", c, func(m format.MiscInfo2) []pair { return fields("", m) })
	part(p, "MINIDUMP_MISC_INFO_3", c, func(m format.MiscInfo3) []pair { return fields("", m) })
	part(p, "MINIDUMP_MISC_INFO_4", c, func(m format.MiscInfo4) []pair { return fields("", m) })
	part(p, "MINIDUMP_MISC_INFO_5", c, func(m format.MiscInfo5) []pair { return fields("", m) })
}

// part prints a part of a record if all of it is there.
func part[T any](p *printer, name string, c *format.Cursor, show func(T) []pair) {
	var r T
	if c.Left() < binary.Size(r) {
		return
	}
	c.Record(&r)
	p.line("  (%s)", name)
	p.pairs(show(r))
}

// crashpad prints Crashpad's ids and annotations.
func (p *printer) crashpad(c *format.Cursor) {
	record[format.CrashpadInfo](p, "MINIDUMP_CRASHPAD_INFO", c)
	info := p.d.Crashpad
	if info == nil {
		return
	}
	p.annotations("simple_annotations", info.Annotations)
	for _, m := range info.Modules {
		p.title("MINIDUMP_MODULE_CRASHPAD_INFO of module %d", m.Module)
		for i, text := range m.List {
			p.line("  list_annotations[%d] = %s", i, strconv.Quote(text))
		}
		p.annotations("simple_annotations", m.Simple)
		p.annotations("annotation_objects", m.Objects)
	}
}

func (p *printer) annotations(kind string, list []minidump.Annotation) {
	for _, a := range list {
		value := strconv.Quote(a.Value)
		if a.Type > format.CrashpadAnnotationString {
			value += fmt.Sprintf(" (type %#x)", a.Type)
		}
		p.line("  %s[%s] = %s", kind, strconv.Quote(a.Name), value)
	}
}

// macCrashInfo prints the notes of macOS libraries.
func (p *printer) macCrashInfo() {
	p.title("MINIDUMP_MAC_CRASH_INFO: %d records", len(p.d.MacCrashInfo))
	for i, r := range p.d.MacCrashInfo {
		p.title("MINIDUMP_MAC_CRASH_INFO_RECORD[%d]", i)
		p.pairs([]pair{
			{"version", fmt.Sprint(r.Version)}, {"thread", hexNumber(r.Thread)}, {"dialog_mode", fmt.Sprint(r.DialogMode)}, {"abort_cause", hexNumber(r.AbortCause)},
			{"module_path", strconv.Quote(r.ModulePath)}, {"message", strconv.Quote(r.Message)}, {"signature_string", strconv.Quote(r.SignatureString)},
			{"backtrace", strconv.Quote(r.Backtrace)}, {"message2", strconv.Quote(r.Message2)},
		})
	}
}

// auxiliary names the entries of Linux' auxiliary vector (getauxval(3)).
var auxiliary = map[uint64]string{
	0: "AT_NULL", 3: "AT_PHDR", 4: "AT_PHENT", 5: "AT_PHNUM", 6: "AT_PAGESZ", 7: "AT_BASE", 8: "AT_FLAGS", 9: "AT_ENTRY", 11: "AT_UID", 12: "AT_EUID", 13: "AT_GID",
	14: "AT_EGID", 15: "AT_PLATFORM", 16: "AT_HWCAP", 17: "AT_CLKTCK", 23: "AT_SECURE", 24: "AT_BASE_PLATFORM", 25: "AT_RANDOM", 26: "AT_HWCAP2", 31: "AT_EXECFN",
	32: "AT_SYSINFO", 33: "AT_SYSINFO_EHDR", 51: "AT_MINSIGSTKSZ",
}

// auxv prints pairs of words.
func (p *printer) auxv(b []byte) {
	word := 8
	if p.d.System != nil {
		word = p.d.System.CPU.PointerSize()
	}
	number := func(b []byte) uint64 {
		if word == 4 {
			return uint64(p.d.Order.Uint32(b))
		}
		return p.d.Order.Uint64(b)
	}
	for ; len(b) >= 2*word; b = b[2*word:] {
		key := number(b)
		name := auxiliary[key]
		if name == "" {
			name = fmt.Sprint(key)
		}
		p.line("  %s = %#x", name, number(b[word:]))
	}
}
