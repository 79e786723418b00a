package minidump

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"mayday/minidump/format"
)

// Module is a program or library that was loaded.
type Module struct {
	Raw format.Module
	// Base is where it starts, Size how many bytes of the address space it has.
	Base, Size uint64
	// Name is the path of the binary as the system has it.
	Name string
	// DebugFile is the file that symbols are named after, "" if unknown. It may
	// be a path.
	DebugFile string
	// DebugID is the id that symbols are found by: 32 digits in capitals and the
	// age in hexadecimal; "" if the module has none.
	DebugID string
	// CodeID is the id that the binary is found by, in lower case; "" if the
	// module has none.
	CodeID string
	// BuildID is the whole build id of an ELF module.
	BuildID []byte
	// Version is the version the binary states, "" if it states none.
	Version string
}

// UnloadedModule is a library that had been unloaded before the dump was
// written.
type UnloadedModule struct {
	Raw        format.UnloadedModule
	Base, Size uint64
	Name       string
	CodeID     string
}

func (d *Dump) readModules(b []byte) *FormatError {
	entries, n, err := d.list(b, format.ModuleSize)
	if err != nil {
		return err
	}
	modules := make([]Module, 0, n)
	c := format.NewCursor(entries, d.Order)
	for i := range n {
		m := Module{}
		c.Record(&m.Raw)
		m.Base, m.Size = m.Raw.Base, uint64(m.Raw.Size)
		if m.Size == 0 || m.Base+m.Size < m.Base {
			d.note(format.StreamModuleList, 0, "module %d has %d bytes at %#x", i, m.Size, m.Base)
			continue
		}
		// One unreadable module makes the list useless to the reader this follows:
		// the entries cannot be what they claim to be.
		if err := d.nameModule(&m); err != nil {
			return err
		}
		modules = append(modules, m)
	}
	d.Modules = modules
	return nil
}

func (d *Dump) nameModule(m *Module) *FormatError {
	var ok bool
	if m.Name, ok = d.utf16At(uint64(m.Raw.NameRVA)); !ok {
		return &FormatError{Offset: uint64(m.Raw.NameRVA), Detail: fmt.Sprintf("the name of the module at %#x cannot be read", m.Base)}
	}
	os := format.UnknownOS
	if d.System != nil {
		os = d.System.OS
	}
	if m.Raw.CodeView.Size == 0 {
		if os == format.Windows {
			m.CodeID = peCodeID(m.Raw.TimeDateStamp, m.Raw.Size)
		}
	} else {
		record, ok := d.location(m.Raw.CodeView)
		if !ok || !d.texts.take(len(record)) || !m.readCodeView(record, d.Order, os) {
			return &FormatError{Offset: uint64(m.Raw.CodeView.RVA), Detail: fmt.Sprintf("the CodeView record of %s cannot be read", m.Name)}
		}
	}
	m.Version = moduleVersion(&m.Raw.Version, os)
	return nil
}

// readCodeView takes the ids from a CodeView record. It reports false when the
// record is too short for its kind; unknown kinds are no error.
func (m *Module) readCodeView(b []byte, order binary.ByteOrder, os format.OS) bool {
	c := format.NewCursor(b, order)
	switch c.U32() {
	case format.CodeViewPDB70:
		var g format.GUID
		c.Record(&g)
		age := c.U32()
		m.DebugFile = untilNUL(b[min(c.Offset(), len(b)):])
		if g != (format.GUID{}) {
			m.DebugID = fmt.Sprintf("%s%x", guidHex(g, upperDigits), age)
		}
		m.CodeID = peCodeID(m.Raw.TimeDateStamp, m.Raw.Size)
		if os.Apple() {
			m.CodeID = string(guidHex(g, lowerDigits))
		}
	case format.CodeViewPDB20:
		c.U32()
		stamp, age := c.U32(), c.U32()
		m.DebugFile = untilNUL(b[min(c.Offset(), len(b)):])
		m.DebugID = fmt.Sprintf("%08X%x", stamp, age)
		m.CodeID = peCodeID(m.Raw.TimeDateStamp, m.Raw.Size)
	case format.CodeViewELF:
		id := b[4:]
		m.BuildID, m.DebugFile = slices.Clone(id), m.Name
		if strings.Trim(string(id), "\x00") == "" {
			break // mapped fonts and archives have no build id
		}
		m.CodeID = hex.EncodeToString(id)
		var front [16]byte
		copy(front[:], id)
		var g format.GUID
		format.NewCursor(front[:], order).Record(&g)
		m.DebugID = fmt.Sprintf("%s0", guidHex(g, upperDigits))
	}
	_, failed := c.Failed()
	return !failed
}

const (
	upperDigits = "0123456789ABCDEF"
	lowerDigits = "0123456789abcdef"
)

// peCodeID is how symbol servers of Windows name a binary.
func peCodeID(stamp, size uint32) string { return fmt.Sprintf("%08x%x", stamp, size) }

// moduleVersion writes the version resource. On Linux and the like Breakpad
// fills all four words with one number each.
func moduleVersion(v *format.FixedFileInfo, os format.OS) string {
	switch {
	case v.Signature != format.FixedFileSignature || v.StructVersion != format.FixedFileVersion:
		return ""
	case os == format.Windows || os.Apple():
		return fmt.Sprintf("%d.%d.%d.%d", v.FileVersionHi>>16, v.FileVersionHi&0xffff, v.FileVersionLo>>16, v.FileVersionLo&0xffff)
	}
	return fmt.Sprintf("%d.%d.%d.%d", v.FileVersionHi, v.FileVersionLo, v.ProductVersionHi, v.ProductVersionLo)
}

// ModuleAt returns the number of the module that covers addr. Of modules that
// overlap the one that starts first is found.
func (d *Dump) ModuleAt(addr uint64) (int, bool) { return d.moduleIdx.find(addr) }

// ModulesEnd is the address behind the highest module, 0 when there is none.
func (d *Dump) ModulesEnd() uint64 {
	if n := len(d.moduleIdx); n > 0 {
		return d.moduleIdx[n-1].last + 1
	}
	return 0
}

func (d *Dump) readUnloaded(b []byte) *FormatError {
	entries, n, _, err := d.extendedList(b, format.UnloadedModuleSize)
	if err != nil {
		return err
	}
	list := make([]UnloadedModule, n)
	c := format.NewCursor(entries, d.Order)
	for i := range list {
		u := &list[i]
		c.Record(&u.Raw)
		u.Base, u.Size = u.Raw.Base, uint64(u.Raw.Size)
		if u.Size == 0 || u.Base+u.Size < u.Base {
			return bad("unloaded module %d has %d bytes at %#x", i, u.Size, u.Base)
		}
		var ok bool
		if u.Name, ok = d.utf16At(uint64(u.Raw.NameRVA)); !ok {
			return &FormatError{Offset: uint64(u.Raw.NameRVA), Detail: fmt.Sprintf("the name of unloaded module %d cannot be read", i)}
		}
		u.CodeID = peCodeID(u.Raw.TimeDateStamp, u.Raw.Size)
	}
	d.Unloaded = list
	d.unloaded = make([]int, n)
	for i := range d.unloaded {
		d.unloaded[i] = i
	}
	slices.SortStableFunc(d.unloaded, func(a, b int) int {
		x, y := &list[a], &list[b]
		return cmp.Or(cmp.Compare(x.Base, y.Base), cmp.Compare(x.Size, y.Size))
	})
	return nil
}

// UnloadedAt returns the numbers of the unloaded modules that covered addr, in
// the order of their addresses; their ranges may overlap, since addresses are
// used again.
func (d *Dump) UnloadedAt(addr uint64) []int {
	var at []int
	for _, i := range d.unloaded {
		u := &d.Unloaded[i]
		if u.Base > addr {
			break
		}
		if addr-u.Base < u.Size {
			at = append(at, i)
		}
	}
	return at
}

// UnloadedByAddress returns the numbers of the unloaded modules in the order of
// their addresses.
func (d *Dump) UnloadedByAddress() []int { return d.unloaded }
