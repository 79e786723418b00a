package missing

import (
	"strings"
	"testing"
	"time"

	"mayday/storage/catalog"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"nvoglv64.pdb", "nvoglv64.pdb", true}, {"nvoglv64.pdb", "nvoglv64.pdb2", false}, {"nv*.pdb", "nvoglv64.pdb", true}, {"nv*.pdb", "nv.pdb", true},
		{"nv*.pdb", "xnv.pdb", false}, {"*a*b*", "xxaxxbxx", true}, {"*a*b*", "xxbxxaxx", false}, {"?.pdb", "a.pdb", true}, {"?.pdb", ".pdb", false}, {"", "", true}, {"*", "", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q of %.20q: %v", c.pattern, c.name, got)
		}
	}
}

// What a rule matches is not listed: what was asked for before the rule was
// made, and what is asked for after.
func TestIgnore(t *testing.T) {
	ctx := t.Context()
	db, err := catalog.Open(ctx, t.TempDir()+"/catalog.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := New(db, []string{"fixed*"}, time.Now)
	ask := func(names ...string) {
		t.Helper()
		for _, n := range names {
			l.Record(n, "1F", n+".sym", strings.ToUpper(n)+".dll", "")
		}
		if err := l.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(want string) {
		t.Helper()
		list, err := db.Missing(ctx, catalog.Page{OrderBy: "debug_file", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			got = append(got, m.DebugFile)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("listed: %q, want %q", s, want)
		}
	}
	ask("a_b", "aXb", "NVidia", "Fixed1")
	listed("NVidia aXb a_b")
	for _, p := range []string{"nv*", "a_b*", " "} {
		err := db.IgnoreMissing(ctx, catalog.MissingIgnore{Pattern: p, Who: "x@example.com", Created: time.Now()})
		if (err == nil) == (p == " ") {
			t.Errorf("%q: %v", p, err)
		}
	}
	listed("aXb")
	ask("NVidia2", "a_bc", "c")
	listed("aXb c")
	if err := db.UnignoreMissing(ctx, "nv*"); err != nil {
		t.Fatal(err)
	}
	ask("NVidia3")
	listed("NVidia3 aXb c")
}
