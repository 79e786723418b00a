package stackwalk

import (
	"encoding/json"
	"strconv"
	"unsafe"
)

// Document is the JSON as Go values: objects are map[string]any, arrays []any,
// numbers json.Number. It is made anew with every call. Texts share one copy of
// the JSON, so a document costs little more than its maps.
//
// Unlike the JSON it is bounded, whatever the dump: DocumentFrames frames of
// each stack, and of lists without end as much as fits some megabytes. The key
// "truncated" says which parts are not whole.
func (s *State) Document() (map[string]any, error) {
	frames := 0
	for i := range s.Threads {
		frames += min(len(s.Threads[i].stack().Frames), DocumentFrames)
	}
	threads := threadRoom(s.size)
	size := min(usualFrame*frames, threads) + min(usualModule*len(s.Modules), documentParts["modules"]) + usualRest
	e := &encoder{b: make([]byte, 0, size), width: 2 * s.System.CPU.PointerSize(), room: &documentRoom{threads: threads}}
	e.state(s)
	p := &documentParser{text: unsafe.String(unsafe.SliceData(e.b), len(e.b)), sizes: map[string]int{}} // nobody writes to e.b any more
	doc, _ := p.value("").(map[string]any)
	return doc, nil
}

// documentParser reads the JSON that AppendJSON writes: it is known to be
// right and compact, so nothing is checked. The only part that others wrote,
// the soft errors, was parsed and written anew before.
type documentParser struct {
	text  string
	at    int
	sizes map[string]int // of the last object below a key
}

// maxKeys is how many keys an object is expected to have at most: crash_info and
// the document itself have more.
const maxKeys = 16

// value reads the value of a key, or of the list below it.
func (p *documentParser) value(key string) any {
	switch p.text[p.at] {
	case '{':
		return p.object(key)
	case '[':
		return p.array(key)
	case '"':
		return p.string()
	case 'n':
		p.at += len("null")
		return nil
	case 't':
		p.at += len("true")
		return true
	case 'f':
		p.at += len("false")
		return false
	}
	from := p.at
	for p.at < len(p.text) && p.text[p.at] != ',' && p.text[p.at] != '}' && p.text[p.at] != ']' {
		p.at++
	}
	return json.Number(p.text[from:p.at])
}

func (p *documentParser) object(key string) map[string]any {
	m := make(map[string]any, p.sizes[key])
	p.at++
	for p.text[p.at] != '}' {
		if p.text[p.at] == ',' {
			p.at++
		}
		k := p.string()
		p.at++ // the colon
		m[k] = p.value(k)
	}
	p.at++
	if n := min(len(m), maxKeys); n != p.sizes[key] {
		p.sizes[key] = n
	}
	return m
}

func (p *documentParser) array(key string) []any {
	list := []any{}
	p.at++
	for p.text[p.at] != ']' {
		if p.text[p.at] == ',' {
			p.at++
		}
		list = append(list, p.value(key))
	}
	p.at++
	return list
}

func (p *documentParser) string() string {
	from := p.at
	p.at++
	escaped := false
	for p.text[p.at] != '"' {
		if p.text[p.at] == '\\' {
			escaped = true
			p.at++
		}
		p.at++
	}
	p.at++
	if !escaped {
		return p.text[from+1 : p.at-1]
	}
	// strconv knows every escape of JSON but the slash, which is not written
	// escaped, and pairs of surrogates, which are not written at all.
	s, err := strconv.Unquote(p.text[from:p.at])
	if err != nil {
		_ = json.Unmarshal([]byte(p.text[from:p.at]), &s)
	}
	return s
}
