package web

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
	"mayday/symbols/quality"
	"mayday/web/auth"
)

// symbolsPerPage is how many rows the lists about symbols have.
const symbolsPerPage = 50

// symbolTabs are the ways between the pages about symbols that a viewer has.
type symbolTabs struct {
	Here                   string
	Uploads, Files, Tokens bool
}

func tabsFor(v auth.Viewer, here string) symbolTabs {
	return symbolTabs{Here: here, Uploads: mayUpload(v) || v.Has(catalog.ViewAllUploads), Files: v.Has(catalog.ViewAllUploads), Tokens: v.Has(catalog.ManageTokens)}
}

func mayUpload(v auth.Viewer) bool {
	return v.Has(catalog.UploadSymbols) || v.Has(catalog.UploadTrySymbols)
}

// need is the error of a page that a viewer may not see.
func need(v auth.Viewer, any ...catalog.Permission) error {
	for _, p := range any {
		if v.Has(p) {
			return nil
		}
	}
	if !v.Known() {
		return fault.New(fault.Forbidden, "sign in to see this page")
	}
	return fault.New(fault.Forbidden, "this page needs the permission %s", any[0])
}

// pager leads through a list.
type pager struct{ Previous, Next, Shown string }

// pages makes the pager of a list whose rows from offset are shown.
func pages(c echo.Context, page, rows int, more bool) pager {
	link := func(n int) string {
		q := c.QueryParams()
		to := url.Values{}
		for k, v := range q {
			to[k] = v
		}
		to.Set("page", strconv.Itoa(n))
		return c.Request().URL.Path + "?" + to.Encode()
	}
	var p pager
	if page > 1 {
		p.Previous = link(page - 1)
	}
	if more {
		p.Next = link(page + 1)
	}
	if rows > 0 && (page > 1 || more) {
		first := (page-1)*symbolsPerPage + 1
		p.Shown = strconv.Itoa(first) + "–" + strconv.Itoa(first+rows-1)
	}
	return p
}

// filterErrors are the mistakes of a filter in words.
func filterErrors(err error) []string {
	var wrong *filter.Errors
	if !errors.As(err, &wrong) {
		return nil
	}
	var out []string
	for _, name := range sorted(wrong.Fields) {
		for _, text := range wrong.Fields[name] {
			out = append(out, name+": "+text)
		}
	}
	return out
}

// clock is how times stand on pages.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB"} {
		if v /= 1000; v < 1000 {
			break
		}
	}
	digits := 1
	if v >= 100 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
}

type uploadsPage struct {
	Tabs      symbolTabs
	All       bool // of everybody
	MayUpload bool
	User      string
	Size      string
	Date      string
	Errors    []string
	Uploads   []uploadRow
	Pages     pager
	Overview  []pair
}

type uploadRow struct {
	URL, Filename, Email, Created, Size, State string
	Files, Faulty, Skipped                     int
	Try, Pinned, Failed                        bool
}

func showUploadRow(u catalog.SymbolUpload) uploadRow {
	r := uploadRow{URL: "/uploads/upload/" + strconv.FormatInt(u.ID, 10), Filename: u.Filename, Email: u.Email, Created: clock(u.Created), Size: size(u.Size),
		Files: u.Files, Faulty: u.Faulty, Skipped: len(u.Skipped), Try: u.Try, Pinned: u.Pinned(), Failed: u.Error != ""}
	if r.Filename == "" {
		r.Filename = "files by themselves"
	}
	switch {
	case u.Error != "":
		r.State = "failed"
	case u.Completed.IsZero() && u.Incomplete > 0:
		r.State = strconv.Itoa(u.Files-u.Incomplete) + " of " + strconv.Itoa(u.Files) + " came"
	case u.Completed.IsZero():
		r.State = "working"
	default:
		r.State = "done"
	}
	return r
}

// uploads lists uploads of symbols: one's own, or everybody's for those who may
// see them.
func (s *Site) uploads(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads); err != nil {
		return err
	}
	page := uploadsPage{Tabs: tabsFor(v, "uploads"), MayUpload: mayUpload(v), All: v.Has(catalog.ViewAllUploads), User: c.QueryParam("user"), Size: c.QueryParam("size"), Date: c.QueryParam("created_at")}
	f := filter.New(c.QueryParams(), s.now())
	if page.All {
		f.Match("user", "email")
	} else {
		f.Add("user_id = ?", v.UserID)
	}
	f.Sizes("size", "size")
	f.Dates("created_at", "created")
	n := f.Page()
	if page.Errors = filterErrors(f.Err()); page.Errors != nil {
		return s.render(c, http.StatusBadRequest, "uploads", "Symbol uploads", "symbols", page)
	}
	ctx := c.Request().Context()
	list, err := s.Catalog.SymbolUploads(ctx, catalog.Page{Where: f.Where, OrderBy: "created", Reverse: true, Offset: (n - 1) * symbolsPerPage, Limit: symbolsPerPage + 1})
	if err != nil {
		return err
	}
	more := len(list) > symbolsPerPage
	for _, u := range list[:min(len(list), symbolsPerPage)] {
		page.Uploads = append(page.Uploads, showUploadRow(u))
	}
	page.Pages = pages(c, n, len(page.Uploads), more)
	count, sent, err := s.Catalog.CountSymbolUploads(ctx, f.Where)
	if err != nil {
		return err
	}
	used, err := s.Catalog.SymbolUsage(ctx, v.UserID, 0)
	if err != nil {
		return err
	}
	page.Overview = []pair{{"Uploads", thousands(strconv.FormatInt(count, 10)) + ", " + size(sent) + " sent"}, {"Yours take", room(used.User, int64(s.Symbols.UserQuota))}}
	if page.All {
		page.Overview = append(page.Overview, pair{"All take", room(used.All, int64(s.Symbols.Quota))})
	}
	return s.render(c, http.StatusOK, "uploads", "Symbol uploads", "symbols", page)
}

// room says how much of a quota is used.
func room(used, quota int64) string {
	if quota == 0 {
		return size(used)
	}
	return size(used) + " of " + size(quota)
}

type uploadPage struct {
	Tabs             symbolTabs
	ID               int64
	Row              uploadRow
	Error            string
	Facts            []pair
	Redirects        []string
	Files            []fileRow
	Skipped, Ignored []string
	Conversions      []conversionRow
	Pin              *pinBox
	MayPin           bool
}

// conversionRow is a build that symbols are made of, or were to be.
type conversionRow struct {
	Build, Reason string
	Keys          []string
	Done, Failed  bool
}

type pinBox struct{ Who, Note, Since string }

type fileRow struct {
	URL, Key, Size, Unpacked, Kind, Created, State string
	Updated, Try                                   bool
	Faults                                         []quality.Fault
}

func showFileRow(f catalog.SymbolFile) fileRow {
	r := fileRow{URL: "/uploads/files/file/" + strconv.FormatInt(f.ID, 10), Key: f.Key, Size: size(f.Size), Unpacked: size(f.TextSize), Kind: f.Kind, Created: clock(f.Created),
		Updated: f.Updated, Try: f.Try, Faults: f.Quality}
	switch {
	case f.Completed.IsZero():
		r.State = "did not come yet"
	case !f.Live:
		r.State = "replaced since"
	}
	return r
}

type newUploadPage struct {
	Tabs    symbolTabs
	Base    string
	Regular bool // the viewer may upload more than trial builds
	TryDays int
}

// newUpload is a form for people, who have no build machine at hand.
func (s *Site) newUpload(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols, catalog.UploadTrySymbols); err != nil {
		return err
	}
	return s.render(c, http.StatusOK, "newupload", "Upload symbols", "symbols", newUploadPage{Tabs: tabsFor(v, ""), Base: c.Scheme() + "://" + c.Request().Host,
		Regular: v.Has(catalog.UploadSymbols), TryDays: s.Symbols.TryDays})
}

// ownUpload finds the upload that a path names and the viewer may see.
func (s *Site) ownUpload(c echo.Context) (catalog.SymbolUpload, error) {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads); err != nil {
		return catalog.SymbolUpload{}, err
	}
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return catalog.SymbolUpload{}, fault.New(fault.NotFound, "no upload %q", c.Param("id"))
	}
	u, err := s.Catalog.SymbolUpload(c.Request().Context(), id)
	if err == nil && u.UserID != v.UserID && !v.Has(catalog.ViewAllUploads) {
		err = fault.New(fault.Forbidden, "upload %d is somebody else's", id)
	}
	return u, err
}

// upload shows one upload and its files.
func (s *Site) upload(c echo.Context) error {
	u, err := s.ownUpload(c)
	if err != nil {
		return err
	}
	files, err := s.Catalog.FilesOfUpload(c.Request().Context(), u.ID)
	if err != nil {
		return err
	}
	made, err := s.Catalog.ConversionsOfUpload(c.Request().Context(), u.ID)
	if err != nil {
		return err
	}
	v := auth.From(c)
	page := uploadPage{Tabs: tabsFor(v, ""), ID: u.ID, Row: showUploadRow(u), Error: u.Error, Skipped: u.Skipped, Ignored: u.Ignored, Redirects: u.RedirectURLs, MayPin: mayUpload(v)}
	kind := "regular"
	if u.Try {
		kind = "try: of a trial build, kept for a short time"
	}
	page.Facts = []pair{{"Uploaded by", u.Email}, {"Begun", clock(u.Created) + " UTC"}, {"Done", clock(u.Completed)}, {"Sent", size(u.Size)}, {"Kind", kind}, {"Protocol", u.Protocol}, {"Fetched from", u.DownloadURL}}
	for _, f := range files {
		page.Files = append(page.Files, showFileRow(f))
	}
	for _, m := range made {
		page.Conversions = append(page.Conversions, conversionRow{Build: m.CodeID, Reason: m.Reason, Keys: slices.Sorted(maps.Keys(m.Made)),
			Done: m.State == catalog.ConversionDone, Failed: m.State == catalog.ConversionFailed})
	}
	if u.Pinned() {
		page.Pin = &pinBox{u.Pin.Who, u.Pin.Note, clock(u.Pin.Created)}
	}
	return s.render(c, http.StatusOK, "upload", "Upload "+strconv.FormatInt(u.ID, 10), "symbols", page)
}

// maxNote is the longest note that people leave.
const maxNote = 1000

func note(c echo.Context) (string, error) {
	text := c.FormValue("note")
	if len(text) > maxNote {
		return "", fault.New(fault.Invalid, "the note has more than %d bytes", maxNote)
	}
	return text, nil
}

// pinUpload keeps an upload whatever its age, or lets it grow old again.
func (s *Site) pinUpload(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols, catalog.UploadTrySymbols); err != nil {
		return err
	}
	u, err := s.ownUpload(c)
	if err != nil {
		return err
	}
	text, err := note(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if c.FormValue("pin") == "" {
		err = s.Catalog.UnpinSymbolUpload(ctx, u.ID)
	} else {
		err = s.Catalog.PinSymbolUpload(ctx, u.ID, catalog.Pin{Who: v.Email, Note: text, Created: s.now()})
	}
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/uploads/upload/"+strconv.FormatInt(u.ID, 10))
}

type filesPage struct {
	Tabs                  symbolTabs
	Key, Size, Date, Type string
	Faulty                bool
	Errors                []string
	Files                 []fileRow
	Pages                 pager
}

// symbolFiles lists the files of everybody's uploads.
func (s *Site) symbolFiles(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.ViewAllUploads); err != nil {
		return err
	}
	page := filesPage{Tabs: tabsFor(v, "files"), Key: c.QueryParam("key"), Size: c.QueryParam("size"), Date: c.QueryParam("created_at"), Type: c.QueryParam("upload_type"), Faulty: c.QueryParam("faults") != ""}
	f := filter.New(c.QueryParams(), s.now())
	f.Contains("key", "key")
	f.Sizes("size", "size")
	f.Dates("created_at", "created")
	switch page.Type {
	case "try":
		f.Add("try = 1")
	case "regular":
		f.Add("try = 0")
	}
	if page.Faulty {
		f.Add("quality <> '[]'")
	}
	n := f.Page()
	if page.Errors = filterErrors(f.Err()); page.Errors != nil {
		return s.render(c, http.StatusBadRequest, "files", "Symbol files", "symbols", page)
	}
	list, err := s.Catalog.SymbolFiles(c.Request().Context(), catalog.Page{Where: f.Where, OrderBy: "created", Reverse: true, Offset: (n - 1) * symbolsPerPage, Limit: symbolsPerPage + 1})
	if err != nil {
		return err
	}
	for _, one := range list[:min(len(list), symbolsPerPage)] {
		page.Files = append(page.Files, showFileRow(one))
	}
	page.Pages = pages(c, n, len(page.Files), len(list) > symbolsPerPage)
	return s.render(c, http.StatusOK, "files", "Symbol files", "symbols", page)
}

type filePage struct {
	Tabs     symbolTabs
	Row      fileRow
	Name     string
	Upload   string
	Download string
	Facts    []pair
}

// symbolFile shows one file.
func (s *Site) symbolFile(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads); err != nil {
		return err
	}
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "no file %q", c.Param("id"))
	}
	ctx := c.Request().Context()
	f, err := s.Catalog.SymbolFile(ctx, id)
	if err != nil {
		return err
	}
	u, err := s.Catalog.SymbolUpload(ctx, f.UploadID)
	if err != nil {
		return err
	}
	if u.UserID != v.UserID && !v.Has(catalog.ViewAllUploads) {
		return fault.New(fault.Forbidden, "file %d is somebody else's", id)
	}
	page := filePage{Tabs: tabsFor(v, ""), Row: showFileRow(f), Name: f.DebugFile, Upload: "/uploads/upload/" + strconv.FormatInt(u.ID, 10)}
	if !f.Completed.IsZero() {
		page.Download = "/" + f.Key
		if f.Try {
			page.Download = "/try/" + f.Key
		}
	}
	packed := size(f.Size)
	if f.Compressed {
		packed += ", compressed"
	}
	page.Facts = []pair{{"Debug file", f.DebugFile}, {"Debug id", f.DebugID}, {"Code file", f.CodeFile}, {"Code id", f.CodeID}, {"Kind", f.Kind}, {"Kept", packed}, {"Unpacked", size(f.TextSize)},
		{"MD5 of the content", f.MD5}, {"Made by", f.Generator}, {"Uploaded by", u.Email}, {"Came", clock(f.Completed)}}
	return s.render(c, http.StatusOK, "file", f.Key, "symbols", page)
}

type missingPage struct {
	Tabs    symbolTabs
	Symbol  string
	ID      string
	Errors  []string
	Total   int64
	Rows    []missingRow
	Pages   pager
	Ignores []ignoreRow
	MayEdit bool
}

type missingRow struct {
	DebugFile, DebugID, CodeFile, CodeID, Last, First string
	Count                                             int64
}

type ignoreRow struct{ Pattern, Note, Who, Since string }

// missing lists the symbols that were asked for in vain, and the rules that
// keep modules out of the list.
func (s *Site) missing(c echo.Context) error {
	v := auth.From(c)
	page := missingPage{Tabs: tabsFor(v, "missing"), Symbol: c.QueryParam("symbol"), ID: c.QueryParam("debugid"), MayEdit: v.Has(catalog.UploadSymbols)}
	f := filter.New(c.QueryParams(), s.now())
	f.Contains("symbol", "debug_file")
	f.Contains("debugid", "debug_id")
	n := f.Page()
	if page.Errors = filterErrors(f.Err()); page.Errors != nil {
		return s.render(c, http.StatusBadRequest, "missing", "Missing symbols", "symbols", page)
	}
	ctx := c.Request().Context()
	var err error
	if page.Total, err = s.Catalog.CountMissing(ctx, f.Where); err != nil {
		return err
	}
	list, err := s.Catalog.Missing(ctx, catalog.Page{Where: f.Where, OrderBy: "count", Reverse: true, Offset: (n - 1) * symbolsPerPage, Limit: symbolsPerPage})
	if err != nil {
		return err
	}
	for _, m := range list {
		page.Rows = append(page.Rows, missingRow{m.DebugFile, m.DebugID, m.CodeFile, m.CodeID, clock(m.Modified), clock(m.Created), m.Count})
	}
	page.Pages = pages(c, n, len(list), int64(n)*symbolsPerPage < page.Total)
	for _, p := range s.Symbols.MissingIgnore {
		page.Ignores = append(page.Ignores, ignoreRow{Pattern: p, Note: "by the configuration"})
	}
	ignores, err := s.Catalog.MissingIgnores(ctx)
	if err != nil {
		return err
	}
	for _, i := range ignores {
		row := ignoreRow{Pattern: i.Pattern, Note: i.Note, Since: clock(i.Created)}
		if v.Known() { // addresses of people are nobody's business
			row.Who = i.Who
		}
		page.Ignores = append(page.Ignores, row)
	}
	return s.render(c, http.StatusOK, "missing", "Missing symbols", "symbols", page)
}

// ignoreMissing adds or removes a rule.
func (s *Site) ignoreMissing(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.UploadSymbols); err != nil {
		return err
	}
	text, err := note(c)
	if err != nil {
		return err
	}
	ctx, pattern := c.Request().Context(), c.FormValue("pattern")
	if c.FormValue("remove") != "" {
		err = s.Catalog.UnignoreMissing(ctx, pattern)
	} else {
		err = s.Catalog.IgnoreMissing(ctx, catalog.MissingIgnore{Pattern: pattern, Note: text, Who: v.Email, Created: s.now()})
	}
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/uploads/missing/")
}
