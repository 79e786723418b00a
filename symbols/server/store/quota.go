package store

import (
	"context"
	"fmt"

	"mayday/storage/catalog"
)

// Limits bound how many bytes are kept; 0 is no bound.
type Limits struct{ All, User int64 }

// Owner is whose an upload is.
type Owner struct {
	UserID  int64
	TokenID int64 // the token it came by; 0: none
}

// QuotaError says that an upload would take more room than there is.
type QuotaError struct {
	// Full: nobody may upload more. Otherwise the owner may not.
	Full bool
	Msg  string
}

// Error implements error.
func (e *QuotaError) Error() string { return e.Msg }

// Reserve sets n bytes apart for an owner, until release is called: then they
// are either recorded or not needed. Uploads at the same time do not pass a
// quota together that each alone keeps to.
func (s *Store) Reserve(ctx context.Context, who Owner, n int64) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, err := s.catalog.TokenQuota(ctx, who.TokenID)
	if err != nil {
		return nil, err
	}
	var used catalog.SymbolUsage
	if own > 0 || s.limits != (Limits{}) { // adding up takes a while on a large store
		if used, err = s.catalog.SymbolUsage(ctx, who.UserID, who.TokenID); err != nil {
			return nil, err
		}
	}
	for o, pending := range s.pending {
		used.All += pending
		if o.UserID == who.UserID {
			used.User += pending
		}
		if o.TokenID == who.TokenID {
			used.Token += pending
		}
	}
	for _, c := range []struct {
		limit, used int64
		full        bool
		what        string
	}{{s.limits.All, used.All, true, "all symbols"}, {s.limits.User, used.User, false, "your symbols"}, {own, used.Token, false, "the symbols of this token"}} {
		if c.limit > 0 && n > 0 && n > c.limit-c.used {
			return nil, &QuotaError{c.full, fmt.Sprintf("Quota exceeded: %s may take %d bytes, they take %d, and the upload needs %d more", c.what, c.limit, c.used, n)}
		}
	}
	s.pending[who] += n
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pending[who] -= n; s.pending[who] == 0 {
			delete(s.pending, who)
		}
	}, nil
}
