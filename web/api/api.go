// Package api answers the JSON APIs under /api/, with the names, parameters,
// answers and error texts of Mozilla's Crash Stats, so that its clients
// (crashstats-tools, libmozdata, scripts) work unchanged. endpoints.go is the
// table of endpoints; each has a handler in a file of its theme.
//
// Redaction is that of the field table: without the permission view_pii a
// document is reduced to what its rows make public.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/signature"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/schema"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

// Options is what the APIs are built on.
type Options struct {
	Crashes  *storage.Crashes
	Engine   search.Engine
	Fields   *plan.Fields
	Schema   *schema.Table
	Catalog  *catalog.DB
	Auth     *auth.Auth
	Products config.Products
	Config   config.Web
	// Reprocess asks for a crash to be processed again by a ruleset.
	Reprocess func(ctx context.Context, id storage.CrashID, ruleset string) error
	Lists     func() *signature.Lists // signature lists in force
	// HasTelemetry says whether a crash was exported; nil where none are.
	HasTelemetry func(ctx context.Context, id storage.CrashID) (bool, error)
	Log          *zap.Logger
}

// API answers /api/.
type API struct {
	Options
	limits limits
	now    func() time.Time
}

// New makes the APIs.
func New(o Options) *API { return &API{Options: o, now: time.Now} }

// Mount adds the routes.
func (a *API) Mount(e *echo.Echo) {
	handle := a.cors(a.answerErrors(a.Auth.Recognise(a.limit(a.dispatch))))
	e.Any("/api/:name/", handle)
	e.Any("/api/:name", func(c echo.Context) error {
		return c.Redirect(http.StatusMovedPermanently, "/api/"+c.Param("name")+"/?"+c.QueryString())
	})
}

// dispatch finds the endpoint and checks method and permission.
func (a *API) dispatch(c echo.Context) error {
	for _, p := range endpoints() {
		if p.Name != c.Param("name") {
			continue
		}
		if c.Request().Method != p.Method && !(p.alsoPost && c.Request().Method == http.MethodPost) {
			return apiError{http.StatusMethodNotAllowed, map[string]any{"error": "Method not allowed"}}
		}
		if a.Config.Anonymous == "none" && !auth.From(c).Known() {
			return apiError{http.StatusForbidden, map[string]any{"error": "This instance shows nothing without an API token"}}
		}
		if p.Permission != "" && !auth.From(c).Has(p.Permission) {
			return apiError{http.StatusForbidden, map[string]any{"error": "Use of this endpoint requires the '" + title(p.Permission) + "' permission"}}
		}
		return p.handle(a, c)
	}
	return apiError{http.StatusNotFound, map[string]any{"error": "No service called '" + c.Param("name") + "'"}}
}

func title(p catalog.Permission) string {
	for _, r := range catalog.AllPermissions() {
		if r.Name == p {
			return r.Title
		}
	}
	return string(p)
}

// apiError is an answer with a status and a JSON body of its own.
type apiError struct {
	status int
	body   map[string]any
}

func (e apiError) Error() string {
	text, _ := e.body["error"].(string)
	return text
}

func badRequest(message string) error {
	return apiError{http.StatusBadRequest, map[string]any{"error": "Bad request: BadArgumentError: " + message}}
}

// formError names the parameter that is wrong, as a form would.
func formError(param, message string) error {
	return apiError{http.StatusBadRequest, map[string]any{"errors": map[string][]string{param: {message}}}}
}

// answerErrors gives every error the JSON that clients know.
func (a *API) answerErrors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		if err == nil || c.Response().Committed {
			return err
		}
		if e, ok := err.(apiError); ok {
			return writeJSON(c, e.status, e.body)
		}
		p := fault.Of(err).Policy()
		body := map[string]any{"error": err.Error()}
		switch p.Level {
		case fault.Error, fault.Warn:
			a.Log.Error("api request failed", zap.String("path", c.Request().URL.Path), zap.String("kind", p.Name), zap.Error(err))
			body = map[string]any{"error": http.StatusText(p.Status), "path": c.Request().URL.Path, "query_string": c.QueryString()}
		}
		return writeJSON(c, p.Status, body)
	}
}

// writeJSON answers as Crash Stats does: "</" is escaped, pretty=print indents.
func writeJSON(c echo.Context, status int, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if c.QueryParam("pretty") == "print" {
		e.SetIndent("", "  ")
	}
	if err := e.Encode(v); err != nil {
		return fault.Wrap(err, "encode answer")
	}
	return writeBody(c, status, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func writeBody(c echo.Context, status int, body []byte) error {
	body = bytes.ReplaceAll(body, []byte("</"), []byte(`<\/`))
	h := c.Response().Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(status, "application/json; charset=UTF-8", body)
}

// cors lets pages of other sites read the APIs, with a token of their own; no
// cookie is ever sent to them.
func (a *API) cors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if c.Request().Method != http.MethodOptions {
			return next(c)
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "accept, authorization, auth-token, content-type, user-agent, x-requested-with")
		h.Set("Access-Control-Max-Age", "86400")
		return c.NoContent(http.StatusOK)
	}
}

// limits counts requests by address.
type limits struct {
	mu sync.Mutex // guards by
	by map[string]*rate.Limiter
}

// mostAddresses bounds the table of limits; when it is full it begins anew.
const mostAddresses = 50_000

// knownFactor is how many times more requests a viewer who is somebody may
// make.
const knownFactor = 10

// limit refuses an address that asks too often.
func (a *API) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		perMinute := a.Config.RateLimit
		if perMinute <= 0 {
			return next(c)
		}
		key, _, err := net.SplitHostPort(c.Request().RemoteAddr)
		if err != nil {
			key = c.Request().RemoteAddr
		}
		if v := auth.From(c); v.Known() {
			perMinute *= knownFactor
			key = "user " + v.Email
		}
		if !a.limits.allow(key, perMinute, a.now()) {
			c.Response().Header().Set("Retry-After", "60")
			return apiError{http.StatusTooManyRequests, map[string]any{"error": "Too Many Requests"}}
		}
		return next(c)
	}
}

func (l *limits) allow(key string, perMinute int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.by[key]
	if !ok {
		if l.by == nil || len(l.by) >= mostAddresses {
			l.by = map[string]*rate.Limiter{}
		}
		r = rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
		l.by[key] = r
	}
	return r.AllowN(now, 1)
}
