// Package minidump reads the container of a crash dump: the file that
// Windows' MiniDumpWriteDump, Breakpad and Crashpad write when a process
// crashes. In come bytes, out come Go values: what system and process it was,
// which threads and modules there were, why it crashed, and what lay in memory.
//
// Read parses the header and the directory of streams, then each stream it
// knows; stream_<name>.go has one each, and package format has the layouts. A
// stream that is given twice counts as its last occurrence. Only a broken
// header or directory fails the file. A broken stream is left out and listed
// in Dump.Errors, and all others are still read. Registers stay undecoded
// until Context asks for them.
//
// The bytes are hostile: every length is checked against the file before it is
// used, nothing is allocated for what is merely claimed, and texts and lists
// that many records share or overlap are paid from one budget (see budget).
// Dumps of up to maxResident bytes are held in memory; of larger ones only the
// streams are, and memory is read when it is asked for.
//
// It does not walk stacks, name crash reasons or look at symbols: see packages
// unwind, reason and stackwalk.
package minidump
