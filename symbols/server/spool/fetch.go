package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
)

const (
	maxRedirects = 5
	fetchTimeout = time.Hour
)

// StatusError is an error that is answered with a status of its own.
type StatusError struct {
	Status int
	Msg    string
}

// Error implements error.
func (e *StatusError) Error() string { return e.Msg }

// Fetcher gets archives from addresses that clients name.
type Fetcher struct {
	Spool   *Spool
	Domains []string // hosts that may be asked, by https
	Any     bool     // every public host may be asked, by http too
	// Client does the requests; nil makes one that connects to no address of
	// this machine and of private networks.
	Client *http.Client
	Log    *zap.Logger
}

// Allowed checks an address that a client wants something fetched from.
func (f *Fetcher) Allowed(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fault.New(fault.Invalid, "Insecure URL")
	}
	if f.Any {
		if u.Scheme != "https" && u.Scheme != "http" {
			return nil, fault.New(fault.Invalid, "Insecure URL")
		}
		return u, nil
	}
	if u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "Insecure URL")
	}
	host := strings.ToLower(u.Hostname())
	if u.User != nil || !slices.Contains(f.Domains, host) {
		return nil, fault.New(fault.Invalid, "Not an allowed domain ('%s') to download from.", host)
	}
	return u, nil
}

// Fetch gets the file at an address. Every redirect is checked like the
// address itself.
func (f *Fetcher) Fetch(ctx context.Context, address string) (_ *Incoming, err error) {
	u, err := f.Allowed(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	in := &Incoming{Fields: url.Values{}, Source: address, Filename: BaseName(u.Path), Redirects: []string{}}
	for n := 0; ; n++ {
		if n > maxRedirects {
			return nil, fault.New(fault.Invalid, "Too many redirects trying to open %s", address)
		}
		next, err := f.head(ctx, u)
		if err != nil {
			return nil, err
		}
		if next == nil {
			break
		}
		u = next
		in.Redirects = append(in.Redirects, u.String())
		if strings.HasSuffix(strings.ToLower(u.Path), ".zip") {
			in.Filename = BaseName(u.Path)
		}
	}
	resp, err := f.ask(ctx, http.MethodGet, u.String())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Invalid, "non-200 status code when retrieving %s", u)
	}
	stalled := time.AfterFunc(StallTimeout, cancel)
	defer stalled.Stop()
	if err := f.Spool.receive(in, &watched{resp.Body, stalled}); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// head asks for a file's head and gives the address it redirects to, nil when
// the file is there.
func (f *Fetcher) head(ctx context.Context, u *url.URL) (next *url.URL, err error) {
	resp, err := f.ask(ctx, http.MethodHead, u.String())
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	switch {
	case resp.StatusCode < 300:
		return nil, nil
	case resp.StatusCode >= 500:
		return nil, &StatusError{http.StatusInternalServerError, fmt.Sprintf("%s errored (%d)", u, resp.StatusCode)}
	case resp.StatusCode >= 400:
		return nil, fault.New(fault.Invalid, "%s can't be found (%d)", u, resp.StatusCode)
	}
	to, err := resp.Location()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s redirects to nowhere", u)
	}
	return f.Allowed(to.String())
}

// watched puts off a timer whenever bytes come.
type watched struct {
	r     io.Reader
	timer *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.timer.Reset(StallTimeout)
	}
	return n, err
}

// ask does one request without following redirects.
func (f *Fetcher) ask(ctx context.Context, method, address string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "url")
	}
	c := *f.Client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	if err != nil {
		f.Log.Info("upload by URL", zap.String("url", address), zap.Error(err))
		var refused *refusedAddress
		if errors.As(err, &refused) {
			return nil, fault.New(fault.Invalid, "%s", refused.Error())
		}
		return nil, &StatusError{http.StatusInternalServerError, "ConnectionError trying to open " + address}
	}
	return resp, nil
}
