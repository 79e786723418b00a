package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"mayday/test/process"
)

// tally is what one connection counted.
type tally struct {
	took   []time.Duration
	failed int
	first  string // the first answer that was no success
}

// fixed sends one request over and over, on raw connections, to measure the
// collector alone.
func fixed(ctx context.Context, o options, u *url.URL, out io.Writer) error {
	if u.Path == "" || u.Path == "/" {
		u.Path = "/submit"
	}
	request := makeRequest(u, o)
	before, err := process.CPU(o.pid)
	if err != nil {
		return err
	}
	start := time.Now()
	end := start.Add(o.duration)
	tallies := make([]tally, o.connections)
	var clients sync.WaitGroup
	for i := range tallies {
		clients.Go(func() { tallies[i] = client(ctx, u.Host, request, end) })
	}
	clients.Wait()
	elapsed := time.Since(start)
	after, err := process.CPU(o.pid)
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
		memory, err := process.MemoryOf(o.pid)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, ", server CPU %.3f ms/request, peak memory %d MB", (after-before).Seconds()*1000/float64(n), memory.Peak>>20)
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
func client(ctx context.Context, host string, request []byte, end time.Time) (t tally) {
	fail := func(what string) {
		t.failed++
		if t.first == "" {
			t.first = what
		}
	}
	var c net.Conn
	var in *bufio.Reader
	for ctx.Err() == nil && time.Now().Before(end) {
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
