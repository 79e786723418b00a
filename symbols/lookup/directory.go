package lookup

import (
	"encoding/binary"
	"sync/atomic"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/lookup/packed"
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
	b = t.names.Append(b)
	b = t.paths.Append(b)
	for _, x := range t.indexes() {
		b = binary.AppendUvarint(b, uint64(x.count))
		b = binary.AppendUvarint(b, uint64(len(x.chunks)))
		for i, c := range x.chunks {
			b = binary.AppendUvarint(b, x.bases[i])
			b = binary.AppendUvarint(b, uint64(c.count))
			b = binary.AppendUvarint(b, uint64(c.at))
		}
		b = append(b, x.samples...)
	}
	return b
}

// Open makes a table of a directory and of blocks that lie elsewhere, such as
// in a mapped file. Before a block is used for the first time, check is asked
// whether it is sound; it may be called from several goroutines. The caller
// keeps the blocks in place as long as the table is used.
func Open(directory []byte, blocks [][]byte, check func(k int) bool) (*Table, error) {
	d := packed.Decoder{B: directory}
	t := &Table{store: blockStore{blocks: blocks, check: check, state: make([]atomic.Uint32, len(blocks))}}
	for _, s := range texts(&t.module, &t.verdict) {
		*s = d.Text(maxDirectoryText)
	}
	flags := d.Byte()
	t.module.Found, t.oldInlines = flags&1 != 0, flags&2 != 0
	v := &t.verdict
	v.Strict, v.Symbolic, v.Skipped, v.Lines = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
	for n := d.Uvarint(); n > 0 && !d.Bad && len(v.SkippedLines) < sym.MaxSkippedLines; n-- {
		v.SkippedLines = append(v.SkippedLines, d.Uvarint())
	}
	for _, n := range t.counts.numbers() {
		*n = d.Uvarint()
	}
	t.names, t.paths = d.Dictionary(), d.Dictionary()
	for _, x := range t.indexes() {
		x.decode(&d)
	}
	if d.Bad || d.I != len(d.B) {
		return nil, fault.New(fault.Malformed, "compiled symbols: the directory of %d bytes breaks off or goes on at byte %d", len(d.B), d.I)
	}
	return t, nil
}

// decode reads the place of an index. Whether the groups are sound shows when
// they are used.
func (x *index) decode(d *packed.Decoder) {
	count := d.Uvarint()
	total, samples := uint64(0), 0
	for n := d.Uvarint(); n > 0 && !d.Bad; n-- {
		base := d.Uvarint()
		c := chunk{first: uint32(total), count: uint32(min(d.Uvarint(), maxChunk)), sample: uint32(samples), at: ref(d.Uvarint())}
		if c.count == 0 || len(x.bases) > 0 && base < x.bases[len(x.bases)-1] {
			d.Bad = true
			return
		}
		total += uint64(c.count)
		samples += c.groups()
		x.bases = append(x.bases, base)
		x.chunks = append(x.chunks, c)
	}
	x.samples = d.Bytes(4 * uint64(samples))
	if total != count || count >= ownerPublic {
		d.Bad = true
	}
	x.count = uint32(count)
}
