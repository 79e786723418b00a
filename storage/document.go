package storage

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"mayday/app/fault"
)

// RawCrash is what the collector stores about a crash: the client's
// annotations and, beside them, uuid, version, submitted_timestamp and
// metadata. Values have JSON types; numbers are json.Number, so that a 64-bit
// address survives.
type RawCrash map[string]any

// ProcessedCrash is what the processor makes of a raw crash and its dumps.
// Numbers are json.Number when read from the bucket.
type ProcessedCrash map[string]any

// Text is the annotation of that name when it is a text, and "" otherwise.
func (r RawCrash) Text(name string) string {
	s, _ := r[name].(string)
	return s
}

// Text is the field of that name when it is a text, and "" otherwise.
func (p ProcessedCrash) Text(name string) string {
	s, _ := p[name].(string)
	return s
}

// MaxDocument bounds a raw or processed crash in bytes. The collector lets 20
// MiB of annotations pass, of which each byte may become six in JSON; a
// processed crash of a thousand threads is about 30 MiB.
const MaxDocument = 192 << 20

// EncodeDocument writes a document as the bucket holds it: one JSON object
// with sorted keys, pure ASCII.
func EncodeDocument(doc map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, fault.As(fault.Invalid, err, "encode document")
	}
	return escapeASCII(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// escapeASCII writes each character of JSON text outside ASCII as \uXXXX;
// encoding/json leaves such characters only inside strings.
func escapeASCII(text []byte) []byte {
	first := 0
	for first < len(text) && text[first] < utf8.RuneSelf {
		first++
	}
	if first == len(text) {
		return text
	}
	out := make([]byte, first, len(text)+len(text)/4)
	copy(out, text)
	for i := first; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			out = appendEscape(appendEscape(out, r1), r2)
			continue
		}
		out = appendEscape(out, r)
	}
	return out
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// DecodeDocument reads one JSON object; numbers become json.Number.
func DecodeDocument(text []byte) (map[string]any, error) {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, fault.As(fault.Malformed, err, "decode document of %d bytes", len(text))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fault.New(fault.Malformed, "decode document: more follows the object at byte %d", d.InputOffset())
	}
	if doc == nil {
		return nil, fault.New(fault.Malformed, "decode document: null instead of an object")
	}
	return doc, nil
}
