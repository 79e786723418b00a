package lint

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mayday/signature"
)

// lists makes a file system of the four lists, given in the order of signature.ListNames.
func listFiles(text ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i, name := range signature.ListNames() {
		out[name+".txt"] = &fstest.MapFile{Data: []byte(text[i])}
	}
	return out
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		lists []string
		want  []string
	}{
		{"clean", []string{"abort$\n", "malloc\n", "panic_fmt\n", "run\n"}, nil},
		{"duplicate", []string{"a\nb\na\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:3: duplicate: "a" stands in line 1, too`,
			`irrelevant_signature_re.txt:3: covered: line 1 matches all that "a" matches`,
			`irrelevant_signature_re.txt:3: order: "a" stands after "b"`}},
		{"in both", []string{"free\n", "free\n", "s\n", "l\n"}, []string{
			`prefix_signature_re.txt:1: in-both: "free" is in the irrelevant list, too (line 1)`,
			`prefix_signature_re.txt:1: shadowed: "free" never acts: the irrelevant list matches all that it matches ("free", line 1)`}},
		{"shadowed by a shorter one", []string{"core::\n", "core::str::from\n", "s\n", "l\n"}, []string{
			`prefix_signature_re.txt:1: shadowed: "core::str::from" never acts: the irrelevant list matches all that it matches ("core::", line 1)`}},
		{"an end does not shadow", []string{"free$\n", "free\n", "s\n", "l\n"}, nil},
		{"covered by an expression", []string{"a\n", "foo\\.dll\n.*\\.dll\n", "s\n", "l\n"}, []string{
			`prefix_signature_re.txt:1: covered: ".*\\.dll" (line 2) matches all that "foo\\.dll" matches`,
			`prefix_signature_re.txt:2: order: ".*\\.dll" stands after "foo\\.dll"`}},
		{"unreachable", []string{"a\n", "operator new\n", "s\n", "l\n"}, []string{
			`prefix_signature_re.txt:1: unreachable: no normalised frame begins with "operator new"`}},
		{"frameworks have spaces", []string{"a\n", "Game Engine Core\n", "s\n", "l\n"}, nil},
		{"metacharacters", []string{"X::operator()\n", "lib.so\n# a comment begins a new group\na$b\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: metacharacters: "X::operator()": () is an empty group; write \(\)`,
			`prefix_signature_re.txt:1: metacharacters: "lib.so": . between letters matches any character; write \.`,
			`prefix_signature_re.txt:3: metacharacters: "a$b": $ in the middle matches nothing; write \$`}},
		{"trailing", []string{"a.*\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: trailing: the .* at the end of "a.*" does nothing: only the start is matched`}},
		{"matches all", []string{"(foo)?\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: matches-all: "(foo)?" matches everything`,
			`prefix_signature_re.txt:1: shadowed: "m" never acts: the irrelevant list matches all that it matches ("(foo)?", line 1)`,
			`signature_sentinels.txt:1: never-shows: "s" cuts the stack but does not show: it is irrelevant`}},
		{"look-around", []string{"a(?=b)\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: broken: "a(?=b)": look-ahead is not supported`}},
		{"empty", []string{"# nothing\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: empty-list: a list without entries matches everything`}},
		{"other editors", []string{"\ufeffa\r\nb\r\n", "m\n", "s\n", "l\n"}, []string{
			`irrelevant_signature_re.txt:1: bom: the file begins with a byte order mark, which becomes part of the first line`,
			`irrelevant_signature_re.txt:1: crlf: lines end in CR LF`}},
		{"not UTF-8", []string{"a\n\xff\n", "m\n", "s\n", "l\n"}, []string{`irrelevant_signature_re.txt:2: broken: not UTF-8`}},
		{"sentinel", []string{"abort\n", "m\n", "abort\ns\ns\n", "l\n"}, []string{
			`signature_sentinels.txt:1: never-shows: "abort" cuts the stack but does not show: it is irrelevant`,
			`signature_sentinels.txt:3: duplicate: "s" stands in line 2, too`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := Check(listFiles(c.lists...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.String())
			}
			sortStrings(got, c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// sortStrings gives two lists the same order where they hold the same.
func sortStrings(got, want []string) {
	at := map[string]int{}
	for i, w := range want {
		at[w] = i + 1
	}
	for i := range got {
		for j := i; j > 0 && at[got[j]] < at[got[j-1]]; j-- {
			got[j], got[j-1] = got[j-1], got[j]
		}
	}
}

// Our own lists are in groups, and most sentinels are irrelevant on purpose;
// nothing else may be found in them.
func TestCheckDefault(t *testing.T) {
	found, err := Check(os.DirFS("../lists"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !f.Code.Advice() {
			t.Error(f)
		}
	}
}

// The counts are those that the upstream's maintainers were told.
func TestCheckUpstream(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "signature", "lists")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no comparison data beside the repository")
	}
	found, err := Check(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	got := map[Code]int{}
	for _, f := range found {
		got[f.Code]++
	}
	delete(got, Order)
	want := map[Code]int{InBoth: 7, Shadowed: 12, Unreachable: 2, Covered: 11, CoveredRE: 1, Duplicate: 1, Meta: 1, Trailing: 1, NeverShows: 15}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
