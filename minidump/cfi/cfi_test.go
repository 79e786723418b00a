package cfi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// callee is a machine of two maps.
type callee struct {
	registers, words map[string]uint64
}

func (c callee) Register(name string) (uint64, bool) {
	v, ok := c.registers[name]
	return v, ok
}

func (c callee) Load(address uint64) (uint64, bool) {
	v, ok := c.words[fmt.Sprintf("%#x", address)]
	return v, ok
}

var sample = callee{
	registers: map[string]uint64{"rsp": 0x1000, "rbp": 0x1040, "x29": 0x2000, "12": 99},
	words:     map[string]uint64{"0x1000": 0xaaaa, "0x1008": 0x1000, "0xfffffffffffffff8": 7},
}

func TestEvaluate(t *testing.T) {
	known := CFA{Value: 0x1010, Known: true}
	for _, tt := range []struct {
		expression string
		cfa        CFA
		want       uint64
		ok         bool
	}{
		{"$rsp 8 +", CFA{}, 0x1008, true},
		{"$rsp 8 -", CFA{}, 0xff8, true},
		{"$rsp 3 *", CFA{}, 0x3000, true},
		{"$rsp 3 /", CFA{}, 0x555, true},
		{"$rsp 3 %", CFA{}, 1, true},
		{"$rbp 1 + 64 @", CFA{}, 0x1040, true},
		{"$rsp ^", CFA{}, 0xaaaa, true},
		{"$rsp 8 + ^ ^", CFA{}, 0xaaaa, true},
		{".cfa -8 + ^", known, 0x1000, true},
		{".cfa", known, 0x1010, true},
		{"0 1 -", CFA{}, ^uint64(0), true},
		{"0 8 - ^", CFA{}, 7, true},
		{"-9223372036854775808", CFA{}, 1 << 63, true},
		{"+5", CFA{}, 5, true},
		{"x29 16 +", CFA{}, 0x2010, true},
		{"$x29", CFA{}, 0x2000, true},
		{"12", CFA{}, 12, true},           // a number, not the register of that name
		{"$12", CFA{}, 99, true},          // the register
		{"junk$rsp", CFA{}, 0x1000, true}, // what is before the $ does not matter
		{" \t $rsp\r\n", CFA{}, 0x1000, true},
		{"9223372036854775808 1 @ 2 +", CFA{}, 0, false}, // does not fit a signed number, is no register

		{"", CFA{}, 0, false},
		{"1 2", CFA{}, 0, false},
		{"+", CFA{}, 0, false},
		{"1 +", CFA{}, 0, false},
		{"^", CFA{}, 0, false},
		{"1 0 /", CFA{}, 0, false},
		{"1 0 %", CFA{}, 0, false},
		{"8 0 @", CFA{}, 0, false},
		{"8 3 @", CFA{}, 0, false},
		{".cfa", CFA{}, 0, false},
		{".undef", known, 0, false},
		{"1 .undef +", known, 0, false},
		{"$nosuch", CFA{}, 0, false},
		{"nosuch", CFA{}, 0, false},
		{"0x10", CFA{}, 0, false},
		{"1_0", CFA{}, 0, false},
		{"$rsp 4 + ^", CFA{}, 0, false},
	} {
		var e Evaluator
		got, ok := e.Evaluate(tt.expression, sample, tt.cfa)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q = %#x, %v; want %#x, %v", tt.expression, got, ok, tt.want, tt.ok)
		}
		if e.Work != uint64(len(tt.expression)) {
			t.Errorf("%q counts as %d bytes of work", tt.expression, e.Work)
		}
	}
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records []string
		want    Rules
		ok      bool
	}{
		{"one record", []string{".cfa: $rsp 8 + .ra: .cfa -8 + ^"}, Rules{CFA: "$rsp 8 +", RA: ".cfa -8 + ^"}, true},
		{"registers", []string{".cfa: sp .ra: x30 $x19: .cfa x20: 1  2   +"},
			Rules{CFA: "sp", RA: "x30", Others: []Rule{{"x19", ".cfa"}, {"x20", "1  2   +"}}}, true},
		{"later ones replace", []string{".cfa: a .ra: b $r: c", ".cfa: d $r: e $q: f"},
			Rules{CFA: "d", RA: "b", Others: []Rule{{"r", "e"}, {"q", "f"}}}, true},
		{"twice in a record", []string{".cfa: a .cfa: b $r: c r: d"}, Rules{CFA: "b", Others: []Rule{{"r", "d"}}}, true},
		{"nothing", []string{""}, Rules{}, false},
		{"spaces", []string{"  "}, Rules{}, false},
		{"no register first", []string{"$rsp 8 + .cfa: 1"}, Rules{}, false},
		{"no expression", []string{".cfa: .ra: 1"}, Rules{}, false},
		{"no expression at the end", []string{".cfa: 1 .ra:"}, Rules{CFA: "1"}, false},
		{"empty name", []string{": 1"}, Rules{Others: []Rule{{"", "1"}}}, true},
	} {
		var r Rules
		r.Add(".cfa: stale $old: stale")
		r.Reset()
		ok := true
		for _, record := range tt.records {
			ok = ok && r.Add(record)
		}
		if ok != tt.ok {
			t.Errorf("%s: ok = %v", tt.name, ok)
		}
		if diff := cmp.Diff(tt.want, r, cmpopts.IgnoreUnexported(Rules{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Many rules must neither get lost nor take long: a line of a symbol file can
// hold tens of thousands.
func TestManyRules(t *testing.T) {
	var record strings.Builder
	const n = 30_000
	for i := range n {
		fmt.Fprintf(&record, "r%d: %d ", i, i)
	}
	var r Rules
	for range 2 {
		if !r.Add(record.String()) {
			t.Fatal("record refused")
		}
		if len(r.Others) != n || r.Others[n-1] != (Rule{"r29999", "29999"}) {
			t.Fatalf("%d rules, the last %v", len(r.Others), r.Others[len(r.Others)-1])
		}
	}
}

func FuzzCFI(f *testing.F) {
	f.Add(".cfa: $rsp 8 + .ra: .cfa -8 + ^", "$rbx: .cfa -16 + ^")
	f.Add(".cfa: sp 16 @ .ra: x30", ".cfa: .undef")
	f.Add("1 2 /", ": :")
	f.Fuzz(func(t *testing.T, init, delta string) {
		var r Rules
		var e Evaluator
		if !r.Add(init) || !r.Add(delta) {
			return
		}
		cfa, ok := e.Evaluate(r.CFA, sample, CFA{})
		e.Evaluate(r.RA, sample, CFA{cfa, ok})
		seen := map[string]bool{}
		for _, rule := range r.Others {
			if seen[rule.Register] {
				t.Fatalf("register %q has two rules", rule.Register)
			}
			seen[rule.Register] = true
			e.Evaluate(rule.Expression, sample, CFA{cfa, ok})
		}
		if e.Work > uint64(len(init)+len(delta)) {
			t.Fatalf("%d bytes of work for %d bytes of rules", e.Work, len(init)+len(delta))
		}
	})
}

func BenchmarkCFI(b *testing.B) {
	records := []string{".cfa: $rsp 8 + .ra: .cfa -8 + ^", ".cfa: $rsp 16 + $rbp: .cfa -16 + ^", ".cfa: $rbp 16 +", "$rbx: $rbp 8 - ^"}
	var r Rules
	var e Evaluator
	for b.Loop() {
		r.Reset()
		for _, record := range records {
			r.Add(record)
		}
		cfa, _ := e.Evaluate(r.CFA, sample, CFA{})
		e.Evaluate(r.RA, sample, CFA{cfa, true})
		for _, rule := range r.Others {
			e.Evaluate(rule.Expression, sample, CFA{cfa, true})
		}
	}
}
