package analysis

import "mayday/minidump"

// maxGuard is the size below which memory without any permission is taken for
// a guard page.
const maxGuard = 32 << 10

// guardPages marks accesses to small ranges that nothing may touch beside
// memory in use: stacks and heaps are fenced so.
func (s *scene) guardPages() {
	for i := range s.result.Accesses {
		a := &s.result.Accesses[i]
		m, ok := s.in.Mappings.At(a.Address)
		a.LikelyGuardPage = ok && !accessible(m) && m.Last-m.First < maxGuard && s.besideUsed(m)
	}
}

func accessible(m minidump.Mapping) bool { return m.Readable || m.Writable || m.Executable }

// besideUsed reports whether memory that may be used adjoins m.
func (s *scene) besideUsed(m minidump.Mapping) bool {
	before, ok := s.in.Mappings.At(m.First - 1)
	if ok && m.First > 0 && accessible(before) {
		return true
	}
	after, ok := s.in.Mappings.At(m.Last + 1)
	return ok && m.Last != ^uint64(0) && accessible(after)
}
