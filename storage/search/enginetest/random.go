package enginetest

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// madeNow is the present of the made-up crashes: soon after the turn of a year,
// where weeks are numbered anew.
func madeNow() time.Time { return time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC) }

// madeFields have one field of each sort at least.
func madeFields(t testing.TB) *plan.Fields {
	t.Helper()
	list := []plan.Field{
		{Name: "uuid", Type: plan.Enum},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "signature", Storage: plan.Text},
		{Name: "proto_signature", Storage: plan.Text, Parts: " | "},
		{Name: "product", Type: plan.Enum, Storage: plan.Text, Whole: true},
		{Name: "version", Type: plan.Enum, BetaPrefix: true},
		{Name: "channel", Type: plan.Enum, Storage: plan.Text},
		{Name: "address"},
		{Name: "tags"},
		{Name: "labels", Storage: plan.Text},
		{Name: "modules", Storage: plan.Semicolon},
		{Name: "uptime", Type: plan.Int, Storage: plan.Long, Histogram: true},
		{Name: "count", Type: plan.Int, Storage: plan.Integer, Histogram: true},
		{Name: "ratio", Type: plan.Float, Storage: plan.Double, Histogram: true},
		{Name: "startup", Type: plan.Bool, Storage: plan.Boolean},
		{Name: "seen", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "comments", Storage: plan.Text, Permission: plan.ViewPII},
		{Name: "never", Storage: plan.Text}, // no crash has it
	}
	for i := range list {
		if list[i].Path == "" {
			list[i].Path = list[i].Name
		}
	}
	f, err := plan.NewFields(list)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var (
	words = strings.Fields("gc Gc GC js::gc::Run mozilla::dom a_b xul.dll 1.2.3 1.2 it's a:b don't OOM | small É groß GRÖSSE 日本 カタカナ Ünï 😀 สวัสดี x* y? back\\slash ns@0x1f")
	texts = []string{"", " ", "OOM | small", "js::gc", "gc", "shutdownhang | js::gc::Run", "a b c", "b c a", "日本語", "É", "Straße it's", "x*y", "what?", `back\slash`, "xul.dll", "1.2.3"}
	mods  = []string{"", ";;", "xul.dll/AB12;kernel32.dll/00", "XUL.dll/ab12", "ntdll.dll/9;xul.dll/AB12;ntdll.dll/9", "libxul.so/É;libc.so", "a;b;c"}
)

// maker makes crashes and questions about them.
type maker struct{ *rand.Rand }

func (r maker) one(list ...string) string { return list[r.IntN(len(list))] }

func (r maker) phrase() string {
	if r.IntN(2) == 0 {
		return r.one(texts...)
	}
	var w []string
	for range 1 + r.IntN(5) {
		w = append(w, r.one(words...))
	}
	return strings.Join(w, r.one(" ", " ", " | ", "::", ", "))
}

// crash makes a processed crash. Values are few, so that many crashes share
// them, and often missing.
func (r maker) crash() map[string]any {
	at := madeNow().Add(-time.Duration(r.Int64N(int64(80 * 24 * time.Hour)))).Truncate(time.Microsecond)
	if r.IntN(50) == 0 {
		at = at.AddDate(30, 0, 0) // a clock that was wrong
	}
	day := at
	if r.IntN(10) == 0 {
		day = at.AddDate(0, 0, -r.IntN(20)) // an id of another week
	}
	c := map[string]any{
		"uuid":           fmt.Sprintf("%08x-%04x-4%03x-8%03x-%06x%s", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.IntN(1<<24), day.Format("060102")),
		"date_processed": at.Format(search.CanonicalDate),
	}
	if r.IntN(5) == 0 {
		c["date_processed"] = at.Format("2006-01-02T15:04:05.999999Z")
	}
	list := func(n int) []any {
		var out []any
		for range r.IntN(n) {
			out = append(out, r.phrase())
		}
		return out
	}
	for name, make := range map[string]func() any{
		"signature":       func() any { return r.phrase() },
		"proto_signature": func() any { return r.phrase() + " | " + r.phrase() + " | " + r.one(words...) },
		"product":         func() any { return r.one("Firefox", "Fenix", "Kite Pro", "kite") },
		"version":         func() any { return r.one("142.0b", "142.0b3", "142.0", "9.1", "") },
		"channel":         func() any { return r.one("release", "beta", "Beta test", "") },
		"address":         func() any { return "0x" + strconv.FormatUint(uint64(r.IntN(400)), 16) },
		"tags":            func() any { return list(4) },
		"labels":          func() any { return list(4) },
		"modules":         func() any { return r.one(mods...) },
		"uptime":          func() any { return r.one("5", "60", "61", "-7", "9007199254740993", "120") },
		"count":           func() any { return r.IntN(12) - 3 },
		"ratio":           func() any { return float64(r.IntN(40))/8 - 1 },
		"startup":         func() any { return r.IntN(2) == 0 },
		"seen":            func() any { return at.Add(-time.Duration(r.IntN(9)) * time.Hour).Format(search.CanonicalDate) },
		"comments":        func() any { return r.phrase() },
	} {
		if r.IntN(4) > 0 {
			c[name] = make()
		}
	}
	return c
}

// value makes the text of one filter, operator and all.
func (r maker) value(f *plan.Field) string {
	not := r.one("", "", "!")
	if r.IntN(8) == 0 {
		return not + "__null__"
	}
	switch f.Type {
	case plan.Bool:
		return not + r.one("__true__", "true", "no")
	case plan.Int, plan.Float:
		return not + r.one("", ">=", "<=", "<", ">") + r.one("5", "60", "-1", "0", "2", "9007199254740993", "99999999999999999999")
	case plan.Date:
		return not + r.one(">=", "<=", "<", ">") + madeNow().AddDate(0, 0, -r.IntN(70)).Format("2006-01-02")
	}
	text := r.phrase()
	if f.Storage == plan.Semicolon {
		text = r.one("xul.dll/ab12", "XUL.dll/AB12", "a", "b;c", "ntdll", "", "é", "xul")
	}
	op := r.one("", "", "=", "~", "^", "$", "@")
	switch {
	case f.Name == "address":
		text = r.one("0x1", "0x2f", "0x", "f", "0x1?", "*1")
	case f.Name == "version":
		text = r.one("142.0b", "142.0", "14", "9.1", "")
	case f.Name == "product":
		text = r.one("Firefox", "Kite", "Kite Pro", "kite", "fox")
	}
	if op == "@" {
		text = r.one(".*gc.*", "[a-z]+", "~(.*js.*)", "0x<1-40>", "(OOM|gc).*", "a&b", `"a b".*`, "#", "@", ".*[", "É.?")
	}
	if (op == "~" || op == "^" || op == "$") && r.IntN(4) == 0 {
		text = r.one("*", "g?", "j*c", `\*`, "gc*", "?")
	}
	return not + op + text
}

// question makes the parameters of a search.
func (r maker) question(fields *plan.Fields) url.Values {
	all := fields.All()
	field := func() *plan.Field { return &all[r.IntN(len(all))] }
	v := url.Values{"_facets_size": {r.one("1", "2", "3", "50", "50", "1000")}, "_results_number": {r.one("0", "3", "20", "1000")}}
	switch r.IntN(3) {
	case 0:
		v.Set("date", ">="+madeNow().AddDate(0, 0, -100).Format("2006-01-02"))
	case 1:
		v["date"] = []string{">=2025-12-" + strconv.Itoa(10+r.IntN(20)), "<2026-01-" + strconv.Itoa(10+r.IntN(15))}
	}
	for range r.IntN(4) {
		f := field()
		for range 1 + r.IntN(1+r.IntN(4)) {
			if f.Name != plan.DateField {
				v.Add(f.Name, r.value(f))
			}
		}
	}
	if r.IntN(6) == 0 {
		v.Set("q", r.one("gc", "a b", `"b c"`, `"a b"*`, "-small", "kite", "g*", "日", "xul.dll/ab12", "js::gc", "É -it's"))
	}
	member := func() string {
		f := field()
		switch {
		case f.Histogram && r.IntN(3) == 0:
			return "_histogram." + f.Name
		case r.IntN(5) == 0:
			return "_cardinality." + f.Name
		}
		return f.Name
	}
	for range r.IntN(4) {
		v.Add("_facets", member())
	}
	if r.IntN(2) == 0 {
		chain := "_aggs"
		for range 1 + r.IntN(3) {
			chain += "." + field().Name
		}
		for range 1 + r.IntN(2) {
			v.Add(chain, member())
		}
	}
	if r.IntN(3) == 0 {
		v.Add("_histogram."+r.one("date", "uptime", "ratio", "seen", "count"), member())
	}
	if r.IntN(2) == 0 {
		v.Set("_histogram_interval.date", r.one("minute", "hour", "day", "week", "month", "quarter", "year"))
		v.Set("_histogram_interval.uptime", r.one("7", "60"))
		v.Set("_histogram_interval.ratio", r.one("0.5", "2"))
	}
	for range r.IntN(3) {
		v.Add("_sort", r.one("", "-")+field().Name)
	}
	if r.IntN(3) == 0 {
		v.Set("_results_offset", strconv.Itoa(r.IntN(30)))
	}
	for i := range all {
		if r.IntN(2) == 0 {
			v.Add("_columns", all[i].Name)
		}
	}
	return v
}
