package dwarf

import (
	"maps"
	"math/bits"
	"slices"

	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// The limits on one program. Real ones have some tens of instructions.
const (
	maxRemembered = 64  // depth of remember_state
	maxColumns    = 128 // registers with a rule
)

// kind is how a register of the caller is found.
type kind uint8

const (
	inSameRegister kind = iota
	lost
	atOffset     // saved at the CFA and offset
	isOffset     // is the CFA and offset
	inRegister   // is another register
	atExpression // saved where an expression says
	isExpression // is what an expression says
)

// column is the rule for one register.
type column struct {
	kind       kind
	number     uint64 // of inRegister
	offset     int64
	expression []byte
}

// state is a row of the table that a program describes.
type state struct {
	register   uint64 // the CFA is this and offset,
	offset     int64
	expression []byte // or what this says
	columns    map[uint64]column
}

func (s *state) clone() state {
	c := *s
	c.columns = maps.Clone(s.columns)
	return c
}

// program runs the instructions of an entry.
type program struct {
	image          *executable.Image
	cie            *cie
	query          rule.Query
	state, initial state
	remembered     []state
	// passed is told of each piece of code whose row is complete; it may be nil.
	passed func(start, end uint64)
	placed bool // an expression asked where the instruction is
}

func newProgram(im *executable.Image, c *cie, q rule.Query) *program {
	return &program{image: im, cie: c, query: q, state: state{register: rule.NoNumber, columns: map[uint64]column{}}}
}

// run runs instructions up to the row that covers address.
func (m *program) run(code []byte, address, at uint64) bool {
	r := &reader{b: code, order: m.image.Order}
	for len(r.b) > 0 && !r.broken {
		op := r.byte()
		advance := uint64(0)
		switch op >> 6 {
		case 1:
			advance = uint64(op & 0x3f)
		case 2:
			m.set(uint64(op&0x3f), column{kind: atOffset, offset: int64(r.uleb()) * m.cie.dataAlign})
		case 3:
			m.restore(uint64(op & 0x3f))
		default:
			switch op {
			case 0x01: // set_loc
				next := r.uint(m.cie.addressSize)
				if m.cie.encoding != 0 || next < at {
					return false // nobody writes it with other pointers, or goes back
				}
				if m.passed != nil && next > at {
					m.passed(at, next)
				}
				if next > address {
					return true
				}
				at = next
			case 0x02, 0x03, 0x04:
				advance = r.uint(1 << (op - 2))
			case 0x1d: // MIPS_advance_loc8
				advance = r.uint(8)
			default:
				if !m.instruction(op, r) {
					return false
				}
			}
		}
		if advance > 0 {
			over, distance := bits.Mul64(advance, m.cie.codeAlign)
			next := at + distance
			if over != 0 || next < at {
				return false // around the end of the address space
			}
			if m.passed != nil {
				m.passed(at, next)
			}
			if at = next; at > address {
				return true
			}
		}
		if len(m.state.columns) > maxColumns {
			return false
		}
	}
	return !r.broken
}

func (m *program) set(number uint64, c column) { m.state.columns[number] = c }

func (m *program) restore(number uint64) {
	if c, ok := m.initial.columns[number]; ok {
		m.state.columns[number] = c
		return
	}
	delete(m.state.columns, number)
}

// instruction carries out the instructions that have a byte of their own
// (DWARF 5, section 7.24).
func (m *program) instruction(op byte, r *reader) bool {
	s, scale := &m.state, m.cie.dataAlign
	switch op {
	case 0x00: // nop
	case 0x05: // offset_extended
		n := r.uleb()
		m.set(n, column{kind: atOffset, offset: int64(r.uleb()) * scale})
	case 0x06: // restore_extended
		m.restore(r.uleb())
	case 0x07: // rule.Undefined
		m.set(r.uleb(), column{kind: lost})
	case 0x08: // same_value
		m.set(r.uleb(), column{kind: inSameRegister})
	case 0x09: // register
		n := r.uleb()
		m.set(n, column{kind: inRegister, number: r.uleb()})
	case 0x0a: // remember_state
		if len(m.remembered) == maxRemembered {
			return false
		}
		m.remembered = append(m.remembered, s.clone())
	case 0x0b: // restore_state
		last := len(m.remembered) - 1
		if last < 0 {
			return false
		}
		*s, m.remembered = m.remembered[last], m.remembered[:last]
	case 0x0c: // def_cfa
		s.register, s.offset, s.expression = r.uleb(), int64(r.uleb()), nil
	case 0x0d: // def_cfa_register
		s.register, s.expression = r.uleb(), nil
	case 0x0e: // def_cfa_offset
		s.offset = int64(r.uleb())
	case 0x0f: // def_cfa_expression
		s.expression = r.take(int(min(r.uleb(), maxEntry)))
	case 0x10, 0x16: // expression, val_expression
		n := r.uleb()
		c := column{kind: atExpression, expression: r.take(int(min(r.uleb(), maxEntry)))}
		if op == 0x16 {
			c.kind = isExpression
		}
		m.set(n, c)
	case 0x11: // offset_extended_sf
		n := r.uleb()
		m.set(n, column{kind: atOffset, offset: r.sleb() * scale})
	case 0x12: // def_cfa_sf
		s.register, s.offset, s.expression = r.uleb(), r.sleb()*scale, nil
	case 0x13: // def_cfa_offset_sf
		s.offset = r.sleb() * scale
	case 0x14: // val_offset
		n := r.uleb()
		m.set(n, column{kind: isOffset, offset: int64(r.uleb()) * scale})
	case 0x15: // val_offset_sf
		n := r.uleb()
		m.set(n, column{kind: isOffset, offset: r.sleb() * scale})
	case 0x2d: // AARCH64_negate_ra_state: signatures come off anyway
	case 0x2e: // GNU_args_size
		r.uleb()
	case 0x2f: // GNU_negative_offset_extended
		n := r.uleb()
		m.set(n, column{kind: atOffset, offset: -int64(r.uleb()) * scale})
	default:
		return false
	}
	return !r.broken
}

// text is the row as rules.
func (m *program) text(signal bool) (string, bool) {
	var out rule.Record
	address := ""
	if e := m.state.expression; e != nil {
		v, ok := m.evaluate(e, "")
		if !ok {
			return "", false
		}
		address = v
	} else {
		name := rule.DWARFName(m.image, m.state.register)
		if name == "" {
			return "", false
		}
		address = rule.Plus(name, m.state.offset)
	}
	out.Add(rule.CFA, address)
	ra, ok := m.returnAddress()
	if !ok {
		return "", false
	}
	out.Add(".ra", ra)
	for _, n := range slices.Sorted(maps.Keys(m.state.columns)) {
		name := rule.DWARFName(m.image, n)
		// The return address has a rule of its own; its register keeps it only
		// where that says nothing, in frames that signals made.
		if name == "" || n == m.cie.returnColumn && !signal || name == "$rip" || name == "$eip" || name == "$pc" {
			continue
		}
		c := m.state.columns[n]
		if c.kind == inSameRegister {
			out.Add(name, name)
			continue
		}
		v, ok := m.value(c)
		if !ok {
			v = rule.Undefined
		}
		out.Add(name, v)
	}
	return out.Text(), true
}

// returnAddress is the rule for the return address: of the column that the
// table names, whose register holds it where there is no rule.
func (m *program) returnAddress() (string, bool) {
	c, ok := m.state.columns[m.cie.returnColumn]
	if !ok || c.kind == inSameRegister {
		name := rule.DWARFName(m.image, m.cie.returnColumn)
		if name == "" || rule.IPNumber(m.image.Machine) == m.cie.returnColumn {
			return rule.Undefined, name != ""
		}
		return name, true
	}
	return m.value(c)
}

func (m *program) value(c column) (string, bool) {
	switch c.kind {
	case lost:
		return rule.Undefined, true
	case atOffset:
		return rule.Load(rule.Plus(rule.CFA, c.offset)), true
	case isOffset:
		return rule.Plus(rule.CFA, c.offset), true
	case inRegister:
		name := rule.DWARFName(m.image, c.number)
		return name, name != ""
	case atExpression:
		v, ok := m.evaluate(c.expression, rule.CFA)
		return rule.Load(v), ok
	case isExpression:
		return m.evaluate(c.expression, rule.CFA)
	}
	return "", false
}
