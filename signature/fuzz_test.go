package signature

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What a signature is, whatever it was made of.
func checkSignature(t *testing.T, sig string) {
	t.Helper()
	if utf8.RuneCountInString(sig) > maxSignature {
		t.Errorf("%d code points: %q", utf8.RuneCountInString(sig), sig)
	}
	if strings.ContainsFunc(sig, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("unprintable: %q", sig)
	}
	if strings.Contains(sig, "  ") || strings.TrimSpace(sig) != sig {
		t.Errorf("stray spaces: %q", sig)
	}
}

// Any bytes give an answer, and the scanner reads JSON as the decoder does.
func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		`{"threads":[{"frames":[{"function":"a"},null,5,{"module":"b.dll","inlines":[{"function":"c","line":7}]}]}],"crashing_thread":"0"}`,
		`{"id":1,"input":{"json_dump":{"crash_info":{"crashing_thread":null,"type":"X"},"threads":{},"system_info":[]}}}`,
		`{"java_exception":{"exception":{"values":[{"stacktrace":{"type":null,"frames":[{}]}}]}}}`,
		`{"async_shutdown_timeout":"{\"phase\":1,\"conditions\":[{\"name\":[]}]}","hang":"","oom_allocation_size":"x"}`,
		`{"threads":[[],"x",{"frames":"y"}],"os":[],"abort_message":{}}`,
		`{"threads":`, `[[[[[[[`, `{"a":"\ud800"}`, "{\"a\xff\":\"\xff\"}", `{}`, ``,
	} {
		f.Add([]byte(s))
	}
	lists := Default()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		got := Generate(r.Input, lists)
		checkSignature(t, got.Signature)
		Explain(r.Input, lists)
		var doc map[string]any
		if err != nil || !json.Valid(data) || json.Unmarshal(data, &doc) != nil || doc["input"] != nil || doc["id"] != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if d.Decode(&doc) != nil {
			return
		}
		in := FromCrashData(doc)
		if IsProcessed(doc) {
			in = FromProcessed(doc)
		}
		if want := Generate(in, lists); got.Signature != want.Signature || got.ProtoSignature != want.ProtoSignature {
			t.Errorf("scanned %q (%q), decoded %q (%q)", got.Signature, got.ProtoSignature, want.Signature, want.ProtoSignature)
		}
	})
}

// Normalising ends, gives no more than three bytes for one, and what it gives
// for names without brackets and spaces is the name.
func FuzzNormalizeFrame(f *testing.F) {
	for _, c := range functionCases {
		f.Add(c.raw, "a:b:c.rs:d", "1", false)
		f.Add(c.raw, "", "", true)
	}
	lists := Default()
	better := lists.With(Improvements{Names: true, Unsymbolicated: true})
	f.Fuzz(func(t *testing.T, function, file, line string, lower bool) {
		got := NormalizeFrame(Frame{Function: function, File: file, Line: line}, lower, lists)
		if len(got) > 3*len(function)+len(line)+len("core::slice::slice_index_order_fail")+len(file)+8 {
			t.Errorf("%q becomes %q", function, got)
		}
		NormalizeFrame(Frame{File: file, Line: line, Module: function}, lower, lists)
		NormalizeFrame(Frame{Offset: function}, lower, lists)
		checkSignature(t, Generate(Input{Threads: []Thread{{Frames: []Frame{{Function: function, File: file, Line: line}, {Module: file, Offset: line}}}}}, better).Signature)
	})
}
