package dwarf

import (
	"math/bits"
	"strconv"

	"mayday/symbols/unwindinfo/rule"
)

// The limits on one expression: those in libraries of the system have up to
// fifteen operations.
const (
	maxOperations = 256
	maxOperands   = 32
	maxExpression = 1 << 10 // bytes of the text that comes out
)

// operand is a value of an expression: a number where it is the same whatever
// the registers are, else text.
type operand struct {
	constant bool
	number   uint64
	text     string
}

func number(v uint64) operand { return operand{constant: true, number: v} }

func (o operand) String() string {
	if o.constant {
		return strconv.FormatInt(int64(o.number), 10)
	}
	return o.text
}

// evaluate turns a DWARF expression (DWARF 5, section 2.5) into a rule. First
// is what the stack holds before, "" for nothing.
func (m *program) evaluate(code []byte, first string) (string, bool) {
	e := &expression{program: m}
	if first != "" {
		e.stack = append(e.stack, operand{text: first})
	}
	r := &reader{b: code, order: m.image.Order}
	for range maxOperations {
		if len(r.b) == 0 {
			if len(e.stack) == 0 || r.broken {
				return "", false
			}
			return e.stack[len(e.stack)-1].String(), true
		}
		if !e.operation(r.byte(), r) || r.broken || len(e.stack) > maxOperands {
			return "", false
		}
		if n := len(e.stack); n > 0 && len(e.stack[n-1].text) > maxExpression {
			return "", false
		}
	}
	return "", false
}

type expression struct {
	program *program
	stack   []operand
}

func (e *expression) push(o operand) bool {
	e.stack = append(e.stack, o)
	return true
}

func (e *expression) pop() (operand, bool) {
	n := len(e.stack)
	if n == 0 {
		return operand{}, false
	}
	o := e.stack[n-1]
	e.stack = e.stack[:n-1]
	return o, true
}

// pick copies the operand n below the top.
func (e *expression) pick(n int) bool {
	if n >= len(e.stack) {
		return false
	}
	return e.push(e.stack[len(e.stack)-1-n])
}

// operation carries out one operation.
func (e *expression) operation(op byte, r *reader) bool {
	switch {
	case op >= 0x30 && op < 0x50: // lit0 to lit31
		return e.push(number(uint64(op - 0x30)))
	case op >= 0x50 && op < 0x70: // reg0 to reg31: in rules, the register's value
		return e.register(uint64(op-0x50), 0)
	case op >= 0x70 && op < 0x90: // breg0 to breg31
		return e.register(uint64(op-0x70), r.sleb())
	}
	switch op {
	case 0x03: // addr: where it would be if the module lay where it was linked to
		v := r.uint(e.program.image.Machine.PointerSize())
		return e.push(number(v - e.program.image.Base + e.program.query.Base))
	case 0x06: // deref
		return e.load()
	case 0x08:
		return e.push(number(r.uint(1)))
	case 0x09:
		return e.push(number(uint64(r.int(1))))
	case 0x0a:
		return e.push(number(r.uint(2)))
	case 0x0b:
		return e.push(number(uint64(r.int(2))))
	case 0x0c:
		return e.push(number(r.uint(4)))
	case 0x0d:
		return e.push(number(uint64(r.int(4))))
	case 0x0e, 0x0f:
		return e.push(number(r.uint(8)))
	case 0x10:
		return e.push(number(r.uleb()))
	case 0x11:
		return e.push(number(uint64(r.sleb())))
	case 0x12: // dup
		return e.pick(0)
	case 0x13: // drop
		_, ok := e.pop()
		return ok
	case 0x14: // over
		return e.pick(1)
	case 0x15:
		return e.pick(int(r.byte()))
	case 0x16: // swap
		n := len(e.stack)
		if n < 2 {
			return false
		}
		e.stack[n-1], e.stack[n-2] = e.stack[n-2], e.stack[n-1]
		return true
	case 0x23: // plus_uconst
		return e.push(number(r.uleb())) && e.combine(0x22)
	case 0x92: // bregx
		n := r.uleb()
		return e.register(n, r.sleb())
	case 0x94: // deref_size
		return int(r.byte()) == e.program.image.Machine.PointerSize() && e.load()
	case 0x96: // nop
		return true
	case 0x1f: // neg
		return e.push(number(^uint64(0))) && e.combine(0x1e)
	}
	return e.combine(op)
}

func (e *expression) register(n uint64, offset int64) bool {
	q := &e.program.query
	if n == rule.IPNumber(e.program.image.Machine) {
		e.program.placed = true
		return e.push(number(q.Base + q.Offset + uint64(offset)))
	}
	name := rule.DWARFName(e.program.image, n)
	return name != "" && e.push(operand{text: rule.Plus(name, offset)})
}

func (e *expression) load() bool {
	o, ok := e.pop()
	return ok && e.push(operand{text: rule.Load(o.String())})
}

// combine carries out an operation on two operands. What rules have no word for
// works with numbers only.
func (e *expression) combine(op byte) bool {
	b, ok := e.pop()
	if !ok {
		return false
	}
	a, ok := e.pop()
	if !ok {
		return false
	}
	if a.constant && b.constant {
		v, ok := calculate(op, a.number, b.number)
		return ok && e.push(number(v))
	}
	word := map[byte]string{0x1c: "-", 0x1e: "*", 0x22: "+"}[op]
	if op == 0x1a && b.constant && bits.OnesCount64(-b.number) == 1 {
		b, word = number(-b.number), "@" // and with ...11110000 rounds down
	}
	if op == 0x24 && b.constant && b.number < 63 {
		b, word = number(1<<b.number), "*"
	}
	if word == "" {
		return false
	}
	return e.push(operand{text: a.String() + " " + b.String() + " " + word})
}

// calculate is an operation on numbers.
func calculate(op byte, a, b uint64) (uint64, bool) {
	truth := func(v bool) (uint64, bool) {
		if v {
			return 1, true
		}
		return 0, true
	}
	x, y := int64(a), int64(b)
	switch op {
	case 0x1a:
		return a & b, true
	case 0x1b:
		if y == 0 || y == -1 {
			return 0, false
		}
		return uint64(x / y), true
	case 0x1c:
		return a - b, true
	case 0x1d:
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case 0x1e:
		return a * b, true
	case 0x21:
		return a | b, true
	case 0x22:
		return a + b, true
	case 0x24:
		return a << min(b, 64), true
	case 0x25:
		return a >> min(b, 64), true
	case 0x26:
		return uint64(x >> min(b, 63)), true
	case 0x27:
		return a ^ b, true
	case 0x29:
		return truth(x == y)
	case 0x2a:
		return truth(x >= y)
	case 0x2b:
		return truth(x > y)
	case 0x2c:
		return truth(x <= y)
	case 0x2d:
		return truth(x < y)
	case 0x2e:
		return truth(x != y)
	}
	return 0, false
}
