// Package cfi evaluates the call frame information of Breakpad symbol files:
// the postfix expressions of STACK CFI records (this file) and the programs
// and frame sizes of STACK WIN records (win.go).
//
// The formats are described in Breakpad's docs/symbol_files.md. What happens
// where the description is silent (division by zero, unknown words, values
// left over) follows Mozilla's minidump-stackwalk, since that is what symbol
// files are tested with. The package knows no CPU: registers have names, and
// memory is read through Machine.
//
// Symbol files are as hostile as dumps. A program takes time linear in its
// length, and every evaluator counts the work it did so that the caller can
// put an end to many evaluations of a long program.
package cfi

import (
	"math/bits"
	"strconv"
	"strings"
)

// Machine is the state that expressions read: that of the callee.
type Machine interface {
	// Register returns the value of a register; the name is without a leading $.
	Register(name string) (value uint64, ok bool)
	// Load reads a pointer-sized word of the stack.
	Load(address uint64) (value uint64, ok bool)
}

// Rule says how one register of the caller is recovered.
type Rule struct {
	Register   string // without a leading $
	Expression string
}

// Rules are the rules in force at an address. The zero value is an empty set
// to Add to; Reset makes it one again and keeps the memory.
type Rules struct {
	// CFA is the expression for the canonical frame address, RA that for the
	// return address; "" when there is none.
	CFA, RA string
	// Others are the rules for registers, each register once.
	Others []Rule

	index map[string]int // of Others, once there are many
}

// manyRules is the number of rules from which a map finds a register sooner
// than a look at all of them. No CPU has that many, so that only a hostile file
// gets there.
const manyRules = 48

// Reset empties the set.
func (r *Rules) Reset() {
	r.CFA, r.RA = "", ""
	r.Others = r.Others[:0]
	r.index = nil
}

// Add applies one record: "REG: EXPR REG: EXPR …". A rule for a register that
// has one already replaces it. It reports whether the record is well formed;
// if not, the set is of no use any more.
func (r *Rules) Add(record string) bool {
	register, expression := "", ""
	open := false // a register was named
	first := -1   // where its expression begins
	rest := record
	for {
		token, tail, ok := cutToken(rest)
		if !ok {
			break
		}
		end := len(record) - len(tail)
		start := end - len(token)
		rest = tail
		name, isRegister := strings.CutSuffix(token, ":")
		if !isRegister {
			if !open {
				return false
			}
			if first < 0 {
				first = start
			}
			expression = record[first:end]
			continue
		}
		if open {
			if first < 0 {
				return false
			}
			r.set(register, expression)
		}
		register, open, first = name, true, -1
	}
	if !open || first < 0 {
		return false
	}
	r.set(register, expression)
	return true
}

func (r *Rules) set(register, expression string) {
	switch register {
	case ".cfa":
		r.CFA = expression
		return
	case ".ra":
		r.RA = expression
		return
	}
	register = strings.TrimPrefix(register, "$")
	if r.index != nil {
		if i, ok := r.index[register]; ok {
			r.Others[i].Expression = expression
			return
		}
	} else {
		for i := range r.Others {
			if r.Others[i].Register == register {
				r.Others[i].Expression = expression
				return
			}
		}
	}
	r.Others = append(r.Others, Rule{register, expression})
	if r.index != nil {
		r.index[register] = len(r.Others) - 1
	} else if len(r.Others) == manyRules {
		r.index = make(map[string]int, 2*manyRules)
		for i, rule := range r.Others {
			r.index[rule.Register] = i
		}
	}
}

// CFA is the canonical frame address of a frame, if it is known yet.
type CFA struct {
	Value uint64
	Known bool
}

// Evaluator evaluates STACK CFI expressions. The zero value is ready for use;
// it is not safe for concurrent use.
type Evaluator struct {
	// Work counts the bytes of program text evaluated so far.
	Work uint64

	stack []uint64
}

// Evaluate runs one postfix expression. All arithmetic is on unsigned 64-bit
// numbers and wraps, also for 32-bit CPUs. It reports failure when a value is
// missing or left over, a word is unknown, a register or memory cannot be
// read, a divisor is zero or an alignment is no power of two.
func (e *Evaluator) Evaluate(expression string, m Machine, cfa CFA) (uint64, bool) {
	e.Work += uint64(len(expression))
	e.stack = e.stack[:0]
	for rest := expression; ; {
		token, tail, ok := cutToken(rest)
		if !ok {
			break
		}
		rest = tail
		if isOperator(token) {
			n := len(e.stack)
			if n < 2 {
				return 0, false
			}
			v, ok := operate64(token[0], e.stack[n-2], e.stack[n-1])
			if !ok {
				return 0, false
			}
			e.stack = e.stack[:n-1]
			e.stack[n-2] = v
			continue
		}
		if token == "^" {
			n := len(e.stack)
			if n < 1 {
				return 0, false
			}
			v, ok := m.Load(e.stack[n-1])
			if !ok {
				return 0, false
			}
			e.stack[n-1] = v
			continue
		}
		v, ok := operand(token, m, cfa)
		if !ok {
			return 0, false
		}
		e.stack = append(e.stack, v)
	}
	if len(e.stack) != 1 {
		return 0, false
	}
	return e.stack[0], true
}

// operand is the value of a word that is no operator. A register may come
// without its $, as the ARM dump writers have it, but then numbers go first.
func operand(token string, m Machine, cfa CFA) (uint64, bool) {
	switch token {
	case ".cfa":
		return cfa.Value, cfa.Known
	case ".undef":
		return 0, false
	}
	if _, register, ok := strings.Cut(token, "$"); ok {
		return m.Register(register)
	}
	if v, ok := shortNumber(token); ok {
		return v, true
	}
	if looksNumeric(token) {
		if v, err := strconv.ParseInt(token, 10, 64); err == nil {
			return uint64(v), true
		}
	}
	return m.Register(token)
}

// shortNumber reads numbers such as nearly all are.
func shortNumber(token string) (v uint64, ok bool) {
	digits := token
	if token[0] == '-' {
		digits = token[1:]
	}
	if len(digits) == 0 || len(digits) > 9 {
		return 0, false
	}
	for i := range len(digits) {
		c := digits[i] - '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	if len(digits) < len(token) {
		v = -v
	}
	return v, true
}

// looksNumeric spares words that are no number the making of an error.
func looksNumeric(token string) bool {
	c := token[0]
	return c >= '0' && c <= '9' || c == '-' || c == '+'
}

func isOperator(token string) bool {
	if len(token) != 1 {
		return false
	}
	switch token[0] {
	case '+', '-', '*', '/', '%', '@':
		return true
	}
	return false
}

func operate64(op byte, lhs, rhs uint64) (uint64, bool) {
	switch op {
	case '+':
		return lhs + rhs, true
	case '-':
		return lhs - rhs, true
	case '*':
		return lhs * rhs, true
	case '/':
		if rhs == 0 {
			return 0, false
		}
		return lhs / rhs, true
	case '%':
		if rhs == 0 {
			return 0, false
		}
		return lhs % rhs, true
	}
	// '@': lhs rounded down to a multiple of rhs
	if bits.OnesCount64(rhs) != 1 {
		return 0, false
	}
	return lhs &^ (rhs - 1), true
}

// cutToken returns the first word of s and what follows it.
func cutToken(s string) (token, rest string, ok bool) {
	i := 0
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	if i == len(s) {
		return "", "", false
	}
	j := i + 1
	for j < len(s) && !isSpace(s[j]) {
		j++
	}
	return s[i:j], s[j:], true
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'
}
