package download

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/labstack/echo/v4"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

const (
	// SourcesName and SourcesFile are what an archive of sources is kept as:
	// sources/<build id>/sources.zip.
	SourcesName = "sources"
	SourcesFile = "sources.zip"
	// maxSource bounds one source file that is answered with.
	maxSource = 64 << 20
)

// Source is GET /buildid/<build id>/source/<path>, as debuginfod serves it: the
// member of the program's sources that has the path, or the one whose path
// agrees with most of its end.
func (d *Desk) Source(c echo.Context) error {
	ctx := c.Request().Context()
	id := c.Param("id")
	name, err := url.PathUnescape(c.Param("*"))
	if err != nil || !symbols.IsHex(id) || len(id) > symbols.MaxIDDigits {
		return c.String(http.StatusNotFound, "not found")
	}
	files, err := d.files.RawFiles(ctx, SourcesName, id, true)
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := d.sourceText(ctx, f, name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		metrics.SymbolDownloads.Inc("found")
		c.Response().Header().Set("X-DEBUGINFOD-FILE", path.Base(name))
		return c.Blob(http.StatusOK, "application/octet-stream", text)
	}
	metrics.SymbolDownloads.Inc("missing")
	return c.String(http.StatusNotFound, "not found")
}

// sourceText reads one source file out of an archive.
func (d *Desk) sourceText(ctx context.Context, f catalog.SymbolFile, name string) ([]byte, error) {
	local, err := d.localCopy(ctx, f)
	if err != nil {
		return nil, err
	}
	defer local.Close()
	info, err := local.Stat()
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol spool")
	}
	members, err := archive.Read(local, info.Size())
	if err != nil {
		return nil, err
	}
	m := bestMember(members, name)
	if m == nil || m.Size > maxSource {
		return nil, fault.New(fault.NotFound, "no source %s", archive.Quote(name))
	}
	r := m.Open()
	defer r.Close()
	return io.ReadAll(r) // never more than m.Size
}

// localCopy opens an archive of sources on the local disk: a debugger asks for
// many files of it, one by one. Copies go when they are old.
func (d *Desk) localCopy(ctx context.Context, f catalog.SymbolFile) (*os.File, error) {
	name := "sources-" + f.MD5
	defer d.copies.Lock(name)()
	if in, err := d.spool.Kept(name); err == nil {
		return in.File, nil
	}
	r, err := d.bucket.NewReader(ctx, store.Object(f.Key, f.Try), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fault.New(fault.NotFound, "no object %s", f.Key)
	}
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbols %s", f.Key)
	}
	defer r.Close()
	out, err := d.spool.Temporary()
	if err != nil {
		return nil, err
	}
	in := &spool.Incoming{File: out}
	defer in.Close()
	if _, err := io.Copy(out, r); err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbols %s", f.Key)
	}
	if err := d.spool.Keep(in, name); err != nil {
		return nil, err
	}
	kept, err := d.spool.Kept(name)
	if err != nil {
		return nil, err
	}
	return kept.File, nil
}

// bestMember finds the member whose path shares the most parts with the end of
// name; at least the file's own name must agree.
func bestMember(members []*archive.Member, name string) (best *archive.Member) {
	want := parts(name)
	most := 0
	for _, m := range members {
		have := parts(m.Name)
		n := 0
		for n < len(have) && n < len(want) && have[len(have)-1-n] == want[len(want)-1-n] {
			n++
		}
		if n > most && !m.IsDir() {
			best, most = m, n
		}
	}
	return best
}

func parts(name string) []string {
	return strings.Split(strings.Trim(path.Clean(strings.ReplaceAll(name, `\`, "/")), "/"), "/")
}
