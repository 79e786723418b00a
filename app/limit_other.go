//go:build !linux

package app

// limitData does nothing: only Linux bounds private memory; the runtime's own
// limit stays.
func limitData(uint64) error { return nil }
