package symbolicate

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// A request is mostly pairs of numbers. One that is as it should be is read
// straight into jobs; any other, and what has duplicate keys or odd numbers, is
// read by parseJobs, which knows the words for what is wrong.

// decodeJobs reads the payload of versions 5 and 6.
func decodeJobs(body []byte, limit int) ([]Job, error) {
	if jobs, _, ok := readJobs(body, limit); ok {
		return jobs, nil
	}
	v, err := decodeJSON(body)
	if err != nil {
		return nil, err
	}
	return parseJobs(v, limit)
}

// decodeV6 reads the payload of version 6 and its options.
func decodeV6(body []byte, limit int) ([]Job, Options, error) {
	if jobs, hasOptions, ok := readJobs(body, limit); ok && !hasOptions {
		return jobs, Options{}, nil
	}
	v, err := decodeJSON(body)
	if err != nil {
		return nil, Options{}, err
	}
	options, err := parseOptions(v)
	if err != nil {
		return nil, Options{}, err
	}
	jobs, err := parseJobs(v, limit)
	return jobs, options, err
}

// readJobs reads a payload that is as it should be, and reports whether it is
// and whether it has options.
func readJobs(body []byte, limit int) (jobs []Job, hasOptions, ok bool) {
	r := payloadReader{body: body, Decoder: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))}
	single, list, ok := r.payload()
	if !ok {
		return nil, false, false
	}
	if _, err := r.ReadToken(); err != io.EOF {
		return nil, false, false
	}
	parts := list
	if parts == nil {
		parts = []rawJob{single}
	} else if single != (rawJob{}) {
		return nil, false, false
	}
	if len(parts) > limit {
		return nil, false, false
	}
	jobs = make([]Job, len(parts))
	for i, p := range parts {
		if p.modules == (span{}) || p.stacks == (span{}) || !jobs[i].readModules(body[p.modules.from:p.modules.to]) || !jobs[i].readStacks(body[p.stacks.from:p.stacks.to]) {
			return nil, false, false
		}
	}
	return jobs, r.options, true
}

// span is where a value lies in the payload, rawJob where the parts of a job do.
type span struct{ from, to int64 }

type rawJob struct{ modules, stacks span }

// payloadReader reads a payload.
type payloadReader struct {
	*jsontext.Decoder
	body    []byte
	options bool
}

// payload reads the object on top: a job, or a list of jobs, which is not nil.
func (r *payloadReader) payload() (single rawJob, list []rawJob, ok bool) {
	ok = r.object(func(name string) bool {
		switch name {
		case "jobs":
			if list != nil {
				return false
			}
			list = []rawJob{}
			return r.array(func() bool {
				var j rawJob
				list = append(list, j)
				return r.object(func(name string) bool { return r.part(&list[len(list)-1], name) })
			})
		case "options":
			r.options = true
		}
		return r.part(&single, name)
	})
	return single, list, ok
}

// part reads a value of a job.
func (r *payloadReader) part(j *rawJob, name string) bool {
	var at *span
	switch name {
	case "memoryMap":
		at = &j.modules
	case "stacks":
		at = &j.stacks
	default:
		return r.SkipValue() == nil
	}
	v, err := r.ReadValue()
	if err != nil || *at != (span{}) { // of two the last counts
		return false
	}
	end := r.InputOffset()
	*at = span{end - int64(len(v)), end}
	return true
}

// object reads an object; member reads the value of each name.
func (r *payloadReader) object(member func(name string) bool) bool {
	if t, err := r.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for r.PeekKind() == '"' {
		t, err := r.ReadToken()
		if err != nil || !member(t.String()) {
			return false
		}
	}
	t, err := r.ReadToken()
	return err == nil && t.Kind() == '}'
}

// array reads an array; element reads each of its values.
func (r *payloadReader) array(element func() bool) bool {
	if t, err := r.ReadToken(); err != nil || t.Kind() != '[' {
		return false
	}
	for r.PeekKind() != ']' {
		if !element() {
			return false
		}
	}
	_, err := r.ReadToken()
	return err == nil
}

// readModules reads a memoryMap.
func (j *Job) readModules(value []byte) bool {
	r := payloadReader{Decoder: jsontext.NewDecoder(bytes.NewBuffer(value))}
	j.Modules = []Module{}
	return r.array(func() bool {
		var pair [2]string
		n := 0
		ok := r.array(func() bool {
			t, err := r.ReadToken()
			if err != nil || t.Kind() != '"' || n == len(pair) {
				return false
			}
			pair[n] = t.String()
			n++
			return true
		})
		j.Modules = append(j.Modules, Module{pair[0], pair[1]})
		return ok && n == len(pair) && validName(pair[0]) && validID(pair[1])
	})
}

// readStacks reads stacks from JSON that is known to be right.
func (j *Job) readStacks(value []byte) bool {
	p := pairs{b: value}
	// There are as many lists as stacks, frames and one.
	frames := make([]Frame, 0, bytes.Count(value, []byte{'['}))
	j.Stacks = [][]Frame{}
	if !p.next('[') || p.next(']') { // none is an error
		return false
	}
	for {
		from := len(frames)
		if !p.next('[') {
			return false
		}
		for more := !p.next(']'); more; more = p.next(',') {
			f, ok := p.frame(len(j.Modules))
			if !ok {
				return false
			}
			frames = append(frames, f)
		}
		if len(frames) > from && !p.next(']') {
			return false
		}
		j.Stacks = append(j.Stacks, frames[from:len(frames):len(frames)])
		if !p.next(',') {
			return p.next(']')
		}
	}
}

// pairs reads pairs of whole numbers.
type pairs struct {
	b []byte
	i int
}

// next steps over c, and blanks before it, if it is what comes.
func (p *pairs) next(c byte) bool {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case c:
			p.i++
			return true
		case ' ', '\n', '\r', '\t':
			p.i++
		default:
			return false
		}
	}
	return false
}

// frame reads a module index and an offset.
func (p *pairs) frame(modules int) (f Frame, ok bool) {
	if !p.next('[') {
		return f, false
	}
	index, none, ok := p.number()
	if !ok || !none && index >= uint64(modules) || !p.next(',') {
		return f, false
	}
	f.Module = int(index)
	if none {
		f.Module = -1
	}
	f.Offset, f.Unknown, ok = p.number()
	return f, ok && p.next(']')
}

// number reads a number of at most 19 digits, or −1, which is none.
func (p *pairs) number() (n uint64, none, ok bool) {
	none = p.next('-') // and over blanks, if it is not there
	from := p.i
	for p.i < len(p.b) && p.b[p.i]-'0' <= 9 {
		n = n*10 + uint64(p.b[p.i]-'0')
		p.i++
	}
	if digits := p.i - from; digits == 0 || digits > 19 || none && n != 1 {
		return 0, false, false
	}
	return n, none, true
}
