package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles"
	"mayday/roles/collector"
)

// server is the one HTTP server that all roles of the process share.
type server struct {
	echo     *echo.Echo
	log      *zap.Logger
	cfg      config.HTTP
	checks   []roles.Check
	draining atomic.Bool
}

func newServer(cfg config.HTTP, log *zap.Logger) *server {
	s := &server{echo: echo.New(), log: log, cfg: cfg}
	e := s.echo
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	// Whoever connects is the client: a header that names another could be anybody's.
	e.IPExtractor = echo.ExtractIPDirect()
	e.Pre(s.observe)
	e.Use(s.recovered)
	e.GET("/__lbheartbeat__", func(c echo.Context) error { return c.JSONBlob(http.StatusOK, nil) })
	e.GET("/__heartbeat__", s.heartbeat)
	e.GET("/__version__", func(c echo.Context) error { return c.JSON(http.StatusOK, command.Version()) })
	e.GET("/__broken__", func(echo.Context) error { return fault.New(fault.Internal, "broken on purpose") })
	e.GET("/metrics", echo.WrapHandler(metrics.Handler()))
	return s
}

// checkTimeout bounds the answer of one dependency to a heartbeat.
const checkTimeout = 5 * time.Second

// heartbeat asks every dependency. The answer serves the monitors of both
// services it replaces: "ok" as the web application, "errors" as the collector.
func (s *server) heartbeat(c echo.Context) error {
	type failure struct {
		Name string `json:"name"`
		Msg  string `json:"msg"`
	}
	failures := []failure{}
	if s.draining.Load() {
		failures = append(failures, failure{"server", "stopping"})
	}
	dependencies := map[string]string{}
	for _, check := range s.checks {
		ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
		err := check.Ask(ctx)
		cancel()
		dependencies[check.Name] = "ok"
		if err != nil {
			dependencies[check.Name] = fault.Of(err).String()
			failures = append(failures, failure{check.Name, err.Error()})
			s.log.Warn("dependency does not answer", zap.String("dependency", check.Name), zap.Error(err))
		}
	}
	status := http.StatusOK
	if len(failures) > 0 {
		status = http.StatusServiceUnavailable
	}
	return c.JSON(status, map[string]any{"ok": len(failures) == 0, "errors": failures, "dependencies": dependencies})
}

// observe counts each request and writes its log line.
func (s *server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		took := time.Since(start)
		status := c.Response().Status
		metrics.HTTPRequests.Inc(strconv.Itoa(min(max(status/100, 2), 5)) + "xx")
		metrics.HTTPSeconds.Observe(took.Seconds())
		if l := s.log.Check(zap.DebugLevel, "request"); l != nil {
			l.Write(zap.String("method", c.Request().Method), zap.String("path", c.Request().URL.Path),
				zap.Int("status", status), zap.Int64("bytes", c.Response().Size), zap.Duration("took", took))
		}
		return nil
	}
}

// recovered turns a panic of a handler into an Internal error.
func (s *server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("panic", zap.Any("panic", p), zap.String("path", c.Request().URL.Path), zap.Stack("stack"))
				err = fault.New(fault.Internal, "panic in a handler")
			}
		}()
		return next(c)
	}
}

// fail answers errors that no handler answered, by the table of package fault.
func (s *server) fail(err error, c echo.Context) {
	status, message := 0, ""
	var he *echo.HTTPError
	if errors.As(err, &he) {
		status = he.Code
		message, _ = he.Message.(string)
	} else {
		p := fault.Of(err).Policy()
		status, message = p.Status, err.Error()
		if p.Level == fault.Error {
			s.log.Error("request failed", zap.String("path", c.Request().URL.Path), zap.String("kind", p.Name), zap.Error(err))
			message = ""
		}
	}
	if c.Response().Committed {
		return
	}
	body := map[string]string{"title": strconv.Itoa(status) + " " + http.StatusText(status)}
	if message != "" && message != http.StatusText(status) {
		body["error"] = message
	}
	c.Response().Header().Add("Vary", "Accept")
	text, _ := json.Marshal(body) // a map of strings always marshals
	if c.Request().Method == http.MethodHead {
		_ = c.NoContent(status)
		return
	}
	// The client may be gone; there is nobody else to tell.
	_ = c.JSONBlob(status, text)
}

// run serves on l until ctx ends, then drains.
func (s *server) run(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(quietly(s.log.Named("http"))),
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(collector.Listener(netutil.LimitListener(l, s.cfg.MaxConnections))) }()
	select {
	case err := <-done:
		return fault.As(fault.Unavailable, err, "serve")
	case <-ctx.Done():
	}
	s.draining.Store(true)
	// ctx has ended; draining gets its own time.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancel()
	if err := h.Shutdown(drain); err != nil {
		s.log.Warn("requests were cut off", zap.Error(err))
		_ = h.Close() // only what Shutdown left open
	}
	<-done
	return nil
}
