package column

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"mayday/storage/search/column/segment"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mayday/app/fault"
)

// manifest is the state of the index: which segments are alive. It is written
// whole, and the file CURRENT names the one that counts.
type manifest struct {
	Format   int            `json:"format"`
	Number   uint64         `json:"number"`
	NextID   uint64         `json:"next_id"`
	Segments []manifestItem `json:"segments"`
	Broken   []string       `json:"broken,omitempty"` // weeks that lost a segment and want rebuilding
}

// manifestItem is one segment.
type manifestItem struct {
	Week   string `json:"week"` // folder: 2026/47 or other
	Name   string `json:"name"`
	Rows   int    `json:"rows"`
	Bytes  int    `json:"bytes"`
	Footer uint32 `json:"footer"`          // its CRC
	Gen    uint64 `json:"gen,omitempty"`   // of the delete file; 0: no row is deleted
	Dead   int    `json:"dead,omitempty"`  // deleted rows
	Purge  bool   `json:"purge,omitempty"` // deleted values must leave the disk soon
}

const (
	formatNumber = 1
	currentName  = "CURRENT"
	lockName     = "LOCK"
	// maxManifest bounds what Open reads: an item takes about 150 bytes, and
	// merging keeps a few hundred of them.
	maxManifest = 64 << 20
)

func manifestName(n uint64) string { return fmt.Sprintf("MANIFEST-%06d", n) }

// writeManifest makes m the index's state. committed tells that CURRENT may
// already name it although an error came after.
func writeManifest(d *disk, dir string, m *manifest) (committed bool, err error) {
	body, err := json.Marshal(m)
	if err != nil {
		return false, fault.As(fault.Internal, err, "manifest")
	}
	body = fmt.Appendf(body, "\n%08x\n", crc32.Checksum(body, segment.Castagnoli))
	name := manifestName(m.Number)
	if err := d.write(filepath.Join(dir, name), body); err != nil {
		return false, err
	}
	tmp := filepath.Join(dir, currentName+".tmp")
	if err := d.write(tmp, []byte(name+"\n")); err != nil {
		return false, err
	}
	if err := d.syncDir(dir); err != nil { // the manifest's name is durable before CURRENT says it
		return false, err
	}
	if err := d.rename(tmp, filepath.Join(dir, currentName)); err != nil {
		return true, err
	}
	return true, d.syncDir(dir)
}

// readManifest reads the state; a folder without CURRENT gives an empty one.
func readManifest(dir string) (*manifest, error) {
	current, err := os.ReadFile(filepath.Join(dir, currentName))
	if os.IsNotExist(err) {
		return &manifest{Format: formatNumber}, nil
	}
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(string(current))
	number, err := strconv.ParseUint(strings.TrimPrefix(name, "MANIFEST-"), 10, 64)
	if err != nil || name != manifestName(number) {
		return nil, fault.New(fault.Malformed, "%s names %.40q", currentName, name)
	}
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fault.New(fault.Malformed, "%s has %d bytes", name, info.Size())
	}
	body, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(body)
	return m, fault.Wrap(err, "%s", name)
}

func parseManifest(body []byte) (*manifest, error) {
	line, sum, ok := bytes.Cut(body, []byte("\n"))
	want, err := strconv.ParseUint(strings.TrimSpace(string(sum)), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.Checksum(line, segment.Castagnoli) {
		return nil, fault.New(fault.Malformed, "the checksum is wrong")
	}
	m := new(manifest)
	if err := json.Unmarshal(line, m); err != nil {
		return nil, fault.As(fault.Malformed, err, "manifest")
	}
	if m.Format != formatNumber {
		return nil, fault.New(fault.Unsupported, "format %d, this program writes %d", m.Format, formatNumber)
	}
	for _, s := range m.Segments {
		if s.Name == "" || strings.ContainsAny(s.Name, `/\.`) || strings.Contains(s.Week, "..") || s.Rows < 1 || s.Rows > segment.MaxRows {
			return nil, fault.New(fault.Malformed, "segment %.40q of week %.20q with %d rows", s.Name, s.Week, s.Rows)
		}
	}
	return m, nil
}

// A delete file holds the bits of the dead rows: magic, rows u64, words,
// CRC-32C of all before.
const deadMagic = "MDAYDEL1"

func encodeDead(dead segment.Bitmap, rows int) []byte {
	out := binary.LittleEndian.AppendUint64([]byte(deadMagic), uint64(rows))
	out = append(out, segment.Raw([]uint64(dead))...)
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, segment.Castagnoli))
}

func decodeDead(data []byte, rows int) (segment.Bitmap, error) {
	size := 16 + (rows+63)/64*8
	if len(data) != size+4 || string(data[:8]) != deadMagic || binary.LittleEndian.Uint64(data[8:]) != uint64(rows) ||
		binary.LittleEndian.Uint32(data[size:]) != crc32.Checksum(data[:size], segment.Castagnoli) {
		return nil, fault.New(fault.Malformed, "delete file of %d bytes for %d rows is broken", len(data), rows)
	}
	dead := segment.NewBitmap(rows)
	for i := range dead {
		dead[i] = binary.LittleEndian.Uint64(data[16+i*8:])
	}
	return dead, nil
}
