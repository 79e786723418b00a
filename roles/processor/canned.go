package processor

import (
	"bytes"
	"context"
	"encoding/json"

	"mayday/app/fault"
	"mayday/roles/processor/rules"
)

// Canned is a walker whose results were made before; what it lacks it leaves
// to another.
type Canned struct {
	Results map[string]rules.WalkResult // by dump name
	Else    rules.Walker                // nil: a dump without a result cannot be read
}

// Walk gives the result for the dump's name.
func (w Canned) Walk(ctx context.Context, d rules.Dump, annotations map[string]any) rules.WalkResult {
	if r, ok := w.Results[d.Name]; ok {
		return r
	}
	if w.Else != nil {
		return w.Else.Walk(ctx, d, annotations)
	}
	return rules.WalkResult{Exit: rules.ExitFailed, Log: "ERROR MissingResult - no result for this dump\n"}
}

// ParseCanned reads a walker's result: {"exit", "output", "log"}, or the output
// alone, as `mayday stackwalk --json` writes it.
func ParseCanned(text []byte) (rules.WalkResult, error) {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return rules.WalkResult{}, fault.As(fault.Malformed, err, "walker result")
	}
	exit, isWhole := doc["exit"].(json.Number)
	if !isWhole {
		return rules.WalkResult{Output: doc}, nil
	}
	code, err := exit.Int64()
	if err != nil {
		return rules.WalkResult{}, fault.New(fault.Malformed, "walker result: exit %q is no code", exit)
	}
	log, _ := doc["log"].(string)
	return rules.WalkResult{Exit: int(code), Output: doc["output"], Log: log}, nil
}
