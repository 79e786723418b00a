package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Supported says that this system can sync one file system.
const Supported = true

// syncAll puts everything on disk that was written to the file system that
// holds dir.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// syncData puts a file's bytes on disk, and what is needed to read them.
func syncData(f *os.File) error {
	return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd())))
}
