package throttle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayday/app/config"
)

// The lists that not_in_list names.
const (
	listProducts = "products"
	listPackages = "packages"
)

// condition is one compiled condition.
type condition struct {
	field    string
	path     []string
	text     *string
	fallback *string
	fold     bool
	// test looks at a value that is there.
	test func(v *view, value string) bool
	// absent is the outcome when the field is missing and has no default.
	absent bool
}

func (c *condition) holds(v *view) bool {
	value, ok := "", true
	switch {
	case c.text != nil:
		value = *c.text
	case c.path != nil:
		value, ok = v.within(c.field, c.path)
	default:
		value, ok = v.text(c.field)
	}
	if !ok {
		if c.fallback == nil {
			return c.absent
		}
		value = *c.fallback
	}
	if c.fold {
		value = strings.ToLower(value)
	}
	return c.test(v, value)
}

// compileCondition checks a condition. Exactly one operand must be given.
func compileCondition(row config.ThrottleCondition) (condition, error) {
	c := condition{field: row.Field, text: row.Text, fallback: row.Default, fold: row.Fold}
	if (row.Field == "") == (row.Text == nil) {
		return c, errors.New("give either field or text")
	}
	if row.Path != "" {
		if row.Text != nil {
			return c, errors.New("path needs field")
		}
		c.path = strings.Split(row.Path, ".")
	}
	tests, err := operands(row, &c)
	if err != nil {
		return c, err
	}
	if len(tests) != 1 {
		return c, fmt.Errorf("%d operands, want exactly one", len(tests))
	}
	c.test = tests[0]
	return c, nil
}

// operands makes the test of each operand that is given.
func operands(row config.ThrottleCondition, c *condition) ([]func(*view, string) bool, error) {
	var tests []func(*view, string) bool
	add := func(f func(*view, string) bool) { tests = append(tests, f) }
	folded := func(s string) string {
		if row.Fold {
			return strings.ToLower(s)
		}
		return s
	}
	if row.Exists != nil {
		want := *row.Exists
		c.absent = !want
		add(func(*view, string) bool { return want })
	}
	if row.Is != nil {
		want := folded(*row.Is)
		add(func(_ *view, value string) bool { return value == want })
	}
	if row.IsNot != nil {
		want := folded(*row.IsNot)
		add(func(_ *view, value string) bool { return value != want })
	}
	for _, list := range []struct {
		values []string
		want   bool
	}{{row.In, true}, {row.NotIn, false}} {
		if list.values == nil {
			continue
		}
		set := map[string]bool{}
		for _, s := range list.values {
			set[folded(s)] = true
		}
		add(func(_ *view, value string) bool { return set[value] == list.want })
	}
	switch row.NotInList {
	case "":
	case listProducts:
		add(func(v *view, value string) bool {
			return len(v.rules.products) > 0 && !slices.Contains(v.rules.products, value)
		})
	case listPackages:
		add(func(v *view, value string) bool {
			product, _ := v.text("ProductName")
			names := v.rules.packages[product]
			return len(names) > 0 && !slices.Contains(names, value)
		})
	default:
		return nil, fmt.Errorf("not_in_list %q is neither %s nor %s", row.NotInList, listProducts, listPackages)
	}
	if row.Prefix != nil {
		want := folded(*row.Prefix)
		add(func(_ *view, value string) bool { return strings.HasPrefix(value, want) })
	}
	if row.Matches != nil {
		pattern, err := regexp.Compile(*row.Matches)
		if err != nil {
			return nil, fmt.Errorf("matches: %w", err)
		}
		add(func(_ *view, value string) bool { return pattern.MatchString(value) })
	}
	if row.Before != nil {
		limit := *row.Before
		add(func(_ *view, value string) bool { return value != "" && value < limit })
	}
	if row.AtMost != nil {
		limit := *row.AtMost
		add(func(_ *view, value string) bool { n, ok := number(value); return ok && n <= limit })
	}
	if row.AtLeast != nil {
		limit := *row.AtLeast
		add(func(_ *view, value string) bool { n, ok := number(value); return ok && n >= limit })
	}
	if row.OlderThanDays != nil {
		days := *row.OlderThanDays
		add(func(v *view, value string) bool { return buildOlder(value, v.now, days) })
	}
	return tests, nil
}

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

var buildIDPattern = regexp.MustCompile(`^20\d{12}$`)

// buildOlder reports whether a build id (YYYYMMDDhhmmss) is of a day more than
// so many days before today. What is no build id is not old.
func buildOlder(id string, now time.Time, days int) bool {
	if !buildIDPattern.MatchString(id) {
		return false
	}
	day, err := time.Parse("20060102", id[:8])
	if err != nil {
		return false
	}
	return day.Before(now.UTC().AddDate(0, 0, -days).Truncate(24 * time.Hour))
}
