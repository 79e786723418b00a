// Command load sends crashes to a running collector as fast as it answers them
// and prints what that took: requests a second, times to answer, and, when told
// the server's process, its CPU time per request and its largest memory.
//
//	go run ./test/load --url http://127.0.0.1:8000/submit --size 20000 --connections 8 --seconds 10 --pid PID
//
// A crash is a JSON part of a hundred annotations and one dump of --size bytes
// that compresses about as well as real dumps. Bodies are made once; connections
// are kept open. It imports nothing of the program it measures.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type options struct {
	url         string
	size        int
	gzip        bool
	connections int
	seconds     float64
	pid         int
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:8000/submit", "where to send")
	flag.IntVar(&o.size, "size", 20_000, "bytes of the dump")
	flag.BoolVar(&o.gzip, "gzip", false, "compress bodies")
	flag.IntVar(&o.connections, "connections", 8, "connections at once")
	flag.Float64Var(&o.seconds, "seconds", 10, "how long to send")
	flag.IntVar(&o.pid, "pid", 0, "process of the server, to read its CPU time and memory")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// tally is what one connection counted.
type tally struct {
	took   []time.Duration
	failed int
	first  string // the first answer that was no success
}

func run(o options, out io.Writer) error {
	u, err := url.Parse(o.url)
	if err != nil {
		return err
	}
	request := makeRequest(u, o)
	before, err := cpu(o.pid)
	if err != nil {
		return err
	}
	start := time.Now()
	end := start.Add(time.Duration(o.seconds * float64(time.Second)))
	tallies := make([]tally, o.connections)
	var clients sync.WaitGroup
	for i := range tallies {
		clients.Go(func() { tallies[i] = client(u.Host, request, end) })
	}
	clients.Wait()
	elapsed := time.Since(start)
	after, err := cpu(o.pid)
	if err != nil {
		return err
	}
	var all tally
	for _, t := range tallies {
		all.took = append(all.took, t.took...)
		all.failed += t.failed
		if all.first == "" {
			all.first = t.first
		}
	}
	slices.Sort(all.took)
	n := len(all.took)
	if n == 0 {
		return fmt.Errorf("no request succeeded, %d failed: %s", all.failed, all.first)
	}
	fmt.Fprintf(out, "size %d gzip %v connections %d: %.0f requests/s, p50 %v, p99 %v, %d failed %s", o.size, o.gzip, o.connections,
		float64(n)/elapsed.Seconds(), all.took[n/2].Round(10*time.Microsecond), all.took[n*99/100].Round(10*time.Microsecond), all.failed, all.first)
	if o.pid > 0 {
		peak, err := peakMemory(o.pid)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, ", server CPU %.3f ms/request, peak memory %d MB", (after-before).Seconds()*1000/float64(n), peak>>20)
	}
	fmt.Fprintln(out)
	return nil
}

// makeRequest writes a whole request: head and body.
func makeRequest(u *url.URL, o options) []byte {
	const boundary = "------------------------0123456789abcdef"
	r := rand.New(rand.NewPCG(1, 2))
	annotations := map[string]string{"ProductName": "Aye-Aye", "Version": "1.2.3", "BuildID": time.Now().Format("20060102150405"), "ReleaseChannel": "nightly"}
	for i := len(annotations); i < 104; i++ {
		annotations[fmt.Sprintf("Annotation%d", i)] = strconv.FormatUint(r.Uint64(), 16)
	}
	extra, err := json.Marshal(annotations)
	if err != nil {
		panic(err) // strings always marshal
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=\"extra\"; filename=\"extra.json\"\r\nContent-Type: application/json\r\n\r\n%s\r\n", boundary, extra)
	fmt.Fprintf(&body, "--%s\r\nContent-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"x.dmp\"\r\nContent-Type: application/octet-stream\r\n\r\nMDMP", boundary)
	// Stacks are a mix of zeros and addresses: half of each eight bytes vary.
	for range o.size / 8 {
		var word [8]byte
		v := r.Uint32()
		word[0], word[1], word[2] = byte(v), byte(v>>8), byte(v>>16)
		body.Write(word[:])
	}
	fmt.Fprintf(&body, "\r\n--%s--\r\n", boundary)
	sent, encoding := body.Bytes(), ""
	if o.gzip {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write(sent) // to memory
		_ = w.Close()
		sent, encoding = zipped.Bytes(), "Content-Encoding: gzip\r\n"
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load/1\r\nContent-Type: multipart/form-data; boundary=%s\r\n%sContent-Length: %d\r\n\r\n", u.RequestURI(), u.Host, boundary, encoding, len(sent))
	return append([]byte(head), sent...)
}

// client sends the request over and over until end.
func client(host string, request []byte, end time.Time) (t tally) {
	fail := func(what string) {
		t.failed++
		if t.first == "" {
			t.first = what
		}
	}
	var c net.Conn
	var in *bufio.Reader
	for time.Now().Before(end) {
		if c == nil {
			var err error
			if c, err = net.Dial("tcp", host); err != nil {
				fail(err.Error())
				time.Sleep(100 * time.Millisecond)
				continue
			}
			in = bufio.NewReader(c)
		}
		start := time.Now()
		status, err := exchange(c, in, request)
		if err != nil || status != http.StatusOK {
			fail(fmt.Sprintf("(%d, %v)", status, err))
			c.Close()
			c = nil
			continue
		}
		t.took = append(t.took, time.Since(start))
	}
	if c != nil {
		c.Close()
	}
	return t
}

func exchange(c net.Conn, in *bufio.Reader, request []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// cpu is the CPU time a process has used, in user and system mode together.
func cpu(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold blanks; fields 14 and 15 come after it.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: %d fields in stat", pid, len(fields))
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// peakMemory is the most memory a process had resident, in bytes.
func peakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmHWM", pid)
}
