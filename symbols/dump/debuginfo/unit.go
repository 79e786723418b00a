package debuginfo

import (
	"io"

	"mayday/app/fault"
	"mayday/symbols/executable"
)

// unit is a compilation unit that is being read.
type unit struct {
	*reader
	width
	start uint64 // in .debug_info
	table *table
	c     cursor // over the unit, from its header on

	compDir   []byte
	low       uint64 // what addresses of ranges count from
	textBase  uint64 // of indexes into .debug_str_offsets
	addrBase  uint64
	listsBase uint64
	lineTable lineTable
	found     []Span
}

func (r *reader) big() bool { return r.image.Order.Uint16([]byte{0, 1}) == 1 }

// units reads the units of .debug_info one after the other.
func (r *reader) units(section *executable.Section) error {
	in, size, err := r.image.Stream(section, maxSection)
	if err != nil {
		return err
	}
	defer in.Close()
	r.info.scopes = append(r.info.scopes, scope{})
	var buffer []byte
	u := &unit{}
	for at := uint64(0); at < size; {
		if err := r.meter.Step(); err != nil {
			return err
		}
		length, wide, n, err := r.length(in)
		if err != nil {
			return fault.New(fault.Malformed, "the unit at %#x of %#x bytes breaks off", at, size)
		}
		if left := size - min(size, at+n); length > left {
			return fault.New(fault.Malformed, "the unit at %#x has %d bytes, where %d are left", at, length, left)
		}
		const least = 7 // bytes of a header
		if length < least {
			if err := r.skip(in, length); err != nil {
				return err
			}
			at += n + length
			continue
		}
		if buffer, err = r.fill(in, buffer, int(length)); err != nil {
			return err
		}
		*u = unit{reader: r, start: at, c: cursor{b: buffer, big: r.big()}, width: width{wide: wide}}
		if err := u.read(n); err != nil {
			return fault.Wrap(err, "unit at %#x", at)
		}
		u.lineTable.drop(r.meter)
		at += n + length
	}
	r.meter.Give(int64(cap(buffer)))
	return nil
}

// length reads how long a unit is, which takes n bytes.
func (r *reader) length(in io.Reader) (length uint64, wide bool, n uint64, err error) {
	head := r.head[:]
	if _, err = io.ReadFull(in, head[:4]); err != nil {
		return 0, false, 0, err
	}
	c := &cursor{b: head, big: r.big()}
	if c.u32() == 0xffff_ffff {
		if _, err = io.ReadFull(in, head[4:]); err != nil {
			return 0, false, 0, err
		}
		c.at = 0
		length, _ = c.length()
		return length, true, 12, nil
	}
	c.at = 0
	return uint64(c.u32()), false, 4, nil
}

// skip steps over a unit of less than a header: padding.
func (r *reader) skip(in io.Reader, n uint64) error {
	if _, err := io.ReadFull(in, r.head[:n]); err != nil {
		return fault.As(fault.Malformed, err, "the last unit")
	}
	return nil
}

// fill reads n bytes into the buffer, which grows as they come.
func (r *reader) fill(in io.Reader, buffer []byte, n int) ([]byte, error) {
	const portion = 1 << 20
	buffer = buffer[:0]
	for len(buffer) < n {
		if len(buffer) == cap(buffer) {
			room := min(n, max(portion, 2*cap(buffer)))
			if err := r.meter.Take(int64(room)); err != nil {
				return nil, err
			}
			grown := make([]byte, len(buffer), room)
			copy(grown, buffer)
			r.meter.Give(int64(cap(buffer)))
			buffer = grown
		}
		if err := r.meter.Check(); err != nil {
			return nil, err
		}
		part := buffer[len(buffer):min(cap(buffer), n, len(buffer)+portion)]
		got, err := io.ReadFull(in, part)
		if buffer = buffer[:len(buffer)+got]; err != nil {
			return buffer, fault.New(fault.Malformed, "%d bytes break off after %d", n, len(buffer))
		}
	}
	return buffer, nil
}

// The kinds of units that have code (DWARF 5, section 7.5.1).
const (
	unitCompile  = 1
	unitPartial  = 3
	unitSkeleton = 4
)

// read reads a unit whose length took head bytes.
func (u *unit) read(head uint64) error {
	c := &u.c
	u.version = c.u16()
	if u.version < 2 || u.version > 5 {
		return nil // of a version to come
	}
	kind := uint8(unitCompile)
	var abbreviations uint64
	if u.version == 5 {
		kind, u.address = c.u8(), c.u8()
		abbreviations = c.offset(u.wide)
	} else {
		abbreviations = c.offset(u.wide)
		u.address = c.u8()
	}
	switch kind {
	case unitCompile, unitPartial:
	case unitSkeleton:
		c.skip(8)
	default:
		return nil // types
	}
	if c.broken || u.address != 4 && u.address != 8 && u.address != 2 {
		return fault.New(fault.Malformed, "a broken header, or addresses of %d bytes", u.address)
	}
	var err error
	if u.table, err = u.reader.table(abbreviations, u.width); err != nil {
		return err
	}
	// Where bases are not given: behind the header of the first table.
	header := uint64(8)
	if u.wide {
		header = 16
	}
	if u.version == 5 {
		u.textBase, u.addrBase = header, header
		u.listsBase = header + 4
	}
	return u.entries(head)
}

// textOf is where the text of a value lies, 0 when it is none. A text among the
// entries is copied.
func (u *unit) textOf(v *value) (textRef, error) {
	switch {
	case v.class == isTextIndex:
		c := cursor{b: u.offsets, big: u.big()}
		c.skip(u.textBase)
		at := uint64(u.width.offset())
		if v.bits > uint64(len(u.offsets)) {
			return 0, nil
		}
		c.skip(v.bits * at)
		if at = c.offset(u.wide); c.broken {
			return 0, nil
		}
		return inStr | textRef(at), nil
	case v.class != isText:
		return 0, nil
	case v.text == nil:
		return textRef(v.bits), nil
	case len(v.text) == 0:
		return 0, nil
	}
	ref := inArena | textRef(len(u.arena))
	err := u.keep(v.text[:min(len(v.text), maxName)])
	return ref, err
}

// keep appends a text to the arena.
func (r *reader) keep(text []byte) error {
	if need := len(r.arena) + len(text) + 1; need > cap(r.arena) {
		room := need + need/4
		if err := r.meter.Take(int64(room)); err != nil {
			return err
		}
		grown := make([]byte, len(r.arena), room)
		copy(grown, r.arena)
		r.meter.Give(int64(cap(r.arena)))
		r.arena = grown
	}
	r.arena = append(append(r.arena, text...), 0)
	return nil
}

// addressOf is an address that a value gives.
func (u *unit) addressOf(v *value) (uint64, bool) {
	switch v.class {
	case isAddress:
		return v.bits, true
	case isAddressIndex:
		return u.indexed(v.bits)
	}
	return 0, false
}

// indexed is an address of .debug_addr.
func (u *unit) indexed(i uint64) (uint64, bool) {
	if i > uint64(len(u.addr)) {
		return 0, false
	}
	c := cursor{b: u.addr, big: u.big()}
	c.skip(u.addrBase)
	c.skip(i * uint64(u.address))
	a := c.uint(int(u.address))
	return a, !c.broken
}
