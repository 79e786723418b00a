// Package filter reads the filters of the symbol server's lists the way Tecken
// writes them: terms by comma, <= >= < > = before sizes (10mb, 1.5g) and dates
// (ISO, today, yesterday, null), ! for not, sort, reverse and page. It makes
// conditions for the catalog; what it cannot read is told by field.
package filter

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mayday/storage/catalog"
)

// Errors are mistakes in the filters of a list, by field.
type Errors struct{ Fields map[string][]string }

// Error implements error.
func (e *Errors) Error() string { return "bad filter" }

// Filters turns the parameters of a list into conditions.
type Filters struct {
	// Where are the conditions so far.
	Where []catalog.Condition

	values url.Values
	now    time.Time
	wrong  map[string][]string
}

// New makes the filters of a request made now.
func New(v url.Values, now time.Time) *Filters {
	return &Filters{values: v, now: now.UTC(), wrong: map[string][]string{}}
}

// Err tells what could not be read, nil when all could.
func (f *Filters) Err() error {
	if len(f.wrong) == 0 {
		return nil
	}
	return &Errors{f.wrong}
}

// Fail notes a mistake in a field.
func (f *Filters) Fail(field, msg string) { f.wrong[field] = append(f.wrong[field], msg) }

// Add adds a condition; only code makes its text.
func (f *Filters) Add(sql string, args ...any) {
	f.Where = append(f.Where, catalog.Condition{SQL: sql, Args: args})
}

// maxTerms bounds the parts of one filter.
const maxTerms = 20

// Terms are the values of a field, which stand between commas.
func (f *Filters) Terms(field string) []string {
	var out []string
	for _, t := range strings.Split(f.values.Get(field), ",") {
		if t = strings.TrimSpace(t); t != "" {
			out = append(out, t)
		}
	}
	if len(out) > maxTerms {
		f.Fail(field, "Too many values.")
		return nil
	}
	return out
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Contains wants each term somewhere in a column.
func (f *Filters) Contains(field, column string) {
	for _, t := range f.Terms(field) {
		f.Add(column+` LIKE ? ESCAPE '\'`, "%"+likeEscaper.Replace(t)+"%")
	}
}

// Match wants a column to contain a term, or with ! not to.
func (f *Filters) Match(field, column string) {
	for _, t := range f.Terms(field) {
		not := ""
		if rest, ok := strings.CutPrefix(t, "!"); ok {
			not, t = "NOT ", rest
		}
		f.Add(column+" "+not+`LIKE ? ESCAPE '\'`, "%"+likeEscaper.Replace(t)+"%")
	}
}

// operator takes <=, <, >=, > or = off the front.
func operator(t string) (op, rest string) {
	for _, op := range []string{"<=", ">=", "<", ">", "="} {
		if rest, ok := strings.CutPrefix(t, op); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	return "=", t
}

var sizeText = regexp.MustCompile(`(?i)^([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(|b|kb?|mb?|gb?)$`)

// Sizes compares a column with sizes such as >10mb.
func (f *Filters) Sizes(field, column string) {
	for _, t := range f.Terms(field) {
		op, text := operator(t)
		m := sizeText.FindStringSubmatch(text)
		if m == nil {
			f.Fail(field, "Invalid size: "+strconv.Quote(text))
			continue
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			f.Fail(field, "Invalid size: "+strconv.Quote(text))
			continue
		}
		switch strings.ToLower(strings.TrimSuffix(strings.ToLower(m[2]), "b")) {
		case "k":
			n *= 1 << 10
		case "m":
			n *= 1 << 20
		case "g":
			n *= 1 << 30
		}
		f.Add(column+" "+op+" ?", int64(n))
	}
}

var dateLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", "2006-01-02T15:04", "2006-01-02 15:04"}

// Dates compares a column with times; a whole day stands for all of it.
func (f *Filters) Dates(field, column string) {
	day := f.now.Truncate(24 * time.Hour)
	for _, t := range f.Terms(field) {
		op, text := operator(t)
		var from time.Time
		whole := true
		switch strings.ToLower(text) {
		case "today":
			from = day
		case "yesterday":
			from = day.AddDate(0, 0, -1)
		case "null", "incomplete":
			f.Add(column + " = ''")
			continue
		default:
			var err error
			if from, err = time.Parse(time.DateOnly, text); err != nil {
				whole = false
				for _, layout := range dateLayouts {
					if from, err = time.Parse(layout, text); err == nil {
						break
					}
				}
			}
			if err != nil {
				f.Fail(field, "Invalid date: "+strconv.Quote(text))
				continue
			}
		}
		f.date(column, op, from, whole)
	}
}

func (f *Filters) date(column, op string, from time.Time, whole bool) {
	end := from
	if whole {
		end = from.AddDate(0, 0, 1)
	}
	switch {
	case op == "=" && whole:
		f.Add(column+" >= ? AND "+column+" < ?", catalog.Stamp(from), catalog.Stamp(end))
	case op == "=":
		f.Add(column+" = ?", catalog.Stamp(from))
	case op == ">" && whole:
		f.Add(column+" >= ?", catalog.Stamp(end))
	case op == "<=" && whole:
		f.Add(column+" < ? AND "+column+" <> ''", catalog.Stamp(end))
	case op == "<" || op == "<=":
		f.Add(column+" "+op+" ? AND "+column+" <> ''", catalog.Stamp(from))
	default:
		f.Add(column+" "+op+" ?", catalog.Stamp(from))
	}
}

// Truth compares a column with yes or no.
func (f *Filters) Truth(field, column string) {
	switch strings.ToLower(f.values.Get(field)) {
	case "":
	case "1", "true", "yes", "on":
		f.Add(column + " <> 0")
	case "0", "false", "no", "off":
		f.Add(column + " = 0")
	default:
		f.Fail(field, "Not true or false: "+strconv.Quote(f.values.Get(field)))
	}
}

// Ordering is how a list is sorted: as the client calls it, and the column.
type Ordering struct{ Name, Column string }

// Order reads sort and reverse; lists begin with what is newest.
func (f *Filters) Order(standard string, columns map[string]string) (o Ordering, reverse bool) {
	o = Ordering{standard, columns[standard]}
	if sort := f.values.Get("sort"); sort != "" {
		column, ok := columns[sort]
		if !ok {
			f.Fail("sort", "Cannot be sorted by "+strconv.Quote(sort))
			return o, true
		}
		o = Ordering{sort, column}
	}
	reverse = true
	if text := f.values.Get("reverse"); text != "" {
		reverse = strings.EqualFold(text, "true") || text == "1"
	}
	return o, reverse
}

// maxPage keeps offsets within what a database walks over in a moment.
const maxPage = 100_000

// Page is the number of the page that is wanted, from 1.
func (f *Filters) Page() int {
	text := f.values.Get("page")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > maxPage {
		f.Fail("page", "Not a page number: "+strconv.Quote(text))
		return 1
	}
	return max(n, 1)
}
