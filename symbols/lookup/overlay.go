package lookup

import "mayday/symbols/lookup/function"

// Most functions lie beside each other and the function table alone tells
// which covers an address. Where they overlap, where INLINE ranges leave their
// function or a PUBLIC stands in the middle of one, an overlay tells: a list
// of runs, each from its address to the next one's, with the owner.
const (
	ownerDefault = 1<<32 - 1 // no overlay here: ask the function table
	ownerNobody  = 1<<32 - 2 // nothing is known here
	ownerPublic  = 1 << 31   // with the position of the PUBLIC's address
)

// A claim is a mark of a function: what it says about an address, and how it
// stands against other claims to that. Symbolic takes the functions in the order
// of the file: a line counts over all before it, the start of a function without
// a line where there is neither, and the end of a function or an inlined call
// where there is nothing else. The claim with the highest rank counts.
type claim uint64

const (
	claimPosition = 30 // bits of the position of the function
	claimOrder    = 32 // bits above, of the order of the file
)

// newClaim makes the claim of a mark of the function f at a position.
func newClaim(m function.Mark, f *item, position int) claim {
	order := uint64(f.at) // functions are packed one after the other
	if m.Kind == function.MarkStart {
		order = 1<<claimOrder - 1 - order
	}
	return claim(uint64(m.Kind)<<(claimOrder+claimPosition) | order<<claimPosition | uint64(position))
}

// owner is who a claim is of.
func (c claim) owner() uint32 {
	if c>>(claimOrder+claimPosition) == function.MarkEnd {
		return ownerNobody
	}
	return uint32(c & (1<<claimPosition - 1))
}

// cluster is a run of functions that overlap, and the PUBLIC records in it.
type cluster struct {
	b     *Builder
	read  pieces
	first item   // the first function
	last  uint64 // the last address that one reaches
	at    int    // position of the first function
	count int
	owner uint32 // of the last run
	// publics are those from here on; public is the position of the next.
	publics *ordered
	public  int
	// atStart is the position of the PUBLIC where the cluster starts, -1 for none.
	atStart int
	parity  keptFunctions
}

// keptFunctions finds those that minidump-stackwalk keeps: by start and end,
// those that do not start within the one kept before.
type keptFunctions struct {
	kept bool
	end  uint64 // last address of the one kept
	// The best of the functions with one start, which ends first.
	start, best uint64
	position    int
}

// overlays finds the clusters of records that overlap and lays them out by
// symbolic's rules and by those of minidump-stackwalk.
func (b *Builder) overlays() error {
	c := cluster{b: b, read: pieces{from: b.w.to}, publics: b.publics.all()}
	funcs := b.funcs.all()
	f, more := funcs.next()
	for position := 0; more; position++ {
		next, haveNext := funcs.next()
		if err := c.add(f, position); err != nil {
			return err
		}
		if !haveNext || next.start > c.last {
			if err := c.end(next.start, haveNext); err != nil {
				return err
			}
		}
		if b.claimed > maxClaims || b.entries() > maxEntries {
			return nil // Table says so
		}
		f, more = next, haveNext
	}
	return nil
}

// add adds a function, the first one to an empty cluster.
func (c *cluster) add(f item, position int) error {
	end := f.start + f.size - 1
	if c.count++; c.count == 1 {
		c.first, c.last, c.at, c.owner, c.atStart = f, f.last, position, ownerDefault, -1
		c.parity = keptFunctions{start: f.start, best: end, position: position}
		for at, ok := c.peek(); ok && at <= f.start; at, ok = c.peek() {
			if at == f.start {
				c.atStart = c.public
			}
			c.pop()
		}
		return nil
	}
	c.last = max(c.last, f.last)
	if f.start == c.parity.start {
		if end < c.parity.best {
			c.parity.best, c.parity.position = end, position
		}
	} else {
		c.keep()
		c.parity.start, c.parity.best, c.parity.position = f.start, end, position
	}
	if c.count == 2 {
		if err := c.claim(c.first, c.at); err != nil {
			return err
		}
	}
	return c.claim(f, position)
}

// keep decides about the functions of one start.
func (c *cluster) keep() {
	k := &c.parity
	if k.kept && k.start <= k.end {
		return
	}
	k.kept, k.end = true, k.best
	c.b.parity.add(k.start, uint32(k.position))
}

// peek is the address of the next PUBLIC; those that share one count once.
func (c *cluster) peek() (uint64, bool) {
	p, ok := c.publics.peek()
	return p.start, ok
}

// pop goes to the address after it.
func (c *cluster) pop() {
	at, _ := c.publics.next()
	for p, ok := c.publics.peek(); ok && p.start == at.start; p, ok = c.publics.peek() {
		c.publics.next()
	}
	c.public++
}

// claim notes the marks of a function.
func (c *cluster) claim(f item, position int) error {
	fn, err := readFunction(&c.read, f.start, f.at, f.packedLength())
	if err != nil {
		return err
	}
	list := fn.Marks()
	c.b.claimed += len(list)
	for _, m := range list {
		c.b.claims.add(item{start: m.At, last: uint64(newClaim(m, &f, position))})
	}
	return nil
}

// end lays out the cluster and empties it. next is where the function after it
// starts, if there is one.
func (c *cluster) end(next uint64, haveNext bool) error {
	count := c.count
	c.count = 0
	if count == 1 {
		at, ok := c.peek()
		if c.first.length&itemLeaves == 0 && (!ok || at > c.last) {
			return nil
		}
		if err := c.claim(c.first, c.at); err != nil {
			return err
		}
	}
	if err := c.symbolic(next, haveNext); err != nil {
		return err
	}
	c.b.claims.clear()
	for at, ok := c.peek(); ok && at <= c.last; at, ok = c.peek() {
		c.pop()
	}
	if count > 1 {
		c.keep()
		if haveNext {
			c.b.parity.add(next, ownerDefault)
		}
	}
	return nil
}

// run starts a run of the overlay.
func (c *cluster) run(at uint64, owner uint32) {
	if c.owner == owner && owner != ownerNobody {
		return
	}
	c.owner = owner
	c.b.symbolic.add(at, owner)
}

// symbolic lays the functions over one another, and then the PUBLIC records
// where nothing else is.
func (c *cluster) symbolic(next uint64, haveNext bool) error {
	var end uint64
	claims := c.b.claims.all()
	m, more := claims.next()
	for more {
		end = m.start
		for at, ok := c.peek(); ok && at <= c.last && at < end; at, ok = c.peek() {
			c.run(at, ownerPublic|uint32(c.public))
			c.pop()
		}
		best := m
		for more && m.start == end {
			best = m
			m, more = claims.next()
		}
		owner := claim(best.last).owner()
		public := -1
		if at, ok := c.peek(); ok && at == end && at <= c.last {
			public = c.public
			c.pop()
		} else if end == c.first.start {
			public = c.atStart
		}
		if owner == ownerNobody && public >= 0 {
			owner = ownerPublic | uint32(public)
		}
		c.run(end, owner)
	}
	// The runs end where the next record starts.
	at, ok := c.peek()
	for ; ok && at < end; at, ok = c.peek() {
		c.pop()
	}
	switch {
	case ok && (!haveNext || at < next):
		c.b.symbolic.add(at, ownerDefault)
	case haveNext:
		c.b.symbolic.add(next, ownerDefault)
	}
	return nil
}
