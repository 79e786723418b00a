package spool

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// refusedAddress is an address that this machine does not connect to for
// others.
type refusedAddress struct{ address string }

func (e *refusedAddress) Error() string {
	return fmt.Sprintf("Not an allowed address (%s) to download from.", e.address)
}

// OutsideClient connects to public addresses alone. It looks at the address
// that is dialled, after the name was resolved, so no name can lead it
// elsewhere.
func OutsideClient() *http.Client {
	d := &net.Dialer{Timeout: 5 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !public(a.Addr()) {
			return &refusedAddress{address}
		}
		return nil
	}}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DialContext, t.ResponseHeaderTimeout = nil, d.DialContext, time.Minute
	return &http.Client{Transport: t}
}

// special are the networks of the IANA registries of special addresses that
// netip knows no word for: nobody's, shared ones of carriers, tests, and those
// that carry an IPv4 address within.
func special() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range [...]string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10"} {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// public reports whether an address is one of the internet's.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(special(), func(p netip.Prefix) bool { return p.Contains(a) })
}
