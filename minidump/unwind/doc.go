// Package unwind walks the stacks of the threads in a dump: from the registers
// of a thread it works out the registers of its caller, and so on outwards.
//
// Each step tries three techniques in order and takes the first that yields a
// caller. Call frame information from the module's symbols (STACK WIN on x86,
// then STACK CFI) is exact where there is any. The frame pointer works for code
// that keeps one. Scanning looks upwards through the stack for a word that
// could be a return address, and can be wrong. How a frame was found is its
// Trust.
//
// There are two sets of heuristics. Parity follows Mozilla's
// minidump-stackwalk 0.27 frame for frame, its quirks included, so that results
// can be compared. Best departs from it where that gives better stacks: see
// best.go. Both have the same limits, which the walker of the other side lacks:
// no stack, however hostile, is walked without end.
//
// The package reads no file, asks no network and knows no dump format: registers
// come decoded (minidump/format), the stack as bytes, symbols through small
// interfaces. It does not name functions or lines; the caller looks those up
// for the frames it gets.
package unwind
