package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// typeOf says which types a decoded JSON value has. A whole number is an
// integer and a number both: JSON does not keep them apart.
func typeOf(v any) Type {
	switch v := v.(type) {
	case nil:
		return Null
	case string:
		return String
	case bool:
		return Boolean
	case map[string]any:
		return Object
	case []any, []string:
		return Array
	case int, int64, int32, uint32, uint64:
		return Integer | Number
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			return Integer | Number
		}
		return Number
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			if f, err := v.Float64(); err != nil || f != math.Trunc(f) {
				return Number
			}
		}
		return Integer | Number
	}
	return 0
}

// items makes a list of any kind one of any.
func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return list
	}
	return nil
}

// toInt reads an integer as the index does: whole numbers, numbers cut to
// whole ones, and text that is one.
func toInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		// 2^63 itself is past the range, and no float lies between.
		return int64(v), v >= math.MinInt64 && v < math.MaxInt64
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, true
		}
		f, err := v.Float64()
		if err != nil {
			return 0, false
		}
		return toInt(f)
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n, err == nil
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// toFloat reads a number as the index does.
func toFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return f, err == nil
	}
	n, ok := toInt(v)
	return float64(n), ok
}

// toText writes a scalar as text, booleans as 1 and 0.
func toText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		if v {
			return "1", true
		}
		return "0", true
	case json.Number:
		return v.String(), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e18 {
			return strconv.FormatInt(int64(v), 10), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	if n, ok := toInt(v); ok {
		return strconv.FormatInt(n, 10), true
	}
	return "", false
}
