package column

import (
	"bytes"
	"math"
	"slices"
	"sort"
	"strings"

	"mayday/storage/search"
	"mayday/storage/search/lucene"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// filter evaluates the expressions of one plan, segment by segment. Compiled
// patterns are kept between segments.
type filter struct {
	fields   map[*plan.Field]int
	patterns map[*plan.Expr]*pattern
}

// pattern is a string test that was compiled once.
type pattern struct {
	op      plan.Op
	literal string // Contains, Prefix and Suffix without live wildcards
	isPlain bool
	dfa     *lucene.DFA
	needle  string // every match holds it
	words   []string
}

// rows evaluates e over the rows of a segment.
func (f *filter) rows(s *segment, e *plan.Expr) (bitmap, error) {
	if c, ok := f.oneColumn(s, e); ok {
		ords, err := f.ordinals(s, c, e)
		if err != nil {
			return nil, err
		}
		return c.rowsOf(ords), nil
	}
	n := s.footer.Rows
	switch e.Op {
	case plan.Never:
		return newBitmap(n), nil
	case plan.Not:
		b, err := f.rows(s, e.Args[0])
		if err == nil {
			b.not(n)
		}
		return b, err
	case plan.And, plan.Or:
		var all bitmap
		for _, a := range e.Args {
			b, err := f.rows(s, a)
			if err != nil {
				return nil, err
			}
			switch {
			case all == nil:
				all = b
			case e.Op == plan.And:
				all.and(b)
			default:
				all.or(b)
			}
		}
		if all == nil {
			all = newBitmap(n)
		}
		return all, nil
	}
	return f.leaf(s, e)
}

// oneColumn says whether e tests a single-valued string column alone, so that
// the whole of it can be decided once for each distinct value.
func (f *filter) oneColumn(s *segment, e *plan.Expr) (*columnData, bool) {
	leaf := e
	for leaf.Op <= plan.Not {
		if len(leaf.Args) == 0 {
			return nil, false
		}
		leaf = leaf.Args[0]
	}
	i, ok := f.fields[leaf.Field]
	if !ok || s.cols[i] == nil || s.cols[i].meta.Kind != kindString || !onlyField(e, leaf.Field) {
		return nil, false
	}
	return s.cols[i], true
}

// onlyField walks an expression, which is three levels deep at most.
func onlyField(e *plan.Expr, field *plan.Field) bool {
	if e.Op > plan.Not {
		return e.Field == field
	}
	return !slices.ContainsFunc(e.Args, func(a *plan.Expr) bool { return !onlyField(a, field) })
}

// ordinals evaluates e for the ordinals of a kindString column: 0 is absent,
// v+1 the dictionary's v.
func (f *filter) ordinals(s *segment, c *columnData, e *plan.Expr) (bitmap, error) {
	n := c.dict.n + 1
	switch e.Op {
	case plan.Never:
		return newBitmap(n), nil
	case plan.Not:
		b, err := f.ordinals(s, c, e.Args[0])
		if err == nil {
			b.not(n)
		}
		return b, err
	case plan.And, plan.Or:
		var all bitmap
		for _, a := range e.Args {
			b, err := f.ordinals(s, c, a)
			if err != nil {
				return nil, err
			}
			switch {
			case all == nil:
				all = b
			case e.Op == plan.And:
				all.and(b)
			default:
				all.or(b)
			}
		}
		if all == nil {
			all = newBitmap(n)
		}
		return all, nil
	case plan.Null:
		b := newBitmap(n)
		b.set(0)
		return b, nil
	}
	b := newBitmap(n)
	err := f.matching(s, c, &c.dict, e, func(v uint32) { b.set(int(v) + 1) })
	return b, err
}

// rowsOf turns a set of ordinals into the rows that have one of them.
func (c *columnData) rowsOf(ords bitmap) bitmap {
	out := newBitmap(c.n)
	switch c.meta.Width {
	case 1:
		var table [256]uint64
		ords.each(func(i int) {
			if i < 256 {
				table[i] = 1
			}
		})
		for i, o := range c.data {
			out[i>>6] |= table[o] << (i & 63)
		}
	case 2:
		for i, o := range view[uint16](c.data) {
			out[i>>6] |= (ords[o>>6] >> (o & 63) & 1) << (i & 63)
		}
	default:
		for i, o := range view[uint32](c.data) {
			out[i>>6] |= (ords[o>>6] >> (o & 63) & 1) << (i & 63)
		}
	}
	return out
}

// leaf evaluates a test that rowsOf does not serve.
func (f *filter) leaf(s *segment, e *plan.Expr) (bitmap, error) {
	n := s.footer.Rows
	out := newBitmap(n)
	i, ok := f.fields[e.Field]
	var c *columnData
	if ok {
		c = s.cols[i]
	}
	if c == nil {
		if e.Op == plan.Null {
			out.not(n)
		}
		return out, nil
	}
	switch c.meta.Kind {
	case kindID:
		if id, ok := search.ParseID(e.Text); ok && (e.Op == plan.Match || e.Op == plan.Equal) {
			if row := s.findRow(id); row >= 0 {
				out.set(row)
			}
		}
	case kindInt, kindFloat, kindBool:
		c.numbers(e, out)
	case kindString: // a leaf of a mixed expression
		ords, err := f.ordinals(s, c, e)
		if err != nil {
			return nil, err
		}
		return c.rowsOf(ords), nil
	case kindList, kindToken:
		return out, f.lists(s, c, e, out)
	}
	return out, nil
}

// numbers tests an int, float or bool column.
func (c *columnData) numbers(e *plan.Expr, out bitmap) {
	switch {
	case e.Op == plan.Null:
		if c.present != nil {
			copy(out, c.present)
			out.not(c.n)
		}
		return
	case e.Op == plan.IsBool && c.meta.Kind == kindBool:
		copy(out, bitmap(view[uint64](c.data)))
		if !e.Bool {
			out.not(c.n)
		}
	case e.Op == plan.IntRange && c.meta.Kind == kindInt:
		c.intRange(max(e.Lo, c.meta.Min), min(e.Hi, c.meta.Max), out)
	case e.Op == plan.Real && c.meta.Kind == kindFloat:
		for i, v := range view[float64](c.data) {
			if (v > e.FLo || v == e.FLo && !e.OpenLo) && (v < e.FHi || v == e.FHi && !e.OpenHi) {
				out.set(i)
			}
		}
	}
	if c.present != nil {
		out.and(c.present)
	}
}

func (c *columnData) intRange(lo, hi int64, out bitmap) {
	if lo > hi {
		return
	}
	// Both bounds are within the column's own range now, so differences fit.
	a, span := uint64(lo)-uint64(c.meta.Min), uint64(hi)-uint64(lo)
	switch c.meta.Width {
	case 1:
		between(c.data, uint8(a), uint8(span), out)
	case 2:
		between(view[uint16](c.data), uint16(a), uint16(span), out)
	case 4:
		between(view[uint32](c.data), uint32(a), uint32(span), out)
	default:
		between(view[uint64](c.data), a, span, out)
	}
}

// between sets the rows with a ≤ v ≤ a+span, one comparison each.
func between[T uint8 | uint16 | uint32 | uint64](data []T, a, span T, out bitmap) {
	for i, v := range data {
		if v-a <= span {
			out[i>>6] |= 1 << (i & 63)
		}
	}
}

// lists tests a column of many values a row.
func (f *filter) lists(s *segment, c *columnData, e *plan.Expr, out bitmap) error {
	d := &c.dict
	if c.meta.Kind == kindToken {
		d = &c.folded
	}
	if e.Op == plan.Null {
		for row := range c.n {
			if c.starts[row] == c.starts[row+1] {
				out.set(row)
			}
		}
		return nil
	}
	hit := newBitmap(d.n)
	if err := f.matching(s, c, d, e, func(v uint32) { hit.set(int(v)) }); err != nil {
		return err
	}
	for row := range c.n {
		for i := c.starts[row]; i < c.starts[row+1]; i++ {
			o := c.ord(int(i))
			if c.fold != nil {
				if o = c.fold[o]; o == 0 {
					continue
				}
				o--
			}
			if hit.has(int(o)) {
				out.set(row)
				break
			}
		}
	}
	return nil
}

// compile prepares the test of a leaf once.
func (f *filter) compile(e *plan.Expr) (*pattern, error) {
	if p := f.patterns[e]; p != nil {
		return p, nil
	}
	p := &pattern{op: e.Op}
	var err error
	switch e.Op {
	case plan.Match:
		switch e.Field.Storage {
		case plan.Text:
			p.words = text.Split(e.Text)
		case plan.Semicolon:
			p.words = text.Tokens(e.Text)
		}
	case plan.Contains, plan.Prefix, plan.Suffix:
		if p.literal, p.isPlain = lucene.Literal(e.Text); !p.isPlain {
			p.dfa, err = lucene.Wildcard(star(e.Op != plan.Prefix) + e.Text + star(e.Op != plan.Suffix))
		}
	case plan.Regexp:
		if p.dfa, err = lucene.Regexp(e.Text); err == nil {
			p.needle = p.dfa.Required()
		}
	}
	if err != nil {
		return nil, &plan.Error{Param: e.Field.Name, Message: "Bad value for parameter " + e.Field.Name + ": " + err.Error()}
	}
	f.patterns[e] = p
	return p, nil
}

func star(yes bool) string {
	if yes {
		return "*"
	}
	return ""
}

// matching calls hit for the dictionary entries that a leaf accepts.
func (f *filter) matching(s *segment, c *columnData, d *dict, e *plan.Expr, hit func(v uint32)) error {
	p, err := f.compile(e)
	if err != nil {
		return err
	}
	switch {
	case e.Op == plan.Equal, e.Op == plan.Match && e.Field.Storage == plan.Keyword:
		if v, ok := d.find(e.Text); ok {
			hit(v)
		}
	case e.Op == plan.Match && e.Field.Storage == plan.Semicolon:
		for _, w := range p.words {
			if v, ok := d.find(w); ok {
				hit(v)
			}
		}
	case e.Op == plan.Match:
		s.withWords(c, p.words, hit)
	case p.isPlain && e.Op == plan.Prefix:
		for v := d.search(p.literal); v < d.n && d.hasPrefix(uint32(v), p.literal); v++ {
			hit(uint32(v))
		}
	case p.isPlain:
		return f.plain(d, p, hit)
	case p.dfa != nil:
		if err := d.automaton(p, hit); err != nil {
			return &plan.Error{Param: e.Field.Name, Message: "Bad value for parameter " + e.Field.Name + ": " + err.Error()}
		}
	}
	return nil
}

func (d *dict) hasPrefix(v uint32, prefix string) bool {
	if d.sep == "" {
		e := d.entry(v)
		return len(e) >= len(prefix) && string(e[:len(prefix)]) == prefix
	}
	return strings.HasPrefix(d.text(v), prefix)
}

// plain finds a literal at the end or anywhere.
func (f *filter) plain(d *dict, p *pattern, hit func(uint32)) error {
	lit := []byte(p.literal)
	switch {
	case len(lit) == 0:
		for v := range d.n {
			hit(uint32(v))
		}
	case d.sep == "" && p.op == plan.Suffix:
		for v := range d.n {
			if bytes.HasSuffix(d.entry(uint32(v)), lit) {
				hit(uint32(v))
			}
		}
	case d.sep == "":
		d.containing(lit, hit)
	case p.op == plan.Contains && !straddles(p.literal, d.sep):
		parts := newBitmap(d.entries())
		d.containing(lit, func(v uint32) { parts.set(int(v)) })
		d.valuesWith(parts, hit)
	default:
		return d.joined(p, hit)
	}
	return nil
}

// straddles says whether a literal could lie across a separator: it holds a
// piece of it at an end, or all of it.
func straddles(lit, sep string) bool {
	if strings.Contains(lit, strings.TrimSpace(sep)) {
		return true
	}
	for n := 1; n < len(sep); n++ {
		if strings.HasSuffix(lit, sep[:n]) || strings.HasPrefix(lit, sep[len(sep)-n:]) {
			return true
		}
	}
	return false
}

// containing finds the flat entries that hold lit by one search of the arena.
func (d *dict) containing(lit []byte, hit func(uint32)) {
	n := d.entries()
	for from := 0; ; {
		at := bytes.Index(d.arena[from:], lit)
		if at < 0 {
			return
		}
		at += from
		v := sort.Search(n, func(i int) bool { return int(d.offs[i+1]) > at })
		if v >= n {
			return
		}
		if end := int(d.offs[v+1]); at+len(lit) <= end {
			hit(uint32(v))
			from = end
		} else {
			from = at + 1
		}
	}
}

// valuesWith finds the composite values that have one of parts.
func (d *dict) valuesWith(parts bitmap, hit func(uint32)) {
	for v := range d.n {
		for _, p := range d.parts[d.partAt[v]:d.partAt[v+1]] {
			if parts.has(int(p)) {
				hit(uint32(v))
				break
			}
		}
	}
}

// joined tests composite values written out, where a literal may lie across
// parts.
func (d *dict) joined(p *pattern, hit func(uint32)) error {
	var buf []byte
	lit := []byte(p.literal)
	for v := range d.n {
		buf = d.value(buf[:0], uint32(v))
		ok := bytes.HasSuffix(buf, lit)
		if p.op == plan.Contains {
			ok = bytes.Contains(buf, lit)
		}
		if ok {
			hit(uint32(v))
		}
	}
	return nil
}

// automaton runs a compiled pattern over every entry.
func (d *dict) automaton(p *pattern, hit func(uint32)) error {
	a := p.dfa
	if d.sep != "" {
		return d.automatonParts(a, hit)
	}
	needle := []byte(p.needle)
	if len(needle) > 1 {
		d.containing(needle, func(v uint32) {
			if a.Match(d.entry(v)) {
				hit(v)
			}
		})
		return a.Err()
	}
	for v := range d.n {
		if a.Match(d.entry(uint32(v))) {
			hit(uint32(v))
		}
		if a.Err() != nil {
			return a.Err()
		}
	}
	return a.Err()
}

// automatonParts runs over composite values and reads each part once for each
// state that it is met in.
func (d *dict) automatonParts(a *lucene.DFA, hit func(uint32)) error {
	memo := map[uint64]lucene.State{}
	first := make([]lucene.State, d.entries()) // from the start state, the usual one
	for i := range first {
		first[i] = -1
	}
	step := func(s lucene.State, part uint32) lucene.State {
		if s == a.Start() {
			if first[part] < 0 {
				first[part] = a.Step(s, d.entry(part))
			}
			return first[part]
		}
		key := uint64(s)<<32 | uint64(part)
		to, ok := memo[key]
		if !ok {
			to = a.Step(s, d.entry(part))
			if len(memo) < maxMemo {
				memo[key] = to
			}
		}
		return to
	}
	sep := []byte(d.sep)
	for v := range d.n {
		s := a.Start()
		for i, p := range d.parts[d.partAt[v]:d.partAt[v+1]] {
			if i > 0 {
				s = a.Step(s, sep)
			}
			if s = step(s, p); s == lucene.Dead {
				break
			}
		}
		if a.Accept(s) {
			hit(uint32(v))
		}
		if a.Err() != nil {
			return a.Err()
		}
	}
	return a.Err()
}

// maxMemo bounds the remembered (state, part) pairs to some 50 MB.
const maxMemo = 1 << 20

// withWords finds the entries that hold any of the words. A text of several
// parts holds the words of its parts: separators belong to no word.
func (s *segment) withWords(c *columnData, words []string, hit func(uint32)) {
	if len(words) == 0 {
		return
	}
	want := make(map[string]bool, len(words))
	for _, w := range words {
		want[w] = true
	}
	d := &c.dict
	found := newBitmap(d.entries())
	for v := range d.entries() {
		text.Words(d.entryString(uint32(v)), func(w string) bool {
			if want[w] {
				found.set(v)
				return false
			}
			return true
		})
	}
	if d.sep != "" {
		d.valuesWith(found, hit)
		return
	}
	found.each(func(v int) { hit(uint32(v)) })
}

// weekSpan says whether a segment can hold a date of the plan.
func (s *segment) overlaps(p *plan.Plan) bool {
	return s.footer.MaxDate >= p.From && s.footer.MinDate < p.To && p.From != math.MaxInt64
}
