package minidump

import (
	"bytes"
	"iter"
)

// LinuxFiles are files of /proc/<pid> and /etc as they were when the dump was
// written; nil ones are not in the dump. They must not be changed.
type LinuxFiles struct {
	CPUInfo    []byte // /proc/cpuinfo
	Status     []byte // /proc/<pid>/status
	LSBRelease []byte // /etc/lsb-release or /etc/os-release
	CmdLine    []byte // arguments, each ended by a 0
	Environ    []byte // NAME=value, each ended by a 0
	Auxv       []byte // pairs of words
	DSODebug   []byte // the dynamic linker's list, a binary record
	Limits     []byte // /proc/<pid>/limits
}

func linuxFile(field func(*LinuxFiles) *[]byte) func(*Dump, []byte) *FormatError {
	return func(d *Dump, b []byte) *FormatError {
		*field(&d.Linux) = b
		return nil
	}
}

// KeyValues yields the pairs of a text whose lines are KEY, separator, VALUE.
// Spaces around both are dropped, and one pair of double quotes; lines without
// the separator are skipped.
func KeyValues(text []byte, separator byte) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range bytes.SplitSeq(text, []byte{'\n'}) {
			k, v, ok := bytes.Cut(line, []byte{separator})
			if ok && !yield(plain(k), plain(v)) {
				return
			}
		}
	}
}

func plain(b []byte) string {
	b = bytes.Trim(b, " \t\n\f\r")
	if n := len(b); n >= 2 && b[0] == '"' && b[n-1] == '"' {
		b = b[1 : n-1]
	}
	return ValidText(b)
}

func (d *Dump) readSoftErrors(b []byte) *FormatError {
	d.SoftErrors = b
	return nil
}

// maxComment is how much of a comment is read, in bytes; people and programs
// leave some lines.
const maxComment = 64 << 10

// readCommentA reads a comment in the system's 8-bit code; what is not UTF-8 is
// replaced.
func (d *Dump) readCommentA(b []byte) *FormatError {
	d.Comments = append(d.Comments, untilNUL(b[:min(len(b), maxComment)]))
	return nil
}

func (d *Dump) readCommentW(b []byte) *FormatError {
	words := make([]uint16, min(len(b), maxComment)/2)
	for i := range words {
		words[i] = d.Order.Uint16(b[2*i:])
	}
	d.Comments = append(d.Comments, fixedUTF16(words))
	return nil
}
