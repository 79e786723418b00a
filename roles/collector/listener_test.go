package collector

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mayday/storage"
)

func chunked(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(len(body), 100)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

func TestOldClients(t *testing.T) {
	s := open(t, nil)
	body := string(usual())
	typed := "Content-Type: multipart/form-data; boundary=" + boundary + "\r\n"
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"1.1 chunked", "POST /submit HTTP/1.1\r\nHost: x\r\n" + typed + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body), 200},
		{"1.0 chunked", "POST /submit HTTP/1.0\r\nHost: x\r\n" + typed + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body), 200},
		{"1.0 chunked without host", "POST /submit?a=b HTTP/1.0\r\n" + typed + "transfer-encoding: Chunked\r\n\r\n" + chunked(body), 200},
		{"1.0 chunked with a length", "POST /submit HTTP/1.0\r\n" + typed + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n" + chunked(body), 200},
		{"1.0 with a length", fmt.Sprintf("POST /submit HTTP/1.0\r\n%sContent-Length: %d\r\n\r\n%s", typed, len(body), body), 200},
		{"1.0 without a body", "POST /submit HTTP/1.0\r\n" + typed + "\r\n", 400},
		{"1.0 elsewhere", "POST /other HTTP/1.0\r\n" + typed + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body), 404},
		{"1.0 get", "GET /submit HTTP/1.0\r\n\r\n", 405},
		{"broken chunks", "POST /submit HTTP/1.0\r\n" + typed + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"no request", "\x16\x03\x01\x02\x00\r\n\r\n", 400},
		{"POST and nothing", "POST /sub\r\n\r\n", 400},
		{"1.0 header without end", "POST /submit HTTP/1.0\r\nX: " + strings.Repeat("y", 80<<10), 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text := s.raw(t, c.request)
			if status != c.status {
				t.Errorf("status %d %q, want %d", status, text, c.status)
			}
			if c.status == 200 {
				if m := answerPattern.FindStringSubmatch(text); m == nil || s.dump(t, storage.CrashID(m[1]), storage.MinidumpName) != "MDMP" {
					t.Errorf("answer %q", text)
				}
			}
		})
	}
}

// Recorded requests of real clients, where they can be had.
func TestRecordedClients(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/data/collector/recorded/*.http")
	if len(files) == 0 {
		t.Skip("no recorded requests beside the repository")
	}
	s := open(t, nil)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			line, rest, _ := strings.Cut(string(b), "\r\n")
			if strings.Contains(line, "/api/") {
				line = "POST /submit HTTP/1.1" // Sentry's address, a client like the others
			}
			for _, first := range []string{line, strings.Replace(line, "HTTP/1.1", "HTTP/1.0", 1)} {
				status, text := s.raw(t, first+"\r\n"+rest)
				id := strings.TrimSuffix(strings.TrimPrefix(text, "CrashID=bp-"), "\n")
				if status != http.StatusOK || !strings.HasPrefix(s.dump(t, storage.CrashID(id), storage.MinidumpName), "MDMP") {
					t.Errorf("%s: answer %d %q", first, status, text)
				}
				wantBare := strings.Contains(rest, "Crashpad/") || strings.Contains(rest, "Breakpad/")
				if (id == text) != wantBare {
					t.Errorf("answer %q, bare: want %v", text, wantBare)
				}
			}
		})
	}
}

// pieces is a connection whose input comes from a reader.
type pieces struct {
	net.Conn
	r io.Reader
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b) }

func FuzzConn(f *testing.F) {
	f.Add([]byte("POST /submit HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("POST /submit HTTP/1.0\nTransfer-Encoding: chunked\n\nx"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("POST /post HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		read := func(r io.Reader) string {
			b, err := io.ReadAll(&conn{Conn: pieces{r: r}})
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		got := read(strings.NewReader(string(in)))
		if byByte := read(iotest.OneByteReader(strings.NewReader(string(in)))); byByte != got {
			t.Errorf("%q: at once %q, byte by byte %q", in, got, byByte)
		}
		if got != string(in) && !strings.Contains(got, " HTTP/1.1\r\n") {
			t.Errorf("%q became %q", in, got)
		}
	})
}

func TestConnKeepsReadFrom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			defer c.Close()
			io.Copy(io.Discard, c)
		}
	}()
	c, err := Listener(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	n, err := c.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
	if n != 5 || err != nil {
		t.Errorf("ReadFrom = %d, %v", n, err)
	}
}
