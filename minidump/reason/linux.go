package reason

import (
	"fmt"

	"mayday/minidump/format"
)

// linux names a signal, whose number is the code and whose si_code are the
// flags; "" if it knows no such signal.
func linux(e *format.Exception) string {
	n := linuxNames()
	signal, ok := n["signal"][uint64(e.Code)]
	if !ok {
		return ""
	}
	if code, ok := n[signal][uint64(e.Flags)]; ok {
		return signal + " / " + code
	}
	code, ok := n["si_code"][uint64(e.Flags)]
	switch {
	case !ok:
		return fmt.Sprintf("%s / 0x%08x", signal, e.Flags)
	case code == "SI_USER":
		return signal // 0: somebody's kill, or a writer that does not know
	}
	return signal + " / " + code
}
