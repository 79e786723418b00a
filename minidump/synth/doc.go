// Package synth makes minidumps and the symbols that go with them, for tests,
// fuzzing, the demo and load generation.
//
// It has three levels. File puts bytes, strings and streams into a minidump
// by hand, well formed or not. Dump describes every stream as Go values and
// writes them, for every CPU and in both byte orders. Crash is a program that
// crashed: Binaries (modules with functions, lines, inlines and frames) and
// the chain of calls of each thread; from them come stack memory that an
// unwinder walks back to exactly those calls, the registers, the instruction
// that faulted, the streams that a crash reporter of that platform writes, and
// the Breakpad .sym text of each binary. Samples are a few products with many
// crashes each.
//
// The layouts follow Microsoft's minidumpapiset.h, Breakpad's
// minidump_format.h and its minidump_cpu_*.h, Crashpad's minidump_extensions.h
// and Mozilla's additions to them. They are written down here a second time,
// apart from the reader's, on purpose: a mistake in one of the two shows.
//
// Everything is deterministic: the same values and the same seed give the same
// bytes. Nothing is checked; what makes no sense is written as it is.
package synth
