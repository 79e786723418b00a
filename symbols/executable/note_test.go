package executable

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestNote(t *testing.T) {
	note := func(kind byte, name, desc string) string {
		pad := func(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }
		return string([]byte{byte(len(name)), 0, 0, 0, byte(len(desc)), 0, 0, 0, kind, 0, 0, 0}) + pad(name) + pad(desc)
	}
	for name, c := range map[string]struct{ notes, want string }{
		"first":     {note(3, "GNU\x00", "abcdef"), "abcdef"},
		"second":    {note(1, "GNU\x00", "x") + note(3, "GNU\x00", "abcd"), "abcd"},
		"other":     {note(3, "Go\x00\x00", "abcd"), ""},
		"none":      {"", ""},
		"too short": {note(3, "GNU\x00", "abcd")[:17], ""},
		"too long":  {"\xff\xff\xff\xff\xff\xff\xff\xff\x03\x00\x00\x00GNU\x00", ""},
	} {
		im := &Image{Order: binary.LittleEndian, file: newPages(bytes.NewReader([]byte(c.notes)), uint64(len(c.notes)))}
		if got := string(im.note(0, uint64(len(c.notes)))); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
