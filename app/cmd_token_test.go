package app

import (
	"strings"
	"testing"
)

// Tokens are made, listed, extended and revoked by number or text.
func TestTokenCommands(t *testing.T) {
	dir := t.TempDir()
	do := func(want int, args ...string) string {
		t.Helper()
		all := append([]string{args[0], args[1], "--data-dir", dir}, args[2:]...)
		code, out, errs := symbolsCommand("", all...)
		if code != want {
			t.Fatalf("%q: exit code %d, want %d: %s%s", args, code, want, out, errs)
		}
		return out
	}
	do(0, "user", "add", "a@example.com")
	do(0, "user", "add", "b@example.com")
	first := strings.TrimSpace(do(0, "token", "create", "--user", "a@example.com", "--permissions", "upload_symbols", "--notes", "builds"))
	second := strings.TrimSpace(do(0, "token", "create", "--user", "b@example.com", "--life", "1ns"))
	if len(first) != 32 || len(second) != 32 {
		t.Fatalf("%q %q", first, second)
	}
	list := do(0, "token", "list")
	for _, want := range []string{"1   a@example.com  upload_symbols", "active   builds", "2   b@example.com  none", "expired"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	if strings.Contains(list, first) || strings.Contains(list, second) {
		t.Errorf("the list shows tokens:\n%s", list)
	}
	if list := do(0, "token", "list", "--state", "active"); strings.Contains(list, "b@example.com") {
		t.Errorf("%s", list)
	}
	if list := do(0, "token", "list", "--user", "B@example.com", "--format", "json"); strings.Contains(list, "a@example.com") || !strings.Contains(list, `"state": "expired"`) {
		t.Errorf("%s", list)
	}
	do(0, "token", "extend", "--days", "3", "2")
	if list := do(0, "token", "list", "--state", "active"); !strings.Contains(list, "b@example.com") {
		t.Errorf("%s", list)
	}
	do(2, "token", "extend", "--days", "0", "2")
	do(2, "token", "extend", "1", "2")
	do(0, "token", "revoke", first, "2")
	if list := do(0, "token", "list"); strings.Contains(list, "example.com") {
		t.Errorf("%s", list)
	}
	do(1, "token", "revoke", "2")
	do(1, "token", "revoke", first)
	do(2, "token", "revoke")
	do(2, "token", "list", "--state", "new")
}
