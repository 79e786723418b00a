package jsontext

import "io"

// Indenter writes compact JSON indented by two spaces, as json.Indent does, but
// without having all of it at hand.
type Indenter struct {
	W io.Writer

	out                      []byte
	depth                    int
	quoted, escaped, pending bool // pending: a bracket was opened, and nothing is in it yet
}

// Write implements io.Writer.
func (d *Indenter) Write(b []byte) (int, error) {
	d.out = d.out[:0]
	for _, c := range b {
		if d.quoted {
			d.out = append(d.out, c)
			d.quoted = d.escaped || c != '"'
			d.escaped = c == '\\' && !d.escaped
			continue
		}
		closes := c == '}' || c == ']'
		if closes {
			d.depth--
		}
		if d.pending != closes { // not between brackets with nothing in them
			d.line()
		}
		d.pending = false
		d.out = append(d.out, c)
		switch c {
		case '"':
			d.quoted = true
		case '{', '[':
			d.depth++
			d.pending = true
		case ',':
			d.line()
		case ':':
			d.out = append(d.out, ' ')
		}
	}
	_, err := d.W.Write(d.out)
	return len(b), err
}

func (d *Indenter) line() {
	d.out = append(d.out, '\n')
	for range d.depth {
		d.out = append(d.out, ' ', ' ')
	}
}
