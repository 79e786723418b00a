//go:build unix

package cache

import (
	"os"
	"syscall"

	"mayday/app/fault"
)

// mapFile maps a file for reading. Files of this package are never truncated
// in place, so that a mapped page cannot vanish.
func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	if size != int64(int(size)) {
		return nil, nil, fault.New(fault.TooLarge, "%d bytes do not fit the address space", size)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return syscall.Munmap(data) }, nil
}

// lockFile takes a file for this process if no other has it. It reports true
// also where the file system knows no locks.
func lockFile(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != syscall.EWOULDBLOCK
}
