package truth

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var comparePlaces = cmp.AllowUnexported(place{}, stack{}, tally{}, score{})

func TestTruthOf(t *testing.T) {
	got := truthOf([]gdbFrame{
		{Kind: "inline", Function: "small", PC: 0x1010, File: "/src/a.c", Line: 4},
		{Kind: "normal", Function: "big", Symbol: "big", Here: "big.cold", PC: 0x1010, File: "/src/a.c", Line: 9},
		{Kind: "tail call", Function: "gone", PC: 0x1020, File: "/src/a.c", Line: 12},
		{Kind: "normal", Function: "bare", PC: 0x9000, Library: "/lib/x.so"},
		{Kind: "inline", Function: "between", PC: 0x2000, File: "/src/b.c", Line: 1},
		{Kind: "inline", Function: "wrong", PC: 0x2000, File: "/src/b.c", Line: 2},
		{Kind: "normal", Function: "parts", Symbol: "parts", Here: "between(int)", PC: 0x2000, File: "/src/b.c", Line: 3},
		{Kind: "normal", Function: "main", Symbol: "main", Here: "main", PC: 0x3000, File: "/src/c.c", Line: 7},
	})
	want := stack{
		places: []place{{"small", "", "a.c", 4, false}, {"big", "big", "a.c", 9, false}, {"between(int)", "", "b.c", 1, false}, {"main", "main", "c.c", 7, false}},
		pcs:    []uint64{0x1010, 0x9000, 0x2000, 0x3000}, how: []string{"big.cold", "", "between(int)", "main"},
		tails: 1, mistaken: 1,
	}
	if diff := cmp.Diff(want, got, comparePlaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadGDBDropsWhatFollowsTheStack(t *testing.T) {
	got, err := readGDB([]byte(`[{"id":7,"frames":[{"kind":"normal","pc":0},{"kind":"normal","pc":4097},{"kind":"normal","pc":99},{"kind":"normal","pc":0}]},
		{"id":8,"frames":[{"kind":"normal","function":"__clone3","pc":1},{"kind":"normal","pc":0}]}]`),
		func(a uint64) bool { return a == 4096 })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint32]stack{7: {pcs: []uint64{0, 4097}, how: []string{"", ""}}}, got, comparePlaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadWalk(t *testing.T) {
	got, err := readWalk([]byte(`{"threads":[{"thread_id":7,"frames":[
		{"module":"program","function":"f","file":"/src/a.c","line":4,"offset":"0x10","trust":"cfi","inlines":[{"function":"g","file":"b.h","line":2},{"function":"h","file":null,"line":null}]},
		{"module":"libc.so.6","function":"qsort","file":"s/msort.c","line":9,"offset":"0x20","trust":"scan","inlines":null},
		{"module":null,"function":null,"file":null,"line":null,"offset":"0x30"}]}]}`), "program")
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint32]stack{7: {
		places: []place{{"g", "", "b.h", 2, false}, {"f", "", "a.c", 4, false}, {"qsort", "", "msort.c", 9, true}},
		pcs:    []uint64{0x10, 0x20, 0x30}, how: []string{"program by cfi", "libc.so.6 by scan", " by "},
	}}
	if diff := cmp.Diff(want, got, comparePlaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlain(t *testing.T) {
	for name, want := range map[string]string{
		"main":                      "main",
		"weigh(int) [clone .cold]":  "weigh",
		"copy.constprop.0.isra.0":   "copy",
		"std::vector<int>::at(int)": "at",
		"Holder<long>::~Holder":     "~Holder",
		"sum<T>(V&)::{lambda(int)#1}::operator()(int) const":             "operator call",
		"operator<< <char>(X&)":                                          "operator left",
		"panic::total::{{closure}}":                                      "closure",
		"panic::total::{closure#0}":                                      "closure",
		"<crash::Leaf as crash::Visit>::visit":                           "visit",
		"crash::{impl#1}::visit":                                         "visit",
		"core::iter::fold::h0123456789abcdef":                            "fold",
		"runtime.goexit.abi0":                                            "runtime.goexit",
		"main.(*table[go.shape.string,go.shape.float64]).at":             "main..at",
		"std::__invoke_impl<int, f(X const&)::<lambda(int)> >(int, ...)": "__invoke_impl",
	} {
		if got := plain(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	own := func(n uint32) place { return place{"f", "", "a.c", n, false} }
	lib := func(name string) place { return place{name, "", "lib.c", 5, true} }
	names := aliases{"__libc_f": {"__libc_f", "f"}}
	got := compare(stack{[]place{own(1), own(2), lib("__libc_f"), own(3)}, []uint64{10, 20, 30}, nil, 0, 0},
		stack{[]place{own(1), own(9), own(2), lib("f"), own(3), lib("g")}, []uint64{10, 19, 25}, nil, 0, 0}, names)
	want := score{own: tally{3, 3, 1}, libraries: tally{1, 1, 1}, frames: tally{3, 2, 1}}
	if diff := cmp.Diff(want, got, comparePlaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
