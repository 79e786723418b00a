package sym

import (
	"bufio"
	"io"
	"strconv"
)

// Writer prints records as a symbol file, in the form that dump_syms writes:
// hex digits in lower case, single spaces, lines that end in \n.
type Writer struct {
	w   *bufio.Writer
	buf []byte
	err error
}

// NewWriter makes a writer; Flush ends it.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 1<<16)} }

// Write prints one record. The records must come in the order of the format:
// MODULE first, INLINE and line records behind their FUNC, STACK CFI behind
// its INIT. An error is of the writer below and stays.
func (w *Writer) Write(r *Record) error {
	if w.err != nil {
		return w.err
	}
	w.buf = append(appendRecord(w.buf[:0], r), '\n')
	_, w.err = w.w.Write(w.buf)
	return w.err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func appendRecord(b []byte, r *Record) []byte {
	switch r.Kind {
	case KindModule:
		b = appendWords(append(b, "MODULE"...), r.OS, r.Arch, r.ModuleID)
	case KindInfo:
		b = append(b, "INFO"...)
	case KindFile:
		b = appendDec(append(b, "FILE"...), r.ID)
	case KindInlineOrigin:
		b = appendDec(append(b, "INLINE_ORIGIN"...), r.ID)
	case KindFunc:
		b = appendHex(appendMultiple(append(b, "FUNC"...), r), r.Address, r.Size, uint64(r.ParamSize))
	case KindPublic:
		b = appendHex(appendMultiple(append(b, "PUBLIC"...), r), r.Address, uint64(r.ParamSize))
	case KindInline:
		return appendInline(b, r)
	case KindLine:
		b = strconv.AppendUint(b, r.Address, 16)
		return appendDec(appendHex(b, r.Size), r.Line, r.File)
	case KindCFIInit:
		b = appendHex(append(b, "STACK CFI INIT"...), r.Address, r.Size)
	case KindCFI:
		b = appendHex(append(b, "STACK CFI"...), r.Address)
	case KindWin:
		b = appendHex(append(b, "STACK WIN"...), uint64(r.Win.Type), r.Address, r.Size)
		for _, n := range r.Win.Sizes {
			b = appendHex(b, uint64(n))
		}
		if r.Win.HasProgram {
			b = append(b, " 1"...)
		} else {
			b = append(b, " 0"...)
		}
	}
	return appendWords(b, r.Text)
}

func appendInline(b []byte, r *Record) []byte {
	b = appendDec(append(b, "INLINE"...), r.Depth, r.Line)
	if !r.OldInline {
		b = appendDec(b, r.File)
	}
	b = appendDec(b, r.Origin)
	for _, g := range r.Ranges {
		b = appendHex(b, g.Address, g.Size)
	}
	return b
}

func appendMultiple(b []byte, r *Record) []byte {
	if r.Multiple {
		return append(b, " m"...)
	}
	return b
}

func appendHex(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = strconv.AppendUint(append(b, ' '), n, 16)
	}
	return b
}

func appendDec(b []byte, numbers ...uint32) []byte {
	for _, n := range numbers {
		b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
	}
	return b
}

func appendWords(b []byte, words ...[]byte) []byte {
	for _, w := range words {
		b = append(append(b, ' '), w...)
	}
	return b
}
