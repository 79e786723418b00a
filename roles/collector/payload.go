package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"mayday/storage"
)

// malformed is the reason why a request is no crash, as clients are told.
type malformed string

func (m malformed) Error() string { return string(m) }

const (
	noContentType    malformed = "no_content_type"
	wrongContentType malformed = "wrong_content_type"
	noBoundary       malformed = "no_boundary"
	noContentLength  malformed = "no_content_length"
	badGzip          malformed = "bad_gzip"
	badEncoding      malformed = "bad_encoding"
	invalidJSON      malformed = "invalid_json"
	invalidJSONValue malformed = "invalid_json_value"
	invalidDumpName  malformed = "invalid_dump_name"
	invalidStructure malformed = "invalid_payload_structure"
	noAnnotations    malformed = "no_annotations"
	invalidUUID      malformed = "invalid_uuid"
)

// maxText is the largest annotation in a part of its own; a larger one is
// dropped with a note.
const maxText = 20 << 20

// noteBoth says that a JSON part replaced annotations, or others followed it.
const noteBoth = "includes annotations in both json-encoded extra and formdata parts"

// payload is what a body holds: annotations, dumps, and remarks on oddities.
type payload struct {
	annotations map[string]any
	fromJSON    bool
	notes       []string
	files       []file // in the order of arrival, each name once

	limits Limits
	held   *held
	budget int64 // bytes of annotations and names that may still come
	kv     bool  // a form part gave an annotation
	text   []byte
}

// file is a part that is no annotation: a dump, a log, a screenshot.
type file struct {
	section
	field       string // name in the form
	filename    string
	contentType string
	key         string // name in the bucket
}

// parse reads a whole body. Bytes of dumps go to held.
func parse(m *multipart, limits Limits, h *held) (*payload, error) {
	p := &payload{annotations: map[string]any{}, notes: []string{}, limits: limits, held: h, budget: limits.Annotations}
	for parts := 1; ; parts++ {
		head, err := m.next()
		if err == io.EOF {
			break
		}
		if err == nil && parts > limits.Parts {
			err = errParts
		}
		if err == nil {
			err = p.part(m, head)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(p.annotations) == 0 {
		return nil, noAnnotations
	}
	if p.fromJSON && p.kv {
		p.notes = append(p.notes, noteBoth)
	}
	p.nameFiles()
	return p, nil
}

// part takes one part, by the rules that clients rely on: JSON replaces all
// annotations so far, text without file name is an annotation, anything else
// with a name is a file.
func (p *payload) part(m *multipart, head part) error {
	if !head.hasName {
		return nil // next passes over its body
	}
	if err := p.spend(len(head.name) + len(head.filename)); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(head.contentType, "application/json"):
		return p.json(m)
	case strings.HasPrefix(head.contentType, "text/plain") && !head.hasFilename:
		return p.annotation(m, head)
	}
	return p.file(m, head)
}

func (p *payload) spend(n int) error {
	if p.budget -= int64(n); p.budget < 0 {
		return errAnnotations
	}
	return nil
}

func (p *payload) json(m *multipart) error {
	p.text = p.text[:0]
	for {
		chunk, err := m.chunk()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = p.spend(len(chunk))
		}
		if err != nil {
			return err
		}
		p.text = append(p.text, chunk...)
	}
	if countValues(p.text) > valuesPerPart*p.limits.Parts {
		return errParts
	}
	values, err := parseJSON(p.text)
	p.text = nil // it may be large
	if err != nil {
		return err
	}
	p.fromJSON = true
	p.annotations = values
	return nil
}

// valuesPerPart is how many values JSON may hold for each part that a form may
// have: a value of two bytes takes a hundred in memory, so bytes alone do not
// bound them.
const valuesPerPart = 10

// countValues counts the values in JSON by what separates them. Text that is
// no JSON has some count too.
func countValues(text []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '{' || c == '['):
			n++
		}
	}
	return n
}

// parseJSON reads an object of annotations.
func parseJSON(text []byte) (map[string]any, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, invalidJSON
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, invalidJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalidJSON
	}
	values, ok := value.(map[string]any)
	if !ok {
		return nil, invalidJSONValue
	}
	return values, nil
}

func (p *payload) annotation(m *multipart, head part) error {
	p.text = p.text[:0]
	size := 0
	for {
		chunk, err := m.chunk()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if size += len(chunk); size <= maxText {
			p.text = append(p.text, chunk...)
		}
	}
	if size > maxText {
		p.notes = append(p.notes, "extract payload text part exception: body part is too large")
		p.text = nil
		return nil
	}
	if err := p.spend(size); err != nil {
		return err
	}
	value, ok := decodeText(p.text, head.charset)
	if !ok {
		p.notes = append(p.notes, "extract payload text part exception: invalid text or charset: "+valid(head.charset))
		return nil
	}
	p.kv = true
	p.annotations[valid(head.name)] = value
	return nil
}

// valid makes a name from a header fit for JSON.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// charsets are the encodings of text besides UTF-8 that clients may use.
var charsets = map[string]encoding.Encoding{
	"us-ascii": nil, "ascii": nil,
	"iso-8859-1": charmap.ISO8859_1, "latin-1": charmap.ISO8859_1, "latin1": charmap.ISO8859_1,
	"iso-8859-15": charmap.ISO8859_15, "windows-1252": charmap.Windows1252, "cp1252": charmap.Windows1252,
	"windows-1251": charmap.Windows1251, "cp1251": charmap.Windows1251, "koi8-r": charmap.KOI8R,
	"utf-16": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "utf-16le": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"utf-16be": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
}

func decodeText(text []byte, charset string) (string, bool) {
	name := strings.ToLower(strings.TrimSpace(charset))
	if name == "utf-8" || name == "utf8" {
		return string(text), utf8.Valid(text)
	}
	enc, known := charsets[name]
	if !known {
		return "", false
	}
	if enc == nil {
		return string(text), !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	out, err := enc.NewDecoder().Bytes(text)
	return string(out), err == nil && !bytes.ContainsRune(out, utf8.RuneError)
}

func (p *payload) file(m *multipart, head part) error {
	key := sanitise(head.name)
	if key == "dump_names" || key == "processed_crash" || key == "raw_crash" {
		return invalidDumpName
	}
	if head.contentType != "application/octet-stream" {
		p.notes = append(p.notes, fmt.Sprintf("unknown content type: %s %s", valid(head.name), valid(head.rawType)))
		if err := p.spend(len(head.name) + len(head.rawType)); err != nil {
			return err
		}
	}
	s, err := p.held.take(m)
	if err != nil {
		return err
	}
	f := file{section: s, field: head.name, filename: head.filename, contentType: head.rawType, key: key}
	if i := slices.IndexFunc(p.files, func(o file) bool { return o.field == f.field }); i >= 0 {
		p.files[i] = f // the last of a name wins
		return nil
	}
	if p.files = append(p.files, f); len(p.files) > p.limits.Dumps {
		return errDumps
	}
	return nil
}

// maxName is the length of names in keys that other programs expect.
const maxName = 30

// sanitise makes a form's name fit for a key; it may leave nothing.
func sanitise(name string) string {
	out := make([]byte, 0, maxName)
	for i := 0; i < len(name) && len(out) < maxName; i++ {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			out = append(out, c)
		}
	}
	return string(out)
}

// nameFiles gives each file a key of its own. The main dump always keeps its
// name; what would land on the key of something else is renamed.
func (p *payload) nameFiles() {
	taken := map[string]bool{}
	for i := range p.files {
		if p.files[i].field == storage.MinidumpName {
			p.files[i].key = storage.MinidumpName
			taken[storage.MinidumpName] = true
		}
	}
	for i := range p.files {
		f := &p.files[i]
		if f.field == storage.MinidumpName {
			continue
		}
		switch {
		case f.key == "":
			f.key = "x_unnamed"
		case f.key == "dump" || storage.Reserved(f.key):
			f.key = "x_" + f.key
		}
		for n, base := 2, f.key; taken[f.key]; n++ {
			f.key = fmt.Sprintf("%s_%d", base, n)
		}
		taken[f.key] = true
	}
}

// reason is what a client is told about an error of parse that is its own
// doing; ok is false for limits and failures of ours.
func reason(err error, encoding string) (m malformed, ok bool) {
	switch {
	case errors.As(err, &m):
		return m, true
	case errors.Is(err, errEncoding) && encoding == "gzip":
		return badGzip, true
	case errors.Is(err, errEncoding):
		return badEncoding, true
	case errors.Is(err, errStructure), errors.Is(err, errCut):
		return invalidStructure, true
	}
	return "", false
}
