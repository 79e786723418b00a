package quality_test

import (
	"strings"
	"testing"

	"mayday/symbols/quality"
)

const id = "44E4EC8C2F41492B9369D6B9A059577C2"

const good = "MODULE windows x86_64 " + id + " xul.pdb\r\nINFO CODE_ID 5AF1C0DE1A000 xul.dll\nFILE 0 a.c\nINLINE_ORIGIN 0 f\n" +
	"FUNC 1000 10 0 main\nINLINE 0 1 0 0 1000 4\n1000 10 12 0\nPUBLIC 2000 0 p\nSTACK CFI INIT 1000 10 .cfa: $rsp 8 + .ra: .cfa 8 - ^\n"

func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"empty", "", "empty"},
		{"no newline at the end", good + "STACK CFI 1001 .cf", "truncated"},
		{"of another build", strings.Replace(good, id, strings.Replace(id, "44", "45", 1), 1), "wrong-id"},
		{"of another module", strings.Replace(good, "xul.pdb", "lgpllibs.pdb", 1), "wrong-name"},
		{"id in small letters", strings.Replace(good, id, strings.ToLower(id), 1), ""},
		{"zero id", strings.Replace(good, id, strings.Repeat("0", 33), 1), "bad-id"},
		{"odd id", strings.Replace(good, id, "xyz", 1), "bad-id"},
		{"no module", good[strings.Index(good, "\n")+1:], "no-module"},
		{"no lines", strings.Replace(good, "1000 10 12 0\n", "", 1), "no-lines"},
		{"no unwind information", good[:strings.Index(good, "STACK")], "no-cfi"},
		{"nothing but a head", good[:strings.Index(good, "FILE")], "no-functions no-cfi"},
		{"a page of an error", good + "<html>\n", "bad-lines"},
		{"hole", good + "PUBLIC 3000 0 a\x00b\n", "nul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// However the text is cut into blocks, the answer is the same.
			for _, block := range []int{1, 7, 4096} {
				var k quality.Checker
				for rest := c.text; rest != ""; {
					n := min(block, len(rest))
					if _, err := k.Write([]byte(rest[:n])); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				var got []string
				for _, f := range k.Faults("xul.pdb", id) {
					got = append(got, f.Code)
				}
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("in blocks of %d: %q, want %q", block, s, c.want)
				}
			}
		})
	}
}

func FuzzChecker(f *testing.F) {
	f.Add([]byte(good), 5)
	f.Add([]byte("MODULE a b c\n\x00\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		if cut < 0 || cut > len(text) {
			cut = len(text) / 2
		}
		var whole, halves quality.Checker
		_, _ = whole.Write(text)
		_, _ = halves.Write(text[:cut])
		_, _ = halves.Write(text[cut:])
		a, b := whole.Faults("x", ""), halves.Faults("x", "")
		if len(a) != len(b) {
			t.Errorf("whole: %v, in halves: %v", a, b)
		}
	})
}

func BenchmarkChecker(b *testing.B) {
	block := []byte(strings.Repeat("FUNC 1000 10 0 a_function_with_a_name(int, char const*)\n1000 10 12 3\n1010 4 13 3\n1014 2 14 3\n", 1000))
	b.SetBytes(int64(len(block)))
	var k quality.Checker
	for b.Loop() {
		_, _ = k.Write(block)
	}
}
