package collector

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// zeros makes a body whose dump is of that many zero bytes, compressed.
func zeros(t testing.TB, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	body := usual(field{"@large", "X"})
	head, tail, _ := bytes.Cut(body, []byte("X\r\n--"))
	w.Write(head)
	block := make([]byte, 1<<20)
	for size > 0 {
		n := min(size, len(block))
		w.Write(block[:n])
		size -= n
	}
	w.Write([]byte("\r\n--"))
	w.Write(tail)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLimits(t *testing.T) {
	const kb = 1 << 10
	s := open(t, func(o *Options) {
		o.Config.MaxBody, o.Config.MaxUnpacked, o.Config.MaxAnnotations = 512*kb, 2048*kb, 64*kb
		o.Config.MaxParts, o.Config.MaxDumps = 100, 5
	})
	padded := func(size int) []byte { // a body of exactly that size
		empty := len(usual(field{"@x", ""}))
		return usual(field{"@x", strings.Repeat("a", size-empty)})
	}
	many := func(n int, name string) (fields []field) {
		for i := range n {
			fields = append(fields, field{fmt.Sprintf(name, i), "x"})
		}
		return fields
	}
	text := func(size int) []byte { // annotations of exactly that many bytes, names included
		rest := len("ProductName") + len("Aye-Aye") + len("Version") + len("1.0") + len("upload_file_minidump") + len("upload_file_minidump.bin") + len("x")
		return usual(field{"x", strings.Repeat("a", size-rest)})
	}
	jsonBody := []byte("--" + boundary + "\r\nContent-Disposition: form-data; name=\"extra\"\r\nContent-Type: application/json\r\n\r\n{\"a\":\"" + strings.Repeat("x", 64*kb) + "\"}\r\n--" + boundary + "--\r\n")
	values := func(n int) []byte { // an object and a list, counted from one, and commas
		return bytes.Replace(jsonBody, []byte(`"`+strings.Repeat("x", 64*kb)+`"`), []byte("["+strings.Repeat("0,", n-3)+`"\\\",,"]`), 1)
	}
	unpackedBase := len(usual(field{"@large", ""}))
	for _, c := range []struct {
		name    string
		body    []byte
		headers []string
		status  int
	}{
		{"body at the limit", padded(512 * kb), nil, 200},
		{"body past the limit", padded(512*kb + 1), nil, 413},
		{"unpacked at the limit", zeros(t, 2048*kb-unpackedBase), []string{"Content-Encoding", "gzip"}, 200},
		{"unpacked past the limit", zeros(t, 2048*kb-unpackedBase+1), []string{"Content-Encoding", "gzip"}, 413},
		{"bomb", zeros(t, 100*1024*kb), []string{"Content-Encoding", "gzip"}, 413},
		{"annotations at the limit", text(64 * kb), nil, 200},
		{"annotations past the limit", text(64*kb + 1), nil, 413},
		{"JSON past the limit", jsonBody, nil, 413},
		{"values at the limit", values(1000), nil, 200},
		{"values past the limit", values(1001), nil, 413},
		{"parts at the limit", usual(many(97, "a%d")...), nil, 200},
		{"parts past the limit", usual(many(98, "a%d")...), nil, 413},
		{"dumps at the limit", usual(many(4, "@a%d")...), nil, 200},
		{"dumps past the limit", usual(many(5, "@a%d")...), nil, 413},
		{"part header without end", []byte("--" + boundary + "\r\nX: " + strings.Repeat("y", 100*kb)), nil, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer, _ := s.post(t, c.body, c.headers...)
			if status != c.status {
				t.Errorf("status %d %.60q, want %d", status, answer, c.status)
			}
		})
	}
	left, err := os.ReadDir(s.temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the folder for files under way: %v, %v", left, err)
	}
}

func TestChunkedPastTheLimit(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.MaxBody = 4 << 10 })
	req, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+"/submit", io.MultiReader(bytes.NewReader(usual(field{"@x", strings.Repeat("a", 8<<10)}))))
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	if status, _, _ := do(t, req); status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", status)
	}
}

func TestLargeTextIsDropped(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.MaxBody, o.Config.MaxAnnotations = 64<<20, 30<<20 })
	id := s.accepted(t, usual(field{"x", strings.Repeat("a", maxText+1)}, field{"y", "z"}))
	raw := s.rawCrash(t, id)
	notes := raw["metadata"].(map[string]any)["collector_notes"].([]any)
	if _, has := raw["x"]; has || raw["y"] != "z" || len(notes) != 1 || notes[0] != "extract payload text part exception: body part is too large" {
		t.Errorf("notes %v, x kept: %v", notes, has)
	}
}

func TestStalledClient(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.StallTimeout, o.Config.TotalTimeout = 300*time.Millisecond, time.Second })
	body := usual()
	head := fmt.Sprintf("POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n", boundary, len(body))
	start := time.Now()
	if status, _ := s.raw(t, head+string(body[:50])); status != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", status)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("cut off after %v", took)
	}

	// A client that drips is cut off by the total.
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, head)
	start = time.Now()
	go func() {
		for i := range body {
			if _, err := c.Write(body[i : i+1]); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	answer := make([]byte, 12)
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 408" {
		t.Errorf("a dripping client got %q, %v after %v", answer, err, time.Since(start))
	}
}

func TestRequestsAtOnce(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.MaxRequests = 1 })
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	body := usual()
	fmt.Fprintf(c, "POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n%s", boundary, len(body), body[:20])
	for len(s.slots) == 0 {
		time.Sleep(time.Millisecond)
	}
	waits := make(chan int)
	go func() {
		status, _, _ := s.post(t, usual())
		waits <- status
	}()
	select {
	case status := <-waits:
		t.Errorf("the second request was answered %d while the first was under way", status)
	case <-time.After(200 * time.Millisecond):
	}
	c.Close()
	if status := <-waits; status != http.StatusOK {
		t.Errorf("the second request was answered %d", status)
	}
}

func TestRateLimit(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.RateLimit = 3 })
	for i := range 4 {
		status, _, header := s.post(t, usual())
		want := http.StatusOK
		if i == 3 {
			want = http.StatusTooManyRequests
		}
		if status != want || (header.Get("Retry-After") == "20") != (i == 3) {
			t.Errorf("request %d: %d, Retry-After %q", i, status, header.Get("Retry-After"))
		}
	}
	r := newRateLimit(60)
	now := time.Now()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 60 {
		if !r.allow(a, now) {
			t.Fatal("refused within the limit")
		}
	}
	if r.allow(a, now) || !r.allow(b, now) {
		t.Error("the limit is not by address")
	}
	if !r.allow(a, now.Add(1100*time.Millisecond)) || r.allow(a, now.Add(1200*time.Millisecond)) {
		t.Error("a minute's worth does not fill evenly")
	}
	for i := range maxAddresses + 10 {
		r.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(r.spent) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(r.spent))
	}
}
