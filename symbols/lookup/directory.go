package lookup

import (
	"encoding/binary"
	"sync/atomic"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/sym"
)

// A compiled file is the blocks of a table and a directory, which says what
// the file is about and where each index lies. The blocks are written as they
// are in memory, each from a multiple of BlockSize on; symbols/cache adds the
// header, the checksums and the file itself.

// maxDirectoryText bounds the texts of a directory: names and ids of a module.
const maxDirectoryText = 1 << 20

// Blocks returns the blocks of the table in order, nil for those that the one
// before spans. They must not be changed.
func (t *Table) Blocks() [][]byte { return t.store.blocks }

// indexes lists all indexes in the order of the directory.
func (t *Table) indexes() []*index {
	return []*index{&t.funcs, &t.idleFuncs, &t.publics, &t.cfi, &t.idleCFI, &t.win[0], &t.win[1],
		&t.files, &t.origins, &t.infos, &t.rules, &t.overlay, &t.parityOverlay}
}

// numbers lists the counts in the order of the directory.
func (c *Counts) numbers() []*uint64 {
	return []*uint64{&c.Funcs, &c.Lines, &c.Inlines, &c.Publics, &c.Files, &c.Origins, &c.CFIInits, &c.CFI, &c.Wins}
}

// texts lists the strings of the head in the order of the directory.
func texts(m *symbols.Module, v *symbols.Verdict) []*string {
	return []*string{&m.OS, &m.Arch, &m.ID, &m.Name, &m.CodeID, &m.CodeFile, &m.Generator, &m.URL, &v.SymbolicReason}
}

// AppendDirectory appends the directory of the table to b.
func (t *Table) AppendDirectory(b []byte) []byte {
	m, v := t.module, t.verdict
	for _, s := range texts(&m, &v) {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	var flags byte
	if m.Found {
		flags |= 1
	}
	if t.oldInlines {
		flags |= 2
	}
	b = append(b, flags)
	for _, n := range []uint64{v.Strict, v.Symbolic, v.Skipped, v.Lines, uint64(len(v.SkippedLines))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, n := range v.SkippedLines {
		b = binary.AppendUvarint(b, n)
	}
	c := t.counts
	for _, n := range c.numbers() {
		b = binary.AppendUvarint(b, *n)
	}
	b = t.names.append(b)
	b = t.paths.append(b)
	for _, x := range t.indexes() {
		b = binary.AppendUvarint(b, uint64(x.count))
		b = binary.AppendUvarint(b, uint64(len(x.chunks)))
		for _, c := range x.chunks {
			b = binary.AppendUvarint(b, c.base)
			b = binary.AppendUvarint(b, uint64(c.count))
			b = binary.AppendUvarint(b, uint64(c.at))
		}
	}
	return b
}

// Open makes a table of a directory and of blocks that lie elsewhere, such as
// in a mapped file. Before a block is used for the first time, check is asked
// whether it is sound; it may be called from several goroutines. The caller
// keeps the blocks in place as long as the table is used.
func Open(directory []byte, blocks [][]byte, check func(k int) bool) (*Table, error) {
	d := decoder{b: directory}
	t := &Table{store: blockStore{blocks: blocks, check: check, state: make([]atomic.Uint32, len(blocks))}}
	for _, s := range texts(&t.module, &t.verdict) {
		*s = d.string()
	}
	flags := d.byte()
	t.module.Found, t.oldInlines = flags&1 != 0, flags&2 != 0
	v := &t.verdict
	v.Strict, v.Symbolic, v.Skipped, v.Lines = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	for n := d.uvarint(); n > 0 && !d.bad && len(v.SkippedLines) < sym.MaxSkippedLines; n-- {
		v.SkippedLines = append(v.SkippedLines, d.uvarint())
	}
	for _, n := range t.counts.numbers() {
		*n = d.uvarint()
	}
	t.names, t.paths = d.dictionary(), d.dictionary()
	for _, x := range t.indexes() {
		x.decode(&d)
	}
	if d.bad || d.i != len(d.b) {
		return nil, fault.New(fault.Malformed, "compiled symbols: the directory of %d bytes breaks off or goes on at byte %d", len(d.b), d.i)
	}
	return t, nil
}

// decode reads the place of an index. Whether the chunks are sound shows when
// they are used.
func (x *index) decode(d *decoder) {
	count := d.uvarint()
	total := uint64(0)
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		c := chunk{base: d.uvarint(), first: uint32(total), count: uint32(min(d.uvarint(), maxChunk)), at: ref(d.uvarint())}
		if c.count == 0 || len(x.chunks) > 0 && c.base < x.chunks[len(x.chunks)-1].base {
			d.bad = true
			return
		}
		total += uint64(c.count)
		x.chunks = append(x.chunks, c)
	}
	if total != count || count >= ownerPublic {
		d.bad = true
	}
	x.count = uint32(count)
}

// string reads a text with its length before it.
func (d *decoder) string() string {
	n := d.uvarint()
	if n > maxDirectoryText || n > uint64(len(d.b)-d.i) {
		d.bad = true
		return ""
	}
	d.i += int(n)
	return string(d.b[d.i-int(n) : d.i])
}

// append writes the texts of a dictionary, of which there may be none.
func (d *dictionary) append(b []byte) []byte {
	if d == nil {
		return append(b, 0)
	}
	b = append(b, byte(len(d.texts)))
	for _, t := range d.texts {
		b = append(b, byte(len(t)))
		b = append(b, t...)
	}
	return b
}

// dictionary reads the texts of a dictionary. It is good for unpacking alone.
func (d *decoder) dictionary() *dictionary {
	var x dictionary
	for n := d.byte(); n > 0 && !d.bad; n-- {
		t := d.string()
		if len(t) > maxText || len(x.texts) == maxCodes {
			d.bad = true
			break
		}
		x.texts = append(x.texts, t)
	}
	x.fill()
	return &x
}
