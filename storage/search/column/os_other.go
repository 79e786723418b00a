//go:build !unix

package column

import (
	"os"
)

// mapFile reads a file into memory where files cannot be mapped.
func mapFile(path string) (data []byte, release func(), err error) {
	data, err = os.ReadFile(path)
	return data, func() {}, err
}

// lockFile holds the lock file open; the system refuses a second writer where
// open files are exclusive.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
