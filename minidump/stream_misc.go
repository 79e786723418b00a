package minidump

import (
	"encoding/binary"
	"time"

	"mayday/minidump/format"
)

// MiscInfo has the process's id and times; the later parts are nil in dumps
// whose record ends before them.
type MiscInfo struct {
	format.MiscInfo
	Power    *format.MiscInfo2
	TimeZone *format.MiscInfo3
	// BuildString names the system's build.
	BuildString string
	// XState lists the extended processor state in contexts.
	XState *format.MiscInfo5
}

func (d *Dump) readMisc(b []byte) *FormatError {
	m := &MiscInfo{}
	c := format.NewCursor(b, d.Order)
	c.Record(&m.MiscInfo)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	if power := new(format.MiscInfo2); c.Left() >= binary.Size(power) {
		c.Record(power)
		m.Power = power
	}
	if zone := new(format.MiscInfo3); m.Power != nil && c.Left() >= binary.Size(zone) {
		c.Record(zone)
		m.TimeZone = zone
	}
	if build := new(format.MiscInfo4); m.TimeZone != nil && c.Left() >= binary.Size(build) {
		c.Record(build)
		if m.Flags1&format.MiscBuildString != 0 {
			m.BuildString = fixedUTF16(build.BuildString[:])
		}
		if x := new(format.MiscInfo5); c.Left() >= binary.Size(x) {
			c.Record(x)
			m.XState = x
		}
	}
	d.Misc = m
	return nil
}

// ProcessID is the id of the process; it reports false when the dump does not
// say.
func (m *MiscInfo) ProcessID() (uint32, bool) {
	return m.MiscInfo.ProcessID, m.Flags1&format.MiscProcessID != 0
}

// Created is when the process started; it reports false when the dump does not
// say.
func (m *MiscInfo) Created() (time.Time, bool) {
	return time.Unix(int64(m.CreateTime), 0).UTC(), m.Flags1&format.MiscProcessTimes != 0
}

// Time is when the dump was written, by the clock of the machine it was
// written on.
func (d *Dump) Time() time.Time { return time.Unix(int64(d.Header.TimeDateStamp), 0).UTC() }

// Uptime is how long the process had run, never negative; it reports false when
// the dump does not say when it started.
func (d *Dump) Uptime() (time.Duration, bool) {
	if d.Misc == nil {
		return 0, false
	}
	t, ok := d.Misc.Created()
	return max(d.Time().Sub(t), 0), ok
}
