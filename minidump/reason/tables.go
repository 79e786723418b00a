package reason

import (
	_ "embed" // the name tables
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed linux.txt
var linuxText string

//go:embed mac.txt
var macText string

//go:embed windows.txt
var windowsText string

//go:embed winerror.txt
var winErrorText string

//go:embed ntstatus.txt
var ntStatusText string

// names holds the sections of one file: value to name.
type names map[string]map[uint64]string

// The tables are read when they are first needed: a dump of Linux needs none
// of the large ones.
var (
	linuxNames    = sync.OnceValue(func() names { return parse(linuxText) })
	macNames      = sync.OnceValue(func() names { return parse(macText) })
	windowsNames  = sync.OnceValue(func() names { return parse(windowsText) })
	winErrorNames = sync.OnceValue(func() names { return parse(winErrorText) })
	ntStatusNames = sync.OnceValue(func() names { return parse(ntStatusText) })
)

// parse reads a table. A mistake in one is a mistake in the program, so it
// panics.
func parse(text string) names {
	n := names{}
	var section map[uint64]string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = map[uint64]string{}
			n[strings.Trim(line, "[]")] = section
			continue
		}
		value, name, ok := strings.Cut(line, " ")
		v, err := strconv.ParseUint(value, 16, 64)
		if !ok || err != nil || section == nil {
			panic(fmt.Sprintf("reason table: bad line %q", line))
		}
		section[v] = name
	}
	return n
}
