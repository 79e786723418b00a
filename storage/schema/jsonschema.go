package schema

// JSONSchema is the JSON Schema (draft 7) of a processed crash. The extra key
// "public" says who may see a value.
func (t *Table) JSONSchema() map[string]any {
	s := map[string]any{"$schema": "http://json-schema.org/draft-07/schema#", "title": "processed crash", "type": "object"}
	props := map[string]any{}
	for _, f := range t.fields {
		props[f.Name] = f.jsonSchema()
	}
	s["properties"] = props
	if len(t.patterns) > 0 {
		patterns := map[string]any{}
		for _, p := range t.patterns {
			patterns[p.Name] = p.jsonSchema()
		}
		s["patternProperties"] = patterns
	}
	return s
}

func (f *Field) jsonSchema() map[string]any {
	s := map[string]any{"public": f.Public}
	if f.Type != Any {
		s["type"] = schemaType(f.Type)
	}
	if f.Doc != "" {
		s["description"] = f.Doc
	}
	if f.Default != nil {
		s["default"] = f.Default
	}
	if len(f.Examples) > 0 {
		s["examples"] = f.Examples
	}
	if f.Deprecated {
		s["deprecated"] = true
	}
	if f.Annotation != "" {
		s["annotation"] = f.Annotation
	}
	if len(f.Fields) > 0 {
		props := map[string]any{}
		for _, m := range f.Fields {
			props[m.Name] = m.jsonSchema()
		}
		s["properties"] = props
	}
	if len(f.Patterns) > 0 {
		patterns := map[string]any{}
		for _, m := range f.Patterns {
			patterns[m.Name] = m.jsonSchema()
		}
		s["patternProperties"] = patterns
	}
	if f.Items != nil {
		s["items"] = f.Items.jsonSchema()
	}
	return s
}

// RawSchema is the JSON Schema (draft 7) of a raw crash: what clients send is
// text, whatever the processor makes of it.
func (t *Table) RawSchema() map[string]any {
	props := map[string]any{}
	for _, a := range t.annotations {
		p := map[string]any{"public": a.Public, "description": a.Doc}
		typ := String | Null
		if a.Field == nil {
			typ = a.Type
		} else if a.Type&Object != 0 {
			typ |= Object
		}
		p["type"] = schemaType(typ)
		if a.Deprecated {
			p["deprecated"] = true
		}
		props[a.Name] = p
	}
	return map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "raw crash", "type": "object", "properties": props,
	}
}
