package segment

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

var testFields = []plan.Field{
	{Name: "uuid", Path: "uuid", Type: plan.Enum},
	{Name: "date", Path: "date", Type: plan.Date, Storage: plan.Instant},
	{Name: "signature", Path: "signature", Storage: plan.Text},
	{Name: "stack", Path: "stack", Storage: plan.Text, Parts: " | "},
	{Name: "modules", Path: "modules", Storage: plan.Semicolon},
	{Name: "addons", Path: "addons"},
	{Name: "number", Path: "number", Type: plan.Int, Storage: plan.Long},
	{Name: "ratio", Path: "ratio", Type: plan.Float, Storage: plan.Double},
	{Name: "flag", Path: "flag", Type: plan.Bool, Storage: plan.Boolean},
}

func build(t testing.TB, crashes []map[string]any) ([]byte, []search.Doc) {
	t.Helper()
	fields, err := plan.NewFields(testFields)
	if err != nil {
		t.Fatal(err)
	}
	var docs []search.Doc
	for i, c := range crashes {
		c["uuid"] = fmt.Sprintf("%08x-0000-4000-8000-000000%06x", (i*7919)%1000, i)
		if c["date"] == nil {
			c["date"] = fmt.Sprintf("2026-09-01T00:%02d:%02d.000000+00:00", i/60%60, i%60)
		}
		d, err := search.NewDoc(c, fields)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	sort.SliceStable(docs, func(i, j int) bool { return docs[i].Date < docs[j].Date })
	src := DocSource{}
	for i := range docs {
		src = append(src, &docs[i])
	}
	data, _, err := Build(src, testFields)
	if err != nil {
		t.Fatal(err)
	}
	return data, docs
}

// odd are crashes with values that are easily lost.
func odd() []map[string]any {
	return []map[string]any{
		{},
		{"signature": "", "stack": "", "modules": "", "addons": []any{}, "number": 0, "flag": false},
		{"signature": "é日", "stack": "a | b | a", "modules": ";;", "addons": []any{"x"}, "number": math.MinInt64},
		{"stack": " | ", "modules": "A.dll;a.dll;A.dll;", "addons": []any{"y", "x", "y"}, "number": math.MaxInt64, "ratio": -0.5},
		{"date": "2026-09-01T01:00:00Z", "stack": "a |b", "flag": true, "number": -1},
		{"date": "2026-09-01T01:00:00.5+00:00", "addons": "one", "ratio": 1e300},
	}
}

func TestEveryValueComesBack(t *testing.T) {
	small := odd()
	large := odd()
	for i := range 70_000 { // ordinals of one, two and four bytes
		large = append(large, map[string]any{"signature": fmt.Sprint("s", i), "stack": fmt.Sprintf("f%d | g%d", i%300, i%7), "modules": fmt.Sprintf("M%d;m%d", i%500, i%3), "number": i})
	}
	for _, crashes := range [][]map[string]any{small, large[:500], large} {
		data, docs := build(t, crashes)
		s, stale, err := Open(data, testFields)
		if err != nil || len(stale) > 0 {
			t.Fatal(err, stale)
		}
		if err := s.CheckSums(); err != nil {
			t.Fatal(err)
		}
		for row, d := range docs {
			if got := s.FindRow(d.ID); got != row {
				t.Fatalf("row of %x is %d, want %d", d.ID, got, row)
			}
			if got := s.DateText(row); got != d.Values[1] {
				t.Fatalf("row %d: date %s, want %s", row, got, d.Values[1])
			}
			for f := 2; f < len(testFields); f++ {
				want := d.Values[f]
				if list, ok := want.([]string); ok && len(list) < 2 {
					want = nil
					if len(list) == 1 {
						want = list[0]
					}
				}
				var got any
				if c := s.Cols[f]; c != nil {
					got = c.At(row, row%2 == 0)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("row %d, %s (-want +got):\n%s", row, testFields[f].Name, diff)
				}
			}
		}
		var none [16]byte
		none[0] = 0xff
		if s.FindRow(none) != -1 {
			t.Error("an id that is not there is found")
		}
	}
}

func TestDictionaryFindsAndCompares(t *testing.T) {
	var crashes []map[string]any
	values := []string{"", "a", "a | b", "a | b | c", "a | c", "ab", "b", "é", " | ", "a |", "a | "}
	for _, v := range values {
		crashes = append(crashes, map[string]any{"signature": v, "stack": v})
	}
	data, _ := build(t, crashes)
	s, _, err := Open(data, testFields)
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(values)
	for _, f := range []int{2, 3} {
		d := &s.Cols[f].Dict
		for i, v := range values {
			if d.Text(uint32(i)) != v {
				t.Fatalf("%s: entry %d is %q, want %q", testFields[f].Name, i, d.Text(uint32(i)), v)
			}
			if got, ok := d.Find(v); !ok || got != uint32(i) {
				t.Errorf("%s: Find(%q) = %d, %v", testFields[f].Name, v, got, ok)
			}
			for j, w := range values {
				if got, want := d.Compare(uint32(i), w), strings.Compare(v, w); got != want {
					t.Errorf("%s: Compare(%q, %q) = %d, want %d (%d)", testFields[f].Name, v, w, got, want, j)
				}
			}
		}
		for _, v := range []string{"a | bb", "zz", "a | ba", "  "} {
			if _, ok := d.Find(v); ok {
				t.Errorf("%s: Find(%q) finds something", testFields[f].Name, v)
			}
			if got, want := d.Search(v), sort.SearchStrings(values, v); got != want {
				t.Errorf("%s: Search(%q) = %d, want %d", testFields[f].Name, v, got, want)
			}
		}
	}
}

func TestOtherTypesAreStale(t *testing.T) {
	data, _ := build(t, odd())
	changed := append([]plan.Field(nil), testFields...)
	changed[2].Storage = plan.Keyword
	changed[6].Storage = plan.Double
	changed = append(changed, plan.Field{Name: "new"})
	s, stale, err := Open(data, changed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"signature", "number"}, stale); diff != "" || s.Cols[2] != nil || s.Cols[9] != nil {
		t.Errorf("stale fields (-want +got):\n%s", diff)
	}
}

// forge puts a footer into a segment with a checksum that fits.
func forge(data, foot []byte) []byte {
	off := binary.LittleEndian.Uint64(data[len(data)-trailerSize:])
	out := append([]byte(nil), data[:off]...)
	out = append(out, foot...)
	out = binary.LittleEndian.AppendUint64(out, off)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(foot)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(foot, Castagnoli))
	return append(out, endMagic...)
}

// TestDamagedListEnds reads a list that says it has four thousand million values: it must panic
// with an index out of range, which queries recover, not ask for the memory.
func TestDamagedListEnds(t *testing.T) {
	data, _ := build(t, odd())
	at := slices.IndexFunc(testFields, func(f plan.Field) bool { return f.Name == "addons" })
	s, _, err := Open(data, testFields)
	if err != nil {
		t.Fatal(err)
	}
	col := s.Cols[at]
	col.Starts = slices.Clone(col.Starts)
	col.Starts[1] = math.MaxUint32
	before := allocated()
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("the list was read")
		}
		if n := allocated() - before; n > 1<<20 {
			t.Errorf("reading it took %d bytes", n)
		}
	}()
	col.At(0, true)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func FuzzOpenSegment(f *testing.F) {
	data, docs := build(f, append(odd(), map[string]any{"signature": "x", "stack": "p | q"}))
	off := binary.LittleEndian.Uint64(data[len(data)-trailerSize:])
	foot := data[off : len(data)-trailerSize]
	f.Add(data, false)
	f.Add(foot, true)
	var m footer
	if err := json.Unmarshal(foot, &m); err != nil {
		f.Fatal(err)
	}
	m.Rows = 1 << 20
	big, _ := json.Marshal(m)
	f.Add(big, true)
	f.Fuzz(func(t *testing.T, in []byte, isFooter bool) {
		if isFooter {
			in = forge(data, in)
		}
		aligned := make([]uint64, len(in)/8+1) // as a mapping is
		in = Raw(aligned)[:copy(Raw(aligned), in)]
		s, _, err := Open(in, testFields)
		if err != nil {
			if k := fault.Of(err); k != fault.Malformed && k != fault.Unsupported {
				t.Fatalf("error %v of kind %v", err, k)
			}
			return
		}
		defer func() { // a forged file may send readers out of bounds; queries recover that
			if r := recover(); r != nil {
				if _, ok := r.(runtime.Error); !ok {
					panic(r)
				}
			}
		}()
		_ = s.CheckSums()
		for row := range min(s.Footer.Rows, 20) {
			s.FindRow(docs[0].ID)
			s.DateText(row)
			for _, c := range s.Cols {
				if c != nil {
					c.At(row, true)
				}
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	var crashes []map[string]any
	for i := range 5000 {
		crashes = append(crashes, map[string]any{"signature": fmt.Sprint("s", i%900), "stack": fmt.Sprintf("f%d | g%d", i%300, i%7), "modules": fmt.Sprintf("M%d;m%d", i%500, i%3), "number": i})
	}
	_, docs := build(b, crashes)
	src := DocSource{}
	for i := range docs {
		src = append(src, &docs[i])
	}
	for b.Loop() {
		if _, _, err := Build(src, testFields); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(docs)), "ns/doc")
}
