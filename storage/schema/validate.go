package schema

import (
	"fmt"
	"sort"
)

// maxProblems bounds the list of Validate: past it a document is wrong enough.
const maxProblems = 100

// Problem is one place where a document breaks the table. It holds types and
// names of the table, never a value, so it may be shown to anybody.
type Problem struct {
	Path string // as the table writes paths
	Want Type
	Have Type
}

func (p Problem) String() string {
	have := p.Have
	if have&Integer != 0 {
		have = Integer
	}
	return fmt.Sprintf("%s: %s, want %s", p.Path, have, p.Want)
}

// Validate compares a processed crash with the table. Keys that no row
// describes are not problems: they are protected, not wrong.
func (t *Table) Validate(processed map[string]any) []Problem {
	var problems []Problem
	for _, key := range sortedKeys(processed) {
		if f := t.Field(key); f != nil {
			problems = f.check(processed[key], problems)
		}
	}
	return problems
}

// Check compares one value with its row.
func (f *Field) Check(v any) []Problem { return f.check(v, nil) }

func (f *Field) check(v any, problems []Problem) []Problem {
	if f.Type == Any || len(problems) >= maxProblems {
		return problems
	}
	have := typeOf(v)
	if have&f.Type == 0 {
		return append(problems, Problem{Path: f.Path, Want: f.Type, Have: have})
	}
	switch have {
	case Object:
		obj := v.(map[string]any)
		for _, key := range sortedKeys(obj) {
			if m := f.member(key); m != nil {
				problems = m.check(obj[key], problems)
			}
		}
	case Array:
		if f.Items == nil {
			break
		}
		for _, x := range items(v) {
			problems = f.Items.check(x, problems)
		}
	}
	return problems
}

// ValidateRaw names the annotations of a raw crash whose value can be neither
// shown nor copied: an object or list where the table wants a scalar.
func (t *Table) ValidateRaw(raw map[string]any) []Problem {
	var problems []Problem
	for _, key := range sortedKeys(raw) {
		a := t.raw[key]
		if a == nil {
			continue
		}
		have := typeOf(raw[key])
		if have&(Object|Array) != 0 && a.Type&(have|Any) == 0 {
			problems = append(problems, Problem{Path: key, Want: a.Type, Have: have})
		}
	}
	return problems
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
