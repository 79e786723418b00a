//go:build !unix

package collector

import (
	"os"

	"mayday/app/fault"
)

// lockFile opens the file; the system has no lock that ends with the process.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return f, fault.As(fault.Unavailable, err, "lock")
}
