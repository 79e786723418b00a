package gopclntab

import (
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample/goprogram"
)

// targets are what programs are built for: the system, the processor and flags.
var targets = []string{"linux amd64", "linux amd64 -buildmode=pie", "linux 386", "linux arm", "linux arm64", "windows amd64", "windows arm64", "darwin arm64"}

// opened opens a file and its table.
func opened(tb testing.TB, b []byte) (*executable.Image, *Table) {
	tb.Helper()
	im := goprogram.Open(tb, b)
	t, err := Open(im)
	if err != nil {
		tb.Fatal(err)
	}
	return im, t
}
