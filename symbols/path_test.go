package symbols

import "testing"

func TestNormalizePath(t *testing.T) {
	for in, want := range map[string]string{
		"a.c": "a.c", "/a/b.c": "/a/b.c", "/a/./b.c": "/a/b.c", "/a//b.c": "/a/b.c", "/a/../b.c": "/b.c", "a/../../b.c": "../b.c", "/": "",
		`C:\w\..\z.c`: `C:\z.c`, `C:/mixed\sep/q.c`: `C:\mixed\sep\q.c`, "//double//slash.c": `\\double\slash.c`, "<stdin>": "<stdin>",
		"hg:host/tree:dir/f.cpp:55c6": "hg:host/tree:dir/f.cpp:55c6", "s3:bucket:abc/lib.h:": "s3:bucket:abc/lib.h:", "name with space.c": "name with space.c",
	} {
		if got := NormalizePath(in); got != want {
			t.Errorf("NormalizePath(%q): got %q, want %q", in, got, want)
		}
	}
}
