package storage

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"mayday/app/fault"
)

// CrashID names a crash: a random UUID in lower case whose last seven
// characters are the throttle digit and the UTC date of receipt as YYMMDD,
// for example de1bb258-cbbf-4589-a673-34f800160918.
type CrashID string

// Prefix is what an id is shown with in answers to clients and on pages; it is
// not part of the id.
const Prefix = "bp-"

// Digit is the throttling result that a crash id carries.
type Digit byte

// The digits the collector gives. Other tools put other hex digits there, so a
// reader must not rely on these being the only ones.
const (
	Accepted     Digit = '0' // stored and processed
	Deferred     Digit = '1' // stored, processed when somebody asks
	FakeAccepted Digit = '3' // answered as if stored, nothing was kept
)

const (
	crashIDLen = 36
	digitAt    = crashIDLen - 7
	dateAt     = crashIDLen - 6
)

var crashIDPattern = regexp.MustCompile(`^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{6}[0-9]{6}$`)

// NewCrashID makes a random id for a crash received at now.
func NewCrashID(now time.Time, digit Digit) CrashID {
	var u [16]byte
	rand.Read(u[:])         // never fails: crypto/rand ends the program instead
	u[6] = u[6]&0x0f | 0x40 // version 4
	u[8] = u[8]&0x3f | 0x80 // variant of RFC 9562
	var b [crashIDLen]byte
	hex.Encode(b[0:8], u[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], u[10:16])
	b[digitAt] = byte(digit)
	copy(b[dateAt:], now.UTC().Format("060102"))
	return CrashID(b[:])
}

// ParseCrashID checks that s is exactly a crash id. The date is not checked:
// the all-zero id is valid.
func ParseCrashID(s string) (CrashID, error) {
	if !crashIDPattern.MatchString(s) {
		if len(s) > 100 {
			s = s[:100]
		}
		return "", fault.New(fault.Invalid, "crash id %q", s)
	}
	return CrashID(s), nil
}

// FindCrashID reads an id as people paste it: with spaces around it and with
// or without the prefix.
func FindCrashID(s string) (CrashID, error) {
	return ParseCrashID(strings.TrimPrefix(strings.TrimSpace(s), Prefix))
}

// Day is the date of receipt as YYYYMMDD, as it stands in keys.
func (id CrashID) Day() string {
	if len(id) != crashIDLen {
		return "20000000"
	}
	return "20" + string(id[dateAt:])
}

// Date is the date of receipt, midnight UTC; ok is false when the id holds no
// valid date.
func (id CrashID) Date() (day time.Time, ok bool) {
	day, err := time.Parse("20060102", id.Day())
	return day, err == nil
}

// Digit is the throttling result the id carries.
func (id CrashID) Digit() Digit {
	if len(id) != crashIDLen {
		return 0
	}
	return Digit(id[digitAt])
}

// String is the id without prefix.
func (id CrashID) String() string { return string(id) }
