package minidump

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"strconv"

	"mayday/minidump/format"
)

// Module is a program or library that was loaded.
type Module struct {
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
	// module has none. Of an ELF module it is the whole build id.
	CodeID string
	// Version is the version the binary states, "" if it states none.
	Version string
}

func (d *Dump) readModules(b []byte) *FormatError {
	entries, n, err := d.list(b, format.ModuleSize)
	if err != nil {
		return err
	}
	modules := make([]Module, 0, n)
	c := format.NewCursor(entries, d.Order)
	var raw rawModule
	for i := range n {
		raw.read(c)
		m := Module{Base: raw.Base, Size: uint64(raw.Size)}
		if m.Size == 0 || m.Base+m.Size < m.Base {
			d.note(format.StreamModuleList, 0, "module %d has %d bytes at %#x", i, m.Size, m.Base)
			continue
		}
		// One unreadable module makes the list useless to the reader this follows:
		// the entries cannot be what they claim to be.
		if err := d.nameModule(&m, &raw); err != nil {
			return err
		}
		modules = append(modules, m)
	}
	d.Modules = modules
	return nil
}

// rawModule is an entry of the list as far as it is used.
type rawModule struct{ format.Module }

func (r *rawModule) read(c *format.Cursor) {
	m := &r.Module
	m.Base, m.Size, m.Checksum, m.TimeDateStamp, m.NameRVA = c.U64(), c.U32(), c.U32(), c.U32(), c.U32()
	v := &m.Version
	v.Signature, v.StructVersion = c.U32(), c.U32()
	v.FileVersionHi, v.FileVersionLo, v.ProductVersionHi, v.ProductVersionLo = c.U32(), c.U32(), c.U32(), c.U32()
	c.Skip(7 * 4) // flags, system, kind and date
	m.CodeView = c.Location()
	c.Skip(8 + 16) // the Misc record, reserved words
}

func (d *Dump) nameModule(m *Module, raw *rawModule) *FormatError {
	var ok bool
	if m.Name, ok = d.utf16At(uint64(raw.NameRVA)); !ok {
		return &FormatError{Offset: uint64(raw.NameRVA), Detail: fmt.Sprintf("the name of the module at %#x cannot be read", m.Base)}
	}
	os := format.UnknownOS
	if d.System != nil {
		os = d.System.OS
	}
	if raw.CodeView.Size == 0 {
		if os == format.Windows {
			m.CodeID = peCodeID(raw.TimeDateStamp, raw.Size)
		}
	} else {
		record, ok := d.location(raw.CodeView)
		if !ok || !d.texts.take(2*len(record)) || !m.readCodeView(raw, record, d.Order, os) {
			return &FormatError{Offset: uint64(raw.CodeView.RVA), Detail: fmt.Sprintf("the CodeView record of %s cannot be read", m.Name)}
		}
	}
	m.Version = moduleVersion(&raw.Version, os)
	return nil
}

// readCodeView takes the ids from a CodeView record. It reports false when the
// record is too short for its kind; unknown kinds are no error.
func (m *Module) readCodeView(raw *rawModule, b []byte, order binary.ByteOrder, os format.OS) bool {
	c := format.NewCursor(b, order)
	switch c.U32() {
	case format.CodeViewPDB70:
		var g format.GUID
		c.Record(&g)
		age := c.U32()
		m.DebugFile = untilNUL(b[min(c.Offset(), len(b)):])
		if g != (format.GUID{}) {
			m.DebugID = string(strconv.AppendUint(guidHex(g, upperDigits), uint64(age), 16))
		}
		m.CodeID = peCodeID(raw.TimeDateStamp, raw.Size)
		if os.Apple() {
			m.CodeID = string(guidHex(g, lowerDigits))
		}
	case format.CodeViewPDB20:
		c.U32()
		stamp, age := c.U32(), c.U32()
		m.DebugFile = untilNUL(b[min(c.Offset(), len(b)):])
		m.DebugID = fmt.Sprintf("%08X%x", stamp, age)
		m.CodeID = peCodeID(raw.TimeDateStamp, raw.Size)
	case format.CodeViewELF:
		id := b[4:]
		m.DebugFile = m.Name
		if len(bytes.Trim(id, "\x00")) == 0 {
			break // mapped fonts and archives have no build id
		}
		m.CodeID = hex.EncodeToString(id)
		var front [16]byte
		copy(front[:], id)
		var g format.GUID
		format.NewCursor(front[:], order).Record(&g)
		m.DebugID = string(append(guidHex(g, upperDigits), '0'))
	}
	_, failed := c.Failed()
	return !failed
}

const (
	upperDigits = "0123456789ABCDEF"
	lowerDigits = "0123456789abcdef"
)

// peCodeID is how symbol servers of Windows name a binary.
func peCodeID(stamp, size uint32) string {
	b := strconv.AppendUint(make([]byte, 0, 24), uint64(stamp)|1<<32, 16) // the 1 keeps the zeros
	return string(strconv.AppendUint(b[:9], uint64(size), 16)[1:])
}

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
func (d *Dump) ModuleAt(addr uint64) (int, bool) {
	if r := d.moduleIdx.find(addr); r != nil {
		return int(r.item), true
	}
	return 0, false
}

// ModulesByAddress yields the numbers of the modules that ModuleAt finds,
// lowest address first.
func (d *Dump) ModulesByAddress() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range d.moduleIdx {
			if !yield(int(d.moduleIdx[i].item)) {
				return
			}
		}
	}
}

// ModulesEnd is the address behind the highest module, 0 when there is none.
func (d *Dump) ModulesEnd() uint64 {
	if n := len(d.moduleIdx); n > 0 {
		return d.moduleIdx[n-1].last + 1
	}
	return 0
}
