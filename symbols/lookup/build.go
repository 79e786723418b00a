package lookup

import (
	"cmp"
	"encoding/binary"
	"io"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/lookup/packed"
	"mayday/symbols/sym"
)

// What one record holds has limits, since it is packed in memory: those of a
// file count as lines that were skipped when they are beyond. No compiler comes
// near them. Those of a function are in package function.
const (
	// maxRows is how many STACK CFI records may follow one STACK CFI INIT.
	maxRows = 1 << 16
	// maxSharing is how many PUBLIC records of one address are kept: a linker
	// that folds functions which are alike makes some thousands.
	maxSharing = 1 << 16
	// maxEntries bounds the indexes of a table, of which a part stays in memory:
	// symbols of 2,000 MB have 8 million entries.
	maxEntries = 32 << 20
	// maxClaims bounds the work on functions that overlap.
	maxClaims = 32 << 20
)

// Read reads a whole symbol file into a Table in memory. It fails only when r
// does, or when the file is larger than a table can hold: what is wrong with
// the file itself is in the table's verdict.
func Read(r io.Reader) (*Table, error) {
	var m memory
	t, err := Compile(r, &m, nil)
	if err == nil {
		t.store.blocks = m.blocks
	}
	return t, err
}

// Compile is Read for a file of any size: the blocks go to a place of their own,
// and what takes long to sort to a scratch, so that memory is bounded. The table
// has a head and a directory and finds nothing; see Open.
func Compile(r io.Reader, to Blocks, spill Spill) (*Table, error) {
	s := sym.NewScanner(r)
	b := NewBuilder(to, spill)
	for s.Scan() {
		if b.Add(s.Record()) {
			continue
		}
		if err := b.failed(s.Module()); err != nil {
			return nil, err
		}
		s.Skip()
	}
	if err := s.Err(); err != nil {
		return nil, fault.Wrap(err, "read symbol file, line %d", s.Line())
	}
	return b.Table(s.Module(), s.Verdict())
}

// Builder packs records into a Table.
type Builder struct {
	w      blockWriter
	spool  spool
	intern known
	// names packs those of functions, paths those of files; plain keeps texts
	// as they are.
	names, paths, plain namePacker

	fn          function.Packer
	inFunc      bool
	funcs, idle sorter // idle are FUNC records that cover nothing

	publics sorter // at is the name, size the parameters and, above them, the flags

	cfi      sorter
	cfiOpen  bool
	cfiStart uint64
	cfiSize  uint64
	cfiRule  uint32
	cfiCount int
	cfiLast  uint64
	cfiBuf   []byte

	win        [2]sorter // FPO, frame data
	winPending [2]winItem

	rules     known
	ruleTexts sorter

	files, origins, infos sorter
	claims                sorter
	claimed               int         // all claims there were
	symbolic, parity      indexWriter // overlays
	oldInlines            bool
	counts                Counts
	dropped               uint64 // records that were taken back after Add
	scratch               []byte
}

// winItem is the last STACK WIN record of its type, which the next one may cut.
type winItem struct {
	open        bool
	start, last uint64 // what it covers after overlaps are cut
	size        uint32
	sizes       [6]uint32
	rule        uint32
}

// NewBuilder makes an empty builder that puts blocks to a place. What does not
// fit little memory goes to the scratch; with none, all stays in memory.
func NewBuilder(to Blocks, spill Spill) *Builder {
	b := &Builder{w: blockWriter{to: to}, rules: newKnown(maxRules), intern: newKnown(maxTexts), names: namePacker{form: formName}, paths: namePacker{form: formPath}}
	b.symbolic.w, b.parity.w = &b.w, &b.w
	if spill != nil {
		b.spool.to = spill
		for _, s := range b.sorters() {
			s.spool = &b.spool
		}
	}
	b.cfi.byLast, b.win[0].byLast, b.win[1].byLast, b.claims.byLast = true, true, true, true
	b.claims.fold = true
	return b
}

// sorters lists all.
func (b *Builder) sorters() []*sorter {
	return []*sorter{&b.funcs, &b.idle, &b.publics, &b.cfi, &b.win[0], &b.win[1], &b.ruleTexts, &b.files, &b.origins, &b.infos, &b.claims}
}

// Add packs one record. It reports false when that is not kept, as there are too
// many of its kind in one place, or when building failed.
func (b *Builder) Add(r *sym.Record) bool {
	switch r.Kind {
	case sym.KindLine:
		if !b.fn.Line(r) {
			return false
		}
		b.counts.Lines++
		return true
	case sym.KindInline:
		if !b.fn.Inline(r) {
			return false
		}
		b.counts.Inlines++
		b.oldInlines = b.oldInlines || r.OldInline
		return true
	case sym.KindCFI:
		return b.addCFI(r)
	}
	b.addBlock(r)
	return !b.w.full && b.w.err == nil && b.spool.err == nil && b.entries() <= maxEntries
}

// entries is about how many entries the indexes will have.
func (b *Builder) entries() int {
	return b.funcs.count + b.idle.count + b.publics.count + b.cfi.count + b.win[0].count + b.win[1].count + b.ruleTexts.count +
		b.files.count + b.origins.count + b.infos.count + int(b.symbolic.x.count+b.parity.x.count)
}

// failed is why building cannot go on, nil when it can.
func (b *Builder) failed(m symbols.Module) error {
	switch err := cmp.Or(b.w.err, b.spool.err); {
	case err != nil:
		return fault.Wrap(err, "compile symbols of module %q", m.Name)
	case b.w.full:
		return fault.New(fault.TooLarge, "symbol file of module %q: more than %d MiB of packed records", m.Name, maxBlocks*BlockSize>>20)
	case b.entries() > maxEntries:
		return fault.New(fault.TooLarge, "symbol file of module %q: more than %d functions, names and ranges", m.Name, maxEntries)
	case b.claimed > maxClaims:
		return fault.New(fault.TooLarge, "symbol file of module %q: more than %d lines and calls in functions that overlap", m.Name, maxClaims)
	}
	return nil
}

// addBlock packs a record that starts something new.
func (b *Builder) addBlock(r *sym.Record) {
	switch r.Kind {
	case sym.KindFile:
		b.counts.Files++
		b.files.add(item{start: uint64(r.ID), at: b.text(r.Text, &b.paths)})
	case sym.KindInlineOrigin:
		b.counts.Origins++
		b.origins.add(item{start: uint64(r.ID), at: b.text(r.Text, &b.names)})
	case sym.KindInfo:
		b.infos.add(item{start: uint64(b.infos.count), at: b.text(r.Text, &b.plain)})
	case sym.KindFunc:
		b.counts.Funcs++
		b.endFunc()
		b.fn.Begin(r, uint32(b.text(r.Text, &b.names)))
		b.inFunc = true
	case sym.KindPublic:
		b.counts.Publics++
		p := item{start: r.Address, size: uint64(r.ParamSize), at: b.text(r.Text, &b.names)}
		if r.Multiple {
			p.size |= function.Multiple << 32
		}
		b.publics.add(p)
	case sym.KindCFIInit:
		b.counts.CFIInits++
		b.endFunc()
		b.endCFI()
		b.cfiOpen, b.cfiStart, b.cfiSize, b.cfiRule = true, r.Address, r.Size, b.rule(r.Text)
		b.cfiBuf, b.cfiCount, b.cfiLast = b.cfiBuf[:0], 0, r.Address
	case sym.KindWin:
		b.counts.Wins++
		b.addWin(r)
	}
}

// text packs a name once and returns where.
func (b *Builder) text(t []byte, n *namePacker) ref {
	form, t := n.pack(t)
	b.scratch = binary.AppendUvarint(b.scratch[:0], uint64(len(t))<<formBits|uint64(form))
	b.scratch = append(b.scratch, t...)
	at, place, found := b.intern.find(b.scratch)
	if found {
		return ref(at)
	}
	r := b.w.add(b.scratch)
	b.intern.set(place, uint32(r))
	return r
}

// rule numbers a text of which a file holds few different ones.
func (b *Builder) rule(t []byte) uint32 {
	n, place, found := b.rules.find(t)
	if found {
		return n
	}
	n = uint32(b.ruleTexts.count)
	b.rules.set(place, n)
	b.ruleTexts.add(item{start: uint64(n), at: b.text(t, &b.plain)})
	return n
}

func (b *Builder) endFunc() {
	if !b.inFunc {
		return
	}
	b.inFunc = false
	p := b.fn.End()
	it := item{start: p.Start, size: p.Size, last: p.Last, at: b.w.add(p.Bytes), length: uint32(len(p.Bytes))}
	if p.Leaves {
		it.length |= itemLeaves
	}
	if end := it.start + it.size - 1; it.size == 0 || end < it.start {
		b.idle.add(it)
		return
	}
	b.funcs.add(it)
}

func (b *Builder) addCFI(r *sym.Record) bool {
	if b.cfiCount == maxRows {
		return false
	}
	b.counts.CFI++
	b.cfiBuf = packed.AppendZigzag(b.cfiBuf, r.Address-b.cfiLast)
	b.cfiBuf = binary.AppendUvarint(b.cfiBuf, uint64(b.rule(r.Text)))
	b.cfiLast = r.Address
	b.cfiCount++
	return true
}

func (b *Builder) endCFI() {
	if !b.cfiOpen {
		return
	}
	b.cfiOpen = false
	p := binary.AppendUvarint(b.scratch[:0], b.cfiSize)
	p = binary.AppendUvarint(p, uint64(b.cfiRule))
	p = binary.AppendUvarint(p, uint64(b.cfiCount))
	p = append(p, b.cfiBuf...)
	b.scratch = p
	b.cfi.add(item{start: b.cfiStart, size: b.cfiSize, last: b.cfiStart + b.cfiSize - 1, at: b.w.add(p)})
}

// addWin keeps a STACK WIN record by minidump-stackwalk's rules: one that
// overlaps the record before it in the file cuts that one short if it starts
// later, stands beside it if both cover the same, and is dropped otherwise.
func (b *Builder) addWin(r *sym.Record) {
	it := winItem{open: true, start: r.Address, last: r.Address + r.Size - 1, size: uint32(r.Size), sizes: r.Win.Sizes, rule: b.rule(r.Text)}
	if r.Size == 0 || it.last < it.start {
		return
	}
	list := 0
	if r.Win.HasProgram {
		list = 1
	}
	before := &b.winPending[list]
	if before.open && it.start <= before.last && before.start <= it.last {
		switch {
		case it.start > before.start:
			before.last = it.start - 1
		case it.start == before.start && it.last == before.last:
		default:
			return
		}
	}
	b.endWin(list)
	*before = it
}

// endWin packs the last STACK WIN record of a list.
func (b *Builder) endWin(list int) {
	it := &b.winPending[list]
	if !it.open {
		return
	}
	it.open = false
	p := binary.AppendUvarint(b.scratch[:0], it.last-it.start+1)
	p = binary.AppendUvarint(p, uint64(it.size))
	for _, v := range it.sizes {
		p = binary.AppendUvarint(p, uint64(v))
	}
	p = binary.AppendUvarint(p, uint64(it.rule))
	b.scratch = p
	b.win[list].add(item{start: it.start, last: it.last, at: b.w.add(p)})
}
