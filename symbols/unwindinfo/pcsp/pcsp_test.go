package pcsp

import (
	"strings"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/gopclntab"
	"mayday/symbols/sample/goprogram"
	"mayday/symbols/unwindinfo/dwarf"
	"mayday/symbols/unwindinfo/rule"
)

// ruleFor is the rule for a register among rules.
func ruleFor(rules, register string) string {
	all := dwarf.Split(rules)
	for i := 0; i < len(all); i += 2 {
		if all[i] == register {
			return all[i+1]
		}
	}
	return ""
}

// Frames and return addresses are where .debug_frame has them, which Go's linker
// makes for debuggers, but for those functions whose callers cannot be told.
func TestRulesAgainstDebugFrame(t *testing.T) {
	for _, target := range []string{"linux amd64", "linux 386", "linux arm", "linux arm64", "darwin arm64"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			im := goprogram.Open(t, goprogram.Build(t, target))
			name := ".debug_frame"
			if im.Format == executable.MachO {
				name = "__debug_frame"
			}
			want, got := dwarf.New(im, name, ""), New(im)
			if want == nil && im.Section("__zdebug_frame") != nil {
				t.Skip("the linker compressed what debuggers would read")
			}
			if want == nil || got == nil {
				t.Fatal("no tables")
			}
			compared, ends := 0, 0
			for i := range got.table.Len() {
				fn, ok := got.table.Function(i)
				if !ok {
					continue
				}
				for p := range got.table.Depths(&fn) {
					q := rule.Query{Offset: p.Start}
					theirs, ok := want.Rules(q)
					if !ok {
						continue // the linker's own, such as go:buildid
					}
					ours, ok := got.Rules(q)
					if !ok {
						t.Fatalf("%s+%#x: no rules", got.table.Name(&fn), p.Start-fn.Start)
					}
					if k := got.kind(&fn); k == injected {
						continue
					} else if k != usual {
						ends++
						if ruleFor(ours.CFI.Init, ".ra") != rule.Undefined {
							t.Errorf("%s goes on: %s", got.table.Name(&fn), ours.CFI.Init)
						}
						continue
					}
					compared++
					for _, register := range []string{rule.CFA, ".ra"} {
						a, b := ruleFor(ours.CFI.Init, register), ruleFor(theirs.CFI.Init, register)
						if register == ".ra" && b == rule.Undefined {
							continue // flagged as outermost, and not in fact
						}
						if a != b {
							t.Fatalf("%s+%#x: %s is %s, .debug_frame says %s", got.table.Name(&fn), p.Start-fn.Start, register, a, b)
						}
					}
				}
			}
			if compared < 5000 || ends < 20 {
				t.Errorf("%d rows compared, %d of functions that end stacks", compared, ends)
			}
			t.Logf("%d rows compared, %d of functions that end stacks", compared, ends)
		})
	}
}

// What All yields is what Rules answers, but in functions that leave their stack.
func TestAll(t *testing.T) {
	f := New(goprogram.Open(t, goprogram.Build(t, "linux amd64")))
	rows := 0
	for code, all := range f.All() {
		for i, r := range all {
			end := code.Offset + code.Size
			if i+1 < len(all) {
				end = all[i+1].Offset
			}
			if r.Offset >= end {
				t.Fatalf("row at %#x ends at %#x", r.Offset, end)
			}
			fn, _ := f.table.Find(r.Offset)
			if f.kind(&fn) == switching {
				continue
			}
			rows++
			for _, at := range []uint64{r.Offset, end - 1} {
				s, ok := f.Rules(rule.Query{Offset: at})
				if want := strings.ReplaceAll(s.CFI.Init, rule.Undefined, nowhere); !ok || want != r.Rules {
					t.Fatalf("at %#x: %q, row %q", at, s.CFI.Init, r.Rules)
				}
			}
		}
	}
	if rows < 5000 {
		t.Errorf("%d rows", rows)
	}
}

// special are places in functions that the runtime treats in its own way.
func TestSpecialFunctions(t *testing.T) {
	for _, target := range []string{"linux amd64", "linux arm64"} {
		f := New(goprogram.Open(t, goprogram.Build(t, target)))
		seen := 0
		for i := range f.table.Len() {
			fn, ok := f.table.Function(i)
			if !ok {
				continue
			}
			var last gopclntab.Piece
			for p := range f.table.Depths(&fn) {
				if p.Value > 0 {
					last = p
				}
			}
			call, _ := f.Rules(rule.Query{Offset: fn.Start})
			stands, _ := f.Rules(rule.Query{Offset: fn.Start, Innermost: true})
			body, _ := f.Rules(rule.Query{Offset: last.Start})
			undefined := func(s rule.Set) bool { return ruleFor(s.CFI.Init, ".ra") == rule.Undefined }
			switch f.table.Name(&fn) {
			case "runtime.goexit", "runtime.rt0_go":
				if seen++; !undefined(call) || !undefined(stands) {
					t.Errorf("%s: %q %q", target, call.CFI.Init, stands.CFI.Init)
				}
			case "runtime.mcall", "runtime.systemstack":
				if seen++; !undefined(call) || undefined(stands) {
					t.Errorf("%s: %q %q", target, call.CFI.Init, stands.CFI.Init)
				}
			case "runtime.mstart":
				if seen++; undefined(call) {
					t.Errorf("%s: %q", target, call.CFI.Init)
				}
			case "runtime.sigpanic":
				want := map[string]string{"linux amd64": ".cfa -16 + ^", "linux arm64": ".cfa -16 + ^"}[target]
				register := map[string]string{"linux amd64": "$rbp", "linux arm64": "$x30"}[target]
				if seen++; !body.Interrupted || ruleFor(body.CFI.Init, register) != want {
					t.Errorf("%s: %+v", target, body)
				}
			}
		}
		if seen != 6 {
			t.Errorf("%s: %d of 6 functions", target, seen)
		}
	}
}
