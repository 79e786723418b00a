package symbolicate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayday/symbols"
	"mayday/symbols/cache"
)

// oddLib has names that JSON cannot hold as they are, paths that are not in
// their normal form, records that overlap, and inlined calls of the old form
// where that is asked for.
func oddLib(old bool) string {
	var b strings.Builder
	b.WriteString("MODULE Linux x86_64 " + libID + " odd.so\nINFO CODE_ID 0123 o\"dd\\.so\n")
	for i, path := range []string{"a.c", "/a/../b.c", `C:\w\..\z.c`, "//d//s.c", "/", "", "t\tab.c", "\xff\xfe.c", "é.c", "./x.c", strings.Repeat("/long", 300)} {
		fmt.Fprintf(&b, "FILE %d %s\n", i, path)
	}
	for i, name := range []string{"inner", "3 inner", "-1 inner", "", "\"q\"", "a b c", "\x7f"} {
		fmt.Fprintf(&b, "INLINE_ORIGIN %d %s\n", i, name)
	}
	for i := range 200 {
		start := 0x1000 + i*32
		fmt.Fprintf(&b, "FUNC %x %x 0 %s\n", start, 32+i%7*8, []string{"f", "", "f<\"x\">", "\xff\xff(\\)", "é", strings.Repeat("long, ", 50)}[i%6])
		if i%2 == 0 {
			file := fmt.Sprint(i%13) + " "
			if old {
				file = ""
			}
			fmt.Fprintf(&b, "INLINE 0 %d %s%d %x 10\nINLINE 1 %d %s%d %x 8\n", i, file, i%9, start+8, i+1, file, i%5, start+8)
		}
		fmt.Fprintf(&b, "%x 8 %d %d\n%x 10 %d %d\n", start, i%5, i%12, start+12, i, i%11)
		if i%10 == 0 {
			fmt.Fprintf(&b, "PUBLIC %x 0 p%d\n", start+16, i)
		}
	}
	return b.String()
}

// Answers are written straight from the table. They say what its locations do.
func TestAnswersAreLocations(t *testing.T) {
	for _, old := range []bool{false, true} {
		m := Module{"odd.so", libID}
		e := engine(t, store(t, map[symbols.ModuleID]string{{DebugFile: m.File, DebugID: m.ID}: oddLib(old)}))
		job := Job{Modules: []Module{m, {"gone.so", "AB0"}, {"", ""}}}
		var stack []Frame
		for p := uint64(0xff0); p < 0x2b00; p += 3 {
			stack = append(stack, Frame{Offset: p})
		}
		stack = append(stack, Frame{Module: -1, Offset: 5}, Frame{Module: 1, Offset: 1 << 63}, Frame{Module: 2}, Frame{Offset: 1, Unknown: true})
		for range 3 { // what is in the answer already is taken from there
			job.Stacks = append(job.Stacks, stack)
		}
		for _, o := range []Options{{}, {Adjust: true}} {
			s, err := e.start(t.Context(), []Job{job})
			if err != nil {
				t.Fatal(err)
			}
			s.use(&job)
			var got, want []byte
			for _, stack := range job.Stacks {
				got = s.appendStack(got, stack, o)
				for i, f := range stack {
					want = append(want, ",["[btoi(i == 0)])
					want = appendLocation(want, i, f, s.look(&job, f, o.Adjust && i > 0))
				}
				want = append(want, ']')
			}
			s.close()
			if string(got) != string(want) {
				n := 0
				for got[n] == want[n] {
					n++
				}
				n = max(0, n-100)
				t.Errorf("old %v, %+v: got …%.300s\nwant …%.300s", old, o, got[n:], want[n:])
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// appendLocation writes a frame from the strings of its location.
func appendLocation(b []byte, i int, f Frame, a answer) []byte {
	source := func(file string, line uint32, have bool) string {
		switch {
		case !have:
			return ""
		case line == 0:
			return `,"file":` + string(appendString(nil, file))
		}
		return `,"file":` + string(appendString(nil, file)) + `,"line":` + strconv.Itoa(int(line))
	}
	b = fmt.Appendf(b, `{"frame":%d,"module":%s,"module_offset":"%s"`, i, appendString(nil, a.module), f.offset())
	if a.found {
		b = fmt.Appendf(b, `,"function":%s,"function_offset":"0x%x"%s`, appendString(nil, a.Name), f.Offset-a.Address, source(a.File, a.Line, a.HasFile))
		var calls []string
		for _, in := range a.Inlines {
			calls = append(calls, `{"function":`+string(appendString(nil, in.Function))+source(in.File, in.Line, in.HasFile)+"}")
		}
		if calls != nil {
			b = append(b, `,"inlines":[`+strings.Join(calls, ",")+"]"...)
		}
	}
	return append(b, '}')
}

// A compiled file that turns out damaged in the middle of a stack is compiled
// anew, and the answer is the right one.
func TestDamagedSymbols(t *testing.T) {
	dir := store(t, map[symbols.ModuleID]string{{DebugFile: "odd.so", DebugID: libID}: oddLib(false)})
	compiled := t.TempDir()
	var frames []string
	for i := range 100 {
		frames = append(frames, fmt.Sprintf("[0,%d]", 0xff0+i*40))
	}
	ask := func() string {
		t.Helper()
		s := cache.New(cache.Options{Dir: compiled, Fetch: dirFetch(dir)})
		defer s.Close()
		b, err := New(s).JSON(t.Context(), []byte(`{"memoryMap":[["odd.so","`+libID+`"]],"stacks":[[`+strings.Join(frames, ",")+`]]}`))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := ask()
	files, err := filepath.Glob(filepath.Join(compiled, "*", "*.symc"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	for _, at := range []int{100, 500, 5000} {
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 1
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ask(); got != want {
			t.Errorf("byte %d damaged: got %.300s\nwant %.300s", at, got, want)
		}
	}
}
