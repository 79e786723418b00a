// Package sym reads and writes the Breakpad text format of debug symbols.
//
// A Scanner turns a stream of bytes into records, one a line, and passes two
// verdicts over the whole file on the way: whether the strict grammar of
// minidump-stackwalk takes every line, and whether symbolic takes the file. A
// line that cannot be used is skipped and counted; the rest is still read. A
// Writer prints records. Lookups are the work of symbols/lookup.
//
// Format: Breakpad, docs/symbol_files.md; the INLINE records of 2021 with and
// without the call file. Names are kept as written: nothing is demangled.
//
// The package works on streams and byte slices alone; files, caches and
// downloads are in symbols/cache and symbols/fetch.
package sym

import (
	"bytes"
	"io"

	"mayday/symbols"
)

const (
	// MaxLine is the length from which a line is skipped, as minidump-stackwalk
	// does: it reads through a buffer of 160 KiB.
	MaxLine = 160 << 10
	// readSize is how much is read at a time: little enough to stay in the
	// processor's cache until it is parsed.
	readSize   = 64 << 10
	bufferSize = MaxLine + readSize
	// MaxSkippedLines is how many numbers of skipped lines a verdict keeps.
	MaxSkippedLines = 10
	// fastLine is more than a line record can fill: 16 + 8 + 10 + 10 digits,
	// three spaces and the end.
	fastLine = 64
)

// open is the block that a record may continue.
type open uint8

const (
	openNone open = iota
	openFunc
	openCFI
)

// Scanner reads the records of a symbol file from a stream.
type Scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	eof      bool
	err      error

	rec     Record
	ranges  []Range
	line    uint64
	open    open // what the tolerant grammar has open
	strict  open // what the strict grammar has open
	stack   bool // a STACK record was seen: symbolic reads no further
	verdict symbols.Verdict
	head    symbols.Module
}

// NewScanner makes a scanner that reads from r.
func NewScanner(r io.Reader) *Scanner {
	return &Scanner{r: r, buf: make([]byte, bufferSize)}
}

// Scan goes to the next record that can be used and reports false at the end
// of the file or when reading fails, which Err tells.
func (s *Scanner) Scan() bool {
	for {
		if s.open == openFunc && s.scanLineRecord() {
			return true
		}
		line, terminated, ok := s.next()
		if !ok {
			s.finish()
			return false
		}
		if !terminated {
			s.refuse()
		}
		if len(line) == 0 {
			s.strict = openNone // a blank line ends a block of the strict grammar
			continue
		}
		if s.parse(line) {
			return true
		}
	}
}

// Record is the record that Scan went to. It changes with the next Scan.
func (s *Scanner) Record() *Record { return &s.rec }

// Line is the number of the line that Scan went to, counted from 1.
func (s *Scanner) Line() uint64 { return s.line }

// Err is the error that ended reading, nil at the end of the file. A file that
// breaks the grammar is no error: see Verdict.
func (s *Scanner) Err() error { return s.err }

// Verdict is what is known about the file as a whole; it is complete when Scan
// has reported false.
func (s *Scanner) Verdict() symbols.Verdict { return s.verdict }

// Module is what MODULE and INFO records have said so far.
func (s *Scanner) Module() symbols.Module { return s.head }

// scanLineRecord reads a line record that is complete in the buffer and has
// the strict form, which almost all lines of a symbol file have.
func (s *Scanner) scanLineRecord() bool {
	if s.end-s.pos < fastLine {
		return false
	}
	b := s.buf[s.pos:][:fastLine:fastLine]
	var address, size, line, file uint64
	i := 0
	for ; i < 17; i++ {
		d := hexDigit[b[i]]
		if d > 15 {
			break
		}
		address = address<<4 | uint64(d)
	}
	if i == 0 || i > 16 || b[i] != ' ' {
		return false
	}
	i++
	n := i
	for ; i < n+9; i++ {
		d := hexDigit[b[i]]
		if d > 15 {
			break
		}
		size = size<<4 | uint64(d)
	}
	if i == n || i > n+8 || b[i] != ' ' {
		return false
	}
	i++
	n = i
	for ; i < n+11; i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		line = line*10 + uint64(d)
	}
	if i == n || i > n+10 || b[i] != ' ' {
		return false
	}
	i++
	n = i
	for ; i < n+11; i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		file = file*10 + uint64(d)
	}
	if i == n || i > n+10 || b[i] != '\n' || (line|file) >= 1<<32 {
		return false
	}
	s.pos += i + 1
	s.line++
	if s.strict != openFunc {
		s.refuse()
	}
	r := &s.rec
	r.Kind, r.Address, r.Size, r.Line, r.File = KindLine, address, size, uint32(line), uint32(file)
	return true
}

// next cuts the next line from the stream, without its end of line. A line
// that is too long is passed over as if it were not there.
func (s *Scanner) next() (line []byte, terminated, ok bool) {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:s.end], '\n'); i >= 0 {
			line = s.buf[s.pos : s.pos+i]
			s.pos += i + 1
			s.line++
			if len(line) >= MaxLine {
				s.skipped()
				continue
			}
			return trimCR(line), true, true
		}
		if s.end-s.pos >= MaxLine {
			if !s.discard() {
				return nil, false, false
			}
			continue
		}
		if !s.fill() {
			if s.pos == s.end || s.err != nil {
				return nil, false, false
			}
			line = s.buf[s.pos:s.end]
			s.pos = s.end
			s.line++
			return trimCR(line), false, true
		}
	}
}

// discard passes over a line that is longer than the buffer may hold.
func (s *Scanner) discard() bool {
	s.line++
	s.skipped()
	for {
		if i := bytes.IndexByte(s.buf[s.pos:s.end], '\n'); i >= 0 {
			s.pos += i + 1
			return true
		}
		s.pos = s.end
		if !s.fill() {
			s.refuse() // the last line has no end
			return false
		}
	}
}

// fill reads more into the buffer and reports false at the end.
func (s *Scanner) fill() bool {
	if s.eof || s.err != nil {
		return false
	}
	copy(s.buf, s.buf[s.pos:s.end])
	s.end -= s.pos
	s.pos = 0
	for empty := 0; ; empty++ {
		n, err := s.r.Read(s.buf[s.end:min(s.end+readSize, len(s.buf))])
		s.end += n
		switch {
		case err == io.EOF:
			s.eof = true
		case err != nil:
			s.err = err
		case n == 0 && empty > 100:
			s.err = io.ErrNoProgress
		case n == 0:
			continue
		}
		return n > 0
	}
}

// finish completes the verdict.
func (s *Scanner) finish() {
	s.verdict.Lines = s.line
	if s.line == 0 {
		s.line = 1
		s.refuse()
		s.refuseSymbolic("the file is empty")
		s.line = 0
		return
	}
	if !s.head.Found && s.verdict.Symbolic == 0 {
		s.refuseSymbolic("there is no MODULE record")
	}
}

// refuse notes that the strict grammar does not take the present line.
func (s *Scanner) refuse() {
	if s.verdict.Strict == 0 {
		s.verdict.Strict = s.line
	}
}

// refuseSymbolic notes that symbolic does not take the file.
func (s *Scanner) refuseSymbolic(why string) {
	if s.verdict.Symbolic == 0 && !s.stack {
		s.verdict.Symbolic, s.verdict.SymbolicReason = s.line, why
	}
}

// Skip counts the line that Scan went to as one that could not be used: for a
// caller that has no room for its record.
func (s *Scanner) Skip() { s.skipped() }

// skipped counts the present line as one that could not be used.
func (s *Scanner) skipped() {
	s.verdict.Skipped++
	if len(s.verdict.SkippedLines) < MaxSkippedLines {
		s.verdict.SkippedLines = append(s.verdict.SkippedLines, s.line)
	}
}

// trimCR cuts any number of carriage returns before the end of the line.
func trimCR(line []byte) []byte {
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line
}

// hexDigit is the value of each byte as a hex digit, 255 for others.
var hexDigit = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i := range 10 {
		t['0'+i] = uint8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = uint8(10+i), uint8(10+i)
	}
	return t
}()
