package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to reach into the queue
)

// load submits crashes from several senders, each so many milliseconds after
// its last one was answered, until stop is called, which
// returns the ids that were answered and how many crashes were not taken.
func (s *server) load(senders, pauseMS int, dump []byte) (stop func() (ids []string, refused int)) {
	var mu sync.Mutex
	var ids []string
	refused := 0
	end := make(chan struct{})
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				body, kind := form(map[string]string{"ProductName": "Fault", "Version": "1.0", "Sender": fmt.Sprint(sender), "N": fmt.Sprint(n)},
					map[string][]byte{"upload_file_minidump": dump})
				status, text, err := s.post(bytes.NewReader(body), kind, nil)
				mu.Lock()
				if err == nil && status == 200 {
					ids = append(ids, idOf(s.t, text))
				} else {
					refused++
				}
				mu.Unlock()
				if err != nil || status != 200 {
					time.Sleep(50 * time.Millisecond)
				} else {
					time.Sleep(time.Duration(pauseMS) * time.Millisecond)
				}
			}
		})
	}
	stop = sync.OnceValues(func() ([]string, int) {
		close(end)
		all.Wait()
		return ids, refused
	})
	s.t.Cleanup(func() { stop() })
	return stop
}

// intact checks the promise: each answered id has exactly one processed crash
// and one search hit, and none was given up.
func (s *server) intact(ids []string) {
	s.t.Helper()
	for i, id := range ids {
		s.eventually("crash "+id+" is found once", func() error {
			if n, err := s.hits(id); err != nil || n != 1 {
				spooled, _ := filepath.Glob(filepath.Join(s.dir, "spool", "*", "*"))
				return fmt.Errorf("%d hits, %v; it is number %d of %d, %d wait in the spool; the log says of it:\n%s", n, err, i, len(ids), len(spooled), s.logOf(id))
			}
			return nil
		})
		if _, err := os.Stat(filepath.Join(s.dir, "crashes", "v1", "processed_crash", id)); err != nil {
			s.t.Errorf("crash %s: %v", id, err)
		}
	}
	if given, _ := filepath.Glob(filepath.Join(s.dir, "crashes", "v1", "verdict", "*")); len(given) > 0 {
		s.t.Errorf("%d crashes were given up", len(given))
	}
	s.t.Logf("%d crashes answered, processed and found", len(ids))
}

// logOf is what the server's log says of a crash.
func (s *server) logOf(id string) string {
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	out := ""
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, id) {
			out += line
		}
	}
	return out
}

// slow skips in -short runs what takes more than 20 s.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes more than 20 s; make e2e runs it")
	}
}

// A processor that is killed in the middle of crashes loses none of them.
func TestFaultProcessorKilled(t *testing.T) {
	t.Parallel()
	// The symbols of the crashes come from a server that lets wait, so the kill
	// finds each worker in the middle of a walk.
	asked := make(chan struct{}, 1000)
	s := startIn(t, filepath.Join(t.TempDir(), "data"), "--role", "collector,web")
	p := startIn(t, s.dir, "--role", "processor", "--symbols.urls", stallingServer(t, asked), "--processor.walk-timeout", "5s")
	var ids []string
	for range 12 {
		ids = append(ids, s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": sampleDump(t)}))
	}
	for range 2 {
		<-asked
		p.kill()
		p.restart()
	}
	<-asked
	p.kill()
	p.args = []string{"--role", "processor"}
	p.restart()
	s.intact(ids)
}

// stallingServer takes requests for symbols and never answers.
func stallingServer(t *testing.T, asked chan<- struct{}) string {
	t.Helper()
	done := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-done:
		case <-r.Context().Done():
		}
	})}
	go func() { _ = h.Serve(l) }() // ends with Close
	t.Cleanup(func() { close(done); h.Close() })
	return "http://" + l.Addr().String() + "/"
}

// A bucket that refuses writes for half a minute costs nothing but time.
func TestFaultBucketRefusesWrites(t *testing.T) {
	slow(t)
	t.Parallel()
	s := start(t)
	bucket := filepath.Join(s.dir, "crashes")
	stop := s.load(2, 100, sampleDump(t))
	time.Sleep(time.Second)
	readOnly(t, bucket, func() { time.Sleep(30 * time.Second) })
	time.Sleep(time.Second)
	ids, refused := stop()
	t.Logf("%d answered, %d refused", len(ids), refused)
	if len(ids) < 50 || refused > 0 {
		t.Errorf("%d crashes answered, %d refused: the spool should have taken them", len(ids), refused)
	}
	s.intact(ids)
	if err := s.stop(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
}

// readOnly runs f while nobody can write below dir.
func readOnly(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		set := func(mode os.FileMode) {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					err = os.Chmod(path, mode)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		set(0o500)
		f()
		set(0o700)
		return
	}
	// Modes do not hold root back; a mount does.
	mount := func(args ...string) error {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := mount("mount", "--bind", dir, dir); err != nil {
		t.Skip("a file system cannot be mounted here: " + err.Error())
	}
	err := mount("mount", "-o", "remount,bind,ro", dir)
	if err == nil {
		f()
	}
	if undo := mount("umount", "-l", dir); err != nil || undo != nil {
		t.Fatal(err, undo)
	}
}

// A queue that delivers messages several times and in any order makes no crash
// appear twice, and loses none.
func TestFaultQueueRepeatsAndReorders(t *testing.T) {
	t.Parallel()
	s := start(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "queue.db")+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	repeated := int64(0)
	exec := func(query string, args ...any) {
		t.Helper()
		r, err := db.Exec(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.RowsAffected(); err == nil {
			repeated += n
		}
	}
	stop := s.load(3, 50, sampleDump(t))
	for range 40 {
		now := time.Now().UnixMilli()
		exec(`INSERT INTO message (queue, payload, metadata, visible_at, sent_at) SELECT queue, payload, metadata, ? - abs(random() % 5000), sent_at FROM message ORDER BY random() LIMIT 10`, now)
		exec(`UPDATE message SET visible_at = ? - abs(random() % 5000) WHERE owner = ''`, now)
		time.Sleep(100 * time.Millisecond)
	}
	ids, refused := stop()
	if refused > 0 || len(ids) < 50 {
		t.Errorf("%d crashes answered, %d refused", len(ids), refused)
	}
	// Everything once more from every queue, long after it was done.
	for _, name := range []string{"standard", "priority", "reprocessing", "processed", "processed"} {
		for i := len(ids) - 1; i >= 0; i -= 3 {
			exec(`INSERT INTO message (queue, payload, metadata, visible_at, sent_at) VALUES (?, ?, '', ?, ?)`, name, []byte(ids[i]), time.Now().UnixMilli(), time.Now().UnixMilli())
		}
	}
	t.Logf("%d messages repeated or moved", repeated)
	s.eventually("the queues are empty", func() error {
		var left int
		if err := db.QueryRow(`SELECT COUNT(*) FROM message`).Scan(&left); err != nil || left > 0 {
			return fmt.Errorf("%d messages, %v", left, err)
		}
		return nil
	})
	s.intact(ids)
}

// A server that is told to stop in the middle of the load ends in time, and
// what it answered is there.
func TestFaultSigtermUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t)
	stop := s.load(6, 10, sampleDump(t))
	for range 3 {
		time.Sleep(1500 * time.Millisecond)
		began := time.Now()
		if err := s.stop(); err != nil {
			t.Errorf("the server did not stop cleanly: %v", err)
		}
		t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
		s.restart()
	}
	ids, _ := stop()
	s.intact(ids)
}

// A full disk refuses crashes, and loses none that was answered.
func TestFaultDiskFull(t *testing.T) {
	slow(t)
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs root on Linux, to mount a small file system")
	}
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a file system cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	s := startIn(t, filepath.Join(dir, "data"))
	dump := append(sampleDump(t), make([]byte, 300<<10)...)
	before := s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": dump})
	stop := s.load(3, 10, dump)
	time.Sleep(12 * time.Second)
	if out, err := exec.Command("mount", "-o", "remount,size=512m", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	time.Sleep(3 * time.Second)
	ids, refused := stop()
	t.Logf("%d answered, %d refused", len(ids), refused)
	if refused == 0 {
		t.Error("the disk never was full")
	}
	after := s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": dump})
	s.intact(append(ids, before, after))
	if err := s.stop(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
}

// A walk that does not end is ended, noted, and stored; the next crash is
// walked as ever.
func TestFaultEndlessWalk(t *testing.T) {
	t.Parallel()
	for _, isolate := range []string{"false", "true"} {
		t.Run("isolate "+isolate, func(t *testing.T) {
			t.Parallel()
			s := start(t, "--processor.isolate", isolate, "--processor.walk-timeout", "2s", "--symbols.urls", stallingServer(t, make(chan struct{})), "--queue.tries", "1")
			began := time.Now()
			id := s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
			p := s.processed(id)
			if notes := fmt.Sprint(p["processor_notes"]); !strings.Contains(notes, "timeout (SIGKILL)") {
				t.Errorf("notes %s", notes)
			}
			t.Logf("processed after %v", time.Since(began).Round(time.Millisecond))
			s.found(id)
			uploadSymbols(t, s)
			next := s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
			s.eventually("the next crash has names", func() error {
				p := s.processed(next)
				if p["signature"] != "storm::Cloud::rain" {
					return fmt.Errorf("signature %v, notes %v", p["signature"], p["processor_notes"])
				}
				return nil
			})
			s.intact([]string{id, next})
		})
	}
}

// A dump that keeps the walker busy beyond its deadline, or makes it use more
// memory than it may, is given up and noted; the server lives on. In process,
// where what others allocate blurs what one walk does, the dump alone is more.
func TestFaultHungryDump(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		note string
		most int // memory of the server after it, in KB; 0 is not looked at
	}{
		"time, in process":   {[]string{"--processor.walk-timeout", "20ms"}, "timeout (SIGKILL)", 0},
		"memory, in process": {[]string{"--processor.walk-memory", "2MiB"}, "timeout (SIGABRT)", 600 << 10},
		"memory, isolated":   {[]string{"--processor.walk-memory", "8MiB", "--processor.isolate", "true"}, "timeout (SIGABRT)", 200 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.args...)
			id := s.submit(map[string]string{"ProductName": "Fault"}, map[string][]byte{"upload_file_minidump": hostileDump(t, 60_000)})
			p := s.processed(id)
			if notes := fmt.Sprint(p["processor_notes"]); !strings.Contains(notes, c.note) {
				t.Errorf("notes %s, status %v", notes, p["mdsw_status_string"])
			}
			if kb := residentKB(t, s.cmd.Process.Pid); c.most > 0 && kb > c.most {
				t.Errorf("the server uses %d MB", kb>>10)
			}
			s.intact([]string{id})
		})
	}
}
