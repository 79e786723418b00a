package minidump

import (
	"mayday/minidump/format"
)

// Exception is why the dump was written, and the registers of the thread it
// happened on.
type Exception struct{ Raw format.Exception }

// Parameters are the exception's parameters that are filled in.
func (e *Exception) Parameters() []uint64 {
	return e.Raw.Parameters[:min(e.Raw.ParameterCount, format.MaxExceptionParameters)]
}

func (d *Dump) readException(b []byte) *FormatError {
	e := &Exception{}
	c := format.NewCursor(b, d.Order)
	c.Record(&e.Raw)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	d.Exception = e
	return nil
}

// BreakpadInfo names threads by their ids.
type BreakpadInfo struct {
	DumpThread, RequestingThread       uint32
	HasDumpThread, HasRequestingThread bool
}

func (d *Dump) readBreakpad(b []byte) *FormatError {
	var r format.BreakpadInfo
	c := format.NewCursor(b, d.Order)
	c.Record(&r)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	d.Breakpad = &BreakpadInfo{
		DumpThread: r.DumpThreadID, HasDumpThread: r.Validity&format.BreakpadDumpThreadValid != 0,
		RequestingThread: r.RequestingThreadID, HasRequestingThread: r.Validity&format.BreakpadRequestingThreadValid != 0,
	}
	return nil
}

// RequestingThread returns the id of the thread that the dump is about: the one
// that crashed, or that asked for the dump.
func (d *Dump) RequestingThread() (id uint32, ok bool) {
	if d.Exception != nil {
		return d.Exception.Raw.ThreadID, true
	}
	if b := d.Breakpad; b != nil && b.HasRequestingThread {
		return b.RequestingThread, true
	}
	return 0, false
}

// Assertion is an assertion that failed.
type Assertion struct {
	Expression, Function, File string
	Line, Kind                 uint32
}

func (d *Dump) readAssertion(b []byte) *FormatError {
	var r format.Assertion
	c := format.NewCursor(b, d.Order)
	c.Record(&r)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	d.Assertion = &Assertion{fixedUTF16(r.Expression[:]), fixedUTF16(r.Function[:]), fixedUTF16(r.File[:]), r.Line, r.Kind}
	return nil
}
