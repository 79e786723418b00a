package minidump

import (
	"fmt"

	"mayday/app/fault"
	"mayday/minidump/format"
)

// The names of the errors that make a dump unreadable. Scripts know them from
// other tools, so they are part of the command line's contract.
const (
	MissingHeader     = "MissingHeader"
	HeaderMismatch    = "HeaderMismatch"
	VersionMismatch   = "VersionMismatch"
	MissingDirectory  = "MissingDirectory"
	MissingSystemInfo = "MissingSystemInfo"
	MissingThreadList = "MissingThreadList"
)

// FormatError says what is wrong with a dump, and where.
type FormatError struct {
	// Name is set when the dump cannot be used at all: one of the names above.
	Name string
	// Stream is the stream that is concerned, StreamUnused for header and
	// directory.
	Stream format.StreamType
	// Offset is where in the file the trouble lies.
	Offset uint64
	// Detail says what was found there.
	Detail string
}

// Error is one line: stream, offset, what was found.
func (e *FormatError) Error() string {
	where := "header"
	switch {
	case e.Stream != format.StreamUnused:
		where = e.Stream.String()
	case e.Name == MissingDirectory:
		where = "directory"
	}
	return fmt.Sprintf("read %s at %#x: %s", where, e.Offset, e.Detail)
}

// broken is an error that fails the whole file.
func broken(name string, offset uint64, text string, args ...any) error {
	e := &FormatError{Name: name, Offset: offset, Detail: fmt.Sprintf(text, args...)}
	return fault.As(fault.Malformed, e, "minidump")
}

// Usable reports, as an error with a Name, what a dump lacks that a report
// cannot do without: system info and threads.
func (d *Dump) Usable() error {
	name, t := "", format.StreamSystemInfo
	switch {
	case d.Threads == nil:
		name, t = MissingThreadList, format.StreamThreadList
	case d.System == nil:
		name = MissingSystemInfo
	default:
		return nil
	}
	e := &FormatError{Name: name, Stream: t, Detail: "the stream is missing"}
	for _, x := range d.Errors {
		if x.Stream == t {
			e.Offset, e.Detail = x.Offset, x.Detail
		}
	}
	return fault.As(fault.Malformed, e, "minidump")
}

// note records what is wrong with a part of stream t; off is within the file.
func (d *Dump) note(t format.StreamType, off uint64, text string, args ...any) {
	if len(d.Errors) < maxErrors { // one list may have a million broken entries
		d.noteError(&FormatError{Stream: t, Offset: off, Detail: fmt.Sprintf(text, args...)})
	}
}

func (d *Dump) noteError(e *FormatError) {
	if len(d.Errors) < maxErrors {
		d.Errors = append(d.Errors, e)
	}
}
