package collector

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

const (
	// readBuffer is the size of a request's read buffer. It holds a part's
	// header, and bodies are handed on in pieces of it.
	readBuffer = 64 << 10
	// maxPartHeader bounds the header of one part: real ones have 200 bytes.
	maxPartHeader = 16 << 10
	// maxBoundary bounds the boundary: RFC 2046 allows 70 characters.
	maxBoundary = 200
)

var (
	errStructure  = errors.New("the multipart structure is broken")
	errPartHeader = errors.New("a part's header is too large")
)

// multipart reads a multipart body (RFC 2046, section 5.1) strictly where
// clients agree and leniently where RFC and clients say so: lines end in CRLF,
// the closing boundary must be there, text before the first and after the last
// boundary is passed over, blanks may follow a boundary.
//
// It is our own because hostile bodies come with a hundred thousand parts and
// headers without end, and because bodies are hashed and stored without being
// copied: chunk gives slices of the read buffer.
type multipart struct {
	r     io.Reader
	buf   []byte
	lo    int // buf[lo:hi] was read and not handed on
	hi    int
	err   error  // why no more can be read
	delim []byte // CRLF, two dashes, boundary
	ended bool   // the current part's body was handed on
	final bool   // the closing boundary was seen
}

// newMultipart reads from r through buf, which must be of readBuffer bytes.
func newMultipart(r io.Reader, boundary string, buf []byte) *multipart {
	// The first boundary may stand at the very beginning, as if a line had
	// ended before it.
	copy(buf, "\r\n")
	return &multipart{r: r, buf: buf, hi: 2, delim: []byte("\r\n--" + boundary)}
}

// fill reads more, moving what is left to the front of the buffer, and reports
// whether there is more.
func (m *multipart) fill() bool {
	if m.err != nil {
		return false
	}
	if m.lo > 0 {
		m.hi = copy(m.buf, m.buf[m.lo:m.hi])
		m.lo = 0
	}
	// A reader may give nothing without an error for a while.
	for range 100 {
		n, err := m.r.Read(m.buf[m.hi:])
		m.hi += n
		if err != nil {
			m.err = err
		}
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	m.err = io.ErrNoProgress
	return false
}

// broken is the error for a body that ends too soon: that of the reader unless
// it simply ended.
func (m *multipart) broken() error {
	if m.err != nil && m.err != io.EOF {
		return m.err
	}
	return errStructure
}

// chunk gives the next piece of the current part's body, valid until the next
// call, and io.EOF after the last.
func (m *multipart) chunk() ([]byte, error) {
	if m.ended {
		return nil, io.EOF
	}
	for {
		have := m.buf[m.lo:m.hi]
		at := bytes.Index(have, m.delim)
		switch {
		case at > 0:
			m.lo += at
			return have[:at], nil
		case at == 0:
			end, err := m.boundary()
			if err != nil {
				return nil, err
			}
			if end {
				m.ended = true
				return nil, io.EOF
			}
			m.lo++ // a line that only begins like a boundary
			return have[:1], nil
		}
		// All but the bytes that may be the beginning of a boundary.
		if n := len(have) - len(m.delim) + 1; n > 0 {
			m.lo += n
			return have[:n], nil
		}
		if !m.fill() {
			return nil, m.broken()
		}
	}
}

// boundary looks at a boundary line at m.lo: it consumes it and reports true
// when it is one.
func (m *multipart) boundary() (bool, error) {
	at := len(m.delim)
	for blank := false; ; at++ {
		for m.hi-m.lo < at+2 {
			if !m.fill() {
				return false, m.broken()
			}
		}
		rest := m.buf[m.lo+at : m.hi]
		switch {
		case rest[0] == '-' && rest[1] == '-' && !blank:
			m.lo += at + 2
			m.final = true
			return true, nil
		case rest[0] == '\r' && rest[1] == '\n':
			m.lo += at + 2
			return true, nil
		case (rest[0] == ' ' || rest[0] == '\t') && at < maxPartHeader:
			blank = true
		default:
			return false, nil
		}
	}
}

// next passes over the rest of the current part and reads the header of the
// next one; io.EOF says that the closing boundary was reached.
func (m *multipart) next() (part, error) {
	for {
		if _, err := m.chunk(); err == io.EOF {
			break
		} else if err != nil {
			return part{}, err
		}
	}
	if m.final {
		return part{}, io.EOF
	}
	header, err := m.header()
	if err != nil {
		return part{}, err
	}
	p, err := parseHeader(header)
	if err != nil {
		return part{}, err
	}
	m.ended = false
	// A part without body may end in the CRLF of its header's last line.
	m.lo -= 2
	for m.hi-m.lo < len(m.delim) && m.fill() {
	}
	if bytes.HasPrefix(m.buf[m.lo:m.hi], m.delim) {
		return p, nil
	}
	m.lo += 2
	return p, nil
}

// header consumes the lines up to the empty one, which is consumed too.
func (m *multipart) header() ([]byte, error) {
	for {
		have := m.buf[m.lo:m.hi]
		if bytes.HasPrefix(have, []byte("\r\n")) {
			m.lo += 2
			return nil, nil
		}
		if at := bytes.Index(have, []byte("\r\n\r\n")); at >= 0 && at <= maxPartHeader {
			m.lo += at + 4
			return have[:at], nil
		}
		if len(have) >= maxPartHeader+4 {
			return nil, errPartHeader
		}
		if !m.fill() {
			return nil, m.broken()
		}
	}
}

// part is the header of one part.
type part struct {
	hasName     bool
	name        string
	hasFilename bool
	filename    string
	contentType string // media type in lower case, text/plain when there is none
	charset     string // as written, utf-8 when there is none
	rawType     string // the whole header line's value, for notes
}

func parseHeader(header []byte) (part, error) {
	p := part{contentType: "text/plain", charset: "utf-8", rawType: "text/plain"}
	// A line that begins with a blank goes on from the one before.
	text := string(header)
	if strings.Contains(text, "\r\n ") || strings.Contains(text, "\r\n\t") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n ", " "), "\r\n\t", " ")
	}
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\r\n")
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return p, errStructure
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "content-disposition":
			_, params := splitParameters(value)
			p.name, p.hasName = params.get("name")
			p.filename, p.hasFilename = params.get("filename")
			if !p.hasFilename {
				p.filename, p.hasFilename = params.get("filename*")
			}
		case "content-type":
			media, params := splitParameters(value)
			if media == "" {
				continue
			}
			p.rawType = media
			p.contentType = strings.ToLower(media)
			if charset, ok := params.get("charset"); ok && charset != "" {
				p.charset = charset
			}
		}
	}
	return p, nil
}

// parameters are what follows the first value of a header, in order.
type parameters []struct{ key, value string }

func (p parameters) get(key string) (string, bool) {
	for _, kv := range p {
		if kv.key == key {
			return kv.value, true
		}
	}
	return "", false
}

// splitParameters reads VALUE; KEY=VALUE; KEY="VALUE" as loosely as clients
// write it. Names may hold any character; backslashes escape quotes and
// themselves alone, since some clients send Windows paths.
func splitParameters(s string) (value string, params parameters) {
	value, rest, _ := strings.Cut(s, ";")
	value = strings.TrimSpace(value)
	for rest != "" {
		var key, text string
		eq := strings.IndexByte(rest, '=')
		if semi := strings.IndexByte(rest, ';'); eq < 0 || semi >= 0 && semi < eq {
			_, rest, _ = strings.Cut(rest, ";") // a word without a value
			continue
		}
		key, rest = strings.ToLower(strings.TrimSpace(rest[:eq])), strings.TrimLeft(rest[eq+1:], " \t")
		if strings.HasPrefix(rest, `"`) {
			text, rest = unquote(rest[1:])
			_, rest, _ = strings.Cut(rest, ";")
		} else {
			text, rest, _ = strings.Cut(rest, ";")
			text = strings.TrimSpace(text)
		}
		params = append(params, struct{ key, value string }{key, text})
	}
	return value, params
}

// unquote reads up to the closing quote and returns what follows it.
func unquote(s string) (text, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
