package minidump

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"mayday/minidump/format"
)

// MacCrashRecord is what one library left in its __crash_info section
// (CrashReporterClient.h). Fields of later versions are 0 or "" in earlier ones.
type MacCrashRecord struct {
	Version                  uint64
	Thread                   uint64
	DialogMode               uint64
	AbortCause               uint64
	ModulePath               string
	Message, SignatureString string
	Backtrace, Message2      string
}

// readMacCrashInfo reads Mozilla's stream: locations of records that all have
// one version; each is a few words, and behind them texts that end in 0.
func (d *Dump) readMacCrashInfo(b []byte) *FormatError {
	var head format.MacCrashInfo
	c := format.NewCursor(b, d.Order)
	c.Record(&head)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	records := []MacCrashRecord{}
	var version uint64 // of the first record
	for i, l := range head.Records[:min(head.RecordCount, format.MaxMacCrashRecords)] {
		body, ok := d.location(l)
		if !ok {
			return &FormatError{Offset: uint64(l.RVA), Detail: fmt.Sprintf("record %d claims %d bytes, %d are left", i, l.Size, d.src.left(uint64(l.RVA)))}
		}
		r, err := d.macRecord(body, head.RecordStartSize)
		if err != nil {
			err.Offset = uint64(l.RVA)
			return err
		}
		if i == 0 {
			version = r.Version
		}
		if r.Version != version {
			return &FormatError{Offset: uint64(l.RVA), Detail: fmt.Sprintf("record %d has version %d, the first %d", i, r.Version, version)}
		}
		if version > 0 { // no writer has a version 0
			records = append(records, *r)
		}
	}
	d.MacCrashInfo = records
	return nil
}

func (d *Dump) macRecord(body []byte, start uint32) (*MacCrashRecord, *FormatError) {
	c := format.NewCursor(body, d.Order)
	c.U64() // the stream's type once more
	r := &MacCrashRecord{Version: c.U64()}
	if r.Version >= 4 {
		r.Thread, r.DialogMode = c.U64(), c.U64()
	}
	if r.Version >= 5 {
		r.AbortCause = c.U64()
	}
	if _, failed := c.Failed(); failed {
		return nil, bad("a record of %d bytes is too short", len(body))
	}
	switch {
	case r.Version == 0:
		return r, nil
	case uint64(c.Offset()) > uint64(start):
		return nil, bad("texts begin at %d, within the %d bytes before them", start, c.Offset())
	case r.Version < 4:
		return r, nil
	}
	rest := body[min(uint64(start), uint64(len(body))):]
	for _, text := range []*string{&r.ModulePath, &r.Message, &r.SignatureString, &r.Backtrace, &r.Message2} {
		n := bytes.IndexByte(rest, 0)
		if n < 0 || !utf8.Valid(rest[:n]) || !d.texts.take(n) {
			return nil, bad("a text does not end or is not UTF-8")
		}
		*text, rest = string(rest[:n]), rest[n+1:]
	}
	return r, nil
}

func (d *Dump) readMacBootArgs(b []byte) *FormatError {
	var r format.MacBootArgs
	c := format.NewCursor(b, d.Order)
	c.Record(&r)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	if text, ok := d.utf16At(r.RVA); ok {
		d.MacBootArgs = &text
		return nil
	}
	return &FormatError{Offset: r.RVA, Detail: "the text cannot be read"}
}
