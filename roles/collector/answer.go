package collector

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage"
)

// storageRetry is what clients are told to wait when nothing could store their
// crash.
const storageRetry = 60 * time.Second

// text answers in one piece with its length: Crashpad's own HTTP client cannot
// read anything else.
func text(ctx echo.Context, status int, body string) error {
	h := ctx.Response().Header()
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	ctx.Response().WriteHeader(status)
	_, _ = ctx.Response().Write([]byte(body)) // the client may be gone; nobody else cares
	return nil
}

// accept answers with the crash id, in the form the client can use: Crashpad
// and its like keep the whole body as the report's id, Firefox's reporter wants
// lines of KEY=VALUE.
func (c *Collector) accept(ctx echo.Context, crash *crash) error {
	if c.cfg.Answer == "bare" || c.cfg.Answer == "auto" && wantsBare(ctx.Request()) {
		return text(ctx, http.StatusOK, string(crash.id))
	}
	body := "CrashID=" + storage.Prefix + string(crash.id) + "\n"
	if c.cfg.ViewURL != "" {
		body += "ViewURL=" + strings.ReplaceAll(c.cfg.ViewURL, "{id}", string(crash.id)) + "\n"
	}
	if version := crash.raw.Text("Version"); version != "" && c.stop[crash.raw.Text("ProductName")+"/"+version] {
		body += "StopSendingReportsFor=" + version + "\n"
	}
	return text(ctx, http.StatusOK, body)
}

// wantsBare reports whether the client keeps the body as the id.
func wantsBare(req *http.Request) bool {
	agent := strings.ToLower(req.UserAgent())
	return strings.HasPrefix(agent, "crashpad/") || strings.HasPrefix(agent, "breakpad/") || strings.Contains(agent, "electron/") || req.URL.Path == "/post"
}

// refuse answers a request that ran into a limit which time may lift.
func (c *Collector) refuse(ctx echo.Context, limit string, status int, retry time.Duration) error {
	metrics.CollectorLimited.Inc(limit)
	ctx.Response().Header().Set("Retry-After", strconv.Itoa(max(1, int(retry.Seconds()))))
	return text(ctx, status, "")
}

// refuseBody answers a body that is no crash, or too large.
func (c *Collector) refuseBody(ctx echo.Context, w *wire, err error, encoding string) error {
	if m, ok := reason(err, encoding); ok {
		metrics.CollectorMalformed.Inc(string(m))
		return text(ctx, http.StatusBadRequest, "Discarded=malformed_"+string(m))
	}
	if errors.Is(err, errToken) {
		return text(ctx, http.StatusUnauthorized, "Discarded="+errToken.Error())
	}
	// The body was not read to its end, so the connection cannot be used again.
	ctx.Response().Header().Set("Connection", "close")
	w.discard()
	var limit limitError
	switch {
	case errors.As(err, &limit):
		metrics.CollectorLimited.Inc(string(limit))
		return text(ctx, http.StatusRequestEntityTooLarge, "")
	case errors.Is(err, errPartHeader):
		metrics.CollectorLimited.Inc(string(errHeader))
		return text(ctx, http.StatusRequestEntityTooLarge, "")
	case errors.Is(err, errBusy):
		return c.refuse(ctx, "requests", http.StatusServiceUnavailable, slotWait)
	case errors.Is(err, errStalled):
		metrics.CollectorLimited.Inc("stalled")
		return text(ctx, http.StatusRequestTimeout, "")
	case fault.Is(err, fault.Unavailable): // the disk that holds large files
		metrics.CollectorLost.Inc()
		c.log.Error("crash is lost", zap.Error(err))
		return c.refuse(ctx, "storage", http.StatusServiceUnavailable, storageRetry)
	}
	// The client left: whatever is answered, nobody reads it.
	metrics.CollectorMalformed.Inc(string(invalidStructure))
	return text(ctx, http.StatusBadRequest, "Discarded=malformed_"+string(invalidStructure))
}
