package schema

import (
	"fmt"
	"regexp"
	"strings"
)

// Type is the set of types a value may have.
type Type uint8

// The types of JSON. Any stands for all of them and is not looked into.
const (
	String Type = 1 << iota
	Integer
	Number
	Boolean
	Object
	Array
	Null
	Any
)

// typeNames is in the order of the bits.
var typeNames = [...]string{"string", "integer", "number", "boolean", "object", "array", "null", "any"}

// String writes t as schema.yaml does: "string|null".
func (t Type) String() string { return strings.Join(t.Names(), "|") }

// Names lists the types in t.
func (t Type) Names() []string {
	var names []string
	for i, n := range typeNames {
		if t&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// parseType reads "string|null".
func parseType(s string) (Type, error) {
	var t Type
	for _, word := range strings.Split(s, "|") {
		bit := Type(0)
		for i, n := range typeNames {
			if n == word {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("type %q is not one of %s", word, strings.Join(typeNames[:], ", "))
		}
		t |= bit
	}
	return t, nil
}

// Field is one row of the table, or a node inside one.
type Field struct {
	Name       string // key in its parent; a pattern's text for patterns
	Path       string // dotted from the document's root, [] for an item
	Type       Type
	Public     bool   // anybody may see it, given that they see its parent
	Annotation string // annotation it is copied from; "" when a rule makes it
	Default    any    // value when the annotation is absent; nil leaves it out
	Deprecated bool
	Since      string // first version of the program that has it
	Doc        string // one or two sentences, Markdown
	Examples   []any
	Show       Show
	Telemetry  Telemetry

	Fields   []*Field // members of an object
	Patterns []*Field // members whose key matches a pattern
	Items    *Field   // items of an array

	search  *searchRow
	match   *regexp.Regexp
	members map[string]*Field
}

// Show says where the report page has a field.
type Show struct {
	Tab   string // "" means nowhere of its own
	Order int
}

// Telemetry says whether and how a field is exported.
type Telemetry struct {
	Export bool
	Name   string // as the export calls it
	AsText bool   // written as text: true is "1", false is "0"
	NoNull bool   // a null is left out
}

// member finds what describes the member key of an object; nil when nothing does.
func (f *Field) member(key string) *Field {
	if m := f.members[key]; m != nil {
		return m
	}
	for _, p := range f.Patterns {
		if p.match.MatchString(key) {
			return p
		}
	}
	return nil
}

// children lists the nodes right below f.
func (f *Field) children() []*Field {
	all := append(append([]*Field(nil), f.Fields...), f.Patterns...)
	if f.Items != nil {
		all = append(all, f.Items)
	}
	return all
}

// Annotation is one key of a raw crash.
type Annotation struct {
	Name       string
	Type       Type // as the processor wants it; clients mostly send text
	Public     bool
	Collector  bool     // added by the collector, not sent by the client
	Field      *Field   // field it is copied to; nil when only rules read it
	Feeds      []string // fields that rules make from it
	Deprecated bool
	Doc        string
}

// ForEach calls visit for every node of the processed crash, parents first.
// It does not look below a node for which visit returns false.
func (t *Table) ForEach(visit func(*Field) bool) {
	var walk func([]*Field)
	walk = func(fields []*Field) {
		for _, f := range fields {
			if visit(f) {
				walk(f.children())
			}
		}
	}
	walk(t.fields)
	walk(t.patterns)
}

// PublicPaths lists the paths of a processed crash that anybody may see: those
// that are public together with everything above them.
func (t *Table) PublicPaths() []string {
	var paths []string
	t.ForEach(func(f *Field) bool {
		if f.Public {
			paths = append(paths, f.Path)
		}
		return f.Public
	})
	return paths
}

// Paths lists every path of a processed crash.
func (t *Table) Paths() []string {
	var paths []string
	t.ForEach(func(f *Field) bool {
		paths = append(paths, f.Path)
		return true
	})
	return paths
}
