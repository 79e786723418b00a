package signature

import "mayday/signature/python"

// copied are the fields that crash data has from the processed crash as they
// are, null when missing.
var copied = [...]string{
	"hang", "js_large_allocation_failure", "abort_message", "mdsw_status_string",
	"async_shutdown_timeout", "ipc_channel_error", "ipc_message_name",
}

// Convert makes crash data of a processed crash. Values are passed on as they
// are and shared with the argument; only the allocation size becomes a number,
// or null where it is none.
func Convert(processed map[string]any) map[string]any {
	data := make(map[string]any, 16)
	for _, k := range copied {
		data[k] = processed[k]
	}
	data["oom_allocation_size"] = nil
	if v := processed["oom_allocation_size"]; v != nil {
		if n, ok := python.Int(v); ok {
			data["oom_allocation_size"] = n
		}
	}
	data["additional_minidumps"] = []any{}
	if v, ok := processed["additional_minidumps"]; ok {
		data["additional_minidumps"] = v
	}
	data["original_signature"] = ""
	if v, ok := processed["signature"]; ok {
		data["original_signature"] = v
	}
	if v, ok := processed["json_dump"]; ok {
		dump, _ := v.(map[string]any)
		info, _ := dump["crash_info"].(map[string]any)
		system, _ := dump["system_info"].(map[string]any)
		data["crashing_thread"] = info["crashing_thread"]
		data["reason"] = info["type"]
		data["threads"] = dump["threads"]
		data["os"] = system["os"]
	}
	for _, k := range [...]string{"java_exception", "java_stack_trace"} {
		if v, ok := processed[k]; ok {
			data[k] = v
		}
	}
	return data
}

// FromProcessed is FromCrashData of Convert: the input that a processed crash
// holds.
func FromProcessed(processed map[string]any) Input { return FromCrashData(Convert(processed)) }

// IsProcessed tells a processed crash from crash data: only the former has
// the stackwalker's output in it.
func IsProcessed(doc map[string]any) bool {
	_, ok := doc["json_dump"]
	return ok
}
