package signature

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The benchmarks run over the comparison corpus when it is beside the
// repository, and over stacks of our own making otherwise. Profile with
// go test -run - -bench Generate -cpuprofile cpu.out ./signature

const sharedData = "../../shared/data/signature"

// corpusLines reads a file of the comparison corpus; nil when it is not there.
func corpusLines(tb testing.TB, name string) [][]byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(sharedData, "corpus", name))
	if err != nil {
		return nil
	}
	var out [][]byte
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<26)
	for s.Scan() {
		out = append(out, bytes.Clone(s.Bytes()))
	}
	return out
}

func sharedLists(tb testing.TB) *Lists {
	tb.Helper()
	l, err := Load(os.DirFS(filepath.Join(sharedData, "lists")), "")
	if err != nil {
		return Default()
	}
	return l
}

// stacks are the inputs of records tagged "stack".
func stacks(tb testing.TB) []Input {
	tb.Helper()
	var out []Input
	for _, line := range corpusLines(tb, "visible.jsonl") {
		var rec struct {
			Tags  []string       `json:"tags"`
			Input map[string]any `json:"input"`
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&rec); err != nil {
			tb.Fatal(err)
		}
		if strings.Contains(strings.Join(rec.Tags, ",")+",", "stack,") && rec.Tags[0] == "stack" {
			out = append(out, FromCrashData(rec.Input))
		}
	}
	if out == nil {
		out = madeStacks(2000)
	}
	return out
}

func benchmarkGenerate(b *testing.B, lists *Lists) {
	inputs := stacks(b)
	frames := 0
	for _, in := range inputs {
		frames += len(Generate(in, lists).NormalizedFrames)
	}
	b.ReportAllocs()
	runtime.GC()
	n := 0
	for b.Loop() {
		Generate(inputs[n%len(inputs)], lists)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "signatures/s")
	b.ReportMetric(float64(frames)/float64(len(inputs)), "frames/signature")
}

func BenchmarkGenerate(b *testing.B) { benchmarkGenerate(b, sharedLists(b)) }

func BenchmarkGenerateCached(b *testing.B) {
	benchmarkGenerate(b, sharedLists(b).WithCache(DefaultCacheSize))
}

func BenchmarkNormalize(b *testing.B) {
	type item struct {
		frame Frame
		lower bool
	}
	var items []item
	for _, line := range corpusLines(b, "frames_visible.jsonl") {
		var rec struct {
			Frame map[string]any `json:"frame"`
			Lower bool           `json:"lower_modules"`
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&rec); err != nil {
			b.Fatal(err)
		}
		items = append(items, item{frames([]any{rec.Frame})[0], rec.Lower})
	}
	if items == nil {
		for _, in := range madeStacks(500) {
			for _, f := range in.Threads[0].Frames {
				items = append(items, item{frame: f})
			}
		}
	}
	lists := sharedLists(b)
	var bytes int64
	for _, it := range items {
		bytes += int64(len(it.frame.Function))
	}
	b.SetBytes(bytes / int64(len(items)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		it := &items[n%len(items)]
		NormalizeFrame(it.frame, it.lower, lists)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "frames/s")
}

// A symbol of a megabyte of each kind must take under 50 ms.
func BenchmarkHugeSymbol(b *testing.B) {
	lists := sharedLists(b)
	for _, c := range hugeSymbols() {
		b.Run(c.name, func(b *testing.B) {
			in := Input{Threads: []Thread{{Frames: []Frame{{Function: c.symbol}}}}}
			b.SetBytes(int64(len(c.symbol)))
			for b.Loop() {
				Generate(in, lists)
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Default()
	}
}
