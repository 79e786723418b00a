package spool

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
)

// No address that leads back inside is taken for one of the internet's.
func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "192.0.0.170": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:0:1::1": false,
		"fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestTidy(t *testing.T) {
	s := New(t.TempDir(), 100)
	now := time.Now()
	touch := func(name string, age time.Duration) {
		t.Helper()
		at := now.Add(-age)
		if err := os.WriteFile(s.dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(s.dir+"/"+name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	touch(temporary+"1", 0)
	touch(s.life+"2", time.Minute)
	touch("part-1", time.Minute)
	touch("part-2", time.Hour)
	if err := s.Tidy(now, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 2 || left[0].Name() != "part-1" || left[1].Name() != s.life+"2" {
		t.Errorf("left: %v %v", left, err)
	}
}

// A client that falls silent is given up, however it sends; one that is slow
// but keeps sending is not. What came of a file in ranges is kept.
func TestSlowClients(t *testing.T) {
	s := New(t.TempDir(), 1<<20)
	s.stall = time.Second
	got := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			p, err := s.Part("ab")
			if err == nil {
				_, err = p.Receive(w, r)
				p.Close()
			}
			got <- err
			return
		}
		in, err := s.Read(w, r, "")
		if err == nil {
			in.Close()
		}
		got <- err
	}))
	defer server.Close()
	send := func(method string, pieces int, pause time.Duration, end bool) error {
		t.Helper()
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n")
			for range pieces {
				_, _ = io.WriteString(w, "some bytes")
				time.Sleep(pause)
			}
			if end {
				_, _ = io.WriteString(w, "\r\n--x--\r\n")
				w.Close()
			}
		}()
		rq, err := http.NewRequest(method, server.URL, r)
		if err != nil {
			t.Fatal(err)
		}
		rq.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		go func() {
			if answer, err := http.DefaultClient.Do(rq); err == nil {
				answer.Body.Close()
			}
		}()
		select {
		case err := <-got:
			return err
		case <-time.After(100 * time.Second):
			t.Fatal("the server still waits")
			return nil
		}
	}
	if err := send(http.MethodPost, 12, 50*time.Millisecond, true); err != nil {
		t.Errorf("a slow client: %v", err)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		if err := send(method, 1, time.Millisecond, false); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("a silent client, %s: %v", method, err)
		}
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "part-ab" {
		t.Errorf("left: %v %v", left, err)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-1/2", "bytes */5", "bytes 0-4/*", "bytes 5-4/9", "bytes 999999999999999999-999999999999999999/*", "bytes 0-0/0", "bytes -1-2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseRange(text)
		if !ok || r.ask {
			return
		}
		if r.from < 0 || r.to < r.from || r.total <= r.to || r.to-r.from+1 <= 0 {
			t.Errorf("%q is taken for %+v", text, r)
		}
	})
}

// Whatever a form holds, it ends, keeps to its limits and leaves no file.
func FuzzForm(f *testing.F) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	_ = m.SetBoundary("x")
	_ = m.WriteField("try", "1")
	p, _ := m.CreateFormFile("f", `..\a/b.zip`)
	_, _ = p.Write([]byte("PK"))
	_ = m.Close()
	f.Add(b.Bytes(), "multipart/form-data; boundary=x")
	f.Add([]byte("url=https%3a%2f%2fexample.com"), "application/x-www-form-urlencoded")
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%2e%2e%2fb\r\n\r\n\x00\r\n--x--"), "multipart/form-data; boundary=x")
	f.Add([]byte("--x\r\n\r\n"), `multipart/form-data; boundary="x"`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		s := New(dir, 1000)
		r := httptest.NewRequest("POST", "/upload/", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		in, err := s.Read(httptest.NewRecorder(), r, "")
		if err == nil {
			if in.Size > 1000 || len(in.Filename) > maxName || bytes.ContainsAny([]byte(in.Filename), `/\`) {
				t.Errorf("%d bytes of %q were taken", in.Size, in.Filename)
			}
			in.Close()
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	})
}
