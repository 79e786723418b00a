package debuginfo

import (
	"path"
	"strings"

	"mayday/app/fault"
)

// lineTable is the header of the line table of a unit: its directories and
// files.
type lineTable struct {
	width
	directories [][]byte
	files       []source
	// numbers are the files in Info.Files, and one more; 0 where nobody asked yet.
	numbers []uint32

	program    cursor
	lengths    [256]uint8 // of the operands of standard operations
	operations uint8      // the first that is none
	step       uint8      // bytes of the shortest instruction
	bundle     uint8      // operations of an instruction
	statement  bool       // rows start statements unless told otherwise
	lineBase   int8
	lineRange  uint8
}

// source is a file of a line table.
type source struct {
	name      []byte
	directory uint64
}

// knownOperations is one more than the highest standard operation.
const knownOperations = 13

// readLines reads the line table at an offset of .debug_line, its rows unless
// another unit had the same.
func (u *unit) readLines(at uint64) error {
	if at >= uint64(len(u.reader.lines)) {
		return nil
	}
	if err := u.lineHeader(at); err != nil {
		return fault.Wrap(err, "line table at %#x", at)
	}
	t := &u.lineTable
	if u.seen[at] || t.program.rest() == 0 {
		return nil
	}
	const entry = 32 // of a map
	if err := u.meter.Take(entry); err != nil {
		return err
	}
	u.seen[at] = true
	return u.rows()
}

// lineHeader reads the header (DWARF 5, section 6.2.4).
func (u *unit) lineHeader(at uint64) error {
	t := &u.lineTable
	c := &cursor{b: u.reader.lines[at:], big: u.big()}
	n, wide := c.length()
	c.b = c.b[:c.at+int(min(n, uint64(c.rest())))]
	t.wide, t.version, t.address = wide, c.u16(), u.address
	if t.version < 2 || t.version > 5 {
		return nil // of a version to come
	}
	if t.version >= 5 {
		t.address = c.u8()
		c.u8() // size of segment selectors
	}
	length := c.offset(wide)
	program := c.at + int(min(length, uint64(c.rest())))
	t.step = c.u8()
	t.bundle = 1
	if t.version >= 4 {
		t.bundle = max(1, c.u8())
	}
	t.statement = c.u8() != 0
	t.lineBase, t.lineRange = int8(c.u8()), c.u8()
	t.operations = c.u8()
	for i := 1; i < int(t.operations); i++ {
		t.lengths[i] = c.u8()
	}
	if c.broken || t.lineRange == 0 || t.operations == 0 {
		return fault.New(fault.Malformed, "a broken header")
	}
	var err error
	if t.version >= 5 {
		err = u.namesV5(c)
	} else {
		err = u.namesV2(c)
	}
	if err != nil {
		return err
	}
	t.program = cursor{b: c.b, at: program, big: c.big}
	return nil
}

// namesV2 reads directories and files as they are up to DWARF 4.
func (u *unit) namesV2(c *cursor) error {
	for d := u.compDir; ; {
		if err := u.addDirectory(source{name: d}); err != nil {
			return err
		}
		if d = c.text(); len(d) == 0 {
			break
		}
	}
	if err := u.addFile(source{}); err != nil { // they count from 1
		return err
	}
	for {
		name := c.text()
		if len(name) == 0 {
			break
		}
		if err := u.addFile(source{name, c.uleb()}); err != nil {
			return err
		}
		c.uleb() // time
		c.uleb() // size
		if err := u.meter.Step(); err != nil {
			return err
		}
	}
	if c.broken {
		return fault.New(fault.Malformed, "the names of files break off")
	}
	return nil
}

// namesV5 reads those of DWARF 5.
func (u *unit) namesV5(c *cursor) error {
	err := u.nameList(c, u.addDirectory)
	if err == nil {
		err = u.nameList(c, u.addFile)
	}
	return err
}

func (u *unit) addDirectory(s source) (err error) {
	u.lineTable.directories, err = Append(u.meter, u.lineTable.directories, s.name)
	return err
}

func (u *unit) addFile(s source) (err error) {
	t := &u.lineTable
	if t.files, err = Append(u.meter, t.files, s); err == nil {
		t.numbers, err = Append(u.meter, t.numbers, 0)
	}
	return err
}

// drop counts the names as given back.
func (t *lineTable) drop(m *Meter) {
	m.Give(int64(cap(t.directories))*24 + int64(cap(t.files))*32 + int64(cap(t.numbers))*4)
}

// The kinds of what is known of a file (DWARF 5, section 6.2.4.1).
const (
	contentPath      = 1
	contentDirectory = 2
)

// nameList reads a list of directories or files: how entries are made, how many
// there are, and them.
func (u *unit) nameList(c *cursor, add func(source) error) error {
	type part struct{ content, form uint16 }
	var parts []part
	for range c.u8() {
		parts = append(parts, part{uint16(min(c.uleb(), 0xffff)), uint16(min(c.uleb(), 0xffff))})
	}
	least := 0 // bytes that an entry takes
	for _, p := range parts {
		if n := u.lineTable.size(p.form); n != 0 {
			least += max(n, 1)
		}
	}
	count := c.uleb()
	if c.broken || count > uint64(c.rest()/max(least, 1)) || least == 0 && count > 0 {
		return fault.New(fault.Malformed, "a list of %d names in %d bytes", count, c.rest())
	}
	for range count {
		var s source
		for _, p := range parts {
			v := u.lineTable.width.read(c, p.form, 0, 0)
			switch p.content {
			case contentPath:
				if s.name = v.text; v.text == nil && v.class != noValue {
					ref, _ := u.textOf(&v) // nothing is copied: the text is elsewhere
					s.name = u.bytes(ref, maxPath)
				}
			case contentDirectory:
				s.directory = v.bits
			}
		}
		if c.broken {
			return fault.New(fault.Malformed, "the names of files break off")
		}
		if err := add(s); err != nil {
			return err
		}
		if err := u.meter.Step(); err != nil {
			return err
		}
	}
	return nil
}

// file is the number in Info.Files of a file of the unit, 0 when there is none.
func (u *unit) file(i uint64) (uint32, error) {
	t := &u.lineTable
	if i >= uint64(len(t.files)) || i == 0 && t.version < 5 {
		return 0, nil
	}
	if n := t.numbers[i]; n > 0 {
		return n - 1, nil
	}
	name := Clean(t.path(&t.files[i], u.compDir))
	n, ok := u.files[name]
	if !ok {
		const entry = 96 // of a map, and the string twice
		if err := u.meter.Take(int64(len(name)) + entry); err != nil {
			return 0, err
		}
		n = uint32(len(u.info.Files))
		u.files[name] = n
		u.info.Files = append(u.info.Files, name)
	}
	t.numbers[i] = n + 1
	return n, nil
}

// path is the whole name of a file.
func (t *lineTable) path(s *source, compDir []byte) string {
	cut := func(b []byte) string { return string(b[:min(len(b), maxPath)]) }
	name := cut(s.name)
	if isAbsolute(name) || name == "" {
		return name
	}
	directory := ""
	if s.directory < uint64(len(t.directories)) {
		directory = cut(t.directories[s.directory])
	}
	// Up to DWARF 4 directory 0 is that of the compilation; from 5 on it may be
	// written out. Where that is relative itself, nobody knows to what.
	if unit := cut(compDir); !isAbsolute(directory) && s.directory > 0 && (isAbsolute(unit) || t.version < 5) {
		directory = join(unit, directory)
	}
	return join(directory, name)
}

// isAbsolute says whether a path starts at a root, of any system.
func isAbsolute(p string) bool {
	if p == "" {
		return false
	}
	return p[0] == '/' || p[0] == '\\' || drive(p) && len(p) > 2 && (p[2] == '/' || p[2] == '\\')
}

func drive(p string) bool {
	return len(p) >= 2 && p[1] == ':' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z')
}

// join joins paths. Those of Windows stay as they are written.
func join(directory, name string) string {
	switch {
	case directory == "":
		return name
	case name == "":
		return directory
	case !drive(directory) && directory[0] != '\\':
		return path.Join(directory, name)
	case strings.HasSuffix(directory, `\`) || strings.HasSuffix(directory, "/"):
		return directory + name
	case strings.Contains(directory, "/"):
		return directory + "/" + name
	}
	return directory + `\` + name
}
