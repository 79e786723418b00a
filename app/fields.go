package app

import (
	"strings"

	"mayday/app/fault"
	"mayday/storage/schema"
	"mayday/storage/search/plan"
)

// searchTypes and searchStorages say in the words of the query language what
// the field table says in Socorro's.
var (
	searchTypes = map[string]plan.Type{"str": plan.Str, "enum": plan.Enum, "int": plan.Int, "float": plan.Float, "datetime": plan.Date, "bool": plan.Bool}

	searchStorages = map[string]plan.Storage{"keyword": plan.Keyword, "text": plan.Text, "long": plan.Long, "integer": plan.Integer,
		"short": plan.Integer, "double": plan.Double, "boolean": plan.Boolean, "date": plan.Instant}
)

// searchFields makes the search engine's fields of the field table's rows.
func searchFields(t *schema.Table, betaVersions bool) (*plan.Fields, error) {
	var list []plan.Field
	for _, f := range t.SearchFields() {
		kind, ok := searchTypes[f.Validation]
		storage, known := searchStorages[f.Storage]
		if !ok || !known {
			return nil, fault.New(fault.Internal, "search field %s: validation %q, storage %q", f.Name, f.Validation, f.Storage)
		}
		if f.Analyzer == "semicolon_keywords" {
			storage = plan.Semicolon
		}
		one := plan.Field{Name: f.Name, Path: f.Source, Type: kind, Storage: storage, Histogram: f.Histogram(), Parts: f.Parts,
			Whole: f.Name == "product", BetaPrefix: betaVersions && f.Name == "version", Frames: strings.HasSuffix(f.Source, ".crashing_thread.frames")}
		if !f.Public {
			one.Permission = plan.ViewPII
		}
		list = append(list, one)
	}
	return plan.NewFields(list)
}
