package lookup

import (
	"encoding/binary"

	"mayday/symbols"
	"mayday/symbols/lookup/function"
)

// Table ends building. The builder cannot be used again.
func (b *Builder) Table(m symbols.Module, v symbols.Verdict) (*Table, error) {
	b.endFunc()
	b.endCFI()
	for i := range b.win {
		b.endWin(i)
	}
	b.intern, b.rules = known{}, known{}
	t := &Table{module: m, counts: b.counts, oldInlines: b.oldInlines, names: b.names.names.Dictionary(), paths: b.paths.names.Dictionary()}
	t.funcs = b.index(&b.funcs)
	t.idleFuncs = b.index(&b.idle)
	t.publics = b.addPublics()
	t.cfi, t.idleCFI = b.addCFIs()
	for i := range b.win {
		t.win[i] = b.addWins(&b.win[i])
	}
	t.rules = b.index(&b.ruleTexts)
	t.files, t.origins, t.infos = b.index(&b.files), b.index(&b.origins), b.index(&b.infos)
	b.w.flush()
	if err := b.overlays(); err != nil && b.w.err == nil {
		b.w.err = err
	}
	t.overlay, t.parityOverlay = b.symbolic.end(), b.parity.end()
	b.w.flush()
	v.Skipped += b.dropped
	t.counts.Publics -= b.dropped
	t.verdict = v
	return t, b.failed(m)
}

// index writes an index of items.
func (b *Builder) index(s *sorter) index {
	o := indexWriter{w: &b.w}
	list := s.all()
	for it, ok := list.next(); ok; it, ok = list.next() {
		o.add(it.start, uint32(it.at))
	}
	return o.end()
}

// addPublics packs the PUBLIC records by address: those of one address
// together, in the order of the file.
func (b *Builder) addPublics() index {
	o := indexWriter{w: &b.w}
	list := b.publics.all()
	var body []byte
	for first, more := list.next(); more; {
		body = body[:0]
		p, n := first, uint64(0)
		for ; more && p.start == first.start; p, more = list.next() {
			if n == maxSharing {
				b.dropped++
				continue
			}
			n++
			body = append(body, byte(p.size>>32))
			body = binary.AppendUvarint(body, p.size&(1<<32-1))
			body = binary.LittleEndian.AppendUint32(body, uint32(p.at))
		}
		b.scratch = append(binary.AppendUvarint(b.scratch[:0], n), body...)
		o.add(first.start, uint32(b.w.add(b.scratch)))
		first = p
	}
	return o.end()
}

// addCFIs indexes the STACK CFI records. One that starts within the record
// before it, by address, is kept but never looked up.
func (b *Builder) addCFIs() (used, idle index) {
	keep, drop := indexWriter{w: &b.w}, indexWriter{w: &b.w}
	var last uint64
	kept := false
	list := b.cfi.all()
	for it, ok := list.next(); ok; it, ok = list.next() {
		if it.size == 0 || it.last < it.start || kept && it.start <= last {
			drop.add(it.start, uint32(it.at))
			continue
		}
		kept, last = true, it.last
		keep.add(it.start, uint32(it.at))
	}
	return keep.end(), drop.end()
}

// addWins indexes the STACK WIN records of one type.
func (b *Builder) addWins(s *sorter) index {
	o := indexWriter{w: &b.w}
	var last uint64
	kept := false
	list := s.all()
	for it, ok := list.next(); ok; it, ok = list.next() {
		if kept && it.start <= last {
			continue
		}
		kept, last = true, it.last
		o.add(it.start, uint32(it.at))
	}
	return o.end()
}

// readFunction reads the front of a function that was packed.
func readFunction(p *pieces, start uint64, at ref, length int) (function.Function, error) {
	b, err := p.piece(at, length)
	if err != nil {
		return function.Function{}, err
	}
	f, _ := function.At(b, start)
	return f, nil
}
