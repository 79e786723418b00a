// Package truth measures stacks against a live debugger. It builds programs of
// its own that crash in many ways, with the compilers that are installed, runs
// them under gdb, takes gdb's stacks as the truth and gdb's core file as what
// happened, makes a minidump of the core, and walks that with symbols that
// dump_syms made. What counts are source lines: how many of gdb's the walk
// recovers, and how many it prints that gdb does not. minidump-stackwalk walks
// the same dumps with the same symbols beside it where it is installed.
//
// docs/truth.md says what the figures mean and how to get them. It runs with
// MAYDAY_TRUTH=1 alone; without gdb, a compiler or dump_syms the parts that
// need them are left out.
package truth
