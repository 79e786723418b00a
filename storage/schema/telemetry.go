package schema

// telemetryVersion is the version of the export's layout. Fields may be added
// at the top; a change inside an object needs a new number.
const telemetryVersion = 2

// Telemetry makes the public subset of a processed crash that is exported, and
// names the fields that were left out because their value does not fit. A
// protected field is never exported, whatever its row says.
func (t *Table) Telemetry(processed map[string]any) (doc map[string]any, dropped []string) {
	doc = make(map[string]any, len(processed))
	for _, f := range t.fields {
		v, present := processed[f.Name]
		if !present || !f.Public || !f.Telemetry.Export {
			continue
		}
		if x, ok := f.export(v, &dropped); ok {
			doc[f.Telemetry.Name] = x
		}
	}
	return doc, dropped
}

// export makes v fit the export; false leaves it out.
func (f *Field) export(v any, dropped *[]string) (any, bool) {
	have := typeOf(v)
	if have == Null {
		// An object or list is either there or not; a scalar may be null.
		return nil, f.Type&(Object|Array) == 0 && !f.Telemetry.NoNull
	}
	if have&f.Type == 0 {
		*dropped = append(*dropped, f.Path)
		return nil, false
	}
	switch {
	case have == Object:
		out := map[string]any{}
		obj := v.(map[string]any)
		for _, m := range f.Fields {
			x, present := obj[m.Name]
			if !present || !m.Public || !m.Telemetry.Export {
				continue
			}
			if y, ok := m.export(x, dropped); ok {
				out[m.Telemetry.Name] = y
			}
		}
		return out, true
	case have == Array:
		out := []any{}
		for _, x := range items(v) {
			if f.Items == nil || !f.Items.Public || !f.Items.Telemetry.Export {
				break
			}
			if y, ok := f.Items.export(x, dropped); ok {
				out = append(out, y)
			}
		}
		return out, true
	case f.Telemetry.AsText:
		return toText(v)
	}
	return v, true
}

// TelemetrySchema is the JSON Schema (draft 4) of the export.
func (t *Table) TelemetrySchema() map[string]any {
	props := map[string]any{}
	for _, f := range t.fields {
		if f.Public && f.Telemetry.Export {
			props[f.Telemetry.Name] = f.exportSchema()
		}
	}
	return map[string]any{
		"$schema": "http://json-schema.org/draft-04/schema#", "$target_version": telemetryVersion,
		"type": "object", "properties": props,
	}
}

func (f *Field) exportSchema() map[string]any {
	s := map[string]any{}
	if f.Doc != "" {
		s["description"] = f.Doc
	}
	switch {
	case f.Type&Object != 0:
		props := map[string]any{}
		for _, m := range f.Fields {
			if m.Public && m.Telemetry.Export {
				props[m.Telemetry.Name] = m.exportSchema()
			}
		}
		s["type"], s["properties"] = "object", props
	case f.Type&Array != 0:
		s["type"] = "array"
		if f.Items != nil && f.Items.Public && f.Items.Telemetry.Export {
			s["items"] = f.Items.exportSchema()
		}
	default:
		typ := f.Type
		if f.Telemetry.AsText {
			typ = String
		}
		typ |= Null
		if f.Telemetry.NoNull {
			typ &^= Null
		}
		s["type"] = schemaType(typ)
	}
	return s
}

// schemaType writes a type for JSON Schema: one name, or a list of names.
func schemaType(t Type) any {
	names := t.Names()
	if len(names) == 1 {
		return names[0]
	}
	return names
}
