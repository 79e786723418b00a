// Package filter finds the rows of a segment that pass the filters of a Super
// Search plan.
//
// A test of texts is decided once for each distinct value of a dictionary, or
// each part of a composite one such as a frame of a stack, and becomes a set of
// ordinals; that becomes a bitmap of rows. Words come from the segment's word
// index where it has one, else from one fast search of its dictionaries
// (phrase.go). It counts nothing and picks no hits: package query does.
package filter

import (
	"bytes"
	"slices"
	"strings"

	"mayday/storage/search"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/lucene"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// Filter evaluates the expressions of one plan, segment by segment. Compiled
// patterns are kept between segments.
type Filter struct {
	fields   map[*plan.Field]int
	patterns map[*plan.Expr]*pattern
}

// New makes a filter for plans over the fields of a table.
func New(table *plan.Fields) *Filter {
	f := &Filter{fields: make(map[*plan.Field]int, len(table.All())), patterns: map[*plan.Expr]*pattern{}}
	for i := range table.All() {
		f.fields[&table.All()[i]] = i
	}
	return f
}

// Index is a field's place in the table.
func (f *Filter) Index(field *plan.Field) (int, bool) {
	i, ok := f.fields[field]
	return i, ok
}

// pattern is a string test that was compiled once.
type pattern struct {
	op      plan.Op
	literal string // Contains, Prefix and Suffix without live wildcards
	isPlain bool
	dfa     *lucene.DFA
	needle  string // every match holds it
	words   []string
	phrase  *text.Phrase
}

// Rows evaluates e over the rows of a segment.
func (f *Filter) Rows(s *segment.Segment, e *plan.Expr) (segment.Bitmap, error) {
	if c, ok := f.oneColumn(s, e); ok {
		ords, err := f.ordinals(s, c, e)
		if err != nil {
			return nil, err
		}
		if !ords.Any() {
			return segment.NewBitmap(s.Footer.Rows), nil
		}
		return c.RowsOf(ords), nil
	}
	n := s.Footer.Rows
	switch e.Op {
	case plan.Never:
		return segment.NewBitmap(n), nil
	case plan.Not:
		b, err := f.Rows(s, e.Args[0])
		if err == nil {
			b.Not(n)
		}
		return b, err
	case plan.And, plan.Or:
		return combine(e, n, func(a *plan.Expr) (segment.Bitmap, error) { return f.Rows(s, a) })
	}
	return f.leaf(s, e)
}

// oneColumn says whether e tests a single-valued string column alone, so that
// the whole of it can be decided once for each distinct value.
func (f *Filter) oneColumn(s *segment.Segment, e *plan.Expr) (*segment.Column, bool) {
	leaf := e
	for leaf.Op <= plan.Not {
		if len(leaf.Args) == 0 {
			return nil, false
		}
		leaf = leaf.Args[0]
	}
	i, ok := f.fields[leaf.Field]
	if !ok || s.Cols[i] == nil || s.Cols[i].Meta.Kind != segment.KindString || !onlyField(e, leaf.Field) {
		return nil, false
	}
	return s.Cols[i], true
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
func (f *Filter) ordinals(s *segment.Segment, c *segment.Column, e *plan.Expr) (segment.Bitmap, error) {
	n := c.Dict.N + 1
	switch e.Op {
	case plan.Never:
		return segment.NewBitmap(n), nil
	case plan.Not:
		b, err := f.ordinals(s, c, e.Args[0])
		if err == nil {
			b.Not(n)
		}
		return b, err
	case plan.And, plan.Or:
		return combine(e, n, func(a *plan.Expr) (segment.Bitmap, error) { return f.ordinals(s, c, a) })
	case plan.Null:
		b := segment.NewBitmap(n)
		b.Set(0)
		return b, nil
	}
	b := segment.NewBitmap(n)
	err := f.matching(s, c, &c.Dict, e, func(v uint32) { b.Set(int(v) + 1) })
	return b, err
}

// leaf evaluates a test that rowsOf does not serve.
func (f *Filter) leaf(s *segment.Segment, e *plan.Expr) (segment.Bitmap, error) {
	n := s.Footer.Rows
	out := segment.NewBitmap(n)
	i, ok := f.fields[e.Field]
	var c *segment.Column
	if ok {
		c = s.Cols[i]
	}
	if c == nil {
		if e.Op == plan.Null {
			out.Not(n)
		}
		return out, nil
	}
	switch c.Meta.Kind {
	case segment.KindID:
		if id, ok := search.ParseID(e.Text); ok && (e.Op == plan.Match || e.Op == plan.Equal || e.Op == plan.Phrase) {
			if row := s.FindRow(id); row >= 0 {
				out.Set(row)
			}
		}
	case segment.KindInt, segment.KindFloat, segment.KindBool:
		c.Numbers(e, out)
	case segment.KindString: // a leaf of a mixed expression
		ords, err := f.ordinals(s, c, e)
		if err != nil {
			return nil, err
		}
		return c.RowsOf(ords), nil
	case segment.KindList, segment.KindToken:
		return out, f.lists(s, c, e, out)
	}
	return out, nil
}

// lists tests a column of many values a row.
func (f *Filter) lists(s *segment.Segment, c *segment.Column, e *plan.Expr, out segment.Bitmap) error {
	d := &c.Dict
	if c.Meta.Kind == segment.KindToken {
		d = &c.Folded
	}
	if e.Op == plan.Null {
		for row := range c.N {
			if c.Starts[row] == c.Starts[row+1] {
				out.Set(row)
			}
		}
		return nil
	}
	hit := segment.NewBitmap(d.N)
	if err := f.matching(s, c, d, e, func(v uint32) { hit.Set(int(v)) }); err != nil {
		return err
	}
	if !hit.Any() {
		return nil
	}
	if c.Fold != nil { // decide for the values as rows name them
		folded := hit
		hit = segment.NewBitmap(len(c.Fold))
		for o, v := range c.Fold {
			if v > 0 && folded.Has(int(v-1)) {
				hit.Set(o)
			}
		}
	}
	switch c.Meta.Width {
	case 1:
		rowsWith(c.Data, c.Starts, hit, out)
	case 2:
		rowsWith(segment.View[uint16](c.Data), c.Starts, hit, out)
	default:
		rowsWith(segment.View[uint32](c.Data), c.Starts, hit, out)
	}
	return nil
}

// rowsWith sets the rows that have one of the values hit.
func rowsWith[T uint8 | uint16 | uint32](data []T, starts []uint32, hit, out segment.Bitmap) {
	for row := range len(starts) - 1 {
		for _, o := range data[starts[row]:starts[row+1]] {
			if hit[o>>6]>>(o&63)&1 != 0 {
				out.Set(row)
				break
			}
		}
	}
}

// compile prepares the test of a leaf once.
func (f *Filter) compile(e *plan.Expr) (*pattern, error) {
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
	case plan.Phrase, plan.WordPrefix:
		if e.Field.Storage == plan.Text {
			var ok bool
			if p.phrase, ok = text.NewPhrase(e.Text, e.Op == plan.WordPrefix); !ok {
				return nil, &plan.Error{Param: "q", Message: "Bad value for parameter q: a phrase of more than 64 words"}
			}
		}
		p.literal = e.Text
		if e.Field.Storage == plan.Semicolon {
			p.literal = text.Lower(e.Text)
		}
	case plan.Contains, plan.Prefix, plan.Suffix:
		if p.literal, p.isPlain = lucene.Literal(e.Text); !p.isPlain {
			p.dfa, err = lucene.Wildcard(e.Wildcard())
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

// matching calls hit for the dictionary entries that a leaf accepts.
func (f *Filter) matching(s *segment.Segment, c *segment.Column, d *segment.Dict, e *plan.Expr, hit func(v uint32)) error {
	p, err := f.compile(e)
	if err != nil {
		return err
	}
	switch {
	case e.Op == plan.Equal, e.Op == plan.Match && e.Field.Storage == plan.Keyword:
		if v, ok := d.Find(e.Text); ok {
			hit(v)
		}
	case e.Op == plan.Match && e.Field.Storage == plan.Semicolon:
		for _, w := range p.words {
			if v, ok := d.Find(w); ok {
				hit(v)
			}
		}
	case p.phrase != nil:
		return f.phrases(s, c, p.phrase, hit)
	case e.Op == plan.Phrase:
		if v, ok := d.Find(p.literal); ok {
			hit(v)
		}
	case e.Op == plan.WordPrefix:
		prefixed(d, p.literal, hit)
	case e.Op == plan.Match:
		return withWords(s, c, p.words, hit)
	case p.isPlain && e.Op == plan.Prefix:
		prefixed(d, p.literal, hit)
	case p.isPlain:
		return f.plain(d, p, hit)
	case p.dfa != nil:
		if err := automaton(d, p, hit); err != nil {
			return &plan.Error{Param: e.Field.Name, Message: "Bad value for parameter " + e.Field.Name + ": " + err.Error()}
		}
	}
	return nil
}

// prefixed finds the values that begin with a literal: they stand together.
func prefixed(d *segment.Dict, literal string, hit func(uint32)) {
	for v := d.Search(literal); v < d.N && d.HasPrefix(uint32(v), literal); v++ {
		hit(uint32(v))
	}
}

// plain finds a literal at the end or anywhere.
func (f *Filter) plain(d *segment.Dict, p *pattern, hit func(uint32)) error {
	lit := []byte(p.literal)
	switch {
	case len(lit) == 0:
		for v := range d.N {
			hit(uint32(v))
		}
	case d.Sep == "" && p.op == plan.Suffix:
		for v := range d.N {
			if bytes.HasSuffix(d.Entry(uint32(v)), lit) {
				hit(uint32(v))
			}
		}
	case d.Sep == "":
		d.Containing(lit, hit)
	case p.op == plan.Contains && !straddles(p.literal, d.Sep):
		parts := segment.NewBitmap(d.Entries())
		d.Containing(lit, func(v uint32) { parts.Set(int(v)) })
		d.ValuesWith(parts, hit)
	default:
		return joined(d, p, hit)
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

// joined tests composite values written out, where a literal may lie across
// parts.
func joined(d *segment.Dict, p *pattern, hit func(uint32)) error {
	var buf []byte
	lit := []byte(p.literal)
	for v := range d.N {
		buf = d.Value(buf[:0], uint32(v))
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
func automaton(d *segment.Dict, p *pattern, hit func(uint32)) error {
	a := p.dfa
	if d.Sep != "" {
		return automatonParts(d, a, hit)
	}
	needle := []byte(p.needle)
	if len(needle) > 1 {
		d.Containing(needle, func(v uint32) {
			if a.Match(d.Entry(v)) {
				hit(v)
			}
		})
		return a.Err()
	}
	for v := range d.N {
		if a.Match(d.Entry(uint32(v))) {
			hit(uint32(v))
		}
		if a.Err() != nil {
			return a.Err()
		}
	}
	return a.Err()
}

// automatonParts runs over composite values and reads each part once for each
// State that it is met in.
func automatonParts(d *segment.Dict, a *lucene.DFA, hit func(uint32)) error {
	var memo [][]lucene.State // by state and part, -1 for what was not met
	cells := 0
	step := func(s lucene.State, part uint32) lucene.State {
		for int(s) >= len(memo) {
			memo = append(memo, nil)
		}
		row := memo[s]
		if row == nil {
			if cells+d.Entries() > maxMemo {
				return a.Step(s, d.Entry(part))
			}
			cells += d.Entries()
			row = make([]lucene.State, d.Entries())
			for i := range row {
				row[i] = -1
			}
			memo[s] = row
		}
		if row[part] < 0 {
			row[part] = a.Step(s, d.Entry(part))
		}
		return row[part]
	}
	sep := []byte(d.Sep)
	for v := range d.N {
		s := a.Start()
		for i, p := range d.Parts[d.PartAt[v]:d.PartAt[v+1]] {
			if i > 0 {
				s = a.Step(s, sep)
			}
			if s = step(s, p); a.Settled(s) {
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

// maxMemo bounds the remembered (state, part) pairs to 16 MB.
const maxMemo = 4 << 20

// withWords finds the entries that hold any of the words. A text of several
// parts holds the words of its parts: separators belong to no word.
func withWords(s *segment.Segment, c *segment.Column, words []string, hit func(uint32)) error {
	if len(words) == 0 {
		return nil
	}
	d := &c.Dict
	found := segment.NewBitmap(d.Entries())
	if x := s.Words.Load(); x != nil && x.Has(c.Meta.Name) {
		for _, w := range words {
			if err := x.Entries(c.Meta.Name, w, func(v uint32) { found.Set(int(v)) }); err != nil {
				return err
			}
		}
	} else {
		scanWords(d, words, found)
	}
	if d.Sep != "" {
		d.ValuesWith(found, hit)
		return nil
	}
	found.Each(func(v int) { hit(uint32(v)) })
	return nil
}

// scanWords is withWords without an index.
func scanWords(d *segment.Dict, words []string, found segment.Bitmap) {
	want := make(map[string]bool, len(words))
	look := make([]segment.Word, 0, len(words))
	for _, w := range words {
		want[w] = true
		look = append(look, segment.Word{Text: w})
	}
	d.MayHold(look, func(v uint32) {
		if found.Has(int(v)) {
			return
		}
		text.Words(d.EntryString(v), func(w string) bool {
			if want[w] {
				found.Set(int(v))
				return false
			}
			return true
		})
	})
}

// combine joins what the arguments of an And or Or select out of n; without
// arguments that is nothing.
func combine(e *plan.Expr, n int, selected func(*plan.Expr) (segment.Bitmap, error)) (segment.Bitmap, error) {
	var all segment.Bitmap
	for _, a := range e.Args {
		b, err := selected(a)
		if err != nil {
			return nil, err
		}
		switch {
		case all == nil:
			all = b
		case e.Op == plan.And:
			all.And(b)
		default:
			all.Or(b)
		}
	}
	if all == nil {
		all = segment.NewBitmap(n)
	}
	return all, nil
}
