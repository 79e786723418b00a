package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// line is a network that fails: it passes connections on to a server and
// breaks each after some bytes, or lets them hang.
type line struct {
	t      *testing.T
	url    string
	target string
	sent   atomic.Int64 // bytes from clients
	limit  atomic.Int64 // bytes that a connection may send; 0: all
	breaks atomic.Int64 // how many connections may still be broken
	hang   atomic.Bool  // at the limit they hang

	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

func newLine(t *testing.T, s *server) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{t: t, url: "http://" + l.Addr().String(), target: strings.TrimPrefix(s.url, "http://")}
	t.Cleanup(func() {
		l.Close()
		n.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.pass(c)
		}
	}()
	return n
}

// cut breaks all connections.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.open {
		c.Close()
	}
	n.open = nil
}

func (n *line) pass(c net.Conn) {
	up, err := net.Dial("tcp", n.target)
	if err != nil {
		c.Close()
		return
	}
	n.mu.Lock()
	n.open = append(n.open, c, up)
	n.mu.Unlock()
	go func() {
		_, _ = io.Copy(c, up)
		c.Close()
	}()
	defer c.Close()
	defer up.Close()
	buf := make([]byte, 16<<10)
	for sum := int64(0); ; {
		k, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := up.Write(buf[:k]); err != nil {
			return
		}
		n.sent.Add(int64(k))
		sum += int64(k)
		if limit := n.limit.Load(); limit > 0 && sum >= limit {
			if n.hang.Load() {
				for n.hang.Load() {
					time.Sleep(10 * time.Millisecond)
				}
				return
			}
			if n.breaks.Add(-1) >= 0 {
				return
			}
		}
	}
}

// bulkySymbols is a symbol file that does not pack well.
func bulkySymbols(id string) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	fmt.Fprintf(&b, "MODULE Linux x86_64 %s bulky.so\n", id)
	for i := range 120_000 {
		fmt.Fprintf(&b, "FUNC %x 10 0 f%016x%016x\n", 0x1000+i*16, r.Uint64(), r.Uint64())
	}
	return b.Bytes()
}

// TestUploadGoesOn sends symbols over connections that break, and with a
// command that is killed and run again: what came needs not be sent again.
func TestUploadGoesOn(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := start(t)
	token := s.token("build@example.com", "upload_symbols")
	n := newLine(t, s)
	upload := func(dir string) []string {
		return []string{"symbols", "upload", "--url", n.url, "--token", token, dir}
	}
	file := func(id string) (dir string) {
		dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bulky.so.sym"), bulkySymbols(id), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}

	whole := file("0123456789ABCDEF0123456789ABCDEF0")
	if code, out, errs := run(t, upload(whole)...); code != 0 || !strings.Contains(out, "1 files sent") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	size := n.sent.Load() // of all that goes over the line for one file

	n.sent.Store(0)
	n.limit.Store(size / 3)
	n.breaks.Store(2)
	broken := file("1123456789ABCDEF0123456789ABCDEF0")
	if code, out, errs := run(t, upload(broken)...); code != 0 || !strings.Contains(out, "1 files sent") {
		t.Errorf("over a line that breaks: exit %d\n%s%s", code, out, errs)
	}
	if got := n.sent.Load(); got > size+size/4 {
		t.Errorf("over a line that breaks %d bytes were sent, %d without", got, size)
	}

	n.sent.Store(0)
	n.limit.Store(size / 2)
	n.hang.Store(true)
	killed := file("2123456789ABCDEF0123456789ABCDEF0")
	c := exec.Command(binary, upload(killed)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("half of the file", func() error {
		if got := n.sent.Load(); got < size/2 {
			return fmt.Errorf("%d bytes of %d", got, size)
		}
		return nil
	})
	_ = c.Process.Kill()
	_ = c.Wait() // it was killed
	n.cut()
	n.hang.Store(false)
	n.limit.Store(0)
	n.sent.Store(0)
	if code, out, errs := run(t, upload(killed)...); code != 0 || !strings.Contains(out, "1 files sent") {
		t.Errorf("run again: exit %d\n%s%s", code, out, errs)
	}
	if got := n.sent.Load(); got > size*3/4 {
		t.Errorf("the second run sent %d bytes, the whole file has %d: it did not go on", got, size)
	}

	n.sent.Store(0)
	for _, dir := range []string{whole, broken, killed} {
		if code, out, errs := run(t, upload(dir)...); code != 0 || !strings.Contains(out, "0 files sent (0 bytes), 1 were there already") {
			t.Errorf("sent once more: exit %d\n%s%s", code, out, errs)
		}
	}
	if got := n.sent.Load(); got > 100_000 {
		t.Errorf("%d bytes were sent of what was there", got)
	}
	s.eventually("download", func() error {
		if code, _ := s.get("/bulky.so/2123456789ABCDEF0123456789ABCDEF0/bulky.so.sym"); code != 200 {
			return fmt.Errorf("answers %d", code)
		}
		return nil
	})
}
