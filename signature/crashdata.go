package signature

import (
	"encoding/json"
	"strings"

	"mayday/signature/python"
)

// FromCrashData reads crash data, the JSON object that signatures are made
// from, as package encoding/json decodes it. Values of the wrong kind in any
// place are taken as Python would take them, or as absent where Python would
// fail. It never fails itself.
func FromCrashData(data map[string]any) Input {
	in := Input{
		Reason:                   text(data["reason"]),
		OS:                       text(data["os"]),
		JSLargeAllocationFailure: text(data["js_large_allocation_failure"]),
		AbortMessage:             text(data["abort_message"]),
		IPCChannelError:          text(data["ipc_channel_error"]),
		IPCMessageName:           printed(data["ipc_message_name"]),
		StackwalkStatus:          printed(data["mdsw_status_string"]),
		Threads:                  threads(data["threads"]),
	}
	if n, ok := python.Int(data["crashing_thread"]); ok {
		in.CrashingThread = int(n)
	}
	in.setHang(data["hang"])
	in.setSize(data["oom_allocation_size"])
	in.setShutdown(data["async_shutdown_timeout"])
	in.setDumps(data["additional_minidumps"])
	in.setJava(data["java_stack_trace"], data["java_exception"])
	return in
}

// text is v when it is a string, else empty.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// printed is the text of v, empty when Python takes v for false.
func printed(v any) string {
	if !python.Truthy(v) {
		return ""
	}
	return python.Str(v)
}

func (in *Input) setHang(v any) {
	if v != nil {
		s := python.Str(v)
		in.Hang = &s
	}
}

func (in *Input) setJava(stack, value any) {
	if python.Truthy(stack) {
		s, ok := stack.(string)
		in.JavaStackTrace, in.JavaStackTraceMalformed = s, !ok
	}
	if python.Truthy(value) {
		in.JavaException = exception(value)
	}
}

func (in *Input) setSize(v any) {
	if v == nil {
		return
	}
	in.odd.oomTruthy = python.Truthy(v)
	if n, ok := python.Int(v); ok {
		in.OOMAllocationSize = &n
		return
	}
	if s, ok := v.(string); ok {
		in.odd.oomError = "invalid literal for int() with base 10: " + python.Repr(s)
	} else {
		in.odd.oomError = "int() argument must be a string, a bytes-like object or a real number, not '" + python.TypeName(v) + "'"
	}
}

func (in *Input) setShutdown(v any) {
	if s, ok := v.(string); ok {
		in.AsyncShutdownTimeout = s
	} else if python.Truthy(v) {
		in.odd.asyncError = "the JSON object must be python.Str, bytes or bytearray, not " + python.TypeName(v)
	}
}

func (in *Input) setDumps(v any) {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, browserDump) {
			in.AdditionalMinidumps = []string{browserDump}
		}
	case []any:
		for _, d := range v {
			if s, ok := d.(string); ok {
				in.AdditionalMinidumps = append(in.AdditionalMinidumps, s)
			}
		}
	case []string:
		in.AdditionalMinidumps = v
	case map[string]any:
		for k := range v {
			in.AdditionalMinidumps = append(in.AdditionalMinidumps, k)
		}
	}
}

func threads(v any) []Thread {
	list := items(v)
	if len(list) == 0 {
		return nil
	}
	out := make([]Thread, len(list))
	for i, e := range list {
		m, _ := e.(map[string]any)
		out[i] = Thread{Frames: frames(m["frames"]), LastError: text(m["last_error_value"])}
	}
	return out
}

// items is v as a list; lists of objects come in two Go types.
func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = e
		}
		return out
	}
	return nil
}

func frames(v any) []Frame {
	list := items(v)
	if len(list) == 0 {
		return nil
	}
	// More frames than take part are not worth reading. Each counts for at
	// least one, so the bound is safe.
	if len(list) > maxFrames {
		list = list[:maxFrames]
	}
	out := make([]Frame, len(list))
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			continue // counts as an empty frame
		}
		f := &out[i]
		f.Function = text(m["function"])
		f.File = text(m["file"])
		f.Line, f.lineTruth = lineOf(m["line"])
		f.Module = text(m["module"])
		f.Offset = text(m["offset"])
		f.ModuleOffset = text(m["module_offset"])
		f.UnloadedModules = unloaded(m["unloaded_modules"])
		f.Inlines = inlines(m["inlines"])
	}
	return out
}

func inlines(v any) []Inline {
	list := items(v)
	if len(list) == 0 {
		return nil
	}
	if len(list) > maxFrames {
		list = list[:maxFrames]
	}
	out := make([]Inline, len(list))
	for i, e := range list {
		m, _ := e.(map[string]any)
		out[i] = Inline{Function: text(m["function"]), File: text(m["file"])}
		out[i].Line, out[i].lineTruth = lineOf(m["line"])
	}
	return out
}

// unloaded reads the first unloaded module, the only one that shows.
func unloaded(v any) []string {
	list := items(v)
	if len(list) == 0 {
		return nil
	}
	m, _ := list[0].(map[string]any)
	return []string{python.Str(m["module"])}
}

// lineOf reads a line number. Zero is no line, the text "0" is one.
func lineOf(v any) (line string, t truth) {
	switch v := v.(type) {
	case nil:
		return "", byValue
	case json.Number:
		if n, ok := python.ParseNumber(string(v)); ok && n.Whole != "" {
			return n.Whole, byValue
		}
	}
	if python.Truthy(v) {
		return python.Str(v), always
	}
	return python.Str(v), never
}

// exception reads the first value of a Java exception.
func exception(v any) *JavaException {
	m, _ := v.(map[string]any)
	m, _ = m["exception"].(map[string]any)
	values := items(m["values"])
	if len(values) == 0 {
		return &JavaException{Malformed: true}
	}
	m, _ = values[0].(map[string]any)
	m, _ = m["stacktrace"].(map[string]any)
	if len(m) == 0 {
		return &JavaException{Malformed: true}
	}
	e := &JavaException{Type: "Unknown", Module: printed(m["module"])}
	if t, ok := m["type"]; ok {
		e.Type = python.Str(t)
		if !python.Truthy(t) {
			e.Module = "" // upstream joins the two only when both are there
		}
	}
	for _, f := range items(m["frames"]) {
		m, _ := f.(map[string]any)
		e.Frames = append(e.Frames, JavaFrame{
			Module: printed(m["module"]), Function: printed(m["function"]), File: printed(m["filename"])})
		break // no more than the first shows
	}
	return e
}
