package storage

import (
	"bytes"
	"encoding/json"
	"io"

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
