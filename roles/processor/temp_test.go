package processor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

func TestCleanTemp(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"mayday-walk-1": 2 * time.Hour, "mayday-dump-2": 2 * time.Hour, "mayday-walk-3": time.Minute, "other": 2 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	cleanTemp(dir, zaptest.NewLogger(t))
	for name, want := range map[string]bool{"mayday-walk-1": false, "mayday-dump-2": false, "mayday-walk-3": true, "other": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
