package plan

import (
	"mayday/app/fault"
)

// Type is how the values of a field are written in a query; it decides the
// operators.
type Type uint8

// The types of query values.
const (
	Str   Type = iota // = ~ $ ^ @ __null__ and plain
	Enum              // __null__ and plain; other signs are part of the value
	Int               // >= <= < > __null__ and plain
	Float             // the same
	Date              // >= <= < > __null__
	Bool              // __true__ __null__ and plain
)

// Storage is how the values of a field are kept and compared.
type Storage uint8

// The storages.
const (
	Keyword   Storage = iota // the whole value, case-sensitive
	Text                     // Unicode words lower-cased, and the whole value
	Semicolon                // words between semicolons, lower-cased
	Long                     // 64-bit integer
	Integer                  // 32-bit integer
	Double                   // 64-bit float
	Boolean                  // true, false
	Instant                  // date and time
)

// IsString says whether values are strings.
func (s Storage) IsString() bool { return s <= Semicolon }

// IsInt says whether values are integers.
func (s Storage) IsInt() bool { return s == Long || s == Integer }

// MaxKeyword and MaxText bound stored strings: Socorro cuts keywords at 10,000
// characters and texts at 32,766 bytes, Lucene's longest term.
const (
	MaxKeyword = 10_000
	MaxText    = 32_766
)

// Field is one searchable field, as the query language and the engines see it.
type Field struct {
	Name       string  // in queries and answers
	Path       string  // in the processed crash, dots between levels
	Type       Type    // operators
	Storage    Storage // comparison
	Permission string  // needed to read it; "" is public
	Histogram  bool    // may be cut into intervals
	Parts      string  // separator of the parts of a composite value such as a list of frames; "" for none
	Frames     bool    // the value is a list of stack frames, searched as lines of text
	Whole      bool    // a plain value means the whole value, and string operators are live although Type is Enum
	BetaPrefix bool    // a plain value that ends in "b" means "starts with"
}

// Fields is a set of fields by name, in the order given.
type Fields struct {
	list   []Field
	byName map[string]*Field
}

// DateField and IDField are the two fields every document has.
const (
	DateField = "date"
	IDField   = "uuid"
)

// NewFields checks that names are unique and that date and uuid are there.
func NewFields(list []Field) (*Fields, error) {
	f := &Fields{list: list, byName: make(map[string]*Field, len(list))}
	for i := range list {
		one := &f.list[i]
		if one.Name == "" || one.Name[0] == '_' {
			return nil, fault.New(fault.Invalid, "search field name %q: must not be empty or begin with an underscore", one.Name)
		}
		if f.byName[one.Name] != nil {
			return nil, fault.New(fault.Invalid, "search field %q is given twice", one.Name)
		}
		f.byName[one.Name] = one
	}
	if d := f.byName[DateField]; d == nil || d.Storage != Instant {
		return nil, fault.New(fault.Invalid, "search fields lack %q as an instant", DateField)
	}
	if f.byName[IDField] == nil {
		return nil, fault.New(fault.Invalid, "search fields lack %q", IDField)
	}
	return f, nil
}

// Get finds a field by name, nil when there is none.
func (f *Fields) Get(name string) *Field { return f.byName[name] }

// All lists the fields in their order; the caller must not change them.
func (f *Fields) All() []Field { return f.list }

// Viewer is who asks, as far as searching cares.
type Viewer struct {
	Permissions []string
}

// ViewPII is the permission that lifts the redaction of Super Search.
const ViewPII = "view_pii"

// Has says whether the viewer holds a permission.
func (v Viewer) Has(permission string) bool {
	for _, p := range v.Permissions {
		if p == permission {
			return true
		}
	}
	return false
}

// MayRead says whether the viewer may read a field.
func (v Viewer) MayRead(f *Field) bool { return f.Permission == "" || v.Has(f.Permission) }
