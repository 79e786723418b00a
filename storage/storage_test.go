package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/crashestest"
)

func TestMemoryBucket(t *testing.T) {
	crashestest.Run(t, func(*testing.T) *blob.Bucket { return memblob.OpenBucket(nil) })
}

func TestNewCrashID(t *testing.T) {
	now := time.Date(2026, 12, 31, 23, 30, 0, 0, time.FixedZone("west", -3600))
	seen := map[storage.CrashID]bool{}
	for range 1000 {
		id := storage.NewCrashID(now, storage.Deferred)
		if _, err := storage.ParseCrashID(string(id)); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(id), "1270101") || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatalf("id %s", id)
		}
		if id.Digit() != storage.Deferred || id.Day() != "20270101" {
			t.Fatalf("id %s: digit %c, day %s", id, id.Digit(), id.Day())
		}
		seen[id] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ids of 1000", len(seen))
	}
}

func TestParseCrashID(t *testing.T) {
	const good = "de1bb258-cbbf-4589-a673-34f800160918"
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"usual", good, true},
		{"all zero", "00000000-0000-0000-0000-000000000000", true},
		{"other digit", "de1bb258-cbbf-4589-a673-34f80a160918", true},
		{"prefix", "bp-" + good, false},
		{"upper case", strings.ToUpper(good), false},
		{"short", good[:35], false},
		{"long", good + "0", false},
		{"line end", good + "\n", false},
		{"letters in the date", "de1bb258-cbbf-4589-a673-34f80016091a", false},
		{"empty", "", false},
		{"path", "../../etc/passwd", false},
		{"huge", strings.Repeat("a", 1<<20), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := storage.ParseCrashID(c.in)
			if c.ok != (err == nil) || c.ok && string(id) != c.in {
				t.Errorf("ParseCrashID(%.60q) = %q, %v", c.in, id, err)
			}
			if err != nil && (fault.Of(err) != fault.Invalid || len(err.Error()) > 200) {
				t.Errorf("error %v of %d bytes", fault.Of(err), len(err.Error()))
			}
		})
	}
	if id, err := storage.FindCrashID(" bp-" + good + "\n"); err != nil || string(id) != good {
		t.Errorf("FindCrashID = %q, %v", id, err)
	}
	if d, ok := storage.CrashID(good).Date(); !ok || !d.Equal(time.Date(2016, 9, 18, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("date = %v, %v", d, ok)
	}
	if _, ok := storage.CrashID("00000000-0000-0000-0000-000000000000").Date(); ok {
		t.Error("the all-zero id has a date")
	}
	if storage.CrashID("x").Day() != "20000000" || storage.CrashID("").Digit() != 0 {
		t.Error("a broken id has a day or digit")
	}
}

func TestCheckDumpName(t *testing.T) {
	for name, ok := range map[string]bool{
		"upload_file_minidump": true, "memory_report": true, "app.log": true, "dump": true,
		"": false, ".": false, "..": false, "../x": false, "a/b": false, "a b": false, "raw_crash": false,
		"dump_names": false, "processed_crash": false, "verdict": false, "snapshot": false, "é": false, strings.Repeat("a", 101): false,
	} {
		if err := storage.CheckDumpName(name); ok != (err == nil) {
			t.Errorf("CheckDumpName(%q) = %v", name, err)
		}
	}
}

// reference is what encoding/json writes, with escapes for what is not ASCII.
func reference(t *testing.T, doc map[string]any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, "\\u%04x", r)
		default:
			fmt.Fprintf(&out, "\\u%04x\\u%04x", 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		}
	}
	return out.String()
}

func TestEncodeDocument(t *testing.T) {
	type row struct {
		B int `json:"b"`
		A any `json:"a"`
	}
	doc := map[string]any{
		"text": "a\"b\\c\b\f\n\r\t\x00\x1f\x7f<&>é☃🦊\u2028\xff", "é": nil, "": true, "b": false,
		"numbers": []any{1, int64(-2), uint64(math.MaxUint64), 1.5, 1e30, float32(2.5), json.Number("0"), json.Number("-12"), json.Number("1e400"), json.Number("")},
		"nested":  map[string]any{"z": []any{}, "y": map[string]any{}, "x": []string{"b", "<"}, "w": []string(nil), "v": []any(nil), "u": map[string]any(nil)},
		"others":  []any{map[string]string{"k": "<v>"}, []int{1}, time.Duration(5), map[string]int{"b": 1, "a": 2}},
	}
	got, err := storage.EncodeDocument(doc)
	if want := reference(t, doc); err != nil || string(got) != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	got, err = storage.EncodeDocument(map[string]any{"s": row{1, map[string]any{"c": "<"}}})
	if want := `{"s":{"a":{"c":"<"},"b":1}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	deep := map[string]any{}
	for range 20_000 {
		deep = map[string]any{"d": []any{deep}}
	}
	for name, doc := range map[string]map[string]any{
		"nothing": nil, "not a number": {"a": math.NaN()}, "a number that is none": {"a": json.Number("1x")}, "a func": {"a": func() {}}, "too deep": deep,
	} {
		if out, err := storage.EncodeDocument(doc); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s became %.50s, %v", name, out, err)
		}
	}
}

func FuzzDecodeDocument(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1e400}`, `{"a":"\ud800"}`, `null`, `{"a":{"b":[1,2,null]}}`, strings.Repeat(`{"a":`, 100), `{"a":"é"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := storage.DecodeDocument(text)
		if err != nil {
			if fault.Of(err) != fault.Malformed {
				t.Errorf("error %v is %v", err, fault.Of(err))
			}
			return
		}
		out, err := storage.EncodeDocument(doc)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		for _, c := range out {
			if c >= 0x80 {
				t.Fatalf("not ASCII: %q", out)
			}
		}
		if want := reference(t, doc); string(out) != want {
			t.Fatalf("got %q, want %q", out, want)
		}
		again, err := storage.DecodeDocument(out)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := storage.EncodeDocument(again)
		if err != nil || string(twice) != string(out) {
			t.Fatalf("%q became %q, %v", out, twice, err)
		}
	})
}

func BenchmarkEncodeDocument(b *testing.B) {
	doc := map[string]any{"StackTraces": strings.Repeat("frame é ", 2000)}
	for i := range 100 {
		doc[string(rune('A'+i%26))+string(rune('a'+i/26))] = "some annotation of usual length"
	}
	out, _ := storage.EncodeDocument(doc)
	b.SetBytes(int64(len(out)))
	for b.Loop() {
		if _, err := storage.EncodeDocument(doc); err != nil {
			b.Fatal(err)
		}
	}
}
