// Package throttle decides which crashes are kept. Rules are data (package
// config, docs/examples/mozilla.yaml): each has conditions on annotations and a
// result; the first rule that fulfils its conditions and does not say
// "continue" decides. A crash that no rule decides on is rejected by the rule
// NO_MATCH.
//
// An annotation is compared as text, whatever JSON type it came with: null is
// "None", true is "True", numbers as written, nested values as JSON.
//
// The package reads no files but what ReadFile is told to, and keeps no counts.
package throttle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage"
)

// Result is what becomes of a crash.
type Result uint8

// The results. FakeAccept answers with an id and keeps nothing; Defer keeps the
// crash and processes it when somebody asks.
const (
	Accept Result = iota
	Defer
	Reject
	FakeAccept
	Continue // the next rule decides
)

var resultNames = [...]string{"accept", "defer", "reject", "fakeaccept", "continue"}

// String is the result's name in rules and metrics.
func (r Result) String() string { return resultNames[r] }

// Digit is the throttle digit in the ids of crashes with this result.
func (r Result) Digit() storage.Digit { return storage.Digit('0' + r) }

// NoMatch names the decision on crashes that no rule decides on.
const NoMatch = "NO_MATCH"

// maxFile bounds a file of rules in bytes; Mozilla's has three thousand.
const maxFile = 4 << 20

// Rules are compiled rules, safe for use by many goroutines.
type Rules struct {
	rules    []rule
	products []string
	packages map[string][]string
}

type rule struct {
	name       string
	conditions []condition
	result     Result
	otherwise  Result
	percent    float64
}

// Compile checks the rules and makes them ready. known are the products taken
// when c names none and strict is set; without strict every product is taken.
// All that is wrong is reported at once, as Invalid.
func Compile(c config.Throttle, strict bool, known []string) (*Rules, error) {
	r := &Rules{packages: map[string][]string{}}
	if strict {
		r.products = c.Products
		if len(r.products) == 0 {
			r.products = known
		}
		if len(r.products) == 0 {
			return nil, fault.New(fault.Invalid, "products.strict is set, but neither products.list nor collector.throttle.products names a product")
		}
	}
	for _, p := range c.Packages {
		r.packages[p.Product] = p.Names
	}
	rules := c.Rules
	if len(rules) == 0 {
		rules = defaultRules()
	}
	var errs []error
	seen := map[string]bool{}
	for i, row := range rules {
		compiled, err := compileRule(row)
		if err == nil && seen[row.Name] {
			err = errors.New("the name is taken by an earlier rule")
		}
		seen[row.Name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %d %q: %w", i+1, row.Name, err))
			continue
		}
		r.rules = append(r.rules, compiled)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.As(fault.Invalid, err, "throttle rules")
	}
	return r, nil
}

// defaultRules keep everything but unknown products, and those only when the
// list of products is strict.
func defaultRules() []config.ThrottleRule {
	missing := ""
	return []config.ThrottleRule{
		{Name: "unsupported_product", Result: "reject", When: []config.ThrottleCondition{{Field: "ProductName", Default: &missing, NotInList: listProducts}}},
		{Name: "accept_everything", Result: "accept"},
	}
}

// ReadFile reads products, packages and rules from a YAML file: one that holds
// just these, or a whole configuration with a collector.throttle section.
func ReadFile(path string) (c config.Throttle, err error) {
	defer fault.In(&err, "throttle rules %s", path)
	f, err := os.Open(path)
	if err != nil {
		return c, fault.As(fault.Invalid, err, "open")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return c, fault.As(fault.Unavailable, err, "read")
	}
	if len(text) > maxFile {
		return c, fault.New(fault.TooLarge, "more than %d bytes", maxFile)
	}
	return Parse(text)
}

// Parse reads what ReadFile finds in a file.
func Parse(text []byte) (c config.Throttle, err error) {
	var whole struct {
		Collector *struct {
			Throttle *config.Throttle `yaml:"throttle"`
		} `yaml:"collector"`
	}
	if err := yaml.Unmarshal(text, &whole); err == nil && whole.Collector != nil && whole.Collector.Throttle != nil {
		// The configuration's own loader has refused or will refuse unknown keys.
		return *whole.Collector.Throttle, nil
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fault.As(fault.Invalid, err, "YAML")
	}
	return c, nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,80}$`)

func compileRule(row config.ThrottleRule) (rule, error) {
	r := rule{name: row.Name, percent: 100, otherwise: Continue}
	if !namePattern.MatchString(row.Name) {
		return r, errors.New("a name holds letters, digits and underscores")
	}
	var err error
	if r.result, err = parseResult(row.Result); err != nil {
		return r, err
	}
	switch {
	case row.Percent == nil && row.Else != "":
		return r, errors.New("else needs percent")
	case row.Percent != nil:
		if r.percent = *row.Percent; !(r.percent >= 0 && r.percent <= 100) {
			return r, fmt.Errorf("percent %v is not within 0 and 100", r.percent)
		}
		if r.otherwise, err = parseResult(row.Else); err != nil {
			return r, fmt.Errorf("else: %w", err)
		}
	}
	for i, c := range row.When {
		compiled, err := compileCondition(c)
		if err != nil {
			return r, fmt.Errorf("condition %d: %w", i+1, err)
		}
		r.conditions = append(r.conditions, compiled)
	}
	return r, nil
}

func parseResult(s string) (Result, error) {
	if i := slices.Index(resultNames[:], s); i >= 0 {
		return Result(i), nil
	}
	return 0, fmt.Errorf("result %q is none of %s", s, strings.Join(resultNames[:], ", "))
}

// Decide says what becomes of a crash with these annotations and which rule
// says so. random is a number from 0 up to 1 that decides where a rule takes a
// share of the crashes.
func (r *Rules) Decide(annotations map[string]any, now time.Time, random func() float64) (Result, string) {
	v := &view{rules: r, annotations: annotations, now: now}
	for i := range r.rules {
		rule := &r.rules[i]
		if !v.fulfils(rule.conditions) {
			continue
		}
		result := rule.result
		if rule.percent < 100 && random()*100 > rule.percent {
			result = rule.otherwise
		}
		if result != Continue {
			return result, rule.name
		}
	}
	return Reject, NoMatch
}

// Names lists the rules in order, NoMatch last.
func (r *Rules) Names() []string {
	var out []string
	for _, rule := range r.rules {
		out = append(out, rule.name)
	}
	return append(out, NoMatch)
}

// view is one crash while it is decided on.
type view struct {
	rules       *Rules
	annotations map[string]any
	now         time.Time
	parsed      map[string]any // fields whose JSON was parsed; nil values did not parse
}

// text is an annotation as the rules compare it.
func (v *view) text(field string) (string, bool) {
	value, ok := v.annotations[field]
	if !ok {
		return "", false
	}
	return asText(value), true
}

func asText(value any) string {
	switch x := value.(type) {
	case string:
		return x
	case nil:
		return "None"
	case bool:
		if x {
			return "True"
		}
		return "False"
	case json.Number:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case int:
		return strconv.Itoa(x)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(b)
}

// within is what lies at a path of keys in a field that holds JSON.
func (v *view) within(field string, path []string) (string, bool) {
	value, ok := v.parsed[field]
	if !ok {
		value = v.annotations[field]
		if s, isText := value.(string); isText {
			value = nil
			d := json.NewDecoder(strings.NewReader(s))
			d.UseNumber()
			if d.Decode(&value) != nil {
				value = nil
			}
		}
		if v.parsed == nil {
			v.parsed = map[string]any{}
		}
		v.parsed[field] = value
	}
	for _, key := range path {
		m, ok := value.(map[string]any)
		if !ok {
			return "", false
		}
		if value, ok = m[key]; !ok {
			return "", false
		}
	}
	return asText(value), true
}

func (v *view) fulfils(conditions []condition) bool {
	for i := range conditions {
		if !conditions[i].holds(v) {
			return false
		}
	}
	return true
}
