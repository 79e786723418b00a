package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/symbols"
)

const (
	// connectTimeout bounds the making of a connection, headTimeout the wait for
	// the head of an answer, stallTimeout that for more of its body: a crash
	// waits for each of them.
	connectTimeout = 5 * time.Second
	headTimeout    = 10 * time.Second
	stallTimeout   = 20 * time.Second
	// firstPause is how long a server is left alone that failed once, or
	// pauseTimes as long as the failure took if that is longer: one that does not
	// answer may take a small part of the time of those who ask.
	firstPause = time.Second
	pauseTimes = 6
	maxPause   = 5 * time.Minute
	// missFor is how long it is remembered what a server has not, maxMisses how
	// many of those.
	missFor   = time.Hour
	maxMisses = 100_000
	// maxRedirects is how often a server may send elsewhere.
	maxRedirects = 5
	// reportEvery is how often a long download is logged.
	reportEvery = 10 * time.Second
)

// web is what all servers share: connections, and what is known of hosts.
type web struct {
	client *http.Client
	log    *zap.Logger
	now    func() time.Time
	stall  time.Duration

	listed []string // hosts with port that places name
	hosts  []string // of PlacesOptions.Private
	nets   []netip.Prefix
	mu     sync.Mutex
	rests  map[string]rest      // by host; guarded by mu
	misses map[string]time.Time // until when, by address; guarded by mu
}

// rest is how long a host is left alone.
type rest struct {
	until time.Time
	pause time.Duration
}

func newWeb(o PlacesOptions) *web {
	w := &web{log: o.Log, now: time.Now, stall: stallTimeout, rests: map[string]rest{}, misses: map[string]time.Time{}}
	for _, p := range o.Private {
		if n, err := netip.ParsePrefix(p); err == nil {
			w.nets = append(w.nets, n)
		} else if a, err := netip.ParseAddr(p); err == nil {
			w.nets = append(w.nets, netip.PrefixFrom(a, a.BitLen()))
		} else {
			w.hosts = append(w.hosts, strings.ToLower(p))
		}
	}
	if w.client = o.Client; w.client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext, t.ResponseHeaderTimeout = w.dial, headTimeout
		w.client = &http.Client{Transport: t, CheckRedirect: checkRedirect}
	}
	return w
}

// checkRedirect refuses what is no download any more. Where it leads is checked
// when the connection is made.
func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fault.New(fault.Unavailable, "%s redirects more than %d times", via[0].URL, maxRedirects)
	case r.URL.Scheme != "https" && r.URL.Scheme != via[0].URL.Scheme:
		return fault.New(fault.Unavailable, "%s redirects to %s, which is not secure", via[0].URL, r.URL)
	}
	return nil
}

// dial connects to hosts that the configuration names, and else to public
// addresses alone. It looks at the address that is dialled, after the name was
// resolved, so that no name and no redirect leads elsewhere.
func (w *web) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: connectTimeout}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(w.listed, strings.ToLower(address)) && !slices.Contains(w.hosts, strings.ToLower(host)) {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || !w.reachable(a.Addr().Unmap()) {
				return fault.New(fault.Forbidden, "%s is a private address that symbols.private_hosts does not list", address)
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// shared are addresses of providers' own networks, which are not public either.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// reachable reports whether an address that nobody named may be connected to.
func (w *web) reachable(a netip.Addr) bool {
	for _, n := range w.nets {
		if n.Contains(a) {
			return true
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !shared.Contains(a)
}

// server is one server and the path its files lie under.
type server struct {
	web  *web
	base string
	host string
}

// server makes the server at an address.
func (w *web) server(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, fault.New(fault.Invalid, "symbol server %q: not an http or https address", address)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	w.listed = append(w.listed, strings.ToLower(net.JoinHostPort(u.Hostname(), port)))
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
		w.listed = append(w.listed, strings.ToLower(proxy.Host))
	}
	return &server{web: w, base: address, host: strings.ToLower(u.Host)}, nil
}

// first opens the first of several paths that the server has.
func (s *server) first(ctx context.Context, paths []string) (io.ReadCloser, error) {
	for _, p := range paths {
		r, err := s.get(ctx, p)
		if err == nil || !fault.Is(err, fault.NotFound) {
			return r, err
		}
	}
	return nil, fault.New(fault.NotFound, "%s has none of %q", s.host, paths)
}

// get opens what lies at a path below the server's address.
func (s *server) get(ctx context.Context, rel string) (io.ReadCloser, error) {
	w := s.web
	address, err := join(s.base, rel)
	if err != nil {
		return nil, err
	}
	if err := w.known(s.host, address); err != nil {
		return nil, err
	}
	begin := w.now()
	body, cancel := context.WithCancelCause(ctx)
	resp, err := w.do(body, address)
	if err != nil {
		cancel(nil)
		if ctx.Err() == nil { // else it is who asked that gave up

			w.leave(s.host, w.now().Sub(begin))
		}
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		cancel(nil)
		resp.Body.Close()
		return nil, w.refused(s.host, address, resp)
	}
	w.answered(s.host)
	d := &download{web: w, host: s.host, address: address, body: resp.Body, cancel: cancel, begin: begin, reported: begin, total: resp.ContentLength}
	d.timer = time.AfterFunc(w.stall, d.stalled)
	return d, nil
}

// known tells from memory that a host is to be left alone, or has not what lies
// at an address.
func (w *web) known(host, address string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if r, ok := w.rests[host]; ok && now.Before(r.until) {
		return fault.New(fault.Unavailable, "symbol server %s is left alone until %s", host, r.until.Format(time.TimeOnly))
	}
	if until, ok := w.misses[address]; ok {
		if now.Before(until) {
			return fault.New(fault.NotFound, "%s was not there lately", address)
		}
		delete(w.misses, address)
	}
	return nil
}

// do sends one request.
func (w *web) do(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "symbol server")
	}
	// Some Microsoft servers answer those alone that look like their own tools.
	req.Header.Set("User-Agent", "Microsoft-Symbol-Server/10.0.0.0 mayday")
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "symbol server")
	}
	return resp, nil
}

// refused is the error for an answer that is no file.
func (w *web) refused(host, address string, resp *http.Response) error {
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout {
		w.leave(host, 0)
		return fault.New(fault.Unavailable, "%s answers %s", address, resp.Status)
	}
	w.answered(host)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.misses) >= maxMisses {
		clear(w.misses) // they are asked again, once
	}
	w.misses[address] = w.now().Add(missFor)
	return fault.New(fault.NotFound, "%s answers %s", address, resp.Status)
}

// answered ends a host's rest.
func (w *web) answered(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rests, host)
}

// leave leaves a host alone for a while that failed after a time.
func (w *web) leave(host string, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rests[host]
	r.pause = min(max(2*r.pause, firstPause, pauseTimes*after), maxPause)
	r.until = w.now().Add(r.pause)
	w.rests[host] = r
	w.log.Warn("a symbol server does not answer", zap.String("host", host), zap.Duration("left_alone", r.pause))
}

// errStalled ends a download that goes on no more.
var errStalled = errors.New("the server sends nothing more")

// download is the body of an answer. It ends when nothing comes for a while,
// and when it is larger than symbol files are.
type download struct {
	web             *web
	host, address   string
	body            io.ReadCloser
	cancel          context.CancelCauseFunc
	timer           *time.Timer
	begin, reported time.Time
	n, total        int64
	failed          bool
}

func (d *download) stalled() { d.cancel(errStalled) }

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	d.timer.Reset(d.web.stall)
	n, err := d.body.Read(p)
	d.n += int64(n)
	now := d.web.now()
	switch {
	case d.n > MaxFileSize:
		return n, fault.New(fault.TooLarge, "%s: more than %d bytes", d.address, int64(MaxFileSize))
	case err != nil && err != io.EOF:
		if !d.failed {
			d.failed = true
			d.web.leave(d.host, now.Sub(d.begin))
		}
		return n, fault.As(fault.Unavailable, err, "download %s after %d bytes", d.address, d.n)
	case err == io.EOF:
		d.web.log.Info("downloaded symbols", zap.String("from", d.address), zap.Int64("bytes", d.n), zap.Duration("took", now.Sub(d.begin)))
	case now.Sub(d.reported) >= reportEvery:
		d.reported = now
		d.web.log.Info("downloading symbols", zap.String("from", d.address), zap.Int64("bytes", d.n), zap.Int64("of", d.total))
	}
	return n, err
}

// Close implements io.Closer.
func (d *download) Close() error {
	d.timer.Stop()
	d.cancel(nil)
	return d.body.Close()
}

// tecken is a symbol server in Breakpad's layout.
type tecken struct{ *server }

func (t *tecken) text(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	r, err := t.first(ctx, storePaths(id))
	if err != nil {
		return nil, err
	}
	return unpacked(r, t.host)
}

// file finds raw files, which servers such as Mozilla's keep packed beside the
// symbols in Microsoft's layout.
func (t *tecken) file(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error) {
	m := microsoft{server: t.server, flat: true}
	return m.file(ctx, id, kind)
}
