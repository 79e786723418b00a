package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"mayday/app/fault"
)

// maxShapeDepth bounds how deep shapes may name one another; the built-in
// table needs three, and a shape that names itself would never end.
const maxShapeDepth = 8

// tableFile is schema.yaml, and an overlay, as they stand in the file.
type tableFile struct {
	Shapes      map[string]nodeRow `yaml:"shapes"`
	Fields      []yaml.Node        `yaml:"fields"`
	Patterns    []patternRow       `yaml:"patterns"`
	Annotations []annotationRow    `yaml:"annotations"`
}

type fieldRow struct {
	Name       string        `yaml:"name"`
	Type       string        `yaml:"type"`
	Public     bool          `yaml:"public"`
	Annotation string        `yaml:"annotation"`
	RawPublic  *bool         `yaml:"raw_public"`
	Default    any           `yaml:"default"`
	Search     *searchRow    `yaml:"search"`
	Telemetry  *telemetryRow `yaml:"telemetry"`
	Show       string        `yaml:"show"`
	Shape      string        `yaml:"shape"`
	Fields     orderedNodes  `yaml:"fields"`
	Items      *nodeRow      `yaml:"items"`
	Patterns   orderedNodes  `yaml:"patterns"`
	Deprecated bool          `yaml:"deprecated"`
	Since      string        `yaml:"since"`
	Examples   []any         `yaml:"examples"`
	Doc        string        `yaml:"doc"`
	Widen      bool          `yaml:"widen"` // overlays only
}

type patternRow struct {
	Match    string `yaml:"match"`
	fieldRow `yaml:",inline"`
}

type annotationRow struct {
	Name       string   `yaml:"name"`
	Type       string   `yaml:"type"`
	Public     bool     `yaml:"public"`
	Collector  bool     `yaml:"collector"`
	Feeds      []string `yaml:"feeds"`
	Deprecated bool     `yaml:"deprecated"`
	Doc        string   `yaml:"doc"`
	Widen      bool     `yaml:"widen"` // overlays only
}

// nodeRow is a node inside an object: a mapping, or only its "is" text.
type nodeRow struct {
	Is       string       `yaml:"is"`
	Doc      string       `yaml:"doc"`
	Search   *searchRow   `yaml:"search"`
	Shape    string       `yaml:"shape"`
	Fields   orderedNodes `yaml:"fields"`
	Items    *nodeRow     `yaml:"items"`
	Patterns orderedNodes `yaml:"patterns"`
}

func (n *nodeRow) UnmarshalYAML(v *yaml.Node) error {
	if v.Kind == yaml.ScalarNode {
		n.Is = v.Value
		return nil
	}
	type plain nodeRow
	return v.Decode((*plain)(n))
}

// orderedNodes keeps the order of a mapping of nodes.
type orderedNodes []namedNode

type namedNode struct {
	key string
	row nodeRow
}

func (o *orderedNodes) UnmarshalYAML(v *yaml.Node) error {
	if v.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping of names to nodes is wanted", v.Line)
	}
	*o = nil
	for i := 0; i+1 < len(v.Content); i += 2 {
		n := namedNode{key: v.Content[i].Value}
		if err := v.Content[i+1].Decode(&n.row); err != nil {
			return err
		}
		*o = append(*o, n)
	}
	return nil
}

// telemetryRow is true, "text", or a mapping.
type telemetryRow struct {
	Export bool   `yaml:"export"`
	As     string `yaml:"as"`
	Name   string `yaml:"name"`
}

func (r *telemetryRow) UnmarshalYAML(v *yaml.Node) error {
	*r = telemetryRow{Export: true}
	if v.Kind == yaml.ScalarNode {
		if v.Value == "text" {
			r.As = "text"
			return nil
		}
		return v.Decode(&r.Export)
	}
	type plain telemetryRow
	if err := v.Decode((*plain)(r)); err != nil {
		return err
	}
	if r.As != "" && r.As != "text" {
		return fmt.Errorf("line %d: telemetry as %q: only text can be said", v.Line, r.As)
	}
	return nil
}

// loader gathers the rows of all files before they become a table.
type loader struct {
	shapes      map[string]nodeRow
	fields      []fieldRow
	patterns    []patternRow
	annotations []annotationRow
	widened     map[string]bool // fields and annotations that an overlay widens on purpose
}

// Load reads the built-in table and then the overlays in order. An overlay is
// YAML like schema.yaml; a row with a known name changes only the keys it
// gives, any other row is added. All that is wrong with a file is reported.
func Load(overlays ...[]byte) (*Table, error) {
	l := &loader{shapes: map[string]nodeRow{}, widened: map[string]bool{}}
	if err := l.add(builtin); err != nil {
		return nil, err
	}
	base, err := l.table()
	if err != nil {
		return nil, err
	}
	if len(overlays) == 0 {
		return base, nil
	}
	for i, o := range overlays {
		if err := l.add(o); err != nil {
			return nil, fault.Wrap(err, "schema overlay %d", i+1)
		}
	}
	t, err := l.table()
	if err != nil {
		return nil, fault.Wrap(err, "schema with overlays")
	}
	if err := l.checkWidening(base, t); err != nil {
		return nil, err
	}
	return t, nil
}

func (l *loader) add(file []byte) error {
	var f tableFile
	dec := yaml.NewDecoder(bytes.NewReader(file))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return fault.As(fault.Invalid, err, "read field table")
	}
	for name, s := range f.Shapes {
		l.shapes[name] = s
	}
	for i := range f.Fields {
		if err := l.addField(&f.Fields[i]); err != nil {
			return err
		}
	}
	for _, a := range f.Annotations {
		if a.Widen {
			l.widened["annotation "+a.Name] = true
		}
		i := slices.IndexFunc(l.annotations, func(o annotationRow) bool { return o.Name == a.Name })
		if i < 0 {
			l.annotations = append(l.annotations, a)
			continue
		}
		l.annotations[i] = a
	}
	l.patterns = append(l.patterns, f.Patterns...)
	return nil
}

// addField puts a row behind the others, or lays it over the one of its name.
func (l *loader) addField(v *yaml.Node) error {
	if err := knownKeys(v); err != nil {
		return err
	}
	var row fieldRow
	if err := v.Decode(&row); err != nil {
		return fault.As(fault.Invalid, err, "field table line %d", v.Line)
	}
	if row.Widen {
		l.widened[row.Name] = true
	}
	i := slices.IndexFunc(l.fields, func(o fieldRow) bool { return o.Name == row.Name })
	if i < 0 {
		l.fields = append(l.fields, row)
		return nil
	}
	if err := v.Decode(&l.fields[i]); err != nil {
		return fault.As(fault.Invalid, err, "field %s", row.Name)
	}
	return nil
}

// fieldKeys are the keys of a fieldRow. A yaml.Node decodes without the
// decoder's strictness, so a misspelt key is found here.
var fieldKeys = strings.Fields(`name type public annotation raw_public default search telemetry show shape fields
	items patterns deprecated since examples doc widen`)

func knownKeys(v *yaml.Node) error {
	if v.Kind != yaml.MappingNode {
		return fault.New(fault.Invalid, "field table line %d: a row is a mapping", v.Line)
	}
	for i := 0; i < len(v.Content); i += 2 {
		if !slices.Contains(fieldKeys, v.Content[i].Value) {
			return fault.New(fault.Invalid, "field table line %d: unknown key %q", v.Content[i].Line, v.Content[i].Value)
		}
	}
	return nil
}

// table builds the table and reports everything that is wrong with the rows.
func (l *loader) table() (*Table, error) {
	t := &Table{byName: map[string]*Field{}, raw: map[string]*Annotation{}, searchIndex: map[string]int{}}
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for i := range l.fields {
		row := &l.fields[i]
		f, err := l.field(row)
		if err != nil {
			bad("field %s: %w", row.Name, err)
			continue
		}
		if t.byName[f.Name] != nil {
			bad("field %s stands twice", f.Name)
		}
		t.fields = append(t.fields, f)
		t.byName[f.Name] = f
		if f.Annotation == "" {
			continue
		}
		if t.raw[f.Annotation] != nil {
			bad("field %s: annotation %s is copied to %s already", f.Name, f.Annotation, t.raw[f.Annotation].Field.Name)
		}
		a := &Annotation{Name: f.Annotation, Type: f.Type, Public: f.Public, Field: f, Deprecated: f.Deprecated, Doc: f.Doc}
		if row.RawPublic != nil {
			a.Public = *row.RawPublic
		}
		t.annotations = append(t.annotations, a)
		t.raw[a.Name] = a
	}
	for i := range l.patterns {
		row := &l.patterns[i]
		row.Name = row.Match
		f, err := l.field(&row.fieldRow)
		if err == nil {
			f.match, err = regexp.Compile(row.Match)
		}
		if err != nil {
			bad("pattern %s: %w", row.Match, err)
			continue
		}
		t.patterns = append(t.patterns, f)
	}
	for _, row := range l.annotations {
		if err := t.addAnnotation(row); err != nil {
			bad("annotation %s: %w", row.Name, err)
		}
	}
	if len(problems) == 0 {
		problems = append(problems, t.buildSearch())
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fault.As(fault.Invalid, err, "field table")
	}
	return t, nil
}

func (t *Table) addAnnotation(row annotationRow) error {
	if row.Name == "" || row.Doc == "" {
		return errors.New("name and doc are needed")
	}
	if o := t.raw[row.Name]; o != nil && o.Field != nil {
		return nil // an overlay copies to a field what the built-in table keeps raw
	} else if o != nil {
		return errors.New("stands twice")
	}
	a := &Annotation{Name: row.Name, Type: String, Public: row.Public, Collector: row.Collector,
		Feeds: row.Feeds, Deprecated: row.Deprecated, Doc: row.Doc}
	if row.Type != "" {
		var err error
		if a.Type, err = parseType(row.Type); err != nil {
			return err
		}
	}
	for _, f := range row.Feeds {
		if t.byName[f] == nil {
			return fmt.Errorf("feeds %s, which has no row", f)
		}
	}
	t.annotations = append(t.annotations, a)
	t.raw[a.Name] = a
	return nil
}

// field makes a top-level field of its row.
func (l *loader) field(row *fieldRow) (*Field, error) {
	if row.Name == "" || row.Doc == "" {
		return nil, errors.New("name and doc are needed")
	}
	f := &Field{Name: row.Name, Path: row.Name, Public: row.Public, Annotation: row.Annotation, Default: row.Default,
		Deprecated: row.Deprecated, Since: row.Since, Doc: row.Doc, Examples: row.Examples, search: row.Search}
	var err error
	if f.Type, err = parseType(row.Type); err != nil {
		return nil, err
	}
	if r := row.Telemetry; r != nil && r.Export {
		f.Telemetry = Telemetry{Export: true, Name: row.Name, AsText: r.As == "text"}
		if r.Name != "" {
			f.Telemetry.Name = r.Name
		}
	}
	if row.Show != "" {
		tab, order, _ := strings.Cut(row.Show, " ")
		n, err := strconv.Atoi(order)
		if err != nil {
			return nil, fmt.Errorf("show %q: a tab and a number are wanted", row.Show)
		}
		f.Show = Show{Tab: tab, Order: n}
	}
	n := &nodeRow{Shape: row.Shape, Fields: row.Fields, Items: row.Items, Patterns: row.Patterns}
	return f, l.fill(f, n, 0)
}

// fill gives f the members, patterns and items of row and of its shape.
func (l *loader) fill(f *Field, row *nodeRow, depth int) error {
	if row.Shape != "" {
		s, ok := l.shapes[row.Shape]
		if !ok || depth >= maxShapeDepth {
			return fmt.Errorf("%s: shape %q is unknown or names itself", f.Path, row.Shape)
		}
		if err := l.fill(f, &s, depth+1); err != nil {
			return err
		}
	}
	for _, n := range row.Fields {
		c, err := l.node(n.key, f.Path+"."+n.key, &n.row, depth)
		if err != nil {
			return err
		}
		f.Fields = slices.DeleteFunc(f.Fields, func(o *Field) bool { return o.Name == c.Name })
		f.Fields = append(f.Fields, c)
	}
	for _, n := range row.Patterns {
		c, err := l.node(n.key, f.Path+".("+n.key+")", &n.row, depth)
		if err == nil {
			c.match, err = regexp.Compile(n.key)
		}
		if err != nil {
			return err
		}
		f.Patterns = append(f.Patterns, c)
	}
	if row.Items != nil {
		c, err := l.node("[]", f.Path+"[]", row.Items, depth)
		if err != nil {
			return err
		}
		f.Items = c
	}
	f.members = make(map[string]*Field, len(f.Fields))
	for _, m := range f.Fields {
		f.members[m.Name] = m
	}
	return nil
}

// node makes a node inside an object or array.
func (l *loader) node(name, path string, row *nodeRow, depth int) (*Field, error) {
	f := &Field{Name: name, Path: path, Doc: row.Doc, search: row.Search}
	for i, word := range strings.Fields(row.Is) {
		var err error
		switch {
		case i == 0:
			f.Type, err = parseType(word)
		case word == "public":
			f.Public = true
		case word == "telemetry":
			f.Telemetry = Telemetry{Export: true, Name: name}
		case word == "telemetry-nonnull":
			f.Telemetry = Telemetry{Export: true, Name: name, NoNull: true}
		default:
			err = fmt.Errorf("unknown word %q", word)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if f.Type == 0 {
		return nil, fmt.Errorf("%s: a type is needed", path)
	}
	return f, l.fill(f, row, depth)
}

// checkWidening refuses overlays that show the public what the built-in table
// protects, unless the row says that it means to.
func (l *loader) checkWidening(base, t *Table) error {
	known := map[string]bool{}
	for _, p := range base.Paths() {
		known[p] = true
	}
	for _, p := range base.PublicPaths() {
		delete(known, p)
	}
	var problems []error
	for _, p := range t.PublicPaths() {
		top, _, _ := strings.Cut(p, ".")
		top = strings.TrimSuffix(top, "[]")
		if known[p] && !l.widened[top] {
			problems = append(problems, fmt.Errorf("field %s is protected; say widen: true to make it public", p))
		}
	}
	for _, a := range base.annotations {
		now := t.raw[a.Name]
		name := "annotation " + a.Name
		if now != nil && now.Field != nil {
			name = now.Field.Name
		}
		if now != nil && !a.Public && now.Public && !l.widened[name] {
			problems = append(problems, fmt.Errorf("annotation %s is protected; say widen: true to make it public", a.Name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fault.As(fault.Invalid, err, "schema overlay")
	}
	return nil
}
