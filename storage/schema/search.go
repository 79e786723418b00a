package schema

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// searchRow is the search part of a row: one word, or a mapping.
type searchRow struct {
	As      string   `yaml:"as"`
	Query   string   `yaml:"query"`
	Name    string   `yaml:"name"`
	From    string   `yaml:"from"`
	To      []string `yaml:"to"`
	Choices []string `yaml:"choices"`
	Parts   string   `yaml:"parts"`
}

func (r *searchRow) UnmarshalYAML(v *yaml.Node) error {
	if v.Kind == yaml.ScalarNode {
		*r = searchRow{As: v.Value}
		return nil
	}
	*r = searchRow{}
	type plain searchRow
	return v.Decode((*plain)(r))
}

// SearchField is a field as Super Search knows it. The words are those of its
// field list, which clients read.
type SearchField struct {
	Name       string   // as queries, facets and columns call it
	Source     string   // dotted path of the value in a processed crash
	Keys       []string // dotted paths under which the index document holds it
	Key        string   // the one of Keys that is searched
	Namespace  string   // "processed_crash", or below it
	InDatabase string   // last part of the last of Keys

	Storage    string // text, keyword, long, integer, short, double, boolean, date
	Analyzer   string // semicolon_keywords: words are what stands between semicolons
	FullValue  bool   // the untouched value is kept beside the words
	QueryType  string // string, enum, integer, float, bool, date
	Validation string // str, enum, int, float, bool, datetime
	Parts      string // separator of the values a value is composed of, or ""

	Public  bool     // without view_pii the field does not exist
	List    bool     // the value is a list
	Choices []string // fixed values offered by the form
	Doc     string
	Field   *Field // row the field comes from
}

// Permissions names what a reader needs, as clients know it.
func (f SearchField) Permissions() []string {
	if f.Public {
		return []string{"public"}
	}
	return []string{"protected"}
}

// Histogram reports whether the field's values can be counted by interval.
func (f SearchField) Histogram() bool {
	return f.QueryType == "integer" || f.QueryType == "float" || f.QueryType == "date"
}

// storages maps the words of schema.yaml to how the index holds a value and
// what queries are by default.
var storages = map[string]SearchField{
	"text":    {Storage: "text", FullValue: true, QueryType: "string"},
	"tokens":  {Storage: "text", Analyzer: "semicolon_keywords", QueryType: "string"},
	"keyword": {Storage: "keyword", QueryType: "string"},
	"long":    {Storage: "long", QueryType: "integer"},
	"integer": {Storage: "integer", QueryType: "integer"},
	"short":   {Storage: "short", QueryType: "integer"},
	"double":  {Storage: "double", QueryType: "float"},
	"boolean": {Storage: "boolean", QueryType: "bool"},
	"date":    {Storage: "date", QueryType: "date"},
}

var validations = map[string]string{
	"string": "str", "enum": "enum", "integer": "int", "float": "float", "bool": "bool", "date": "datetime",
}

// buildSearch gathers the search fields of all rows and nodes.
func (t *Table) buildSearch() error {
	var err error
	t.ForEach(func(f *Field) bool {
		if f.search != nil && err == nil {
			err = t.addSearch(f)
		}
		return true
	})
	return err
}

func (t *Table) addSearch(f *Field) error {
	r := f.search
	s, ok := storages[r.As]
	if !ok {
		return fmt.Errorf("field %s: search as %q is not known", f.Path, r.As)
	}
	s.Name, s.Source, s.Keys = f.Path, f.Path, []string{f.Path}
	if r.Name != "" {
		s.Name = r.Name
	} else if strings.Contains(f.Path, ".") {
		return fmt.Errorf("field %s: a search name is needed", f.Path)
	}
	if r.From != "" {
		s.Source = r.From
	}
	if len(r.To) > 0 {
		s.Keys = r.To
	}
	s.Key = s.Keys[0]
	last := "processed_crash." + s.Keys[len(s.Keys)-1]
	dot := strings.LastIndexByte(last, '.')
	s.Namespace, s.InDatabase = last[:dot], last[dot+1:]
	if r.Query != "" {
		s.QueryType = r.Query
	}
	// A field that is queried by its exact value is checked as its storage
	// asks: only words are an enum to the checker.
	s.Validation = validations[s.QueryType]
	if s.QueryType == "enum" && s.Storage == "boolean" {
		s.Validation = "bool"
	}
	if s.Validation == "" {
		return fmt.Errorf("field %s: query %q is not known", f.Path, s.QueryType)
	}
	s.Parts, s.Choices, s.Doc, s.Field = r.Parts, r.Choices, f.Doc, f
	s.List = f.Type&Array != 0 || s.Storage == "text" && f.Type&Object != 0
	s.Public = t.pathPublic(f.Path) && t.pathPublic(s.Source)
	if _, dup := t.searchIndex[s.Name]; dup {
		return fmt.Errorf("field %s: search name %s is taken", f.Path, s.Name)
	}
	t.searchIndex[s.Name] = len(t.search)
	t.search = append(t.search, s)
	return nil
}

// pathPublic reports whether a dotted path leads through public nodes alone.
func (t *Table) pathPublic(path string) bool {
	keys := strings.Split(path, ".")
	f := t.Field(keys[0])
	for _, k := range keys[1:] {
		if f == nil || !f.Public {
			return false
		}
		f = f.member(k)
	}
	return f != nil && f.Public
}

// Tabs lists the tabs of the report page that have fields of their own.
func (t *Table) Tabs() []string {
	var tabs []string
	for _, f := range t.fields {
		if f.Show.Tab != "" && !slices.Contains(tabs, f.Show.Tab) {
			tabs = append(tabs, f.Show.Tab)
		}
	}
	slices.Sort(tabs)
	return tabs
}

// Tab lists the fields of one tab of the report page in their order there.
func (t *Table) Tab(name string) []*Field {
	var fields []*Field
	for _, f := range t.fields {
		if f.Show.Tab == name {
			fields = append(fields, f)
		}
	}
	slices.SortStableFunc(fields, func(a, b *Field) int { return a.Show.Order - b.Show.Order })
	return fields
}
