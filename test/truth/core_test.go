package truth

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"mayday/minidump"
)

// coreFile is a core file of one thread, made by hand.
func coreFile() []byte {
	o := binary.LittleEndian
	var notes []byte
	note := func(kind uint32, d []byte) {
		notes = o.AppendUint32(o.AppendUint32(o.AppendUint32(notes, 5), uint32(len(d))), kind)
		notes = append(notes, "CORE\x00\x00\x00\x00"...)
		notes = append(notes, d...)
		notes = append(notes, make([]byte, -len(d)&3)...)
	}
	status := make([]byte, 336)
	o.PutUint32(status[32:], 77)
	o.PutUint64(status[112+16*8:], 0x401010) // rip
	o.PutUint64(status[112+19*8:], 0x700100) // rsp
	note(notePrStatus, status)
	info := make([]byte, 128)
	o.PutUint32(info, 11)
	o.PutUint32(info[8:], 1)
	o.PutUint64(info[16:], 8)
	note(noteSigInfo, info)
	var file []byte
	for _, v := range []uint64{1, 4096, 0x401000, 0x402000, 0} {
		file = o.AppendUint64(file, v)
	}
	note(noteFile, append(file, "/bin/made\x00"...))
	b := &bytes.Buffer{}
	h := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_CORE), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2}
	stack := bytes.Repeat([]byte{0xaa}, 0x400)
	at := uint64(64 + 2*56)
	for _, v := range []any{h,
		elf.Prog64{Type: uint32(elf.PT_NOTE), Off: at, Filesz: uint64(len(notes))},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 6, Off: at + uint64(len(notes)), Vaddr: 0x700000, Filesz: 0x400, Memsz: 0x400}} {
		_ = binary.Write(b, o, v) // a bytes.Buffer does not fail
	}
	return append(append(b.Bytes(), notes...), stack...)
}

func TestCoreToMinidump(t *testing.T) {
	c, err := readCore(bytes.NewReader(coreFile()))
	if err != nil {
		t.Fatal(err)
	}
	b := c.dump(func(string) []byte { return []byte{1, 2, 3, 4} }).Bytes()
	d, err := minidump.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Errors) != 0 || len(d.Threads) != 1 || len(d.Modules) != 1 || d.Exception == nil {
		t.Fatalf("errors %v, %d threads, %d modules", d.Errors, len(d.Threads), len(d.Modules))
	}
	ctx, err := d.Context(d.Exception.Raw.Context)
	if err != nil || ctx.IP() != 0x401010 || ctx.SP() != 0x700100 {
		t.Errorf("context %v, %v", ctx, err)
	}
	if v, ok := d.Uint(0x700100, 4); !ok || v != 0xaaaaaaaa {
		t.Errorf("stack holds %#x, %v", v, ok)
	}
}

func FuzzCore(f *testing.F) {
	f.Add(coreFile())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readCore(bytes.NewReader(b))
		if err != nil {
			return
		}
		c.dump(func(string) []byte { return nil }).Bytes()
	})
}
