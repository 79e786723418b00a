//go:build unix

package collector

import (
	"os"
	"syscall"

	"mayday/app/fault"
)

// lockFile takes a file for this process; closing it, or the end of the
// process, gives it back.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "lock")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.As(fault.Conflict, err, "another process uses it; give each collector a collector.spool of its own")
	}
	return f, nil
}
