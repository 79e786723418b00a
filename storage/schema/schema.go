// Package schema is the field table: what a crash report may hold, who may see
// it, how it is searched, exported and shown.
//
// Everything it knows stands in schema.yaml, one row a fact. The rest of the
// program asks the table and keeps no second list: the rule that copies
// annotations, the reducer that hides protected data from the public, the
// search index and its query language, the telemetry export, the report page
// and the data dictionary.
//
// Two documents are described. The raw crash is what a client sent, a flat map
// of annotations (Annotation). The processed crash is what the processor made
// of it, a tree of fields (Field). Whatever has no row is protected: a reader
// without the permission never sees it, be it ever so harmless.
//
// The package has no configuration, files or clock of its own. Operators add
// rows with Load; an overlay may not make a built-in protected field public
// unless it says so with "widen: true".
package schema

import (
	_ "embed"
	"sync"
)

//go:embed schema.yaml
var builtin []byte

// Access says what the reader of a document may see.
type Access bool

// The two kinds of reader.
const (
	Public    Access = false // anybody
	Protected Access = true  // holders of the permission view_pii
)

// Table is the field table. It does not change once loaded, so any number of
// goroutines may use one.
type Table struct {
	fields      []*Field
	byName      map[string]*Field
	patterns    []*Field
	annotations []*Annotation
	raw         map[string]*Annotation // also those that fields are copied from
	search      []SearchField
	searchIndex map[string]int
}

var defaultTable = sync.OnceValue(func() *Table {
	t, err := Load()
	if err != nil {
		panic("built-in field table: " + err.Error()) // a test loads it
	}
	return t
})

// Default is the built-in table, without any overlay.
func Default() *Table { return defaultTable() }

// Fields lists the top-level fields of a processed crash in the table's order.
func (t *Table) Fields() []*Field { return t.fields }

// Patterns lists the fields that are named by a pattern.
func (t *Table) Patterns() []*Field { return t.patterns }

// Field finds the top-level field of that name, by pattern if no row has it;
// nil when the table knows nothing of it.
func (t *Table) Field(name string) *Field {
	if f := t.byName[name]; f != nil {
		return f
	}
	for _, p := range t.patterns {
		if p.match.MatchString(name) {
			return p
		}
	}
	return nil
}

// Annotations lists every annotation of a raw crash: first those that fields
// are copied from, then those that only rules read or that stay where they are.
func (t *Table) Annotations() []*Annotation { return t.annotations }

// Annotation finds the annotation of that name; nil when the table knows
// nothing of it, which makes it protected.
func (t *Table) Annotation(name string) *Annotation { return t.raw[name] }

// SearchFields lists what Super Search can ask for, in the table's order.
func (t *Table) SearchFields() []SearchField { return t.search }

// SearchField finds a search field by the name its users know.
func (t *Table) SearchField(name string) (SearchField, bool) {
	i, ok := t.searchIndex[name]
	if !ok {
		return SearchField{}, false
	}
	return t.search[i], true
}
