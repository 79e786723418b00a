package search_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/storage"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/storage/search/sample"
)

// readFields has a field of each storage, fields above and beside others, and
// the frames of a stack.
func readFields(t testing.TB) *plan.Fields {
	t.Helper()
	f, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum}, {Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant},
		{Name: "signature", Path: "signature", Storage: plan.Text}, {Name: "product", Path: "product"}, {Name: "uptime", Path: "uptime", Storage: plan.Long},
		{Name: "small", Path: "uptime", Storage: plan.Integer}, {Name: "count", Path: "count", Storage: plan.Integer}, {Name: "flag", Path: "flag", Storage: plan.Boolean},
		{Name: "ratio", Path: "ratio", Storage: plan.Double}, {Name: "built", Path: "a.built", Storage: plan.Instant}, {Name: "addons", Path: "addons"},
		{Name: "modules", Path: "modules", Storage: plan.Semicolon}, {Name: "a", Path: "a"}, {Name: "deep", Path: "a.b.c"},
		{Name: "stack", Path: "a.frames", Storage: plan.Text, Parts: "\n", Frames: true}, {Name: "frames", Path: "a.frames"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// decoded is the document as it is made of a decoded text.
func decoded(text string, fields *plan.Fields, line bool) (search.Doc, error) {
	doc, err := storage.DecodeDocument([]byte(text))
	if err != nil {
		return search.Doc{}, err
	}
	if inner, ok := doc["processed_crash"].(map[string]any); ok && line {
		doc = inner
	}
	return search.NewDoc(doc, fields)
}

const idAndDate = `"uuid":"00000007-0000-4000-8000-000000260901","date_processed":"2026-09-01T00:00:00"`

var readTexts = []string{
	`{` + idAndDate + `}`,
	` { "signature" : "a\"\\\/\b\f\n\r\té\ud83d\ude00\ud83dx\ude00é" ,` + idAndDate + `, "product":"K\u0069te","uptime":12,"count":-7,"flag":true,"ratio":1.5} `,
	`{"uptime":12345678901234567890,"count":3000000000,"flag":"1","ratio":"2.5","addons":["a","b",null,7,{},[]],"modules":"A;b;;"` + "," + idAndDate + `}`,
	`{"uptime":1e3,"count":" 7 ","flag":1,"ratio":-0,"addons":"one","modules":["A","B"]` + "," + idAndDate + `}`,
	`{"a":{"built":"2026-09-01","b":{"c":"x"},"b":{"c":"y","d":[{"e":[[]]}]},"frames":[{"module":"m","function":"f","file":"g:h:src/a.c:r","inlines":[{"function":"i","file":null},7]},null,{"module":7,"inlines":{}}]},` + idAndDate + `}`,
	`{"a":{"b":{"c":"x"}},"a":7,` + idAndDate + `}`,
	`{"a":{"b":{"c":"x"}},"a":[1],` + idAndDate + `}`,
	`{"signature":"x","signature":null,"uuid":7,` + idAndDate + `}`,
	`{"processed_crash":{` + idAndDate + `,"product":"K"},"raw_crash":{"uuid":"x"}}`,
	`{"processed_crash":{` + idAndDate + `},"processed_crash":7,"product":"K",` + idAndDate + `}`,
	"{\"signature\":\"a\xff\xfe\",\"prod\\u0075ct\":\"\xc3\x28\"," + idAndDate + `}`,
	`{"signature":tru}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":-}`, `{"a":1e}`, `{"a" 1}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":"` + "\n" + `"}`, `{"x":"\q"}`, `{"x":"\u12g4"}`, `{"x":{"y":[}]}`,
	`null`, `[]`, `7`, ``, `{}`, `{} {}`, `{"uuid":"x"}`, `{"flag":falsy}`, `{"flag":true1}`, `{"uptime":12a}`, `{"uptime":-}`, `{"x":nul}`, `{,}`, `{"a":{"b":{"c"}}}`,
}

// same compares what a Reader makes with what NewDoc makes of the decoded text.
func same(t *testing.T, x *search.Reader, fields *plan.Fields, text string) {
	t.Helper()
	for _, line := range []bool{false, true} {
		read := x.Doc
		if line {
			read = x.Line
		}
		want, werr := decoded(text, fields, line)
		got, err := read([]byte(text))
		if (err == nil) != (werr == nil) {
			t.Fatalf("%.300q (line: %v): error %v, want %v", text, line, err, werr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatalf("%.300q (line: %v) (-decoded +read):\n%s", text, line, diff)
		}
	}
}

func TestReaderAgreesWithNewDoc(t *testing.T) {
	fields := readFields(t)
	x := search.NewReader(fields)
	for _, text := range readTexts {
		same(t, x, fields, text)
	}
	for _, n := range []int{9_998, 9_999, 10_000, 10_001} { // how deep values may be in each other
		same(t, x, fields, `{`+idAndDate+`,"x":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`)
		same(t, x, fields, `{`+idAndDate+`,"a":{"b":`+strings.Repeat(`{"x":`, n)+"1"+strings.Repeat("}", n)+`}}`)
		same(t, x, fields, `{`+idAndDate+`,"addons":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`)
	}
	same(t, x, fields, `{`+idAndDate+`,"signature":"`+strings.Repeat("é", 30_000)+`","a":{"frames":[`+strings.Repeat(`{"function":"f"},`, 300)+`{}]}}`)
}

func FuzzReader(f *testing.F) {
	for _, text := range readTexts {
		f.Add(text)
	}
	fields := readFields(f)
	x := search.NewReader(fields)
	f.Fuzz(func(t *testing.T, text string) { same(t, x, fields, text) })
}

// benchmarkText is a processed crash with the stacks of some threads, of about
// 20 kB.
func benchmarkText(b *testing.B) (text []byte) {
	b.Helper()
	for crash := range (sample.Crashes{Seed: 1, Last: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), Days: 1, Count: 1}).All() {
		var threads []any
		for range 10 {
			var frames []any
			for i := range 12 {
				frames = append(frames, map[string]any{"frame": i, "function": "mozilla::dom::Worker::Run", "file": "hg:hg.example.org/central:dom/Worker.cpp:abcdef", "line": 7 * i,
					"module": "libxul.so", "offset": "0x00007f0012345678", "trust": "cfi"})
			}
			threads = append(threads, map[string]any{"frames": frames, "frame_count": len(frames)})
		}
		crash["json_dump"] = map[string]any{"threads": threads}
		data, err := json.Marshal(crash)
		if err != nil {
			b.Fatal(err)
		}
		text = data
	}
	return text
}

func BenchmarkReader(b *testing.B) {
	fields := readFields(b)
	x := search.NewReader(fields)
	text := benchmarkText(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := x.Doc(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewDoc is what BenchmarkReader saves.
func BenchmarkNewDoc(b *testing.B) {
	fields := readFields(b)
	text := benchmarkText(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := decoded(string(text), fields, false); err != nil {
			b.Fatal(err)
		}
	}
}
