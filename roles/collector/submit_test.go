package collector

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"mayday/app/config"
	"mayday/storage"
	"mayday/storage/queue"
)

// site is a collector behind a real listener, with memory for a bucket and a
// queue unless a test gives others.
type site struct {
	*Collector
	addr    string
	crashes *storage.Crashes
	bucket  *blob.Bucket
	queues  *queue.Queues
	stop    func()
}

func defaults(t testing.TB) config.Collector {
	t.Helper()
	l, err := config.Load("", nil, func(*config.Setting) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return l.Collector
}

func open(t testing.TB, change func(*Options)) *site {
	t.Helper()
	return answering(t, true, change)
}

// answering is a collector that answers requests, and runs what goes on beside
// them if asked to.
func answering(t testing.TB, run bool, change func(*Options)) *site {
	t.Helper()
	s := &site{bucket: memblob.OpenBucket(nil)}
	var err error
	if s.queues, err = queue.Open(context.Background(), "mem://", queue.Options{}); err != nil {
		t.Fatal(err)
	}
	o := Options{Config: defaults(t), SpoolDir: filepath.Join(t.TempDir(), "spool"), Log: zap.NewNop(), Queue: s.queues}
	s.crashes = storage.NewCrashes(s.bucket, storage.Options{})
	o.Crashes = s.crashes
	if change != nil {
		change(&o)
	}
	s.crashes = o.Crashes
	if s.Collector, err = New(o); err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	s.Mount(e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
	go server.Serve(Listener(l))
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	if run {
		go func() { ran <- s.Run(ctx) }()
	} else {
		ran <- nil
	}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		server.Close()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		s.Close()
	}
	t.Cleanup(s.stop)
	return s
}

const boundary = "formboundary"

type field struct{ name, value string }

// form makes a body of annotations and files; a field whose name begins with @
// is a file.
func form(fields ...field) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if name, ok := strings.CutPrefix(f.name, "@"); ok {
			fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n", boundary, name, name, f.value)
			continue
		}
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", boundary, f.name, f.value)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes()
}

func usual(more ...field) []byte {
	return form(append([]field{{"ProductName", "Aye-Aye"}, {"Version", "1.0"}, {"@upload_file_minidump", "MDMP"}}, more...)...)
}

// post sends a request with headers in pairs.
func (s *site) post(t testing.TB, body []byte, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/submit", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) (int, string, http.Header) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// raw sends bytes over a connection of their own and reads the answer.
func (s *site) raw(t testing.TB, request string) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

var answerPattern = regexp.MustCompile(`^CrashID=bp-([0-9a-f-]{36})\n$`)

func (s *site) accepted(t testing.TB, body []byte, headers ...string) storage.CrashID {
	t.Helper()
	status, text, _ := s.post(t, body, headers...)
	m := answerPattern.FindStringSubmatch(text)
	if status != http.StatusOK || m == nil {
		t.Fatalf("answer %d %q, want an id", status, text)
	}
	return storage.CrashID(m[1])
}

func (s *site) rawCrash(t testing.TB, id storage.CrashID) storage.RawCrash {
	t.Helper()
	raw, err := s.crashes.Raw(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s *site) dump(t testing.TB, id storage.CrashID, name string) string {
	t.Helper()
	r, err := s.crashes.OpenDump(context.Background(), id, name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// queued takes one id from the queue.
func (s *site) queued(t testing.TB) storage.CrashID {
	t.Helper()
	sub, err := s.queues.Subscription(context.Background(), queue.Standard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := sub.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.Ack()
	got, err := queue.ParseMessage(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestAcceptedCrash(t *testing.T) {
	s := open(t, nil)
	body := usual(field{"Comments", "naïve ☃"}, field{"Email", "a@b.c"}, field{"@app.log", "log"})
	before := time.Now()
	id := s.accepted(t, body, "User-Agent", "wow/1.0")
	if got := s.queued(t); got != id {
		t.Errorf("queued %s, want %s", got, id)
	}
	raw := s.rawCrash(t, id)
	stamp, err := time.Parse(time.RFC3339Nano, raw.Text("submitted_timestamp"))
	if err != nil || stamp.Before(before.Truncate(time.Microsecond)) || stamp.After(time.Now()) {
		t.Errorf("submitted_timestamp %q", raw.Text("submitted_timestamp"))
	}
	delete(raw, "submitted_timestamp")
	want := storage.RawCrash{
		"ProductName": "Aye-Aye", "Version": "1.0", "Comments": "naïve ☃", "uuid": string(id), "version": json.Number("2"),
		"metadata": map[string]any{
			"payload": "multipart", "payload_compressed": "0", "payload_size": json.Number(fmt.Sprint(len(body))), "user_agent": "wow/1.0",
			"collector_notes": []any{"Removed Email from raw crash."}, "throttle_rule": "accept_everything",
			"dump_checksums": map[string]any{"upload_file_minidump": sum("MDMP"), "applog": sum("log")},
			"dump_files": map[string]any{
				"upload_file_minidump": map[string]any{"field": "upload_file_minidump", "filename": "upload_file_minidump.bin", "content_type": "application/octet-stream", "size": json.Number("4")},
				"applog":               map[string]any{"field": "app.log", "filename": "app.log.bin", "content_type": "application/octet-stream", "size": json.Number("3")},
			},
		},
	}
	if d := cmp.Diff(want, raw); d != "" {
		t.Errorf("raw crash (-want +got):\n%s", d)
	}
	if got := s.dump(t, id, "applog"); got != "log" {
		t.Errorf("attachment = %q", got)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Error(err)
	}
}

func compressed(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw deflate":
		w, err = flate.NewWriter(&b, 6)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodings(t *testing.T) {
	s := open(t, nil)
	large := strings.Repeat("some text that compresses ", 20_000)
	body := usual(field{"@large", large})
	two := append(compressed(t, "gzip", body[:100]), compressed(t, "gzip", body[100:])...)
	for _, c := range []struct {
		name, header string
		body         []byte
	}{
		{"gzip", "gzip", compressed(t, "gzip", body)},
		{"gzip in capitals", "GZIP", compressed(t, "gzip", body)},
		{"gzip of two members", "gzip", two},
		{"junk after gzip", "gzip", append(compressed(t, "gzip", body), "junk"...)},
		{"deflate", "deflate", compressed(t, "deflate", body)},
		{"raw deflate", "deflate", compressed(t, "raw deflate", body)},
		{"zstd", "zstd", compressed(t, "zstd", body)},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := s.accepted(t, c.body, "Content-Encoding", c.header)
			m := s.rawCrash(t, id)["metadata"].(map[string]any)
			if m["payload_compressed"] != "1" || m["payload_size"] != json.Number(fmt.Sprint(len(c.body))) {
				t.Errorf("metadata %v", m)
			}
			if s.dump(t, id, "large") != large {
				t.Error("the file came back changed")
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	s := open(t, nil)
	body := usual()
	zipped := compressed(t, "gzip", body)
	crc := bytes.Clone(zipped)
	crc[len(crc)-6] ^= 1
	jsonPart := func(text string) []byte {
		return []byte("--" + boundary + "\r\nContent-Disposition: form-data; name=\"extra\"; filename=\"extra.json\"\r\nContent-Type: application/json\r\n\r\n" + text + "\r\n--" + boundary + "--\r\n")
	}
	for _, c := range []struct {
		name    string
		body    []byte
		headers []string
		want    string
	}{
		{"no content type", body, []string{"Content-Type", ""}, "no_content_type"},
		{"another content type", body, []string{"Content-Type", "application/json"}, "wrong_content_type"},
		{"no boundary", body, []string{"Content-Type", "multipart/form-data"}, "no_boundary"},
		{"long boundary", body, []string{"Content-Type", "multipart/form-data; boundary=" + strings.Repeat("x", maxBoundary+1)}, "no_boundary"},
		{"no body", nil, nil, "no_content_length"},
		{"plain body as gzip", body, []string{"Content-Encoding", "gzip"}, "bad_gzip"},
		{"cut gzip", zipped[:len(zipped)-9], []string{"Content-Encoding", "gzip"}, "bad_gzip"},
		{"gzip with a wrong sum", crc, []string{"Content-Encoding", "gzip"}, "bad_gzip"},
		{"empty gzip", []byte{0x1f}, []string{"Content-Encoding", "gzip"}, "bad_gzip"},
		{"broken JSON in a broken gzip", compressed(t, "gzip", jsonPart("{"))[:60], []string{"Content-Encoding", "gzip"}, "bad_gzip"},
		{"plain body as zstd", body, []string{"Content-Encoding", "zstd"}, "bad_encoding"},
		{"plain body as deflate", body, []string{"Content-Encoding", "deflate"}, "bad_encoding"},
		{"gzip without header", zipped, nil, "invalid_payload_structure"},
		{"unknown encoding", zipped, []string{"Content-Encoding", "br"}, "invalid_payload_structure"},
		{"broken JSON", jsonPart("{"), nil, "invalid_json"},
		{"control character in JSON", jsonPart("{\"a\":\"\n\"}"), nil, "invalid_json"},
		{"junk after JSON", jsonPart("{} x"), nil, "invalid_json"},
		{"JSON that is not UTF-8", jsonPart("{\"a\":\"\xff\"}"), nil, "invalid_json"},
		{"deep JSON", jsonPart(strings.Repeat("[", 50_000)), nil, "invalid_json"},
		{"JSON list", jsonPart("[1]"), nil, "invalid_json_value"},
		{"JSON null", jsonPart("null"), nil, "invalid_json_value"},
		{"empty JSON", jsonPart("{}"), nil, "no_annotations"},
		{"only a dump", form(field{"@upload_file_minidump", "x"}), nil, "no_annotations"},
		{"nothing", form(), nil, "no_annotations"},
		{"reserved name", usual(field{"@raw_crash", "x"}), nil, "invalid_dump_name"},
		{"reserved after sanitising", usual(field{"@dump-_names", "x"}), nil, "invalid_dump_name"},
		{"first reason counts", append(jsonPart("{")[:len(jsonPart("{"))-len(boundary)-6], usual(field{"@raw_crash", "x"})...), nil, "invalid_json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, header := s.post(t, c.body, c.headers...)
			if status != http.StatusBadRequest || text != "Discarded=malformed_"+c.want {
				t.Errorf("answer %d %q, want 400 %s", status, text, c.want)
			}
			if header.Get("Content-Type") != "text/plain" {
				t.Errorf("content type %q", header.Get("Content-Type"))
			}
		})
	}
	if l := s.bucket.List(nil); true {
		if o, err := l.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("a malformed request stored %v, %v", o, err)
		}
	}
}

func TestParts(t *testing.T) {
	s := open(t, nil)
	part := func(headers, body string) string {
		return "--" + boundary + "\r\n" + headers + "\r\n\r\n" + body + "\r\n"
	}
	named := func(name string) string { return "Content-Disposition: form-data; name=\"" + name + "\"" }
	extra := func(text string) string {
		return part(named("extra")+"; filename=\"x\"\r\nContent-Type: application/JSON; charset=utf-8", text)
	}
	for _, c := range []struct {
		name  string
		parts string
		want  map[string]any // annotations besides those of the collector
		notes []any
	}{
		{"JSON replaces what came before", part(named("a"), "1") + extra(`{"b":2}`) + part(named("c"), "3"), map[string]any{"b": json.Number("2"), "c": "3"}, []any{noteBoth}},
		{"last JSON wins", extra(`{"a":1}`) + extra(`{"b":{"c":[null,true,1e3]}}`), map[string]any{"b": map[string]any{"c": []any{nil, true, json.Number("1e3")}}}, []any{}},
		{"JSON with a byte order mark", extra("\xef\xbb\xbf{\"a\":\"☃\"}"), map[string]any{"a": "☃"}, []any{}},
		{"nameless parts are ignored", part("X: y", "1") + part("Content-Disposition: form-data", "2") + part(named("a"), "3"), map[string]any{"a": "3"}, []any{}},
		{"any disposition", part("Content-Disposition: attachment; name=a", "1"), map[string]any{"a": "1"}, []any{}},
		{"odd names", part(named("a b-c.d"), "1") + part(named("naïve"), "\x00"), map[string]any{"a b-c.d": "1", "naïve": "\x00"}, []any{}},
		{"last of a name wins", part(named("a"), "1") + part(named("a"), "2"), map[string]any{"a": "2"}, []any{}},
		{"charsets", part(named("a")+"\r\nContent-Type: text/plain; charset=ISO-8859-1", "\xe9") + part(named("b")+"\r\nContent-Type: text/plain; charset=\"utf-16le\"", "x\x00"), map[string]any{"a": "é", "b": "x"}, []any{}},
		{"wrong charset", part(named("a"), "1") + part(named("b")+"\r\nContent-Type: text/plain; charset=ascii", "é") + part(named("c")+"\r\nContent-Type: text/plain; charset=klingon", "x") + part(named("d"), "\xff"),
			map[string]any{"a": "1"}, []any{"extract payload text part exception: invalid text or charset: ascii", "extract payload text part exception: invalid text or charset: klingon", "extract payload text part exception: invalid text or charset: utf-8"}},
		{"annotations of the collector's names", part(named("version"), "9") + part(named("metadata"), "x") + part(named("submitted_timestamp"), "x") + part(named("a"), "1"), map[string]any{"a": "1"}, []any{}},
		{"Crashpad's names", part(named("prod"), "P") + part(named("ver"), "1.2") + part(named("ptype"), "renderer"), map[string]any{"prod": "P", "ProductName": "P", "ver": "1.2", "Version": "1.2", "ptype": "renderer", "ProcessType": "renderer"}, []any{}},
		{"Electron's names", part(named("prod"), "Electron") + part(named("_productName"), "App") + part(named("ver"), "30") + part(named("_version"), "2.0"), map[string]any{"prod": "Electron", "_productName": "App", "ProductName": "App", "ver": "30", "_version": "2.0", "Version": "2.0"}, []any{}},
		{"names that are there stay", part(named("prod"), "P") + part(named("ProductName"), "Q"), map[string]any{"prod": "P", "ProductName": "Q"}, []any{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := s.accepted(t, []byte(c.parts+"--"+boundary+"--\r\n"))
			raw := s.rawCrash(t, id)
			m := raw["metadata"].(map[string]any)
			if d := cmp.Diff(c.notes, m["collector_notes"]); d != "" {
				t.Errorf("notes (-want +got):\n%s", d)
			}
			for _, k := range []string{"metadata", "uuid", "version", "submitted_timestamp"} {
				delete(raw, k)
			}
			if d := cmp.Diff(storage.RawCrash(c.want), raw); d != "" {
				t.Errorf("annotations (-want +got):\n%s", d)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	bare := regexp.MustCompile(`^[0-9a-f-]{36}$`)
	for _, c := range []struct {
		answer, agent, path string
		want                *regexp.Regexp
	}{
		{"auto", "crashreporter/153.7.0 (linux x86_64)", "/submit", answerPattern},
		{"auto", "Crashpad/0.8.0 libcurl/7.88.1", "/submit", bare},
		{"auto", "Breakpad/1.0 (Linux)", "/submit", bare},
		{"auto", "curl/8", "/post", bare},
		{"crashid", "Crashpad/0.8.0", "/submit", answerPattern},
		{"bare", "crashreporter/1", "/submit", bare},
	} {
		s := open(t, func(o *Options) { o.Config.Answer = c.answer })
		req, _ := http.NewRequest(http.MethodPost, "http://"+s.addr+c.path, bytes.NewReader(usual()))
		req.Header.Set("Content-Type", "multipart/form-data; charset=utf-8; boundary="+boundary)
		req.Header.Set("User-Agent", c.agent)
		status, text, header := do(t, req)
		if status != http.StatusOK || !c.want.MatchString(text) || header.Get("Content-Length") != fmt.Sprint(len(text)) {
			t.Errorf("%s, %s: %d %q of length %s", c.answer, c.agent, status, text, header.Get("Content-Length"))
		}
	}
	s := open(t, func(o *Options) {
		o.Config.ViewURL = "https://crashes.example/report/{id}"
		o.Config.StopSending = []string{"Aye-Aye/1.0"}
	})
	_, text, _ := s.post(t, usual())
	if !regexp.MustCompile(`^CrashID=bp-([0-9a-f-]{36})\nViewURL=https://crashes.example/report/[0-9a-f-]{36}\nStopSendingReportsFor=1.0\n$`).MatchString(text) {
		t.Errorf("answer %q", text)
	}
}

func TestThrottling(t *testing.T) {
	rules := func(name, result string) config.Throttle {
		is := name
		return config.Throttle{Rules: []config.ThrottleRule{
			{Name: name, Result: result, When: []config.ThrottleCondition{{Field: "Kind", Is: &is}}}, {Name: "rest", Result: "accept"}}}
	}
	for _, result := range []string{"accept", "defer", "reject", "fakeaccept"} {
		t.Run(result, func(t *testing.T) {
			s := open(t, func(o *Options) { o.Config.Throttle = rules("special", result) })
			status, text, _ := s.post(t, usual(field{"Kind", "special"}))
			if status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			if result == "reject" {
				if text != "Discarded=rule_special" {
					t.Errorf("answer %q", text)
				}
				return
			}
			id := storage.CrashID(answerPattern.FindStringSubmatch(text)[1])
			has, err := s.crashes.HasRaw(t.Context(), id)
			if err != nil || has != (result != "fakeaccept") {
				t.Errorf("stored: %v, %v", has, err)
			}
			wantDigit := map[string]storage.Digit{"accept": storage.Accepted, "defer": storage.Deferred, "fakeaccept": storage.FakeAccepted}[result]
			if id.Digit() != wantDigit {
				t.Errorf("id %s, want digit %c", id, wantDigit)
			}
			// Only what is accepted reaches the queue.
			want := map[storage.CrashID]bool{s.accepted(t, usual()): true}
			if result == "accept" {
				want[id] = true
			}
			for range len(want) {
				if got := s.queued(t); !want[got] {
					t.Errorf("queued %s, want one of %v", got, want)
				}
			}
		})
	}
}

func TestSubmitterToken(t *testing.T) {
	const id = "de1bb258-cbbf-4589-a673-34f800160918"
	s := open(t, func(o *Options) {
		o.Config.SubmitterToken = "secret"
		o.Strict, o.Products = true, []string{"Aye-Aye"}
	})
	body := usual(field{"uuid", id}, field{"submitted_timestamp", "2016-09-18T01:02:03+00:00"})
	for _, c := range []struct {
		name   string
		body   []byte
		auth   string
		status int
		want   string
	}{
		{"none", body, "", 401, "Discarded=unauthorized_uuid"},
		{"wrong", body, "Bearer secre", 401, "Discarded=unauthorized_uuid"},
		{"wrong scheme", body, "Basic secret", 401, "Discarded=unauthorized_uuid"},
		{"empty id without token", usual(field{"uuid", ""}), "", 401, "Discarded=unauthorized_uuid"},
		{"unknown product without token", form(field{"ProductName", "Other"}, field{"uuid", id}), "", 401, "Discarded=unauthorized_uuid"},
		{"unknown product", form(field{"ProductName", "Other"}, field{"uuid", id}), "Bearer secret", 200, "Discarded=rule_unsupported_product"},
		{"bad id", usual(field{"uuid", "456"}), "Bearer secret", 400, "Discarded=malformed_invalid_uuid"},
		{"id with another digit", usual(field{"uuid", "de1bb258-cbbf-4589-a673-34f802160918"}), "Bearer secret", 400, "Discarded=malformed_invalid_uuid"},
		{"right", body, "Bearer secret", 200, "CrashID=bp-" + id + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, _ := s.post(t, c.body, "Authorization", c.auth)
			if status != c.status || text != c.want {
				t.Errorf("answer %d %q, want %d %q", status, text, c.status, c.want)
			}
		})
	}
	if got := s.rawCrash(t, id).Text("submitted_timestamp"); got != "2016-09-18T01:02:03+00:00" {
		t.Errorf("submitted_timestamp %q", got)
	}
	other := s.accepted(t, usual(field{"submitted_timestamp", "2016-09-18T01:02:03+00:00"}))
	if got := s.rawCrash(t, other).Text("submitted_timestamp"); strings.HasPrefix(got, "2016") {
		t.Error("a client without the token chose the time")
	}
	nobody := open(t, nil)
	if status, _, _ := nobody.post(t, body, "Authorization", "Bearer "); status != 401 {
		t.Errorf("an empty token opens: %d", status)
	}
}

func TestMethods(t *testing.T) {
	s := open(t, nil)
	for method, want := range map[string]int{"GET": 405, "PUT": 405, "HEAD": 405, "DELETE": 405, "OPTIONS": 200} {
		req, _ := http.NewRequest(method, "http://"+s.addr+"/submit", nil)
		status, _, header := do(t, req)
		if status != want || header.Get("Allow") != allowed {
			t.Errorf("%s: %d, Allow %q", method, status, header.Get("Allow"))
		}
	}
}

func TestRulesAreReread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	write("rules: [{name: first, result: accept}]", start)
	s := open(t, func(o *Options) { o.Config.Throttle.File = path })
	rule := func() any { return s.rawCrash(t, s.accepted(t, usual()))["metadata"].(map[string]any)["throttle_rule"] }
	if got := rule(); got != "first" {
		t.Errorf("rule %v", got)
	}
	write("rules: [{name: second, result: accept}]", start.Add(time.Second))
	s.rereadRules()
	if got := rule(); got != "second" {
		t.Errorf("rule %v after a change", got)
	}
	write("rules: [{name: third, result: nonsense}]", start.Add(2*time.Second))
	s.rereadRules()
	if got := rule(); got != "second" {
		t.Errorf("rule %v after a broken change", got)
	}
	if _, err := New(Options{Config: config.Collector{Throttle: config.Throttle{File: path}}, Log: zap.NewNop()}); err == nil {
		t.Error("a collector starts with broken rules")
	}
}
