//go:build !linux

package command

// LimitData does nothing: only Linux bounds private memory; the runtime's own
// limit stays.
func LimitData(uint64) error { return nil }
