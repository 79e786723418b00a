package e2e

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mayday/symbols/sample"
)

// sendFile posts a form whose one file write makes, without holding it.
func (s *server) sendFile(path, token, filename string, write func(io.Writer) error, header ...string) (int, http.Header, string) {
	s.t.Helper()
	return s.sendFields(path, token, filename, write, nil, header...)
}

// sendFields is sendFile with fields before the file.
func (s *server) sendFields(path, token, filename string, write func(io.Writer) error, fields map[string]string, header ...string) (int, http.Header, string) {
	s.t.Helper()
	r, w := io.Pipe()
	m := multipart.NewWriter(w)
	go func() {
		for name, value := range fields {
			_ = m.WriteField(name, value) // the pipe tells by the next write
		}
		part, err := m.CreateFormFile("file", filename)
		if err == nil {
			err = write(part)
		}
		if err == nil {
			err = m.Close()
		}
		w.CloseWithError(err)
	}()
	rq, err := http.NewRequest(http.MethodPost, s.url+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	rq.Header.Set("Auth-Token", token)
	rq.Header.Set("Content-Type", m.FormDataContentType())
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// symbolLines writes so many bytes of lines that pack as symbol files do.
func symbolLines(w io.Writer, name string, size int) error {
	const id = "44E4EC8C2F41492B9369D6B9A059577C2"
	if _, err := fmt.Fprintf(w, "MODULE Linux x86_64 %s %s\n", id, name); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, uint64(size)))
	var b bytes.Buffer
	for n, address := 0, 0; n < size; {
		b.Reset()
		for range 1000 {
			address += r.IntN(64) + 1
			fmt.Fprintf(&b, "%x %x %d %d\n", address, r.IntN(64), r.IntN(5000), r.IntN(300))
		}
		n += b.Len()
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// An upload that was answered with 202 is finished after the server was
// killed, or said to have failed; it is never left open or half there.
func TestSymbolJobSurvivesKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	token := s.token("build@example.com", "upload_symbols")
	const id = "44E4EC8C2F41492B9369D6B9A059577C2"
	for round, pause := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond} {
		const files = 8
		name := func(i int) string { return fmt.Sprintf("r%df%d.so", round, i) }
		status, header, text := s.sendFile("/upload/", token, "symbols.zip", func(w io.Writer) error {
			z := zip.NewWriter(w)
			for i := range files {
				f, err := z.Create(name(i) + "/" + id + "/" + name(i) + ".sym")
				if err != nil {
					return err
				}
				if err := symbolLines(f, name(i), 2<<20); err != nil {
					return err
				}
			}
			return z.Close()
		}, "Prefer", "respond-async")
		if status != http.StatusAccepted {
			t.Fatalf("%d %s", status, text)
		}
		time.Sleep(pause)
		s.kill()
		s.restart()
		var state struct{ State, Error string }
		s.eventually("the upload ends", func() error {
			status, text := s.getAs(token, strings.TrimPrefix(header.Get("Location"), s.url))
			if err := json.Unmarshal([]byte(text), &state); err != nil || status != 200 {
				return fmt.Errorf("%d %s", status, text)
			}
			if state.State == "working" {
				return fmt.Errorf("still %s", text)
			}
			return nil
		})
		if state.State != "done" {
			t.Errorf("round %d: %+v", round, state)
		}
		for i := range files {
			if status, _ := s.get("/" + name(i) + "/" + id + "/" + name(i) + ".sym"); status != 200 {
				t.Errorf("round %d: file %d: %d", round, i, status)
			}
		}
	}
}

// symbolID is the debug id of made-up symbol files.
const symbolID = "44E4EC8C2F41492B9369D6B9A059577C2"

// repeat writes lines again and again, behind a first line.
func repeat(first, lines string, times int) func(io.Writer, string) error {
	return func(w io.Writer, name string) error {
		if _, err := fmt.Fprintf(w, "MODULE Linux x86_64 %s %s\n%s", symbolID, name, first); err != nil {
			return err
		}
		for range times {
			if _, err := io.WriteString(w, lines); err != nil {
				return err
			}
		}
		return nil
	}
}

// counted writes about so many bytes of lines that are made up.
func counted(first string, size int, line func(n int) string) func(io.Writer, string) error {
	return func(w io.Writer, name string) error {
		b := bufio.NewWriterSize(w, 1<<16)
		fmt.Fprintf(b, "MODULE Linux x86_64 %s %s\n%s", symbolID, name, first)
		for n := 0; size > 0; n++ {
			s := line(n)
			size -= len(s)
			b.WriteString(s)
		}
		return b.Flush()
	}
}

// uploads are archives of hundreds of megabytes, packed and not, and of symbol
// files that are hard to compile.
func uploads() []upload {
	block := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range block {
		block[i] = byte(r.Uint32())
	}
	// member writes a member of an archive, in a store's layout.
	member := func(z *zip.Writer, name, suffix string, write func(io.Writer, string) error) error {
		f, err := z.Create(name + "/" + symbolID + "/" + name + suffix)
		if err != nil {
			return err
		}
		return write(f, name)
	}
	const many = 40 << 20
	hostile := map[string]func(io.Writer, string) error{
		"same.so":   repeat("", strings.Repeat("FUNC 1000 10 0 main\n", 50_000), 50),
		"public.so": repeat("", strings.Repeat("PUBLIC 1000 0 main\n", 50_000), 40),
		"lines.so":  repeat("FUNC 0 ffffffff 0 f\n", strings.Repeat("1000 10 1 0\n", 50_000), 70),
		"inline.so": repeat("FUNC 0 ffffffff 0 f\n", strings.Repeat("INLINE 0 1 1 1 1000 ffff 1000 fff 1000 ff\n", 20_000), 40),
		"names.so":  counted("", many, func(n int) string { return fmt.Sprintf("FUNC %x 40 0 name%d\n", n*7919&0xfffffff, n) }),
		"rules.so":  counted("", many, func(n int) string { return fmt.Sprintf("STACK CFI INIT %x 10 .cfa: %d\n", n*16, n) }),
		"cover.so": counted("", many, func(n int) string {
			return fmt.Sprintf("FUNC %x fffffff 0 f\n%x 4 1 1\nPUBLIC %x 0 p\n", n*16, n*16, n*16+4)
		}),
		"rows.so":  counted("STACK CFI INIT 0 ffffffff a\n", many, func(n int) string { return fmt.Sprintf("STACK CFI %x %d\n", n, n) }),
		"large.so": repeat("", "FUNC 1000 10 0 "+strings.Repeat("x", 150_000)+"\n", 300),
		"module.so": func(w io.Writer, name string) error {
			return sample.Write(w, sample.Options{Name: name, ID: symbolID, Funcs: 200_000})
		},
	}
	names := slices.Sorted(maps.Keys(hostile))
	symbolFiles := upload{path: "/upload/", file: "hostile.zip", status: 201, modules: names}
	symbolFiles.write = func(w io.Writer) error {
		z := zip.NewWriter(w)
		for _, name := range names {
			if err := member(z, name, ".sym", hostile[name]); err != nil {
				return err
			}
		}
		return z.Close()
	}
	mixed := upload{path: "/upload/", file: "symbols.zip", status: 201, modules: []string{"p0.so", "p1.so", "p2.so", "p3.so"}}
	mixed.write = func(w io.Writer) error {
		z := zip.NewWriter(w)
		for i := range 5 { // 320 MB that do not pack
			f, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("m%d.dll/1F/m%d.dl_", i, i), Method: zip.Store})
			if err != nil {
				return err
			}
			for range 64 {
				if _, err := f.Write(block); err != nil {
					return err
				}
			}
		}
		for _, name := range mixed.modules { // 200 MB that pack well
			if err := member(z, name, ".sym", hostile["same.so"]); err != nil {
				return err
			}
		}
		return z.Close()
	}
	bomb := upload{path: "/upload/debug/", file: "huge.zip", status: 400}
	bomb.write = func(w io.Writer) error { // 300 MB of nothing in each
		z := zip.NewWriter(w)
		for i := range 4 {
			f, err := z.Create(fmt.Sprintf("bomb%d", i))
			if err != nil {
				return err
			}
			if _, err := f.Write([]byte("\x7fELF\x02\x01\x01")); err != nil {
				return err
			}
			zero := make([]byte, 1<<20)
			for range 300 {
				if _, err := f.Write(zero); err != nil {
					return err
				}
			}
		}
		return z.Close()
	}
	return []upload{mixed, bomb, symbolFiles}
}

// upload is an archive to send, and the modules in it that are compiled.
type upload struct {
	path, file string
	status     int
	modules    []string
	write      func(io.Writer) error
}

// An upload of hundreds of megabytes is never held in memory, nor are its symbol
// files when they are compiled.
func TestSymbolUploadMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("uploads 400 MB, 2 GB unpacked")
	}
	s := start(t, "--storage.fsync=false")
	token := s.token("build@example.com", "upload_symbols")
	for _, u := range uploads() {
		status, _, text := s.sendFile(u.path, token, u.file, u.write)
		t.Logf("%s: %d %.100s; at most %d MB resident", u.file, status, text, peakKB(t, s.cmd.Process.Pid)>>10)
		if status != u.status {
			t.Errorf("%s: %d %.300s, want %d", u.file, status, text, u.status)
		}
		var all sync.WaitGroup
		for _, name := range u.modules {
			all.Go(func() { s.compiled(name) })
		}
		all.Wait()
		t.Logf("%s: %d modules compiled; at most %d MB resident", u.file, len(u.modules), peakKB(t, s.cmd.Process.Pid)>>10)
	}
	if kb := peakKB(t, s.cmd.Process.Pid); kb > 200<<10 {
		t.Errorf("the server used %d MB, more than 200", kb>>10)
	}
}

// compiled asks for a lookup in a module, which is answered when the module's
// symbols are compiled.
func (s *server) compiled(name string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"memoryMap":[["%s","%s"]],"stacks":[[[0,4096]]]}`, name, symbolID)
	answer, err := http.Post(s.url+"/symbolicate/v5", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if found := `"` + name + "/" + symbolID + `":true`; err != nil || answer.StatusCode != 200 || !strings.Contains(string(text), found) {
		s.t.Errorf("%s: %s %.300s %v", name, answer.Status, text, err)
	}
}

// peakKB is how much memory a process used at most.
func peakKB(t *testing.T, pid int) int { return int(memoryOf(t, pid).Peak >> 10) }

// gdb, which knows nothing of a stripped program but its build id, gets
// functions and lines from a running instance.
func TestGDB(t *testing.T) {
	for _, tool := range []string{"gdb", "gcc", "objcopy", "strip", "readelf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	out, err := exec.Command("gdb", "-nx", "-batch", "-ex", "show debuginfod urls").CombinedOutput()
	if err != nil || strings.Contains(string(out), "not compiled") || strings.Contains(string(out), "Undefined") {
		t.Skipf("gdb knows no debuginfod: %s", out)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const program = "int tear(int n)\n{\n\treturn n * 7;\n}\nint main(int argc, char **argv)\n{\n\treturn tear(argc);\n}\n"
	source := write("sail.c", program)
	tool := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	tool("gcc", "-g", "-O0", "-Wl,--build-id", "-o", "sail", source)
	tool("objcopy", "--only-keep-debug", "sail", "sail.debug")
	tool("strip", "-o", "stripped", "sail")

	s := start(t)
	token := s.token("build@example.com", "upload_symbols")
	ask := func(cache string) string {
		t.Helper()
		c := exec.Command("gdb", "-nx", "-batch", "-iex", "set debuginfod enabled on", "-ex", "info line tear", "-ex", "info scope tear", "-ex", "break tear", "-ex", "list tear", "./stripped")
		c.Dir = dir
		c.Env = append(os.Environ(), "DEBUGINFOD_URLS="+s.url, "DEBUGINFOD_CACHE_PATH="+filepath.Join(dir, cache), "HOME="+dir)
		out, _ := c.CombinedOutput() // it ends with 1 when it finds nothing
		return string(out)
	}
	if before := ask("none"); strings.Contains(before, "sail.c") {
		t.Fatalf("gdb knows the lines already:\n%s", before)
	}
	for _, name := range []string{"sail.debug", "stripped"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		status, _, answer := s.sendFile("/upload/debug/", token, name, func(w io.Writer) error { _, err := w.Write(text); return err })
		if status != 201 {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
	}
	sources := func(w io.Writer) error {
		z := zip.NewWriter(w)
		f, err := z.Create("src/sail.c")
		if err == nil {
			_, err = io.WriteString(f, program)
		}
		if err != nil {
			return err
		}
		return z.Close()
	}
	notes, err := exec.Command("readelf", "-n", filepath.Join(dir, "stripped")).Output()
	id := regexp.MustCompile(`Build ID: ([0-9a-f]+)`).FindSubmatch(notes)
	if err != nil || id == nil {
		t.Fatalf("no build id: %v %s", err, notes)
	}
	if status, _, answer := s.sendFields("/upload/debug/", token, "sail.zip", sources, map[string]string{"sources": string(id[1])}); status != 201 {
		t.Fatalf("sources: %d %s", status, answer)
	}
	if err := os.Remove(source); err != nil { // gdb must ask for it
		t.Fatal(err)
	}
	after := ask("cache")
	for _, want := range []string{"return n * 7;", "Line 2 of \"" + source + "\"", "Symbol n is", "sail.c, line 3"} {
		if !strings.Contains(after, want) {
			t.Errorf("gdb does not say %q:\n%s", want, after)
		}
	}
}
