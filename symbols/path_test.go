package symbols

import "testing"

func TestNormalizePath(t *testing.T) {
	for in, want := range map[string]string{
		"a.c": "a.c", "/a/b.c": "/a/b.c", "/a/./b.c": "/a/b.c", "/a/../b.c": "b.c", "/a/b/../c.c": "/a/c.c", "/a//b/c.c": "/a//b/c.c", "/a//c.c": "/a/c.c", "//a": "/a", "///": `\`, "//": "", "a/b/": "a/b", "a/./": "a",
		"./a.c": "a.c", "../a.c": "../a.c", "..": "..", ".": "", "/..": "..", "/../a": "../a", "a /b": "a /b", "a/<stdin>": "<stdin>", "a/../../b.c": "../b.c", "/": "",
		`C:\w\..\z.c`: `C:\z.c`, `C:\w\..\..\z.c`: "z.c", `a\b.c`: "a/b.c", `a\b\c.c`: `a\b\c.c`, `D:foo\bar.c`: "D:foo/bar.c", `D:foo\x\bar.c`: `D:foo\x\bar.c`,
		`\\srv\share\a.c`: `\\srv\share\a.c`, `\a.c`: `\a.c`, "C:": "C:", "C:/": "C:", "a/C:": "C:", "c:/a": `c:\a`, "x:y": "x:y", `C:/mixed\sep/q.c`: `C:\mixed\sep\q.c`, "//double//slash.c": `\\double\slash.c`, "<stdin>": "<stdin>",
		"hg:host/tree:dir/f.cpp:55c6": "hg:host/tree:dir/f.cpp:55c6", "s3:bucket:abc/lib.h:": "s3:bucket:abc/lib.h:", "name with space.c": "name with space.c",
	} {
		if got := NormalizePath(in); got != want {
			t.Errorf("NormalizePath(%q): got %q, want %q", in, got, want)
		}
	}
}
