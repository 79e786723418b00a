package cfi

import (
	"strconv"
	"strings"
)

// WinRecord is what a STACK WIN record says of the function at an address.
type WinRecord struct {
	ParamSize     uint32 // bytes of parameters that the caller pushed
	SavedRegsSize uint32 // bytes of registers that the function pushed
	LocalsSize    uint32 // bytes of local variables
	// Program is the program of a record of type 4.
	Program string
	// AllocatesBasePointer says, in a record of type 0, that the function uses
	// ebp as a general register and saves the caller's.
	AllocatesBasePointer bool
}

// X86 is the state of the callee that a STACK WIN record is applied to.
type X86 struct {
	EIP, ESP, EBP, EBX           uint32
	KnownESP, KnownEBP, KnownEBX bool
	// GrandCallee says that the callee has called in turn; GrandCalleeParams are
	// the bytes of parameters it pushed for that, which still lie on the stack.
	GrandCallee       bool
	GrandCalleeParams uint32
	// Load reads a word of the stack.
	Load func(address uint64) (uint32, bool)
}

// The registers that a STACK WIN record can recover, as bits of
// WinRegisters.Set and indices of WinRegisters.Values.
const (
	EIP = iota
	ESP
	EBP
	EBX
	ESI
	EDI
	winRegisterCount
)

// winVariables are the names of those registers in programs.
var winVariables = [winRegisterCount]string{"$eip", "$esp", "$ebp", "$ebx", "$esi", "$edi"}

// WinRegisters are the registers of the caller that a STACK WIN record gave.
type WinRegisters struct {
	Values [winRegisterCount]uint32
	Set    uint8
}

func (w *WinRegisters) set(register int, value uint32) {
	w.Values[register] = value
	w.Set |= 1 << register
}

// WinEvaluator applies STACK WIN records. The zero value is ready for use; it
// is not safe for concurrent use.
type WinEvaluator struct {
	// Work counts the bytes of program text evaluated so far.
	Work uint64

	variables map[string]uint32
	stack     []winValue
}

// winValue is a value on the stack of a program.
type winValue struct {
	kind   winKind
	name   string
	number uint32
}

type winKind uint8

const (
	winNumber winKind = iota
	winName           // a variable, read when it is used
	winUndef          // .undef, which can only be assigned
)

// frameSize is the distance from the callee's esp to the return address.
func (r *WinRecord) frameSize(callee *X86) uint32 {
	return r.LocalsSize + r.SavedRegsSize + callee.GrandCalleeParams
}

// Program runs the program of a record of type 4, a postfix language with
// assignment, on 32-bit unsigned numbers that wrap. The caller's registers are
// the variables of their names, as they are at the end; esp, ebp and ebx begin
// as the callee's.
func (e *WinEvaluator) Program(record *WinRecord, callee *X86) (WinRegisters, bool) {
	e.Work += uint64(len(record.Program))
	if !callee.KnownESP || !callee.KnownEBP {
		return WinRegisters{}, false
	}
	e.begin(record, callee)
	for rest := record.Program; ; {
		token, tail, ok := cutToken(rest)
		if !ok {
			break
		}
		rest = tail
		// Some Windows tool chains forget the space after an assignment.
		if len(token) > 1 && token[0] == '=' {
			if !e.assign() {
				return WinRegisters{}, false
			}
			token = token[1:]
		}
		if !e.step(token, callee) {
			return WinRegisters{}, false
		}
	}
	var out WinRegisters
	for register, name := range winVariables {
		if v, ok := e.variables[name]; ok {
			out.set(register, v)
		}
	}
	return out, true
}

func (e *WinEvaluator) begin(record *WinRecord, callee *X86) {
	if e.variables == nil {
		e.variables = make(map[string]uint32)
	}
	clear(e.variables)
	e.stack = e.stack[:0]
	v := e.variables
	v["$esp"], v["$ebp"] = callee.ESP, callee.EBP
	if callee.KnownEBX {
		v["$ebx"] = callee.EBX
	}
	v[".cbParams"] = record.ParamSize
	v[".cbCalleeParams"] = callee.GrandCalleeParams
	v[".cbSavedRegs"] = record.SavedRegsSize
	v[".cbLocals"] = record.LocalsSize
	search := callee.ESP + record.frameSize(callee)
	if strings.Contains(record.Program, "@") {
		// The function aligns its stack, so that its frame has no fixed size;
		// such functions keep a frame pointer.
		search = callee.EBP + 4
	}
	v[".raSearch"], v[".raSearchStart"] = search, search
}

// step runs one word of a program.
func (e *WinEvaluator) step(token string, callee *X86) bool {
	switch {
	case isOperator(token):
		rhs, ok := e.popNumber()
		if !ok {
			return false
		}
		lhs, ok := e.popNumber()
		if !ok {
			return false
		}
		v, ok := operate32(token[0], lhs, rhs)
		if !ok {
			return false
		}
		e.push(winValue{number: v})
	case token == "=":
		return e.assign()
	case token == "^":
		address, ok := e.popNumber()
		if !ok {
			return false
		}
		v, ok := callee.Load(uint64(address))
		if !ok {
			return false
		}
		e.push(winValue{number: v})
	case token == ".undef":
		e.push(winValue{kind: winUndef})
	default:
		if token[0] == '$' || token[0] == '.' {
			e.push(winValue{kind: winName, name: token})
			return true
		}
		v, err := strconv.ParseInt(token, 10, 32)
		if err != nil {
			return false
		}
		e.push(winValue{number: uint32(v)})
	}
	return true
}

func operate32(op byte, lhs, rhs uint32) (uint32, bool) {
	switch op {
	case '+':
		return lhs + rhs, true
	case '-':
		return lhs - rhs, true
	case '*':
		return lhs * rhs, true
	}
	v, ok := operate64(op, uint64(lhs), uint64(rhs))
	return uint32(v), ok
}

// assign gives the variable below the top of the stack the value on top;
// .undef takes its value away.
func (e *WinEvaluator) assign() bool {
	value, ok := e.pop()
	if !ok {
		return false
	}
	name, ok := e.pop()
	if !ok || name.kind != winName {
		return false
	}
	if value.kind == winUndef {
		delete(e.variables, name.name)
		return true
	}
	v, ok := e.number(value)
	if !ok {
		return false
	}
	e.variables[name.name] = v
	return true
}

func (e *WinEvaluator) push(v winValue) { e.stack = append(e.stack, v) }

func (e *WinEvaluator) pop() (winValue, bool) {
	n := len(e.stack)
	if n == 0 {
		return winValue{}, false
	}
	v := e.stack[n-1]
	e.stack = e.stack[:n-1]
	return v, true
}

func (e *WinEvaluator) popNumber() (uint32, bool) {
	v, ok := e.pop()
	if !ok {
		return 0, false
	}
	return e.number(v)
}

func (e *WinEvaluator) number(v winValue) (uint32, bool) {
	switch v.kind {
	case winNumber:
		return v.number, true
	case winName:
		n, ok := e.variables[v.name]
		return n, ok
	}
	return 0, false
}

// FPO applies a record of type 0, for a function that keeps no frame pointer:
// the return address lies a fixed distance above esp.
func FPO(record *WinRecord, callee *X86) (out WinRegisters, ok bool) {
	if !callee.KnownESP {
		return out, false
	}
	slot := uint64(callee.ESP) + uint64(record.frameSize(callee))
	eip, ok := callee.Load(slot)
	if !ok {
		return out, false
	}
	if !callee.GrandCallee && eip == callee.EIP {
		// The innermost frame of a thread that waits in ntdll's
		// KiFastSystemCallRet: the record counts the return address of the system
		// call stub, which is where the thread stands already.
		slot += 4
		if eip, ok = callee.Load(slot); !ok {
			return out, false
		}
	}
	ebp := callee.EBP
	if record.AllocatesBasePointer {
		saved := uint64(callee.ESP) + uint64(callee.GrandCalleeParams) + uint64(record.SavedRegsSize) - 8
		if ebp, ok = callee.Load(saved); !ok {
			return out, false
		}
	} else {
		// ebx is kept too: functions of ntdll that only pass a call on do not
		// touch it, and the next frame may need it.
		if callee.KnownEBX {
			out.set(EBX, callee.EBX)
		}
		if !callee.KnownEBP {
			return out, false
		}
	}
	if slot+4 > 0xffff_ffff {
		return out, false
	}
	out.set(EIP, eip)
	out.set(ESP, uint32(slot+4))
	out.set(EBP, ebp)
	return out, true
}
