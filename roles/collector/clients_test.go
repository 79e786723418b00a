package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayday/minidump/synth"
	"mayday/storage"
)

// The clients that these tests drive, where a system has them: Debian's
// packages chromium and firefox-esr, or the paths in the environment.
func client(t *testing.T, variable, path string) string {
	t.Helper()
	if named := os.Getenv(variable); named != "" {
		path = named
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("MAYDAY_TEST_NEEDS_CLIENTS") != "" {
			t.Fatalf("MAYDAY_TEST_NEEDS_CLIENTS is set and %v", err)
		}
		t.Skipf("%s is not installed; name one with %s", filepath.Base(path), variable)
	}
	return path
}

func sample(annotations ...synth.Pair) []byte {
	return (&synth.Dump{Crashpad: &synth.Crashpad{Report: [16]byte{1}, Client: [16]byte{2}, Simple: annotations}}).Bytes()
}

// TestCrashpadHandler gives Crashpad's own handler a database with a pending
// report and waits for the report to be marked as uploaded.
func TestCrashpadHandler(t *testing.T) {
	handler := client(t, "CRASHPAD_HANDLER", "/usr/lib/chromium/chrome_crashpad_handler")
	for _, flags := range [][]string{nil, {"--no-upload-gzip", "--no-identify-client-via-url"}} {
		s := open(t, nil)
		const report = "01234567-89ab-4def-8123-456789abcdef"
		db := t.TempDir()
		write := func(name string, data []byte) {
			t.Helper()
			path := filepath.Join(db, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{"new", "completed", "attachments"} {
			if err := os.MkdirAll(filepath.Join(db, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		// Layouts of Crashpad's generic database: settings, and a report's metadata.
		var settings, meta bytes.Buffer
		for _, v := range []any{uint32(0x43506473), uint32(1), uint32(1) /* uploads on */, uint32(0), int64(0), [16]byte{7}} {
			binary.Write(&settings, binary.LittleEndian, v)
		}
		for _, v := range []any{int32(1), int32(0), int64(0), time.Now().Unix(), [8]byte{} /* attributes, padding */} {
			binary.Write(&meta, binary.LittleEndian, v)
		}
		dump := sample(synth.Pair{Key: "prod", Value: "Aye-Aye"}, synth.Pair{Key: "ver", Value: "2.1"}, synth.Pair{Key: "ptype", Value: "renderer"})
		write("settings.dat", settings.Bytes())
		write("pending/"+report+".meta", meta.Bytes())
		write("pending/"+report+".dmp", dump)

		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, handler, append([]string{"--database=" + db, "--url=http://" + s.addr + "/submit", "--no-rate-limit", "--initial-client-fd=3"}, flags...)...)
		cmd.ExtraFiles = []*os.File{theirs}
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		completed := filepath.Join(db, "completed", report+".meta")
		// The handler moves the metadata first and writes the id into it after that.
		for ctx.Err() == nil {
			if now, err := os.Stat(completed); err == nil && now.Size() > int64(meta.Len()) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		cmd.Process.Kill() // it waits for more
		cmd.Wait()
		ours.Close()
		after, err := os.ReadFile(completed)
		if err != nil {
			t.Fatalf("the report was not uploaded: %v; the handler says %s", err, said.String())
		}
		// The whole answer is kept as the report's id.
		id, err := storage.ParseCrashID(string(after[meta.Len():]))
		if err != nil {
			t.Fatalf("Crashpad keeps %q as the id", after[meta.Len():])
		}
		raw := s.rawCrash(t, id)
		for name, want := range map[string]string{"prod": "Aye-Aye", "ProductName": "Aye-Aye", "Version": "2.1", "ProcessType": "renderer"} {
			if got := raw.Text(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if s.dump(t, id, storage.MinidumpName) != string(dump) {
			t.Error("the dump came back changed")
		}
	}
}

// TestFirefoxReporter has Firefox's crash reporter send a report by itself.
func TestFirefoxReporter(t *testing.T) {
	reporter := client(t, "FIREFOX_CRASHREPORTER", "/usr/lib/firefox-esr/crashreporter")
	s := open(t, nil)
	// Not t.TempDir: what the reporter starts goes on writing for a moment.
	dir, err := os.MkdirTemp("", "mayday-reporter-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for try := 0; os.RemoveAll(dir) != nil && try < 50; try++ {
			time.Sleep(100 * time.Millisecond)
		}
	})
	for _, sub := range []string{"pending", "events"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(dir, "pending", "11111111-2222-4333-8444-555555555555")
	dump := sample()
	if err := os.WriteFile(base+".dmp", dump, 0o600); err != nil {
		t.Fatal(err)
	}
	url := "http://" + s.addr + "/submit"
	extra := `{"ProductName":"Firefox","Vendor":"Mozilla","Version":"153.7.0","BuildID":"20261121000000","ReleaseChannel":"nightly","CrashTime":"1795255248","ServerURL":"` + url + `"}`
	if err := os.WriteFile(base+".extra", []byte(extra), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, reporter, base+".dmp")
	cmd.Env = append(os.Environ(), "HOME="+dir, "LD_LIBRARY_PATH="+filepath.Dir(reporter), "MOZ_CRASHREPORTER_AUTO_SUBMIT=1", "MOZ_CRASHREPORTER_URL="+url,
		"MOZ_CRASHREPORTER_DATA_DIRECTORY="+dir, "MOZ_CRASHREPORTER_EVENTS_DIRECTORY="+filepath.Join(dir, "events"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the reporter ends with %v and says %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "submitted", "bp-*.txt"))
	if err != nil || len(found) != 1 {
		t.Fatalf("submitted: %v, %v", found, err)
	}
	id, err := storage.FindCrashID(strings.TrimSuffix(filepath.Base(found[0]), ".txt"))
	if err != nil {
		t.Fatal(err)
	}
	raw := s.rawCrash(t, id)
	if raw.Text("ProductName") != "Firefox" || raw.Text("SubmittedFrom") == "" || s.dump(t, id, storage.MinidumpName) != string(dump) {
		t.Errorf("raw crash %v", raw)
	}
}
