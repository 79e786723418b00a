package lucene

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"mayday/app/fault"
)

// kind is what a node of the tree means.
type kind uint8

const (
	kNone   kind = iota // no text at all
	kEps                // the empty text
	kClass              // one character of ranges
	kConcat             // list[0], then list[1]
	kAlt                // any of list
	kInter              // all of list
	kNot                // any text but list[0]
	kRepeat             // list[0], min to max times
)

type node struct {
	kind     kind
	nullable bool
	min, max int32 // kRepeat; max -1 is no bound
	list     []int32
	ranges   []rune // kClass: pairs, sorted, both ends included
}

// none and eps are the same in every tree.
const (
	none int32 = iota
	eps
)

// tree holds the nodes of one pattern, equal ones once, so that a node's number
// is its identity.
type tree struct {
	nodes   []node
	index   map[string]int32
	derived map[uint64]int32
	any     int32 // one character
	all     int32 // any text
	err     error
	key     []byte
}

func newTree() *tree {
	t := &tree{index: map[string]int32{}, derived: map[uint64]int32{}}
	t.add(node{kind: kNone})
	t.add(node{kind: kEps, nullable: true})
	t.any = t.class([]rune{0, utf8.MaxRune})
	t.all = t.add(node{kind: kRepeat, nullable: true, max: -1, list: []int32{t.any}})
	return t
}

var errTree = fault.New(fault.Invalid, "pattern is too complex: more than %d nodes", maxNodes)

func (t *tree) add(n node) int32 {
	k := append(t.key[:0], byte(n.kind))
	k = binary.LittleEndian.AppendUint32(k, uint32(n.min))
	k = binary.LittleEndian.AppendUint32(k, uint32(n.max))
	for _, l := range n.list {
		k = binary.LittleEndian.AppendUint32(k, uint32(l))
	}
	for _, r := range n.ranges {
		k = binary.LittleEndian.AppendUint32(k, uint32(r))
	}
	t.key = k
	if id, ok := t.index[string(k)]; ok {
		return id
	}
	if len(t.nodes) >= maxNodes {
		t.err = errTree
		return none
	}
	id := int32(len(t.nodes))
	t.nodes = append(t.nodes, n)
	t.index[string(k)] = id
	return id
}

func (t *tree) char(r rune) int32 { return t.class([]rune{r, r}) }

// class makes a class of pairs in any order.
func (t *tree) class(pairs []rune) int32 {
	if len(pairs) == 0 {
		return none
	}
	return t.add(node{kind: kClass, ranges: normal(pairs)})
}

// normal sorts pairs and joins those that touch.
func normal(pairs []rune) []rune {
	type span struct{ lo, hi rune }
	list := make([]span, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, span{pairs[i], pairs[i+1]})
	}
	slices.SortFunc(list, func(a, b span) int { return int(a.lo) - int(b.lo) })
	out := []rune{list[0].lo, list[0].hi}
	for _, s := range list[1:] {
		if last := &out[len(out)-1]; s.lo <= *last+1 {
			*last = max(*last, s.hi)
		} else {
			out = append(out, s.lo, s.hi)
		}
	}
	return out
}

// inverse gives the characters outside normal pairs.
func inverse(pairs []rune) []rune {
	var out []rune
	next := rune(0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] > next {
			out = append(out, next, pairs[i]-1)
		}
		next = pairs[i+1] + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, next, utf8.MaxRune)
	}
	return out
}

func (t *tree) concat(a, b int32) int32 {
	switch {
	case a == none || b == none:
		return none
	case a == eps:
		return b
	case b == eps:
		return a
	case a == t.all && b == t.all:
		return a
	}
	if n := &t.nodes[a]; n.kind == kConcat { // lean to the right, so that equal texts are equal nodes
		first, second := n.list[0], n.list[1]
		return t.concat(first, t.concat(second, b))
	}
	return t.add(node{kind: kConcat, list: []int32{a, b}, nullable: t.nodes[a].nullable && t.nodes[b].nullable})
}

// alt is the union; classes are merged into one.
func (t *tree) alt(list ...int32) int32 {
	flat := make([]int32, 0, len(list))
	var pairs []rune
	nullable := false
	for _, id := range list {
		if t.nodes[id].kind == kAlt {
			flat = append(flat, t.nodes[id].list...)
		} else {
			flat = append(flat, id)
		}
	}
	out := flat[:0]
	for _, id := range flat {
		n := &t.nodes[id]
		switch {
		case id == none:
			continue
		case id == t.all:
			return id
		case n.kind == kClass:
			pairs = append(pairs, n.ranges...)
			continue
		}
		nullable = nullable || n.nullable
		out = append(out, id)
	}
	if len(pairs) > 0 {
		out = append(out, t.class(pairs))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	switch len(out) {
	case 0:
		return none
	case 1:
		return out[0]
	}
	return t.add(node{kind: kAlt, list: slices.Clone(out), nullable: nullable})
}

func (t *tree) inter(list ...int32) int32 {
	flat := make([]int32, 0, len(list))
	for _, id := range list {
		if t.nodes[id].kind == kInter {
			flat = append(flat, t.nodes[id].list...)
		} else {
			flat = append(flat, id)
		}
	}
	out := flat[:0]
	nullable := true
	for _, id := range flat {
		if id == none {
			return none
		}
		if id != t.all {
			nullable = nullable && t.nodes[id].nullable
			out = append(out, id)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	switch len(out) {
	case 0:
		return t.all
	case 1:
		return out[0]
	}
	return t.add(node{kind: kInter, list: slices.Clone(out), nullable: nullable})
}

func (t *tree) not(a int32) int32 {
	switch {
	case a == none:
		return t.all
	case a == t.all:
		return none
	case t.nodes[a].kind == kNot:
		return t.nodes[a].list[0]
	}
	return t.add(node{kind: kNot, list: []int32{a}, nullable: !t.nodes[a].nullable})
}

func (t *tree) repeat(a, least, most int32) int32 {
	n := &t.nodes[a]
	switch {
	case most == 0:
		return eps
	case most > 0 && least > most:
		return none
	case a == none && least > 0:
		return none
	case a == none, a == eps:
		return eps
	case least == 1 && most == 1:
		return a
	case n.kind == kRepeat && n.min == 0 && n.max < 0:
		return a // (x*){n,m} is x*
	}
	if n.nullable {
		least = 0
	}
	return t.add(node{kind: kRepeat, min: least, max: most, list: []int32{a}, nullable: least == 0})
}

// derive gives what may follow r. Depth is bounded by the pattern's length:
// derivatives nest no deeper than what they are taken of.
func (t *tree) derive(id int32, r rune) int32 {
	if t.err != nil {
		return none
	}
	n := t.nodes[id]
	switch n.kind {
	case kNone, kEps:
		return none
	case kClass:
		for i := 0; i+1 < len(n.ranges); i += 2 {
			if r >= n.ranges[i] && r <= n.ranges[i+1] {
				return eps
			}
		}
		return none
	}
	key := uint64(id)<<32 | uint64(r)
	if d, ok := t.derived[key]; ok {
		return d
	}
	var d int32
	switch n.kind {
	case kConcat:
		d = t.concat(t.derive(n.list[0], r), n.list[1])
		if t.nodes[n.list[0]].nullable {
			d = t.alt(d, t.derive(n.list[1], r))
		}
	case kAlt, kInter:
		list := make([]int32, len(n.list))
		for i, one := range n.list {
			list[i] = t.derive(one, r)
		}
		if n.kind == kAlt {
			d = t.alt(list...)
		} else {
			d = t.inter(list...)
		}
	case kNot:
		d = t.not(t.derive(n.list[0], r))
	case kRepeat:
		most := n.max
		if most > 0 {
			most--
		}
		rest := t.repeat(n.list[0], max(n.min-1, 0), most)
		d = t.concat(t.derive(n.list[0], r), rest)
	}
	if len(t.derived) >= maxNodes {
		t.err = errTree
		return none
	}
	t.derived[key] = d
	return d
}
