package signature

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/signature/python"
)

// Processed crashes run to megabytes, of which a signature reads some ten
// texts and one or two threads. So the document is not decoded: its values are
// skipped at the speed of a search for quotes, and only what is asked for is
// looked at again. Skipping is lenient: it follows strings and brackets, and
// whatever stands between them counts as a value. No step recurses.

// skipSpace finds the next byte that is no JSON white space.
func skipSpace(s string, at int) int {
	for at < len(s) && (s[at] == ' ' || s[at] == '\n' || s[at] == '\t' || s[at] == '\r') {
		at++
	}
	return at
}

// skipString finds the end of the string that begins at s[at]; -1 when it has
// none.
func skipString(s string, at int) int {
	for at++; ; {
		i := strings.IndexByte(s[at:], '"')
		if i < 0 {
			return -1
		}
		end := at + i
		back := end
		for back > at && s[back-1] == '\\' {
			back--
		}
		if (end-back)%2 == 0 {
			return end + 1
		}
		at = end + 1
	}
}

// skipValue finds the end of the value that begins at s[at]; -1 when it has
// none.
func skipValue(s string, at int) int {
	if at >= len(s) {
		return -1
	}
	switch s[at] {
	case '"':
		return skipString(s, at)
	case '{', '[':
	default:
		from := at
		for at < len(s) && !structural[s[at]] {
			at++
		}
		if at == from {
			return -1
		}
		return at
	}
	depth := 0
	for at < len(s) {
		switch s[at] {
		case '"':
			if at = skipString(s, at); at < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return at + 1
			}
		}
		at++
	}
	return -1
}

// structural marks the bytes that end a number or a word.
var structural = [256]bool{',': true, ']': true, '}': true, '[': true, '{': true, ':': true, '"': true, ' ': true, '\n': true, '\t': true, '\r': true}

// eachField calls f with the fields of the object s; false when s is none.
func eachField(s string, f func(key, value string)) bool {
	at := skipSpace(s, 0)
	if at >= len(s) || s[at] != '{' {
		return false
	}
	at = skipSpace(s, at+1)
	if at < len(s) && s[at] == '}' {
		return true
	}
	for at < len(s) && s[at] == '"' {
		end := skipString(s, at)
		if end < 0 {
			return false
		}
		key := s[at+1 : end-1]
		if strings.IndexByte(key, '\\') >= 0 {
			key = unquote(s[at:end])
		}
		at = skipSpace(s, end)
		if at >= len(s) || s[at] != ':' {
			return false
		}
		at = skipSpace(s, at+1)
		end = skipValue(s, at)
		if end < 0 {
			return false
		}
		f(key, s[at:end])
		at = skipSpace(s, end)
		if at >= len(s) || s[at] == '}' {
			return at < len(s)
		}
		if s[at] != ',' {
			return false
		}
		at = skipSpace(s, at+1)
	}
	return false
}

// eachItem calls f with the items of the array s until it returns false.
func eachItem(s string, f func(value string) bool) {
	at := skipSpace(s, 0)
	if at >= len(s) || s[at] != '[' {
		return
	}
	for at = skipSpace(s, at+1); at < len(s) && s[at] != ']'; {
		end := skipValue(s, at)
		if end < 0 || !f(s[at:end]) {
			return
		}
		at = skipSpace(s, end)
		if at < len(s) && s[at] == ',' {
			at = skipSpace(s, at+1)
		}
	}
}

// unquote is the text of a JSON string; what is none gives "".
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' {
		return ""
	}
	body := s[1 : len(s)-1]
	if strings.IndexByte(body, '\\') < 0 && utf8.ValidString(body) {
		return body
	}
	var out string
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		// Python takes control characters in strings for an error, too.
		return strings.ToValidUTF8(body, "\uFFFD")
	}
	return out
}

// decode is the value of JSON text as FromCrashData takes it; nil for what Go
// cannot decode.
func decode(s string) any {
	if s == "" || s == "null" {
		return nil
	}
	if s[0] == '"' {
		return unquote(s)
	}
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return v
}

// Record is a crash as files and answers hold it.
type Record struct {
	// ID is the crash's id, or the JSON text that an "id" beside an "input"
	// holds; empty when there is none.
	ID string
	// Original is the signature it has now.
	Original string
	// Product and Date are those of a processed crash.
	Product string
	Date    string
	Input   Input
}

// ParseRecord reads one crash: crash data, a processed crash, or either of
// them as "input" beside an "id". It fails only when data is no JSON object.
// Threads that signatures do not look at are left empty.
func ParseRecord(data []byte) (Record, error) {
	s := string(bytes.TrimSpace(data))
	var r Record
	var id, input string
	top := raw{}
	ok := eachField(s, func(key, value string) {
		switch key {
		case "id":
			id = value
		case "input":
			input = value
		}
		top.take(key, value)
	})
	if !ok {
		return r, fault.New(fault.Malformed, "no JSON object: %.40q", s)
	}
	r.ID = id
	if input != "" {
		top = raw{}
		eachField(input, top.take)
	}
	if id == "" {
		r.ID = unquote(top.uuid)
	}
	r.Product, r.Date = unquote(top.product), unquote(top.date)
	if top.dump != "" {
		top.fromDump()
		r.Original = unquote(top.signature)
	} else if r.Original = unquote(top.original); top.original == "" {
		r.Original = unquote(top.signature)
	}
	r.Input = top.input()
	return r, nil
}

// raw holds the JSON texts of the values that signatures are made of.
type raw struct {
	uuid, product, date, signature, original, dump                                          string
	thread, reason, os, threads, oom, js, abort, mdsw, async, channel, message, dumps, hang string
	javaStack, javaException                                                                string
}

func (r *raw) take(key, value string) {
	switch key {
	case "uuid", "crash_id":
		r.uuid = value
	case "product":
		r.product = value
	case "date_processed":
		r.date = value
	case "signature":
		r.signature = value
	case "original_signature":
		r.original = value
	case "json_dump":
		r.dump = value
	case "crashing_thread":
		r.thread = value
	case "reason":
		r.reason = value
	case "os":
		r.os = value
	case "threads":
		r.threads = value
	case "oom_allocation_size":
		r.oom = value
	case "js_large_allocation_failure":
		r.js = value
	case "abort_message":
		r.abort = value
	case "mdsw_status_string":
		r.mdsw = value
	case "async_shutdown_timeout":
		r.async = value
	case "ipc_channel_error":
		r.channel = value
	case "ipc_message_name":
		r.message = value
	case "additional_minidumps":
		r.dumps = value
	case "hang":
		r.hang = value
	case "java_stack_trace":
		r.javaStack = value
	case "java_exception":
		r.javaException = value
	}
}

// fromDump takes what a processed crash keeps in the stackwalker's output: its
// fields of the same name at the top are others.
func (r *raw) fromDump() {
	r.thread, r.reason, r.os, r.threads = "", "", "", ""
	if n, ok := python.Int(decode(r.oom)); ok {
		r.oom = strconv.FormatInt(n, 10)
	} else {
		r.oom = ""
	}
	eachField(r.dump, func(key, value string) {
		switch key {
		case "threads":
			r.threads = value
		case "crash_info":
			r.thread, r.reason = "", ""
			eachField(value, func(key, value string) {
				switch key {
				case "crashing_thread":
					r.thread = value
				case "type":
					r.reason = value
				}
			})
		case "system_info":
			r.os = ""
			eachField(value, func(key, value string) {
				if key == "os" {
					r.os = value
				}
			})
		}
	})
}

// input converts the texts. Values that are mostly absent go the way of
// FromCrashData, so that both read them alike.
func (r *raw) input() Input {
	in := Input{
		Reason:                   unquote(r.reason),
		OS:                       unquote(r.os),
		JSLargeAllocationFailure: unquote(r.js),
		AbortMessage:             unquote(r.abort),
		IPCChannelError:          unquote(r.channel),
		IPCMessageName:           printed(decode(r.message)),
		StackwalkStatus:          printed(decode(r.mdsw)),
	}
	in.setHang(decode(r.hang))
	in.setSize(decode(r.oom))
	in.setShutdown(decode(r.async))
	in.setDumps(decode(r.dumps))
	in.setJava(decode(r.javaStack), decode(r.javaException))
	if n, ok := python.Int(decode(r.thread)); ok {
		in.CrashingThread = int(n)
	}
	in.Threads = scanThreads(r.threads, in.CrashingThread)
	return in
}

// scanThreads reads the crashing thread and the first, which is the one the
// watchdog rule looks at.
func scanThreads(s string, crashing int) []Thread {
	var texts []string
	eachItem(s, func(value string) bool {
		texts = append(texts, value)
		return true
	})
	if len(texts) == 0 {
		return nil
	}
	if crashing < 0 {
		crashing += len(texts)
	}
	out := make([]Thread, len(texts))
	out[0] = scanThread(texts[0])
	if crashing > 0 && crashing < len(texts) {
		out[crashing] = scanThread(texts[crashing])
	}
	return out
}

func scanThread(s string) Thread {
	var t Thread
	eachField(s, func(key, value string) {
		switch key {
		case "last_error_value":
			t.LastError = unquote(value)
		case "frames":
			t.Frames = nil
			eachItem(value, func(value string) bool {
				t.Frames = append(t.Frames, scanFrame(value))
				return len(t.Frames) < maxFrames
			})
		}
	})
	return t
}

func scanFrame(s string) Frame {
	var f Frame
	eachField(s, func(key, value string) {
		switch key {
		case "function":
			f.Function = unquote(value)
		case "file":
			f.File = unquote(value)
		case "line":
			f.Line, f.lineTruth = scanLine(value)
		case "module":
			f.Module = unquote(value)
		case "offset":
			f.Offset = unquote(value)
		case "module_offset":
			f.ModuleOffset = unquote(value)
		case "unloaded_modules":
			f.UnloadedModules = unloaded(decode(value))
		case "inlines":
			f.Inlines = scanInlines(value)
		}
	})
	return f
}

func scanInlines(s string) []Inline {
	var out []Inline
	eachItem(s, func(value string) bool {
		var i Inline
		eachField(value, func(key, value string) {
			switch key {
			case "function":
				i.Function = unquote(value)
			case "file":
				i.File = unquote(value)
			case "line":
				i.Line, i.lineTruth = scanLine(value)
			}
		})
		out = append(out, i)
		return len(out) < maxFrames
	})
	return out
}

// scanLine is lineOf for JSON text: almost always null or a short number.
func scanLine(s string) (string, truth) {
	if s != "" && s[0] >= '1' && s[0] <= '9' && !strings.ContainsAny(s, ".eE") {
		return s, byValue
	}
	return lineOf(decode(s))
}
