//go:build unix

package queue

import (
	"os"
	"syscall"
)

const canLock = true

// lock takes the file for this process, without waiting.
func lock(f *os.File) bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }
