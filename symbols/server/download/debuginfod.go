package download

import (
	"io"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/server/binary"
	"mayday/symbols/server/store"
)

// BuildID is GET /buildid/<build id>/debuginfo or executable, as debuginfod
// serves them.
func (d *Desk) BuildID(c echo.Context) error {
	ctx := c.Request().Context()
	id, what := c.Param("id"), c.Param("what")
	if !symbols.IsHex(id) || len(id) > symbols.MaxIDDigits || what != "debuginfo" && what != "executable" {
		return c.String(http.StatusNotFound, "not found")
	}
	files, err := d.files.DebugFiles(ctx, id)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Kind != what && f.Kind != binary.ELF {
			continue
		}
		if done, err := d.sendRaw(c, f); done || err != nil {
			return err
		}
	}
	metrics.SymbolDownloads.Inc("missing")
	return c.String(http.StatusNotFound, "not found")
}

// sendRaw answers with a raw debug file as it is kept; not done says that its
// object is gone.
func (d *Desk) sendRaw(c echo.Context, f catalog.SymbolFile) (done bool, err error) {
	r, err := d.bucket.NewReader(c.Request().Context(), store.Object(f.Key, f.Try), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return false, nil
	}
	if err != nil {
		return false, fault.As(fault.Unavailable, err, "symbols %s", f.Key)
	}
	defer r.Close()
	metrics.SymbolDownloads.Inc("found")
	h := c.Response().Header()
	h.Set("X-DEBUGINFOD-FILE", f.DebugFile)
	h.Set("X-DEBUGINFOD-SIZE", strconv.FormatInt(r.Size(), 10))
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+f.MD5+`"`)
	http.ServeContent(c.Response(), c.Request(), "", r.ModTime(), io.ReadSeeker(r))
	return true, nil
}
