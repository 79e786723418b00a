package processor

import (
	"mayday/storage"
	"mayday/storage/schema"
)

// Views are the forms of a processed crash that leave the processor.
type Views struct {
	Processed map[string]any // the whole, as stored
	Public    map[string]any // what anybody may see
	Telemetry TelemetryView
	Index     map[string]any // what the search index holds
}

// TelemetryView is the exported subset and the key it is stored under.
type TelemetryView struct {
	Key      string         `json:"key"`
	Document map[string]any `json:"document"`
	Dropped  []string       `json:"-"` // fields left out because their value does not fit
}

// ViewsOf makes every view of a processed crash.
func ViewsOf(t *schema.Table, id storage.CrashID, processed map[string]any) Views {
	return Views{
		Processed: processed,
		Public:    t.Redact(processed, schema.Public),
		Telemetry: telemetryOf(t, id, processed),
		Index:     t.SearchDoc(processed),
	}
}

func telemetryOf(t *schema.Table, id storage.CrashID, processed map[string]any) TelemetryView {
	doc, dropped := t.Telemetry(processed)
	return TelemetryView{Key: TelemetryKey(id), Document: doc, Dropped: dropped}
}

// TelemetryKey is where the telemetry bucket holds the export of a crash.
func TelemetryKey(id storage.CrashID) string { return "v1/crash_report/" + id.Day() + "/" + string(id) }
