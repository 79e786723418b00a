package fetch

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
)

// Servers is the supplier that asks symbol servers over HTTP, in order. A
// server that does not answer is left alone for a while, longer each time, so
// that crashes do not wait for it.
type Servers struct {
	urls    []string
	client  *http.Client
	timeout time.Duration
	now     func() time.Time

	mu    sync.Mutex
	rests map[string]rest // by server; guarded by mu
}

// rest is how long a server is left alone.
type rest struct {
	until time.Time
	pause time.Duration
}

const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// connectTimeout bounds the wait for the head of an answer.
	connectTimeout = 30 * time.Second
)

// NewServers makes a supplier over the servers at urls; client nil makes one.
func NewServers(urls []string, client *http.Client) *Servers {
	if client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = connectTimeout
		client = &http.Client{Transport: t}
	}
	return &Servers{urls: urls, client: client, timeout: DefaultTimeout, now: time.Now, rests: map[string]rest{}}
}

// Fetch opens the .sym text of a module from the first server that has it;
// NotFound when all say that they have not, Unavailable when one did not answer
// and no other has it.
func (s *Servers) Fetch(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	var failed error
	for _, server := range s.urls {
		if until, resting := s.resting(server); resting {
			failed = fault.New(fault.Unavailable, "symbol server %s is left alone until %s", server, until.Format(time.TimeOnly))
			continue
		}
		r, err := s.from(ctx, server, id)
		if err == nil {
			s.answered(server)
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, fault.Wrap(ctx.Err(), "symbol server %s", server)
		}
		if fault.Is(err, fault.NotFound) {
			s.answered(server)
			continue
		}
		s.leave(server)
		failed = err
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fault.New(fault.NotFound, "no symbol server has %s %s", id.DebugFile, id.DebugID)
}

// from asks one server, for both ways in which stores write an age.
func (s *Servers) from(ctx context.Context, server string, id symbols.ModuleID) (io.ReadCloser, error) {
	err := fault.New(fault.NotFound, "symbols of %q: no debug id", id.DebugFile)
	for _, rel := range storePaths(id) {
		var r io.ReadCloser
		if r, err = s.open(ctx, server, rel); err == nil || !fault.Is(err, fault.NotFound) {
			return r, err
		}
	}
	return nil, err
}

func (s *Servers) open(ctx context.Context, server, rel string) (_ io.ReadCloser, err error) {
	address, err := join(server, rel)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "symbol server")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol server")
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return unpacked(cancelling{resp.Body, cancel}, host(address))
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		err = fault.New(fault.Unavailable, "%s answers %s", address, resp.Status)
	default:
		err = fault.New(fault.NotFound, "%s answers %s", address, resp.Status)
	}
	resp.Body.Close()
	return nil, err
}

// cancelling ends the request of a body with the body.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return strings.ToLower(u.Host)
}

func (s *Servers) resting(server string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rests[server]
	return r.until, s.now().Before(r.until)
}

func (s *Servers) answered(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rests, server)
}

func (s *Servers) leave(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rests[server]
	r.pause = min(max(2*r.pause, firstPause), maxPause)
	r.until = s.now().Add(r.pause)
	s.rests[server] = r
}
