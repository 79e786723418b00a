package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"mayday/app/config"
	"mayday/app/fault"
)

func load(t *testing.T, yaml string, env []string, flags map[string]string) (*config.Loaded, error) {
	t.Helper()
	file := ""
	if yaml != "" {
		file = filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(file, env, func(s *config.Setting) (string, bool) {
		v, ok := flags[s.Flag()]
		return v, ok
	})
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		env        []string
		flags      map[string]string
		want, from string
	}{
		{"default", "", nil, nil, "127.0.0.1:8000", "default"},
		{"file", "listen: 127.0.0.1:1", nil, nil, "127.0.0.1:1", "c.yaml"},
		{"same as the default, but from the file", "listen: 127.0.0.1:8000", nil, nil, "127.0.0.1:8000", "c.yaml"},
		{"env over file", "listen: 127.0.0.1:1", []string{"MAYDAY_LISTEN=127.0.0.1:2"}, nil, "127.0.0.1:2", "env MAYDAY_LISTEN"},
		{"flag over env", "", []string{"MAYDAY_LISTEN=127.0.0.1:2"}, map[string]string{"listen": "127.0.0.1:3"}, "127.0.0.1:3", "flag --listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := load(t, c.yaml, c.env, c.flags)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range l.Settings {
				if s.Path == "listen" && (s.String() != c.want || !strings.HasSuffix(s.Source, c.from)) {
					t.Errorf("listen = %s from %s, want %s from %s", s, s.Source, c.want, c.from)
				}
			}
		})
	}
}

func TestErrorsComeTogether(t *testing.T) {
	_, err := load(t, "nonsense: 1\n", []string{"MAYDAY_HTTP_DRAIN=soon", "MAYDAY_LOG_LEVEL=loud"}, map[string]string{"role": "cook"})
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("error %v is of kind %v", err, fault.Of(err))
	}
	for _, want := range []string{"nonsense", "http.drain", `"soon"`, `"loud"`, `"cook"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s: %v", want, err)
		}
	}
}

func TestUnknownVariableWarns(t *testing.T) {
	l, err := load(t, "", []string{"MAYDAY_PORT=tcp://10.0.0.1:80"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "MAYDAY_PORT") {
		t.Errorf("warnings = %q", l.Warnings)
	}
}

func TestCannotWork(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"split roles on mem queue", "role: [collector]\nqueue: {url: 'mem://{name}'}", "queue.url"},
		{"split roles on mem bucket", "role: [web]\nstorage: {crashes: 'mem://'}", "storage.crashes"},
		{"open to the world undecided", "listen: 0.0.0.0:8000", "web.anonymous"},
		{"short lease", "queue: {lease: 1s}", "queue.lease"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := load(t, c.yaml, nil, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one about %s", err, c.want)
			}
		})
	}
	if _, err := load(t, "listen: 0.0.0.0:8000\nrole: [collector]", nil, nil); err != nil {
		t.Errorf("a collector alone needs no web.anonymous: %v", err)
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{"0": 0, "7": 7, "25MiB": 25 << 20, "1 GB": 1e9, "8B": 8} {
		got, err := config.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := config.ParseBytes(got.String()); err != nil || again != got {
			t.Errorf("%q does not come back from %q", text, got.String())
		}
	}
	for _, text := range []string{"", "-1", "9999999999TiB", "1.5MiB", "MiB"} {
		if b, err := config.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, b)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	l, err := load(t, "catalog: {url: 'postgres://u:hunter2@h/d'}", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json", "markdown"} {
		var out bytes.Buffer
		if err := config.Write(&out, l.Settings, format); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s shows the secret", format)
		}
	}
}

func TestDeclarations(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range (&config.Config{}).Settings() {
		if s.Path == "" || seen[s.Path] || s.Path != strings.ToLower(s.Path) {
			t.Errorf("setting %q is not one lower-case name", s.Path)
		}
		seen[s.Path] = true
		if s.Doc == "" || !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s: doc %q is no sentence", s.Path, s.Doc)
		}
	}
}

// The example must be a file that loads when its comments are taken off.
func TestExampleLoads(t *testing.T) {
	var out bytes.Buffer
	if err := config.WriteExample(&out); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range strings.Split(out.String(), "\n") {
		text.WriteString(strings.TrimPrefix(line, "#") + "\n")
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text.String()), &tree); err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	l, err := load(t, text.String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.HTTP.Drain != 15*time.Second {
		t.Errorf("http.drain = %v", l.HTTP.Drain)
	}
	for _, s := range l.Settings {
		if s.Source == "default" {
			t.Errorf("%s is not in the example", s.Path)
		}
	}
}
