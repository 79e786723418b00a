package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/offline"
	"mayday/roles/awaited"
	"mayday/roles/webserver"
	"mayday/storage/catalog"
	"mayday/symbols"
	symbolserver "mayday/symbols/server"
	"mayday/symbols/server/convert"
	"mayday/symbols/symbolicate"
	"mayday/web/auth"
)

// symbolServer makes what takes, gives and looks up symbols. late hears of
// modules that arrive; nil hears nothing.
func (d *deps) symbolServer(ctx context.Context, users *catalog.DB, who *auth.Auth, late *awaited.Awaited) (*symbolserver.Server, webserver.Mounter, error) {
	store, err := d.SymbolCache(ctx)
	if err != nil {
		return nil, nil, err
	}
	bucket, err := d.SymbolsBucket(ctx)
	if err != nil {
		return nil, nil, err
	}
	convert, err := d.dumper()
	if err != nil {
		return nil, nil, err
	}
	s := symbolserver.New(symbolserver.Options{Convert: convert,
		Catalog: users, Bucket: bucket, Callers: callers{users, who}, Spool: filepath.Join(d.cfg.DataDir, "symbol-spool"),
		Config: d.cfg.Symbols, BaseURL: d.cfg.Web.BaseURL, Log: d.log.Named("symbols"),
		Arrived: func(ctx context.Context, id symbols.ModuleID) {
			store.Prepare(id)
			if late == nil {
				return
			}
			if err := late.Arrived(ctx, id); err != nil {
				d.log.Warn("crashes that lack these symbols stay as they are", zap.String("module", id.DebugFile), zap.Error(err))
			}
		}})
	return s, symbolicationRoutes{symbolicate.NewServer(symbolicate.New(store), d.log.Named("symbolicate"))}, nil
}

// dumper makes symbols of raw debug files; nil where the configuration wants
// none made.
func (d *deps) dumper() (convert.Converter, error) {
	if d.cfg.Symbols.ConvertMemory == 0 {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "find this program")
	}
	return offline.Dumper{Program: self, Memory: int64(d.cfg.Symbols.ConvertMemory)}, nil
}

// callers tells the symbol server who asks: by token, which has its own
// permissions, or by the session of the pages.
type callers struct {
	users *catalog.DB
	who   *auth.Auth
}

// Caller implements server.Callers.
func (a callers) Caller(c echo.Context, key string) (out symbolserver.Caller, err error) {
	if header := strings.TrimSpace(c.Request().Header.Get("Auth-Token")); header != "" {
		key = header
	}
	if key != "" {
		key, _, _ = strings.Cut(key, "-") // what follows is a label
		t, err := a.users.Token(c.Request().Context(), key)
		if err != nil {
			return symbolserver.Caller{}, err
		}
		return symbolserver.Caller{Email: t.User.Email, UserID: t.User.ID, Permissions: t.Permissions, Token: true,
			TokenID: t.ID, Expires: t.Expires, UploadVersion: t.UploadVersion}, nil
	}
	err = a.who.Recognise(func(c echo.Context) error {
		v := auth.From(c)
		out = symbolserver.Caller{Email: v.Email, UserID: v.UserID, Permissions: v.Permissions}
		return nil
	})(c)
	return out, err
}

// symbolicationRoutes mounts the symbolication API at the root.
type symbolicationRoutes struct{ server *symbolicate.Server }

// Mount implements webserver.Mounter.
func (r symbolicationRoutes) Mount(e *echo.Echo) { r.server.Mount(e.Group("")) }
