package column

import "math/bits"

// bitmap is a set of row or ordinal numbers below a fixed length.
type bitmap []uint64

func newBitmap(n int) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitmap) has(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }

func (b bitmap) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b bitmap) and(o bitmap) {
	for i := range b {
		b[i] &= o[i]
	}
}

func (b bitmap) or(o bitmap) {
	for i := range b {
		b[i] |= o[i]
	}
}

func (b bitmap) andNot(o bitmap) {
	for i := range b {
		b[i] &^= o[i]
	}
}

// not inverts the first n bits.
func (b bitmap) not(n int) {
	for i := range b {
		b[i] = ^b[i]
	}
	b.trim(n)
}

// trim clears the bits from n on.
func (b bitmap) trim(n int) {
	if n&63 != 0 && len(b) > 0 {
		b[len(b)-1] &= 1<<(n&63) - 1
	}
}

// fill sets the bits from lo up to hi.
func (b bitmap) fill(lo, hi int) {
	for i := lo; i < hi; {
		if i&63 == 0 && hi-i >= 64 {
			b[i>>6] = ^uint64(0)
			i += 64
			continue
		}
		b.set(i)
		i++
	}
}

// each calls f with every member in order.
func (b bitmap) each(f func(i int)) {
	for w, word := range b {
		for word != 0 {
			f(w<<6 + bits.TrailingZeros64(word))
			word &= word - 1
		}
	}
}

// up calls f with every member in order until it returns false.
func (b bitmap) up(f func(i int) bool) {
	for w, word := range b {
		for word != 0 {
			if !f(w<<6 + bits.TrailingZeros64(word)) {
				return
			}
			word &= word - 1
		}
	}
}

// down is up, from the last member to the first.
func (b bitmap) down(f func(i int) bool) {
	for w := len(b) - 1; w >= 0; w-- {
		for word := b[w]; word != 0; {
			bit := 63 - bits.LeadingZeros64(word)
			if !f(w<<6 + bit) {
				return
			}
			word &^= 1 << bit
		}
	}
}
