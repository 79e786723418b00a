package symbolicate

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
)

// MaxJobs is how many jobs a request of version 5 may hold; version 6 takes
// maxJobsV6.
const MaxJobs = 10

const maxJobsV6 = 1000

// Job is one set of stacks over one list of modules.
type Job struct {
	Modules []Module
	Stacks  [][]Frame
}

// Module names a module by debug file and debug id, as given.
type Module struct{ File, ID string }

// key is how answers name the module.
func (m Module) key() string { return m.File + "/" + m.ID }

// Frame is an offset into a module; Module −1 is none. The offset −1, which
// clients send for what they do not know, is Unknown.
type Frame struct {
	Module  int
	Offset  uint64
	Unknown bool
}

// Offset as the API writes it.
func (f Frame) offset() string {
	if f.Unknown {
		return "-0x1"
	}
	return "0x" + strconv.FormatUint(f.Offset, 16)
}

// byteOrderMark may stand before JSON.
const byteOrderMark = "\ufeff"

// decodeJSON reads a body that holds one JSON value.
func decodeJSON(body []byte) (any, error) {
	body = bytes.TrimPrefix(body, []byte(byteOrderMark))
	if !utf8.Valid(body) {
		return nil, fault.New(fault.Invalid, "Payload is not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fault.New(fault.Invalid, "Payload is not valid JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fault.New(fault.Invalid, "Payload is not valid JSON")
	}
	return v, nil
}

// parseJobs reads the payload of versions 5 and 6: a list of jobs, or one job.
func parseJobs(payload any, limit int) ([]Job, error) {
	jobs := []any{payload}
	if o, ok := payload.(map[string]any); ok {
		if given, ok := o["jobs"]; ok {
			if jobs, ok = listed(given); !ok {
				return nil, fault.New(fault.Invalid, "jobs must be a list")
			}
		}
	}
	if len(jobs) > limit {
		return nil, fault.New(fault.Invalid, "please limit number of jobs in a single request to <= %d", limit)
	}
	out := make([]Job, len(jobs))
	for i, j := range jobs {
		var err error
		if out[i], err = parseJob(j, i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// listed makes a list of jobs of what stands for one. Objects and texts are lists
// of texts, of which none is a job.
func listed(v any) (jobs []any, ok bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		return make([]any, min(len(v), maxJobsV6+1)), true
	case string:
		return make([]any, min(utf8.RuneCountInString(v), maxJobsV6+1)), true
	}
	return nil, false
}

// parseJob checks one job, in the order and the words of Eliot.
func parseJob(v any, n int) (Job, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return Job{}, fault.New(fault.Invalid, "job %d is invalid", n)
	}
	stacks, ok := o["stacks"]
	if !ok {
		return Job{}, fault.New(fault.Invalid, "job %d is invalid: no stacks specified", n)
	}
	modules, ok := o["memoryMap"]
	if !ok {
		return Job{}, fault.New(fault.Invalid, "job %d is invalid: no memoryMap specified", n)
	}
	var j Job
	if why := j.setModules(modules); why != "" {
		return Job{}, fault.New(fault.Invalid, "job %d has invalid modules: %s", n, why)
	}
	if why := j.setStacks(stacks); why != "" {
		return Job{}, fault.New(fault.Invalid, "job %d has invalid stacks: %s", n, why)
	}
	return j, nil
}

// setModules takes the memoryMap and says what is wrong with it.
func (j *Job) setModules(v any) string {
	list, ok := v.([]any)
	if !ok {
		return "modules must be a list"
	}
	j.Modules = make([]Module, len(list))
	for i, e := range list {
		at := "module index " + strconv.Itoa(i)
		pair, ok := e.([]any)
		if !ok || len(pair) != 2 {
			return at + " does not have a debug_filename and debug_id"
		}
		name, ok := pair[0].(string)
		if !ok || !validName(name) {
			return at + " has an invalid debug_filename"
		}
		id, ok := pair[1].(string)
		if !ok || !validID(id) {
			return at + " has an invalid debug_id"
		}
		j.Modules[i] = Module{name, id}
	}
	return ""
}

// setStacks takes the stacks and says what is wrong with them.
func (j *Job) setStacks(v any) string {
	list, ok := v.([]any)
	if !ok {
		return "stacks must be a list of lists"
	}
	if len(list) == 0 {
		return "no stacks specified"
	}
	j.Stacks = make([][]Frame, len(list))
	for i, e := range list {
		frames, ok := e.([]any)
		if !ok {
			return "stack " + strconv.Itoa(i) + " is not a list"
		}
		j.Stacks[i] = make([]Frame, len(frames))
		for k, f := range frames {
			if why := j.Stacks[i][k].set(f, len(j.Modules)); why != "" {
				return "stack " + strconv.Itoa(i) + " frame " + strconv.Itoa(k) + " " + why
			}
		}
	}
	return ""
}

// set takes a pair of module index and offset and says what is wrong with it.
func (f *Frame) set(v any, modules int) string {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 {
		return "is not a list of two items"
	}
	index, minus, ok := integer(pair[0])
	switch {
	case !ok && !isInteger(pair[0]):
		return "has an invalid module_index"
	case minus && index == 1:
		f.Module = -1
	case !ok || minus && index > 0 || index >= uint64(modules):
		return "has a module_index that isn't in modules"
	default:
		f.Module = int(index)
	}
	f.Offset, minus, ok = integer(pair[1])
	if !ok || minus && f.Offset > 1 {
		return "has an invalid module_offset"
	}
	f.Unknown = minus && f.Offset == 1
	return ""
}

// integer reads a whole number of at most 64 bits and its sign. JSON's true
// and false count as 1 and 0, as they do in the service this follows.
func integer(v any) (n uint64, minus, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			n = 1
		}
		return n, false, true
	case json.Number:
		digits, minus := strings.CutPrefix(string(v), "-")
		n, err := strconv.ParseUint(digits, 10, 64)
		return n, minus, err == nil
	}
	return 0, false, false
}

// isInteger reports whether v is a whole number of any size.
func isInteger(v any) bool {
	n, ok := v.(json.Number)
	return ok && !strings.ContainsAny(string(n), ".eE")
}

// validName reports whether s holds only characters that Eliot takes in the
// name of a debug file. It may be empty.
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.+{}@<> ~-", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// validID reports whether s holds only hex digits. It may be empty.
func validID(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
