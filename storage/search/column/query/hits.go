package query

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
)

// sortKey is one value to sort by; missing ones come last either way.
type sortKey struct {
	Missing bool    `json:"m,omitempty"`
	Int     int64   `json:"i,omitempty"`
	Float   float64 `json:"f,omitempty"`
	Text    string  `json:"t,omitempty"`
}

// candidate is a row that may be among the hits.
type candidate struct {
	si   int
	row  int
	id   [16]byte
	keys []sortKey
}

// hits collects the rows of the page asked for.
func (q *query) hits(res *search.Result) error {
	p := q.plan
	order := p.Sort
	if len(order) == 0 {
		order = []plan.Order{{Field: q.s.Table.Get(plan.DateField), Desc: true}}
	}
	var after *candidate
	if p.Cursor != "" {
		var err error
		if after, err = q.readCursor(order); err != nil {
			return err
		}
	}
	want := p.Offset + p.Number
	if p.Number == 0 || int64(p.Offset) >= res.Total {
		return nil
	}
	h := &topRows{q: q, order: order, size: want}
	for _, si := range h.visits() {
		if err := q.alive(); err != nil {
			return err
		}
		if err := h.segment(si, after); err != nil {
			return err
		}
	}
	rows := h.sorted()
	for _, c := range rows[min(p.Offset, len(rows)):] {
		res.Hits = append(res.Hits, q.hit(c))
	}
	if n := len(rows); p.WantCursor && n > p.Offset && n == want {
		res.Cursor = q.cursor(order, &rows[n-1])
	}
	return nil
}

// hit copies the asked columns of a row.
func (q *query) hit(c candidate) search.Hit {
	s := q.picked[c.si].Segment
	q.visited = s
	hit := make(search.Hit, len(q.plan.Columns))
	for _, f := range q.plan.Columns {
		hit[f.Name] = nil
		i, ok := q.filter.Index(f)
		if !ok || s.Cols[i] == nil {
			continue
		}
		switch f.Name {
		case plan.IDField:
			hit[f.Name] = search.FormatID(c.id)
		case plan.DateField:
			hit[f.Name] = s.DateText(c.row)
		default:
			v := s.Cols[i].At(c.row, false)
			if f.Storage == plan.Instant {
				if n, ok := v.(int64); ok {
					v = search.FormatDate(n)
				}
			}
			hit[f.Name] = v
		}
	}
	return hit
}

// topRows keeps the first size rows of the sort order, the last on top.
type topRows struct {
	q     *query
	order []plan.Order
	size  int
	heap  []candidate
	limit int64 // see beyond; -1 when the heap's top has changed
}

// byDate says whether dates alone decide most comparisons; rows are stored in
// their order then.
func (h *topRows) byDate() bool { return h.order[0].Field.Name == plan.DateField }

// visits is the order in which segments are read: by date, those first whose
// rows come first.
func (h *topRows) visits() []int {
	out := make([]int, len(h.q.picked))
	for i := range out {
		out[i] = i
	}
	if h.byDate() {
		slices.SortStableFunc(out, func(a, b int) int {
			x, y := h.q.picked[a].Footer, h.q.picked[b].Footer
			if h.order[0].Desc {
				return cmp.Compare(y.MaxDate, x.MaxDate)
			}
			return cmp.Compare(x.MinDate, y.MinDate)
		})
	}
	return out
}

// Segment offers the selected rows of a segment.
func (h *topRows) segment(si int, after *candidate) error {
	sel := h.q.picked[si]
	h.q.visited = sel.Segment
	cols := make([]*segment.Column, len(h.order))
	for i, o := range h.order {
		cols[i] = sel.Cols[h.q.index(o.Field)]
	}
	keys := make([]sortKey, len(h.order))
	taken := int64(0)
	h.limit = -1
	offer := func(row int) bool {
		if len(h.heap) == h.size && h.beyond(cols[0], row) {
			return !h.byDate() // no later row can be better
		}
		for i := range keys {
			keys[i] = h.key(sel.Segment, cols[i], h.order[i], row)
		}
		c := candidate{si: si, row: row, id: sel.RowID(row), keys: keys}
		if after != nil && !h.before(after, &c) {
			return true
		}
		if len(h.heap) == h.size && !h.before(&c, &h.heap[0]) {
			return true
		}
		c.keys = slices.Clone(keys)
		if len(h.heap) < h.size {
			taken += int64(len(keys))*48 + 64
		}
		h.push(c)
		return true
	}
	if h.byDate() && h.order[0].Desc {
		sel.selected.Down(offer)
	} else {
		sel.selected.Up(offer)
	}
	return h.q.take(taken)
}

// beyond drops most rows by the first sort key alone, when that is a number or
// the only text of a row.
func (h *topRows) beyond(c *segment.Column, row int) bool {
	if c == nil {
		return false
	}
	top := &h.heap[0].keys[0]
	if top.Missing {
		return false
	}
	if c.Meta.Kind == segment.KindString {
		if h.limit < 0 { // where the last of the heap stands, or would, in this dictionary
			h.limit = int64(c.Dict.Search(top.Text))
		}
		ord := int64(c.Ord(row)) - 1
		if h.order[0].Desc {
			return ord < h.limit // a missing one as well
		}
		return ord < 0 || ord > h.limit
	}
	if c.Meta.Kind != segment.KindInt || !c.Has(row) {
		return false
	}
	if v := c.Int(row); h.order[0].Desc {
		return v < top.Int
	} else {
		return v > top.Int
	}
}

// key reads what a row sorts by: the least value when ascending, the greatest
// when descending. Texts stay in the mapped file; those of hits are cloned with
// the cursor only.
func (h *topRows) key(s *segment.Segment, c *segment.Column, o plan.Order, row int) sortKey {
	if c == nil {
		return sortKey{Missing: true}
	}
	switch c.Meta.Kind {
	case segment.KindID:
		return sortKey{} // the tie-break sorts by id; its direction is in before
	case segment.KindString:
		if ord := c.Ord(row); ord > 0 {
			return sortKey{Text: c.Dict.InPlace(ord - 1)}
		}
		return sortKey{Missing: true}
	case segment.KindList, segment.KindToken:
		if v := c.Extreme(o.Desc, row); v >= 0 {
			return sortKey{Text: c.FacetDict().InPlace(uint32(v))}
		}
		return sortKey{Missing: true}
	}
	if !c.Has(row) {
		return sortKey{Missing: true}
	}
	switch c.Meta.Kind {
	case segment.KindFloat:
		return sortKey{Float: c.Float(row)}
	case segment.KindBool:
		if c.Bool(row) {
			return sortKey{Int: 1}
		}
		return sortKey{}
	}
	return sortKey{Int: c.Int(row)}
}

// before says whether a comes before b in the sort order.
func (h *topRows) before(a, b *candidate) bool { return h.compare(a, b) < 0 }

func (h *topRows) compare(a, b *candidate) int {
	for i, o := range h.order {
		if o.Field.Name == plan.IDField {
			c := bytes.Compare(a.id[:], b.id[:])
			if o.Desc {
				c = -c
			}
			if c != 0 {
				return c
			}
			continue
		}
		x, y := &a.keys[i], &b.keys[i]
		if x.Missing != y.Missing {
			if x.Missing {
				return 1
			}
			return -1
		}
		c := cmp.Compare(x.Int, y.Int)
		if c == 0 {
			c = cmp.Compare(x.Float, y.Float)
		}
		if c == 0 {
			c = strings.Compare(x.Text, y.Text)
		}
		if o.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return bytes.Compare(a.id[:], b.id[:])
}

func (h *topRows) push(c candidate) {
	if len(h.heap) < h.size {
		h.heap, h.limit = append(h.heap, c), -1
		for i := len(h.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if h.before(&h.heap[i], &h.heap[up]) {
				return
			}
			h.heap[i], h.heap[up] = h.heap[up], h.heap[i]
			i = up
		}
		return
	}
	h.heap[0], h.limit = c, -1
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h.heap) {
			return
		}
		if down+1 < len(h.heap) && h.before(&h.heap[down], &h.heap[down+1]) {
			down++
		}
		if !h.before(&h.heap[i], &h.heap[down]) {
			return
		}
		h.heap[i], h.heap[down] = h.heap[down], h.heap[i]
		i = down
	}
}

func (h *topRows) sorted() []candidate {
	slices.SortFunc(h.heap, func(a, b candidate) int { return h.compare(&a, &b) })
	return h.heap
}

// A cursor is base64(signature, JSON of cursorBody): the sort values and the id
// of the last hit, bound to the order they belong to.
type cursorBody struct {
	Order string    `json:"o"`
	Keys  []sortKey `json:"k"`
	ID    string    `json:"id"`
}

// RandomSecret signs cursors of one process.
func RandomSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

func (q *query) sign(body []byte) []byte {
	m := hmac.New(sha256.New, q.s.Secret)
	m.Write(body)
	return m.Sum(nil)
}

func (q *query) cursor(order []plan.Order, last *candidate) string {
	body, err := json.Marshal(cursorBody{Order: plan.OrderName(order), Keys: last.keys, ID: search.FormatID(last.id)})
	if err != nil {
		return "" // a NaN among the keys: cannot happen, floats are finite
	}
	return base64.RawURLEncoding.EncodeToString(append(q.sign(body), body...))
}

func (q *query) readCursor(order []plan.Order) (*candidate, error) {
	bad := fault.As(fault.Invalid, &plan.Error{Param: "_cursor", Message: "Bad value for parameter _cursor: not a cursor of this search"}, "super search")
	data, err := base64.RawURLEncoding.DecodeString(q.plan.Cursor)
	if err != nil || len(data) < sha256.Size || !hmac.Equal(data[:sha256.Size], q.sign(data[sha256.Size:])) {
		return nil, bad
	}
	var body cursorBody
	if err := json.Unmarshal(data[sha256.Size:], &body); err != nil {
		return nil, bad
	}
	id, ok := search.ParseID(body.ID)
	if !ok || body.Order != plan.OrderName(order) || len(body.Keys) != len(order) {
		return nil, bad
	}
	for _, k := range body.Keys {
		if math.IsNaN(k.Float) {
			return nil, bad
		}
	}
	return &candidate{id: id, keys: body.Keys}, nil
}
