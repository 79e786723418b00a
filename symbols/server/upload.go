package server

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

const (
	// maxRatio bounds how much an archive may unpack to: symbol text packs 5
	// to 20 times. minUnpacked is allowed whatever the archive's size.
	maxRatio    = 200
	minUnpacked = 1 << 30
	// maxMember bounds one unpacked file; the largest real ones have 2 GB.
	maxMember = 4 << 30
)

// most is how much an upload of size bytes may unpack to.
func most(size int64) int64 { return max(size*maxRatio, minUnpacked) }

// The protocols that uploads come by, as the catalog knows them.
const (
	protocolV1       = "v1"
	protocolV2       = "v2"
	protocolDebug    = "debug"
	protocolForm     = "breakpad"
	protocolBreakpad = "sym-upload-v2"
)

// isTry reports whether an upload is of a trial build: one who may upload no
// others, or says so.
func isTry(caller Caller, in *spool.Incoming) bool {
	return !caller.Has(catalog.UploadSymbols) || in.Fields.Get("try") != ""
}

// uploadV1 is POST /upload/.
func (s *Server) uploadV1(c echo.Context) error { return s.upload(c, protocolV1) }

// uploadDebug is POST /upload/debug/: raw debug files (ELF, Mach-O, PE, PDB),
// packed or not, as the file of a form. They are kept for debuggers, and their
// symbols for crashes where a converter is there.
func (s *Server) uploadDebug(c echo.Context) error { return s.upload(c, protocolDebug) }

// upload receives a form with an archive, or with the address of one, and has
// its files kept: now, or after the answer when the client prefers so.
func (s *Server) upload(c echo.Context, protocol string) error {
	ctx := c.Request().Context()
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	in, err := s.spool.Read(c.Response(), c.Request(), "")
	if err != nil {
		return err
	}
	defer func() { in.Close() }()
	_, later := preference(c, "respond-async")
	u := s.newUpload(caller, in, protocol)
	if in.File == nil {
		address := in.Fields.Get("url")
		if address == "" {
			return fault.New(fault.Invalid, "Must be multipart form data with at least one file")
		}
		if later {
			if _, err := s.fetcher.Allowed(address); err != nil {
				return err
			}
			u.DownloadURL = address
			return s.later(c, u, nil)
		}
		if in, err = s.fetcher.Fetch(ctx, address); err != nil {
			in = &spool.Incoming{}
			return err
		}
		fetched(&u, in)
	}
	if err := checkExtension(u); err != nil {
		return err
	}
	if id := in.Fields.Get("sources"); id != "" && protocol == protocolDebug {
		b, err := s.openSources(u, in, id)
		if err != nil {
			return err
		}
		if err := b.run(ctx); err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, b.answer())
	}
	if later && protocol == protocolDebug { // unpacking is most of the work
		return s.later(c, u, in)
	}
	b, err := s.unpack(ctx, u, in)
	if err != nil {
		return err
	}
	defer b.close()
	if later {
		b.close()
		return s.later(c, b.Upload, in)
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	if protocol == protocolDebug {
		if b.extra["conversions"], err = s.awaitConversions(c, b.Upload.ID); err != nil {
			return err
		}
	}
	if page := uploadPage(c, b.Upload.ID); page != "" {
		return c.Redirect(http.StatusSeeOther, page)
	}
	return c.JSON(http.StatusCreated, b.answer())
}

// uploadPage is the page of an upload, for a browser that sent its form; "" for
// others, which want JSON.
func uploadPage(c echo.Context, id int64) string {
	if !strings.HasPrefix(c.Request().Header.Get("Accept"), "text/html") {
		return ""
	}
	return "/uploads/upload/" + strconv.FormatInt(id, 10)
}

// preference is a word of the header Prefer (RFC 7240) and its value.
func preference(c echo.Context, name string) (value string, ok bool) {
	for _, header := range c.Request().Header.Values("Prefer") {
		for word := range strings.SplitSeq(header, ",") {
			word, _, _ = strings.Cut(word, ";")
			key, value, _ := strings.Cut(strings.TrimSpace(word), "=")
			if strings.EqualFold(strings.TrimSpace(key), name) {
				return strings.Trim(strings.TrimSpace(value), `"`), true
			}
		}
	}
	return "", false
}

// maxWait is how long a client may have its answer put off.
const maxWait = 10 * time.Minute

// awaitConversions says what becomes of the symbols of an upload. A client that
// prefers to wait so many seconds is answered when they are made, if that takes
// no longer.
func (s *Server) awaitConversions(c echo.Context, upload int64) ([]map[string]any, error) {
	ctx := c.Request().Context()
	text, _ := preference(c, "wait")
	seconds, _ := strconv.Atoi(text) // what is no number is no wish
	for end := time.Now().Add(min(time.Duration(max(seconds, 0))*time.Second, maxWait)); ; {
		list, err := s.conversions(ctx, upload)
		if err != nil {
			return nil, err
		}
		waits := slices.ContainsFunc(list, func(v map[string]any) bool { return v["state"] == catalog.ConversionWaiting })
		if !waits || !time.Now().Before(end) {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), "wait for symbols")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// checkExtension refuses archives by their name, as Tecken does.
func checkExtension(u catalog.SymbolUpload) error {
	if ext := path.Ext(u.Filename); u.Protocol == protocolV1 && !strings.EqualFold(ext, ".zip") {
		return fault.New(fault.Invalid, "Unrecognized archive file extension %s", archive.Quote(ext))
	}
	return nil
}

func (s *Server) newUpload(caller Caller, in *spool.Incoming, protocol string) catalog.SymbolUpload {
	return catalog.SymbolUpload{UserID: caller.UserID, Email: caller.Email, TokenID: caller.TokenID, Protocol: protocol, Filename: in.Filename, Size: in.Size,
		Try: isTry(caller, in), Created: s.now()}
}

// fetched notes what came from an address.
func fetched(u *catalog.SymbolUpload, in *spool.Incoming) {
	u.Filename, u.Size, u.DownloadURL, u.RedirectURLs = in.Filename, in.Size, in.Source, in.Redirects
}

// unpack looks into what was received and finds the files of it.
func (s *Server) unpack(ctx context.Context, u catalog.SymbolUpload, in *spool.Incoming) (*batch, error) {
	if u.Protocol == protocolDebug {
		return s.openBundle(ctx, u, in)
	}
	return s.openArchive(u, in)
}

// openArchive reads the directory of a zip and checks what can be checked
// without unpacking.
func (s *Server) openArchive(u catalog.SymbolUpload, in *spool.Incoming) (*batch, error) {
	members, err := archive.Read(in.File, in.Size)
	if err != nil {
		return nil, archive.Refused(err)
	}
	take, skip, err := s.checkNames(members)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, m := range take {
		if m.Size > maxMember {
			return nil, fault.New(fault.Invalid, "File %s claims %d bytes; at most %d are taken", archive.Quote(m.Name), m.Size, int64(maxMember))
		}
		if total += m.Size; total > most(in.Size) {
			return nil, fault.New(fault.Invalid, "The archive of %d bytes claims to unpack to more than %d", in.Size, most(in.Size))
		}
	}
	u.Ignored = skip
	b := &batch{s: s, Batch: store.Batch{Upload: u}}
	for _, m := range take {
		key, _ := store.Clean(m.Name) // checkNames did
		b.Items = append(b.Items, &store.Item{File: catalog.SymbolFile{Key: key}, Open: m.Open, Gzip: m.Gzip})
	}
	return b, nil
}

// checkNames checks the members of an archive by their names, in the order
// that clients know, and gives those that are symbols and those to ignore.
func (s *Server) checkNames(members []*archive.Member) (take []*archive.Member, skip []string, err error) {
	sizes := map[string]int64{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if size, twice := sizes[m.Name]; twice && size != m.Size {
			return nil, nil, fault.New(fault.Invalid, "The file %s is in the archive twice, with %d and with %d bytes", archive.Quote(m.Name), size, m.Size)
		}
		sizes[m.Name] = m.Size
	}
	last := map[string]int{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if store.Ignored(m.Name) {
			skip = append(skip, m.Name)
			continue
		}
		for _, snippet := range s.o.Config.DisallowedSnippets {
			if strings.Contains(m.Name, snippet) {
				return nil, nil, fault.New(fault.Invalid, "Content of archive file contains the snippet '%s' which is not allowed", snippet)
			}
		}
		key, ok := store.Clean(m.Name)
		if !ok {
			return nil, nil, fault.New(fault.Invalid, "Unrecognized file pattern. Should only be <module>/<hex>/<file> or <name>-symbols.txt and nothing else. (First unrecognized pattern was '%s')", archive.Plain(m.Name))
		}
		if i, twice := last[key]; twice { // the later one counts
			take[i] = m
			continue
		}
		last[key] = len(take)
		take = append(take, m)
	}
	return take, skip, nil
}

// batch is an upload that was looked into.
type batch struct {
	store.Batch
	s     *Server
	shut  []func()       // what close calls
	extra map[string]any // what the answer says besides
}

func (b *batch) run(ctx context.Context) error {
	err := b.s.store.Run(ctx, &b.Batch)
	if b.s.convert != nil {
		b.s.convert.Wake()
	}
	return err
}

func (b *batch) close() {
	for _, f := range b.shut {
		f()
	}
	b.shut = nil
}

// answer is what the client of a finished upload gets.
func (b *batch) answer() map[string]any {
	out := map[string]any{"upload": b.s.showUpload(b.Upload, false)}
	for k, v := range b.extra {
		out[k] = v
	}
	return out
}
