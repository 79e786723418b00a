package collector

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"mayday/storage/queue"
)

// BenchmarkSubmit sends crashes over eight connections to a collector with a
// bucket and a queue on disk. Where the time goes:
//
//	go test -run '^$' -bench 'Submit/fsync=false/20kB' -cpuprofile cpu.out ./roles/collector
func BenchmarkSubmit(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		for _, size := range []int{20_000, 600_000, 5_000_000} {
			b.Run(fmt.Sprintf("fsync=%v/%dkB", fsync, size/1000), func(b *testing.B) {
				dir := b.TempDir()
				s := open(b, func(o *Options) {
					q, err := queue.Open(context.Background(), "sqlite://"+filepath.Join(dir, "queue.db"), queue.Options{Fsync: fsync})
					if err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() { q.Close(context.Background()) })
					o.Crashes, o.Queue = fileCrashes(b, filepath.Join(dir, "crashes"), fsync), q
				})
				fields := []field{{"ProductName", "Aye-Aye"}, {"Version", "1.0"}}
				for i := range 100 {
					fields = append(fields, field{fmt.Sprintf("Annotation%d", i), "some value"})
				}
				body := form(append(fields, field{"@upload_file_minidump", string(bytes.Repeat([]byte("MDMP\x00\x00\x00\x00"), size/8))})...)
				request := append([]byte(fmt.Sprintf("POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n", boundary, len(body))), body...)
				b.SetBytes(int64(len(body)))
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					c, err := net.Dial("tcp", s.addr)
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					in := bufio.NewReader(c)
					for pb.Next() {
						if _, err := c.Write(request); err != nil {
							b.Error(err)
							return
						}
						res, err := http.ReadResponse(in, nil)
						if err != nil || res.StatusCode != http.StatusOK {
							b.Errorf("answer %v, %v", res, err)
							return
						}
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				})
			})
		}
	}
}
