// Package frame normalises the frames of a stack: from the name of a function
// as symbols have it, or from a source line, a module or an address, to the text
// by which frames of different builds are the same.
//
// The rules are those of Socorro: return types, arguments and template
// parameters go, numbers of lambdas and hashes of Rust symbols, too. What they
// leave ugly (a lone "const") is left so: see package signature for improved
// names. Each step takes time linear in the length of the name.
package frame

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"mayday/signature/python"
)

// trait marks the bytes that the steps of a function name look for. A name
// without any of them needs none of the steps.
type trait uint8

const (
	hasAngle  trait = 1 << iota // <
	hasParen                    // (
	hasSquare                   // [
	hasSpace
	hasQuote  // `
	hasDollar // $
	hasComma  // ,
)

var traits = func() (t [256]trait) {
	t['<'], t['('], t['['], t[' '] = hasAngle, hasParen, hasSquare, hasSpace
	t['`'], t['$'], t[','] = hasQuote, hasDollar, hasComma
	return t
}()

func traitsOf(s string) (t trait) {
	for i := 0; i < len(s); i++ {
		t |= traits[s[i]]
	}
	return t
}

// qualifiers are cut from the end of a C++ function, each at most once, in
// this order.
var qualifiers = [...]string{"const", "const&", "const &", "&&", "&"}

// Cpp normalises a C or C++ function.
func (n *Normalizer) Cpp(name, line string) string {
	name = dropQualifiers(name)
	has := traitsOf(name)
	if has&hasSpace != 0 && !strings.Contains(name, "::operator") {
		name = n.dropReturnType(name)
		has = traitsOf(name)
	}
	if has&hasQuote != 0 {
		name = strings.ReplaceAll(name, "`anonymous namespace'", "(anonymous namespace)")
		has |= hasParen
	}
	if has&hasDollar != 0 && strings.Contains(name, "::$_") {
		name = dropLambdaNumbers(name)
	}
	if has&(hasAngle|hasParen|hasComma|hasSpace) == 0 {
		return n.withLine(name, line)
	}
	n.text = append(n.text[:0], name...)
	if has&hasAngle != 0 {
		n.types(true)
	}
	if has&hasParen != 0 {
		n.arguments(true)
	}
	if has&hasSquare != 0 && bytes.Contains(n.text, []byte("clone .cold")) {
		n.dropSquare()
	}
	return n.spaced(name, line)
}

// Rust normalises a Rust function.
func (n *Normalizer) Rust(name, line string) string {
	has := traitsOf(name)
	if has&hasSpace != 0 {
		name = n.dropReturnType(name)
		has = traitsOf(name)
	}
	if has&(hasAngle|hasParen|hasComma|hasSpace) == 0 {
		return dropHash(n.withLine(name, line))
	}
	n.text = append(n.text[:0], name...)
	if has&hasAngle != 0 {
		n.types(false)
	}
	if has&hasParen != 0 {
		n.arguments(false)
	}
	return dropHash(n.spaced(name, line))
}

// withLine adds the line to functions that are told apart by it. The line is
// as Python prints it, so "None" when there is none.
func (n *Normalizer) withLine(name, line string) string {
	if n.LineNumbers == nil || !n.LineNumbers.Match(name) {
		return name
	}
	n.Lined = true
	return name + ":" + line
}

// spaced ends a name held in n.text: the line number, then the spaces around
// stars, ampersands and commas. It returns name itself when that is the result.
func (n *Normalizer) spaced(name, line string) string {
	if l := n.LineNumbers; l != nil && (len(n.text) > 0 && l.MayMatch(n.text[0]) || l.All) {
		text := string(n.text)
		if with := n.withLine(text, line); len(with) != len(text) {
			n.text = append(n.text[:0], with...)
		}
	}
	out := n.next[:0]
	text := n.text
	from := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ' ':
			if i+1 < len(text) && (text[i+1] == '*' || text[i+1] == '&' || text[i+1] == ',') {
				out = append(out, text[from:i]...)
				from = i + 1
			}
		case ',':
			if i+1 == len(text) || text[i+1] != ' ' {
				out = append(append(out, text[from:i+1]...), ' ')
				from = i + 1
			} else if i+2 < len(text) && (text[i+2] == '*' || text[i+2] == '&' || text[i+2] == ',') {
				// The space goes, so the comma gets a new one.
				out = append(append(out, text[from:i+1]...), ' ')
				from = i + 2
				i++
			}
		}
	}
	out = append(out, text[from:]...)
	n.next = out
	if string(out) == name {
		return name
	}
	return string(out)
}

// dropQualifiers cuts const and reference qualifiers from the end.
func dropQualifiers(name string) string {
	if name == "" || name[len(name)-1] != 't' && name[len(name)-1] != '&' {
		return name
	}
	for _, q := range qualifiers {
		if strings.HasSuffix(name, q) {
			name = python.TrimSpace(name[:len(name)-len(q)])
		}
	}
	return name
}

// Classes of the bytes that matter when a name is cut into words.
const (
	plainByte = iota
	spaceByte
	openByte
	closeByte
)

var wordClasses, closers = func() (class [256]uint8, partner [256]byte) {
	for _, p := range [...]string{"()", "{}", "[]", "<>", "`'"} {
		class[p[0]], class[p[1]] = openByte, closeByte
		partner[p[1]] = p[0]
	}
	class[' '] = spaceByte
	return class, partner
}()

// dropReturnType is the last word of name: what stands before it is the
// return type, the storage class and the like. Words end at spaces outside of
// all brackets; argument lists and clone marks belong to the word before.
func (n *Normalizer) dropReturnType(name string) string {
	var (
		stack  = n.brackets[:0]
		start  = 0 // of the word being read
		first  = 0 // of the word that the last whole one belongs to
		end    = 0 // of the last whole word
		inWord = false
	)
	word := func(from, to int) {
		w := name[from:to]
		if !inWord || !strings.HasPrefix(w, "(") && !strings.HasPrefix(w, "[clone") {
			first = from
		}
		end, inWord = to, true
	}
	for i := 0; i < len(name); i++ {
		switch wordClasses[name[i]] {
		case plainByte:
		case spaceByte:
			if len(stack) == 0 {
				word(start, i)
				start = i + 1
			}
		case openByte:
			stack = append(stack, name[i])
		case closeByte:
			if len(stack) > 0 && stack[len(stack)-1] == closers[name[i]] {
				stack = stack[:len(stack)-1]
			}
		}
	}
	if start < len(name) {
		word(start, len(name))
	}
	n.brackets = stack[:0]
	return name[first:end]
}

// dropLambdaNumbers makes ::$_12:: ::$::, for the number changes with each
// build. A mark that begins with the end of another is not seen, as upstream.
func dropLambdaNumbers(name string) string {
	const mark = "::$_"
	var out []byte
	from := 0
	for at := 0; ; {
		i := strings.Index(name[at:], mark)
		if i < 0 {
			break
		}
		i += at
		end := i + len(mark)
		for end < len(name) {
			r, size := utf8.DecodeRuneInString(name[end:])
			if !unicode.Is(unicode.Nd, r) {
				break
			}
			end += size
		}
		if end == i+len(mark) || !strings.HasPrefix(name[end:], "::") {
			at = i + len(mark)
			continue
		}
		out = append(append(out, name[from:i]...), "::$::"...)
		from = end + len("::")
		at = from
	}
	if from == 0 {
		return name
	}
	return string(append(out, name[from:]...))
}

// dropHash cuts the hash from the end of a Rust symbol.
func dropHash(name string) string {
	body, tail := name, ""
	if strings.HasSuffix(body, "\n") {
		body, tail = body[:len(body)-1], "\n"
	}
	i := len(body)
	for i > 0 && isHex(body[i-1]) {
		i--
	}
	if i == len(body) || !strings.HasSuffix(body[:i], "::h") {
		return name
	}
	return body[:i-len("::h")] + tail
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}
