package stackwalk

import (
	"encoding/json"
	"strconv"
)

// Document is the JSON as Go values: objects are map[string]any, arrays []any,
// numbers json.Number. It is made anew with every call. Texts share one copy of
// the JSON, so a document costs little more than its maps.
func (s *State) Document() (map[string]any, error) {
	p := &documentParser{text: string(s.AppendJSON(nil))}
	doc, _ := p.value().(map[string]any)
	return doc, nil
}

// documentParser reads the JSON that AppendJSON writes: it is known to be
// right and compact, so nothing is checked. The only part that others wrote,
// the soft errors, was parsed and written anew before.
type documentParser struct {
	text string
	at   int
}

func (p *documentParser) value() any {
	switch p.text[p.at] {
	case '{':
		return p.object()
	case '[':
		return p.array()
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

func (p *documentParser) object() map[string]any {
	m := make(map[string]any, 16)
	p.at++
	for p.text[p.at] != '}' {
		if p.text[p.at] == ',' {
			p.at++
		}
		k := p.string()
		p.at++ // the colon
		m[k] = p.value()
	}
	p.at++
	return m
}

func (p *documentParser) array() []any {
	list := []any{}
	p.at++
	for p.text[p.at] != ']' {
		if p.text[p.at] == ',' {
			p.at++
		}
		list = append(list, p.value())
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
