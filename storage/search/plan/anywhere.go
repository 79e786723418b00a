package plan

import "strings"

// maxWords bounds the terms of the free-text parameter: each is looked up in
// every text field.
const maxWords = 20

// anywhere reads q, the one box for free text: terms between blanks, all of
// which must be found, each in some field that the viewer may read. Fields he
// may not read are left out, or hit counts would give their words away.
//
//	render shutdown    both words, in one field or two
//	js::gc             words joined by marks stand side by side
//	"lost device"      so do words in quotes
//	rend* "lost dev"*  a word that begins so, with the words before it
//	-render            not this
func (p *parser) anywhere() *Error {
	for _, v := range p.given("q") {
		terms, ok := splitTerms(v)
		if !ok {
			return bad("q", "Bad value for parameter q: more than %d words", maxWords)
		}
		for _, t := range terms {
			any := &Expr{Op: Or}
			for i := range p.fields.list {
				f := &p.fields.list[i]
				if f.Storage.IsString() && p.viewer.MayRead(f) {
					any.Args = append(any.Args, &Expr{Op: t.op, Field: f, Text: t.text, sourceText: t.text})
				}
			}
			if t.not {
				any = &Expr{Op: Not, Args: []*Expr{any}}
			}
			p.plan.Filters = append(p.plan.Filters, any)
		}
	}
	return nil
}

// term is one thing asked of the free text.
type term struct {
	op   Op
	text string
	not  bool
}

// splitTerms cuts the free text at blanks outside quotes. A quote that nobody
// closes goes on to the end. ok is false when there are too many terms.
func splitTerms(s string) (out []term, ok bool) {
	for {
		if s = strings.TrimLeft(s, " \t\r\n"); s == "" {
			return out, true
		}
		t := term{op: Phrase}
		if rest, minus := strings.CutPrefix(s, "-"); minus && rest != "" && !strings.ContainsAny(rest[:1], " \t\r\n") {
			t.not, s = true, rest
		}
		if quoted, is := strings.CutPrefix(s, `"`); is {
			t.text, s, _ = strings.Cut(quoted, `"`)
			if rest, star := strings.CutPrefix(s, "*"); star {
				t.op, s = WordPrefix, rest
			}
		} else {
			end := strings.IndexAny(s, " \t\r\n")
			if end < 0 {
				end = len(s)
			}
			t.text, s = s[:end], s[end:]
			if bare, star := strings.CutSuffix(t.text, "*"); star {
				t.op, t.text = WordPrefix, bare
			}
		}
		if strings.TrimSpace(t.text) == "" {
			continue
		}
		if out = append(out, t); len(out) > maxWords {
			return nil, false
		}
	}
}
