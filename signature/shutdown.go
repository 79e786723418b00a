package signature

import (
	"errors"
	"sort"
	"strings"

	"mayday/signature/python"
)

// shutdownTimeout replaces the signature by the phase and the conditions that
// shutdown waited for.
func shutdownTimeout(s *state) {
	if s.in.odd.asyncError != "" {
		s.note("Rule failed: " + s.in.odd.asyncError)
		return
	}
	if s.in.AsyncShutdownTimeout == "" {
		return
	}
	parts := []string{"AsyncShutdownTimeout"}
	data, err := python.DecodeJSON(s.in.AsyncShutdownTimeout)
	if err == nil {
		m, ok := data.(map[string]any)
		if !ok {
			s.note("Rule failed: '" + python.TypeName(data) + "' object is not subscriptable")
			return
		}
		var fatal string
		parts, fatal, err = shutdownParts(parts, m)
		if fatal != "" {
			s.note("Rule failed: " + fatal)
			return
		}
	}
	if err != nil {
		s.note("Error parsing AsyncShutdownTimeout: " + err.Error())
		parts = append(parts, "UNKNOWN")
	}
	s.note(`Signature replaced with a Shutdown Timeout signature, was: "` + s.sig + `"`)
	s.set(strings.Join(parts, frameSeparator))
}

// errNoName is how Python prints the missing key.
var errNoName = errors.New("'name'")

// shutdownParts adds phase and conditions. fatal says why the rule cannot go
// on at all.
func shutdownParts(parts []string, m map[string]any) (out []string, fatal string, err error) {
	if phase, ok := m["phase"].(string); ok {
		parts = append(parts, phase)
	} else {
		parts = append(parts, "(unknown)")
	}
	var names []string
	switch c := m["conditions"].(type) {
	case []any:
		for _, e := range c {
			if o, ok := e.(map[string]any); ok {
				name, ok := o["name"]
				if !ok {
					return parts, "", errNoName
				}
				e = name
			}
			names = append(names, python.Str(e))
		}
	case map[string]any:
		for k := range c {
			names = append(names, k)
		}
	case string:
		for _, r := range c {
			names = append(names, string(r))
		}
	default:
		if python.Truthy(c) {
			return parts, "'" + python.TypeName(c) + "' object is not iterable", nil
		}
	}
	if len(names) == 0 {
		return append(parts, "(none)"), "", nil
	}
	sort.Strings(names)
	return append(parts, strings.Join(names, ",")), "", nil
}
