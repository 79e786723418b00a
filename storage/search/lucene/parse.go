package lucene

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
)

// parser reads the grammar of Lucene's RegExp: union, intersection,
// concatenation, repetition, complement, class, simple expression.
type parser struct {
	src   []rune
	at    int
	depth int
	t     *tree
}

// maxRepeat bounds the numbers in {n,m}: Lucene would build that many copies.
const maxRepeat = 10_000

// maxDepth bounds parentheses, hence the recursion of the parser.
const maxDepth = 250

func (p *parser) parse() (int32, error) {
	if len(p.src) == 0 {
		return eps, nil
	}
	id, err := p.union()
	if err != nil {
		return none, err
	}
	if p.more() {
		return none, fault.New(fault.Invalid, "unexpected %q at character %d", p.src[p.at], p.at)
	}
	return id, p.t.err
}

func (p *parser) more() bool { return p.at < len(p.src) }

func (p *parser) peek(set string) bool { return p.more() && strings.ContainsRune(set, p.src[p.at]) }

func (p *parser) take(r rune) bool {
	if p.more() && p.src[p.at] == r {
		p.at++
		return true
	}
	return false
}

func (p *parser) next() (rune, error) {
	if !p.more() {
		return 0, fault.New(fault.Invalid, "unexpected end")
	}
	p.at++
	return p.src[p.at-1], nil
}

func (p *parser) union() (int32, error) {
	if p.depth++; p.depth > maxDepth {
		return none, fault.New(fault.Invalid, "parentheses nest deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	var list []int32
	for {
		id, err := p.intersection()
		if err != nil {
			return none, err
		}
		list = append(list, id)
		if !p.take('|') {
			return p.t.alt(list...), nil
		}
	}
}

func (p *parser) intersection() (int32, error) {
	var list []int32
	for {
		id, err := p.concatenation()
		if err != nil {
			return none, err
		}
		list = append(list, id)
		if !p.take('&') {
			return p.t.inter(list...), nil
		}
	}
}

func (p *parser) concatenation() (int32, error) {
	var list []int32
	for {
		id, err := p.repetition()
		if err != nil {
			return none, err
		}
		list = append(list, id)
		if !p.more() || p.peek(")|&") {
			break
		}
	}
	out := eps
	for i := len(list) - 1; i >= 0; i-- {
		out = p.t.concat(list[i], out)
	}
	return out, nil
}

func (p *parser) repetition() (int32, error) {
	id, err := p.complement()
	if err != nil {
		return none, err
	}
	for p.peek("?*+{") {
		c, _ := p.next()
		switch c {
		case '?':
			id = p.t.repeat(id, 0, 1)
		case '*':
			id = p.t.repeat(id, 0, -1)
		case '+':
			id = p.t.repeat(id, 1, -1)
		default:
			if id, err = p.counted(id); err != nil {
				return none, err
			}
		}
	}
	return id, nil
}

// counted reads n}, n,} or n,m}.
func (p *parser) counted(id int32) (int32, error) {
	least, ok := p.number()
	if !ok {
		return none, fault.New(fault.Invalid, "number expected at character %d", p.at)
	}
	most := least
	if p.take(',') {
		most = -1
		if n, ok := p.number(); ok {
			most = n
		}
	}
	if !p.take('}') {
		return none, fault.New(fault.Invalid, "'}' expected at character %d", p.at)
	}
	if least > maxRepeat || most > maxRepeat {
		return none, fault.New(fault.Invalid, "repetition of more than %d times", maxRepeat)
	}
	if most >= 0 && least > most {
		return none, fault.New(fault.Invalid, "repetition {%d,%d} is the wrong way round", least, most)
	}
	return p.t.repeat(id, least, most), nil
}

func (p *parser) number() (int32, bool) {
	start := p.at
	for p.peek("0123456789") {
		p.at++
	}
	n, err := strconv.ParseInt(string(p.src[start:p.at]), 10, 32)
	return int32(min(n, maxRepeat+1)), err == nil || p.at-start > 9
}

func (p *parser) complement() (int32, error) {
	odd := false
	for p.take('~') {
		odd = !odd
	}
	id, err := p.charClass()
	if odd && err == nil {
		id = p.t.not(id)
	}
	return id, err
}

func (p *parser) charClass() (int32, error) {
	if !p.take('[') {
		return p.simple()
	}
	negate := p.take('^')
	var pairs []rune
	for first := true; first || p.more() && !p.peek("]"); first = false {
		if short, ok := p.shorthand(); ok {
			pairs = append(pairs, short...)
			continue
		}
		lo, err := p.char()
		if err != nil {
			return none, err
		}
		hi := lo
		if p.take('-') {
			if hi, err = p.char(); err != nil {
				return none, err
			}
		}
		if hi < lo {
			return none, fault.New(fault.Invalid, "range %c-%c is the wrong way round", lo, hi)
		}
		pairs = append(pairs, lo, hi)
	}
	if !p.take(']') {
		return none, fault.New(fault.Invalid, "']' expected at character %d", p.at)
	}
	if negate {
		pairs = inverse(normal(pairs))
	}
	return p.t.class(pairs), nil
}

// char reads one character, escaped or not.
func (p *parser) char() (rune, error) {
	p.take('\\')
	return p.next()
}

// shorthand reads \d \w \s and their opposites.
func (p *parser) shorthand() ([]rune, bool) {
	if p.at+1 >= len(p.src) || p.src[p.at] != '\\' {
		return nil, false
	}
	var pairs []rune
	switch p.src[p.at+1] {
	case 'd', 'D':
		pairs = []rune{'0', '9'}
	case 'w', 'W':
		pairs = []rune{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}
	case 's', 'S':
		pairs = []rune{'\t', '\n', '\r', '\r', ' ', ' '}
	default:
		return nil, false
	}
	if p.src[p.at+1] < 'a' {
		pairs = inverse(pairs)
	}
	p.at += 2
	return pairs, true
}

func (p *parser) simple() (int32, error) {
	if pairs, ok := p.shorthand(); ok {
		return p.t.class(pairs), nil
	}
	switch {
	case p.take('.'):
		return p.t.any, nil
	case p.take('#'):
		return none, nil
	case p.take('@'):
		return p.t.all, nil
	case p.take('"'):
		return p.quoted()
	case p.take('<'):
		return p.interval()
	case p.take('('):
		if p.take(')') {
			return eps, nil
		}
		id, err := p.union()
		if err == nil && !p.take(')') {
			err = fault.New(fault.Invalid, "')' expected at character %d", p.at)
		}
		return id, err
	}
	r, err := p.char()
	if err != nil {
		return none, err
	}
	return p.t.char(r), nil
}

func (p *parser) quoted() (int32, error) {
	start := p.at
	for p.more() && p.src[p.at] != '"' {
		p.at++
	}
	end := p.at
	if !p.take('"') {
		return none, fault.New(fault.Invalid, "'\"' expected at the end")
	}
	out := eps
	for i := end - 1; i >= start; i-- {
		out = p.t.concat(p.t.char(p.src[i]), out)
	}
	return out, nil
}

// interval reads n-m>: decimal numbers in a range. Both bounds of one length
// mean exactly that many digits, otherwise zeros may lead.
func (p *parser) interval() (int32, error) {
	start := p.at
	for p.more() && p.src[p.at] != '>' {
		p.at++
	}
	text := string(p.src[start:p.at])
	if !p.take('>') {
		return none, fault.New(fault.Invalid, "'>' expected at the end")
	}
	a, b, ok := strings.Cut(text, "-")
	lo, err1 := strconv.ParseInt(a, 10, 32)
	hi, err2 := strconv.ParseInt(b, 10, 32)
	if !ok || err1 != nil || err2 != nil || lo < 0 || hi < 0 {
		return none, fault.New(fault.Invalid, "interval <%.40s> is not <number-number>", text)
	}
	if lo > hi {
		lo, hi = hi, lo
		a, b = b, a
	}
	if len(a) == len(b) {
		return p.digits(a, b), nil
	}
	a, b = strconv.FormatInt(lo, 10), strconv.FormatInt(hi, 10)
	var list []int32
	for n := len(a); n <= len(b); n++ {
		from, to := "1"+strings.Repeat("0", n-1), strings.Repeat("9", n)
		if n == len(a) {
			from = a
		}
		if n == len(b) {
			to = b
		}
		list = append(list, p.digits(from, to))
	}
	zeros := p.t.repeat(p.t.char('0'), 0, -1)
	return p.t.concat(zeros, p.t.alt(list...)), nil
}

// digits makes the numbers from lo to hi, both of the same length.
func (p *parser) digits(lo, hi string) int32 {
	if lo == "" {
		return eps
	}
	rest := len(lo) - 1
	zeros, nines := strings.Repeat("0", rest), strings.Repeat("9", rest)
	if lo[1:] == zeros && hi[1:] == nines {
		nine := p.t.class([]rune{'0', '9'})
		return p.t.concat(p.t.class([]rune{rune(lo[0]), rune(hi[0])}), p.t.repeat(nine, int32(rest), int32(rest)))
	}
	if lo[0] == hi[0] {
		return p.t.concat(p.t.char(rune(lo[0])), p.digits(lo[1:], hi[1:]))
	}
	list := []int32{
		p.t.concat(p.t.char(rune(lo[0])), p.digits(lo[1:], nines)),
		p.t.concat(p.t.char(rune(hi[0])), p.digits(zeros, hi[1:])),
	}
	if lo[0]+1 < hi[0] {
		list = append(list, p.digits(string(lo[0]+1)+zeros, string(hi[0]-1)+nines))
	}
	return p.t.alt(list...)
}

// Required is the longest text that every match must hold, "" when there is
// none to name; it lets a caller skip values without running the automaton.
func (d *DFA) Required() string {
	best, run := "", []byte(nil)
	flush := func() {
		if len(run) > len(best) {
			best = string(run)
		}
		run = run[:0]
	}
	for id := d.nodes[d.start]; ; {
		n := d.tree.nodes[id]
		head := id
		if n.kind == kConcat {
			head = n.list[0]
		}
		if h := d.tree.nodes[head]; h.kind == kClass && len(h.ranges) == 2 && h.ranges[0] == h.ranges[1] {
			run = utf8.AppendRune(run, h.ranges[0])
		} else {
			flush()
		}
		if n.kind != kConcat {
			flush()
			return best
		}
		id = n.list[1]
	}
}
