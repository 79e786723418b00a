package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// madeRequests is how many requests language makes, but for MAYDAY_TEST_REQUESTS,
// which also is the seed of their making.
const madeRequests = 120

// language puts made-up requests about every field, operator and parameter to
// an engine and to naive, over the peer's data set.
func language(t *testing.T, open Open) {
	n, seed := madeRequests, uint64(0)
	if s := os.Getenv("MAYDAY_TEST_REQUESTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		seed = uint64(n)
	}
	dir := webapp(t)
	fields := peerFields(t, dir)
	engine := open(t, fields, peerNow)
	plain := newNaive(fields, peerNow())
	var docs []search.Doc
	for _, c := range peerCrashes(t, dir) {
		for name, v := range c {
			if text, ok := v.(string); ok && len(text) > longest {
				c[name] = text[:longest]
			}
		}
		plain.add(c)
		docs = append(docs, doc(t, fields, c))
	}
	for list := range slices.Chunk(docs, 300) {
		index(t, engine, list)
	}
	r := asker{Rand: rand.New(rand.NewPCG(seed, 8)), naive: plain, seen: map[int][]string{}}
	failed := 0
	for range n {
		v := r.request()
		pii, unredacted := r.IntN(2) == 0, r.IntN(6) == 0
		plain.strict = nil
		if r.IntN(2) == 0 {
			plain.strict = []string{"Firefox", "Fenix", "Focus", "MozillaVPN", "ReferenceBrowser", "Thunderbird"}
		}
		wantStatus, want := plain.ask(v, pii, unredacted)
		rq := search.Request{Values: v, Unredacted: unredacted, Options: plan.Options{Now: peerNow(), Products: plain.strict, Strict: plain.strict != nil}}
		if pii {
			rq.Viewer.Permissions = []string{plan.ViewPII}
		}
		status, body, err := search.Answer(context.Background(), engine, fields, rq)
		var got map[string]any
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if problems := differ(v, status, got, err, wantStatus, want); len(problems) > 0 {
			t.Errorf("pii %v, unredacted %v, strict %v: %s\n\t%s", pii, unredacted, plain.strict != nil, shownRequest(v), strings.Join(problems, "\n\t"))
			if failed++; failed == 10 {
				t.Fatal("and so on")
			}
		}
	}
}

func shownRequest(v url.Values) string {
	s, err := url.QueryUnescape(v.Encode())
	if err != nil {
		return v.Encode()
	}
	return s
}

// differ compares two answers: all of them, but for the order of hits that were
// asked in none, and for what an error says after its parameter.
func differ(v url.Values, status int, got map[string]any, err error, wantStatus int, want map[string]any) (problems []string) {
	switch {
	case err != nil:
		return []string{err.Error()}
	case status != wantStatus:
		return []string{fmt.Sprintf("status %d, want %d: %v %v, want %v", status, wantStatus, got["error"], got["errors"], want["error"])}
	case status != 200:
		text, _ := want["error"].(string)
		have, _ := got["error"].(string)
		if text != "" && strings.HasPrefix(have, text) {
			return nil
		}
		if said := fmt.Sprint(got["error"], got["errors"]); aggregation.MatchString(said) && aggregation.MatchString(fmt.Sprint(want["error"], want["errors"])) {
			return nil // several are wrong: either may be told
		}
		diff("answer", got, any(want), 0, &problems)
		return problems
	}
	delete(got, "warnings")
	if len(without(v["_sort"], "")) == 0 {
		for _, list := range []any{got["hits"], want["hits"]} {
			if have, _ := got["hits"].([]any); float64(len(have)) < want["total"].(float64) { // any of them
				clear(list.([]any))
				continue
			}
			slices.SortFunc(list.([]any), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	diff("answer", got, any(want), 0, &problems)
	return problems
}

// aggregation is what errors say of aggregations.
var aggregation = regexp.MustCompile(`Unknown field|_histogram_interval`)

// longest is where texts are cut: naive takes the square of their length.
const longest = 1000

// asker makes requests about the crashes of a naive.
type asker struct {
	*rand.Rand
	*naive
	seen map[int][]string // values of a field, as texts
}

func (r *asker) one(list ...string) string { return list[r.IntN(len(list))] }

// text is a value that some crash has in a field, or one near it.
func (r *asker) text(i int) string {
	list, ok := r.seen[i]
	if !ok {
		for c := range r.crashes {
			v := shown(&r.fields[i], r.crashes[c][i])
			switch v := v.(type) {
			case nil:
			case []string:
				list = append(list, v...)
			case search.Real:
				list = append(list, strconv.FormatFloat(float64(v), 'f', -1, 64))
			default:
				list = append(list, fmt.Sprint(v))
			}
		}
		r.seen[i] = list
	}
	if len(list) == 0 || r.IntN(30) == 0 {
		return r.one("", "x", "0", "nosuch thing", "-1", " ", ";", "*", "1.5", "é")
	}
	return list[r.IntN(len(list))]
}

// part cuts a piece out of a text, at letters.
func (r *asker) part(s string) string {
	text := []rune(s)
	if len(text) == 0 {
		return s
	}
	lo := r.IntN(len(text))
	hi := lo + 1 + r.IntN(min(12, len(text)-lo))
	switch r.IntN(4) {
	case 0:
		lo = 0
	case 1:
		hi = len(text)
	}
	return string(text[lo:hi])
}

// filterValue is an operator and a value for a field.
func (r *asker) filterValue(i int) string {
	f := &r.fields[i]
	text := r.text(i)
	not := r.one("", "", "!")
	if r.IntN(10) == 0 {
		return not + "__null__"
	}
	switch f.Type {
	case plan.Bool:
		return not + r.one("__true__", "true", "T", "1", "y", "Yes", "no", "", "false", "F")
	case plan.Int, plan.Float:
		if r.IntN(12) == 0 {
			text = r.one("0", "-5", "2147483648", "9223372036854775807", "9223372036854775808", "-99999999999999999999", " 7 ", "+3", "1_000", "0005")
		}
		if f.Type == plan.Float && r.IntN(8) == 0 {
			text = r.one("1e3", "1E-2", ".5", "12.75", "-0", "28.125")
		}
		if r.IntN(60) == 0 {
			text = r.one("abc", "", "1.5x", "--1", "0x10", "1 2", "~5", "=5", "1__0")
		}
		return not + r.one("", "", ">=", "<=", "<", ">") + text
	}
	if r.IntN(4) > 0 || f.Type == plan.Enum {
		switch r.IntN(9) {
		case 0, 1:
			text = r.part(text)
		case 2:
			text = strings.ToUpper(text)
		case 3:
			text = lower(text)
		case 4:
			text += " " + r.part(r.text(i))
		case 5:
			if f.Storage == plan.Semicolon {
				text += ";" + r.text(i)
			}
		}
	}
	op := ""
	if f.Type == plan.Str || f.Whole || r.IntN(10) == 0 {
		op = r.one("", "=", "~", "^", "$", "@")
	}
	switch op {
	case "~", "^", "$":
		if r.IntN(3) > 0 {
			text = r.part(text)
		}
		if r.IntN(3) == 0 {
			text = r.wildcard(text)
		}
	case "@":
		text = r.pattern(text)
	}
	return not + op + text
}

// wildcard puts marks into a text.
func (r *asker) wildcard(s string) string {
	text := []rune(s)
	for range 1 + r.IntN(2) {
		at := r.IntN(len(text) + 1)
		switch r.IntN(4) {
		case 0:
			text = slices.Insert(text, at, '*')
		case 1:
			text = slices.Insert(text, at, []rune(r.one(`\*`, `\?`, `\`, "?"))...)
		default:
			if at < len(text) {
				text[at] = []rune(r.one("?", "*", "?"))[0]
			}
		}
	}
	return string(text)
}

// pattern makes a regular expression that has to do with a text.
func (r *asker) pattern(s string) string {
	if r.IntN(25) == 0 {
		return r.one("", "#", "@", "~()", ".*[", "(a", "a|", "*a", ".{2,1}", "a{", "[]", "~", "<3-", `"a`, "()", "[^a-z]+", "<1-40>", ".*<1-9>.*")
	}
	var out strings.Builder
	for text := []rune(s); len(text) > 0; {
		n := 1 + r.IntN(min(8, len(text)))
		piece := quoted(string(text[:n]))
		text = text[n:]
		switch r.IntN(14) {
		case 0:
			piece = ".*"
		case 1:
			piece = "." + r.one("+", "?", "{1,12}", "{2}", "{0,}", "")
		case 2:
			piece = "(" + piece + "|" + r.one("foo", ".*x", "[0-9]+", "()") + ")"
		case 3:
			piece = "[a-zA-Z:_]" + r.one("+", "*", "")
		case 4:
			piece = "[^" + r.one("a-f", "0-9", "|", "x") + "]*"
		case 5:
			piece = "~(" + r.one(".*gc.*", "x", "[a-z]*", "@") + ")"
		case 6:
			piece = "(" + piece + r.one("&@", "&.*", "&~(x)") + ")"
		case 7:
			piece += r.one("?", "*", "+", "{1}")
		case 8:
			if r.IntN(3) == 0 {
				piece = "<" + r.one("0-9", "1-200", "00-99", "7-3") + ">" + r.one("", ".*")
			}
		}
		if out.WriteString(piece); r.IntN(5) == 0 {
			out.WriteString(r.one(".*", "@"))
			break
		}
	}
	return out.String()
}

// quoted takes every mark of a regular expression as it stands.
func quoted(s string) string {
	var out strings.Builder
	for _, c := range s {
		if strings.ContainsRune(`.?+*|{}[]()"\#@&<>~`, c) {
			out.WriteByte('\\')
		}
		out.WriteRune(c)
	}
	return out.String()
}

// any is the name of a field, often one that crashes have.
func (r *asker) any() string {
	if r.IntN(40) == 0 {
		return r.one("nosuchfield", "product.version", "_histogram.product", "_cardinality.nosuch", "Signature", "_histogram._cardinality.uptime")
	}
	return r.fields[r.IntN(len(r.fields))].Name
}

// member is a value of _facets and _aggs.
func (r *asker) member() string {
	name := r.any()
	i, known := r.byName[name]
	switch {
	case known && r.fields[i].Histogram && r.IntN(2) == 0:
		return "_histogram." + name
	case r.IntN(5) == 0:
		return "_cardinality." + name
	}
	return name
}

// request makes the parameters of a search.
func (r *asker) request() url.Values {
	v := url.Values{"_facets_size": {r.one("0", "1", "2", "3", "7", "50", "1000", "10000")}, "_results_number": {r.one("0", "3", "20", "", "1000")}}
	day := func() string {
		at := peerNow().Add(-time.Duration(r.Int64N(int64(40 * 24 * time.Hour))))
		if r.IntN(12) == 0 {
			at = time.Date(2026, 8, 5, 1, 2, r.IntN(12), 500_000_000*r.IntN(2), time.UTC)
		}
		return at.Format(r.one("2006-01-02", "2006-01-02", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000000-07:00", "2006-01-02T15:04:05+02:00"))
	}
	switch r.IntN(8) {
	case 0: // the default
	case 1:
		v["date"] = []string{r.one(">=", "<=", "<", ">") + day()}
	case 2:
		v["date"] = []string{r.one(">=", ">") + day(), r.one("<=", "<") + day(), r.one(">=", "<=", "<", ">") + day()}
	case 3:
		v["date"] = []string{">=2026-08-05", "<2026-08-06"}
	default:
		v["date"] = []string{">=2026-08-01", "<2026-10-01"}
	}
	for range r.IntN(4) {
		i := r.IntN(len(r.fields))
		if r.IntN(3) == 0 {
			i = r.byName[r.one("signature", "product", "version", "uptime", "addons", "modules_in_stack", "app_init_dlls", "address", "startup_crash", "reason", "uptime_ts", "user_comments", "url", "proto_signature", "uuid")]
		}
		if r.fields[i].Name == plan.DateField {
			continue
		}
		for range 1 + r.IntN(1+r.IntN(4)) {
			v.Add(r.fields[i].Name, r.filterValue(i))
		}
	}
	r.aggregations(v)
	for range r.IntN(3) {
		v.Add("_sort", r.one("", "-")+r.any())
	}
	if len(v["_sort"]) > 0 {
		v.Add("_sort", "uuid")
	}
	if r.IntN(4) == 0 {
		v.Set("_results_offset", r.one("0", "1", "5", "100", "1999", "3000"))
	}
	for range r.IntN(8) * r.IntN(2) {
		v.Add("_columns", r.fields[r.IntN(len(r.fields))].Name)
	}
	if r.IntN(15) == 0 {
		r.spoil(v)
	}
	return v
}

func (r *asker) aggregations(v url.Values) {
	for range r.IntN(4) {
		v.Add("_facets", r.member())
	}
	for range r.IntN(3) {
		chain := r.any()
		switch r.IntN(6) {
		case 0:
			chain = "product.version"
		case 1:
			chain = "android_cpu_abi.android_manufacturer.android_model"
		case 2:
			chain = "product"
		}
		for range 1 + r.IntN(3) {
			v.Add("_aggs."+chain, r.member())
		}
	}
	for range r.IntN(2) {
		v.Add("_histogram."+r.one("date", "uptime", "uptime_ts", "thread_count", "build_id", "cpu_count", r.any()), r.member())
	}
	for i := range r.fields {
		f := &r.fields[i]
		if !f.Histogram || r.IntN(3) > 0 {
			continue
		}
		switch f.Storage {
		case plan.Instant:
			v.Set("_histogram_interval.date", r.one("minute", "1m", "hour", "1h", "day", "1d", "week", "1w", "month", "1M", "quarter", "1q", "year", "1y"))
		case plan.Double:
			v.Set("_histogram_interval."+f.Name, r.one("1", "0.5", "2.5", "100", "1e2"))
		default:
			v.Set("_histogram_interval."+f.Name, r.one("1", "7", "60", "1000", "1000000", "4294967296"))
		}
	}
	if v.Get("_facets_size") == "10000" || v.Get("_facets_size") == "1000" { // their products would be too many buckets
		for name := range v {
			if strings.HasPrefix(name, "_aggs.") || strings.HasPrefix(name, "_histogram.") {
				v.Set("_facets_size", "40")
			}
		}
	}
}

// spoil makes one thing wrong.
func (r *asker) spoil(v url.Values) {
	switch r.IntN(10) {
	case 0:
		v.Set("_results_number", r.one("-1", "1001", "x", "1.5", "10000000000"))
	case 1:
		v.Set("_results_offset", r.one("-1", "10000", "9999", "x"))
	case 2:
		v.Set("_facets_size", r.one("-1", "10001", "x", "50.0"))
	case 3:
		v.Add("_columns", r.one("nosuchfield", "Product", "_aggs.product", "-date"))
	case 4:
		v.Add("date", r.one("2026-09-01", ">=notadate", "<2026-13-01", "=2026-09-01", "", ">", ">=2026-09-01T25:00:00"))
	case 5:
		v["date"] = []string{">=" + r.one("2025-09-01", "2025-09-30", "2025-10-01"), "<" + r.one("2026-09-30", "2026-10-01")}
	case 6:
		v.Add("product", r.one("NotAProduct", "firefox", "", "Firefox "))
	case 7:
		v.Set("_histogram_interval."+r.one("date", "uptime", "uptime_ts", "build_id"), r.one("0", "-1", "2d", "abc", "1.5", "D"))
	case 8:
		v["_sort"] = append(v["_sort"], r.one("nosuchfield", "--date", "_cardinality.product"), "uuid")
	case 9:
		v.Add(r.one("_facets", "_aggs.product", "_histogram.date"), r.one("nosuchfield", "_histogram.product", "_cardinality.", "_histogram.nosuch"))
	}
}
