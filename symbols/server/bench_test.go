package server_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mayday/symbols/server"
)

// processorTime is what this process used of the processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// release makes the archive of a large build: 19 symbol files of 14 MB whose
// lines pack to 100 MB.
func release(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "symbols.zip")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 19 {
		name := fmt.Sprintf("module%d.so", i)
		w, err := z.Create(name + "/" + id1 + "/" + name + ".sym")
		if err != nil {
			b.Fatal(err)
		}
		var text bytes.Buffer
		text.WriteString(symText(name, id1))
		for address := 0; text.Len() < 14<<20; {
			address += r.IntN(200) + 1
			fmt.Fprintf(&text, "%x %x %d %d\n", address, r.IntN(256), r.IntN(20_000), r.IntN(2000))
		}
		if _, err := w.Write(text.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkUploadRelease uploads 100 MB of packed symbols to a server of its
// own. cpu-s is what client and server used together.
func BenchmarkUploadRelease(b *testing.B) {
	path := release(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		w := start(b, func(o *server.Options) { o.Config.MaxUpload = 1 << 30 })
		b.StartTimer()
		began := processorTime()
		body, out := io.Pipe()
		m := multipart.NewWriter(out)
		go func() {
			f, err := os.Open(path)
			if err == nil {
				defer f.Close()
				var part io.Writer
				if part, err = m.CreateFormFile("f", "symbols.zip"); err == nil {
					_, err = io.Copy(part, f)
				}
			}
			if err == nil {
				err = m.Close()
			}
			out.CloseWithError(err)
		}()
		if a := w.do("POST", "/upload/", "upload_symbols", body, "Content-Type", m.FormDataContentType()); a.status != 201 {
			b.Fatalf("%d %s", a.status, a.body)
		}
		used += processorTime() - began
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// BenchmarkUpload uploads archives of four small symbol files.
func BenchmarkUpload(b *testing.B) {
	w := start(b, nil)
	line := strings.Repeat("FUNC 1000 10 0 a_function_with_a_name(int, char const*)\n1000 10 12 3\n", 16_000)
	b.SetBytes(int64(4 * len(line)))
	n := 0
	for b.Loop() {
		n++
		var files []string
		for i := range 4 {
			files = append(files, fmt.Sprintf("f%d.so/%032X0/f%d.so.sym", i, n, i), fmt.Sprintf("%d\n%s", n, line))
		}
		if a := w.upload("upload_symbols", zipped(files...)); a.status != 201 {
			b.Fatalf("%d %s", a.status, a.body)
		}
	}
}

// BenchmarkDownload gets a symbol file of 10 kB over connections that are kept
// alive, as symbolication services do.
func BenchmarkDownload(b *testing.B) {
	const connections = 8
	w := start(b, nil)
	key := "a.so/" + id1 + "/a.so.sym"
	text := make([]byte, 0, 10<<10)
	for i := 0; len(text) < 10<<10; i++ {
		text = fmt.Appendf(text, "FUNC %x 10 0 function_%x\n", i*4096, i*i*7919)
	}
	if a := w.upload("upload_symbols", zipped(key, string(text))); a.status != 201 {
		b.Fatalf("%d %s", a.status, a.body)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	get := func() error {
		r, err := http.NewRequest("GET", w.url+"/"+key, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Accept-Encoding", "gzip")
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		return err
	}
	began, used := time.Now(), processorTime()
	work := make(chan struct{}, connections)
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for range work {
				if err := get(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	group.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "requests/s")
	b.ReportMetric(float64(b.N)/(processorTime()-used).Seconds(), "requests/cpu-s")
}
