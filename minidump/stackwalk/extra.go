package stackwalk

import (
	"bytes"
	"encoding/json"
	"io"
)

// extra is what a crash reporter's client knows beside the dump: the
// annotations of the crash as JSON.
type extra struct {
	certs     map[string]string // who signed a module, by leaf name
	microcode string
}

// parseExtra reads the annotations. What is not as expected is left out: they
// come from outside and are optional.
func parseExtra(b []byte) *extra {
	e := &extra{certs: map[string]string{}}
	var all struct {
		ModuleSignatureInfo json.RawMessage
		CPUMicrocodeVersion json.RawMessage
	}
	if len(b) == 0 || json.Unmarshal(b, &all) != nil {
		return e
	}
	_ = json.Unmarshal(all.CPUMicrocodeVersion, &e.microcode)
	// The signatures are an object, or a string that holds the object.
	info := []byte(all.ModuleSignatureInfo)
	var text string
	if json.Unmarshal(info, &text) == nil {
		info = []byte(text)
	}
	var signed map[string][]string
	if json.Unmarshal(info, &signed) == nil {
		for subject, modules := range signed {
			for _, m := range modules {
				e.certs[m] = subject
			}
		}
	}
	return e
}

// maxSoftErrors is how long a list of soft errors is read; crash reporters
// write some kilobytes.
const maxSoftErrors = 256 << 10

// maxDepth is how deep JSON may be nested that is passed on; deeper texts count
// as broken.
const maxDepth = 127

// normalJSON writes a JSON text with sorted keys and without spaces; nil when
// it is no JSON.
func normalJSON(b []byte) []byte {
	if len(bytes.TrimSpace(b)) == 0 || nesting(b) > maxDepth {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	if _, err := d.Token(); err != io.EOF {
		return nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}

// nesting is how deep brackets are nested at most, those in strings left out.
func nesting(b []byte) int {
	deepest, depth, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}
