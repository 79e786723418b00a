package plan

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// dates reads the date parameter into a range of whole seconds. Without one the
// last week is meant, with one bound the other follows from it.
func (p *parser) dates() *Error {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	hasFrom, hasTo := false, false
	lower := func(v int64) { from, hasFrom = max(from, v), true }
	upper := func(v int64) { to, hasTo = min(to, v), true }
	date := p.fields.Get(DateField)
	for _, v := range p.values[DateField] {
		text, negated := strings.CutPrefix(v, "!")
		op, rest := operator(date, text)
		switch op {
		case "":
			return bad(DateField, "date must have a prefix operator")
		case "__null__": // no document lacks the date
			if !negated {
				p.plan.Filters = append(p.plan.Filters, &Expr{Op: Never, Field: date, sourceText: text})
			}
			continue
		}
		t, ok := parseDate(rest, p.opts.Now)
		if !ok {
			return bad(DateField, "Bad value for parameter date: not a valid datetime")
		}
		if negated {
			op = map[string]string{">=": "<", "<": ">=", ">": "<=", "<=": ">"}[op]
		}
		sec := floorSecond(t.UnixMicro())
		switch op {
		case ">=":
			lower(sec)
		case ">":
			lower(sec + second)
		case "<":
			upper(sec)
		case "<=":
			upper(sec + second)
		}
	}
	week := DefaultSpan.Microseconds()
	if !hasTo {
		to = floorSecond(p.opts.Now.UnixMicro()) + second
	}
	if !hasFrom {
		from = to - week
		if !hasTo {
			from = floorSecond(p.opts.Now.UnixMicro() - week)
		}
	}
	if to > from && to-from > MaxSpan.Microseconds()+second {
		return bad(DateField, "Date range is bigger than 365 days")
	}
	p.plan.From, p.plan.To = from, to
	return nil
}

const second = int64(time.Second / time.Microsecond)

func floorSecond(micros int64) int64 {
	r := micros % second
	if r < 0 {
		r += second
	}
	return micros - r
}

var dateForms = []string{
	"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02",
}

// parseDate reads a date with or without time and zone (none is UTC), or a time
// before now such as -3d.
func parseDate(s string, now time.Time) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if t, ok := relative(s, now); ok {
		return t, true
	}
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	// A plus sign that nobody escaped in the URL arrives as a blank.
	if i := strings.LastIndexByte(s, ' '); i > 10 {
		s = s[:i] + "+" + s[i+1:]
	}
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil && t.Year() >= 1 && t.Year() < 10_000 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

var units = map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

func relative(s string, now time.Time) (time.Time, bool) {
	if len(s) < 3 || len(s) > 8 || s[0] != '-' || now.IsZero() {
		return time.Time{}, false
	}
	unit, ok := units[s[len(s)-1]]
	n, err := strconv.ParseUint(s[1:len(s)-1], 10, 16)
	if !ok || err != nil || time.Duration(n) > 20*365*24*time.Hour/unit {
		return time.Time{}, false
	}
	return now.Add(-time.Duration(n) * unit), true
}
