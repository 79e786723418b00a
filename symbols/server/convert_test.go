package server_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/dump"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/server"
)

// maker makes symbols that say what they are made of.
type maker struct {
	mu    sync.Mutex
	seen  []string // guarded by mu
	fails error
	begun chan struct{} // told of each conversion, when there is one
	held  chan struct{} // conversions end when it is closed
}

func (m *maker) made() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

func (m *maker) Convert(ctx context.Context, w io.Writer, in dump.Input) error {
	what := in.Name + sizes(in)
	m.mu.Lock()
	m.seen = append(m.seen, what)
	m.mu.Unlock()
	if m.begun != nil {
		m.begun <- struct{}{}
		select {
		case <-m.held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if strings.HasPrefix(in.Name, "panic") {
		panic("met a bug")
	}
	if m.fails != nil {
		return m.fails
	}
	_, err := fmt.Fprintf(w, "MODULE Linux x86_64 %s %s\nINFO CODE_ID %s\nFUNC 10 10 0 made%s\n10 10 1 0\nSTACK CFI INIT 10 10 .cfa: $rsp 8 +\n", elfID, in.Name, elfBuildID, sizes(in))
	return err
}

// sizes tells the files of a conversion apart.
func sizes(in dump.Input) string {
	if in.Debug == nil {
		return fmt.Sprintf("_of_%d", in.Size)
	}
	return fmt.Sprintf("_of_%d_and_%d", in.Size, in.DebugSize)
}

// The debug id and the build id of elf.
const (
	elfID      = "6463626166656867696A6B6C6D6E6F700"
	elfBuildID = "6162636465666768696A6B6C6D6E6F7071727374"
)

// elfOf is a file of the build of elf: with code, with debug information, or
// both.
func elfOf(code, debug bool) []byte {
	b := sample.Binary{Format: executable.ELF, Machine: executable.AMD64, ID: []byte("abcdefghijklmnopqrst")}
	if code {
		b.Sections = append(b.Sections, sample.Section{Name: ".text", Offset: 0x1000, Data: make([]byte, 100), Executable: true})
	}
	if debug {
		b.Sections = append(b.Sections, sample.Section{Name: ".debug_info", Offset: 0x3000, Data: make([]byte, 5000)})
	}
	return b.Bytes()
}

func (w *world) sendDebug(name string, data []byte, header ...string) map[string]any {
	w.t.Helper()
	body, kind := form("file", name, data)
	a := w.do("POST", "/upload/debug/", "upload_symbols", body, append(header, "Content-Type", kind)...)
	if a.status != 201 {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return a.json(w.t)
}

// conversion is the one of an answer.
func conversion(t *testing.T, v map[string]any) map[string]any {
	t.Helper()
	list, _ := v["conversions"].([]any)
	if len(list) != 1 {
		t.Fatalf("%d conversions: %v", len(list), v)
	}
	return list[0].(map[string]any)
}

// symbolText downloads a symbol file of elf.
func (w *world) symbolText(name string) string {
	a := w.do("GET", "/"+name+"/"+elfID+"/"+name+".sym", "", nil)
	if a.status != 200 {
		return ""
	}
	return string(a.body)
}

// Symbols are made of what there is of a build, again when more comes, and kept
// as if they had been uploaded.
func TestConversion(t *testing.T) {
	m := &maker{}
	w := start(t, func(o *server.Options) { o.Convert = m })
	stripped, information := elfOf(true, false), elfOf(false, true)
	v := w.sendDebug("kite", stripped, "Prefer", "wait=100")
	if c := conversion(t, v); c["state"] != "done" || c["reason"] != nil || fmt.Sprint(c["keys"]) != "[kite/"+elfID+"/kite.sym]" {
		t.Errorf("%v", v)
	}
	if text := w.symbolText("kite"); !strings.HasPrefix(text, "MODULE Linux x86_64 "+elfID+" kite\n") || !strings.Contains(text, fmt.Sprintf("made_of_%d\n", len(stripped))) {
		t.Errorf("%q", text)
	}
	w.sendDebug("kite.debug", information, "Prefer", "wait=100")
	if text, want := w.symbolText("kite"), fmt.Sprintf("made_of_%d_and_%d\n", len(stripped), len(information)); !strings.Contains(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
	w.mu.Lock()
	if len(w.arrived) != 2 || w.arrived[1] != (symbols.ModuleID{DebugFile: "kite", DebugID: elfID, CodeID: elfBuildID}) {
		t.Errorf("arrived: %v", w.arrived)
	}
	w.mu.Unlock()
	// The same again makes nothing again, under another name one more file.
	if c := conversion(t, w.sendDebug("kite.debug", information, "Prefer", "wait=100")); c["state"] != "done" || len(m.made()) != 2 {
		t.Errorf("%v %v", c, m.made())
	}
	w.sendDebug("kite.so.1", stripped, "Prefer", "wait=100")
	if text := w.symbolText("kite.so.1"); !strings.HasPrefix(text, "MODULE Linux x86_64 "+elfID+" kite.so.1\nINFO CODE_ID ") || !strings.Contains(w.symbolText("kite"), "and") {
		t.Errorf("%q", text)
	}
	shown := w.do("GET", "/api/uploads/upload/1", "upload_symbols", nil).json(t)["upload"].(map[string]any)
	if c := conversion(t, shown); c["code_id"] != elfBuildID || c["state"] != "done" {
		t.Errorf("%v", shown)
	}
	w.nothingSpooled()
}

// A debug file alone is enough for functions and lines; it has the name of its
// program. A whole program needs no debug file.
func TestConversionOfOneFile(t *testing.T) {
	for name, data := range map[string][]byte{"kite.debug": elfOf(false, true), "kite": elfOf(true, true)} {
		m := &maker{}
		w := start(t, func(o *server.Options) { o.Convert = m })
		w.sendDebug(name, data, "Prefer", "respond-now, wait=100")
		if text := w.symbolText("kite"); !strings.Contains(text, fmt.Sprintf("made_of_%d\n", len(data))) {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Symbols of a trial build are for those who ask for such.
func TestConversionOfTrialBuild(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Convert = &maker{} })
	body, kind := form("file", "kite", elfOf(true, true))
	if a := w.do("POST", "/upload/debug/", "upload_try_symbols", body, "Content-Type", kind, "Prefer", "wait=100"); conversion(t, a.json(t))["state"] != "done" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	path := "/kite/" + elfID + "/kite.sym"
	if a, b := w.do("GET", path, "", nil), w.do("GET", "/try"+path, "", nil); a.status != 404 || b.status != 200 {
		t.Errorf("%d without try, %d with", a.status, b.status)
	}
}

// A conversion waits while what it needs is not there; that is no attempt, and
// others go first.
func TestConversionWaits(t *testing.T) {
	m := &maker{fails: fault.New(fault.Unavailable, "no room on the disk")}
	dir := t.TempDir()
	s := raise(t, dir, true, func(o *server.Options) { o.Convert = m })
	defer s.stop()
	began := time.Now()
	s.sendDebug("kite", elfOf(true, true))
	s.eventually(func() bool {
		v, err := s.db.Conversion(t.Context(), elfBuildID, false)
		return err == nil && v.State == catalog.ConversionWaiting && v.Attempts == 0 && v.Changed.After(began) && len(m.made()) > 0
	})
}

// Symbols that somebody uploaded are not taken the place of.
func TestConversionLeavesUploads(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Convert = &maker{} })
	own := "MODULE Linux x86_64 " + elfID + " kite\nFUNC 10 10 0 own\n"
	if a := w.upload("upload_symbols", zipped("kite/"+elfID+"/kite.sym", own)); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	c := conversion(t, w.sendDebug("kite", elfOf(true, true), "Prefer", "wait=100"))
	if c["state"] != "done" || !strings.Contains(fmt.Sprint(c["reason"]), "stay") || w.symbolText("kite") != own {
		t.Errorf("%v %q", c, w.symbolText("kite"))
	}
}

// Why no symbols are made is told; the same file again is a new try.
func TestConversionFails(t *testing.T) {
	bug := start(t, func(o *server.Options) { o.Convert = &maker{} })
	if c := conversion(t, bug.sendDebug("panicky", elfOf(true, true), "Prefer", "wait=100")); c["state"] != "failed" || c["reason"] != "internal: the log of the server says more" {
		t.Errorf("%v", c)
	}
	bug.nothingSpooled()
	m := &maker{fails: fault.New(fault.Malformed, "debug information of kite: a unit of 0 bytes")}
	w := start(t, func(o *server.Options) { o.Convert = m })
	if c := conversion(t, w.sendDebug("kite", elfOf(true, true), "Prefer", "wait=100")); c["state"] != "failed" || !strings.Contains(fmt.Sprint(c["reason"]), "a unit of 0 bytes") {
		t.Errorf("%v", c)
	}
	m.fails = nil
	if c := conversion(t, w.sendDebug("kite", elfOf(true, true), "Prefer", "wait=100")); c["state"] != "done" {
		t.Errorf("%v", c)
	}
	if got := w.do("GET", "/upload/status/1", "upload_symbols", nil).json(t); conversion(t, got)["state"] != "done" || got["state"] != "done" {
		t.Errorf("%v", got)
	}
	w.nothingSpooled()
}

// A symbol file that would take more room than there is, is not kept.
func TestConversionKeepsToQuota(t *testing.T) {
	data := elfOf(true, true)
	w := start(t, func(o *server.Options) {
		o.Convert = &maker{}
		o.Config.Quota = config.Bytes(len(data) + 100)
	})
	c := conversion(t, w.sendDebug("kite", data, "Prefer", "wait=100"))
	if c["state"] != "failed" || !strings.Contains(fmt.Sprint(c["reason"]), "Quota exceeded") {
		t.Errorf("%v", c)
	}
	if text := w.symbolText("kite"); text != "" {
		t.Errorf("%q", text)
	}
}

// A conversion that was under way when the server ended is done by its next
// life, with what came meanwhile; one that ends every life of it is given up.
func TestConversionsSurvive(t *testing.T) {
	dir := t.TempDir()
	m := &maker{begun: make(chan struct{}, 10), held: make(chan struct{})}
	with := func(o *server.Options) { o.Convert = m }
	one := raise(t, dir, true, with)
	one.sendDebug("kite", elfOf(true, false))
	<-m.begun
	one.sendDebug("kite.debug", elfOf(false, true))
	one.stop()
	// between changes what the catalog says of the conversion while no server
	// runs: how often it was begun.
	between := func(state string, attempts int) {
		t.Helper()
		s := raise(t, dir, false, with)
		defer s.stop()
		v, err := s.db.Conversion(t.Context(), elfBuildID, false)
		if err != nil || v.State != state || v.Version != 2 {
			t.Fatalf("%+v %v", v, err)
		}
		v.Attempts, v.State = attempts, catalog.ConversionWaiting
		if err := s.db.FinishConversion(t.Context(), v, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.db.BeginConversion(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	between(catalog.ConversionWaiting, 2) // two lives ended by it
	close(m.held)
	two := raise(t, dir, true, with)
	two.conversionEnds(catalog.ConversionDone)
	if text := two.symbolText("kite"); !strings.Contains(text, "and") {
		t.Errorf("%q", text)
	}
	two.stop()

	between(catalog.ConversionDone, 3)
	three := raise(t, dir, true, with)
	defer three.stop()
	if v := three.conversionEnds(catalog.ConversionFailed); !strings.Contains(v.Reason, "given up") {
		t.Errorf("%+v", v)
	}
}

// conversionEnds waits until the conversion of the sample's build has a state.
func (w *stage) conversionEnds(state string) (v catalog.Conversion) {
	w.t.Helper()
	w.eventually(func() (done bool) {
		var err error
		v, err = w.db.Conversion(w.t.Context(), elfBuildID, false)
		return err == nil && v.State == state
	})
	return v
}

func (w *world) eventually(done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(100 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it does not happen")
		}
	}
}

// A raw debug file that comes by version 2 or sym-upload-v2 is taken for what it
// is where it comes under its own name and id; elsewhere it is a file.
func TestRawFilesByThemselves(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Convert = &maker{} })
	data := string(elfOf(true, true))
	ask := func(dry bool, key string) map[string]any {
		t.Helper()
		a := w.do("POST", "/upload/v2/", "upload_symbols", strings.NewReader(fmt.Sprintf(`{"files":[{"key":%q,"size":%d,"md5_hash":%q}],"dry_run":%v}`, key, len(data), hash(data), dry)))
		return a.json(t)["files"].([]any)[0].(map[string]any)["action"].(map[string]any)
	}
	send := func(key string) {
		t.Helper()
		if a := w.do("PUT", ask(false, key)["url"].(string), "", strings.NewReader(data)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	key := "kite/" + elfBuildID + "/kite"
	if a := ask(true, key); a["type"] != "upload" || a["url"] != "" {
		t.Errorf("a dry run: %v", a)
	}
	if n := w.do("GET", "/api/uploads/", "view_all_uploads", nil).json(t)["uploads"].([]any); len(n) != 0 {
		t.Errorf("a dry run left %v", n)
	}
	send("sloop/" + elfBuildID + "/other")
	send("sloop/AB/sloop")
	time.Sleep(50 * time.Millisecond)
	if w.symbolText("sloop") != "" {
		t.Error("symbols were made of a file under another name")
	}
	send(key)
	w.eventually(func() bool { return w.symbolText("kite") != "" })
	if a := ask(true, key); a["type"] != "skip" {
		t.Errorf("%v", a)
	}
	if got := w.do("GET", "/buildid/"+elfBuildID+"/executable", "", nil); got.status != 200 || string(got.body) != data {
		t.Errorf("%d", got.status)
	}
	created := w.do("POST", "/v1/uploads:create?key=upload_symbols", "", nil).json(t)
	if a := w.do("PUT", created["uploadUrl"].(string), "", strings.NewReader(data)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	complete := fmt.Sprintf(`{"symbol_id":{"debug_file":"yawl","debug_id":%q},"symbol_upload_type":"ELF"}`, elfID)
	if a := w.do("POST", "/v1/uploads/"+created["uploadKey"].(string)+":complete?key=upload_symbols", "", strings.NewReader(complete)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.eventually(func() bool { return w.symbolText("yawl") != "" })
}
