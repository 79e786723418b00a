package values

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"mayday/app/fault"
	"mayday/storage/search/column/segment"
)

// kept is a file of a body and what is said of it, at an address that suits.
func kept(body, said string) []byte {
	data := []byte(body + said)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(said)))
	data = binary.LittleEndian.AppendUint32(data, crc32.Checksum([]byte(said), segment.Castagnoli))
	data = append(data, keptMagic...)
	room := segment.Raw(make([]uint64, len(data)/8+1))
	return room[:copy(room, data)]
}

func TestOpenRefuses(t *testing.T) {
	for said, kind := range map[string]fault.Kind{
		`{`: fault.Malformed, `{"format":2}`: fault.Malformed, `{"format":1,"segments":[{"name":"a"}]}`: fault.NotFound,
		`{"format":1,"fields":[{"name":"a","entries":1}]}`:                      fault.Malformed,
		`{"format":1,"fields":[{"name":"a","values":[],"entries":-1}]}`:         fault.Malformed,
		`{"format":1,"fields":[{"name":"a","values":[],"offset":9}]}`:           fault.Malformed,
		`{"format":1,"fields":[{"name":"a","values":[1]}]}`:                     fault.Malformed,
		`{"format":1,"fields":[{"name":"a","offset":9223372036854775800}]}`:     fault.Malformed,
		`{"format":1,"fields":[{"name":"a","entries":9223372036854775807}]}`:    fault.Malformed,
		`{"format":1,"fields":[{"name":"a","values":[],"entries":0}]} {"x":[}]`: fault.Malformed,
	} {
		if _, err := Open(kept("", said), func() {}, nil); fault.Of(err) != kind {
			t.Errorf("%s: %v", said, err)
		}
	}
	if _, err := Open(kept("", `{"format":1,"fields":[{"name":"a","values":[],"entries":0}]}`), func() {}, nil); err != nil {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add("", `{"format":1,"segments":[],"fields":[{"name":"a","values":[],"entries":0}]}`)
	f.Add("12345678123456781234", `{"format":1,"fields":[{"name":"a","values":[],"entries":1,"offset":0,"crc":1,"hashes_crc":2}]}`)
	f.Fuzz(func(t *testing.T, body, said string) {
		k, err := Open(kept(body, said), func() {}, nil)
		if err != nil {
			return
		}
		for i := range k.file.Fields {
			g := &Table{}
			if k.table(0, k.file.Fields[i].Name, g) && g.base.read() {
				g.base.find(1 << 63)
			}
			k.file.Fields[i].CRC = crc32.Checksum(k.data[k.file.Fields[i].Offset:][:k.file.Fields[i].bytes()], segment.Castagnoli)
			k.table(0, k.file.Fields[i].Name, g) // as if the sum were right
			x := keptHashes{kept: k, field: &k.file.Fields[i]}
			x.field.HashCRC = crc32.Checksum(k.data[x.field.hashesAt():][:12*x.field.Entries], segment.Castagnoli)
			if x.read() {
				x.find(1 << 63)
			}
		}
	})
}
