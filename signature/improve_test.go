package signature

import "testing"

func TestImprovements(t *testing.T) {
	symbols := []Thread{{Frames: []Frame{
		{Function: "void* operator new(unsigned long)"},
		{Function: "void Game::stop() volatile"},
		{Function: "main"}}}}
	bare := []Thread{{Frames: []Frame{
		{Module: "memory.dll", ModuleOffset: "0x0000000000000a10"},
		{Module: "game.exe", ModuleOffset: "0x00000000000012f0"},
		{Module: "game.exe", ModuleOffset: "0x1300"}}}}
	libraries := []Thread{{Frames: []Frame{
		{Module: "a.dll", ModuleOffset: "0x10"}, {Module: "b.dll", ModuleOffset: "0x20"}}}}
	for _, c := range []struct {
		name           string
		in             Input
		upstream, want string
	}{
		{"names", Input{Threads: symbols}, "new | volatile", "operator new | Game::stop"},
		{"a stack with symbols keeps its modules", Input{Threads: []Thread{{Frames: append(bare[0].Frames[:1:1], symbols[0].Frames[1])}}},
			"memory.dll | volatile", "memory.dll | Game::stop"},
		{"no symbols", Input{Threads: bare}, "memory.dll | game.exe", "memory.dll | game.exe@0x12f0"},
		{"nothing but libraries", Input{Threads: libraries}, "a.dll | b.dll", "a.dll@0x10 | b.dll"},
		{"nothing at all", Input{}, "EMPTY: no frame data available", "EMPTY: no frame data available"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain := Default()
			if got := Generate(c.in, plain); got.Signature != c.upstream || got.Upstream != "" {
				t.Errorf("off: got %q, upstream %q, want %q and none", got.Signature, got.Upstream, c.upstream)
			}
			for _, lists := range []*Lists{plain, plain.WithCache(10)} {
				lists = lists.With(Improvements{Names: true, Unsymbolicated: true})
				for range 2 {
					got := Generate(c.in, lists)
					if got.Signature != c.want || got.Upstream != c.upstream {
						t.Errorf("on: got %q, upstream %q, want %q and %q", got.Signature, got.Upstream, c.want, c.upstream)
					}
				}
			}
		})
	}
}
