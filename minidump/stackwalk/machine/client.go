package machine

import (
	"encoding/json"
	"slices"
)

// Client is what a crash reporter's client knows beside the dump.
type Client struct {
	Certs     map[string]string // who signed a module, by leaf name
	Microcode string            // its version, as text
}

// ReadClient reads the annotations of a crash, a JSON object. What is not as expected is left out: they
// come from outside and are optional.
func ReadClient(b []byte) Client {
	e := Client{Certs: map[string]string{}}
	var all map[string]json.RawMessage // a struct would take names in any case
	if len(b) == 0 || json.Unmarshal(b, &all) != nil {
		return e
	}
	_ = json.Unmarshal(all["CPUMicrocodeVersion"], &e.Microcode)
	// The signatures are an object, or a string that holds the object.
	info := []byte(all["ModuleSignatureInfo"])
	var text string
	if json.Unmarshal(info, &text) == nil {
		info = []byte(text)
	}
	var signed map[string][]*string
	if json.Unmarshal(info, &signed) != nil {
		return e
	}
	for subject, modules := range signed {
		if modules == nil || slices.Contains(modules, nil) { // null is no list and no name
			clear(e.Certs)
			return e
		}
		for _, m := range modules {
			e.Certs[*m] = subject
		}
	}
	return e
}
