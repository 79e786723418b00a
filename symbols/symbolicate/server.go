package symbolicate

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
)

const (
	// maxBody bounds a request: a profile of 100,000 frames takes 2 MiB.
	maxBody = 32 << 20
	// flushEvery is how many stacks of a version 6 stream are sent at once.
	flushEvery = 64
)

// Server puts an Engine behind HTTP.
type Server struct {
	engine  *Engine
	log     *zap.Logger
	buffers sync.Pool // of answers, as *[]byte
}

// maxBuffer is the largest buffer that is kept for the next answer.
const maxBuffer = 4 << 20

// answer sends what write appends to a buffer.
func (s *Server) answer(c echo.Context, write func([]byte) []byte) error {
	b, ok := s.buffers.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = write((*b)[:0])
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(*b)))
	err := c.Blob(http.StatusOK, echo.MIMEApplicationJSON, *b)
	if cap(*b) <= maxBuffer {
		s.buffers.Put(b)
	}
	return err
}

// NewServer makes a server.
func NewServer(e *Engine, log *zap.Logger) *Server { return &Server{engine: e, log: log} }

// Mount adds the endpoints to a group at the root of the server.
func (s *Server) Mount(g *echo.Group) {
	for path, serve := range map[string]echo.HandlerFunc{"v4": s.v4, "v5": s.v5, "v6": s.v6} {
		g.POST("/symbolicate/"+path, s.guard(path, serve))
		g.OPTIONS("/symbolicate/"+path, preflight)
	}
}

// preflight lets pages of other sites, such as the Firefox Profiler, ask.
func preflight(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "accept, accept-encoding, content-encoding, content-type, debug, user-agent")
	h.Set("Access-Control-Max-Age", "86400")
	return c.NoContent(http.StatusNoContent)
}

// guard answers errors the way clients of this API read them.
func (s *Server) guard(version string, serve echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Access-Control-Allow-Origin", "*")
		err := serve(c)
		switch {
		case err == nil:
			metrics.SymbolicateRequests.Inc(version, "ok")
			return nil
		case c.Response().Committed:
			metrics.SymbolicateRequests.Inc(version, "failed")
			return err
		}
		kind := fault.Of(err)
		title := err.Error()
		if kind.Status() >= http.StatusInternalServerError {
			metrics.SymbolicateRequests.Inc(version, "failed")
			s.log.Error("symbolicate", zap.Error(err))
			title = http.StatusText(kind.Status())
		} else {
			metrics.SymbolicateRequests.Inc(version, "refused")
		}
		return c.JSON(kind.Status(), map[string]string{"title": title})
	}
}

// body reads the request, which may be gzipped.
func body(c echo.Context) ([]byte, error) {
	r := c.Request()
	var in io.Reader = http.MaxBytesReader(c.Response(), r.Body, maxBody)
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fault.New(fault.Invalid, "Payload is not valid gzip")
		}
		in = z
	}
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(in, maxBody+1))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge) || n > maxBody:
		return nil, fault.New(fault.TooLarge, "Payload is larger than %d bytes", maxBody)
	case err != nil:
		return nil, fault.New(fault.Invalid, "Payload cannot be read: %v", err)
	}
	return b.Bytes(), nil
}

func (s *Server) v4(c echo.Context) error {
	b, err := body(c)
	if err != nil {
		return err
	}
	v, err := decodeJSON(b)
	if err != nil {
		return err
	}
	job, err := parseJob(v, 0)
	if err != nil {
		return err
	}
	jobs := []Job{job}
	session, err := s.engine.start(c.Request().Context(), jobs)
	if err != nil {
		return err
	}
	defer session.close()
	return s.answer(c, func(b []byte) []byte { return session.appendV4(b, &jobs[0]) })
}

func (s *Server) v5(c echo.Context) error {
	begin := time.Now()
	b, err := body(c)
	if err != nil {
		return err
	}
	jobs, err := decodeJobs(b, MaxJobs)
	if err != nil {
		return err
	}
	session, err := s.engine.start(c.Request().Context(), jobs)
	if err != nil {
		return err
	}
	defer session.close()
	var debug *debugInfo
	if c.Request().Header.Get("Debug") != "" {
		debug = &debugInfo{begin: begin, session: session, jobs: jobs}
	}
	return s.answer(c, func(b []byte) []byte { return session.appendV5(b, jobs, debug) })
}

// v6 takes what version 5 takes and an object "options"; it may be gzipped and
// hold more jobs. Where the client accepts application/x-ndjson, each stack is
// a line of its own, sent as soon as it is done, and after the stacks of a job
// comes a line with its modules.
func (s *Server) v6(c echo.Context) error {
	b, err := body(c)
	if err != nil {
		return err
	}
	jobs, options, err := decodeV6(b, maxJobsV6)
	if err != nil {
		return err
	}
	session, err := s.engine.start(c.Request().Context(), jobs)
	if err != nil {
		return err
	}
	defer session.close()
	if strings.Contains(c.Request().Header.Get("Accept"), "application/x-ndjson") {
		return session.stream(c, jobs, options)
	}
	return s.answer(c, func(b []byte) []byte { return session.appendV6(b, jobs, options) })
}

// parseOptions reads the object "options" of version 6.
func parseOptions(payload any) (Options, error) {
	var o Options
	root, _ := payload.(map[string]any)
	given, ok := root["options"]
	if !ok {
		return o, nil
	}
	m, ok := given.(map[string]any)
	if !ok {
		return o, fault.New(fault.Invalid, "options must be an object")
	}
	for name, v := range m {
		on, ok := v.(bool)
		if !ok || name != "adjust_return_addresses" {
			return o, fault.New(fault.Invalid, "options: %q is not an option with a boolean value; there is adjust_return_addresses", name)
		}
		o.Adjust = on
	}
	return o, nil
}

// stream writes one JSON object a line.
func (s *session) stream(c echo.Context, jobs []Job, o Options) error {
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	var b []byte
	for i := range jobs {
		s.use(&jobs[i])
		for k, stack := range jobs[i].Stacks {
			b = append(b, `{"job":`...)
			b = appendInt(b, i)
			b = append(b, `,"stack":`...)
			b = appendInt(b, k)
			b = append(b, `,"frames":`...)
			b = s.appendStack(b, stack, o)
			b = append(b, "}\n"...)
			if (k+1)%flushEvery == 0 {
				if _, err := w.Write(b); err != nil {
					return err
				}
				w.Flush()
				b = b[:0]
				s.sent()
			}
		}
		b = append(b, `{"job":`...)
		b = appendInt(b, i)
		b = append(b, `,"modules":`...)
		b = s.appendModules(b, &jobs[i])
		b = append(b, "}\n"...)
	}
	_, err := w.Write(b)
	return err
}

// appendModules writes, for each module of a job, whether it has symbols and
// why not.
func (s *session) appendModules(b []byte, j *Job) []byte {
	type state struct {
		File   string `json:"debug_file"`
		ID     string `json:"debug_id"`
		Found  *bool  `json:"found"`
		Name   string `json:"name,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	list := make([]state, len(j.Modules))
	for i, m := range j.Modules {
		list[i] = state{File: m.File, ID: m.ID, Found: s.state(m)}
		if o := s.modules[m]; o != nil {
			list[i].Name, list[i].Reason = o.name, o.reason
		}
	}
	out, err := json.Marshal(list)
	if err != nil { // no value here can fail
		return append(b, "null"...)
	}
	return append(b, out...)
}
