package filebucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/gcerrors"

	"mayday/storage/crashestest"
)

type harness struct{ dir string }

func (h harness) MakeDriver(context.Context) (driver.Bucket, error) {
	return open(h.dir, Options{Fsync: strings.Contains(h.dir, "fsync")})
}

// A bucket that is missing is made by Open, as for any local folder.
func (h harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	return nil, nil
}
func (h harness) HTTPClient() *http.Client         { return nil }
func (h harness) SupportsCopy() bool               { return true }
func (h harness) SupportsNonSlashDelimiters() bool { return true }
func (h harness) Close()                           {}

// TestConformance runs gocloud's suite. The groups about recorded content
// types and metadata do not apply: the package comment says why.
func TestConformance(t *testing.T) {
	for _, mode := range []string{"plain", "fsync"} {
		t.Run(mode, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), mode)
			drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
				switch name := t.Name(); {
				case strings.Contains(name, "TestWrite/") && strings.Contains(name, "ContentType"), strings.HasSuffix(name, "TestAttributes"), strings.Contains(name, "TestMetadata/"):
					t.Skip("content type and metadata are not recorded, by design")
				}
				return harness{dir}, nil
			}, nil)
		})
	}
}

func TestCrashes(t *testing.T) {
	crashestest.Run(t, func(t *testing.T) *blob.Bucket { return openTest(t, t.TempDir(), Options{Fsync: true}) })
}

func openTest(t testing.TB, dir string, o Options) *blob.Bucket {
	t.Helper()
	b, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func counters(t testing.TB, b *blob.Bucket) *Counters {
	t.Helper()
	var c *Counters
	if !b.As(&c) {
		t.Fatal("no counters")
	}
	return c
}

func TestFsyncs(t *testing.T) {
	b := openTest(t, t.TempDir(), Options{Fsync: true})
	c := counters(t, b)
	files, folders := c.FileSyncs.Load(), c.FolderSyncs.Load()
	step := func(what string, key string, wantFiles, wantFolders int64) {
		t.Helper()
		if err := b.WriteAll(t.Context(), key, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		if got := c.FileSyncs.Load() - files; got != wantFiles {
			t.Errorf("%s: %d files synced, want %d", what, got, wantFiles)
		}
		if got := c.FolderSyncs.Load() - folders; got != wantFolders {
			t.Errorf("%s: %d folders synced, want %d", what, got, wantFolders)
		}
		files, folders = c.FileSyncs.Load(), c.FolderSyncs.Load()
	}
	step("two new folders", "v1/dump/a", 1, 3) // the root and v1 for their new entries, dump for the object's
	step("known folder", "v1/dump/b", 1, 1)
	step("one new folder", "v1/other/b", 1, 2)
	step("replaced", "v1/other/b", 1, 1)
	if err := b.Delete(t.Context(), "v1/other/b"); err != nil {
		t.Fatal(err)
	}
	if c.FolderSyncs.Load() == folders {
		t.Error("a delete was not synced")
	}
	folders = c.FolderSyncs.Load()
	step("folder removed with its last object", "v1/other/c", 1, 2)

	b = openTest(t, t.TempDir(), Options{})
	c = counters(t, b)
	files, folders = 0, 0
	step("fsync off", "v1/dump/a", 0, 0)
}

// Writers that come together share syncs of their folder, and none returns
// before one that began after its object was placed.
func TestSharedSyncs(t *testing.T) {
	b := openTest(t, t.TempDir(), Options{Fsync: true})
	c := counters(t, b)
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if err := b.WriteAll(context.Background(), fmt.Sprintf("d/%d-%d", i, j), []byte("x"), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := c.FileSyncs.Load(); n != writers*each {
		t.Errorf("%d files synced, want %d", n, writers*each)
	}
	if n := c.FolderSyncs.Load(); n >= writers*each {
		t.Errorf("%d syncs of one folder for %d objects: none was shared", n, writers*each)
	}
}

func TestLostFolder(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "bucket")
		b := openTest(t, dir, Options{Fsync: fsync})
		if err := b.WriteAll(t.Context(), "a/b/c", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		aside := dir + ".aside"
		if err := os.Rename(dir, aside); err != nil {
			t.Fatal(err)
		}
		_, readErr := b.ReadAll(t.Context(), "a/b/c")
		_, listErr := b.List(nil).Next(t.Context())
		_, existsErr := b.Exists(t.Context(), "q")
		for name, err := range map[string]error{
			"write": b.WriteAll(t.Context(), "a/b/d", []byte("x"), nil), "write below": b.WriteAll(t.Context(), "n/e/w", []byte("x"), nil),
			"read": readErr, "list": listErr, "exists": existsErr, "delete": b.Delete(t.Context(), "a/b/c"),
		} {
			if gcerrors.Code(err) != gcerrors.Internal || !strings.Contains(err.Error(), "not there") {
				t.Errorf("fsync %v: %s without the bucket's folder = %v (%v)", fsync, name, err, gcerrors.Code(err))
			}
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("the bucket's folder was made anew")
		}
		if err := os.Rename(aside, dir); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteAll(t.Context(), "a/b/d", []byte("x"), nil); err != nil {
			t.Errorf("fsync %v: write after the folder came back: %v", fsync, err)
		}
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir, Options{})
	err := b.Upload(t.Context(), "a/b", io.MultiReader(strings.NewReader("some"), badReader{}), &blob.WriterOptions{ContentType: "x/y"})
	if err == nil {
		t.Error("an upload from a failing reader made an object")
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := b.NewWriter(ctx, "a/c", &blob.WriterOptions{ContentType: "x/y"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("close after cancel = %v", err)
	}
	found, _ := os.ReadDir(filepath.Join(dir, "a"))
	if len(found) != 0 {
		t.Errorf("left behind: %v", found)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("gone") }

// TestAdopt hands whole files over, from the bucket's disk and from another.
func TestAdopt(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		b := openTest(t, t.TempDir(), Options{Fsync: fsync})
		c := counters(t, b)
		for _, dir := range []string{t.TempDir(), "/dev/shm"} {
			f, err := os.CreateTemp(dir, "filebucket-test-*")
			if err != nil {
				t.Logf("no other disk: %v", err)
				continue
			}
			t.Cleanup(func() { f.Close(); os.Remove(f.Name()) })
			if _, err := f.WriteString("some bytes"); err != nil {
				t.Fatal(err)
			}
			synced := c.FileSyncs.Load()
			adopt := func(ctx context.Context, key string) error {
				w, err := b.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "x/y", BeforeWrite: func(as func(any) bool) error {
					var a interface{ Adopt(*os.File) }
					if !as(&a) {
						return errors.New("nothing to adopt with")
					}
					a.Adopt(f)
					return nil
				}})
				if err != nil {
					return err
				}
				return w.Close()
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := adopt(ended, "n/o"); !errors.Is(err, context.Canceled) {
				t.Errorf("adopt after cancel = %v", err)
			}
			if err := adopt(t.Context(), "a/b/c"); err != nil {
				t.Fatal(err)
			}
			if got, err := b.ReadAll(t.Context(), "a/b/c"); string(got) != "some bytes" || err != nil {
				t.Errorf("object = %q, %v", got, err)
			}
			if fsync && c.FileSyncs.Load() == synced {
				t.Error("the adopted file was not synced")
			}
			still := make([]byte, 4)
			if _, err := f.ReadAt(still, 0); err != nil || string(still) != "some" {
				t.Errorf("the open file reads %q, %v", still, err)
			}
			if ok, _ := b.Exists(t.Context(), "n/o"); ok {
				t.Error("a cancelled write made an object")
			}
			if err := b.Delete(t.Context(), "a/b/c"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEscape(t *testing.T) {
	for key, want := range map[string]string{
		"v1/dump/x":     "v1/dump/x",
		"a b/é":         "a b/é",
		"a/../b":        "a/%2E%2E/b",
		"./a":           "%2E/a",
		"a//b":          "a/%/b",
		"/a/":           "%/a/%",
		"x.tmp":         "x%2Etmp",
		".tmp":          "%2Etmp",
		"a.tmp/b":       "a%2Etmp/b",
		"a\x00\n%\x7f":  "a%00%0A%25%7F",
		`c:\d`:          "c%3A%5Cd",
		"xul.pdb/A/x.s": "xul.pdb/A/x.s",
	} {
		b := &bucket{root: "/r"}
		got, err := b.path(key)
		if err != nil || got != "/r/"+want {
			t.Errorf("path(%q) = %q, %v; want %q", key, got, err, "/r/"+want)
		}
		var parts []string
		for _, p := range strings.Split(want, "/") {
			parts = append(parts, unescape(p))
		}
		if back := strings.Join(parts, "/"); back != key {
			t.Errorf("%q comes back as %q", key, back)
		}
	}
	b := openTest(t, t.TempDir(), Options{})
	for _, key := range []string{strings.Repeat("a", maxPart+1), strings.Repeat("a/", maxPath)} {
		if err := b.WriteAll(t.Context(), key, nil, nil); gcerrors.Code(err) != gcerrors.InvalidArgument {
			t.Errorf("write of a key of %d bytes = %v", len(key), err)
		}
		if ok, err := b.Exists(t.Context(), key); ok || err != nil {
			t.Errorf("exists of a key of %d bytes = %v, %v", len(key), ok, err)
		}
	}
	if err := b.WriteAll(t.Context(), strings.Repeat("a", maxPart), nil, nil); err != nil {
		t.Errorf("write at the limit: %v", err)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"a/b", "..", "", "a%", "%41", "x.tmp", "\x00", "a//", "%", "%2E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		b := &bucket{root: "/folder"}
		path, err := b.path(key)
		if err != nil {
			return
		}
		if filepath.Clean(path) != path || !strings.HasPrefix(path, "/folder/") || isTemporary(path) {
			t.Fatalf("%q becomes %q", key, path)
		}
		var parts []string
		for _, p := range strings.Split(strings.TrimPrefix(path, "/folder/"), "/") {
			parts = append(parts, unescape(p))
		}
		if back := strings.Join(parts, "/"); back != key {
			t.Fatalf("%q becomes %q and comes back as %q", key, path, back)
		}
	})
}

// TestListAgainstSorted compares listings of random trees with the plain
// definition: all keys sorted, filtered and collapsed.
func TestListAgainstSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := openTest(t, t.TempDir(), Options{})
	var keys []string
	alphabet := []string{"a", "b", "-", ".", "a-b", "%", "é", "0"}
	for len(keys) < 150 {
		var parts []string
		for range 1 + r.IntN(4) {
			parts = append(parts, alphabet[r.IntN(len(alphabet))]+alphabet[r.IntN(len(alphabet))])
		}
		key := strings.Join(parts, "/")
		if slices.ContainsFunc(keys, func(k string) bool {
			return k == key || strings.HasPrefix(k, key+"/") || strings.HasPrefix(key, k+"/")
		}) {
			continue
		}
		keys = append(keys, key)
		if err := b.WriteAll(t.Context(), key, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(keys)
	for _, delimiter := range []string{"", "/", "-", "a"} {
		for _, prefix := range []string{"", "a", "a/", "aa/", "a-", keys[10], keys[20][:3]} {
			for _, size := range []int{1, 2, 7, 1000} {
				var want []string
				for _, k := range keys {
					if !strings.HasPrefix(k, prefix) {
						continue
					}
					if delimiter != "" {
						if i := strings.Index(k[len(prefix):], delimiter); i >= 0 {
							k = k[:len(prefix)+i+len(delimiter)]
						}
					}
					if len(want) == 0 || want[len(want)-1] != k {
						want = append(want, k)
					}
				}
				var got []string
				token := blob.FirstPageToken
				for token != nil {
					page, next, err := b.ListPage(t.Context(), token, size, &blob.ListOptions{Prefix: prefix, Delimiter: delimiter})
					if err != nil {
						t.Fatal(err)
					}
					if len(page) > size {
						t.Fatalf("page of %d, want at most %d", len(page), size)
					}
					for _, o := range page {
						got = append(got, o.Key)
					}
					token = next
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("delimiter %q prefix %q size %d (-want +got):\n%s", delimiter, prefix, size, d)
				}
			}
		}
	}
}

func TestListReadsOnlyThePrefix(t *testing.T) {
	b := openTest(t, t.TempDir(), Options{})
	for i := range 50 {
		if err := b.WriteAll(t.Context(), fmt.Sprintf("v1/raw_crash/202601%02d/x", i), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	c := counters(t, b)
	before := c.FolderReads.Load()
	if o, err := b.List(&blob.ListOptions{Prefix: "v1/raw_crash/20260117/"}).Next(t.Context()); err != nil || o.Key != "v1/raw_crash/20260117/x" {
		t.Errorf("list = %v, %v", o, err)
	}
	if n := c.FolderReads.Load() - before; n != 1 {
		t.Errorf("%d folders read for a listing of one", n)
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir, Options{})
	for _, k := range []string{"a/x", "a/y.tmp"} {
		if err := b.WriteAll(t.Context(), k, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	old, young := filepath.Join(dir, "a", ".old.tmp"), filepath.Join(dir, "a", ".young.tmp")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	n, err := Clean(t.Context(), dir, time.Hour)
	if n != 1 || err != nil {
		t.Errorf("Clean = %d, %v; want 1", n, err)
	}
	var keys []string
	for l := b.List(nil); ; {
		o, err := l.Next(t.Context())
		if err != nil {
			break
		}
		keys = append(keys, o.Key)
	}
	if d := cmp.Diff([]string{"a/x", "a/y.tmp"}, keys); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("a temporary file in use was removed")
	}
}

func TestFolder(t *testing.T) {
	for u, want := range map[string]string{
		"file:///var/lib/crashes": "/var/lib/crashes",
		"file://./data/crashes":   "./data/crashes",
		"file://../data":          "../data",
		"file://localhost/srv":    "/srv",
		"file:///with%20space":    "/with space",
		"file://data/crashes":     "",
		"file://":                 "",
		"file:///":                "",
		"file:///x?metadata=skip": "",
		"s3://bucket":             "",
		"file:relative":           "",
		"file:///x\x00":           "",
	} {
		got, err := Folder(u)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Folder(%q) = %q, %v; want %q", u, got, err, want)
		}
	}
}

// TestFolderRaces writes and deletes in folders that come and go.
func TestFolderRaces(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		b := openTest(t, t.TempDir(), Options{Fsync: fsync})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 40 {
					key := fmt.Sprintf("a/b%d/c%d", j%3, i)
					if err := b.WriteAll(context.Background(), key, []byte("x"), nil); err != nil {
						t.Error(err)
					}
					if err := b.Delete(context.Background(), key); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		for _, size := range []int{20 << 10, 600 << 10} {
			b.Run(fmt.Sprintf("fsync=%v/%dkB", fsync, size>>10), func(b *testing.B) {
				bucket := openTest(b, b.TempDir(), Options{Fsync: fsync})
				data := bytes.Repeat([]byte("x"), size)
				b.SetBytes(int64(size))
				b.SetParallelism(4)
				var n int
				var mu sync.Mutex
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						mu.Lock()
						n++
						key := fmt.Sprintf("v1/dump/%d", n)
						mu.Unlock()
						if err := bucket.WriteAll(context.Background(), key, data, &blob.WriterOptions{ContentType: "x/y"}); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkListDay(b *testing.B) {
	bucket := openTest(b, b.TempDir(), Options{})
	const objects = 20_000
	for i := range objects {
		if err := bucket.WriteAll(b.Context(), fmt.Sprintf("v1/raw_crash/20260101/%08x", i*2654435761), nil, &blob.WriterOptions{ContentType: "x/y"}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n := 0
		for l := bucket.List(&blob.ListOptions{Prefix: "v1/raw_crash/20260101/"}); ; n++ {
			if _, err := l.Next(b.Context()); err != nil {
				break
			}
		}
		if n != objects {
			b.Fatalf("%d objects", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/objects, "ns/object")
}
