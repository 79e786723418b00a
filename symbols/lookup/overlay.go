package lookup

import (
	"cmp"
	"slices"
)

// Most functions lie beside each other and the function table alone tells
// which covers an address. Where they overlap, where INLINE ranges leave their
// function or a PUBLIC stands in the middle of one, an overlay tells: a list
// of runs, each from its address to the next one's, with the owner.
const (
	ownerDefault = 1<<32 - 1 // no overlay here: ask the function table
	ownerNobody  = 1<<32 - 2 // nothing is known here
	ownerPublic  = 1 << 31   // with the position of the PUBLIC's address
)

// overlays finds the clusters of records that overlap and lays them out by
// symbolic's rules and by those of minidump-stackwalk.
func overlays(t *Table, funcs []item, publics []public) (symbolic, parity []entry) {
	addresses := publicAddresses(publics)
	p, work := 0, maxAnswers
	for i := 0; i < len(funcs); {
		last := funcs[i].last
		j := i + 1
		for j < len(funcs) && funcs[j].start <= last {
			last = max(last, funcs[j].last)
			j++
		}
		for p < len(addresses) && addresses[p] <= funcs[i].start {
			p++
		}
		q := p
		for q < len(addresses) && addresses[q] <= last {
			q++
		}
		leaves := j == i+1 && funcs[i].leaves
		if j > i+1 || q > p || leaves {
			next := uint64(ownerDefault) // an address beyond those of the cluster
			haveNext := j < len(funcs)
			if haveNext {
				next = funcs[j].start
			}
			c := cluster{t: t, funcs: funcs[i:j], first: i, addresses: addresses, next: next, haveNext: haveNext, work: &work}
			// A PUBLIC at the very start of the cluster may still count.
			from := p
			for from > 0 && addresses[from-1] >= funcs[i].start {
				from--
			}
			symbolic = c.symbolic(symbolic, from, q)
			if j > i+1 {
				parity = c.parity(parity)
			}
		}
		p = q
		i = j
	}
	return symbolic, parity
}

// publicAddresses lists the different addresses of sorted PUBLIC records.
func publicAddresses(publics []public) []uint64 {
	var out []uint64
	for _, p := range publics {
		if n := len(out); n == 0 || out[n-1] != p.address {
			out = append(out, p.address)
		}
	}
	return out
}

// cluster is a run of functions that overlap.
type cluster struct {
	t         *Table
	funcs     []item
	first     int // position of the first function
	addresses []uint64
	next      uint64 // start of the function after the cluster
	haveNext  bool
	work      *int  // how many marks may still be looked through for PUBLIC records
	marks     []int // how many each function has
}

// maxAnswers bounds the work on PUBLIC records that stand where a function
// changes, each of which may look through all marks of the function: with a
// million of each there would be no end.
const maxAnswers = 50_000_000

// claim is a mark of one function at an address.
type claim struct {
	at   uint64
	by   int  // position of the function
	none bool // the end of a function: nobody, unless there is a mark
}

// symbolic lays the functions down in order of address, later ones over
// earlier ones, and then the PUBLIC records from..to where nothing else is.
func (c *cluster) symbolic(out []entry, from, to int) []entry {
	var claims []claim
	for i, f := range c.funcs {
		fn, _ := c.t.function(f.start, f.at)
		list := fn.Marks()
		c.marks = append(c.marks, len(list))
		for _, at := range list {
			claims = append(claims, claim{at: at, by: i})
		}
		if end := f.start + f.size; end > f.start {
			claims = append(claims, claim{at: end, by: i, none: true})
		}
	}
	// At one address the last real mark counts; the end of a function never
	// displaces one.
	slices.SortStableFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.at, b.at), btoi(b.none)-btoi(a.none), cmp.Compare(a.by, b.by))
	})
	add := func(at uint64, owner uint32) {
		if n := len(out); n > 0 && out[n-1].val == owner && out[n-1].key >= c.funcs[0].start && owner != ownerNobody {
			return
		}
		out = append(out, entry{at, owner})
	}
	p := from
	var end uint64
	for i := 0; i < len(claims); {
		at := claims[i].at
		for p < to && c.addresses[p] < at {
			add(c.addresses[p], ownerPublic|uint32(p))
			p++
		}
		j := i
		for j < len(claims) && claims[j].at == at {
			j++
		}
		last := claims[j-1]
		owner := uint32(ownerNobody)
		if !last.none {
			owner = uint32(c.first + last.by)
		}
		if p < to && c.addresses[p] == at {
			if owner == ownerNobody || !c.answers(last, at) {
				owner = ownerPublic | uint32(p)
			}
			p++
		}
		add(at, owner)
		end = at
		i = j
	}
	return c.close(out, p, end)
}

// answers reports whether the mark of a function says something at all.
func (c *cluster) answers(m claim, at uint64) bool {
	if *c.work -= c.marks[m.by]; *c.work < 0 {
		return true
	}
	var h Hit
	f, ok := c.t.function(c.funcs[m.by].start, c.funcs[m.by].at)
	return ok && f.Answer(&h, at, false)
}

// close ends the runs of a cluster where the next record starts.
func (c *cluster) close(out []entry, p int, end uint64) []entry {
	for p < len(c.addresses) && c.addresses[p] < end {
		p++
	}
	switch {
	case p < len(c.addresses) && (!c.haveNext || c.addresses[p] < c.next):
		return append(out, entry{c.addresses[p], ownerDefault})
	case c.haveNext:
		return append(out, entry{c.next, ownerDefault})
	}
	return out
}

// parity keeps, by start and end, the functions that do not start within the
// one kept before.
func (c *cluster) parity(out []entry) []entry {
	order := make([]int, len(c.funcs))
	ends := make([]uint64, len(c.funcs))
	for i, f := range c.funcs {
		order[i] = i
		ends[i] = f.start + f.size - 1
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(c.funcs[x].start, c.funcs[y].start), cmp.Compare(ends[x], ends[y]))
	})
	kept := false
	var last uint64
	for _, i := range order {
		if kept && c.funcs[i].start <= last {
			continue
		}
		kept, last = true, ends[i]
		out = append(out, entry{c.funcs[i].start, uint32(c.first + i)})
	}
	if c.haveNext {
		out = append(out, entry{c.next, ownerDefault})
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
