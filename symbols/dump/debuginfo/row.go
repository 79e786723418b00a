package debuginfo

import "mayday/app/fault"

// row is a row of a line table that counts.
type row struct {
	address   uint64
	file      uint32
	line      uint32
	statement bool
}

// addRow adds a row. Of those at one address the last that starts a statement
// counts, or the last one where none does.
func addRow(m *Meter, rows []row, r row) ([]row, error) {
	if n := len(rows); n > 0 && rows[n-1].address == r.address {
		if r.statement || !rows[n-1].statement {
			rows[n-1] = r
		}
		return rows, nil
	}
	return Append(m, rows, r)
}

// The operations of line tables (DWARF 5, sections 6.2.5.2 and 6.2.5.3).
const (
	opExtended = iota
	opCopy
	opAdvancePC
	opAdvanceLine
	opSetFile
	opSetColumn
	opNegateStatement
	opSetBasicBlock
	opConstAddPC
	opFixedAdvancePC

	extendedEnd     = 1
	extendedAddress = 2
	extendedFile    = 3
)

// registers are those of the machine that line tables are programs of.
type registers struct {
	address   uint64
	operation uint64
	source    uint64 // the number of a file
	line      uint64
	statement bool
}

// machine runs the program of a line table.
type machine struct {
	*unit
	registers
	sequence []row
}

func (m *machine) reset() {
	m.registers = registers{source: 1, line: 1, statement: m.lineTable.statement}
}

// rows runs the program and keeps the lines.
func (u *unit) rows() error {
	m := &machine{unit: u}
	m.reset()
	t := &u.lineTable
	for c := &t.program; c.rest() > 0; {
		if err := u.meter.Step(); err != nil {
			return err
		}
		op := c.u8()
		var err error
		switch {
		case op >= t.operations:
			adjusted := op - t.operations
			m.advance(uint64(adjusted / t.lineRange))
			m.line += uint64(int64(t.lineBase) + int64(adjusted%t.lineRange))
			err = m.row()
		case op == opExtended:
			err = m.extended(c)
		default:
			err = m.standard(c, op)
		}
		if err != nil {
			return err
		}
		if c.broken {
			return fault.New(fault.Malformed, "a table of lines breaks off")
		}
	}
	u.meter.Give(int64(cap(m.sequence)) * rowSize)
	return nil
}

const rowSize = 24

// advance goes on by instructions, or by operations of bundles of them.
func (m *machine) advance(n uint64) {
	t := &m.lineTable
	if t.bundle == 1 {
		m.address += n * uint64(t.step)
		return
	}
	n += m.operation
	m.address += n / uint64(t.bundle) * uint64(t.step)
	m.operation = n % uint64(t.bundle)
}

// row ends a row. One for line 0 leaves the line before in force.
func (m *machine) row() (err error) {
	if line := uint32(m.line); line == 0 || int64(m.line) < 0 || m.source >= uint64(len(m.lineTable.files)) || m.source == 0 && m.lineTable.version < 5 {
		return nil
	}
	file, err := m.file(m.source)
	if err != nil {
		return err
	}
	m.sequence, err = addRow(m.meter, m.sequence, row{m.address, file, uint32(m.line), m.statement})
	return err
}

func (m *machine) standard(c *cursor, op uint8) error {
	t := &m.lineTable
	if op >= knownOperations || op == opSetBasicBlock {
		for range t.lengths[op] {
			c.uleb()
		}
		return nil
	}
	switch op {
	case opCopy:
		return m.row()
	case opAdvancePC:
		m.advance(c.uleb())
	case opAdvanceLine:
		m.line += uint64(c.sleb())
	case opSetFile:
		m.source = c.uleb()
	case opNegateStatement:
		m.statement = !m.statement
	case opConstAddPC:
		m.advance(uint64((255 - t.operations) / t.lineRange))
	case opFixedAdvancePC:
		m.address += uint64(c.u16())
		m.operation = 0
	default:
		for range t.lengths[op] {
			c.uleb()
		}
	}
	return nil
}

func (m *machine) extended(c *cursor) error {
	n := c.uleb()
	body := cursor{b: c.take(int(min(n, uint64(c.rest())+1))), big: c.big}
	switch body.u8() {
	case extendedEnd:
		if err := m.end(); err != nil {
			return err
		}
		m.reset()
	case extendedAddress:
		m.address, m.operation = body.uint(min(body.rest(), 8)), 0
	case extendedFile:
		if t := &m.lineTable; t.version < 5 {
			return m.addFile(source{body.text(), body.uleb()})
		}
	}
	return nil
}

// end adds the lines of rows that follow each other up to here.
func (m *machine) end() (err error) {
	for i, r := range m.sequence {
		s := Span{r.address, m.address}
		if i+1 < len(m.sequence) {
			s.End = m.sequence[i+1].address
		}
		const longest = 1<<32 - 1
		if !m.isCode(s) || s.End-s.Start > longest {
			continue
		}
		if m.info.Lines, err = Append(m.meter, m.info.Lines, Line{s.Start, uint32(s.End - s.Start), r.file, r.line}); err != nil {
			return err
		}
	}
	m.sequence = m.sequence[:0]
	return nil
}
