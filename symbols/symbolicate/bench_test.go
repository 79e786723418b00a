//go:build unix

package symbolicate

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayday/symbols"
	"mayday/symbols/sample"
)

// cpuTime is what the process has used, whatever else the machine does.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkV5 is a request of 50 stacks of 20 frames whose symbols are at hand.
// MAYDAY_BENCH_SYM names a large .sym to use in place of a made-up one.
func BenchmarkV5(b *testing.B) {
	m := symbols.ModuleID{DebugFile: "libbig.so", DebugID: libID}
	var text bytes.Buffer
	if p := os.Getenv("MAYDAY_BENCH_SYM"); p != "" {
		t, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		text.Write(t)
		m.DebugID = strings.Fields(string(t[:200]))[3]
	} else if err := sample.Write(&text, sample.Options{Name: m.DebugFile, ID: m.DebugID, Funcs: 40_000}); err != nil {
		b.Fatal(err)
	}
	e := engine(b, store(b, map[symbols.ModuleID]string{m: text.String()}))
	var stacks []string
	n := uint64(1)
	for range 50 {
		var frames []string
		for range 20 {
			n = n*6364136223846793005 + 1442695040888963407
			frames = append(frames, fmt.Sprintf("[0,%d]", 0x1000+n>>33%6_000_000))
		}
		stacks = append(stacks, "["+strings.Join(frames, ",")+"]")
	}
	request := []byte(`{"jobs":[{"memoryMap":[["` + m.DebugFile + `","` + m.DebugID + `"]],"stacks":[` + strings.Join(stacks, ",") + `]}]}`)
	text = bytes.Buffer{}
	if _, err := e.JSON(b.Context(), request); err != nil { // compiles
		b.Fatal(err)
	}
	runtime.GC()
	size := 0
	start := cpuTime(b)
	for b.Loop() {
		answer, err := e.JSON(b.Context(), request)
		if err != nil {
			b.Fatal(err)
		}
		size = len(answer)
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-start).Seconds(), "requests/cpu-s")
	b.ReportMetric(float64(size), "B/answer")
}
