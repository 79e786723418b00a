package e2e

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ulikunitz/xz"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// hostileZip is a zip whose members claim what they like.
type hostileZip struct{ body, directory bytes.Buffer }

// add adds a member that claims size bytes, with its local header at another
// place than it has when at is not -1.
func (z *hostileZip) add(name string, data []byte, size uint64, crc uint32, at int) {
	le := endian.LittleEndian
	if at < 0 {
		at = z.body.Len()
	}
	extra := le.AppendUint32(nil, 1|16<<16)
	extra = le.AppendUint64(le.AppendUint64(extra, size), uint64(len(data)))
	head := func(signature uint32, b *bytes.Buffer) {
		h := le.AppendUint32(nil, signature)
		if b == &z.directory {
			h = le.AppendUint16(h, 45)
		}
		for _, v := range []uint16{45, 0, 8, 0, 0} {
			h = le.AppendUint16(h, v)
		}
		for _, v := range []uint32{crc, 1<<32 - 1, 1<<32 - 1, uint32(len(name)) | uint32(len(extra))<<16} {
			h = le.AppendUint32(h, v)
		}
		if b == &z.directory {
			h = append(h, make([]byte, 10)...)
			h = le.AppendUint32(h, uint32(at))
		}
		b.Write(h)
		b.WriteString(name)
		b.Write(extra)
	}
	head(0x04034b50, &z.body)
	z.body.Write(data)
	head(0x02014b50, &z.directory)
}

func (z *hostileZip) bytes(count int) []byte {
	le := endian.LittleEndian
	end := le.AppendUint32(nil, 0x06054b50)
	end = le.AppendUint32(end, 0)
	end = le.AppendUint32(end, uint32(count)|uint32(count)<<16)
	end = le.AppendUint32(le.AppendUint32(end, uint32(z.directory.Len())), uint32(z.body.Len()))
	return bytes.Join([][]byte{z.body.Bytes(), z.directory.Bytes(), end, {0, 0}}, nil)
}

// zeros is so many megabytes of zeros, deflated, and their checksum.
func zeros(megabytes int) ([]byte, uint32) {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	sum, block := crc32.NewIEEE(), make([]byte, 1<<20)
	for range megabytes {
		_, _ = z.Write(block) // a buffer takes all
		_, _ = sum.Write(block)
	}
	_ = z.Close()
	return b.Bytes(), sum.Sum32()
}

// Archives that are made to harm are refused in words that say why, leave
// nothing behind, and take little memory, whatever they claim.
func TestHostileSymbolUploads(t *testing.T) {
	t.Parallel()
	s := start(t, "--storage.fsync=false")
	token := s.token("build@example.com", "upload_symbols")
	key := func(i int) string { return fmt.Sprintf("a%d.so/%s/a%d.so.sym", i, symbolID, i) }
	bomb, sum := zeros(200)
	archive := func(count int, add func(z *hostileZip, i int)) []byte {
		var z hostileZip
		for i := range count {
			add(&z, i)
		}
		return z.bytes(count)
	}
	named := func(name string) []byte {
		return archive(1, func(z *hostileZip, _ int) { z.add(name, bomb, 200<<20, sum, -1) })
	}
	first := bytes.Index(named(key(0)), []byte("PK"))
	const pattern = "Unrecognized file pattern"
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"ten bombs", archive(10, func(z *hostileZip, i int) { z.add(key(i), bomb, 200<<20, sum, -1) }), "claims to unpack to more than"},
		{"a size that lies", archive(1, func(z *hostileZip, _ int) { z.add(key(0), bomb, 1000, sum, -1) }), "unpacks to more than the 1000 bytes"},
		{"10 GB declared", archive(1, func(z *hostileZip, _ int) { z.add(key(0), bomb, 10<<30, sum, -1) }), "claims 10737418240 bytes"},
		{"2^63 bytes declared", archive(1, func(z *hostileZip, _ int) { z.add(key(0), bomb, 1<<63, sum, -1) }), ""},
		{"one name, two sizes", archive(2, func(z *hostileZip, i int) { z.add(key(0), bomb, uint64(1000+i), sum, -1) }), "twice"},
		{"overlapping members", archive(2, func(z *hostileZip, i int) { z.add(key(0), bomb, 200<<20, sum, first) }), "overlaps"},
		{"60,000 members", archive(60_000, func(z *hostileZip, i int) { z.add(fmt.Sprintf("a/%X/a.sym", i), nil, 0, 0, -1) }), "60000 members"},
		{"up", named("../../etc/AB/x.sym"), pattern}, {"root", named("/a/AB/x.sym"), pattern}, {"backslash", named(`a\b/AB/x.sym`), pattern},
		{"dots", named("a/AB/.."), pattern}, {"NUL", named("a/AB/x\x00.sym"), pattern}, {"no id", named("a/no/x.sym"), pattern},
		{"no zip", []byte("PK"), "not a zip"},
	} {
		status, _, text := s.sendFile("/upload/", token, "symbols.zip", func(w io.Writer) error { _, err := w.Write(c.data); return err })
		if status != http.StatusBadRequest || !strings.Contains(text, c.want) || !strings.HasPrefix(text, `{"error":`) {
			t.Errorf("%s: %d %s, want %q", c.name, status, text, c.want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "symbols", "v1", "*")); err != nil || len(left) != 0 {
		t.Errorf("kept: %q, %v", left, err)
	}
	s.windows(token)
	s.silentClients(token)
	s.hostileELF(token)
	if left, err := os.ReadDir(filepath.Join(s.dir, "symbol-spool")); err != nil || len(left) != 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
	kb := peakKB(t, s.cmd.Process.Pid)
	t.Logf("at most %d MB resident", kb>>10)
	if kb > 200<<10 {
		t.Errorf("the server used %d MB, more than 200", kb>>10)
	}
}

// program is an ELF file of a build id of its own.
func program(id byte, sections ...sample.Section) []byte {
	b := sample.Binary{Format: executable.ELF, Machine: executable.AMD64, ID: bytes.Repeat([]byte{id}, 20),
		Sections: append([]sample.Section{{Name: ".text", Offset: 0x1000, Data: make([]byte, 64), Executable: true}}, sections...)}
	return b.Bytes()
}

// windows has several files unpacked at once that want a large window each.
func (s *server) windows(token string) {
	var packed bytes.Buffer
	z, err := xz.WriterConfig{DictCap: 64 << 20}.NewWriter(&packed)
	if err == nil {
		_, err = z.Write(program('x'))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			status, _, text := s.sendFile("/upload/debug/", token, "kite.xz", func(w io.Writer) error { _, err := w.Write(packed.Bytes()); return err })
			if status != http.StatusCreated {
				s.t.Errorf("xz: %d %s", status, text)
			}
		})
	}
	all.Wait()
}

// silentClients has many begin an upload of 10 GB and say no more, while another
// client is served.
func (s *server) silentClients(token string) {
	for range 200 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			s.t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /upload/ HTTP/1.1\r\nHost: x\r\nAuth-Token: %s\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 10737418240\r\n\r\n"+
			"--x\r\nContent-Disposition: form-data; name=f; filename=f.zip\r\n\r\nPK", token); err != nil {
			s.t.Fatal(err)
		}
	}
	status, _, text := s.sendFile("/upload/", token, "symbols.zip", func(w io.Writer) error {
		z := zip.NewWriter(w)
		f, err := z.Create("kite/" + symbolID + "/kite.sym")
		if err == nil {
			_, err = io.WriteString(f, "MODULE Linux x86_64 "+symbolID+" kite\n")
		}
		if err == nil {
			err = z.Close()
		}
		return err
	})
	if status != http.StatusCreated {
		s.t.Errorf("beside silent clients: %d %s", status, text)
	}
}

// hostileELF has symbols made of files whose debug information lies.
func (s *server) hostileELF(token string) {
	le := endian.LittleEndian
	unit := func(entries []byte) []byte {
		b := le.AppendUint32(nil, uint32(len(entries)+7))
		b = append(le.AppendUint32(le.AppendUint16(b, 4), 0), 8)
		return append(b, entries...)
	}
	entry := func(code byte) []byte {
		return le.AppendUint64(le.AppendUint64([]byte{code}, 0x1000), 8)
	}
	abbreviations := sample.Section{Name: ".debug_abbrev", Offset: 0x8000, Data: []byte("\x01\x2e\x00\x11\x01\x12\x07\x00\x00\x02\x2e\x01\x11\x01\x12\x07\x00\x00\x03\x11\x01\x11\x01\x12\x07\x00\x00\x00")}
	for i, information := range [][]byte{
		unit(append(entry(3), bytes.Repeat(entry(1), 1_000_000)...)), // functions
		unit(append(entry(3), bytes.Repeat(entry(2), 1_000_000)...)), // in each other
		bytes.Repeat([]byte("noise"), 4<<20),
	} {
		data := program(byte('1'+i), abbreviations, sample.Section{Name: ".debug_info", Offset: 0x10000, Data: information})
		status, _, text := s.sendFile("/upload/debug/", token, "kite", func(w io.Writer) error { _, err := w.Write(data); return err }, "Prefer", "wait=120")
		var v struct {
			Conversions []struct{ State, Reason string }
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil || status != http.StatusCreated || len(v.Conversions) != 1 {
			s.t.Errorf("%d %s, %v", status, text, err)
			continue
		}
		if c := v.Conversions[0]; c.State == "waiting" || c.State == "failed" && c.Reason == "" {
			s.t.Errorf("debug information %d: %+v", i, c)
		}
	}
}
