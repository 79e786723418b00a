package processor

import (
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.uber.org/zap"
)

// Names of temporary files, for people who find one and for cleanTemp.
const (
	tempDump = "mayday-dump-*"
	tempWalk = "mayday-walk-*"
)

// staleAfter is how long nobody may have written to a temporary file before it
// counts as left behind: longer than any crash is worked on.
const staleAfter = 2 * crashTimeout

// tempFile makes a temporary file that goes with the process, however that
// ends: it has no name any more. Where the system does not allow that
// (Windows), removeTemp and cleanTemp remove it.
func tempFile(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err == nil {
		_ = os.Remove(f.Name()) // see above
	}
	return f, err
}

func removeTemp(f *os.File) {
	f.Close()
	_ = os.Remove(f.Name()) // mostly it is gone already
}

// passesFiles says that a child can be handed an open file.
const passesFiles = runtime.GOOS != "windows"

// cleanTemp removes temporary files that a killed process left in dir.
func cleanTemp(dir string, log *zap.Logger) {
	if dir == "" {
		dir = os.TempDir()
	}
	for _, pattern := range []string{tempDump, tempWalk} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			continue // a folder with brackets in its name: the files stay, and do no harm
		}
		for _, name := range found {
			info, err := os.Lstat(name)
			if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < staleAfter {
				continue
			}
			if err := os.Remove(name); err != nil {
				log.Warn("temporary file of an earlier process stays", zap.Error(err))
			}
		}
	}
}
