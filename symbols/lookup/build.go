package lookup

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"io"
	"slices"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/lookup/packed"
	"mayday/symbols/sym"
)

// Read reads a whole symbol file into a Table. It fails only when r does, or
// when the file is larger than a table can hold: what is wrong with the file
// itself is in the table's verdict.
func Read(r io.Reader) (*Table, error) {
	s := sym.NewScanner(r)
	b := NewBuilder()
	for s.Scan() {
		b.Add(s.Record())
	}
	if err := s.Err(); err != nil {
		return nil, fault.Wrap(err, "read symbol file, line %d", s.Line())
	}
	return b.Table(s.Module(), s.Verdict())
}

// item is a record while a table is built: the addresses it covers and where
// it is packed.
type item struct {
	start, size uint64
	last        uint64 // that it or an INLINE range of it reaches
	at          ref
	leaves      bool // an INLINE range reaches beyond it
}

// Builder packs records into a Table.
type Builder struct {
	w      blockWriter
	intern interner
	// names packs those of functions, paths those of files; plain keeps texts
	// as they are.
	names, paths, plain namePacker

	fn     function.Packer
	inFunc bool
	funcs  []item
	idle   []item // FUNC records that cover nothing

	publics []public

	cfi      []item
	cfiOpen  bool
	cfiStart uint64
	cfiSize  uint64
	cfiRule  uint32
	cfiCount int
	cfiLast  uint64
	cfiBuf   []byte

	win [2][]winItem // FPO, frame data

	rules     map[string]uint32
	ruleTexts []entry

	files, origins, infos []entry
	oldInlines            bool
	counts                Counts
	scratch               []byte
}

// public is a PUBLIC record while a table is built.
type public struct {
	address uint64
	param   uint32
	name    ref
	flags   byte
}

// winItem is a STACK WIN record while a table is built.
type winItem struct {
	start, last uint64 // what it covers after overlaps are cut
	size        uint32
	sizes       [6]uint32
	rule        uint32
}

// NewBuilder makes an empty builder.
func NewBuilder() *Builder {
	return &Builder{rules: map[string]uint32{}, intern: newInterner(), names: namePacker{form: formName}, paths: namePacker{form: formPath}}
}

// Add packs one record.
func (b *Builder) Add(r *sym.Record) {
	switch r.Kind {
	case sym.KindLine:
		b.counts.Lines++
		b.fn.Line(r)
		return
	case sym.KindInline:
		b.counts.Inlines++
		b.oldInlines = b.oldInlines || r.OldInline
		b.fn.Inline(r)
		return
	case sym.KindCFI:
		b.counts.CFI++
		b.addCFI(r)
		return
	}
	b.addBlock(r)
}

// addBlock packs a record that starts something new.
func (b *Builder) addBlock(r *sym.Record) {
	switch r.Kind {
	case sym.KindFile:
		b.counts.Files++
		b.files = append(b.files, entry{uint64(r.ID), uint32(b.text(r.Text, &b.paths))})
	case sym.KindInlineOrigin:
		b.counts.Origins++
		b.origins = append(b.origins, entry{uint64(r.ID), uint32(b.text(r.Text, &b.names))})
	case sym.KindInfo:
		b.infos = append(b.infos, entry{uint64(len(b.infos)), uint32(b.text(r.Text, &b.plain))})
	case sym.KindFunc:
		b.counts.Funcs++
		b.endFunc()
		b.fn.Begin(r, uint32(b.text(r.Text, &b.names)))
		b.inFunc = true
	case sym.KindPublic:
		b.counts.Publics++
		p := public{address: r.Address, param: r.ParamSize, name: b.text(r.Text, &b.names)}
		if r.Multiple {
			p.flags = function.Multiple
		}
		b.publics = append(b.publics, p)
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
	at, slot, found := b.intern.find(&b.w, b.scratch)
	if found {
		return at
	}
	at = b.w.add(b.scratch)
	b.intern.set(slot, at)
	return at
}

// rule numbers a text of which a file holds few different ones.
func (b *Builder) rule(t []byte) uint32 {
	if n, ok := b.rules[string(t)]; ok {
		return n
	}
	n := uint32(len(b.ruleTexts))
	b.rules[string(t)] = n
	b.ruleTexts = append(b.ruleTexts, entry{uint64(n), uint32(b.text(t, &b.plain))})
	return n
}

func (b *Builder) endFunc() {
	if !b.inFunc {
		return
	}
	b.inFunc = false
	p := b.fn.End()
	it := item{start: p.Start, size: p.Size, last: p.Last, at: b.w.add(p.Bytes), leaves: p.Leaves}
	if end := it.start + it.size - 1; it.size == 0 || end < it.start {
		b.idle = append(b.idle, it)
		return
	}
	b.funcs = append(b.funcs, it)
}

func (b *Builder) addCFI(r *sym.Record) {
	b.cfiBuf = packed.AppendZigzag(b.cfiBuf, r.Address-b.cfiLast)
	b.cfiBuf = binary.AppendUvarint(b.cfiBuf, uint64(b.rule(r.Text)))
	b.cfiLast = r.Address
	b.cfiCount++
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
	b.cfi = append(b.cfi, item{start: b.cfiStart, size: b.cfiSize, last: b.cfiStart + b.cfiSize - 1, at: b.w.add(p)})
}

// addWin keeps a STACK WIN record by minidump-stackwalk's rules: one that
// overlaps the record before it in the file cuts that one short if it starts
// later, stands beside it if both cover the same, and is dropped otherwise.
func (b *Builder) addWin(r *sym.Record) {
	it := winItem{start: r.Address, last: r.Address + r.Size - 1, size: uint32(r.Size), sizes: r.Win.Sizes, rule: b.rule(r.Text)}
	if r.Size == 0 || it.last < it.start {
		return
	}
	list := &b.win[0]
	if r.Win.HasProgram {
		list = &b.win[1]
	}
	if n := len(*list); n > 0 {
		before := &(*list)[n-1]
		if it.start <= before.last && before.start <= it.last {
			switch {
			case it.start > before.start:
				before.last = it.start - 1
			case it.start == before.start && it.last == before.last:
			default:
				return
			}
		}
	}
	*list = append(*list, it)
}

// Table ends building. The builder cannot be used again.
func (b *Builder) Table(m symbols.Module, v symbols.Verdict) (*Table, error) {
	b.endFunc()
	b.endCFI()
	b.intern = interner{}
	sortItems(b.funcs, func(x, y item) int { return cmp.Compare(x.start, y.start) })
	sortItems(b.idle, func(x, y item) int { return cmp.Compare(x.start, y.start) })
	t := &Table{module: m, verdict: v, counts: b.counts, oldInlines: b.oldInlines, names: b.names.names.Dictionary(), paths: b.paths.names.Dictionary()}
	t.funcs = b.w.addIndex(entries(b.funcs))
	t.idleFuncs = b.w.addIndex(entries(b.idle))
	t.publics = b.addPublics()
	t.cfi, t.idleCFI = b.addCFIs()
	for i := range b.win {
		t.win[i] = b.addWins(b.win[i])
	}
	t.rules = b.w.addIndex(b.ruleTexts)
	for i, list := range [][]entry{b.files, b.origins, b.infos} {
		if !slices.IsSortedFunc(list, byKey) {
			slices.SortStableFunc(list, byKey)
		}
		*[]*index{&t.files, &t.origins, &t.infos}[i] = b.w.addIndex(list)
	}
	b.files, b.origins, b.infos, b.rules = nil, nil, nil, nil
	b.w.flush()
	t.store.blocks = b.w.blocks
	symbolic, parity := overlays(t, b.funcs, b.publics)
	t.overlay = b.w.addIndex(symbolic)
	t.parityOverlay = b.w.addIndex(parity)
	b.w.flush()
	t.store.blocks = b.w.blocks
	if b.w.full {
		return nil, fault.New(fault.TooLarge, "symbol file of module %q: more than %d MiB of packed records", m.Name, maxBlocks*BlockSize>>20)
	}
	return t, nil
}

func byKey(x, y entry) int { return cmp.Compare(x.key, y.key) }

func sortItems(s []item, f func(x, y item) int) {
	if !slices.IsSortedFunc(s, f) {
		slices.SortStableFunc(s, f)
	}
}

func entries(s []item) []entry {
	out := make([]entry, len(s))
	for i, it := range s {
		out[i] = entry{it.start, uint32(it.at)}
	}
	return out
}

// addPublics packs the PUBLIC records by address: those of one address
// together, in the order of the file.
func (b *Builder) addPublics() index {
	byAddress := func(x, y public) int { return cmp.Compare(x.address, y.address) }
	if !slices.IsSortedFunc(b.publics, byAddress) {
		slices.SortStableFunc(b.publics, byAddress)
	}
	var list []entry
	for i := 0; i < len(b.publics); {
		j := i
		for j < len(b.publics) && b.publics[j].address == b.publics[i].address {
			j++
		}
		p := binary.AppendUvarint(b.scratch[:0], uint64(j-i))
		for _, q := range b.publics[i:j] {
			p = append(p, q.flags)
			p = binary.AppendUvarint(p, uint64(q.param))
			p = binary.LittleEndian.AppendUint32(p, uint32(q.name))
		}
		b.scratch = p
		list = append(list, entry{b.publics[i].address, uint32(b.w.add(p))})
		i = j
	}
	return b.w.addIndex(list)
}

// addCFIs indexes the STACK CFI records. One that starts within the record
// before it, by address, is kept but never looked up.
func (b *Builder) addCFIs() (used, idle index) {
	sortItems(b.cfi, func(x, y item) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.last, y.last))
	})
	var keep, drop []entry
	var last uint64
	for _, it := range b.cfi {
		e := entry{it.start, uint32(it.at)}
		if it.size == 0 || it.last < it.start || len(keep) > 0 && it.start <= last {
			drop = append(drop, e)
			continue
		}
		last = it.last
		keep = append(keep, e)
	}
	b.cfi = nil
	return b.w.addIndex(keep), b.w.addIndex(drop)
}

// addWins packs the STACK WIN records of one type.
func (b *Builder) addWins(list []winItem) index {
	slices.SortStableFunc(list, func(x, y winItem) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.last, y.last))
	})
	var out []entry
	var last uint64
	for i, it := range list {
		if i > 0 && len(out) > 0 && it.start <= last {
			continue
		}
		last = it.last
		p := binary.AppendUvarint(b.scratch[:0], it.last-it.start+1)
		p = binary.AppendUvarint(p, uint64(it.size))
		for _, v := range it.sizes {
			p = binary.AppendUvarint(p, uint64(v))
		}
		p = binary.AppendUvarint(p, uint64(it.rule))
		b.scratch = p
		out = append(out, entry{it.start, uint32(b.w.add(p))})
	}
	return b.w.addIndex(out)
}

// interner finds texts that are packed already.
type interner struct {
	seed  maphash.Seed
	slots []uint64 // high half the hash, low half the reference + 1; 0 is free
	used  int
}

func newInterner() interner {
	return interner{seed: maphash.MakeSeed(), slots: make([]uint64, 1<<10)}
}

// find returns where t, with its length before it, was written, or the slot
// it is to take.
func (n *interner) find(w *blockWriter, t []byte) (ref, uint64, bool) {
	if n.used*3 > len(n.slots)*2 {
		n.grow()
	}
	h := uint32(maphash.Bytes(n.seed, t))
	mask := uint32(len(n.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := n.slots[i]
		if s == 0 {
			return 0, uint64(i)<<32 | uint64(h), false
		}
		if uint32(s>>32) == h && w.has(ref(uint32(s)-1), t) {
			return ref(uint32(s) - 1), 0, true
		}
	}
}

func (n *interner) set(slot uint64, at ref) {
	n.slots[slot>>32] = slot<<32 | uint64(uint32(at)+1)
	n.used++
}

func (n *interner) grow() {
	old := n.slots
	n.slots = make([]uint64, 2*len(old))
	mask := uint32(len(n.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := uint32(s>>32) & mask
		for n.slots[i] != 0 {
			i = (i + 1) & mask
		}
		n.slots[i] = s
	}
}

// has reports whether t is what was written at r.
func (w *blockWriter) has(r ref, t []byte) bool {
	k, off := int(r>>blockBits), int(r&(BlockSize-1))
	b := w.cur
	if k < len(w.blocks) {
		b = w.blocks[k]
	}
	return off <= len(b) && bytes.HasPrefix(b[off:], t)
}
