package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mayday/symbols"
	"mayday/symbols/sample"
	"mayday/test/process"
)

// instance is a running server.
type instance struct {
	url, data string
	cmd       *exec.Cmd
}

// start runs the binary over a data directory, with one processor.
func (b *bench) start(data string) (*instance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	s := &instance{url: "http://" + address, data: data}
	s.cmd = exec.Command(b.binary, "serve", "--role", "web", "--data-dir", data, "--listen", address, "--log.level", "error")
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "MAYDAY_WEB_RATE_LIMIT=0")
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if resp, err := http.Get(s.url + "/__lbheartbeat__"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("the server at %s does not answer", address)
}

func (s *instance) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // it ends by the signal
}

// used is the CPU time of the server.
func (s *instance) used() time.Duration {
	used, err := process.CPU(s.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return used
}

// memory is the largest memory of the server in bytes.
func (s *instance) memory() int64 {
	memory, err := process.MemoryOf(s.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return memory.Peak
}

// place puts a symbol file where an upload would.
func (b *bench) place(data string, id symbols.ModuleID, text string) error {
	rel, ok := id.Path()
	if !ok {
		return fmt.Errorf("%v is no module", id)
	}
	to := filepath.Join(data, "symbols", "v1", filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Link(text, to) == nil {
		return nil
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open(text)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}

// serve asks the symbolication API, first without a compiled file.
func (b *bench) serve(peerFigures) error {
	data := filepath.Join(b.dir, "serve")
	if err := b.place(data, b.module, b.text); err != nil {
		return err
	}
	s, err := b.start(data)
	if err != nil {
		return err
	}
	defer s.stop()
	client := &asker{url: s.url + "/symbolicate/v5"}
	r := rand.New(rand.NewPCG(3, 4))
	const warm, requests = 50, 1000
	bodies := make([][]byte, 1+warm+requests)
	for n := range bodies {
		var stacks [50][20][2]uint64
		for i := range stacks {
			for k := range stacks[i] {
				stacks[i][k][1] = 0x1000 + r.Uint64N(0x6000000)
			}
		}
		if bodies[n], err = json.Marshal(map[string]any{"jobs": []any{map[string]any{"memoryMap": [][2]string{{b.module.DebugFile, b.module.DebugID}}, "stacks": stacks}}}); err != nil {
			return err
		}
	}
	begin, before := time.Now(), s.used()
	if err := client.ask(bodies[0]); err != nil {
		return err
	}
	b.table.add("v5, 50×20 frames, nothing compiled", fmt.Sprintf("%.1f s, CPU %.1f s", time.Since(begin).Seconds(), (s.used()-before).Seconds()), "≤ 10.8 s (¼ of Eliot)", "")
	for _, body := range bodies[1 : 1+warm] {
		if err := client.ask(body); err != nil {
			return err
		}
	}
	begin, before = time.Now(), s.used()
	for _, body := range bodies[1+warm:] {
		if err := client.ask(body); err != nil {
			return err
		}
	}
	b.table.add("v5, 50×20 frames, warm", fmt.Sprintf("%.0f requests/s, %.0f per CPU second", requests/time.Since(begin).Seconds(), requests/(s.used()-before).Seconds()), "≥ 200 (Eliot 2.7)", "")
	return nil
}

// asker asks one request after the other over one connection. It uses little
// time of its own, which would count as the server's.
type asker struct {
	url    string
	answer bytes.Buffer
}

// ask sends a request and checks that most frames were found.
func (a *asker) ask(body []byte) error {
	resp, err := http.Post(a.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	a.answer.Reset()
	if _, err := a.answer.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || bytes.Count(a.answer.Bytes(), []byte(`"function_offset"`)) < 500 {
		return fmt.Errorf("the answer is %s %.200s", resp.Status, a.answer.Bytes())
	}
	return nil
}

// token makes a user with a token that may upload.
func (b *bench) token(data string) (string, error) {
	if out, _, _, err := command(b.binary, "user", "add", "--data-dir", data, "bench@example.com"); err != nil {
		return "", fmt.Errorf("user add: %w %s", err, out)
	}
	out, _, _, err := command(b.binary, "token", "create", "--data-dir", data, "--user", "bench@example.com", "--permissions", "upload_symbols")
	if err != nil {
		return "", fmt.Errorf("token create: %w %s", err, out)
	}
	for _, line := range strings.Fields(string(out)) {
		if len(line) == 32 && symbols.IsHex(line) {
			return line, nil
		}
	}
	return "", fmt.Errorf("no token in %q", out)
}

// archive makes a zip of about 100 MB: 19 symbol files.
func (b *bench) archive(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for i := range uint64(19) {
		id := fmt.Sprintf("%032X0", i+1)
		name := fmt.Sprintf("lib%d.so", i)
		w, err := z.Create(name + "/" + id + "/" + name + ".sym")
		if err != nil {
			return err
		}
		if err := sample.Write(w, sample.Options{Name: name, ID: id, Funcs: 28_000, Seed: i}); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// upload sends the archive, and sends it again.
func (b *bench) upload(peerFigures) error {
	data, path := filepath.Join(b.dir, "upload"), filepath.Join(b.dir, "upload.zip")
	if err := b.archive(path); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	s, err := b.start(data)
	if err != nil {
		return err
	}
	defer s.stop()
	token, err := b.token(data)
	if err != nil {
		return err
	}
	for _, again := range []string{"", ", again"} {
		begin, before := time.Now(), s.used()
		if err := send(s.url, token, path); err != nil {
			return err
		}
		goal := "≤ 11.8 s CPU (¼ of Tecken)"
		if again != "" {
			goal = ""
		}
		b.table.add(fmt.Sprintf("upload of a %d MB zip%s", st.Size()/1e6, again), fmt.Sprintf("CPU %.1f s, %.1f s, %d MB memory", (s.used()-before).Seconds(), time.Since(begin).Seconds(), s.memory()/1e6), goal, "")
	}
	return nil
}

func send(url, token, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	pr, pw := io.Pipe()
	m := multipart.NewWriter(pw)
	go func() {
		w, err := m.CreateFormFile("file", filepath.Base(path))
		if err == nil {
			_, err = io.Copy(w, f)
		}
		if err == nil {
			err = m.Close()
		}
		pw.CloseWithError(err)
	}()
	defer pr.Close()
	req, err := http.NewRequest(http.MethodPost, url+"/upload/", pr)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", m.FormDataContentType())
	req.Header.Set("Auth-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("the upload answers %s %.300s", resp.Status, answer)
	}
	return err
}

// download gets a small symbol file over a few connections that stay open.
func (b *bench) download(peerFigures) error {
	data, path := filepath.Join(b.dir, "download"), filepath.Join(b.dir, "small.sym")
	id := symbols.ModuleID{DebugFile: "small.so", DebugID: "0123456789ABCDEF0123456789ABCDEF0"}
	var text bytes.Buffer
	if err := sample.Write(&text, sample.Options{Name: id.DebugFile, ID: id.DebugID, Funcs: 19}); err != nil {
		return err
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := b.place(data, id, path); err != nil {
		return err
	}
	s, err := b.start(data)
	if err != nil {
		return err
	}
	defer s.stop()
	rel, _ := id.Path()
	var done atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	const connections, length = 4, 5 * time.Second
	begin, before := time.Now(), s.used()
	for range connections {
		all.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			for time.Since(begin) < length {
				resp, err := c.Get(s.url + "/" + rel)
				if err == nil {
					var n int64
					n, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err == nil && (resp.StatusCode != http.StatusOK || n != int64(text.Len())) {
						err = fmt.Errorf("%s, %d bytes of %d", resp.Status, n, text.Len())
					}
				}
				if err != nil {
					failed.Store(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return err
	}
	n := float64(done.Load())
	b.table.add(fmt.Sprintf("download of %d kB", text.Len()/1000), fmt.Sprintf("%.0f/s, %.0f per CPU second of the server", n/time.Since(begin).Seconds(), n/(s.used()-before).Seconds()), "≥ 2000/s", "")
	return nil
}
