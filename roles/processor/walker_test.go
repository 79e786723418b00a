package processor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/minidump/stackwalk"
	"mayday/minidump/synth"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/storage"
	"mayday/storage/queue"
	"mayday/storage/schema"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

// game is a crash with a stack of n frames, and the symbols of its program.
func game(n int) (dump []byte, sym []byte) {
	b := &synth.Binary{CPU: synth.AMD64, OS: synth.LinuxOS, Path: "/opt/game/game", Base: 0x400000, Size: 0x100000, ID: [16]byte{1, 2, 3}}
	c := &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Binaries: []*synth.Binary{b}, PID: 7, Time: 1795168800,
		Fault: synth.Fault{Code: 11, Address: 8}}
	for i := range n {
		b.Functions = append(b.Functions, synth.Function{Name: fmt.Sprintf("game::World::step%02d(int)", i), Address: uint32(0x1000 + 0x100*i), Size: 0x100,
			File: "world.cpp", Line: 10 + i, Frame: synth.CFI})
	}
	for range 4 {
		t := synth.Stack{ID: uint32(100 + len(c.Threads))}
		for i := range n {
			t.Calls = append(t.Calls, synth.Call{Binary: b, Offset: uint32(0x1000 + 0x100*i + 0x20)})
		}
		c.Threads = append(c.Threads, t)
	}
	return c.Dump().Bytes(), b.Sym()
}

func memoryDump(b []byte) rules.Dump {
	return rules.Dump{Name: rules.MinidumpName, Size: int64(len(b)), Reader: bytes.NewReader(b)}
}

// textSymbols is a source that has one symbol file.
type textSymbols struct{ view lookup.View }

func (s textSymbols) Symbols(_ context.Context, id symbols.ModuleID) (*stackwalk.Loaded, error) {
	if symbols.Leaf(id.DebugFile) != "game" {
		return nil, fault.New(fault.NotFound, "no symbols")
	}
	return &stackwalk.Loaded{Symbols: s.view}, nil
}

func withSymbols(t testing.TB, sym []byte) func() (stackwalk.SymbolSource, func()) {
	table, err := lookup.Read(bytes.NewReader(sym))
	if err != nil {
		t.Fatal(err)
	}
	return func() (stackwalk.SymbolSource, func()) { return textSymbols{table.View(symbols.Best)}, func() {} }
}

func TestWalkInProcess(t *testing.T) {
	dump, sym := game(30)
	w := &processor.InProcess{Symbols: withSymbols(t, sym), Timeout: time.Minute, Memory: 1 << 30, Version: "v"}
	r := w.Walk(t.Context(), memoryDump(dump), map[string]any{"ProductName": "Game"})
	if r.Exit != 0 || r.Version != "v" || r.Log != "" {
		t.Fatalf("exit %d, version %q, log %q", r.Exit, r.Version, r.Log)
	}
	threads := r.Output.(map[string]any)["threads"].([]any)
	frames := threads[0].(map[string]any)["frames"].([]any)
	if len(threads) != 4 || len(frames) != 30 {
		t.Fatalf("%d threads, %d frames", len(threads), len(frames))
	}
	for i, f := range frames {
		if got, want := f.(map[string]any)["function"], fmt.Sprintf("game::World::step%02d(int)", i); got != want {
			t.Errorf("frame %d: %v, want %s", i, got, want)
		}
	}
	p := processor.Pipeline{Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: w}}
	res, err := p.Process(t.Context(), processor.Job{ID: "x", Dumps: []rules.Dump{memoryDump(dump)}, Raw: map[string]any{"submitted_timestamp": "2026-11-20T10:00:30+00:00"}})
	if err != nil || len(res.Failures) > 0 {
		t.Fatalf("%v, %v", err, res.Failures)
	}
	if got := res.Processed["signature"]; got != "game::World::step00" {
		t.Errorf("signature %v", got)
	}
	if got := schema.Default().Validate(res.Processed); len(got) > 0 {
		t.Errorf("what the walker says breaks the field table: %v", got)
	}
}

// Dumps that cannot be read have the name of what is wrong as their status.
func TestWalkBroken(t *testing.T) {
	dump, _ := game(3)
	w := &processor.InProcess{Timeout: time.Minute}
	for want, b := range map[string][]byte{"HeaderMismatch": []byte("not a minidump, but long enough to be one"), "MissingHeader": dump[:8], "MissingThreadList": synth.NewFile(false, 1).Bytes()} {
		r := w.Walk(t.Context(), memoryDump(b), nil)
		if r.Exit != rules.ExitFailed || !strings.HasPrefix(r.Log, "ERROR "+want+" ") {
			t.Errorf("%s: exit %d, log %q", want, r.Exit, r.Log)
		}
	}
}

// sourceFunc is a symbol source made of a function.
type sourceFunc func(context.Context) error

func (f sourceFunc) Symbols(ctx context.Context, _ symbols.ModuleID) (*stackwalk.Loaded, error) {
	return nil, f(ctx)
}

func source(f sourceFunc) func() (stackwalk.SymbolSource, func()) {
	return func() (stackwalk.SymbolSource, func()) { return f, func() {} }
}

// A walk that heeds its deadline keeps what it found; one that heeds nothing
// is left behind.
func TestWalkHangs(t *testing.T) {
	dump, _ := game(30)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, hang := range map[string]sourceFunc{
		"heeds":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"ignores": func(context.Context) error { <-release; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := &processor.InProcess{Symbols: source(hang), Timeout: 50 * time.Millisecond, Patience: 200 * time.Millisecond}
			began := time.Now()
			r := w.Walk(t.Context(), memoryDump(dump), nil)
			if r.Exit != rules.ExitKilled || (r.Output != nil) != (name == "heeds") {
				t.Errorf("exit %d, output %.100v", r.Exit, r.Output)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Symbols that do not answer are waited for a few tries; then the crash is
// processed without them.
func TestSymbolsDown(t *testing.T) {
	dump, sym := game(3)
	b := newBench(t)
	b.options.Tries = 3
	asked := 0
	for name, back := range map[string]int{"back in time": 2, "gone for good": 100} {
		asked = 0
		good := withSymbols(t, sym)
		b.options.Pipeline.Env.Walker = &processor.InProcess{Timeout: time.Minute, Symbols: func() (stackwalk.SymbolSource, func()) {
			if asked++; asked > back {
				return good()
			}
			return sourceFunc(func(context.Context) error { return fault.New(fault.Unavailable, "no answer") }), func() {}
		}}
		id := storage.NewCrashID(time.Now(), storage.Accepted)
		raw := storage.RawCrash{"uuid": string(id), "submitted_timestamp": "2026-11-20T10:00:30+00:00"}
		file := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(dump)), nil }}
		if err := b.crashes.SaveRaw(t.Context(), id, raw, []storage.Dump{file}); err != nil {
			t.Fatal(err)
		}
		b.send(queue.Standard, queue.Message{ID: id})
		b.run(b.empty)
		want := "game::World::step00"
		if back > 3 {
			want = "game"
		}
		if got := b.processed(id).Text("signature"); got != want || asked != 3 {
			t.Errorf("%s: signature %q, want %q; %d tries, want 3", name, got, want, asked)
		}
	}
}

// ballast keeps a test's memory from being collected.
var ballast [][]byte

func TestWalkEatsMemory(t *testing.T) {
	dump, _ := game(3)
	eat := func(ctx context.Context) error {
		for ctx.Err() == nil && len(ballast) < 512 {
			ballast = append(ballast, make([]byte, 1<<20))
			time.Sleep(time.Millisecond)
		}
		return ctx.Err()
	}
	defer func() { ballast = nil }()
	w := &processor.InProcess{Symbols: source(eat), Timeout: time.Minute, Memory: 64 << 20}
	if r := w.Walk(t.Context(), memoryDump(dump), nil); r.Exit != rules.ExitAbort {
		t.Errorf("exit %d, want %d", r.Exit, rules.ExitAbort)
	}
	if len(ballast) > 400 {
		t.Errorf("it ate %d MiB before it was stopped", len(ballast))
	}
}

// The notes and the status are those of a process that was killed.
func TestStoppedWalksAreNoted(t *testing.T) {
	for exit, want := range map[int]string{rules.ExitKilled: "timeout (SIGKILL)", rules.ExitAbort: "timeout (SIGABRT)"} {
		b := newBench(t)
		b.options.Pipeline.Env.Walker = walkerFunc(func(context.Context, rules.Dump) rules.WalkResult { return rules.WalkResult{Exit: exit} })
		id := b.submit(nil)
		b.send(queue.Standard, queue.Message{ID: id})
		b.run(b.empty)
		p := b.processed(id)
		if !strings.Contains(p.Text("processor_notes"), want) || p.Text("signature") != "EMPTY: no frame data available; unknown error" {
			t.Errorf("exit %d: notes %q, signature %q", exit, p.Text("processor_notes"), p.Text("signature"))
		}
	}
}

// behaviour, in the environment, makes this test binary a walking child.
const behaviour = "MAYDAY_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(behaviour); how != "" {
		if how == "hostile" {
			if err := processHostile(os.Getenv(hostileDump)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		os.Exit(child(how))
	}
	os.Exit(m.Run())
}

// child walks, or misbehaves as how says.
func child(how string) int {
	var req processor.WalkRequest
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		return 1
	}
	switch how {
	case "hang":
		time.Sleep(time.Hour)
	case "babble":
		fmt.Println("{}{")
	case "crash":
		panic("as a walker would")
	case "memory":
		fmt.Fprintln(os.Stderr, "fatal error: runtime: out of memory")
		return 2
	}
	f, err := req.Open()
	if err != nil {
		return 1
	}
	info, err := f.Stat()
	if err != nil {
		return 1
	}
	w := processor.InProcess{Timeout: req.Timeout}
	r := w.Walk(context.Background(), rules.Dump{Name: "x", Size: info.Size(), Reader: f}, req.Annotations)
	output, err := json.Marshal(r.Output)
	if err != nil {
		return 1
	}
	if json.NewEncoder(os.Stdout).Encode(processor.WalkReply{Exit: r.Exit, Output: output, Log: r.Log}) != nil {
		return 1
	}
	return 0
}

func TestIsolated(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dump, _ := game(3)
	dir := t.TempDir()
	for how, want := range map[string]int{"walk": rules.ExitOK, "babble": rules.ExitFailed, "crash": rules.ExitFailed, "memory": rules.ExitAbort} {
		t.Setenv(behaviour, how)
		w := &processor.Isolated{Command: []string{self}, Timeout: time.Minute, Memory: 1 << 30, TempDir: dir}
		r := w.Walk(t.Context(), memoryDump(dump), map[string]any{"a": "b"})
		if r.Exit != want || (r.Output != nil) != (how == "walk") {
			t.Errorf("%s: exit %d, want %d; output %.80v", how, r.Exit, want, r.Output)
		}
	}
	t.Setenv(behaviour, "walk")
	w := &processor.Isolated{Command: []string{self}, Timeout: time.Minute, TempDir: dir}
	if r := w.Walk(t.Context(), memoryDump([]byte("short")), nil); !strings.HasPrefix(r.Log, "ERROR MissingHeader ") {
		t.Errorf("log %q", r.Log)
	}
	t.Setenv(behaviour, "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r := w.Walk(ctx, memoryDump(dump), nil); r.Exit != rules.ExitKilled {
		t.Errorf("hang: exit %d, want %d", r.Exit, rules.ExitKilled)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// BenchmarkPipeline is a report of four threads of 30 frames with warm symbols,
// from the bytes of the dump to the processed crash as JSON.
//
//	go test ./roles/processor -run xxx -bench Pipeline -cpuprofile cpu.out
func BenchmarkPipeline(b *testing.B) {
	dump, sym := game(30)
	w := &processor.InProcess{Symbols: withSymbols(b, sym), Timeout: time.Minute, Memory: 1 << 30}
	p := processor.Pipeline{Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: w}}
	raw := map[string]any{"submitted_timestamp": "2026-11-20T10:00:30+00:00", "ProductName": "Game", "Version": "1.2", "CrashTime": "1795168800"}
	b.SetBytes(int64(len(dump)))
	for b.Loop() {
		res, err := p.Process(context.Background(), processor.Job{ID: "x", Raw: raw, Dumps: []rules.Dump{memoryDump(dump)}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := storage.EncodeDocument(res.Processed); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "crashes/s")
}
