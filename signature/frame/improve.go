package frame

import "strings"

// Improve names a function of C++ or Rust where the upstream's rules leave a
// part of its declaration: "operator new" and not "new", the function and not
// its "const" or "[abi:cxx11]", the type whose method it is and not "<T>".
//
// It reads the name once from the left, knowing operators, arrows and the marks
// of lambdas, closures and clones, and keeps the last word that is a name. The
// result is empty when nothing like a name is found; the caller then falls back
// on the upstream's. It takes linear time and does not recurse.
func Improve(name string) string {
	name = dropMarks(strings.Trim(name, " "))
	if strings.HasPrefix(name, "-[") || strings.HasPrefix(name, "+[") {
		return name // a method of Objective-C is all name
	}
	if !strings.ContainsAny(name, " <([{`'$") {
		return name
	}
	r := reader{in: name}
	for r.at < len(r.in) && !r.done {
		r.step()
	}
	return strings.Trim(string(r.out), " ")
}

// tails are what compilers put behind a name for copies and parts of a
// function; digits may follow.
var tails = [...]string{".cold", ".isra", ".part", ".constprop", ".llvm", ".lto_priv", ".localalias", ".specialized", "@plt"}

// dropMarks cuts clone marks and the hash of Rust symbols from the end.
func dropMarks(name string) string {
	for again := true; again; {
		again = false
		if strings.HasSuffix(name, "]") {
			if i := strings.LastIndex(name, "[clone "); i > 0 {
				name, again = strings.TrimRight(name[:i], " "), true
				continue
			}
		}
		if strings.HasSuffix(name, ")") {
			if i := strings.LastIndex(name, "(."); i > 0 && strings.IndexByte(name[i:], ' ') < 0 {
				name, again = strings.TrimRight(name[:i], " "), true
				continue
			}
		}
		bare := strings.TrimRight(name, ".0123456789")
		for _, t := range tails {
			if len(bare) > len(t) && strings.HasSuffix(bare, t) {
				name, again = bare[:len(bare)-len(t)], true
				break
			}
		}
	}
	// The hash is "::h" and 16 digits; a function h1f keeps its name.
	const digits = 16
	if n := len(name) - digits; n > len("::h") && name[n-3:n] == "::h" {
		for i := n; i < len(name); i++ {
			if !isHex(name[i]) {
				return name
			}
		}
		return name[:n-3]
	}
	return name
}

// reader goes through a name once.
type reader struct {
	in   string
	at   int
	out  []byte // the word being read
	args bool   // the word has had arguments, so a space ends the name
	done bool
}

func (r *reader) step() {
	c := r.in[r.at]
	switch {
	case c == ' ':
		r.space()
	case c == '<':
		r.angle()
	case c == '(':
		r.paren()
	case c == '[':
		r.at = r.skip('[', ']')
	case c == '{':
		r.brace()
	case c == '`':
		r.quote()
	case c == '\'':
		r.lambdaQuote()
	case c == '$' && strings.HasPrefix(r.in[r.at:], "$_"):
		// The number of a lambda changes with each build.
		r.out = append(r.out, "$_"...)
		for r.at += 2; r.at < len(r.in) && r.in[r.at] >= '0' && r.in[r.at] <= '9'; r.at++ {
		}
	case c == 'o' && r.isOperator():
		r.operator()
	default:
		r.out = append(r.out, c)
		r.at++
	}
}

// space ends a word. What stood before it was a type or the like, unless the
// word has had its arguments: then the rest are qualifiers.
func (r *reader) space() {
	r.at++
	if r.args && len(r.out) > 0 || r.qualifiersOnly() {
		r.done = true
		return
	}
	if r.at < len(r.in) && (r.in[r.at] == '(' || r.in[r.at] == '[') && !strings.HasPrefix(r.in[r.at:], string(anonymous)) {
		return // arguments or an ABI tag of this word
	}
	r.out, r.args = r.out[:0], false
}

// qualifiersOnly reports whether nothing but qualifiers is left, which a name
// without arguments may have, too.
func (r *reader) qualifiersOnly() bool {
	if len(r.out) == 0 {
		return false
	}
	rest := r.in[r.at:]
	if len(rest) > len("const volatile noexcept restrict && ") {
		return false
	}
	for _, w := range strings.Fields(rest) {
		switch w {
		case "const", "volatile", "noexcept", "restrict", "&", "&&", "const&", "const&&":
		default:
			return false
		}
	}
	return true
}

// skip finds the end of the bracket that opens at r.at. Arrows do not close.
func (r *reader) skip(opener, closer byte) int {
	level := 0
	for i := r.at; i < len(r.in); i++ {
		switch r.in[i] {
		case opener:
			level++
		case closer:
			if closer == '>' && i > 0 && r.in[i-1] == '-' {
				continue
			}
			level--
			if level == 0 {
				return i + 1
			}
		}
	}
	return len(r.in)
}

// angle reads template parameters, or the type that a Rust method belongs to.
func (r *reader) angle() {
	end := r.skip('<', '>')
	slice := r.in[r.at:end]
	inside := strings.TrimSuffix(slice[1:], ">")
	start := len(r.out) == 0
	r.at = end
	switch {
	case strings.HasPrefix(inside, "lambda_"):
		r.out = append(r.out, "<lambda>"...)
	case slice == string(nameOmitted) || strings.HasPrefix(inside, "unnamed") || strings.HasPrefix(inside, "unknown in "):
		r.out = append(r.out, slice...)
	case start && strings.Contains(inside, " as "):
		of, trait := cutAs(inside)
		r.out = append(r.out, '<')
		r.out = appendType(r.out, of)
		r.out = append(r.out, " as "...)
		r.out = appendType(r.out, trait)
		r.out = append(r.out, '>')
	case start && strings.HasPrefix(r.in[r.at:], "::"):
		r.out = appendType(r.out, inside)
	default:
		r.out = append(r.out, "<T>"...)
	}
}

// cutAs cuts "Type as Trait" at the " as " outside of brackets.
func cutAs(s string) (of, trait string) {
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '<', '(', '[':
			level++
		case '>', ')', ']':
			if i == 0 || s[i-1] != '-' {
				level--
			}
		case ' ':
			if level == 0 && strings.HasPrefix(s[i:], " as ") {
				return s[:i], s[i+len(" as "):]
			}
		}
	}
	of, trait, _ = strings.Cut(s, " as ")
	return of, trait
}

// appendType writes a type with its parameters as <T>.
func appendType(out []byte, s string) []byte {
	r := reader{in: s}
	for r.at < len(s) {
		if s[r.at] != '<' {
			out = append(out, s[r.at])
			r.at++
			continue
		}
		r.at = r.skip('<', '>')
		out = append(out, "<T>"...)
	}
	return out
}

// paren reads arguments, which go, or the anonymous namespace, which stays.
func (r *reader) paren() {
	if strings.HasPrefix(r.in[r.at:], string(anonymous)) {
		r.out = append(r.out, anonymous...)
		r.at += len(anonymous)
		return
	}
	r.at = r.skip('(', ')')
	r.args = string(r.out) != "decltype"
}

// brace reads marks such as {lambda(int)#1}, {closure#0}, {{closure}}.
func (r *reader) brace() {
	end := r.skip('{', '}')
	inside := strings.Trim(r.in[r.at:end], "{}")
	r.at = end
	if i := strings.IndexAny(inside, "(#"); i >= 0 {
		inside = inside[:i]
	}
	r.out = append(append(append(r.out, '{'), inside...), '}')
}

// quote reads what Microsoft's tools put in ` and '.
func (r *reader) quote() {
	rest := r.in[r.at:]
	end := len(rest)
	level := 0
	for i := 0; i < len(rest); i++ {
		if rest[i] == '`' {
			level++
		} else if rest[i] == '\'' {
			level--
			if level == 0 {
				end = i + 1
				break
			}
		}
	}
	text := rest[:end]
	r.at += end
	if text == "`anonymous namespace'" || text == "`anonymous-namespace'" {
		r.out = append(r.out, anonymous...)
		return
	}
	r.out = append(r.out, text...)
}

// lambdaQuote reads 'lambda', 'lambda0' and 'unnamed1' as LLVM writes them.
func (r *reader) lambdaQuote() {
	rest := r.in[r.at+1:]
	end := strings.IndexByte(rest, '\'')
	word := ""
	if end >= 0 {
		word = strings.TrimRight(rest[:end], "0123456789")
	}
	if word != "lambda" && word != "unnamed" && word != "block-literal" {
		r.out = append(r.out, '\'')
		r.at++
		return
	}
	r.out = append(append(append(r.out, '{'), word...), '}')
	r.at += end + 2
}

const operatorText = "operator"

// isOperator reports whether the word operator stands here on its own.
func (r *reader) isOperator() bool {
	if !strings.HasPrefix(r.in[r.at:], operatorText) || r.at > 0 && isIdent(r.in[r.at-1]) {
		return false
	}
	end := r.at + len(operatorText)
	return end < len(r.in) && !isIdent(r.in[end])
}

func isIdent(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// operatorSigns are the operators that are signs, longer ones first.
var operatorSigns = [...]string{"<=>", "<<=", ">>=", "->*", "()", "[]", "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--",
	"+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "<", ">", "+", "-", "*", "/", "%", "^", "&", "|", "~", "!", "=", ","}

// operator reads an operator function: a sign, new and delete, a literal, or
// the type it converts to.
func (r *reader) operator() {
	r.out = append(r.out, operatorText...)
	r.at += len(operatorText)
	rest := r.in[r.at:]
	for _, sign := range operatorSigns {
		if strings.HasPrefix(rest, sign) {
			r.out = append(r.out, sign...)
			r.at += len(sign)
			// "operator<< <int>": the space belongs to the name.
			if strings.HasPrefix(r.in[r.at:], " <") {
				r.at++
			}
			return
		}
	}
	r.out = append(r.out, ' ')
	rest = strings.TrimLeft(rest, " ")
	r.at = len(r.in) - len(rest)
	for _, w := range [...]string{"new[]", "new", "delete[]", "delete", "co_await"} {
		if strings.HasPrefix(rest, w) && (len(rest) == len(w) || !isIdent(rest[len(w)])) {
			r.out = append(r.out, w...)
			r.at += len(w)
			return
		}
	}
	// A conversion: the type runs to the arguments.
	end := len(rest)
	level := 0
	for i := 0; i < len(rest) && end == len(rest); i++ {
		switch rest[i] {
		case '<':
			level++
		case '>':
			level--
		case '(':
			if level == 0 {
				end = i
			}
		}
	}
	r.out = appendType(r.out, strings.TrimRight(rest[:end], " "))
	r.at += end
}
