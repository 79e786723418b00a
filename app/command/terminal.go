package command

import (
	"io"
	"os"
)

// Terminal reports whether w is a terminal, where somebody reads along.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
