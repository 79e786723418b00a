package collector

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// maxAddresses bounds the addresses that are remembered. When there are more,
// those with nothing to hold against them are forgotten, then all.
const maxAddresses = 100_000

// rateLimit lets each address send so many crashes a minute: a bucket of one
// minute's worth that fills evenly.
type rateLimit struct {
	perMinute float64

	mu    sync.Mutex
	spent map[netip.Addr]*spending // guarded by mu
}

type spending struct {
	left float64
	at   time.Time
}

func newRateLimit(perMinute int) *rateLimit {
	return &rateLimit{perMinute: float64(perMinute), spent: map[netip.Addr]*spending{}}
}

// pause is how long until one more crash is let in.
func (r *rateLimit) pause() time.Duration {
	return max(time.Second, time.Duration(float64(time.Minute)/r.perMinute))
}

func (r *rateLimit) allow(addr netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.spent[addr]
	if s == nil {
		if len(r.spent) >= maxAddresses {
			r.forget(now)
		}
		s = &spending{left: r.perMinute, at: now}
		r.spent[addr] = s
	}
	s.left = min(r.perMinute, s.left+now.Sub(s.at).Minutes()*r.perMinute)
	s.at = now
	if s.left < 1 {
		return false
	}
	s.left--
	return true
}

func (r *rateLimit) forget(now time.Time) {
	for a, s := range r.spent {
		if s.left+now.Sub(s.at).Minutes()*r.perMinute >= r.perMinute {
			delete(r.spent, a)
		}
	}
	if len(r.spent) >= maxAddresses {
		clear(r.spent)
	}
}

// clientAddress is the address that a limit counts for: one network of IPv6,
// since a single client has all of its addresses.
func clientAddress(ctx echo.Context) netip.Addr {
	text := ctx.Request().RemoteAddr
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	if f := ctx.Echo().IPExtractor; f != nil { // without one echo believes any header
		text = f(ctx.Request())
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	if a = a.Unmap(); a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a
}
