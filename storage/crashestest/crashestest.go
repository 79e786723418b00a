// Package crashestest is the suite that says whether a bucket can hold
// crashes: each kind of bucket the program supports runs it.
package crashestest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"

	"mayday/app/fault"
	"mayday/storage"
)

// Run tests storage.Crashes over the buckets that open makes; each call must
// give an empty one, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) *blob.Bucket) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *storage.Crashes, *blob.Bucket)
	}{
		{"raw crash", testRaw},
		{"keys", testKeys},
		{"order of writes", testOrder},
		{"failing dump", testFailingDump},
		{"cancelled save", testCancelled},
		{"processed crash", testProcessed},
		{"delete", testDelete},
		{"list", testList},
		{"verdict", testVerdict},
		{"snapshot", testSnapshot},
		{"old layout", testOldLayout},
		{"broken objects", testBroken},
		{"large dump", testLargeDump},
		{"concurrent", testConcurrent},
		{"health", testHealth},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() { b.Close() })
			c.test(t, storage.NewCrashes(b, storage.Options{Uploads: 4}), b)
		})
	}
}

var received = time.Date(2026, 3, 14, 23, 59, 0, 0, time.UTC)

// Bytes makes a dump that is held in memory.
func Bytes(name string, data []byte) storage.Dump {
	return storage.Dump{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

func raw() storage.RawCrash {
	return storage.RawCrash{"ProductName": "Aye-Aye", "Comments": "naïve ☃ 🦊 <b>", "Count": json.Number("18446744073709551615"), "Empty": ""}
}

func save(t *testing.T, c *storage.Crashes, dumps ...storage.Dump) storage.CrashID {
	t.Helper()
	id := storage.NewCrashID(received, storage.Accepted)
	if err := c.SaveRaw(t.Context(), id, raw(), dumps); err != nil {
		t.Fatal(err)
	}
	return id
}

func content(t *testing.T, c *storage.Crashes, id storage.CrashID, name string) []byte {
	t.Helper()
	r, err := c.OpenDump(t.Context(), id, name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != r.Size {
		t.Errorf("dump %s: size %d, read %d bytes", name, r.Size, len(data))
	}
	return data
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("error %v is %v, want %v", err, fault.Of(err), want)
	}
}

func keys(t *testing.T, b *blob.Bucket) []string {
	t.Helper()
	var out []string
	for l := b.List(nil); ; {
		o, err := l.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.Key)
	}
}

func testRaw(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	ctx := t.Context()
	id := save(t, c, Bytes("memory_report", []byte("zz")), Bytes(storage.MinidumpName, []byte("MDMP")))
	got, err := c.Raw(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(raw(), got); d != "" {
		t.Errorf("raw crash (-want +got):\n%s", d)
	}
	names, err := c.DumpNames(ctx, id)
	if d := cmp.Diff([]string{"memory_report", storage.MinidumpName}, names); d != "" || err != nil {
		t.Errorf("dump names, error %v (-want +got):\n%s", err, d)
	}
	if got := string(content(t, c, id, storage.MinidumpName)); got != "MDMP" {
		t.Errorf("dump = %q", got)
	}
	if ok, err := c.HasRaw(ctx, id); !ok || err != nil {
		t.Errorf("HasRaw = %v, %v", ok, err)
	}

	bare := save(t, c)
	if names, err := c.DumpNames(ctx, bare); len(names) != 0 || err != nil {
		t.Errorf("dump names of a crash without dumps = %v, %v", names, err)
	}

	none := storage.NewCrashID(received, storage.Accepted)
	_, err = c.Raw(ctx, none)
	wantKind(t, err, fault.NotFound)
	_, err = c.DumpNames(ctx, none)
	wantKind(t, err, fault.NotFound)
	_, err = c.OpenDump(ctx, none, storage.MinidumpName)
	wantKind(t, err, fault.NotFound)
	_, err = c.OpenDump(ctx, id, "../raw_crash")
	wantKind(t, err, fault.Invalid)
	if ok, err := c.HasRaw(ctx, none); ok || err != nil {
		t.Errorf("HasRaw of no crash = %v, %v", ok, err)
	}
	for _, names := range [][]string{{"raw_crash"}, {"a/b"}, {""}, {"x", "x"}, {"dump", storage.MinidumpName}} {
		var dumps []storage.Dump
		for _, n := range names {
			dumps = append(dumps, Bytes(n, nil))
		}
		wantKind(t, c.SaveRaw(ctx, none, raw(), dumps), fault.Invalid)
	}
}

func testKeys(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	id := save(t, c, Bytes("app.log", []byte("zz")), Bytes(storage.MinidumpName, []byte("MDMP")))
	if err := c.SaveProcessed(t.Context(), id, storage.ProcessedCrash{"uuid": string(id)}); err != nil {
		t.Fatal(err)
	}
	s := string(id)
	want := []string{"v1/app.log/" + s, "v1/dump/" + s, "v1/dump_names/" + s, "v1/processed_crash/" + s, "v1/raw_crash/20260314/" + s}
	if d := cmp.Diff(want, keys(t, b)); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	text, err := b.ReadAll(t.Context(), want[4])
	if err != nil {
		t.Fatal(err)
	}
	const doc = `{"Comments":"na\u00efve \u2603 \ud83e\udd8a <b>","Count":18446744073709551615,"Empty":"","ProductName":"Aye-Aye"}`
	if string(text) != doc {
		t.Errorf("raw crash is stored as\n%s, want\n%s", text, doc)
	}
}

func testOrder(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	id := storage.NewCrashID(received, storage.Accepted)
	var seen []string
	look := func(name string) storage.Dump {
		return storage.Dump{Name: name, Open: func() (io.ReadCloser, error) {
			seen = keys(t, b)
			return io.NopCloser(bytes.NewReader(nil)), nil
		}}
	}
	if err := c.SaveRaw(t.Context(), id, raw(), []storage.Dump{look("a"), look("b")}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"v1/a/" + string(id)}, seen); d != "" {
		t.Errorf("before the last dump the bucket holds (-want +got):\n%s", d)
	}
}

// failingReader gives some bytes and then an error.
type failingReader struct{ left int }

func (f *failingReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("the disk is gone")
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

func testFailingDump(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	id := storage.NewCrashID(received, storage.Accepted)
	bad := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(&failingReader{left: 100_000}), nil
	}}
	if err := c.SaveRaw(t.Context(), id, raw(), []storage.Dump{bad}); err == nil {
		t.Error("a dump that cannot be read was saved")
	}
	if got := keys(t, b); len(got) != 0 {
		t.Errorf("a failed save left %v", got)
	}
}

func testCancelled(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	id := storage.NewCrashID(received, storage.Accepted)
	ctx, cancel := context.WithCancel(t.Context())
	slow := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(bytes.NewReader(make([]byte, 100_000))), nil
	}}
	wantKind(t, c.SaveRaw(ctx, id, raw(), []storage.Dump{slow}), fault.Canceled)
	if got := keys(t, b); len(got) != 0 {
		t.Errorf("a cancelled save left %v", got)
	}
}

func testProcessed(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	ctx := t.Context()
	id := save(t, c)
	_, err := c.Processed(ctx, id)
	wantKind(t, err, fault.NotFound)
	for _, signature := range []string{"a | b", "c"} {
		if err := c.SaveProcessed(ctx, id, storage.ProcessedCrash{"signature": signature}); err != nil {
			t.Fatal(err)
		}
		p, err := c.Processed(ctx, id)
		if err != nil || p.Text("signature") != signature {
			t.Errorf("processed = %v, %v; want signature %q", p, err, signature)
		}
	}
	if ok, err := c.HasProcessed(ctx, id); !ok || err != nil {
		t.Errorf("HasProcessed = %v, %v", ok, err)
	}
}

func testDelete(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	ctx := t.Context()
	id := save(t, c, Bytes("memory_report", []byte("zz")), Bytes(storage.MinidumpName, []byte("MDMP")))
	other := save(t, c, Bytes(storage.MinidumpName, []byte("MDMP")))
	if err := c.SaveProcessed(ctx, id, storage.ProcessedCrash{}); err != nil {
		t.Fatal(err)
	}
	listed, err := c.Objects(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := c.Delete(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, o := range removed {
		what = append(what, o.What)
	}
	want := []string{"raw_crash", "processed_crash", "dump_memory_report", "dump_upload_file_minidump", "dump_names"}
	if d := cmp.Diff(want, what); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	if len(listed) != len(removed) || listed[2].SizeBytes != 2 {
		t.Errorf("listed %v", listed)
	}
	if removed, err := c.Delete(ctx, id); len(removed) != 0 || err != nil {
		t.Errorf("second delete = %v, %v", removed, err)
	}
	left := keys(t, b)
	if len(left) != 3 || !slices.Contains(left, "v1/dump/"+string(other)) {
		t.Errorf("left %v, want the other crash alone", left)
	}
}

func testList(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	ctx := t.Context()
	var want []storage.CrashID
	for i := range 25 {
		id := storage.NewCrashID(received.AddDate(0, 0, i%2), storage.Accepted)
		if err := c.SaveRaw(ctx, id, raw(), nil); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	var got []storage.CrashID
	for id, err := range c.ListRaw(ctx, received) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, id)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ids of the day (-want +got):\n%s", d)
	}
	var days []string
	for day, err := range c.Days(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		days = append(days, day.Format("20060102"))
	}
	if d := cmp.Diff([]string{"20260314", "20260315"}, days); d != "" {
		t.Errorf("days (-want +got):\n%s", d)
	}
	for id, err := range c.ListRaw(ctx, received.AddDate(0, 0, 9)) {
		t.Errorf("an empty day lists %v, %v", id, err)
	}
}

func testVerdict(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	ctx := t.Context()
	id := save(t, c)
	_, err := c.Verdict(ctx, id)
	wantKind(t, err, fault.NotFound)
	want := storage.Verdict{Reason: "panic: index out of range", Tries: 5, Time: received, Queue: "standard"}
	if err := c.SaveVerdict(ctx, id, want); err != nil {
		t.Fatal(err)
	}
	got, err := c.Verdict(ctx, id)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("verdict, error %v (-want +got):\n%s", err, d)
	}
	for range 2 {
		if err := c.DeleteVerdict(ctx, id); err != nil {
			t.Error(err)
		}
	}
	for id, err := range c.ListVerdicts(ctx) {
		t.Errorf("a deleted verdict is listed: %v, %v", id, err)
	}
}

func testSnapshot(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	ctx := t.Context()
	var got map[string]int
	_, err := c.Snapshot(ctx, "product_versions", &got)
	wantKind(t, err, fault.NotFound)
	for i := range 2 {
		if err := c.SaveSnapshot(ctx, "product_versions", map[string]int{"a": i}); err != nil {
			t.Fatal(err)
		}
	}
	published, err := c.Snapshot(ctx, "product_versions", &got)
	if err != nil || got["a"] != 1 || time.Since(published) > time.Hour {
		t.Errorf("snapshot = %v of %v, %v", got, published, err)
	}
	wantKind(t, c.SaveSnapshot(ctx, "../x", 1), fault.Invalid)
}

func testOldLayout(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	ctx := t.Context()
	id := storage.NewCrashID(received, storage.Accepted)
	for key, text := range map[string]string{
		"v2/raw_crash/" + string(id[:3]) + "/20260314/" + string(id): `{"ProductName": "Old"}`,
		"v1/dump_names/" + string(id):                                `["upload_file_minidump"]`,
		"v1/dump/" + string(id):                                      "MDMP",
	} {
		if err := b.WriteAll(ctx, key, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Raw(ctx, id)
	if err != nil || got.Text("ProductName") != "Old" {
		t.Errorf("raw = %v, %v", got, err)
	}
	if removed, err := c.Delete(ctx, id); len(removed) != 3 || err != nil {
		t.Errorf("delete = %v, %v", removed, err)
	}
}

func testBroken(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	ctx := t.Context()
	id := storage.NewCrashID(received, storage.Accepted)
	key := "v1/raw_crash/20260314/" + string(id)
	for _, text := range []string{"", "{", "null", "[]", `{"a":1} x`, "\x00"} {
		if err := b.WriteAll(ctx, key, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
		_, err := c.Raw(ctx, id)
		wantKind(t, err, fault.Malformed)
	}
	for _, text := range []string{"", "{}", `["../x"]`, `["raw_crash"]`} {
		if err := b.WriteAll(ctx, "v1/dump_names/"+string(id), []byte(text), nil); err != nil {
			t.Fatal(err)
		}
		_, err := c.DumpNames(ctx, id)
		wantKind(t, err, fault.Malformed)
	}
	if removed, err := c.Delete(ctx, id); len(removed) != 2 || err != nil {
		t.Errorf("delete of a broken crash = %v, %v", removed, err)
	}
}

func testLargeDump(t *testing.T, c *storage.Crashes, _ *blob.Bucket) {
	data := make([]byte, 6<<20+17)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	id := save(t, c, Bytes(storage.MinidumpName, data))
	if !bytes.Equal(content(t, c, id, storage.MinidumpName), data) {
		t.Error("a dump of 6 MiB came back changed")
	}
}

func testConcurrent(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	id := storage.NewCrashID(received, storage.Accepted)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 70_000)
			if err := c.SaveRaw(t.Context(), id, raw(), []storage.Dump{Bytes(storage.MinidumpName, data)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := content(t, c, id, storage.MinidumpName)
	if len(got) != 70_000 || !bytes.Equal(got, bytes.Repeat(got[:1], 70_000)) {
		t.Error("writes of one key were mixed")
	}
	if got := keys(t, b); len(got) != 3 {
		t.Errorf("keys %v", got)
	}
}

func testHealth(t *testing.T, c *storage.Crashes, b *blob.Bucket) {
	if err := c.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if got := keys(t, b); len(got) != 0 {
		t.Errorf("Verify left %v", got)
	}
}
