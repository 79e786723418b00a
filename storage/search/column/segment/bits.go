package segment

import "math/bits"

// Bitmap is a set of row or ordinal numbers below a fixed length.
type Bitmap []uint64

// NewBitmap makes an empty set below n.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+63)/64) }

// Set adds i.
func (b Bitmap) Set(i int) { b[i>>6] |= 1 << (i & 63) }

// Has says whether i is a member.
func (b Bitmap) Has(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }

// Any says whether there is a member.
func (b Bitmap) Any() bool {
	for _, w := range b {
		if w != 0 {
			return true
		}
	}
	return false
}

// Count is the number of members.
func (b Bitmap) Count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// And keeps the members that o has as well.
func (b Bitmap) And(o Bitmap) {
	for i := range b {
		b[i] &= o[i]
	}
}

// Or adds the members of o.
func (b Bitmap) Or(o Bitmap) {
	for i := range b {
		b[i] |= o[i]
	}
}

// AndNot removes the members of o.
func (b Bitmap) AndNot(o Bitmap) {
	for i := range b {
		b[i] &^= o[i]
	}
}

// Not inverts the first n bits.
func (b Bitmap) Not(n int) {
	for i := range b {
		b[i] = ^b[i]
	}
	b.trim(n)
}

// trim clears the bits from n on.
func (b Bitmap) trim(n int) {
	if n&63 != 0 && len(b) > 0 {
		b[len(b)-1] &= 1<<(n&63) - 1
	}
}

// Fill sets the bits from lo up to hi.
func (b Bitmap) Fill(lo, hi int) {
	for i := lo; i < hi; {
		if i&63 == 0 && hi-i >= 64 {
			b[i>>6] = ^uint64(0)
			i += 64
			continue
		}
		b.Set(i)
		i++
	}
}

// Each calls f with every member in order.
func (b Bitmap) Each(f func(i int)) {
	for w, word := range b {
		for word != 0 {
			f(w<<6 + bits.TrailingZeros64(word))
			word &= word - 1
		}
	}
}

// Up calls f with every member in order until it returns false.
func (b Bitmap) Up(f func(i int) bool) {
	for w, word := range b {
		for word != 0 {
			if !f(w<<6 + bits.TrailingZeros64(word)) {
				return
			}
			word &= word - 1
		}
	}
}

// Down is up, from the last member to the first.
func (b Bitmap) Down(f func(i int) bool) {
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
