package frame

import (
	"sync"

	"mayday/signature/pattern"
)

// Normalizer holds the buffers that normalising takes. One goroutine uses it
// at a time; the zero value is ready.
type Normalizer struct {
	// LineNumbers matches the functions that are told apart by line; nil: none.
	LineNumbers *pattern.Set
	// Lined is set when a line number was added, so that the text holds for
	// that line alone. The user clears it.
	Lined bool

	// Two buffers that the steps of a function name write in turn.
	text, next []byte
	// brackets holds the open brackets while a name is cut into words.
	brackets []byte
	// The others serve nested template parameters that are kept.
	slices []open
	spots  []int
	closes []int
	opened []int
}

var normalizers = sync.Pool{New: func() any { return new(Normalizer) }}

// Borrow gives a normaliser whose buffers have grown with use.
func Borrow(lineNumbers *pattern.Set) *Normalizer {
	n := normalizers.Get().(*Normalizer)
	n.LineNumbers, n.Lined = lineNumbers, false
	return n
}

// maxKeptBuffer is the size in bytes from which a buffer is not kept for the
// next crash: names of a megabyte are rare, and so must their buffers be.
const maxKeptBuffer = 1 << 16

// Return gives a borrowed normaliser back; it must not be used again.
func (n *Normalizer) Return() {
	for _, size := range [...]int{cap(n.text), cap(n.next), cap(n.brackets), cap(n.slices), cap(n.spots), cap(n.closes), cap(n.opened)} {
		if size > maxKeptBuffer {
			return
		}
	}
	n.LineNumbers = nil
	normalizers.Put(n)
}
