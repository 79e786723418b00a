package app

import "syscall"

// limitData bounds the private memory of this process. The address space
// cannot be bounded: the runtime reserves far more than it uses.
func limitData(bytes uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: bytes, Max: bytes})
}
