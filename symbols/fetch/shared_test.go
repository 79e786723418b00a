package fetch

import (
	"io"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
)

// A text is compiled by one node; the others take what it left, as long as the
// text is the same.
func TestShared(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	id := symbols.ModuleID{DebugFile: "a.so", DebugID: "0123456789ABCDEF0123456789ABCDEF0"}
	path, _ := id.Path()
	from := NewBucket(b)
	put := func(function string) {
		t.Helper()
		text := "MODULE Linux x86_64 " + id.DebugID + " a.so\nFUNC 1000 40 0 " + function + "\n"
		if err := b.WriteAll(t.Context(), Prefix+path, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	node := func() (function, source string) {
		t.Helper()
		s := cache.New(cache.Options{Dir: t.TempDir(), Fetch: from.Fetch, Tag: from.Tag, Shared: from.Shared()})
		defer s.Close()
		h, err := s.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		f, _ := h.View(symbols.Best).Function(0x1000)
		return f.Name, h.Stats.Source
	}
	put("first")
	for i, want := range []string{"compiled", "shared"} {
		if f, source := node(); f != "first" || source != want {
			t.Errorf("node %d: got function %q, %s; want first, %s", i, f, source, want)
		}
	}
	put("the_second")
	for i, want := range []string{"compiled", "shared"} {
		if f, source := node(); f != "the_second" || source != want {
			t.Errorf("after an upload, node %d: got function %q, %s; want the_second, %s", i, f, source, want)
		}
	}
	var keys []string
	for list := b.List(nil); ; {
		o, err := list.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(o.Key, CompiledPrefix) {
			keys = append(keys, o.Key)
		}
	}
	if len(keys) != 1 {
		t.Errorf("the compiled symbols of the old text are left: %q", keys)
	}
	if _, err := from.Shared().Load(t.Context(), id, "another"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a text nobody compiled: got %v", err)
	}
}
