package analysis

// The contradictions that are looked for.
const (
	divisionNotPossible = "int_div_by_zero_not_possible"
	notPrivileged       = "priv_instruction_crash_without_priv_instruction"
	notNonCanonical     = "non_canonical_address_falsely_reported"
	accessAllowed       = "access_violation_when_access_allowed"
	accessNotFound      = "crashing_access_not_found_in_memory_accesses"
)

func (s *scene) inconsistencies() {
	add := func(text string) { s.result.Inconsistencies = append(s.result.Inconsistencies, text) }
	switch s.fault {
	case divideByZero:
		if s.code != nil && !s.code.division() {
			add(divisionNotPossible)
		}
	case privileged:
		if s.code != nil && !s.code.privileged() {
			add(notPrivileged)
		}
	case accessRead, accessWrite, accessExec, stackOverflow:
		missing := s.accessMissing()
		if s.fault == accessRead && missing && s.protectionFault() {
			// It claims that the address was non-canonical. movaps also faults so
			// when its address is not aligned.
			if s.code.derivable() && s.code.op != "movaps" && s.noNonCanonical() {
				add(notNonCanonical)
			}
			return
		}
		if missing {
			add(accessNotFound)
		}
		if m, ok := s.in.Mappings.At(s.in.Address); ok && s.fault != stackOverflow && s.fault.allows(m) {
			add(accessAllowed)
		}
	}
}

// accessMissing reports whether the instruction is known not to have made the
// access that the exception is about.
func (s *scene) accessMissing() bool {
	if s.result.Accesses == nil {
		return false
	}
	switch s.fault {
	case accessRead:
		return s.code.derivable() && !s.hasAccess(Read)
	case accessWrite:
		return s.code.derivable() && !s.hasAccess(Write)
	case accessExec:
		return s.context.IP() != s.in.Address
	}
	return s.code.derivable() && len(s.result.Accesses) == 0 // stack overflow
}

func (s *scene) hasAccess(kind string) bool {
	for _, a := range s.result.Accesses {
		if (a.Kind == kind || a.Kind == ReadWrite) && a.Size > 0 && covers(a, s.in.Address) {
			return true
		}
	}
	return false
}

// covers reports whether an access touches addr; it may wrap around the end of
// the address space.
func covers(a Access, addr uint64) bool {
	end := a.Address + uint64(a.Size)
	if end < a.Address {
		return addr >= a.Address || addr < end
	}
	return addr >= a.Address && addr < end
}

// noNonCanonical reports whether neither an access nor the jump went to a
// non-canonical address.
func (s *scene) noNonCanonical() bool {
	for _, a := range s.result.Accesses {
		if nonCanonical(a.Address) {
			return false
		}
	}
	switch s.jump {
	case jumpKnown:
		return !nonCanonical(s.result.Jump.Address)
	case jumpNone:
		return true
	}
	return false
}
