package collector

import (
	"bytes"
	"io"
	"net"
)

// Listener makes connections understand uploads that net/http does not: some
// clients (Crashpad on Android and Fuchsia) send HTTP/1.0 with
// Transfer-Encoding: chunked, whose body net/http would take for empty. Such a
// request becomes one of HTTP/1.1 that closes its connection. Only the first
// request of a connection is looked at, and only when it posts to /submit or
// /post.
func Listener(l net.Listener) net.Listener { return &listener{l} }

type listener struct{ net.Listener }

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn shows the first bytes of a connection before net/http sees them.
type conn struct {
	net.Conn
	started bool   // the first line was looked at
	ahead   []byte // read or made, and not given out
	err     error  // to be given out after ahead
}

// maxHead is the largest header that is rewritten; net/http refuses larger ones
// in any case.
const maxHead = 64 << 10

// ReadFrom lets net/http send files without copying them, where the system can.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// Read runs under net/http's own deadlines, so waiting for the header's end
// here is no longer than there.
func (c *conn) Read(p []byte) (int, error) {
	if !c.started {
		c.started = true
		c.start()
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		if len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	if c.err != nil {
		err := c.err
		c.err = nil // a deadline may be moved, and reading go on
		return 0, err
	}
	return c.Conn.Read(p)
}

// start reads what is needed to know whether to rewrite, and rewrites.
func (c *conn) start() {
	if !c.until(func(b []byte) bool { return !mayBeUpload(b) || bytes.IndexByte(b, '\n') >= 0 }) || !mayBeUpload(c.ahead) {
		return
	}
	line, _, _ := bytes.Cut(c.ahead, []byte("\n"))
	if !bytes.HasSuffix(bytes.TrimSuffix(line, []byte("\r")), []byte(" HTTP/1.0")) {
		return
	}
	if !c.until(func(b []byte) bool { return bytes.Contains(b, []byte("\r\n\r\n")) || bytes.Contains(b, []byte("\n\n")) }) {
		return
	}
	c.ahead = rewrite(c.ahead)
}

// until reads until enough is there; false when there will not be.
func (c *conn) until(enough func([]byte) bool) bool {
	for !enough(c.ahead) {
		if len(c.ahead) >= maxHead || c.err != nil {
			return false
		}
		piece := make([]byte, 4<<10)
		n, err := c.Conn.Read(piece)
		c.ahead = append(c.ahead, piece[:n]...)
		c.err = err
	}
	return true
}

// mayBeUpload reports whether what was read begins like a request that is
// rewritten, as far as it goes.
func mayBeUpload(b []byte) bool {
	for _, start := range []string{"POST /submit", "POST /post"} {
		n := min(len(b), len(start))
		if string(b[:n]) == start[:n] {
			return true
		}
	}
	return false
}

// rewrite makes an HTTP/1.0 request with a chunked body one of HTTP/1.1;
// anything else stays as it is.
func rewrite(head []byte) []byte {
	end, blank := bytes.Index(head, []byte("\r\n\r\n")), 4
	if lf := bytes.Index(head, []byte("\n\n")); lf >= 0 && (end < 0 || lf < end) {
		end, blank = lf, 2
	}
	lines := bytes.Split(head[:end], []byte("\n"))
	out := make([]byte, 0, len(head)+64)
	chunked, host := false, false
	for i, line := range lines {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if i == 0 {
			out = append(append(out, bytes.TrimSuffix(line, []byte("0"))...), "1\r\n"...)
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(bytes.TrimSpace(key))) {
		case "transfer-encoding":
			chunked = chunked || bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked"))
		case "host":
			host = true
		case "content-length", "connection", "keep-alive":
			continue // the chunks say where the body ends
		}
		out = append(append(out, line...), "\r\n"...)
	}
	if !chunked {
		return head
	}
	if !host {
		out = append(out, "Host: localhost\r\n"...)
	}
	out = append(out, "Connection: close\r\n\r\n"...)
	return append(out, head[end+blank:]...)
}
