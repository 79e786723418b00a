package schema

import "slices"

// Redact makes the processed crash that a reader may see. A holder of the
// permission gets the document itself, with whatever it holds. The public gets
// a new document with the public fields alone: a field without a row, a key
// that no node describes, and a value whose type is not the row's all vanish.
// The new document shares leaves with doc, so treat both as read-only.
func (t *Table) Redact(doc map[string]any, access Access) map[string]any {
	if access == Protected {
		return doc
	}
	out := make(map[string]any, len(doc))
	for key, v := range doc {
		f := t.Field(key)
		if f == nil {
			continue
		}
		if r, ok := f.redact(v); ok {
			out[key] = r
		}
	}
	return out
}

// redact copies what the public may see of v; false when that is nothing. The
// depth is that of the table, not of the value.
func (f *Field) redact(v any) (any, bool) {
	if !f.Public {
		return nil, false
	}
	if f.Type == Any {
		return v, true
	}
	have := typeOf(v)
	if have&f.Type == 0 {
		return nil, false
	}
	switch have {
	case Object:
		return f.redactObject(v.(map[string]any))
	case Array:
		return f.redactArray(items(v))
	}
	return v, true
}

func (f *Field) redactObject(v map[string]any) (any, bool) {
	if !slices.ContainsFunc(f.children(), func(c *Field) bool { return c.Public }) {
		return nil, false
	}
	out := make(map[string]any, len(v))
	for key, x := range v {
		m := f.member(key)
		if m == nil {
			continue
		}
		if r, ok := m.redact(x); ok {
			out[key] = r
		}
	}
	return out, true
}

func (f *Field) redactArray(v []any) (any, bool) {
	if f.Items == nil || !f.Items.Public {
		return nil, false
	}
	out := make([]any, 0, len(v))
	for _, x := range v {
		if r, ok := f.Items.redact(x); ok {
			out = append(out, r)
		}
	}
	return out, true
}

// RedactRaw makes the raw crash that a reader may see: for the public, the
// annotations that are public. Clients send text for every type; an annotation
// that came as an object or list is reduced like the field it is copied to.
func (t *Table) RedactRaw(raw map[string]any, access Access) map[string]any {
	if access == Protected {
		return raw
	}
	out := make(map[string]any, len(raw))
	for key, v := range raw {
		a := t.raw[key]
		if a == nil || !a.Public {
			continue
		}
		if typeOf(v)&(Object|Array) == 0 {
			out[key] = v
			continue
		}
		if a.Field == nil {
			continue
		}
		if r, ok := a.Field.redact(v); ok {
			out[key] = r
		}
	}
	return out
}
