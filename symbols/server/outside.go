package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"mayday/app/fault"
)

// allowed checks an address that a client wants something fetched from.
func (s *Server) allowed(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fault.New(fault.Invalid, "Insecure URL")
	}
	if s.o.Config.AnyDomain {
		if u.Scheme != "https" && u.Scheme != "http" {
			return nil, fault.New(fault.Invalid, "Insecure URL")
		}
		return u, nil
	}
	if u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "Insecure URL")
	}
	host := strings.ToLower(u.Hostname())
	if u.User != nil || !slices.Contains(s.o.Config.Domains, host) {
		return nil, fault.New(fault.Invalid, "Not an allowed domain ('%s') to download from.", host)
	}
	return u, nil
}

// refusedAddress is an address that this machine does not connect to for
// others.
type refusedAddress struct{ address string }

func (e *refusedAddress) Error() string {
	return fmt.Sprintf("Not an allowed address (%s) to download from.", e.address)
}

// outsideClient connects to public addresses alone. It looks at the address
// that is dialled, so no name can lead it elsewhere.
func outsideClient() *http.Client {
	d := &net.Dialer{Timeout: 5 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !public(a.Addr().Unmap()) {
			return &refusedAddress{address}
		}
		return nil
	}}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DialContext, t.ResponseHeaderTimeout = nil, d.DialContext, time.Minute
	return &http.Client{Transport: t}
}

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}
