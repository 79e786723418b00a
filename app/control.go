package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
)

// The control socket is how commands reach a server that runs on the same data
// directory: plain HTTP on a Unix socket that only its owner may open. A
// command whose work needs the stores of the web role asks there first, and
// opens the stores itself only when nobody answers.

// controlSocket is the socket of a data directory.
func controlSocket(dataDir string) string { return filepath.Join(dataDir, "control.sock") }

// control serves the control socket.
type control struct {
	echo *echo.Echo
	path string
	log  *zap.Logger
}

// newControl makes the control server; roles add routes to its echo.
func newControl(dataDir string, log *zap.Logger) *control {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if !c.Response().Committed {
			// The command prints it; there is nobody else to tell.
			_ = c.String(fault.Of(err).Status(), err.Error())
		}
	}
	e.GET("/ping", func(c echo.Context) error { return c.String(http.StatusOK, "mayday") })
	return &control{echo: e, path: controlSocket(dataDir), log: log}
}

// run serves until ctx ends. Without a socket (a path longer than the system
// allows) the server runs all the same, commands then say that it is in the way.
func (k *control) run(ctx context.Context) error {
	if _, running := dialControl(filepath.Dir(k.path)); !running {
		_ = os.Remove(k.path) // left by a server that was killed
	}
	l, err := net.Listen("unix", k.path)
	if err != nil {
		k.log.Warn("no control socket; commands cannot reach this server", zap.Error(err))
		<-ctx.Done()
		return nil
	}
	if err := os.Chmod(k.path, 0o600); err != nil {
		l.Close()
		return fault.As(fault.Unavailable, err, "control socket")
	}
	h := &http.Server{Handler: k.echo, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fault.As(fault.Unavailable, err, "control socket")
	}
	return nil
}

// controlClient asks a running server.
type controlClient struct{ http *http.Client }

// dialControl finds the server that runs on a data directory.
func dialControl(dataDir string) (*controlClient, bool) {
	path := controlSocket(dataDir)
	c := &controlClient{&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.post(ctx, http.MethodGet, "/ping", nil, io.Discard); err != nil {
		return nil, false
	}
	return c, true
}

// post sends body to path and copies the answer to out. An answer that is no
// success becomes an error with its text.
func (c *controlClient) post(ctx context.Context, method, path string, body io.Reader, out io.Writer) error {
	rq, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return fault.Wrap(err, "control request")
	}
	rs, err := c.http.Do(rq)
	if err != nil {
		return fault.As(fault.Unavailable, err, "ask the running server")
	}
	defer rs.Body.Close()
	if rs.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(rs.Body, 4096)) // the status matters more than its text
		return fault.New(kindOfStatus(rs.StatusCode), "%s", strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(out, rs.Body)
	return fault.As(fault.Unavailable, err, "read the running server's answer")
}

// kindOfStatus is the error kind that the server answered with.
func kindOfStatus(status int) fault.Kind {
	for _, p := range fault.Policies() {
		if p.Status == status {
			return p.Kind
		}
	}
	return fault.Internal
}
