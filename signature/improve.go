package signature

// Improvements say where signatures may differ from upstream's for the better.
// The zero value keeps upstream's.
type Improvements struct {
	// Names gives functions their names where upstream leaves a part of the
	// declaration: operator new instead of new, the function instead of its
	// const or ABI tag, the implementing type of a Rust method.
	Names bool
	// Unsymbolicated tells stacks without symbols apart by the place in the
	// module: module@offset for the topmost frame that counts.
	Unsymbolicated bool
}

func (i Improvements) any() bool { return i.Names || i.Unsymbolicated }

// With returns lists that also apply the improvements. Results then carry both
// signatures.
func (l *Lists) With(i Improvements) *Lists {
	out := *l
	out.improve = i
	return &out
}
