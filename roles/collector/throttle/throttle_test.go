package throttle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayday/app/config"
	"mayday/app/fault"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func mozilla(t testing.TB) *Rules {
	t.Helper()
	c, err := ReadFile("../../../docs/examples/mozilla.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Compile(c, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func daysAgo(n int) string { return now.AddDate(0, 0, -n).Format("20060102") + "103000" }

type crash = map[string]any

func firefox(more crash) crash {
	c := crash{"ProductName": "Firefox", "Version": "99.0", "ReleaseChannel": "nightly"}
	for k, v := range more {
		c[k] = v
	}
	return c
}

func windows(build any) string {
	b, _ := json.Marshal(map[string]any{"system": map[string]any{"os": map[string]any{"name": "Windows_NT", "windowsBuildNumber": build}}})
	return string(b)
}

// TestMozilla tries each of Mozilla's rules at its edges. high and low are the
// draws on which a share of the crashes is and is not taken.
func TestMozilla(t *testing.T) {
	const low, high = 0.05, 0.95
	r := mozilla(t)
	for _, c := range []struct {
		name   string
		crash  crash
		random float64
		want   Result
		rule   string
	}{
		{"old build", firefox(crash{"BuildID": daysAgo(735)}), 0, Reject, "has_old_buildid"},
		{"build of 730 days", firefox(crash{"BuildID": daysAgo(730)}), 0, Accept, "is_nightly"},
		{"build of 731 days", firefox(crash{"BuildID": daysAgo(731)}), 0, Reject, "has_old_buildid"},
		{"no date in the build id", firefox(crash{"BuildID": "20109999103000"}), 0, Accept, "is_nightly"},
		{"short build id", firefox(crash{"BuildID": "20100101"}), 0, Accept, "is_nightly"},
		{"hang of the browser", firefox(crash{"HangID": ""}), 0, Reject, "has_hangid_and_browser"},
		{"hang, browser by name", firefox(crash{"HangID": "x", "ProcessType": "browser"}), 0, Reject, "has_hangid_and_browser"},
		{"hang of a plugin", firefox(crash{"HangID": "x", "ProcessType": "plugin"}), 0, Accept, "is_background"},
		{"infobar", crash{"ProductName": "Firefox", "SubmittedFromInfobar": "true", "Version": "52.0.2", "BuildID": "20171225"}, 0, Reject, "infobar_is_true"},
		{"infobar, new build", crash{"ProductName": "Firefox", "SubmittedFromInfobar": "true", "Version": "59.0", "BuildID": "20171226"}, 0, Accept, "accept_everything"},
		{"infobar, no build", crash{"ProductName": "Firefox", "SubmittedFromInfobar": "true", "Version": "59.0"}, 0, Accept, "accept_everything"},
		{"infobar, version 60", crash{"ProductName": "Firefox", "SubmittedFromInfobar": "true", "Version": "60.0", "BuildID": "20171225"}, 0, Accept, "accept_everything"},
		{"B2G", crash{"ProductName": "b2G"}, 0, FakeAccept, "b2g"},
		{"unknown product", crash{"ProductName": "testproduct"}, 0, Reject, "unsupported_product"},
		{"case of the product", crash{"ProductName": "firefox"}, 0, Reject, "unsupported_product"},
		{"no product", crash{"Version": "1"}, 0, Reject, "unsupported_product"},
		{"null product", crash{"ProductName": nil}, 0, Reject, "unsupported_product"},
		{"no package", crash{"ProductName": "Fenix"}, 0, Reject, "unsupported_packagename"},
		{"package", crash{"ProductName": "Fenix", "Android_PackageName": "org.mozilla.fenix"}, 0, Accept, "accept_everything"},
		{"fork's package", crash{"ProductName": "Focus", "Android_PackageName": "org.mozilla.fenix"}, 0, Reject, "unsupported_packagename"},
		{"product without packages", crash{"ProductName": "Thunderbird", "Android_PackageName": "x"}, 0, Accept, "accept_everything"},
		{"asked for", firefox(crash{"ReleaseChannel": "release", "Throttleable": "0"}), high, Accept, "throttleable_0"},
		{"asked for, number", firefox(crash{"ReleaseChannel": "release", "Throttleable": json.Number("0")}), high, Accept, "throttleable_0"},
		{"comments", firefox(crash{"ReleaseChannel": "release", "Comments": ""}), high, Accept, "has_comments"},
		{"guard page", firefox(crash{"ReleaseChannel": "release", "PHCKind": "x"}), high, Accept, "has_phc"},
		{"background", firefox(crash{"ReleaseChannel": "release", "ProcessType": "rdd"}), high, Accept, "is_background"},
		{"shutdown kill", firefox(crash{"ipc_channel_error": "ShutDownKill"}), high, Reject, "is_shutdownkill"},
		{"shutdown kill, drawn", firefox(crash{"ipc_channel_error": "ShutDownKill"}), low, Accept, "is_nightly"},
		{"old Windows", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": windows(9600)}), high, Reject, "is_firefox_esr_unsupported_windows"},
		{"old Windows, drawn", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": windows(7601)}), low, Accept, "is_alpha_beta_esr"},
		{"new Windows", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": windows(9601)}), high, Accept, "is_alpha_beta_esr"},
		{"Windows build 0", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": windows(0)}), high, Accept, "is_alpha_beta_esr"},
		{"Windows build missing", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": `{"system":{"os":{"name":"Windows_NT"}}}`}), high, Accept, "is_alpha_beta_esr"},
		{"telemetry of another shape", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": `{"system":[]}`}), high, Accept, "is_alpha_beta_esr"},
		{"telemetry that is no JSON", firefox(crash{"ReleaseChannel": "esr", "TelemetryEnvironment": `{`}), high, Accept, "is_alpha_beta_esr"},
		{"aurora", firefox(crash{"ReleaseChannel": "aurora"}), 0, Accept, "is_alpha_beta_esr"},
		{"nightly", firefox(nil), 0, Accept, "is_nightly"},
		{"nightly try", firefox(crash{"ReleaseChannel": "nightly-try"}), 0, Accept, "is_nightly"},
		{"release", firefox(crash{"ReleaseChannel": "release"}), high, Reject, "is_firefox_desktop"},
		{"release, drawn", firefox(crash{"ReleaseChannel": "release"}), 0.1, Accept, "is_firefox_desktop"},
		{"another channel", firefox(crash{"ReleaseChannel": "default"}), high, Accept, "accept_everything"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, rule := r.Decide(c.crash, now, func() float64 { return c.random })
			if got != c.want || rule != c.rule {
				t.Errorf("Decide = %v by %s, want %v by %s", got, rule, c.want, c.rule)
			}
		})
	}
	if n := len(r.Names()); n != 17 {
		t.Errorf("%d rules, want 16 and %s", n, NoMatch)
	}
}

func TestDefaultRules(t *testing.T) {
	r, err := Compile(config.Throttle{}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, rule := r.Decide(crash{}, now, nil); got != Accept || rule != "accept_everything" {
		t.Errorf("a crash of nothing = %v by %s", got, rule)
	}
	r, err = Compile(config.Throttle{}, true, []string{"Aye-Aye"})
	if err != nil {
		t.Fatal(err)
	}
	if got, rule := r.Decide(crash{"ProductName": "Other"}, now, nil); got != Reject || rule != "unsupported_product" {
		t.Errorf("an unknown product = %v by %s", got, rule)
	}
	if got, _ := r.Decide(crash{"ProductName": "Aye-Aye"}, now, nil); got != Accept {
		t.Errorf("a known product = %v", got)
	}
	if _, err := Compile(config.Throttle{}, true, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("strict without products = %v", err)
	}
}

func parse(t *testing.T, text string) (config.Throttle, error) {
	t.Helper()
	return Parse([]byte(text))
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		condition string
		crash     crash
		want      bool
	}{
		{"{field: A, exists: true}", crash{"A": nil}, true},
		{"{field: A, exists: true}", crash{}, false},
		{"{field: A, exists: false}", crash{}, true},
		{"{field: A, exists: false}", crash{"A": ""}, false},
		{"{field: A, is: x}", crash{}, false},
		{"{field: A, is: x, default: x}", crash{}, true},
		{"{field: A, is: None}", crash{"A": nil}, true},
		{"{field: A, is: 'True'}", crash{"A": true}, true},
		{"{field: A, is: 'False'}", crash{"A": false}, true},
		{"{field: A, is: '1.5'}", crash{"A": 1.5}, true},
		{`{field: A, is: '{"b":1}'}`, crash{"A": map[string]any{"b": 1}}, true},
		{"{field: A, is: ABC, fold: true}", crash{"A": "abc"}, true},
		{"{field: A, is: ABC}", crash{"A": "abc"}, false},
		{"{field: A, is_not: x}", crash{"A": "y"}, true},
		{"{field: A, is_not: x}", crash{}, false},
		{"{field: A, in: [x, Y], fold: true}", crash{"A": "y"}, true},
		{"{field: A, not_in: [x]}", crash{"A": "y"}, true},
		{"{field: A, not_in: [x]}", crash{"A": "x"}, false},
		{"{field: A, in: []}", crash{"A": "x"}, false},
		{"{field: A, prefix: ni}", crash{"A": "nightly"}, true},
		{"{field: A, matches: '^\\d+$'}", crash{"A": "12"}, true},
		{"{field: A, matches: '^\\d+$'}", crash{"A": "1 2"}, false},
		{"{field: A, before: b}", crash{"A": "a"}, true},
		{"{field: A, before: b}", crash{"A": ""}, false},
		{"{field: A, at_most: 5}", crash{"A": "5"}, true},
		{"{field: A, at_most: 5}", crash{"A": "x"}, false},
		{"{field: A, at_least: 5}", crash{"A": json.Number("4")}, false},
		{"{field: A, path: b.c, is: '1'}", crash{"A": `{"b":{"c":1}}`}, true},
		{"{field: A, path: b.c, is: '1'}", crash{"A": map[string]any{"b": map[string]any{"c": json.Number("1")}}}, true},
		{"{field: A, path: b.x, is: '1'}", crash{"A": `{"b":{"c":1}}`}, false},
		{"{field: A, path: b.c.d, exists: true}", crash{"A": `{"b":{"c":1}}`}, false},
		{"{text: x, not_in_list: products}", crash{}, false},
		{"{field: A, older_than_days: 10}", crash{"A": daysAgo(11)}, true},
		{"{field: A, older_than_days: 10}", crash{"A": daysAgo(10)}, false},
	} {
		t.Run(c.condition, func(t *testing.T) {
			rules, err := parse(t, "rules: [{name: r, when: ["+c.condition+"], result: accept}]")
			if err != nil {
				t.Fatal(err)
			}
			r, err := Compile(rules, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := r.Decide(c.crash, now, nil); (got == Accept) != c.want {
				t.Errorf("%v fulfils: %v, want %v", c.crash, got == Accept, c.want)
			}
		})
	}
}

func TestBrokenRules(t *testing.T) {
	for text, want := range map[string]string{
		"rules: [{name: '', result: accept}]":                                        "name holds letters",
		"rules: [{name: a, result: keep}]":                                           `result "keep"`,
		"rules: [{name: a}]":                                                         `result ""`,
		"rules: [{name: a, result: accept, else: reject}]":                           "else needs percent",
		"rules: [{name: a, result: accept, percent: 101, else: reject}]":             "percent 101",
		"rules: [{name: a, result: accept, percent: .nan, else: reject}]":            "percent NaN",
		"rules: [{name: a, result: accept, percent: 10}]":                            "else: result",
		"rules: [{name: a, result: accept}, {name: a, result: accept}]":              "taken",
		"rules: [{name: a, result: accept, when: [{field: A}]}]":                     "0 operands",
		"rules: [{name: a, result: accept, when: [{field: A, is: x, prefix: y}]}]":   "2 operands",
		"rules: [{name: a, result: accept, when: [{is: x}]}]":                        "either field or text",
		"rules: [{name: a, result: accept, when: [{field: A, text: x, is: x}]}]":     "either field or text",
		"rules: [{name: a, result: accept, when: [{text: x, path: y, is: x}]}]":      "path needs field",
		"rules: [{name: a, result: accept, when: [{field: A, matches: '('}]}]":       "matches",
		"rules: [{name: a, result: accept, when: [{field: A, not_in_list: other}]}]": "not_in_list",
		"rules: [{name: a, result: accept, wen: []}]":                                "wen",
		"rules: {": "YAML",
		"[]":       "YAML",
	} {
		rules, err := parse(t, text)
		if err == nil {
			_, err = Compile(rules, false, nil)
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want Invalid with %q", text, err, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFile(filepath.Join(dir, "none")); !fault.Is(err, fault.Invalid) {
		t.Errorf("a missing file = %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(large); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a large file = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	if text, err := os.ReadFile("../../../docs/examples/mozilla.yaml"); err == nil {
		f.Add(text)
	}
	f.Add([]byte("rules: [{name: a, result: accept, when: [{field: A, matches: x}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		r, err := Compile(c, false, nil)
		if err != nil {
			return
		}
		r.Decide(crash{"A": "x", "TelemetryEnvironment": "{}"}, now, func() float64 { return 0.5 })
	})
}

func BenchmarkDecide(b *testing.B) {
	r := mozilla(b)
	c := firefox(crash{"ReleaseChannel": "release", "BuildID": daysAgo(3), "TelemetryEnvironment": windows(19045)})
	for b.Loop() {
		r.Decide(c, now, func() float64 { return 0.5 })
	}
}
