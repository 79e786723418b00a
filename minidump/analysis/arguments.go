package analysis

import "strings"

// Convention is how a function gets its arguments on x86.
type Convention uint8

// The conventions.
const (
	Cdecl       Convention = iota // on the stack
	WindowsThis                   // this in ecx, the others on the stack
	StackThis                     // all on the stack, this first
)

// maxArguments is the most arguments that are listed.
const maxArguments = 32

// String names a convention.
func (c Convention) String() string {
	switch c {
	case WindowsThis:
		return "windows thiscall [C++ member function]"
	case StackThis:
		return "non-windows thiscall [C++ member function]"
	}
	return "cdecl [static function]"
}

// Arguments guesses, from a function's name with the list of its types, how it
// gets its arguments, and says what they are. A name with scopes counts as a
// member's.
func Arguments(function string, windows bool) (how Convention, names []string, ok bool) {
	name, rest, found := strings.Cut(function, "(")
	end := strings.LastIndexByte(rest, ')')
	if !found || end < 0 {
		return 0, nil, false
	}
	if strings.Contains(name, "::") {
		if how = StackThis; windows {
			how = WindowsThis
		}
		names = append(names, "this")
	}
	angles, parentheses, start := 0, 0, 0
	list := rest[:end]
	for i := range len(list) {
		switch list[i] {
		case '<':
			angles++
		case '>':
			angles--
		case '(':
			parentheses++
		case ')':
			parentheses--
		case ',':
			if angles == 0 && parentheses == 0 {
				names = append(names, strings.TrimSpace(list[start:i]))
				start = i + 1
			}
		}
		if angles < 0 || parentheses < 0 || len(names) > maxArguments {
			return 0, nil, false
		}
	}
	if last := strings.TrimSpace(list[start:]); last != "" && last != "void" {
		names = append(names, last)
	}
	return how, names, angles == 0 && parentheses == 0 && len(names) > 0
}
