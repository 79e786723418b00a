package symbolicate

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
	"mayday/symbols/cache"
)

const libID = "0123456789ABCDEF0123456789ABCDEF0"

// lib is a symbol file with one function, in which calls are inlined.
const lib = `MODULE windows x86_64 ` + libID + ` lib.pdb
INFO CODE_ID 5CBF123A1F000 lib.dll
FILE 0 C:\src\..\src\a.c
FILE 1 b.h
INLINE_ORIGIN 0 inner
FUNC 1000 40 0 outer
INLINE 0 11 0 0 1010 20
1000 10 1 0
1010 20 2 1
1030 10 0 0
FUNC 2000 10 0 
`

// store writes symbol files to a directory in Breakpad's layout.
func store(t testing.TB, texts map[symbols.ModuleID]string) string {
	t.Helper()
	dir := t.TempDir()
	for id, text := range texts {
		p, ok := id.Path()
		if !ok {
			t.Fatalf("%+v has no path", id)
		}
		p = filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func libStore(t testing.TB) string {
	return store(t, map[symbols.ModuleID]string{
		{DebugFile: "lib.pdb", DebugID: libID}:                                 lib,
		{DebugFile: "other.pdb", DebugID: "11111111111111111111111111111111A"}: lib,
		{DebugFile: "empty.pdb", DebugID: libID}:                               "",
	})
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAnswers(t *testing.T) {
	srv := serve(t, libStore(t))
	for _, c := range []struct{ name, path, body, want string }{
		{"v5", "v5", `{"jobs":[{"memoryMap":[["lib.pdb","` + libID + `"],["gone.pdb","ABC0"],["unused.pdb","ABC0"]],
			"stacks":[[[0,4112],[0,4096],[0,4144],[0,8192],[0,12288],[0,-1]],[[1,16],[-1,5]]]}]}`,
			`{"results":[{"stacks":[[
			{"frame":0,"module":"lib.dll","module_offset":"0x1010","function":"outer","function_offset":"0x10","file":"C:\\src\\a.c","line":11,
			 "inlines":[{"function":"inner","file":"b.h","line":2}]},
			{"frame":1,"module":"lib.dll","module_offset":"0x1000","function":"outer","function_offset":"0x0","file":"C:\\src\\a.c","line":1},
			{"frame":2,"module":"lib.dll","module_offset":"0x1030","function":"outer","function_offset":"0x30","file":"C:\\src\\a.c"},
			{"frame":3,"module":"lib.dll","module_offset":"0x2000","function":"<unknown>","function_offset":"0x0"},
			{"frame":4,"module":"lib.dll","module_offset":"0x3000"},
			{"frame":5,"module":"lib.dll","module_offset":"-0x1"}],
			[{"frame":0,"module":"gone.pdb","module_offset":"0x10"},{"frame":1,"module":"<unknown>","module_offset":"0x5"}]],
			"found_modules":{"lib.pdb/` + libID + `":true,"gone.pdb/ABC0":false,"unused.pdb/ABC0":null}}]}`},
		{"v5, one job, id in lower case", "v5", `{"memoryMap":[["lib.pdb","` + strings.ToLower(libID) + `"]],"stacks":[[[0,4096]]]}`,
			`{"results":[{"stacks":[[{"frame":0,"module":"lib.dll","module_offset":"0x1000","function":"outer","function_offset":"0x0","file":"C:\\src\\a.c","line":1}]],
			"found_modules":{"lib.pdb/` + strings.ToLower(libID) + `":true}}]}`},
		{"v5, needed by another job", "v5", `{"jobs":[{"memoryMap":[["empty.pdb","` + libID + `"]],"stacks":[[]]},{"memoryMap":[["empty.pdb","` + libID + `"]],"stacks":[[[0,1]]]}]}`,
			`{"results":[{"stacks":[[]],"found_modules":{"empty.pdb/` + libID + `":false}},
			{"stacks":[[{"frame":0,"module":"empty.pdb","module_offset":"0x1"}]],"found_modules":{"empty.pdb/` + libID + `":false}}]}`},
		{"v4", "v4", `{"memoryMap":[["lib.pdb","` + libID + `"]],"stacks":[[[0,4112],[0,1]]],"version":4}`,
			`{"symbolicatedStacks":[["outer (in lib.dll)","0x1 (in lib.dll)"]],"knownModules":[true]}`},
		{"v6", "v6", `{"options":{"adjust_return_addresses":true},"memoryMap":[["lib.pdb","` + libID + `"],["other.pdb","11111111111111111111111111111111A"],["empty.pdb","` + libID + `"],["gone.pdb","AB"]],
			"stacks":[[[0,4112],[0,4112],[1,1],[2,2]]]}`,
			`{"results":[{"stacks":[[
			{"frame":0,"module":"lib.dll","module_offset":"0x1010","function":"outer","function_offset":"0x10","file":"C:\\src\\a.c","line":11,
			 "inlines":[{"function":"inner","file":"b.h","line":2}]},
			{"frame":1,"module":"lib.dll","module_offset":"0x1010","function":"outer","function_offset":"0x10","file":"C:\\src\\a.c","line":1},
			{"frame":2,"module":"other.pdb","module_offset":"0x1"},{"frame":3,"module":"empty.pdb","module_offset":"0x2"}]],
			"modules":[{"debug_file":"lib.pdb","debug_id":"` + libID + `","found":true,"name":"lib.dll"},
			{"debug_file":"other.pdb","debug_id":"11111111111111111111111111111111A","found":false,"name":"other.pdb","reason":"wrong id"},
			{"debug_file":"empty.pdb","debug_id":"` + libID + `","found":false,"name":"empty.pdb","reason":"malformed"},
			{"debug_file":"gone.pdb","debug_id":"AB","found":null}]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, got := post(t, srv.URL+"/symbolicate/"+c.path, c.body)
			if status != http.StatusOK {
				t.Fatalf("got status %d: %s", status, got)
			}
			sameJSON(t, got, c.want)
		})
	}
}

func TestRefusals(t *testing.T) {
	srv := serve(t, libStore(t))
	stacks := func(s string) string {
		return `{"memoryMap":[["a","AB"]],"stacks":` + s + `}`
	}
	for _, c := range []struct{ path, body, want string }{
		{"v5", ``, "Payload is not valid JSON"},
		{"v5", `{} x`, "Payload is not valid JSON"},
		{"v5", `null`, "job 0 is invalid"},
		{"v5", `{"jobs":null}`, "jobs must be a list"},
		{"v5", `{"jobs":7}`, "jobs must be a list"},
		{"v5", `{"jobs":"text"}`, "job 0 is invalid"},
		{"v5", `{"jobs":"a longer text"}`, "please limit number of jobs in a single request to <= 10"},
		{"v5", `{"jobs":{"memoryMap":[],"stacks":[[]]}}`, "job 0 is invalid"},
		{"v5", `{"jobs":[1]}`, "job 0 is invalid"},
		{"v5", `{"x":"` + "\xff" + `"}`, "Payload is not valid JSON"},
		{"v5", `{"jobs":[` + strings.Repeat("{},", 10) + `{}]}`, "please limit number of jobs in a single request to <= 10"},
		{"v5", `{}`, "job 0 is invalid: no stacks specified"},
		{"v5", `{"stacks":[]}`, "job 0 is invalid: no memoryMap specified"},
		{"v5", `{"stacks":[],"memoryMap":7}`, "job 0 has invalid modules: modules must be a list"},
		{"v5", `{"stacks":[],"memoryMap":[["a"]]}`, "job 0 has invalid modules: module index 0 does not have a debug_filename and debug_id"},
		{"v5", `{"stacks":[],"memoryMap":[["a","A"],["a/b","A"]]}`, "job 0 has invalid modules: module index 1 has an invalid debug_filename"},
		{"v5", `{"stacks":[],"memoryMap":[["a","G"]]}`, "job 0 has invalid modules: module index 0 has an invalid debug_id"},
		{"v5", stacks(`{}`), "job 0 has invalid stacks: stacks must be a list of lists"},
		{"v5", stacks(`[]`), "job 0 has invalid stacks: no stacks specified"},
		{"v5", stacks(`[1]`), "job 0 has invalid stacks: stack 0 is not a list"},
		{"v5", stacks(`[[],[[0,1],[0]]]`), "job 0 has invalid stacks: stack 1 frame 1 is not a list of two items"},
		{"v5", stacks(`[[["0",1]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_index"},
		{"v5", stacks(`[[[1,1]]]`), "job 0 has invalid stacks: stack 0 frame 0 has a module_index that isn't in modules"},
		{"v5", stacks(`[[[1.0,1]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_index"},
		{"v5", stacks(`[[[18446744073709551616,1]]]`), "job 0 has invalid stacks: stack 0 frame 0 has a module_index that isn't in modules"},
		{"v5", stacks(`[[[-2,1]]]`), "job 0 has invalid stacks: stack 0 frame 0 has a module_index that isn't in modules"},
		{"v5", stacks(`[[[0,-2]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset"},
		{"v5", stacks(`[[[0,1.0]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset"},
		{"v5", stacks(`[[[0,1e3]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset"},
		{"v5", stacks(`[[[0,18446744073709551616]]]`), "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset"},
		{"v4", `[1]`, "job 0 is invalid"},
		{"v4", `{"jobs":[]}`, "job 0 is invalid: no stacks specified"},
		{"v6", `{"options":{"x":true},"memoryMap":[],"stacks":[[]]}`, `options: "x" is not an option with a boolean value; there is adjust_return_addresses`},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			status, got := post(t, srv.URL+"/symbolicate/"+c.path, c.body)
			if status != http.StatusBadRequest {
				t.Errorf("got status %d, want 400", status)
			}
			want, err := json.Marshal(map[string]string{"title": c.want})
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, got, string(want))
		})
	}
}

func TestTransport(t *testing.T) {
	srv := serve(t, libStore(t))
	request := `{"memoryMap":[["lib.pdb","` + libID + `"]],"stacks":[[[0,4096]],[[0,4112]]]}`
	do := func(method, path, body string, header ...string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, b
	}
	if resp, _ := do("GET", "/symbolicate/v5", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: got status %d, want 405", resp.StatusCode)
	}
	resp, _ := do("OPTIONS", "/symbolicate/v5", "", "Origin", "https://profiler.example", "Access-Control-Request-Method", "POST")
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: got status %d, header %v", resp.StatusCode, resp.Header)
	}
	resp, _ = do("POST", "/symbolicate/v5", request, "Content-Type", "application/x-www-form-urlencoded")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("another content type: got status %d, header %v", resp.StatusCode, resp.Header)
	}
	_, b := do("POST", "/symbolicate/v5", request, "Debug", "true")
	var debug struct {
		Debug struct {
			Time    float64
			Modules struct {
				Count  int
				Stacks map[string]int `json:"stacks_per_module"`
			}
			Cache struct{ Count, Hits int } `json:"cache_lookups"`
		}
	}
	if err := json.Unmarshal(b, &debug); err != nil {
		t.Fatal(err)
	}
	if d := debug.Debug; d.Modules.Count != 1 || d.Modules.Stacks["lib.pdb/"+libID] != 1 || d.Cache.Hits != 1 {
		t.Errorf("debug: got %+v in %s", d, b)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, request)
	z.Close()
	if resp, b := do("POST", "/symbolicate/v6", packed.String(), "Content-Encoding", "gzip"); resp.StatusCode != http.StatusOK {
		t.Errorf("gzip: got status %d: %s", resp.StatusCode, b)
	}
	if resp, _ := do("POST", "/symbolicate/v6", "no gzip", "Content-Encoding", "gzip"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("broken gzip: got status %d, want 400", resp.StatusCode)
	}
	bomb := bytes.Buffer{}
	z = gzip.NewWriter(&bomb)
	for range maxBody>>20 + 1 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	if resp, _ := do("POST", "/symbolicate/v6", bomb.String(), "Content-Encoding", "gzip"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that unpacks to too much: got status %d, want 413", resp.StatusCode)
	}
	resp, b = do("POST", "/symbolicate/v6", request, "Accept", "application/x-ndjson")
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if resp.Header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 3 {
		t.Fatalf("stream: got %d lines of %s", len(lines), resp.Header.Get("Content-Type"))
	}
	sameJSON(t, []byte(lines[0]), `{"job":0,"stack":0,"frames":[{"frame":0,"module":"lib.dll","module_offset":"0x1000","function":"outer","function_offset":"0x0","file":"C:\\src\\a.c","line":1}]}`)
	sameJSON(t, []byte(lines[2]), `{"job":0,"modules":[{"debug_file":"lib.pdb","debug_id":"`+libID+`","found":true,"name":"lib.dll"}]}`)
}

func engine(t testing.TB, dir string) *Engine {
	s := cache.New(cache.Options{Dir: t.TempDir(), Fetch: dirFetch(dir)})
	t.Cleanup(func() { s.Close() })
	return New(s)
}

func TestText(t *testing.T) {
	e := engine(t, store(t, map[symbols.ModuleID]string{
		{DebugFile: "lib.pdb", DebugID: libID}:                                 lib,
		{DebugFile: "b.so", DebugID: "03020100000000000000000000000000" + "0"}: "MODULE Linux x86_64 030201000000000000000000000000000 b.so\nFUNC 10 8 0 b()\n",
	}))
	in := "start\n#0 0x7f (C:\\x\\lib.pdb+0x1010)\n#1 [lib.pdb +0x1000] tail\n#2 (/x/b.so+0x12) (BuildId: 0001020300000000)\n#3 (none.so+0x12)\n#4 (lib.pdb+0x9999)"
	want := "start\n#0 0x7f (inner (b.h:2, inlined in lib.dll))\n#0 0x7f (outer (C:\\src\\a.c:11, in lib.dll))\n#1 [outer (C:\\src\\a.c:1, in lib.dll)] tail\n" +
		"#2 (b() (in b.so)) (BuildId: 0001020300000000)\n#3 (none.so+0x12)\n#4 (lib.pdb+0x9999)"
	in = strings.ReplaceAll(in, "0001020300000000", "00010203")
	want = strings.ReplaceAll(want, "0001020300000000", "00010203")
	var got strings.Builder
	err := e.Text(t.Context(), strings.NewReader(in), &got, func(file string) string {
		if file == "lib.pdb" {
			return libID
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	got.Reset()
	if err := e.Text(t.Context(), strings.NewReader("MODULE windows x86_64 "+libID+" lib.pdb\n(lib.pdb+0x1000)\n"), &got, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.String(), "outer") {
		t.Errorf("an id in the text does not count: %s", got.String())
	}
}

func FuzzSymbolicateRequest(f *testing.F) {
	f.Add([]byte(`{"jobs":[{"memoryMap":[["lib.pdb","` + libID + `"]],"stacks":[[[0,4112],[0,-1],[-1,3]]]}]}`))
	f.Add([]byte(`{"memoryMap":[["",""]],"stacks":[[[true,18446744073709551615]]],"options":{"adjust_return_addresses":true}}`))
	e := engine(f, libStore(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeJSON(b)
		if err != nil {
			return
		}
		if o, err := parseOptions(v); err == nil && o.Adjust {
			t.Log("adjusts")
		}
		answer, err := e.JSON(context.Background(), b)
		if err == nil && !json.Valid(answer) {
			t.Fatalf("the answer is no JSON: %s", answer)
		}
		if job, err := parseJob(v, 0); err == nil {
			s, err := e.start(context.Background(), []Job{job})
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if a := s.appendV4(nil, &job); !json.Valid(a) {
				t.Fatalf("the answer of version 4 is no JSON: %s", a)
			}
		}
	})
}
