package stackwalk

import (
	"io"
	"slices"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/stackwalk/jsontext"
	"mayday/minidump/stackwalk/machine"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// JSON writes the state in minidump-stackwalk's schema, with keys in
// alphabetical order; pretty indents it by two spaces.
func (s *State) JSON(w io.Writer, pretty bool) error {
	e := &encoder{Writer: jsontext.Writer{W: w}, width: s.System.AddressWidth()}
	if pretty {
		e.W = &jsontext.Indenter{W: w}
	}
	e.state(s)
	e.Flush(0, 0)
	return e.Err
}

// How many bytes of JSON are usual: of a frame, a module, and all else.
const (
	usualFrame, usualModule, usualRest = 500, 350, 8 << 10
)

// MarshalJSON implements json.Marshaler.
func (s *State) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// AppendJSON adds the compact JSON to b.
func (s *State) AppendJSON(b []byte) []byte {
	e := &encoder{Writer: jsontext.Writer{B: slices.Grow(b, usualFrame*s.Frames()+usualModule*len(s.Modules)+usualRest)}, width: s.System.AddressWidth()}
	e.state(s)
	return e.B
}

// encoder appends JSON. Each object is opened with open, then come key and
// value pairs, then close.
type encoder struct {
	jsontext.Writer
	width int           // digits of an address
	room  *documentRoom // nil writes everything
}

// part starts a part of the state.
func (e *encoder) part(k string) {
	e.Key(k)
	e.room.begin(k, len(e.B))
}

func (e *encoder) address(v uint64) { e.Hex(v, e.width) }

// text writes a string.
func (e *encoder) text(s string) { e.Text(e.fit(s, documentText)) }

// maybe writes a string when have is true.
func (e *encoder) maybe(s string, have bool) {
	if !have {
		e.Null()
		return
	}
	e.text(s)
}

// pointed writes a string, null for nil.
func (e *encoder) pointed(s *string) {
	if s == nil {
		e.Null()
		return
	}
	e.text(*s)
}

// Pairs of an object.

func (e *encoder) keyText(k, s string) {
	e.Key(k)
	e.text(s)
}

func (e *encoder) keyOptional(k, s string) { e.keyMaybe(k, s, s != "") }

func (e *encoder) keyMaybe(k, s string, have bool) {
	e.Key(k)
	e.maybe(s, have)
}

func (e *encoder) keyNumber(k string, v uint64) {
	e.Key(k)
	e.Number(v)
}

func (e *encoder) keyAddress(k string, v uint64) {
	e.Key(k)
	e.address(v)
}

func (e *encoder) keyBoolean(k string, v bool) {
	e.Key(k)
	e.Boolean(v)
}

// keyPositive writes null for 0.
func (e *encoder) keyPositive(k string, v uint64) {
	e.Key(k)
	if v == 0 {
		e.Null()
		return
	}
	e.Number(v)
}

// keyCount writes null for nil.
func keyCount[T int | uint32](e *encoder, k string, v *T) {
	e.Key(k)
	if v == nil {
		e.Null()
		return
	}
	e.Number(uint64(*v))
}

// list writes an array of n entries, or of as many as there is room for.
func (e *encoder) list(n int, one func(i int)) {
	e.Raw("[")
	for i := 0; i < n && !e.full(i); i++ {
		e.Item(i)
		one(i)
	}
	e.Raw("]")
}

func (e *encoder) state(s *State) {
	e.Raw("{")
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
		e.list(len(s.Errors), func(i int) { e.text(s.Errors[i].Error()) })
	}
	e.part("handles")
	e.handles(s.Handles)
	keyCount(e, "linux_memory_map_count", s.MapCount)
	e.part("lsb_release")
	e.lsbRelease(s.LSBRelease)
	e.part("mac_boot_args")
	e.pointed(s.MacBootArgs)
	e.part("mac_crash_info")
	e.macCrashInfo(s.MacCrashInfo)
	e.keyNumber("main_module", 0)
	e.part("modules")
	e.list(len(s.Modules), func(i int) { e.module(s, &s.Modules[i]) })
	e.keyBoolean("modules_contains_cert_info", len(s.CertSubjects) > 0)
	keyCount(e, "pid", s.PID)
	e.part("proc_limits")
	e.limits(s.Limits)
	e.Key("process_uptime")
	if s.Uptime == nil {
		e.Null()
	} else {
		e.Number(uint64(s.Uptime.Seconds()))
	}
	e.Key("soft_errors")
	if s.SoftErrors == nil {
		e.Null()
	} else {
		e.B = append(e.B, s.SoftErrors...)
	}
	e.keyText("status", "OK")
	e.part("system_info")
	e.system(&s.System)
	e.keyNumber("thread_count", uint64(max(s.ThreadCount, len(s.Threads))))
	e.part("threads")
	e.list(len(s.Threads), func(i int) { e.thread(s, i, false) })
	if s.Truncated != "" && e.room == nil {
		e.keyText("truncated", s.Truncated)
	}
	e.part("unloaded_modules")
	e.unloaded(s)
	if e.room != nil {
		if truncated := e.room.note(s.Truncated); truncated != "" {
			e.part("truncated")
			e.text(truncated)
		}
	}
	e.Raw("}")
}

func (e *encoder) system(s *machine.Info) {
	e.Raw("{")
	e.keyText("cpu_arch", s.CPUName)
	e.keyNumber("cpu_count", uint64(s.CPUCount))
	e.keyOptional("cpu_info", s.CPUInfo)
	e.Key("cpu_microcode_version")
	if s.Microcode == nil {
		e.Null()
	} else {
		e.Hex(*s.Microcode, 1)
	}
	e.keyText("os", s.OS)
	e.keyText("os_ver", s.OSVersion)
	e.Raw("}")
}

// thread writes a thread; crashing adds what only the crashing thread has.
func (e *encoder) thread(s *State, i int, crashing bool) {
	t, k := &s.Threads[i], s.Threads[i].stack()
	e.Raw("{")
	e.keyNumber("frame_count", uint64(len(k.Frames)))
	e.Key("frames")
	e.Raw("[")
	e.frames(s, k, crashing)
	e.Raw("]")
	e.keyOptional("last_error_value", t.LastError())
	e.keyNumber("thread_id", uint64(t.ID))
	e.Key("thread_name")
	e.pointed(t.Name)
	if crashing {
		e.keyNumber("threads_index", uint64(i))
	}
	if k.Truncated != "" {
		e.keyText("truncated", k.Truncated)
	}
	e.Raw("}")
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
		e.Item(written)
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
	f, from := &k.Frames[n], len(e.B)
	e.Raw(`{"file":`)
	e.maybe(f.File, f.HasFile)
	e.Raw(`,"frame":`)
	e.Number(uint64(n))
	e.Raw(`,"function":`)
	e.maybe(f.Function, f.HasFunction)
	e.Raw(`,"function_offset":`)
	if f.HasFunction {
		e.address(f.FunctionOffset)
	} else {
		e.Null()
	}
	e.Raw(`,"inlines":`)
	e.inlines(f.Inlines)
	e.Raw(`,"line":`)
	if f.HasLine {
		e.Number(uint64(f.Line))
	} else {
		e.Null()
	}
	e.Raw(`,"missing_symbols":`)
	e.Boolean(!f.HasFunction)
	e.Raw(`,"module":`)
	if f.Module == unwind.NoModule {
		e.Raw(`null,"module_offset":null`)
	} else {
		m := &s.Modules[f.Module]
		e.Text(e.fit(symbols.Leaf(m.Name), documentLeaf))
		e.Raw(`,"module_offset":`)
		e.address(f.Instruction - m.Base)
	}
	e.Raw(`,"offset":`)
	e.address(f.Instruction)
	if registers {
		e.Raw(`,"registers":`)
		e.registerValues(s.System.CPU, k.Registers(n))
	}
	e.Raw(`,"trust":"`)
	e.Raw(f.Trust.String())
	e.Raw(`","unloaded_modules":`)
	e.unloadedHits(f.Unloaded)
	e.Raw("}")
	e.charge(from, usualFrame)
}

func (e *encoder) inlines(list []symbols.Inline) {
	if len(list) == 0 {
		e.Null()
		return
	}
	e.Raw("[")
	for i := range list {
		if e.fullInside(i) {
			break
		}
		e.Item(i)
		e.Raw(`{"file":`)
		e.maybe(list[i].File, list[i].HasFile)
		e.Raw(`,"function":`)
		e.text(list[i].Function)
		e.Raw(`,"line":`)
		if list[i].HasLine {
			e.Number(uint64(list[i].Line))
		} else {
			e.Null()
		}
		e.Raw("}")
	}
	e.Raw("]")
}

func (e *encoder) unloadedHits(hits []UnloadedHit) {
	if len(hits) == 0 {
		e.Null()
		return
	}
	e.Raw("[")
	for i, h := range hits {
		if e.fullInside(i) {
			break
		}
		e.Item(i)
		from := len(e.B)
		e.Raw(`{"module":`)
		e.text(h.Name)
		e.Raw(`,"offsets":[`)
		for j, o := range h.Offsets {
			if e.fullInside(j) {
				break
			}
			e.Item(j)
			e.address(o)
		}
		e.Raw("]}")
		e.charge(from, usualHit)
	}
	e.Raw("]")
}

// registerValues writes the known registers in the order of their names.
func (e *encoder) registerValues(cpu format.CPU, known Registers) {
	e.Raw("{")
	order := make([]int, cpu.RegisterCount())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareNames(cpu, a, b) })
	for _, r := range order {
		if v, ok := known.Get(register(r)); ok {
			e.Key(cpu.RegisterName(register(r)))
			e.Hex(v, 2*cpu.RegisterWidth(register(r)))
		}
	}
	e.Raw("}")
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
	e.Raw("{")
	e.keyAddress("base_addr", m.Base)
	e.Key("cert_subject")
	subject, ok := s.CertSubjects[leaf]
	e.maybe(subject, ok)
	e.keyText("code_id", m.CodeID)
	e.keyBoolean("corrupt_symbols", m.Symbols.Corrupt)
	e.keyText("debug_file", symbols.Leaf(file))
	e.keyText("debug_id", id)
	e.keyAddress("end_addr", m.Base+m.Size)
	e.keyText("filename", leaf)
	if m.Binary {
		e.keyBoolean("loaded_binary", true)
	}
	e.keyBoolean("loaded_symbols", m.Symbols.Loaded)
	e.keyBoolean("missing_symbols", m.Symbols.Missing)
	if m.Symbols.Error != "" {
		e.keyText("symbol_error", m.Symbols.Error)
	}
	if m.Symbols.Corrupt {
		e.Key("symbol_problems")
		e.problems(&m.Symbols.Verdict)
	}
	e.keyOptional("symbol_url", m.Symbols.URL)
	e.keyOptional("version", m.Version)
	e.Raw("}")
}

func (e *encoder) unloaded(s *State) {
	e.list(s.Unloaded.Len(), func(i int) {
		u := s.Unloaded.At(i)
		subject, ok := s.CertSubjects[u.Name]
		e.Raw("{")
		e.keyAddress("base_addr", u.Base)
		e.keyMaybe("cert_subject", subject, ok)
		e.keyText("code_id", u.CodeID)
		e.keyAddress("end_addr", u.Base+u.Size)
		e.keyText("filename", u.Name)
		e.Raw("}")
	})
}

func (e *encoder) handles(list *minidump.Handles) {
	if list == nil {
		e.Null()
		return
	}
	e.Raw("[")
	i := 0
	for h := range list.All() {
		if e.full(i) {
			break
		}
		e.Item(i)
		i++
		e.Raw("{")
		e.keyNumber("handle", h.Raw.Handle)
		e.keyMaybe("object_name", h.Object, h.HasObject)
		e.keyMaybe("type_name", h.Type, h.HasType)
		e.Raw("}")
	}
	e.Raw("]")
}
