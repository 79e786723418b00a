package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// got is one part as the tests see it.
type got struct {
	Name, Filename, Type string
	Body                 string
}

func readAll(r io.Reader, boundary string) (parts []got, err error) {
	m := newMultipart(r, boundary, make([]byte, readBuffer))
	for {
		p, err := m.next()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		var body bytes.Buffer
		for {
			chunk, err := m.chunk()
			if err == io.EOF {
				break
			}
			if err != nil {
				return parts, err
			}
			body.Write(chunk)
		}
		parts = append(parts, got{Name: p.name, Filename: p.filename, Type: p.contentType, Body: body.String()})
	}
}

const disposition = "Content-Disposition: form-data; name=\"a\"\r\n\r\n"

func TestMultipart(t *testing.T) {
	one := []got{{Name: "a", Type: "text/plain", Body: "x"}}
	for _, c := range []struct {
		name, body string
		want       []got
		err        error
	}{
		{"one part", "--B\r\n" + disposition + "x\r\n--B--\r\n", one, nil},
		{"no line end after the last", "--B\r\n" + disposition + "x\r\n--B--", one, nil},
		{"preamble and epilogue", "hello\r\nyou\r\n--B\r\n" + disposition + "x\r\n--B--\r\nbye\r\n--B\r\n", one, nil},
		{"blanks after the boundary", "--B \t\r\n" + disposition + "x\r\n--B--  \r\n", one, nil},
		{"empty", "--B--\r\n", nil, nil},
		{"empty body", "--B\r\n" + disposition + "\r\n--B--", []got{{Name: "a", Type: "text/plain"}}, nil},
		{"empty body without a line of its own", "--B\r\n" + disposition + "--B--", []got{{Name: "a", Type: "text/plain"}}, nil},
		{"no header", "--B\r\n\r\nx\r\n--B--", []got{{Type: "text/plain", Body: "x"}}, nil},
		{"no header and no body", "--B\r\n\r\n--B--", []got{{Type: "text/plain"}}, nil},
		{"lines like boundaries", "--B\r\n" + disposition + "\r\n--Bx\r\n--\r\n--C\r\n\r\n--B--", []got{{Name: "a", Type: "text/plain", Body: "\r\n--Bx\r\n--\r\n--C\r\n"}}, nil},
		{"binary body", "--B\r\n" + disposition + "\x00\r\n-\r\n--\xff\r\n--B--", []got{{Name: "a", Type: "text/plain", Body: "\x00\r\n-\r\n--\xff"}}, nil},
		{"header names in any case", "--B\r\ncontent-DISPOSITION:attachment;NAME=a\r\nCONTENT-TYPE: Application/JSON ; x=y\r\n\r\nx\r\n--B--", []got{{Name: "a", Type: "application/json", Body: "x"}}, nil},
		{"folded header", "--B\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nx\r\n--B--", one, nil},
		{"other headers", "--B\r\nX-Y: z\r\n" + disposition + "x\r\n--B--", one, nil},
		{"quotes and backslashes", "--B\r\nContent-Disposition: form-data; name=\"a;b\\\"c\"; filename=\"C:\\dir\\x.dmp\"\r\n\r\nx\r\n--B--", []got{{Name: `a;b"c`, Filename: `C:\dir\x.dmp`, Type: "text/plain", Body: "x"}}, nil},
		{"raw UTF-8 in a name", "--B\r\nContent-Disposition: form-data; name=\"naïve ☃\"\r\n\r\nx\r\n--B--", []got{{Name: "naïve ☃", Type: "text/plain", Body: "x"}}, nil},
		{"quote never closed", "--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--B--", one, nil},

		{"nothing", "", nil, errStructure},
		{"junk", "foobarbaz", nil, errStructure},
		{"another boundary", "--C\r\n" + disposition + "x\r\n--C--\r\n", nil, errStructure},
		{"boundary in a line", "x--B\r\n" + disposition + "x\r\n--B--", nil, nil}, // only the last is one
		{"no closing boundary", "--B\r\n" + disposition + "x\r\n", nil, errStructure},
		{"cut in the boundary", "--B\r\n" + disposition + "x\r\n--B", nil, errStructure},
		{"cut in the header", "--B\r\nContent-Disp", nil, errStructure},
		{"header without colon", "--B\r\nContent\r\n\r\nx\r\n--B--", nil, errStructure},
		{"lines end in LF", "--B\nContent-Disposition: form-data; name=\"a\"\n\nx\n--B--\n", nil, errStructure},
		{"header too large", "--B\r\nX: " + strings.Repeat("y", maxPartHeader) + "\r\n\r\nx\r\n--B--", nil, errPartHeader},
		{"header at the limit", "--B\r\nX: " + strings.Repeat("y", maxPartHeader-3) + "\r\n\r\nx\r\n--B--", []got{{Type: "text/plain", Body: "x"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{"at once": strings.NewReader(c.body), "byte by byte": iotest.OneByteReader(strings.NewReader(c.body))} {
				parts, err := readAll(r, "B")
				if !errors.Is(err, c.err) {
					t.Fatalf("%s: error %v, want %v", name, err, c.err)
				}
				if d := cmp.Diff(c.want, parts); c.err == nil && d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
		})
	}
}

func TestMultipartLargeBodies(t *testing.T) {
	for _, size := range []int{readBuffer - 100, readBuffer, readBuffer + 1, 3*readBuffer + 7} {
		for _, fill := range []string{"x", "\r\n--", "\r\n--BOUNDAR", "\r", "\r\n--BOUNDARY-"} {
			body := strings.Repeat(fill, size/len(fill)+1)[:size] + "!"
			parts, err := readAll(strings.NewReader("--BOUNDARY\r\n"+disposition+body+"\r\n--BOUNDARY--"), "BOUNDARY")
			if err != nil || len(parts) != 1 || parts[0].Body != body {
				t.Errorf("body of %d bytes of %q came back as %d parts, %v", size, fill, len(parts), err)
			}
		}
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestMultipartNoProgress(t *testing.T) {
	if _, err := readAll(emptyReader{}, "B"); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing = %v", err)
	}
}

func TestPayloadNames(t *testing.T) {
	body := func(names ...string) string {
		out := "--B\r\n" + disposition + "x"
		for i, n := range names {
			out += fmt.Sprintf("\r\n--B\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"f\"\r\nContent-Type: application/octet-stream\r\n\r\n%d", n, i)
		}
		return out + "\r\n--B--"
	}
	for _, c := range []struct {
		names []string
		want  map[string]string // key → content
	}{
		{[]string{"upload_file_minidump"}, map[string]string{"upload_file_minidump": "0"}},
		{[]string{"dump", "upload_file_minidump"}, map[string]string{"x_dump": "0", "upload_file_minidump": "1"}},
		{[]string{"upload/file_minidump", "upload_file_minidump", "upload-file_minidump"}, map[string]string{"uploadfile_minidump": "0", "upload_file_minidump": "1", "uploadfile_minidump_2": "2"}},
		{[]string{"upload_file_minidump!", "upload_file_minidump"}, map[string]string{"upload_file_minidump_2": "0", "upload_file_minidump": "1"}},
		{[]string{"---", "..", "\x01"}, map[string]string{"x_unnamed": "0", "x_unnamed_2": "1", "x_unnamed_3": "2"}},
		{[]string{"verdict", "snapshot", "crash_report"}, map[string]string{"x_verdict": "0", "x_snapshot": "1", "x_crash_report": "2"}},
		{[]string{"x_dump", "dump"}, map[string]string{"x_dump": "0", "x_dump_2": "1"}},
		{[]string{"a", "b", "a"}, map[string]string{"a": "2", "b": "1"}},
		{[]string{strings.Repeat("n", 40), strings.Repeat("n", 50)}, map[string]string{strings.Repeat("n", 30): "0", strings.Repeat("n", 30) + "_2": "1"}},
		{[]string{"app.log"}, map[string]string{"applog": "0"}},
	} {
		h := &held{dir: t.TempDir()}
		p, err := parse(newMultipart(strings.NewReader(body(c.names...)), "B", make([]byte, readBuffer)), testLimits, h)
		if err != nil {
			t.Fatalf("%q: %v", c.names, err)
		}
		keys := map[string]string{}
		for _, f := range p.files {
			b, _ := io.ReadAll(h.reader(f.section))
			keys[f.key] = string(b)
		}
		if d := cmp.Diff(c.want, keys); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.names, d)
		}
		h.close()
	}
}

var testLimits = Limits{Body: 1 << 20, Unpacked: 4 << 20, Annotations: 1 << 18, Parts: 500, Dumps: 20}

func FuzzBody(f *testing.F) {
	f.Add([]byte("--B\r\n"+disposition+"x\r\n--B--"), "B")
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=extra; filename=e\r\nContent-Type: application/json\r\n\r\n{\"a\":[1]}\r\n--B--"), "B")
	f.Add([]byte("--B\r\nContent-Disposition: form-data; name=upload_file_minidump; filename=e\r\n\r\nMDMP\r\n--B\r\n"+disposition+"\xff\r\n--B--"), "B")
	f.Add([]byte(strings.Repeat("--B\r\n\r\n", 600)), "B")
	f.Add([]byte("--\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n\r\n----"), "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		if _, err := boundaryOf("multipart/form-data; boundary=\"" + boundary + "\""); err != nil || len(boundary) > maxBoundary {
			return
		}
		h := &held{dir: dir}
		defer h.close()
		p, err := parse(newMultipart(bytes.NewReader(body), boundary, make([]byte, readBuffer)), testLimits, h)
		if err != nil {
			return
		}
		if len(p.annotations) == 0 {
			t.Error("no annotations and no error")
		}
		if len(p.files) > testLimits.Dumps || len(h.mem) > maxHeld {
			t.Errorf("%d files, %d bytes held", len(p.files), len(h.mem))
		}
		seen := map[string]bool{}
		for _, f := range p.files {
			if seen[f.key] || f.key == "" || f.key == "dump" {
				t.Errorf("key %q", f.key)
			}
			seen[f.key] = true
			if b, err := io.ReadAll(h.reader(f.section)); err != nil || int64(len(b)) != f.size {
				t.Errorf("file of %d bytes: read %d, %v", f.size, len(b), err)
			}
		}
		one, errOne := parse(newMultipart(iotest.OneByteReader(bytes.NewReader(body)), boundary, make([]byte, readBuffer)), testLimits, &held{dir: dir})
		if errOne != nil {
			t.Fatalf("byte by byte: %v", errOne)
		}
		if d := cmp.Diff(p.annotations, one.annotations); d != "" {
			t.Errorf("byte by byte (-at once +byte by byte):\n%s", d)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var body bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&body, "--BOUNDARY\r\nContent-Disposition: form-data; name=\"Annotation%d\"\r\n\r\nvalue %d\r\n", i, i)
	}
	body.WriteString("--BOUNDARY\r\nContent-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"x.dmp\"\r\nContent-Type: application/octet-stream\r\n\r\n")
	for i := range 5 << 20 {
		body.WriteByte(byte(i * i >> 9))
	}
	body.WriteString("\r\n--BOUNDARY--\r\n")
	limits := Limits{Body: 1 << 30, Unpacked: 1 << 30, Annotations: 1 << 20, Parts: 1000, Dumps: 10}
	buf := make([]byte, readBuffer)
	b.SetBytes(int64(body.Len()))
	for b.Loop() {
		h := &held{dir: b.TempDir()}
		if _, err := parse(newMultipart(bytes.NewReader(body.Bytes()), "BOUNDARY", buf), limits, h); err != nil {
			b.Fatal(err)
		}
		h.close()
	}
}
