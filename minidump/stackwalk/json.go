package stackwalk

import (
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// JSON writes the state in minidump-stackwalk's schema, with keys in
// alphabetical order; pretty indents it by two spaces.
func (s *State) JSON(w io.Writer, pretty bool) error {
	e := &encoder{width: 2 * s.System.CPU.PointerSize(), w: w}
	if pretty {
		e.w = &indenter{w: w}
	}
	e.state(s)
	e.flush(0, 0)
	return e.err
}

// How many bytes of JSON are usual: of a frame, a module, and all else.
const (
	usualFrame, usualModule, usualRest = 500, 350, 8 << 10
)

// MarshalJSON implements json.Marshaler.
func (s *State) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// AppendJSON adds the compact JSON to b.
func (s *State) AppendJSON(b []byte) []byte {
	e := &encoder{b: slices.Grow(b, usualFrame*s.Frames()+usualModule*len(s.Modules)+usualRest), width: 2 * s.System.CPU.PointerSize()}
	e.state(s)
	return e.b
}

// encoder appends JSON. Each object is opened with open, then come key and
// value pairs, then close.
type encoder struct {
	b     []byte
	w     io.Writer // nil keeps everything in b
	err   error
	width int           // digits of an address
	room  *documentRoom // nil writes everything
}

// flush hands what exceeds limit to the writer, but for the last bytes kept:
// key looks at the last one.
func (e *encoder) flush(limit, kept int) {
	if e.w == nil || len(e.b) <= limit {
		return
	}
	n := len(e.b) - kept
	if e.err == nil {
		_, e.err = e.w.Write(e.b[:n])
	}
	e.b = append(e.b[:0], e.b[n:]...)
}

// maxPending is how much JSON is held before it is written.
const maxPending = 64 << 10

func (e *encoder) key(k string) {
	if c := e.b[len(e.b)-1]; c != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, k...)
	e.b = append(e.b, '"', ':')
}

// part starts a part of the state.
func (e *encoder) part(k string) {
	e.key(k)
	e.room.begin(k, len(e.b))
}

// item separates the elements of an array.
func (e *encoder) item(i int) {
	if i > 0 {
		e.b = append(e.b, ',')
		e.flush(maxPending, 1)
	}
}

func (e *encoder) raw(s string)     { e.b = append(e.b, s...) }
func (e *encoder) null()            { e.raw("null") }
func (e *encoder) boolean(v bool)   { e.b = strconv.AppendBool(e.b, v) }
func (e *encoder) number(v uint64)  { e.b = strconv.AppendUint(e.b, v, 10) }
func (e *encoder) address(v uint64) { e.hex(v, e.width) }

func (e *encoder) hex(v uint64, width int) {
	var digits [16]byte
	n := len(digits)
	for ; v > 0 || n > len(digits)-width; v >>= 4 {
		n--
		digits[n] = "0123456789abcdef"[v&15]
	}
	e.b = append(e.b, '"', '0', 'x')
	e.b = append(e.b, digits[n:]...)
	e.b = append(e.b, '"')
}

// text writes a string; as other writers of this schema do, it escapes what
// JSON demands and nothing else.
func (e *encoder) text(s string) {
	s = e.fit(s)
	e.b = append(e.b, '"')
	for len(s) > maxPending {
		n := maxPending
		for i := 1; i < utf8.UTFMax && !utf8.RuneStart(s[n]); i++ {
			n--
		}
		e.escape(s[:n])
		e.flush(maxPending, 1)
		s = s[n:]
	}
	e.escape(s)
	e.b = append(e.b, '"')
}

func (e *encoder) escape(s string) {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				e.b = append(append(e.b, s[from:i]...), "�"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		e.b = append(e.b, s[from:i]...)
		switch c {
		case '"', '\\':
			e.b = append(e.b, '\\', c)
		case '\n':
			e.raw(`\n`)
		case '\r':
			e.raw(`\r`)
		case '\t':
			e.raw(`\t`)
		case '\b':
			e.raw(`\b`)
		case '\f':
			e.raw(`\f`)
		default:
			e.b = append(e.b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		i++
		from = i
	}
	e.b = append(e.b, s[from:]...)
}

// optional writes a string, null for "".
func (e *encoder) optional(s string) {
	if s == "" {
		e.null()
		return
	}
	e.text(s)
}

// maybe writes a string when have is true.
func (e *encoder) maybe(s string, have bool) {
	if !have {
		e.null()
		return
	}
	e.text(s)
}

func (e *encoder) state(s *State) {
	e.raw("{")
	if s.Assertion != nil {
		e.part("assertion_info")
		e.assertion(s.Assertion)
	}
	e.part("crash_info")
	e.crash(s)
	if t := s.RequestingThread; t >= 0 && len(s.Threads[t].stack().Frames) > 0 {
		e.part("crashing_thread")
		e.thread(s, t, true)
	}
	if s.Crashpad != nil {
		e.part("crashpad")
		e.crashpad(s.Crashpad)
		e.part("crashpad_annotations")
		e.annotations(s.Crashpad.All())
	}
	if len(s.Errors) > 0 {
		e.part("dump_errors")
		e.raw("[")
		for i, x := range s.Errors {
			if e.full(i) {
				break
			}
			e.item(i)
			e.text(x.Error())
		}
		e.raw("]")
	}
	e.part("handles")
	e.handles(s.Handles)
	e.key("linux_memory_map_count")
	if s.MapCount == nil {
		e.null()
	} else {
		e.number(uint64(*s.MapCount))
	}
	e.part("lsb_release")
	e.lsbRelease(s.LSBRelease)
	e.part("mac_boot_args")
	if s.MacBootArgs == nil {
		e.null()
	} else {
		e.text(*s.MacBootArgs)
	}
	e.part("mac_crash_info")
	e.macCrashInfo(s.MacCrashInfo)
	e.key("main_module")
	e.number(0)
	e.part("modules")
	e.modules(s)
	e.key("modules_contains_cert_info")
	e.boolean(len(s.CertSubjects) > 0)
	e.key("pid")
	if s.PID == nil {
		e.null()
	} else {
		e.number(uint64(*s.PID))
	}
	e.part("proc_limits")
	e.limits(s.Limits)
	e.key("process_uptime")
	if s.Uptime == nil {
		e.null()
	} else {
		e.number(uint64(s.Uptime.Seconds()))
	}
	e.key("soft_errors")
	if s.SoftErrors == nil {
		e.null()
	} else {
		e.b = append(e.b, s.SoftErrors...)
	}
	e.key("status")
	e.text("OK")
	e.part("system_info")
	e.system(&s.System)
	e.key("thread_count")
	e.number(uint64(max(s.ThreadCount, len(s.Threads))))
	e.part("threads")
	e.raw("[")
	for i := range s.Threads {
		if e.full(i) {
			break
		}
		e.item(i)
		e.thread(s, i, false)
	}
	e.raw("]")
	if s.Truncated != "" && e.room == nil {
		e.key("truncated")
		e.text(s.Truncated)
	}
	e.part("unloaded_modules")
	e.unloaded(s)
	if e.room != nil {
		if truncated := e.room.note(s.Truncated); truncated != "" {
			e.part("truncated")
			e.text(truncated)
		}
	}
	e.raw("}")
}

func (e *encoder) system(s *SystemInfo) {
	e.raw("{")
	e.key("cpu_arch")
	e.text(s.CPUName)
	e.key("cpu_count")
	e.number(uint64(s.CPUCount))
	e.key("cpu_info")
	e.optional(s.CPUInfo)
	e.key("cpu_microcode_version")
	if s.Microcode == nil {
		e.null()
	} else {
		e.hex(*s.Microcode, 1)
	}
	e.key("os")
	e.text(s.OS)
	e.key("os_ver")
	e.text(s.OSVersion)
	e.raw("}")
}

// thread writes a thread; crashing adds what only the crashing thread has.
func (e *encoder) thread(s *State, i int, crashing bool) {
	t, k := &s.Threads[i], s.Threads[i].stack()
	e.raw("{")
	e.key("frame_count")
	e.number(uint64(len(k.Frames)))
	e.key("frames")
	e.raw("[")
	e.frames(s, k, crashing)
	e.raw("]")
	e.key("last_error_value")
	e.optional(t.LastError())
	e.key("thread_id")
	e.number(uint64(t.ID))
	e.key("thread_name")
	if t.Name == nil {
		e.null()
	} else {
		e.text(*t.Name)
	}
	if crashing {
		e.key("threads_index")
		e.number(uint64(i))
	}
	if k.Truncated != "" {
		e.key("truncated")
		e.text(k.Truncated)
	}
	e.raw("}")
}

// frames writes the frames of a stack; of one that is too long for a document
// both ends.
func (e *encoder) frames(s *State, k *Stack, crashing bool) {
	n := len(k.Frames)
	gone := 0
	if e.room != nil && n > DocumentFrames {
		gone = n - (DocumentFrames - 1)
	}
	written := 0
	for j := 0; j < n; j++ {
		if e.fullInside(written) {
			return
		}
		e.item(written)
		written++
		if gone > 0 && j == DocumentHead {
			e.gone(gone)
			j += gone - 1
			continue
		}
		e.frame(s, k, j, crashing && j == 0)
	}
}

func (e *encoder) frame(s *State, k *Stack, n int, registers bool) {
	f := &k.Frames[n]
	e.raw(`{"file":`)
	e.maybe(f.File, f.HasFile)
	e.raw(`,"frame":`)
	e.number(uint64(n))
	e.raw(`,"function":`)
	e.maybe(f.Function, f.HasFunction)
	e.raw(`,"function_offset":`)
	if f.HasFunction {
		e.address(f.FunctionOffset)
	} else {
		e.null()
	}
	e.raw(`,"inlines":`)
	e.inlines(f.Inlines)
	e.raw(`,"line":`)
	if f.HasLine {
		e.number(uint64(f.Line))
	} else {
		e.null()
	}
	e.raw(`,"missing_symbols":`)
	e.boolean(!f.HasFunction)
	e.raw(`,"module":`)
	if f.Module == unwind.NoModule {
		e.raw(`null,"module_offset":null`)
	} else {
		m := &s.Modules[f.Module]
		e.text(symbols.Leaf(m.Name))
		e.raw(`,"module_offset":`)
		e.address(f.Instruction - m.Base)
	}
	e.raw(`,"offset":`)
	e.address(f.Instruction)
	if registers {
		e.raw(`,"registers":`)
		e.registerValues(s.System.CPU, k.Registers(n))
	}
	e.raw(`,"trust":"`)
	e.raw(f.Trust.String())
	e.raw(`","unloaded_modules":`)
	e.unloadedHits(f.Unloaded)
	e.raw("}")
}

func (e *encoder) inlines(list []symbols.Inline) {
	if len(list) == 0 {
		e.null()
		return
	}
	e.raw("[")
	for i := range list {
		if e.fullInside(i) {
			break
		}
		e.item(i)
		e.raw(`{"file":`)
		e.maybe(list[i].File, list[i].HasFile)
		e.raw(`,"function":`)
		e.text(list[i].Function)
		e.raw(`,"line":`)
		if list[i].HasLine {
			e.number(uint64(list[i].Line))
		} else {
			e.null()
		}
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) unloadedHits(hits []UnloadedHit) {
	if len(hits) == 0 {
		e.null()
		return
	}
	e.raw("[")
	for i, h := range hits {
		if e.fullInside(i) {
			break
		}
		e.item(i)
		e.raw(`{"module":`)
		e.text(h.Name)
		e.raw(`,"offsets":[`)
		for j, o := range h.Offsets {
			if e.fullInside(j) {
				break
			}
			e.item(j)
			e.address(o)
		}
		e.raw("]}")
	}
	e.raw("]")
}

// registerValues writes the known registers in the order of their names.
func (e *encoder) registerValues(cpu format.CPU, known Registers) {
	e.raw("{")
	order := make([]int, cpu.RegisterCount())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareNames(cpu, a, b) })
	for _, r := range order {
		if v, ok := known.Get(register(r)); ok {
			e.key(cpu.RegisterName(register(r)))
			e.hex(v, 2*cpu.RegisterWidth(register(r)))
		}
	}
	e.raw("}")
}

func (e *encoder) modules(s *State) {
	e.raw("[")
	for i := range s.Modules {
		if e.full(i) {
			break
		}
		e.item(i)
		e.module(s, &s.Modules[i])
	}
	e.raw("]")
}

func (e *encoder) module(s *State, m *Module) {
	leaf := symbols.Leaf(m.Name)
	file, id := m.DebugFile, m.DebugID
	if m.Symbols.DebugFile != "" {
		file, id = m.Symbols.DebugFile, m.Symbols.DebugID
	}
	if id == "" {
		id = symbols.NoDebugID
	}
	e.raw("{")
	e.key("base_addr")
	e.address(m.Base)
	e.key("cert_subject")
	subject, ok := s.CertSubjects[leaf]
	e.maybe(subject, ok)
	e.key("code_id")
	e.text(m.CodeID)
	e.key("corrupt_symbols")
	e.boolean(m.Symbols.Corrupt)
	e.key("debug_file")
	e.text(symbols.Leaf(file))
	e.key("debug_id")
	e.text(id)
	e.key("end_addr")
	e.address(m.Base + m.Size)
	e.key("filename")
	e.text(leaf)
	if m.Binary {
		e.key("loaded_binary")
		e.boolean(true)
	}
	e.key("loaded_symbols")
	e.boolean(m.Symbols.Loaded)
	e.key("missing_symbols")
	e.boolean(m.Symbols.Missing)
	if m.Symbols.Error != "" {
		e.key("symbol_error")
		e.text(m.Symbols.Error)
	}
	if m.Symbols.Corrupt {
		e.key("symbol_problems")
		e.problems(&m.Symbols.Verdict)
	}
	e.key("symbol_url")
	e.optional(m.Symbols.URL)
	e.key("version")
	e.optional(m.Version)
	e.raw("}")
}

func (e *encoder) unloaded(s *State) {
	e.raw("[")
	for i := range s.Unloaded.Len() {
		if e.full(i) {
			break
		}
		u := s.Unloaded.At(i)
		e.item(i)
		e.raw("{")
		e.key("base_addr")
		e.address(u.Base)
		e.key("cert_subject")
		subject, ok := s.CertSubjects[symbols.Leaf(u.Name)]
		e.maybe(subject, ok)
		e.key("code_id")
		e.text(u.CodeID)
		e.key("end_addr")
		e.address(u.Base + u.Size)
		e.key("filename")
		e.text(u.Name)
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) handles(list *minidump.Handles) {
	if list == nil {
		e.null()
		return
	}
	e.raw("[")
	i := 0
	for h := range list.All() {
		if e.full(i) {
			break
		}
		e.item(i)
		i++
		e.raw("{")
		e.key("handle")
		e.number(h.Raw.Handle)
		e.key("object_name")
		e.maybe(h.Object, h.HasObject)
		e.key("type_name")
		e.maybe(h.Type, h.HasType)
		e.raw("}")
	}
	e.raw("]")
}
