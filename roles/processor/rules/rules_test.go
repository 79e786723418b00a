package rules

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/storage/schema"
	"mayday/symbols"
)

// apply runs one rule over annotations and fields.
func apply(t *testing.T, run func(context.Context, *Env, *Crash) error, c *Crash) {
	t.Helper()
	if c.Processed == nil {
		c.Processed = map[string]any{}
	}
	if err := run(t.Context(), &Env{Schema: schema.Default(), Tables: DefaultTables()}, c); err != nil {
		t.Fatal(err)
	}
}

func TestParseInt(t *testing.T) {
	for _, c := range []struct {
		in        any
		n         int64
		fits, big bool
	}{
		{"12", 12, true, false}, {" -3\n", -3, true, false}, {"+1_000", 1000, true, false}, {"", 0, false, false}, {"-", 0, false, false},
		{"1__0", 0, false, false}, {"_1", 0, false, false}, {"1_", 0, false, false}, {"0x10", 0, false, false}, {"1.5", 0, false, false}, {"--1", 0, false, false},
		{"9223372036854775807", 9223372036854775807, true, false}, {"9223372036854775808", 9223372036854775807, false, true},
		{json.Number("7"), 7, true, false}, {2.9, 2, true, false}, {true, 1, true, false}, {nil, 0, false, false}, {[]any{}, 0, false, false},
	} {
		n, fits, big := parseInt(c.in)
		if fits != c.fits || big != c.big || fits && n != c.n {
			t.Errorf("parseInt(%#v) = %d, %v, %v, want %d, %v, %v", c.in, n, fits, big, c.n, c.fits, c.big)
		}
	}
}

func TestCopyFromRawCrash(t *testing.T) {
	c := &Crash{Raw: map[string]any{
		"SafeMode": " TRUE ", "GMPPlugin": json.Number("0"), "StartupCrash": "perhaps", "IPCMessageSize": "5", "OOMAllocationSize": "18446744073709551616",
		"UptimeTS": "NaN", "Notes": "text \t\n", "Vendor": map[string]any{"b": json.Number("1")}, "JavaException": `{"exception":5}`, "TelemetryEnvironment": map[string]any{"x": "y"},
		"ProductName": json.Number("12"), "InstallTime": "1e3",
	}}
	apply(t, CopyFromRawCrash, c)
	want := map[string]any{
		"safe_mode": true, "gmp_plugin": false, "ipc_message_size": int64(5), "oom_allocation_size": json.Number("18446744073709551616"), "app_notes": "text",
		"vendor": `{"b":1}`, "telemetry_environment": map[string]any{"x": "y"}, "product": "12", "marionette": false, "remote_agent": false,
	}
	if diff := cmp.Diff(want, c.Processed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	notes := []string{"InstallTime has a non-int value", "JavaException value is malformed java_exception", "StartupCrash has non-boolean value perhaps", "UptimeTS has a non-float value"}
	if diff := cmp.Diff(notes, c.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A protected value never stands in a note, not even where it is wrong.
func TestNotesKeepSecrets(t *testing.T) {
	table, err := schema.Load([]byte("fields:\n- {name: secret_flag, type: boolean, annotation: SecretFlag, doc: A flag nobody may see.}"))
	if err != nil {
		t.Fatal(err)
	}
	c := &Crash{Raw: map[string]any{"SecretFlag": "hunter2", "Breadcrumbs": `[{"message":"hunter2","level":5}]`, "StackTraces": "hunter2", "JavaStackTrace": "a\n\tat x\nhunter2"}, Processed: map[string]any{}}
	env := &Env{Schema: table, Tables: DefaultTables()}
	for _, run := range []func(context.Context, *Env, *Crash) error{CopyFromRawCrash, Breadcrumbs, StackTraces, JavaStackTrace} {
		if err := run(t.Context(), env, c); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.Notes) != 4 || strings.Contains(fmt.Sprint(c.Notes), "hunter2") {
		t.Errorf("notes %q", c.Notes)
	}
}

func TestDeNullKeepsValues(t *testing.T) {
	c := &Crash{Raw: map[string]any{"a\x00b": "clean", "c": "x\x00y", "d": nil, "e\x00": 5}}
	apply(t, DeNull, c)
	apply(t, DeNone, c)
	if diff := cmp.Diff(map[string]any{"ab": "clean", "c": "xy", "e": 5}, c.Raw); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCrashReportKeys(t *testing.T) {
	c := &Crash{Raw: map[string]any{"Good-Key_1": "", strings.Repeat("k", 120): "", "user@example.com": ""}, Dumps: []Dump{{Name: MinidumpName}}, Missing: []string{"gone"}}
	apply(t, CrashReportKeys, c)
	want := []string{"Good-Key_1", "gone", strings.Repeat("k", 100), MinidumpName}
	if diff := cmp.Diff(want, c.Processed["crash_report_keys"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Notes) != 1 {
		t.Errorf("notes %q", c.Notes)
	}
}

func TestSanitizeJava(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		ok       bool
	}{
		"one line":          {"a.B", "a.B\n", true},
		"message only":      {"a.B: secret", "a.B\n", true},
		"lines of message":  {"a.B: secret\nmore secret\n\tat x\n\tat y\n", "a.B\n\tat x\n\tat y", true},
		"caused by":         {"a.B: s\n\tat x\nCaused by: c.D: secret\n\tat z", "a.B\n\tat x", true},
		"suppressed, inset": {"a.B: s\n\tat x\n\tSuppressed: c.D: secret\n\t\tat z", "a.B\n\tat x", true},
		"no tab":            {"a.B: s\n\tat x\nsecret", "", false},
		"not at first":      {"a.B: s\n\tat x\n\t... 5 more", "a.B\n\tat x\n\t... 5 more", true},
	} {
		got, ok := sanitizeJava(c.in)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v, want %q, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestOSPrettyVersion(t *testing.T) {
	for _, c := range []struct{ name, version, want string }{
		{"Windows NT", "10.0.9200", "Windows 10"}, {"Windows NT", "10.0.21996", "Windows 11"}, {"Windows NT", "10.0.100000", "Windows 11"},
		{"Windows NT", "6.1.7601 Service Pack 1", "Windows 7"}, {"Windows NT", "7.5", "Windows Unknown"}, {"Windows NT", "ten", "Windows NT"}, {"Windows", "", "Windows"},
		{"Mac OS X", "10.15.7 19H2", "OS X 10.15"}, {"Mac OS X", "14.2.1", "macOS 14"}, {"Mac OS X", "9.1", "OS X Unknown"}, {"Mac OS X", "", "OS X Unknown"},
		{"Linux", "6.1", "Linux"}, {"Android", "34", "Android 34"}, {"Fuchsia", "1", "Fuchsia"},
	} {
		crash := &Crash{Processed: map[string]any{"os_name": c.name, "os_version": c.version}}
		apply(t, OSPrettyVersion, crash)
		if got := crash.Processed["os_pretty_version"]; got != c.want {
			t.Errorf("%s %s: %v, want %s", c.name, c.version, got, c.want)
		}
	}
}

func TestTruncateStacks(t *testing.T) {
	for _, c := range []struct {
		frames, left int
		msg          string
	}{{500, 500, ""}, {501, 500, "2 frames truncated"}, {1203, 500, "704 frames truncated"}, {20_000, 500, "19,501 frames truncated"}} {
		frames := make([]any, c.frames)
		for i := range frames {
			frames[i] = map[string]any{"frame": i}
		}
		crash := &Crash{Processed: map[string]any{"json_dump": map[string]any{"threads": []any{map[string]any{"frames": frames}}}}}
		apply(t, TruncateStacks, crash)
		left := listAt(crash.Processed["json_dump"], "threads", 0, "frames")
		if len(left) != c.left || textAt(left[headFrames], "truncated", "msg") != c.msg {
			t.Errorf("%d frames: %d left, %v", c.frames, len(left), left[headFrames])
		}
		if last := at(left[len(left)-1], "frame"); last != c.frames-1 {
			t.Errorf("%d frames: the last one is %v", c.frames, last)
		}
		if (len(crash.Notes) > 0) != (c.msg != "") {
			t.Errorf("%d frames: notes %q", c.frames, crash.Notes)
		}
	}
}

func TestCrashAddress(t *testing.T) {
	for _, c := range []struct {
		info map[string]any
		want any
	}{
		{map[string]any{"address": "0x0000000000000018", "adjusted_address": map[string]any{"kind": "null-pointer", "offset": "0x18"}}, "0x0000000000000000"},
		{map[string]any{"address": "0x00000018", "adjusted_address": map[string]any{"kind": "null-pointer"}}, "0x00000000"},
		{map[string]any{"address": "0xffffffffffffffff", "adjusted_address": map[string]any{"kind": "non-canonical", "address": "0xe5e5e5e5e5e5e5e5"}}, "0xe5e5e5e5e5e5e5e5"},
		{map[string]any{"address": "0x10"}, "0x10"},
		{map[string]any{}, nil},
	} {
		crash := &Crash{Processed: map[string]any{"json_dump": map[string]any{"crash_info": c.info}}}
		apply(t, CrashingThreadInfo, crash)
		if got := crash.Processed["address"]; got != c.want {
			t.Errorf("%v: %v, want %v", c.info, got, c.want)
		}
	}
}

func TestModuleURLRewrite(t *testing.T) {
	for in, want := range map[string]any{
		"https://symbols.example.com/a/b.sym?sig=SECRET#x": "https://symbols.example.com/a/b.sym", "https://user:pw@s.example.com/x": "https://s.example.com/x",
		"http://localhost:8000/a": nil, "http://[::1]:80/a": nil, "://": nil, "": "",
	} {
		m := map[string]any{"symbol_url": in, "filename": "f"}
		apply(t, ModuleURLRewrite, &Crash{Processed: map[string]any{"json_dump": map[string]any{"modules": []any{m, nil, 5}}}})
		if m["symbol_url"] != want {
			t.Errorf("%s: %v, want %v", in, m["symbol_url"], want)
		}
	}
}

func packed(text string) Dump {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return Dump{Name: memoryReportName, Size: int64(b.Len()), Reader: bytes.NewReader(b.Bytes())}
}

func TestMemoryReport(t *testing.T) {
	whole := packed(`{"version":1,"reports":[]}`)
	cut := whole
	cut.Size -= 4
	for name, c := range map[string]struct {
		dump Dump
		want string
	}{
		"good":     {whole, ""},
		"cut":      {cut, "error in gzip for memory_report: unexpected end"},
		"no gzip":  {Dump{Name: memoryReportName, Size: 5, Reader: strings.NewReader("hello")}, "error in gzip for memory_report: unexpected end"},
		"a list":   {packed("[]"), "error in json for memory_report: not an object"},
		"no JSON":  {packed("{"), "error in json for memory_report: not valid json"},
		"at limit": {packed(strings.Repeat(" ", maxMemoryReport-2) + "{}"), ""},
		"past it":  {packed(strings.Repeat(" ", maxMemoryReport-1) + "{}"), "Uncompressed memory info too large (max: 20971520)"},
	} {
		c2 := &Crash{Dumps: []Dump{c.dump}}
		apply(t, OutOfMemoryBinary, c2)
		got, _ := c2.Processed["memory_report_error"].(string)
		if got != c.want || (c2.Processed["memory_report"] != nil) != (c.want == "") {
			t.Errorf("%s: error %q, want %q", name, got, c.want)
		}
	}
}

func TestMeasure(t *testing.T) {
	entry := func(path string, kind, units, amount int64) any {
		return map[string]any{"process": "Game (pid 7)", "path": path, "kind": kind, "units": units, "amount": amount}
	}
	got := measure([]any{
		entry("explicit/images/a", 1, 0, 10), entry("explicit/heap-overhead/x", 0, 0, 5), entry("explicit/x/top(none)/detached/y", 1, 0, 3), entry("heap-allocated", 2, 0, 100),
		entry("js-main-runtime/x", 2, 0, 9), entry("vsize", 2, 0, 50), entry("other", 2, 0, 1), map[string]any{"process": "Other (pid 8)"},
	}, "(pid 7)")
	want := map[string]any{
		"explicit": int64(105), "heap_unclassified": int64(87), "images": int64(10), "heap_overhead": int64(5), "top_none_detached": int64(3), "js_main_runtime": int64(9),
		"heap_allocated": int64(100), "vsize": int64(50), "gfx_textures": int64(0), "ghost_windows": int64(0), "host_object_urls": int64(0), "private": int64(0),
		"resident": int64(0), "resident_unique": int64(0), "system_heap_allocated": int64(0), "vsize_max_contiguous": int64(0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, bad := range map[string]any{"units": entry("explicit/x", 1, 1, 1), "kind": entry("explicit/x", 3, 0, 1), "no amount": map[string]any{"process": "(pid 7)", "path": "x"}, "no object": 5} {
		if m := measure([]any{entry("vsize", 2, 0, 1), bad}, "(pid 7)"); m != nil {
			t.Errorf("%s: %v, want no measures", name, m)
		}
	}
	if m := measure([]any{entry("vsize", 2, 0, 1)}, "(pid 8)"); m != nil {
		t.Errorf("another process: %v", m)
	}
}

// builds is a Versions made of one answer.
type builds struct {
	version      string
	found, known bool
	asked        string
}

func (b *builds) Version(_ context.Context, product, channel, build string) (string, bool, bool, error) {
	b.asked = product + " " + channel + " " + build
	return b.version, b.found, b.known, nil
}

func TestBetaVersion(t *testing.T) {
	for name, c := range map[string]struct {
		product, channel, build string
		answer                  builds
		want, asked             string
	}{
		"found":         {"Firefox", "Beta", "1", builds{"63.0b4", true, true, ""}, "63.0b4", "Firefox beta 1"},
		"not listed":    {"Firefox", "beta", "1", builds{"", false, true, ""}, "63.0b0", "Firefox beta 1"},
		"none listed":   {"Firefox", "beta", "1", builds{}, "63.0", "Firefox beta 1"},
		"other name":    {"Firefox", "aurora", "20180101", builds{"63.0b1", true, true, ""}, "63.0b1", "DevEdition aurora 20180101"},
		"old aurora":    {"Firefox", "aurora", "20160101", builds{"63.0b1", true, true, ""}, "63.0b1", "Firefox aurora 20160101"},
		"release":       {"Firefox", "release", "1", builds{"63.0b4", true, true, ""}, "63.0", ""},
		"other product": {"Game", "beta", "1", builds{"63.0b4", true, true, ""}, "63.0", ""},
	} {
		crash := &Crash{Processed: map[string]any{"product": c.product, "release_channel": c.channel, "build": c.build, "version": "63.0"}}
		if err := BetaVersion(t.Context(), &Env{Tables: DefaultTables(), Versions: &c.answer}, crash); err != nil {
			t.Fatal(err)
		}
		if got := crash.Processed["version"]; got != c.want || c.answer.asked != c.asked {
			t.Errorf("%s: version %v, want %s; asked %q, want %q", name, got, c.want, c.answer.asked, c.asked)
		}
	}
}

// oneFunction is a symbol source that knows one function.
type oneFunction struct{}

func (oneFunction) Locate(_ context.Context, m symbols.ModuleID, offset uint64) (symbols.Location, bool) {
	if m.DebugFile != "game.pdb" || offset < 0x100 || offset >= 0x200 {
		return symbols.Location{}, false
	}
	return symbols.Location{Function: symbols.Function{Name: "Game::run", Address: 0x100}, File: "game.cpp", HasFile: true, Line: 5, HasLine: true,
		Inlines: []symbols.Inline{{Function: "Game::tick", File: "tick.h", HasFile: true}}}, true
}

func TestStackTraces(t *testing.T) {
	c := &Crash{Processed: map[string]any{}, Raw: map[string]any{"OS": "Windows NT", "StackTraces": `{"crash_info":{"crashing_thread":1,"type":"SIGSEGV"},
		"modules":[{"base_addr":"0x10000","debug_file":"game.pdb","debug_id":"AB1","filename":"game.exe"}],
		"threads":[{"frames":[]},{"frames":[{"ip":"0x10150","module_index":0,"trust":"context"},{"ip":"0x10200","module_index":0,"trust":"cfi"},{"ip":"0x99","module_index":0},{"ip":"x"},7]}]}`}}
	env := &Env{Schema: schema.Default(), Tables: DefaultTables(), Symbols: oneFunction{}}
	for _, run := range []func(context.Context, *Env, *Crash) error{SubmissionKind, StackTraces, CrashingThreadInfo, SignatureGenerator} {
		if err := run(t.Context(), env, c); err != nil {
			t.Fatal(err)
		}
	}
	frames := listAt(c.Processed["json_dump"], "threads", 1, "frames")
	if len(frames) != 5 || textAt(frames[0], "function") != "Game::run" || textAt(frames[1], "function") != "Game::run" || at(frames[2], "function") != nil {
		t.Errorf("frames %v", frames)
	}
	if c.Processed["submission_kind"] != "ping" || c.Processed["signature"] != "Game::tick" || c.Processed["crashing_thread"] != int64(1) {
		t.Errorf("kind %v, signature %v, thread %v", c.Processed["submission_kind"], c.Processed["signature"], c.Processed["crashing_thread"])
	}
	if p := schema.Default().Validate(c.Processed); len(p) > 0 {
		t.Errorf("it breaks the field table: %v", p)
	}
}

func TestUnquotePlus(t *testing.T) {
	for in, want := range map[string]string{"a%7Bb%7D+c": "a{b} c", "100%+%41": "100% A", "%": "%", "%zz": "%zz", "%ff%": "\uFFFD%"} {
		if got := unquotePlus(in); got != want {
			t.Errorf("unquotePlus(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTables(t *testing.T) {
	tab, err := LoadTables([]byte("unsafe_reasons: [secret]\nchannel_suffixes: {lts: lts}"))
	if err != nil {
		t.Fatal(err)
	}
	if len(tab.UnsafeReasons) != 1 || len(tab.ChannelSuffixes) != 1 || len(tab.BetaProducts) == 0 {
		t.Errorf("tables %+v", tab)
	}
	if _, err := LoadTables([]byte("unsafe_reason: [x]")); err == nil {
		t.Error("a misspelt key was taken")
	}
}

func TestEncodeJSON(t *testing.T) {
	got, err := encodeJSON(map[string]any{"b": []any{1, "x:,\"y"}, "a": nil})
	if want := `{"a": null, "b": [1, "x:,\"y"]}`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
