package stackwalk

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/minidump"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
)

// hostileJob names, in the environment of a child, the dump that it walks:
// number, size, json or text, best or parity.
const hostileJob = "MAYDAY_HOSTILE_JOB"

// TestMain walks one hostile dump when this process is the child of
// TestHostileDumpIsBounded.
func TestMain(m *testing.M) {
	job := strings.Fields(os.Getenv(hostileJob))
	if len(job) == 0 {
		os.Exit(m.Run())
	}
	err := walkHostile(job)
	// The kernel's rusage of a child has the parent's memory in it.
	var status []byte
	if err == nil {
		status, err = os.ReadFile("/proc/self/status")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(strings.Fields(peak)[0])
}

func walkHostile(job []string) error {
	b, err := os.ReadFile(job[0])
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(20<<20 + 15*int64(len(b))/4) // as the command does
	d, err := minidump.FromBytes(b)
	if err != nil {
		return err
	}
	o := Options{Registers: job[1] == "text"}
	if job[2] == "parity" {
		o.Heuristics = unwind.Parity
	}
	if o.Registers {
		return WalkText(context.Background(), d, nil, o, io.Discard, TextOptions{})
	}
	s, err := Walk(context.Background(), d, nil, o)
	if err != nil {
		return err
	}
	return s.JSON(io.Discard, false)
}

// Every hostile dump is walked and printed within 64 MB and four times its
// size, and quickly: 30 MB take 1.2 seconds of CPU at most. MAYDAY_HOSTILE_SIZE
// is the size of the dumps in bytes and has each printed in every way; else they
// have 1 MB and are printed as JSON or text in turn, for which the time is scaled
// down, but leaves room for a machine that is busy.
func TestHostileDumpIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("walks some fifty dumps in processes of their own, which takes seconds; -short was given")
	}
	if runtime.GOOS != "linux" {
		t.Skip("how much memory a process took is read from /proc, which only Linux has")
	}
	size, kinds, all := 1<<20, []string{"json best", "text best"}, false
	if v, err := strconv.Atoi(os.Getenv("MAYDAY_HOSTILE_SIZE")); err == nil {
		size, kinds, all = v, append(kinds, "json parity"), true
	}
	limit := 1200*time.Millisecond*time.Duration(size)/(30<<20) + 2*time.Second
	dir := t.TempDir()
	var worst, slowest float64
	for i, h := range synth.HostileDumps() {
		name := dir + "/" + strconv.Itoa(i) + ".dmp"
		b := h.Bytes(size)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for n, kind := range kinds {
			if !all && n != i%2 {
				continue
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), hostileJob+"="+name+" "+kind)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			kilobytes, bad := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
			if err != nil || bad != nil {
				t.Errorf("%s, %s: %v, %q", h.Name, kind, err, out)
				continue
			}
			memory := kilobytes << 10
			cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			allowed := 64<<20 + 4*int64(len(b))
			if all {
				t.Logf("%-40s %-12s %4d MB %6d ms", h.Name, kind, memory>>20, cpu.Milliseconds())
			}
			worst, slowest = max(worst, float64(memory)/float64(allowed)), max(slowest, cpu.Seconds())
			if memory > allowed {
				t.Errorf("%s, %s: %d MB for a dump of %d MB, allowed are %d", h.Name, kind, memory>>20, len(b)>>20, allowed>>20)
			}
			if cpu > limit {
				t.Errorf("%s, %s: %v of CPU for %d MB, allowed are %v", h.Name, kind, cpu, len(b)>>20, limit)
			}
		}
		os.Remove(name)
	}
	t.Logf("at most %.0f %% of the memory allowed, %.2f s of CPU", 100*worst, slowest)
}

// What is cut short says so, and the rest of the dump is there.
func TestHostileDumpIsTruncated(t *testing.T) {
	want := map[string]string{
		"one large stack of frames":          "frames",
		"threads and noise":                  "words of stack scanned",
		"frames in a module of a long name":  "names under frames",
		"frames in unloaded modules":         "unloaded modules under frames",
		"one large stack of distinct frames": "frames",
	}
	for _, h := range synth.HostileDumps() {
		text, ok := want[h.Name]
		if !ok {
			continue
		}
		s, err := Walk(context.Background(), open(t, h.Bytes(8<<20)), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(s.Truncated, text) || len(s.Threads) == 0 || s.Crash.Reason == "" || len(s.Modules) == 0 {
			t.Errorf("%s: truncated %q, want …%s…; %d threads, %d modules", h.Name, s.Truncated, text, len(s.Threads), len(s.Modules))
		}
		delete(want, h.Name)
	}
	if len(want) > 0 {
		t.Errorf("not tried: %v", want)
	}
}
