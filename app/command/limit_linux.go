package command

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// heapArena is what the runtime maps at a time when its heap grows.
const heapArena = 64 << 20

// LimitData lets the private memory of this process grow by that many bytes.
// The address space cannot be bounded: the runtime reserves far more than it
// uses. It counts from what the program takes by itself, and leaves room for
// the arena that is begun and not filled. A limit that the process has already,
// from the one that began it, stays.
func LimitData(bytes uint64) error {
	limit := dataNow() + bytes + heapArena
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_DATA, &old); err == nil {
		limit = min(limit, old.Max)
	}
	return syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit})
}

// dataNow is the private memory of this process; 0 when the system does not
// say.
func dataNow() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmData:")); ok {
			kib, err := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 54)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
