package rules

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"mayday/storage/schema"
)

// DeNull takes NUL characters out of names and texts: databases and indexes
// choke on them. A name that is cleaned keeps its value.
func DeNull(_ context.Context, _ *Env, c *Crash) error {
	for _, key := range slices.Collect(maps.Keys(c.Raw)) {
		v := c.Raw[key]
		if s, ok := v.(string); ok && strings.Contains(s, "\x00") {
			v = strings.ReplaceAll(s, "\x00", "")
			c.Raw[key] = v
		}
		if clean := strings.ReplaceAll(key, "\x00", ""); clean != key {
			delete(c.Raw, key)
			c.Raw[clean] = v
		}
	}
	return nil
}

// DeNone drops annotations that are null.
func DeNone(_ context.Context, _ *Env, c *Crash) error {
	maps.DeleteFunc(c.Raw, func(_ string, v any) bool { return v == nil })
	return nil
}

var reportKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// maxReportKey bounds a name in crash_report_keys; longer ones are cut.
const maxReportKey = 100

// CrashReportKeys lists the names of all annotations and dumps. Names are
// public, so odd ones, which may hold anything, are left out.
func CrashReportKeys(_ context.Context, _ *Env, c *Crash) error {
	keys := map[string]bool{}
	odd := false
	add := func(name string) {
		if !reportKey.MatchString(name) {
			odd = true
			return
		}
		if len(name) > maxReportKey {
			odd = true
			name = name[:maxReportKey]
		}
		keys[name] = true
	}
	for name := range c.Raw {
		add(name)
	}
	for _, d := range c.Dumps {
		add(d.Name)
	}
	for _, name := range c.Missing {
		add(name)
	}
	if odd {
		c.Note("invalidkeys: Crash report contains invalid keys")
	}
	c.Processed["crash_report_keys"] = slices.Sorted(maps.Keys(keys))
	return nil
}

// CollectorMetadata copies what the collector noted.
func CollectorMetadata(_ context.Context, _ *Env, c *Crash) error {
	m, ok := c.Raw["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	c.Processed["collector_metadata"] = m
	return nil
}

// ConvertModuleSignatureInfo makes text of a ModuleSignatureInfo that came as
// an object, as the walker wants it.
func ConvertModuleSignatureInfo(_ context.Context, _ *Env, c *Crash) error {
	v, ok := c.Raw["ModuleSignatureInfo"]
	if _, isText := v.(string); !ok || isText {
		return nil
	}
	text, err := encodeJSON(v)
	c.Raw["ModuleSignatureInfo"] = text
	return err
}

// CopyFromRawCrash copies each annotation that the field table names, as the
// type that it names.
func CopyFromRawCrash(_ context.Context, env *Env, c *Crash) error {
	for _, f := range env.Schema.Fields() {
		if f.Annotation == "" {
			continue
		}
		v, ok := c.Raw[f.Annotation]
		if !ok {
			if f.Default != nil {
				c.Processed[f.Name] = f.Default
			}
			continue
		}
		if x, ok := c.convert(f, v); ok {
			c.Processed[f.Name] = x
		}
	}
	return nil
}

// convert makes the value of an annotation fit its field; what cannot fit is
// noted, by the value only where that is public.
func (c *Crash) convert(f *schema.Field, v any) (any, bool) {
	switch {
	case f.Type&schema.Any != 0:
		return v, true
	case f.Type&schema.String != 0:
		return strings.TrimRightFunc(asText(v), unicode.IsSpace), true
	case f.Type&schema.Boolean != 0:
		switch strings.ToLower(strings.TrimSpace(asText(v))) {
		case "1", "true":
			return true, true
		case "0", "false":
			return false, true
		}
		if f.Public {
			c.Note("%s has non-boolean value %s", f.Annotation, clip(asText(v)))
		} else {
			c.Note("%s has non-boolean value", f.Annotation)
		}
	case f.Type&schema.Integer != 0:
		n, fits, big := parseInt(v)
		if fits {
			return n, true
		}
		if big {
			if b, ok := bigInt(v); ok {
				return b, true
			}
		}
		c.Note("%s has a non-int value", f.Annotation)
	case f.Type&schema.Number != 0:
		x, err := strconv.ParseFloat(strings.TrimSpace(asText(v)), 64)
		if err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x, true
		}
		c.Note("%s has a non-float value", f.Annotation)
	case f.Type&(schema.Object|schema.Array) != 0:
		return c.convertTree(f, v)
	}
	return nil, false
}

// convertTree takes an object or list, sent as JSON text or as itself. Keys
// that the table does not know are kept; they stay protected.
func (c *Crash) convertTree(f *schema.Field, v any) (any, bool) {
	if text, isText := v.(string); isText {
		var ok bool
		if v, ok = decodeJSON(text); !ok {
			c.Note("%s value is malformed json", f.Annotation)
			return nil, false
		}
	}
	if len(f.Check(v)) > 0 {
		c.Note("%s value is malformed %s", f.Annotation, f.Name)
		return nil, false
	}
	return v, true
}

// maxNotedValue bounds a client's value in a note.
const maxNotedValue = 100

func clip(s string) string {
	if r := []rune(s); len(r) > maxNotedValue {
		return string(r[:maxNotedValue])
	}
	return s
}

// Identifier sets the id of the crash.
func Identifier(_ context.Context, _ *Env, c *Crash) error {
	id, ok := c.annotation("uuid")
	if !ok {
		id = c.ID
	}
	if id == "" {
		return missing("uuid")
	}
	c.Processed["crash_id"], c.Processed["uuid"] = id, id
	return nil
}

// MinidumpSha256Hash copies the checksum of the main dump.
func MinidumpSha256Hash(_ context.Context, _ *Env, c *Crash) error {
	c.Processed["minidump_sha256_hash"] = textAt(c.Raw["metadata"], "dump_checksums", MinidumpName)
	return nil
}

// SubmittedFrom says where in the program the report was sent from. The older
// SubmittedFromInfobar wins where a client sends it.
func SubmittedFrom(_ context.Context, _ *Env, c *Crash) error {
	from := "Unknown"
	if v, old := c.Raw["SubmittedFromInfobar"]; old {
		if truthy(v) {
			from = "Infobar"
		}
	} else if s, ok := c.annotation("SubmittedFrom"); ok {
		from = s
	}
	c.Processed["submitted_from"] = from
	c.Processed["submitted_from_infobar"] = from == "Infobar"
	return nil
}

// SubmissionKind tells full reports from crash pings, which bring a stack of
// addresses that the client unwound and no dump.
func SubmissionKind(_ context.Context, _ *Env, c *Crash) error {
	kind, _ := c.annotation("SubmissionKind")
	_, stacks := c.Raw["StackTraces"]
	if kind == "ping" || stacks && len(c.Dumps) == 0 {
		c.Processed["submission_kind"] = "ping"
		return nil
	}
	c.Processed["submission_kind"] = "report"
	return nil
}

// MozCrashReason copies the reason a program gave for crashing itself. Some
// reasons quote user data; the public field then holds a remark instead.
func MozCrashReason(_ context.Context, env *Env, c *Crash) error {
	reason, ok := c.annotation("MozCrashReason")
	if !ok {
		return nil
	}
	c.Processed["moz_crash_reason_raw"] = reason
	for _, prefix := range env.Tables.UnsafeReasons {
		if strings.HasPrefix(reason, prefix) {
			reason = "sanitized--see moz_crash_reason_raw"
			break
		}
	}
	c.Processed["moz_crash_reason"] = reason
	return nil
}

// UtilityActorsName splits the list of tasks of a utility process.
func UtilityActorsName(_ context.Context, _ *Env, c *Crash) error {
	text, ok := c.annotation("UtilityActorsName")
	if !ok {
		return nil
	}
	names := []string{}
	for _, name := range strings.Split(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	c.Processed["utility_actors_name"] = names
	return nil
}

// DistributionId says which distribution the program came from.
func DistributionId(_ context.Context, env *Env, c *Crash) error {
	if id, _ := c.annotation("DistributionID"); id != "" {
		c.Processed["distribution_id"] = id
		return nil
	}
	env2 := c.Raw["TelemetryEnvironment"]
	if text, ok := env2.(string); ok {
		env2, _ = decodeJSON(text)
	}
	partner, _ := at(env2, "partner").(map[string]any)
	id, present := partner["distributionId"]
	switch text, _ := id.(string); {
	case !present:
		c.Processed["distribution_id"] = "unknown"
	case text == "":
		c.Processed["distribution_id"] = env.Tables.DefaultDistribution
	default:
		c.Processed["distribution_id"] = text
	}
	return nil
}

// sortedUnique sorts and drops repeats.
func sortedUnique(list []string) []string {
	sort.Strings(list)
	return slices.Compact(list)
}

// toInt64 is for numbers that a walker wrote.
func toInt64(v any) (int64, bool) {
	if n, ok := v.(json.Number); ok {
		i, err := n.Int64()
		return i, err == nil
	}
	n, fits, _ := parseInt(v)
	_, isText := v.(string)
	return n, fits && !isText
}
