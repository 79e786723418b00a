package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in stdout or stderr
	}{
		{"unknown command", []string{"fly"}, 2, `no command "fly"`},
		{"unknown flag", []string{"serve", "--wings"}, 2, "wings"},
		{"flag after an argument", []string{"user", "add", "a@example.com", "--admin"}, 2, "flags stand before arguments"},
		{"bad setting", []string{"config", "--http.drain", "soon"}, 2, `"soon"`},
		{"unknown role", []string{"serve", "--data-dir", dir, "--role", "cook"}, 2, `"cook"`},
		{"split roles on a memory queue", []string{"serve", "--data-dir", dir, "--role", "collector", "--queue.url", "mem://{name}"}, 2, "queue.url"},
		{"open to the world undecided", []string{"serve", "--data-dir", dir, "--listen", "0.0.0.0:0"}, 2, "web.anonymous"},
		{"underscores in flags", []string{"config", "--data_dir", "elsewhere"}, 0, "elsewhere"},
		{"settings", []string{"config", "--format", "json"}, 0, `"setting": "data_dir"`},
		{"metrics", []string{"metrics"}, 0, "mayday_http_requests_total"},
		{"version", []string{"version"}, 0, `"commit"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run(t, c.args...)
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("mayday %s: exit %d, want %d and %q in\n%s%s", strings.Join(c.args, " "), code, c.code, c.want, out, errs)
			}
		})
	}
}

func TestUsersAndTokens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if code, out, errs := run(t, "user", "add", "--data-dir", dir, "--admin", "ann@example.com"); code != 0 || !strings.Contains(out, "/login/link?key=") {
		t.Fatalf("user add: exit %d\n%s%s", code, out, errs)
	}
	code, out, errs := run(t, "token", "create", "--data-dir", dir, "--user", "ann@example.com", "--permissions", "view_pii,view_rawdump")
	if code != 0 || !regexp.MustCompile(`(?m)^[0-9a-f]{32}$`).MatchString(out) {
		t.Fatalf("token create: exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs := run(t, "token", "create", "--data-dir", dir, "--user", "bob@example.com"); code != 1 || !strings.Contains(errs, "no user bob@example.com") {
		t.Errorf("token for nobody: exit %d, %s", code, errs)
	}
	if code, _, _ := run(t, "user", "grant", "--data-dir", dir, "ann@example.com", "fly"); code != 2 {
		t.Errorf("unknown permission: exit %d", code)
	}
}
