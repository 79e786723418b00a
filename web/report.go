package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/schema"
	"mayday/web/auth"
)

type reportPage struct {
	ID, Signature, SignatureURL string
	Product, Version, Platform  string
	ProcessType, ReportType     string
	ShowsProtected              bool
	Hidden                      int // protected fields that this viewer does not see
	RawURL, ProcessedURL, Base  string
	Problems                    []problem
	Facts                       []fact
	Java                        string
	Crashing                    *threadView
	Threads                     []threadView
	Modules                     []moduleView
	Missing                     []moduleView
	MissingInStack              bool
	CutShort                    string // the limit that the walk met
	Unloaded                    []string
	Annotations                 []annotationView
	Notes                       string
	Dumps                       []fileView
}

type problem struct{ Title, Text string }

type fact struct{ Name, Value, URL, Doc string }

type annotationView struct {
	Name, Value string
	Protected   bool
}

type fileView struct{ Name, URL string }

type pendingPage struct {
	ID, Heading, Text string
	Refresh           bool
}

func (s *Site) report(c echo.Context) error {
	id, err := storage.FindCrashID(c.Param("id"))
	if err != nil {
		return fault.New(fault.Invalid, "%.60q is no crash id", c.Param("id"))
	}
	if c.Param("id") != id.String() {
		return c.Redirect(http.StatusMovedPermanently, "/report/index/"+id.String())
	}
	if _, ok := id.Date(); !ok {
		return fault.New(fault.Invalid, "crash id %s holds no valid date", id)
	}
	ctx := c.Request().Context()
	raw, err := s.Crashes.Raw(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return s.render(c, http.StatusNotFound, "error", "No such crash", "", errorPage{"No such crash", "There is no crash with the id " + id.String() + ". It may have been deleted, or it is on another instance."})
	}
	if err != nil {
		return err
	}
	processed, err := s.Crashes.Processed(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return s.pending(c, id)
	}
	if err != nil {
		return err
	}
	page, err := s.reportPage(c, id, raw, processed)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, "report", page.Signature, "", page)
}

// pending says why there is no report yet, and asks for it once in a while.
func (s *Site) pending(c echo.Context, id storage.CrashID) error {
	ctx := c.Request().Context()
	v, err := s.Crashes.Verdict(ctx, id)
	if err == nil {
		why := ""
		if auth.From(c).Has(catalog.Admin) { // the text of an error may tell what the public must not know
			why = ": " + v.Reason
		}
		return s.render(c, http.StatusOK, "pending", "Not processed", "", pendingPage{ID: id.String(), Heading: "This crash could not be processed",
			Text: fmt.Sprintf("It was tried %d times and set aside%s. Its annotations and files are kept.", v.Tries, why)})
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if s.Prioritise != nil && s.asked.first(id, s.now()) {
		if err := s.Prioritise(ctx, id); err != nil {
			// The sweep finds the crash all the same; the page must not fail for it.
			s.Log.Warn("crash was not given priority", zap.String("crash_id", id.String()), zap.Error(err))
		}
	}
	return s.render(c, http.StatusOK, "pending", "Being processed", "", pendingPage{ID: id.String(), Refresh: true,
		Heading: "This crash is being processed", Text: "It arrived safely. The report appears here in a moment."})
}

// recentAsks remembers for which crashes priority was asked for lately.
type recentAsks struct {
	mu sync.Mutex // guards at
	at map[storage.CrashID]time.Time
}

// askAgain is how long one priority request for a crash holds, and mostAsks
// how many are remembered: past that all are forgotten, at worst a crash is
// queued twice.
const (
	askAgain = time.Minute
	mostAsks = 10_000
)

func (r *recentAsks) first(id storage.CrashID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.at[id]; ok && now.Sub(last) < askAgain {
		return false
	}
	if r.at == nil || len(r.at) >= mostAsks {
		r.at = map[storage.CrashID]time.Time{}
	}
	r.at[id] = now
	return true
}

// reportPage fills the page with what the viewer may see.
func (s *Site) reportPage(c echo.Context, id storage.CrashID, raw storage.RawCrash, processed storage.ProcessedCrash) (*reportPage, error) {
	v := auth.From(c)
	access := schema.Public
	if v.Has(catalog.ViewPII) {
		access = schema.Protected
	}
	seen := s.Schema.Redact(processed, access)
	dump, err := decodeDump(seen["json_dump"])
	if err != nil {
		return nil, err
	}
	get := func(name string) string { return text(plain(seen[name])) }
	page := &reportPage{ID: id.String(), Signature: get("signature"), Product: get("product"), Version: get("version"),
		Platform: get("os_pretty_version"), ProcessType: get("process_type"), ReportType: get("report_type"),
		ShowsProtected: access == schema.Protected, Base: s.base(c), Notes: get("processor_notes"), Java: get("java_stack_trace"),
		RawURL: "/api/RawCrash/?crash_id=" + id.String(), ProcessedURL: "/api/ProcessedCrash/?crash_id=" + id.String()}
	page.SignatureURL = "/signature/?" + url.Values{"signature": {page.Signature}, "product": productFilter(page.Product)}.Encode()
	page.Hidden = len(processed) - len(seen)
	page.Problems = problems(seen, dump)
	page.Facts = s.facts(seen, id)
	page.fillStacks(dump)
	page.Annotations = s.annotations(raw, access)
	page.Dumps, err = s.dumpFiles(c, id, v)
	return page, err
}

// problems says what kept the crash from being read completely.
func problems(seen map[string]any, d *dumpView) (out []problem) {
	status := text(seen["mdsw_status_string"])
	switch status {
	case "", "OK":
	case "EmptyMinidump":
		out = append(out, problem{"The minidump is empty.", "The client sent a file of 0 bytes, so there is no stack to show."})
	default:
		out = append(out, problem{"The minidump could not be read.", "The stack walker says: " + status + "."})
	}
	if d != nil && len(d.Threads) == 0 && status == "OK" {
		out = append(out, problem{"The minidump names no threads.", "It was read, but it holds no stack to show."})
	}
	if d == nil && status == "" && text(seen["java_stack_trace"]) == "" {
		out = append(out, problem{"There is no minidump.", "The report consists of annotations alone."})
	}
	return out
}

// factFields are the facts of the first card: fields of the processed crash in
// order, with the heading people know and the search field they link to.
var factFields = []struct{ field, title, search string }{
	{"product", "Product", ""}, {"version", "Version", "version"}, {"release_channel", "Channel", "release_channel"}, {"build", "Build", "build_id"},
	{"date_processed", "Received", ""}, {"client_crash_date", "Crashed", ""}, {"uptime", "Uptime", ""}, {"install_age", "Install age", ""},
	{"reason", "Reason", "reason"}, {"address", "Address", ""}, {"moz_crash_reason", "Assertion", ""}, {"moz_crash_reason_raw", "Assertion (as sent)", ""},
	{"crashing_thread_name", "Thread", ""}, {"thread_count", "Threads", ""}, {"process_type", "Process", ""},
	{"os_pretty_version", "System", "platform_pretty_version"}, {"os_version", "System version", ""}, {"cpu_arch", "CPU", "cpu_arch"}, {"cpu_info", "CPU model", ""}, {"cpu_count", "CPUs", ""},
	{"available_physical_memory", "Free memory", ""}, {"total_physical_memory", "Memory", ""}, {"oom_allocation_size", "Allocation that failed", ""},
	{"url", "Page", ""}, {"user_comments", "Comment", ""},
}

func (s *Site) facts(seen map[string]any, id storage.CrashID) []fact {
	var out []fact
	for _, f := range factFields {
		v := text(plain(seen[f.field]))
		if v == "" {
			continue
		}
		one := fact{Name: f.title, Value: shown(f.field, v)}
		if row := s.Schema.Field(f.field); row != nil {
			one.Doc = row.Doc
		}
		if f.search != "" {
			one.URL = "/search/?" + url.Values{f.search: {s.exactly(f.search, v)}}.Encode()
		}
		out = append(out, one)
	}
	return append(out, fact{Name: "Crash id", Value: storage.Prefix + id.String()})
}

// shown is a value as the facts print it: instants without fractions, sizes with
// a unit, durations in words.
func shown(field, v string) string {
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t.UTC().Format("2006-01-02 15:04:05")
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return v
	}
	switch field {
	case "uptime", "install_age", "last_crash":
		return (time.Duration(min(n, 1<<33)) * time.Second).String()
	case "available_physical_memory", "total_physical_memory", "oom_allocation_size":
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return v
}

// plain turns numbers as the document holds them into text that pages show.
func plain(v any) any {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return v
}

// annotations lists what the client sent, as far as the viewer may see it.
func (s *Site) annotations(raw storage.RawCrash, access schema.Access) []annotationView {
	var out []annotationView
	for name, v := range s.Schema.RedactRaw(raw, access) {
		a := s.Schema.Annotation(name)
		if a != nil && a.Collector {
			continue
		}
		value, ok := v.(string)
		if !ok {
			b, err := json.Marshal(v)
			if err != nil {
				continue // what came from JSON goes back
			}
			value = string(b)
		}
		out = append(out, annotationView{name, clip(value), a == nil || !a.Public})
	}
	slices.SortFunc(out, func(a, b annotationView) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return out
}

// mostShown bounds a value on a page; the raw JSON has it whole.
const mostShown = 4000

func clip(v string) string {
	v = strings.ReplaceAll(v, "\x00", "␀")
	if len(v) <= mostShown {
		return v
	}
	return strings.ToValidUTF8(v[:mostShown], "") + fmt.Sprintf(" … (%d bytes in all)", len(v))
}

// dumpFiles lists the crash's files, with links for those who may have them.
func (s *Site) dumpFiles(c echo.Context, id storage.CrashID, v auth.Viewer) ([]fileView, error) {
	names, err := s.Crashes.DumpNames(c.Request().Context(), id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []fileView
	for _, name := range names {
		f := fileView{Name: name}
		if v.Has(catalog.ViewRawDump) {
			f.URL = "/api/RawCrash/?" + url.Values{"crash_id": {id.String()}, "format": {"raw"}, "name": {name}}.Encode()
		}
		out = append(out, f)
	}
	return out, nil
}
