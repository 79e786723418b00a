//go:build unix

package column

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// crashFields are 64 fields of the sorts that crashes of browsers and games
// have.
func crashFields(t testing.TB) *plan.Fields {
	t.Helper()
	list := []plan.Field{
		{Name: "uuid", Type: plan.Enum},
		{Name: "date", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "signature", Storage: plan.Text},
		{Name: "proto_signature", Storage: plan.Text, Parts: " | "},
		{Name: "modules_in_stack", Storage: plan.Semicolon},
		{Name: "product", Type: plan.Enum, Storage: plan.Text, Whole: true},
		{Name: "version", Type: plan.Enum, BetaPrefix: true},
		{Name: "release_channel", Type: plan.Enum},
		{Name: "process_type"},
		{Name: "platform", Type: plan.Enum, Storage: plan.Text},
		{Name: "platform_pretty_version", Storage: plan.Text},
		{Name: "address"},
		{Name: "reason", Storage: plan.Text},
		{Name: "user_comments", Storage: plan.Text},
		{Name: "app_notes", Storage: plan.Text},
		{Name: "moz_crash_reason", Storage: plan.Text},
		{Name: "cpu_info", Storage: plan.Text},
		{Name: "cpu_arch", Type: plan.Enum},
		{Name: "addons"},
		{Name: "url"},
	}
	for i := range 10 {
		list = append(list, plan.Field{Name: fmt.Sprintf("word%d", i)})
	}
	for _, name := range []string{"uptime", "install_time", "build_id", "last_crash", "cpu_count", "memory_explicit", "thread_count"} {
		list = append(list, plan.Field{Name: name, Type: plan.Int, Storage: plan.Long, Histogram: true})
	}
	for i := range 12 {
		list = append(list, plan.Field{Name: fmt.Sprintf("number%d", i), Type: plan.Int, Storage: plan.Long, Histogram: true})
	}
	for i := range 14 {
		list = append(list, plan.Field{Name: fmt.Sprintf("flag%d", i), Type: plan.Bool, Storage: plan.Boolean})
	}
	list = append(list, plan.Field{Name: "ratio", Type: plan.Float, Storage: plan.Double, Histogram: true})
	for i := range list {
		list[i].Path = list[i].Name
	}
	f, err := plan.NewFields(list)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// crashMaker makes crashes in the order of their dates over 26 weeks, with
// Zipf-like shares: 20 k signatures, a third of a million stacks in a million
// crashes, nearly unique addresses.
type crashMaker struct {
	r      *rand.Rand
	fields *plan.Fields
	total  int
	n      int
	frames []string
	zipf   *rand.Zipf
	stack  *rand.Zipf
	module *rand.Zipf
}

var makerEnd = time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC)

const makerDays = 26 * 7

func newCrashMaker(fields *plan.Fields, total int) *crashMaker {
	m := &crashMaker{r: rand.New(rand.NewPCG(42, 1)), fields: fields, total: total}
	m.zipf = rand.NewZipf(m.r, 1.1, 3, 19_999)
	m.stack = rand.NewZipf(m.r, 1.05, 40, 999_999)
	m.module = rand.NewZipf(m.r, 1.2, 5, 2_999)
	parts := strings.Fields("Worker Runnable Dispatch Promise Layer Buffer Render Garbage Collector Socket Cache Image Texture Audio Event Queue Thread Message Channel Frame")
	for i := range 30_000 {
		m.frames = append(m.frames, fmt.Sprintf("ns%d::%s%s<T%d>::%s", i%97, parts[i%20], parts[(i/20)%20], i%13, parts[(i*7)%20]+strconv.Itoa(i%211)))
	}
	return m
}

func (m *crashMaker) protoSignature(sig int) string {
	r := rand.New(rand.NewPCG(uint64(sig), m.stack.Uint64()))
	frames := make([]string, 0, 12)
	frames = append(frames, m.frames[sig%len(m.frames)])
	for range 5 + r.IntN(7) {
		frames = append(frames, m.frames[int(math.Pow(r.Float64(), 3)*float64(len(m.frames)))])
	}
	return strings.Join(frames, " | ")
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// next makes one crash.
func (m *crashMaker) next() search.Doc {
	r := m.r
	d := search.Doc{Values: make([]any, len(m.fields.All()))}
	set := func(name string, v any) {
		for i := range m.fields.All() {
			if m.fields.All()[i].Name == name {
				d.Values[i] = v
			}
		}
	}
	at := makerEnd.Add(-time.Duration(makerDays*24) * time.Hour).Add(time.Duration(float64(m.n) / float64(m.total) * makerDays * 24 * float64(time.Hour)))
	d.Date = at.UnixMicro()
	m.n++
	for i := range d.ID {
		d.ID[i] = byte(r.Uint32())
	}
	set("date", search.FormatDate(d.Date))
	sig := int(m.zipf.Uint64())
	set("signature", m.frames[sig])
	set("proto_signature", m.protoSignature(sig))
	var mods []string
	for range 3 + r.IntN(9) {
		n := int(m.module.Uint64())
		mods = append(mods, fmt.Sprintf("module%d.dll/%032X0", n, n*2654435761))
	}
	set("modules_in_stack", strings.Join(mods, ";"))
	product := []string{"Firefox", "Firefox", "Firefox", "Firefox", "Firefox", "Firefox", "Fenix", "Fenix", "Thunderbird", "Focus"}[r.IntN(10)]
	set("product", product)
	set("version", fmt.Sprintf("%d.0b%d", 130+m.n*20/m.total, r.IntN(10)))
	set("release_channel", pick(r, "release", "release", "beta", "nightly", "esr"))
	set("process_type", pick(r, "parent", "parent", "content", "gpu", "rdd", "utility"))
	platform := pick(r, "Windows", "Windows", "Windows", "Linux", "Mac OS X", "Android")
	set("platform", platform)
	set("platform_pretty_version", platform+" "+strconv.Itoa(7+r.IntN(5)))
	set("address", fmt.Sprintf("0x%016x", r.Uint64N(1<<uint(r.IntN(48)+8))))
	set("reason", pick(r, "EXCEPTION_ACCESS_VIOLATION_READ", "EXCEPTION_ACCESS_VIOLATION_WRITE", "SIGSEGV / SEGV_MAPERR", "SIGABRT", "EXCEPTION_BREAKPOINT"))
	if r.IntN(20) == 0 {
		set("user_comments", fmt.Sprintf("it crashed %d times while watching %s today", r.IntN(100000), pick(r, "video", "news", "maps")))
	}
	set("app_notes", fmt.Sprintf("AdapterVendorID: 0x%04x, AdapterDeviceID: 0x%04x", r.IntN(12), r.IntN(300)))
	if r.IntN(5) == 0 {
		set("moz_crash_reason", "MOZ_RELEASE_ASSERT("+m.frames[r.IntN(300)]+")")
	}
	set("cpu_info", fmt.Sprintf("family %d model %d stepping %d", r.IntN(4), r.IntN(50), r.IntN(10)))
	set("cpu_arch", pick(r, "amd64", "amd64", "x86", "arm64"))
	var addons []string
	for range r.IntN(4) {
		addons = append(addons, fmt.Sprintf("addon%d@example.org:1.%d", int(m.module.Uint64())%300, r.IntN(4)))
	}
	if len(addons) > 0 {
		set("addons", addons)
	}
	if r.IntN(10) == 0 {
		set("url", fmt.Sprintf("https://site%d.example/%d", r.IntN(500), r.IntN(1000)))
	}
	for i := range 10 {
		if r.IntN(3) > 0 {
			set("word"+strconv.Itoa(i), "value"+strconv.Itoa(r.IntN(3<<i)))
		}
	}
	set("uptime", int64(math.Exp(r.Float64()*12)))
	set("install_time", 1_700_000_000+int64(math.Pow(r.Float64(), 1.5)*1_500_000))
	set("build_id", 20260101000000+int64(m.n*180/m.total)*1_000_000+int64(r.IntN(3)))
	set("last_crash", int64(r.IntN(1_000_000)))
	set("cpu_count", int64(1<<r.IntN(6)))
	set("memory_explicit", int64(r.Uint64N(4<<30)))
	set("thread_count", int64(r.IntN(150)))
	for i := range 12 {
		if r.IntN(2) == 0 {
			set("number"+strconv.Itoa(i), int64(r.Uint64N(1<<(4+2*uint(i)))))
		}
	}
	for i := range 14 {
		if r.IntN(3) > 0 {
			set("flag"+strconv.Itoa(i), r.IntN(4) == 0)
		}
	}
	set("ratio", float64(r.IntN(8000))/8)
	return d
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// speedQueries are the questions people ask, on a week (7d) and on all of 26.
var speedQueries = []struct{ name, query string }{
	{"0 26w distinct stacks", "_facets=_cardinality.proto_signature"},
	{"a 7d product, facet signature", "7d&product=Firefox&_facets=signature"},
	{"b 7d signature→version,platform", "7d&product=Firefox&_aggs.signature=version&_aggs.signature=platform"},
	{"b2 26w signature→version,platform", "product=Firefox&_aggs.signature=version&_aggs.signature=platform"},
	{"c 26w day histogram→product", "product=Firefox&_histogram.date=product"},
	{"d 26w cardinality install_time", "product=Firefox&_facets=_cardinality.install_time"},
	{"d2 26w signature→cardinality", "product=Firefox&_aggs.signature=_cardinality.install_time"},
	{"e 7d proto contains", "7d&proto_signature=~CacheImage&_facets=signature"},
	{"e2 26w proto contains", "proto_signature=~CacheImage&_facets=signature"},
	{"f1 26w signature prefix", "signature=^ns1&_facets=signature"},
	{"f2 26w signature regexp", "signature=@ns[0-9]*::Worker.*Queue1.&_facets=signature"},
	{"f3 26w signature suffix", "signature=$Queue12&_facets=signature"},
	{"f4 26w proto regexp", "proto_signature=@.*Worker[A-Z][a-z]*\\<T1\\>.*&_facets=signature"},
	{"g 26w newest 50 at 1000", "product=Firefox&_sort=-date&_results_number=50&_results_offset=1000&_facets_size=0"},
	{"g2 26w sort by uptime", "product=Firefox&_sort=-uptime&_results_number=50&_facets_size=0"},
	{"g3 26w sort by signature", "product=Firefox&_sort=signature&_results_number=50&_facets_size=0"},
	{"h 26w two ranges", "uptime=<60&memory_explicit=>2000000000&_facets=signature"},
	{"i 26w has comments", "user_comments=!__null__&_facets=signature"},
	{"i2 26w no reason", "moz_crash_reason=__null__&_facets=signature"},
	{"j 26w facet signature", "_facets=signature"},
	{"k 26w module contains", "modules_in_stack=~module77.&_facets=signature"},
	{"l uuid", "uuid=00000000-0000-4000-8000-000000000000"},
	{"m 26w page", "product=Firefox&_facets=signature&_facets=version&_facets=platform&_facets=process_type&_facets=release_channel&_facets=reason&_sort=-date&_results_number=50"},
	{"n 26w facet addons", "_facets=addons"},
	{"o 26w facet proto_signature", "_facets=proto_signature"},
	{"p 26w facet address", "_facets=address"},
	{"q 26w words of proto", "proto_signature=collectorsocket&_facets=signature"},
	{"r 26w words of comments", "user_comments=video&_facets=signature"},
	{"s 26w four levels", "_aggs.product.version=_histogram.date&_facets_size=10"},
	{"t 26w nested high", "_aggs.signature=address&_facets_size=100"},
}

// TestMillion loads MAYDAY_BENCH_DOCS made-up crashes and prints what loading,
// opening and each query cost; `make bench-search` sets it to a million.
func TestMillion(t *testing.T) {
	total, _ := strconv.Atoi(os.Getenv("MAYDAY_BENCH_DOCS"))
	if total == 0 {
		t.Skip("MAYDAY_BENCH_DOCS is not set")
	}
	fields := crashFields(t)
	dir := os.Getenv("MAYDAY_BENCH_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	o := Options{Dir: dir, Fields: fields, Now: func() time.Time { return makerEnd }}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Count() == 0 {
		loadMillion(t, s, total)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start, used := time.Now(), cpu()
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Logf("opened %d documents in %v, cpu %v", s.Count(), time.Since(start), cpu()-used)
	used = cpu()
	s.indexWords(context.Background())
	t.Logf("word indexes in cpu %v, %d bytes a document in all", cpu()-used, sizeOf(t, s.opts.Dir)/int64(s.Count()))
	only := os.Getenv("MAYDAY_BENCH_QUERY")
	for _, q := range speedQueries {
		if only == "" || strings.HasPrefix(q.name, only) {
			measure(t, s, q.name, q.query)
		}
	}
}

func loadMillion(t *testing.T, s *Store, total int) {
	t.Helper()
	m := newCrashMaker(s.opts.Fields, total)
	var indexing time.Duration
	start := time.Now()
	for done := 0; done < total; {
		batch := make([]search.Doc, 0, 32768)
		for len(batch) < cap(batch) && done < total {
			batch = append(batch, m.next())
			done++
		}
		used := cpu()
		if err := s.Index(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		indexing += cpu() - used
	}
	t.Logf("indexed %d in cpu %v (%.0f a CPU second), wall with making them %v", total, indexing, float64(total)/indexing.Seconds(), time.Since(start))
	used := cpu()
	mergeAll(t, s)
	t.Logf("merged in cpu %v; with merging %.0f a CPU second", cpu()-used, float64(total)/(indexing+cpu()-used).Seconds())
	size := sizeOf(t, s.opts.Dir)
	t.Logf("%d bytes, %d a document, %d segments", size, size/int64(total), len(s.manifest.Segments))
}

// sizeOf is what a folder takes on disk.
func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// measure asks through search.Answer, JSON included.
func measure(t *testing.T, s *Store, name, query string) {
	t.Helper()
	v, _ := url.ParseQuery(strings.TrimPrefix(query, "7d&"))
	from := ">=2026-03-30"
	if strings.HasPrefix(query, "7d&") {
		from = ">=2026-09-21"
	}
	v["date"] = []string{from, "<2026-09-28"}
	if !v.Has("_results_number") {
		v.Set("_results_number", "0")
	}
	var took []time.Duration
	var body []byte
	for range 6 {
		used := cpu()
		var status int
		var err error
		if status, body, err = search.Answer(context.Background(), s, s.opts.Fields, search.Request{Values: v, Options: plan.Options{Now: makerEnd}}); status != 200 || err != nil {
			t.Errorf("%s: status %d, %v: %s", name, status, err, body)
			return
		}
		took = append(took, cpu()-used)
	}
	first := took[0]
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	at := strings.LastIndex(string(body), `"total":`)
	t.Logf("%-36s first %7.1f  median %7.1f  min %7.1f ms CPU  %.40s", name, ms(first), ms(took[3]), ms(took[0]), body[max(0, at):])
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
