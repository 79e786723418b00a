// Package analysis looks at the instruction that crashed and says what it
// tells beyond the exception: its text, what memory it touched and where it
// would have jumped; whether the reported address hides a null pointer or one
// that no processor can reach; whether one flipped bit explains the address,
// whether it lies in a guard page, and where exception and instruction
// contradict each other.
//
// Instructions of x86-64 are decoded by the table in opcodes.tsv; the text follows
// the one that minidump-stackwalk prints, and so do the rules, which are
// Mozilla's. EVEX (AVX-512) instructions of maps 1 to 3 have a table of their own,
// evex.tsv; AVX-512 FP16, XOP and APX are not known. Encodings that processors
// refuse are refused, some of which minidump-stackwalk takes. On arm64 the Best
// heuristics name the instruction and the memory it touches (golang.org/x/arch
// decodes it). Other processors get what needs no instruction: bit flips, but not
// on arm64, where plain offsets look like flipped bits too often.
//
// Everything is a hint for people, not proof.
package analysis
