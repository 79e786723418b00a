// Package server takes symbols from build machines and gives them to debuggers.
// It speaks the protocols of Mozilla's Tecken (upload v1 and v2, download,
// missing symbols, JSON APIs), of Breakpad and Crashpad (sym-upload-v2 and the
// older form), of elfutils' debuginfod, and the layout of Microsoft's symbol
// servers.
//
// # What becomes of an upload
//
//  1. The bytes go to a file in Options.Spool; memory holds blocks of them only.
//  2. The archive is checked whole: its directory, every name, every member
//     unpacked once for size, checksum and content hash. What fails refuses
//     the upload, and nothing of it is kept.
//  3. Files that the bucket has already, by size and hash, are skipped; the
//     others are copied to the bucket. A deflated member becomes a gzip file
//     without being compressed again.
//  4. The catalog learns of them, and Options.Arrived is called for each module,
//     before the client is answered: what was uploaded is visible at once.
//  5. Symbol files are made of raw debug files in the background (package
//     convert), by Options.Convert, and kept as if they had been uploaded.
//
// How files are kept is said by package store, how they are received by package
// spool.
package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
	"mayday/symbols"
	"mayday/symbols/server/convert"
	"mayday/symbols/server/download"
	"mayday/symbols/server/missing"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// Caller is who asks.
type Caller struct {
	Email       string // "" is nobody
	UserID      int64
	Permissions catalog.Permissions
	Token       bool      // known by a token, not by a session
	TokenID     int64     // of the token
	Expires     time.Time // of the token
	// UploadVersion is the protocol that the token's clients shall speak; 0 is
	// what the configuration says.
	UploadVersion int
}

// Has reports whether the caller has permission p.
func (c Caller) Has(p catalog.Permission) bool { return c.Permissions.Has(p) }

// Callers finds out who asks. Its error is of kind fault.Forbidden for a token
// that is not good. key is a token that did not come in the usual header.
type Callers interface {
	Caller(c echo.Context, key string) (Caller, error)
}

// Options say what a Server works with. Catalog, Bucket, Callers and Spool are
// needed.
type Options struct {
	Catalog *catalog.DB
	Bucket  *blob.Bucket
	Callers Callers
	Spool   string // directory of uploads under way
	Config  config.Symbols
	BaseURL string // how clients reach the server; "" takes it from each request
	// Convert makes symbol files of raw debug files; nil leaves these as they
	// are.
	Convert convert.Converter
	// Arrived is called for each module whose symbols came or changed.
	Arrived func(ctx context.Context, id symbols.ModuleID)
	// Client fetches uploads by URL; nil makes one that refuses addresses of
	// this machine and of private networks.
	Client *http.Client
	Log    *zap.Logger
	Now    func() time.Time
}

// Server is the symbol server.
type Server struct {
	o       Options
	files   *catalog.DB
	bucket  *blob.Bucket
	store   *store.Store
	spool   *spool.Spool
	fetcher *spool.Fetcher
	callers Callers
	log     *zap.Logger
	now     func() time.Time
	started time.Time
	missing *missing.List
	desk    *download.Desk
	convert *convert.Queue // nil where no symbols are made
	bundles chan struct{}  // the one bundle that is being unpacked: it may take 64 MB
	tickets store.Locks
	work    chan catalog.SymbolJob
}

// New makes a server. Run must run for uploads that are answered before they
// are done, and for missing symbols to be kept.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Arrived == nil {
		o.Arrived = func(context.Context, symbols.ModuleID) {}
	}
	if o.Client == nil {
		o.Client = spool.OutsideClient()
	}
	s := &Server{o: o, files: o.Catalog, bucket: o.Bucket, callers: o.Callers, log: o.Log, now: o.Now, started: o.Now(),
		spool: spool.New(o.Spool, int64(o.Config.MaxUpload)), missing: missing.New(o.Catalog, o.Config.MissingIgnore, o.Now),
		bundles: make(chan struct{}, 1), work: make(chan catalog.SymbolJob, maxQueued)}
	s.desk = download.New(download.Options{Catalog: o.Catalog, Bucket: o.Bucket, Missing: s.missing, Spool: s.spool, Base: s.base, Now: o.Now})
	s.store = store.New(store.Options{Catalog: o.Catalog, Bucket: o.Bucket, Changed: o.Arrived, Arrived: s.arrived, Refuse: o.Config.Refuse, Now: o.Now,
		Limits: store.Limits{All: int64(o.Config.Quota), User: int64(o.Config.UserQuota)}})
	if o.Convert != nil {
		s.convert = convert.New(convert.Options{Catalog: o.Catalog, Bucket: o.Bucket, Store: s.store, Spool: s.spool, Convert: o.Convert, Log: o.Log})
	}
	s.fetcher = &spool.Fetcher{Spool: s.spool, Domains: o.Config.Domains, Any: o.Config.AnyDomain, Client: o.Client, Log: o.Log}
	return s
}

// tidyEvery is how often what is old is dropped.
const tidyEvery = time.Hour

// Mount adds the routes.
func (s *Server) Mount(e *echo.Echo) {
	both := func(path string, h echo.HandlerFunc) {
		e.Any(path, h)
		e.Any(path+"/", h)
	}
	both("/upload", s.api(s.uploadV1, http.MethodPost))
	both("/upload/v2", s.api(s.uploadV2, http.MethodPost))
	e.Any("/upload/v2/put/:ticket", s.api(s.putFile, http.MethodPut))
	both("/upload/debug", s.api(s.uploadDebug, http.MethodPost))
	both("/upload/breakpad", s.api(s.uploadForm, http.MethodPost))
	both("/upload/auth_info", s.api(s.authInfo, http.MethodPost))
	both("/upload/status/:id", s.api(s.uploadStatus, http.MethodGet))

	e.Any("/v1/uploads\\:create", s.api(s.createUpload, http.MethodPost))
	e.Any("/v1/uploads/:key", s.api(s.finishUpload, http.MethodPost, http.MethodPut))
	e.Any("/v1/symbols/:file/:id", s.api(s.checkStatus, http.MethodGet))

	both("/api/_auth", s.api(s.apiAuth, http.MethodGet))
	both("/api/stats", s.api(s.apiStats, http.MethodGet))
	both("/api/syminfo/:file/:id", s.open(s.desk.Syminfo))
	both("/api/tokens", s.api(s.apiTokens, http.MethodGet, http.MethodPost))
	both("/api/tokens/token/:id", s.api(s.apiToken, http.MethodDelete))
	both("/api/tokens/token/:id/extend", s.api(s.extendToken, http.MethodPost))
	both("/api/uploads", s.api(s.apiUploads, http.MethodGet))
	both("/api/uploads/upload/:id", s.api(s.apiUpload, http.MethodGet))
	both("/api/uploads/upload/:id/pin", s.api(s.pinUpload, http.MethodPost, http.MethodDelete))
	both("/api/uploads/files", s.api(s.apiFiles, http.MethodGet))
	both("/api/uploads/files/file/:id", s.api(s.apiFile, http.MethodGet))

	e.Any("/missingsymbols.csv", s.api(s.missingCSV, http.MethodGet, http.MethodHead))
	both("/missingsymbols/ignore", s.api(s.ignoreMissing, http.MethodGet, http.MethodPost, http.MethodDelete))
	both("/missingsymbols", s.api(s.missingJSON, http.MethodGet))

	for path, h := range map[string]echo.HandlerFunc{"/buildid/:id/:what": s.desk.BuildID, "/buildid/:id/source/*": s.desk.Source} {
		e.GET(path, s.answered(h))
		e.HEAD(path, s.answered(h))
	}
	e.Any("/try/:debug/:id/:file", s.open(s.desk.Download))
	e.Any("/:debug/:id/:file", s.open(s.desk.Download))
}

// checkToken refuses a token that is none, also where none is needed, and lets no
// cache mix the answers to different tokens.
func (s *Server) checkToken(c echo.Context) error {
	if c.Request().Header.Get("Auth-Token") == "" {
		return nil
	}
	c.Response().Header().Add("Vary", "Auth-Token")
	_, err := s.callers.Caller(c, "")
	return err
}

// api answers the errors of a handler as {"error": …}, and other methods with 405.
func (s *Server) api(h echo.HandlerFunc, methods ...string) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if err := s.checkToken(c); err != nil {
			return s.refuse(c, err)
		}
		if !slices.Contains(methods, r.Method) {
			c.Response().Header().Set("Allow", strings.Join(methods, ", "))
			return c.JSON(http.StatusMethodNotAllowed, map[string]string{"error": "Method Not Allowed (" + r.Method + "): " + r.URL.Path})
		}
		if err := h(c); err != nil {
			return s.refuse(c, err)
		}
		return nil
	}
}

// open lets every page of the web read the answers of a handler.
func (s *Server) open(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		header := c.Response().Header()
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Allow-Methods", "GET")
		header.Set("Access-Control-Allow-Headers", "accept, accept-encoding, auth-token, content-type, debug, range, user-agent")
		if err := s.checkToken(c); err != nil {
			return s.refuse(c, err)
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodOptions:
			return c.NoContent(http.StatusNoContent)
		default:
			header.Set("Allow", "GET, HEAD")
			return c.JSON(http.StatusMethodNotAllowed, map[string]string{"error": "Method Not Allowed (" + r.Method + "): " + r.URL.Path})
		}
		if err := h(c); err != nil {
			return s.refuse(c, err)
		}
		return nil
	}
}

// answered answers the errors of a handler.
func (s *Server) answered(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := h(c); err != nil {
			return s.refuse(c, err)
		}
		return nil
	}
}

func (s *Server) refuse(c echo.Context, err error) error {
	if c.Response().Committed {
		return err
	}
	spool.Drain(c.Response(), c.Request())
	var own *spool.StatusError
	if errors.As(err, &own) {
		return c.JSON(own.Status, map[string]string{"error": own.Msg})
	}
	var quota *store.QuotaError
	if errors.As(err, &quota) {
		status := http.StatusRequestEntityTooLarge
		if quota.Full {
			status = http.StatusInsufficientStorage
		}
		return c.JSON(status, map[string]string{"error": quota.Msg})
	}
	var fields *filter.Errors
	if errors.As(err, &fields) {
		return c.JSON(http.StatusBadRequest, map[string]any{"errors": fields.Fields})
	}
	p := fault.Of(err).Policy()
	msg := err.Error()
	if p.Level >= fault.Warn {
		s.log.Error("symbol server", zap.String("path", c.Request().URL.Path), zap.Error(err))
		msg = http.StatusText(p.Status)
	}
	return c.JSON(p.Status, map[string]string{"error": msg})
}

// base is the address that clients reach the server by.
func (s *Server) base(c echo.Context) string {
	if s.o.BaseURL != "" {
		return strings.TrimRight(s.o.BaseURL, "/")
	}
	return c.Scheme() + "://" + c.Request().Host
}

// isAnswer reports whether an error has an answer of its own, without a kind.
func isAnswer(err error) bool {
	var status *spool.StatusError
	var quota *store.QuotaError
	return errors.As(err, &status) || errors.As(err, &quota)
}

// who finds the caller and checks that they have one of the permissions.
func (s *Server) who(c echo.Context, any ...catalog.Permission) (Caller, error) {
	return s.permit(c, "", any...)
}

func (s *Server) permit(c echo.Context, key string, any ...catalog.Permission) (Caller, error) {
	caller, err := s.callers.Caller(c, key)
	if err != nil {
		return Caller{}, err
	}
	if caller.Email == "" {
		return Caller{}, fault.New(fault.Forbidden, "This requires an Auth-Token to authenticate the request")
	}
	for _, p := range any {
		if caller.Has(p) {
			return caller, nil
		}
	}
	if len(any) == 0 {
		return caller, nil
	}
	return Caller{}, fault.New(fault.Forbidden, "Forbidden")
}

// uploader is who for the routes that take symbols.
func (s *Server) uploader(c echo.Context, key string) (Caller, error) {
	return s.permit(c, key, catalog.UploadSymbols, catalog.UploadTrySymbols)
}

// arrived tells everybody that the symbols of a file came. Of raw debug files
// that is said when symbols are made of them: they are missing until then.
func (s *Server) arrived(ctx context.Context, f catalog.SymbolFile) error {
	if store.Raw(f) {
		return nil
	}
	id := store.Module(f)
	s.desk.Forget()
	s.missing.Found(id.DebugFile, id.DebugID)
	if err := s.files.FoundSymbol(ctx, id.DebugFile, id.DebugID); err != nil {
		return err
	}
	s.o.Arrived(ctx, id)
	return nil
}

// Run finishes uploads that were answered already, makes symbols of debug files,
// keeps missing symbols, and drops what is old.
func (s *Server) Run(ctx context.Context) error {
	jobs, err := s.resume(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range jobWorkers {
		group.Go(func() error { return s.doJobs(ctx) })
	}
	group.Go(func() error {
		for _, j := range jobs {
			select {
			case s.work <- j:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	group.Go(func() error { return s.missing.Run(ctx, s.log) })
	if s.convert != nil {
		group.Go(func() error { return s.convert.Run(ctx) })
	}
	group.Go(func() error {
		tick := time.NewTicker(tidyEvery)
		defer tick.Stop()
		for {
			if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("drop old symbols", zap.Error(err))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return group.Wait()
}

// spoolLife is how old a file of an unfinished upload gets.
const spoolLife = catalog.TicketLife

// tidy drops what is older than it may get.
func (s *Server) tidy(ctx context.Context) error {
	now := s.now()
	if err := s.spool.Tidy(now, spoolLife); err != nil {
		return err
	}
	if err := s.files.DropMissing(ctx, now.Add(-missing.Life)); err != nil {
		return err
	}
	return s.store.Retain(ctx, store.Days{Try: s.o.Config.TryDays, Regular: s.o.Config.Days})
}
