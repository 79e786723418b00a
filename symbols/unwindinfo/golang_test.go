package unwindinfo

import (
	"strings"
	"testing"

	"mayday/symbols/gopclntab"
	"mayday/symbols/sample/goprogram"
	"mayday/symbols/unwindinfo/rule"
)

// Stripped programs in Go are unwound whatever their format: frames are as large as
// they are, and stacks end where they begin.
func TestStrippedGo(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling for other targets takes its time")
	}
	for target, sp := range map[string]string{"linux amd64": "$rsp", "windows amd64": "$rsp", "windows arm64": "$sp", "darwin amd64": "$rsp", "darwin arm64": "$sp"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			im := goprogram.Open(t, goprogram.Build(t, target, "-ldflags=-s -w"))
			table, err := gopclntab.Open(im)
			if err != nil {
				t.Fatal(err)
			}
			tab, seen := New(im), 0
			for i := range table.Len() {
				f, ok := table.Function(i)
				if !ok {
					continue
				}
				switch table.Name(&f) {
				case "main.large": // has 64 KB of local variables
					seen++
					q := rule.Query{Base: 0x7f00_0000_0000, Offset: (f.Start + f.End) / 2}
					set, ok := tab.Rules(q)
					words := strings.Fields(set.CFI.Init)
					if !ok || len(words) < 4 || words[1] != sp || len(words[2]) != 5 || words[2] < "65536" || words[2] > "65800" || set.CFI.Start != f.Start {
						t.Errorf("in the middle of %s: %+v", table.Name(&f), set)
					}
				case "runtime.goexit":
					seen++
					if set, ok := tab.Rules(rule.Query{Offset: f.Start + 1}); !ok || !strings.Contains(set.CFI.Init, ".ra: "+rule.Undefined) {
						t.Errorf("at the end: %+v", set)
					}
				}
			}
			if seen != 2 {
				t.Errorf("%d of 2 functions", seen)
			}
		})
	}
}
