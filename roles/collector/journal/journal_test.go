package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mayday/storage"
)

func crash(dump string) Crash {
	return Crash{ID: storage.NewCrashID(time.Unix(1.8e9, 0), storage.Accepted), Raw: []byte(`{"uuid":"x"}`), Files: []File{{storage.MinidumpName, []byte(dump)}}}
}

func opened(t testing.TB) *Journal {
	t.Helper()
	if !Supported {
		t.Skip("this system cannot sync a file system")
	}
	j, err := Open(filepath.Join(t.TempDir(), "journal"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// put waits until a crash is on disk, and says that its objects are written.
func put(t testing.TB, j *Journal, c Crash) {
	t.Helper()
	e := j.Put(c)
	if e == nil {
		t.Error("the journal is full")
		return
	}
	if err := e.Wait(); err != nil {
		t.Error(err)
	}
	e.Written()
}

func segments(t testing.TB, j *Journal) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(j.dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTogether has crashes come at once: all are in the journal, in far fewer
// batches than there are crashes, and nothing stays when all was settled.
func TestTogether(t *testing.T) {
	j := opened(t)
	want := map[storage.CrashID]bool{}
	var group sync.WaitGroup
	for range 100 {
		c := crash("MDMP")
		want[c.ID] = true
		group.Go(func() { put(t, j, c) })
	}
	group.Wait()
	for _, path := range segments(t, j) {
		_, crashes, err := readSegment(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range crashes {
			delete(want, c.ID)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d crashes are not in the journal", len(want))
	}
	if err := j.Settle(true); err != nil {
		t.Fatal(err)
	}
	if left := segments(t, j); len(left) != 0 || j.bytes != 0 {
		t.Errorf("after settling %v stay, %d bytes", left, j.bytes)
	}
	put(t, j, crash("MDMP next"))
}

// TestUnwrittenStays keeps a segment whose crash is not in the bucket yet.
func TestUnwrittenStays(t *testing.T) {
	j := opened(t)
	e := j.Put(crash("MDMP"))
	if err := e.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Settle(true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(segments(t, j)); n != 1 {
		t.Errorf("%d segments, want the one whose crash is being written", n)
	}
	e.Written()
	if err := j.Settle(true); err != nil {
		t.Fatal(err)
	}
	if n := len(segments(t, j)); n != 0 {
		t.Errorf("%d segments stay", n)
	}
}

// TestUsedAgain writes over a segment: what its earlier use left behind the
// last record is not read.
func TestUsedAgain(t *testing.T) {
	j := opened(t)
	for range 5 {
		put(t, j, crash("MDMP first use"))
	}
	j.mu.Lock()
	j.retire()
	j.mu.Unlock()
	if err := j.Settle(false); err != nil {
		t.Fatal(err)
	}
	c := crash("MDMP second use")
	put(t, j, c)
	files := segments(t, j)
	if len(files) != 1 {
		t.Fatalf("segments %v, want one that is used again", files)
	}
	_, crashes, err := readSegment(files[0])
	if err != nil || len(crashes) != 1 || crashes[0].ID != c.ID {
		t.Errorf("read %v, %v, want %s alone", crashes, err, c.ID)
	}
}

func TestTooLarge(t *testing.T) {
	if e := opened(t).Put(crash(strings.Repeat("M", maxRecord))); e != nil {
		t.Error("a crash past the bound was taken")
	}
}

// TestTorn cuts a segment at every byte: whole records alone are read.
func TestTorn(t *testing.T) {
	j := opened(t)
	put(t, j, crash("one"))
	put(t, j, crash("two"))
	text, err := os.ReadFile(segments(t, j)[0])
	if err != nil {
		t.Fatal(err)
	}
	record := len(encodeRecord(crash("one")))
	for n := range segmentHead + 2*record + 1 {
		_, crashes, err := readRecords(bytes.NewReader(text[:n]))
		if want := max(0, n-segmentHead) / record; err != nil || len(crashes) != want {
			t.Fatalf("%d bytes hold %d crashes, %v, want %d", n, len(crashes), err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	record := encodeRecord(crash("MDMP"))
	seal(record, 0)
	head := segmentMagic + strings.Repeat("0", bootLength) + strings.Repeat("\x00", 8)
	f.Add([]byte(head))
	f.Add(append([]byte(head), record...))
	f.Add(append(append([]byte(head), record...), record[:20]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, crashes, err := readRecords(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("a reader that does not fail: %v", err)
		}
		size := 0
		for _, c := range crashes {
			size += len(c.Raw)
			for _, d := range c.Files {
				size += len(d.Name) + len(d.Data)
			}
		}
		if size > len(b) {
			t.Errorf("%d bytes of crashes out of %d", size, len(b))
		}
	})
}

func BenchmarkPut(b *testing.B) {
	j := opened(b)
	c := crash(strings.Repeat("MDMP", 5000))
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			put(b, j, c)
		}
	})
}
