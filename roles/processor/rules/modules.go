package rules

import (
	"context"
	"regexp"
	"strings"

	"mayday/symbols"
)

// crashingThread is the thread that the processed crash calls the crashing
// one; nil when there is none.
func (c *Crash) crashingThread() map[string]any {
	i, ok := indexAt(c.Processed, "crashing_thread")
	if !ok {
		return nil
	}
	t, _ := at(c.walked(), "threads", i).(map[string]any)
	return t
}

// TopMostFiles finds the first source file on the crashing stack; an inlined
// call stands before the function it was compiled into.
func TopMostFiles(_ context.Context, _ *Env, c *Crash) error {
	thread := c.crashingThread()
	if thread == nil {
		return nil
	}
	c.Processed["topmost_filenames"] = nil
	for _, f := range listAt(thread, "frames") {
		for _, in := range listAt(f, "inlines") {
			if file := textAt(in, "file"); file != "" {
				c.Processed["topmost_filenames"] = file
				return nil
			}
		}
		if file := textAt(f, "file"); file != "" {
			c.Processed["topmost_filenames"] = file
			return nil
		}
	}
	return nil
}

var (
	notFileName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
	notHex      = regexp.MustCompile(`[^A-Fa-f0-9]+`)
)

// cleanModule makes a module's file name and debug id fit to stand between
// slashes and semicolons.
func cleanModule(m any) (file, debugID string) {
	return notFileName.ReplaceAllString(textAt(m, "filename"), ""), notHex.ReplaceAllString(textAt(m, "debug_id"), "")
}

// ModulesInStack lists the modules of the crashing stack.
func ModulesInStack(_ context.Context, _ *Env, c *Crash) error {
	thread := c.crashingThread()
	if thread == nil {
		return nil
	}
	byName := map[string]any{}
	for _, m := range listAt(c.walked(), "modules") {
		if name := textAt(m, "filename"); name != "" && byName[name] == nil {
			byName[name] = m
		}
	}
	var list []string
	seen := map[string]bool{}
	for _, f := range listAt(thread, "frames") {
		name := textAt(f, "module")
		if name == "" || seen[name] || byName[name] == nil {
			continue
		}
		seen[name] = true
		file, id := cleanModule(byName[name])
		list = append(list, file+"/"+id)
	}
	c.Processed["modules_in_stack"] = strings.Join(sortedUnique(list), ";")
	return nil
}

// MissingSymbols lists the modules whose symbols were looked for in vain.
func MissingSymbols(_ context.Context, _ *Env, c *Crash) error {
	var list []string
	for _, m := range listAt(c.walked(), "modules") {
		if at(m, "missing_symbols") != true {
			continue
		}
		file, id := cleanModule(m)
		version := textAt(m, "version")
		if version == "" {
			version = "None"
		}
		if id == "" {
			id = symbols.NoDebugID
		}
		entry := file + "/" + strings.ReplaceAll(version, "/", `\/`) + "/" + id
		if code := textAt(m, "code_id"); code != "" {
			entry += "/" + code
		}
		list = append(list, strings.ReplaceAll(entry, ";", ""))
	}
	if len(list) > 0 {
		c.Processed["missing_symbols"] = strings.Join(sortedUnique(list), ";")
	}
	return nil
}

// maxArrived is how many modules one note names.
const maxArrived = 10

// symbolsArrived lists the modules whose symbols were missing in the round
// before and are loaded now.
func (c *Crash) symbolsArrived() []string {
	lacked := map[string]bool{}
	for _, m := range listAt(at(c.Previous, "json_dump"), "modules") {
		if file, id := cleanModule(m); id != "" && at(m, "missing_symbols") == true {
			lacked[file+"/"+id] = true
		}
	}
	if len(lacked) == 0 {
		return nil
	}
	var came []string
	for _, m := range listAt(c.walked(), "modules") {
		file, id := cleanModule(m)
		if lacked[file+"/"+id] && at(m, "loaded_symbols") == true {
			came = append(came, file+"/"+id)
		}
	}
	return sortedUnique(came)
}

// SymbolsArrived notes which symbols came since the round before, so that the
// history says why names have changed.
func SymbolsArrived(_ context.Context, _ *Env, c *Crash) error {
	came := c.symbolsArrived()
	switch {
	case len(came) == 0:
	case len(came) > maxArrived:
		c.Note("SymbolsArrivedRule: symbols have come since the last processing: %s and %d more", strings.Join(came[:maxArrived], ", "), len(came)-maxArrived)
	default:
		c.Note("SymbolsArrivedRule: symbols have come since the last processing: %s", strings.Join(came, ", "))
	}
	return nil
}
