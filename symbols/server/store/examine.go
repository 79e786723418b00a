package store

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"strings"

	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/quality"
)

const (
	// maxHead is how much of a symbol file is looked at for what it says of
	// itself: MODULE and INFO stand first.
	maxHead = 64 << 10
	// MaxText is the longest text that is kept of a symbol file's head.
	MaxText = 200
)

// Examiner learns what must be known of a file by having it written through
// it: size, hash, and what its head says.
type Examiner struct {
	size int64
	sum  hash.Hash
	head bytes.Buffer

	text    bool // a .sym file
	quality quality.Checker
}

// NewExaminer begins to examine a file that is to be kept under key.
func NewExaminer(key string) *Examiner { return &Examiner{sum: md5.New(), text: Packed(key)} }

// Write takes the next bytes of the file.
func (e *Examiner) Write(p []byte) (int, error) {
	e.size += int64(len(p))
	e.sum.Write(p)
	if e.text {
		_, _ = e.quality.Write(p) // it takes everything
	}
	if room := maxHead - e.head.Len(); room > 0 {
		e.head.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Describe fills in what was learned. A file that says nothing of itself is
// known by its key alone, where nobody knew more before.
func (e *Examiner) Describe(f *catalog.SymbolFile) {
	f.TextSize, f.MD5 = e.size, hex.EncodeToString(e.sum.Sum(nil))
	debugFile, debugID, _, _ := Split(f.Key)
	if f.DebugFile == "" {
		f.DebugFile, f.DebugID = debugFile, debugID
	}
	if !e.text {
		return
	}
	f.Kind, f.Quality = "sym", e.quality.Faults(debugFile, debugID)
	lines := bufio.NewScanner(bytes.NewReader(e.head.Bytes()))
	lines.Buffer(make([]byte, 0, 4096), maxHead)
	for n := 0; lines.Scan(); n++ {
		words := strings.SplitN(strings.TrimRight(lines.Text(), "\r"), " ", 5)
		switch {
		case n == 0 && words[0] == "MODULE" && len(words) == 5:
			if id, ok := symbols.NormalizeDebugID(words[3]); ok && GoodPart(words[4]) {
				f.DebugFile, f.DebugID = words[4], id
			}
		case n > 0 && words[0] == "INFO" && len(words) >= 3:
			describeInfo(f, words[1], strings.SplitN(lines.Text(), " ", 3)[2])
		default:
			return
		}
	}
}

func describeInfo(f *catalog.SymbolFile, what, text string) {
	text = strings.TrimSpace(text)
	switch what {
	case "CODE_ID":
		id, file, _ := strings.Cut(text, " ")
		if id, ok := symbols.NormalizeCodeID(id); ok {
			f.CodeID = id
		}
		if file = strings.TrimSpace(file); len(file) <= MaxText {
			f.CodeFile = file
		}
	case "GENERATOR":
		f.Generator = strings.ToValidUTF8(text[:min(len(text), MaxText)], "")
	}
}
