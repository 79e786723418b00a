package collector

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/filebucket"
	"mayday/storage/queue"
)

func fileCrashes(t testing.TB, dir string, fsync bool) *storage.Crashes {
	t.Helper()
	b, err := filebucket.Open(dir, filebucket.Options{Fsync: fsync})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return storage.NewCrashes(b, storage.Options{})
}

// TestBucketRemoved takes the bucket's folder away under load and puts it back.
func TestBucketRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crashes")
	s := open(t, func(o *Options) { o.Crashes = fileCrashes(t, dir, false) })
	var mu sync.Mutex
	stored := map[storage.CrashID]string{}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				dump := strings.Repeat(fmt.Sprintf("dump %d of client %d", n, i), 1+n%2*20_000)
				id := s.accepted(t, usual(field{"@memory_report", dump}))
				mu.Lock()
				stored[id] = sum(dump)
				mu.Unlock()
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(400 * time.Millisecond)
	if err := s.Health(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("health without the bucket = %v", err)
	}
	waitFor(t, func() bool { n, _ := s.spool.waiting(); return n > 0 })
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	clients.Wait()
	waitFor(t, func() bool { n, _ := s.spool.waiting(); return n == 0 })
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health afterwards = %v", err)
	}
	queued := map[storage.CrashID]bool{}
	for range stored {
		queued[s.queued(t)] = true
	}
	for id, want := range stored {
		if got := s.rawCrash(t, id)["metadata"].(map[string]any)["dump_checksums"].(map[string]any)["memory_report"]; got != want {
			t.Errorf("%s: recorded sum %v", id, got)
		}
		if sum(s.dump(t, id, "memory_report")) != want {
			t.Errorf("%s: the dump is damaged", id)
		}
		if !queued[id] {
			t.Errorf("%s is not in the queue", id)
		}
	}
	if _, bytes := s.spool.waiting(); bytes != 0 {
		t.Errorf("an empty spool counts %d bytes", bytes)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for too long")
		}
	}
}

// fullBucket is a bucket on a disk without room: it takes some bytes and fails.
type fullBucket struct{ driver.Bucket }

func (fullBucket) NewTypedWriter(context.Context, string, string, *driver.WriterOptions) (driver.Writer, error) {
	return fullWriter{}, nil
}
func (fullBucket) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.ResourceExhausted }
func (fullBucket) Attributes(context.Context, string) (*driver.Attributes, error) {
	return nil, syscall.EIO
}
func (fullBucket) Delete(context.Context, string, *driver.DeleteOptions) error { return syscall.EIO }
func (fullBucket) ErrorAs(error, any) bool                                     { return false }
func (fullBucket) Close() error                                                { return nil }

type fullWriter struct{}

func (fullWriter) Write(p []byte) (int, error) { return len(p) / 2, syscall.ENOSPC }
func (fullWriter) Close() error                { return syscall.ENOSPC }

func full(t testing.TB) *storage.Crashes {
	b := blob.NewBucket(fullBucket{})
	t.Cleanup(func() { b.Close() })
	return storage.NewCrashes(b, storage.Options{})
}

func TestDiskFull(t *testing.T) {
	s := open(t, func(o *Options) { o.Crashes = full(t) })
	s.accepted(t, usual())
	if n, _ := s.spool.waiting(); n != 1 {
		t.Errorf("%d crashes in the spool, want 1", n)
	}

	s = open(t, func(o *Options) { o.Crashes, o.SpoolDir = full(t), "" })
	if status, text, header := s.post(t, usual()); status != http.StatusServiceUnavailable || text != "" || header.Get("Retry-After") != "60" {
		t.Errorf("without a spool: %d %q", status, text)
	}

	s = open(t, func(o *Options) { o.Crashes, o.Config.SpoolSize = full(t), 3*entryCost })
	accepted := 0
	for range 5 {
		status, _, _ := s.post(t, usual())
		if status == http.StatusOK {
			accepted++
		} else if status != http.StatusServiceUnavailable {
			t.Errorf("with a full spool: %d", status)
		}
	}
	if accepted != 2 {
		t.Errorf("%d crashes in a spool for two", accepted)
	}
}

// Uploads under way share what they may take of the disk.
func TestRoomForUploads(t *testing.T) {
	s := open(t, func(o *Options) { o.Config.SpoolSize = 2 * smallFile })
	for _, c := range []struct {
		size, status int
	}{{2*smallFile - 100, http.StatusOK}, {2*smallFile + 1, http.StatusServiceUnavailable}, {2*smallFile - 100, http.StatusOK}} {
		if status, _, _ := s.post(t, usual(field{"@large", strings.Repeat("x", c.size)})); status != c.status {
			t.Errorf("a file of %d bytes: %d, want %d", c.size, status, c.status)
		}
	}
	waitFor(t, func() bool { return s.room.used.Load() == 0 })
	// A disk that holds nothing at all.
	if err := os.Remove(s.temp); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := s.post(t, usual(field{"@large", strings.Repeat("x", smallFile+1)})); status != http.StatusServiceUnavailable {
		t.Errorf("without a disk: %d", status)
	}
}

func TestFailedSaveLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	crashes := fileCrashes(t, dir, false)
	s := open(t, func(o *Options) { o.Crashes, o.SpoolDir = crashes, "" })
	// The list of names cannot be written: its folder is a file.
	if err := os.MkdirAll(filepath.Join(dir, "v1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "v1", "dump_names"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := s.post(t, usual()); status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", status)
	}
	if found, err := os.ReadDir(filepath.Join(dir, "v1", "dump")); !os.IsNotExist(err) {
		t.Errorf("left behind: %v, %v", found, err)
	}
}

// A cancelled upload leaves nothing behind.
func TestCancelledUpload(t *testing.T) {
	s := open(t, nil)
	body := usual(field{"@large", strings.Repeat("x", 2*smallFile)})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/submit", r)
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	done := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	w.Write(body[:len(body)-100])
	cancel()
	w.Close()
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
	waitFor(t, func() bool {
		left, err := os.ReadDir(s.temp)
		return err == nil && len(left) == 0 && len(s.slots) == 0
	})
	if o, err := s.bucket.List(nil).Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("stored %v, %v", o, err)
	}
}

// brokenQueue refuses until it is mended.
type brokenQueue struct {
	Sender
	mu     sync.Mutex
	mended bool
}

func (q *brokenQueue) mend() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mended = true
}

func (q *brokenQueue) Send(ctx context.Context, n queue.Name, m ...queue.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.mended {
		return fault.New(fault.Unavailable, "the queue is down")
	}
	return q.Sender.Send(ctx, n, m...)
}

func TestQueueDown(t *testing.T) {
	broken := &brokenQueue{}
	s := open(t, func(o *Options) { broken.Sender, o.Queue = o.Queue, broken })
	id := s.accepted(t, usual())
	if s.rawCrash(t, id).Text("ProductName") != "Aye-Aye" {
		t.Error("the crash is not stored")
	}
	if n, _ := s.spool.waiting(); n != 1 {
		t.Errorf("%d entries in the spool, want the id", n)
	}
	broken.mend()
	if got := s.queued(t); got != id {
		t.Errorf("queued %s, want %s", got, id)
	}
	waitFor(t, func() bool { n, bytes := s.spool.waiting(); return n == 0 && bytes == 0 })

	// Without a spool the crash is accepted still: the sweep finds it.
	s = open(t, func(o *Options) { o.Queue, o.SpoolDir = &brokenQueue{}, "" })
	s.accepted(t, usual())
}

// TestSpoolIsReplayed stops a collector whose bucket is down and starts
// another on the same spool.
func TestSpoolIsReplayed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	large := strings.Repeat("x", 2*smallFile)
	s := open(t, func(o *Options) { o.Crashes, o.SpoolDir = full(t), dir })
	var ids []storage.CrashID
	for range 3 {
		ids = append(ids, s.accepted(t, usual(field{"@large", large})))
	}
	if _, err := openSpool(dir, 1<<30); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second process takes the spool: %v", err)
	}
	s.stop()
	// What was half written, and what cannot be read.
	waiting := filepath.Join(dir, waitingDir)
	for _, name := range []string{"0-half.tmp", "0000-nonsense", "0001-" + string(ids[0])} {
		if err := os.Mkdir(filepath.Join(waiting, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, func(o *Options) { o.SpoolDir = dir })
	for range ids {
		s.queued(t)
	}
	waitFor(t, func() bool { n, _ := s.spool.waiting(); return n == 0 })
	for _, id := range ids {
		if s.rawCrash(t, id).Text("uuid") != string(id) || s.dump(t, id, "large") != large {
			t.Errorf("%s came back changed", id)
		}
	}
	aside, err := os.ReadDir(filepath.Join(dir, asideDir))
	if err != nil || len(aside) != 2 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	if left, _ := os.ReadDir(waiting); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestKilled uploads to a process that is killed, starts it again, and looks
// for every crash that was answered.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("COLLECTOR_TEST_CHILD"); dir != "" {
		s := open(t, func(o *Options) {
			o.Crashes, o.SpoolDir = fileCrashes(t, filepath.Join(dir, "crashes"), true), filepath.Join(dir, "spool")
			o.Config.SpoolSize = 1 << 40
		})
		fmt.Println("ADDR", s.addr)
		time.Sleep(time.Minute)
		return
	}
	dir := t.TempDir()
	for _, sub := range []string{"crashes", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	answered := map[storage.CrashID]string{}
	for round := range 3 {
		// The bucket is away in the second round, so that the spool is in use.
		if round == 1 {
			if err := os.Rename(filepath.Join(dir, "crashes"), filepath.Join(dir, "away")); err != nil {
				t.Fatal(err)
			}
		}
		child := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
		child.Env = append(os.Environ(), "COLLECTOR_TEST_CHILD="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ADDR ")
		if !ok || err != nil {
			t.Fatalf("child says %q, %v", line, err)
		}
		if round == 1 { // opening made it anew
			if err := os.Remove(filepath.Join(dir, "crashes")); err != nil {
				t.Fatal(err)
			}
		}
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for n := 0; ; n++ {
					dump := strings.Repeat(fmt.Sprint(n), 1+n%3*100_000)
					id, ok := upload(addr, usual(field{"@memory_report", dump}))
					if !ok {
						return
					}
					mu.Lock()
					answered[id] = sum(dump)
					mu.Unlock()
				}
			})
		}
		enough := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(answered) >= 12*(round+1)
		}
		for end := time.Now().Add(time.Minute); !enough() && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		child.Process.Kill()
		clients.Wait()
		child.Wait()
		if round == 1 {
			if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "crashes")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(answered) < 36 {
		t.Fatalf("only %d crashes were answered", len(answered))
	}
	s := open(t, func(o *Options) {
		o.Crashes, o.SpoolDir = fileCrashes(t, filepath.Join(dir, "crashes"), false), filepath.Join(dir, "spool")
	})
	waitFor(t, func() bool { n, _ := s.spool.waiting(); return n == 0 })
	for id, want := range answered {
		if sum(s.dump(t, id, "memory_report")) != want || s.rawCrash(t, id).Text("uuid") != string(id) {
			t.Errorf("%s is lost or damaged", id)
		}
	}
	aside, _ := os.ReadDir(filepath.Join(dir, "spool", asideDir))
	if len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}
}

var idPattern = regexp.MustCompile(`^CrashID=bp-([0-9a-f-]{36})\n$`)

// upload posts a crash to a process that may vanish.
func upload(addr string, body []byte) (storage.CrashID, bool) {
	res, err := http.Post("http://"+addr+"/submit", "multipart/form-data; boundary="+boundary, bytes.NewReader(body))
	if err != nil {
		return "", false
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", false
	}
	m := idPattern.FindSubmatch(text)
	if m == nil {
		return "", false
	}
	return storage.CrashID(m[1]), true
}
