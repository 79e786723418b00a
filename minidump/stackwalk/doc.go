// Package stackwalk turns a minidump and the symbols of its modules into a
// State: what crashed and why, and the call stack of every thread with
// function names and source lines. State writes itself as the JSON that
// Mozilla's minidump-stackwalk writes, or as text for people.
//
// Walk takes the dump (package minidump), names the crash reason (reason),
// walks each thread (unwind), looks up each frame in the symbols that a
// SymbolSource hands out, and looks at the crashing instruction (analysis).
// Nothing here reads files, asks the network or knows what time it is.
//
// The JSON has the keys, null rules and number formats of minidump-stackwalk
// 0.27; keys of our own are added only when they have something to say:
// "truncated" where a limit ended a walk,
// "loaded_binary" of a module whose own file helped to unwind it, "dump_errors" for broken parts,
// "crashpad" for what Crashpad tells of process and modules and
// "crashpad_annotations" for all annotations by name, "assertion_info"; of a
// module "symbol_error" where its symbols could not be had, "symbol_problems"
// where lines of them broke the rules.
package stackwalk
