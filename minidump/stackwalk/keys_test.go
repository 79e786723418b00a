package stackwalk

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

// brokenSymbols has one line that is no record.
type brokenSymbols []byte

func (b brokenSymbols) Symbols(context.Context, symbols.ModuleID) (*Loaded, error) {
	t, err := lookup.Read(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	v := t.View(symbols.Best)
	return &Loaded{Symbols: v, Corrupt: v.Corrupt(), Verdict: v.Verdict(), URL: v.Module().URL}, nil
}

// What goes beyond minidump-stackwalk's schema is there when there is something
// to say, and not at all when there is not.
func TestKeysOfOurOwn(t *testing.T) {
	c, source := program(synth.AMD64, synth.LinuxOS, 3)
	keys := []string{"assertion_info", "crashpad", "crashpad_annotations", "dump_errors", "truncated", "symbol_error", "symbol_problems"}
	s, err := Walk(context.Background(), open(t, c.Dump().Bytes()), source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if strings.Contains(string(s.AppendJSON(nil)), `"`+k+`"`) {
			t.Errorf("%s is there", k)
		}
	}

	d := c.Dump()
	d.Assertion = &synth.Assertion{Expression: "x > 0", Function: "f", File: "a.c", Line: 12, Kind: 1}
	d.Crashpad = &synth.Crashpad{Simple: []synth.Pair{{Key: "channel", Value: "beta"}}, Modules: []synth.CrashpadModule{{List: []string{"abort"},
		Simple: []synth.Pair{{Key: "channel", Value: "of the module"}}, Objects: []synth.Annotation{{Name: "gpu", Kind: 1, Value: []byte("on")}, {Name: "raw", Kind: 0x8000, Value: []byte{1}}}}}}
	d.Raw = []synth.Raw{{Kind: 15, Data: []byte{1}}, {Kind: 0x4d7a0004, Data: []byte(`["one", {"b": 1, "a": 2}]`)}}
	var sym []byte
	for _, b := range source {
		sym = append(bytes.Clone(b), "NONSENSE 1\n"...)
	}
	if s, err = Walk(context.Background(), open(t, d.Bytes()), brokenSymbols(sym), Options{}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(s.AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	lines := float64(bytes.Count(sym, []byte{'\n'}))
	want := map[string]any{
		"assertion_info": map[string]any{"expression": "x > 0", "function": "f", "file": "a.c", "line": 12.0, "kind": 1.0},
		"crashpad": map[string]any{"annotations": map[string]any{"channel": "beta"}, "client_id": "00000000-0000-0000-0000-000000000000",
			"report_id": "00000000-0000-0000-0000-000000000000", "modules": []any{map[string]any{
				"annotations": map[string]any{"channel": "of the module", "gpu": "on"}, "list": []any{"abort"}, "module_index": 0.0}}},
		"crashpad_annotations": map[string]any{"channel": "beta", "gpu": "on"},
		"soft_errors":          []any{"one", map[string]any{"a": 2.0, "b": 1.0}},
	}
	for k, v := range want {
		if diff := cmp.Diff(v, got[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
	if list, _ := got["dump_errors"].([]any); len(list) != 1 || !strings.Contains(list[0].(string), "misc info") {
		t.Errorf("dump_errors %v", got["dump_errors"])
	}
	if a := got["crash_info"].(map[string]any)["assertion"]; a != nil {
		t.Errorf("crash_info.assertion is %v", a)
	}
	m := got["modules"].([]any)[0].(map[string]any)
	if diff := cmp.Diff(map[string]any{"first_line": lines, "skipped": 1.0, "skipped_lines": []any{lines}}, m["symbol_problems"]); diff != "" || m["corrupt_symbols"] != true {
		t.Errorf("symbol_problems (-want +got):\n%s", diff)
	}
	var text bytes.Buffer
	if err := s.Text(&text, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Assertion: x > 0", "channel: beta", "gpu: on", "Soft errors: [", "(broken symbols: line ", "Broken parts of the dump:"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

// Text is the same whether it is written while threads are walked or later.
func TestWalkTextIsText(t *testing.T) {
	c, source := program(synth.AMD64, synth.LinuxOS, 3)
	b := c.Dump().Bytes()
	for _, brief := range []bool{false, true} {
		var whole, piecewise bytes.Buffer
		s, err := Walk(context.Background(), open(t, b), source, Options{Registers: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Text(&whole, TextOptions{Brief: brief}); err != nil {
			t.Fatal(err)
		}
		if err := WalkText(context.Background(), open(t, b), source, Options{Registers: true}, &piecewise, TextOptions{Brief: brief}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.String(), piecewise.String()); diff != "" {
			t.Errorf("brief %v (-whole +piecewise):\n%s", brief, diff)
		}
	}
}

// What others find in a file counts for nothing when they cannot read all of
// it, its address included; and an unloaded module is signed by its whole name.
func TestParityOfBrokenSymbolsAndSigners(t *testing.T) {
	c, source := program(synth.AMD64, synth.Windows, 3)
	d := c.Dump()
	d.Unloaded = []synth.UnloadedModule{{Base: 0x10000, Size: 0x1000, Name: `C:\x\old.dll`}, {Base: 0x20000, Size: 0x1000, Name: `old.dll`}}
	var sym []byte
	for _, b := range source {
		sym = append(bytes.Clone(b), "INFO URL http://symbols.example/a.sym\n"...)
	}
	for _, broken := range []bool{false, true} {
		if broken {
			sym = append(sym, "NONSENSE 1\n"...)
		}
		s, err := Walk(context.Background(), open(t, d.Bytes()), brokenSymbols(sym), Options{Heuristics: unwind.Parity, Extra: []byte(`{"ModuleSignatureInfo":{"A":["old.dll"]}}`)})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Modules []struct {
				CorruptSymbols bool    `json:"corrupt_symbols"`
				SymbolURL      *string `json:"symbol_url"`
			}
			Unloaded []struct {
				CertSubject *string `json:"cert_subject"`
			} `json:"unloaded_modules"`
		}
		if err := json.Unmarshal(s.AppendJSON(nil), &got); err != nil {
			t.Fatal(err)
		}
		if m := got.Modules[0]; m.CorruptSymbols != broken || (m.SymbolURL == nil) != broken {
			t.Errorf("broken %v: corrupt %v, address %v", broken, m.CorruptSymbols, m.SymbolURL)
		}
		if got.Unloaded[0].CertSubject != nil || got.Unloaded[1].CertSubject == nil {
			t.Errorf("signers %v and %v", got.Unloaded[0].CertSubject, got.Unloaded[1].CertSubject)
		}
	}
}
