// Package auth finds out who asks: by an API token (header Auth-Token), by the
// cookie of a session that a one-use sign-in link began, or nobody. It keeps no
// passwords. Everything that shows or changes data asks the Viewer found here
// for its permissions.
package auth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/search/plan"
)

// Viewer is who asks. The zero value is an anonymous visitor.
type Viewer struct {
	Email       string // "" is nobody
	UserID      int64
	Permissions catalog.Permissions
	Token       bool // known by an API token, not by a session
}

// Has reports whether the viewer has permission p.
func (v Viewer) Has(p catalog.Permission) bool { return v.Permissions.Has(p) }

// Search is the viewer in the words of the query language.
func (v Viewer) Search() plan.Viewer {
	var out plan.Viewer
	for _, row := range catalog.AllPermissions() {
		if v.Has(row.Name) {
			out.Permissions = append(out.Permissions, string(row.Name))
		}
	}
	return out
}

// Known reports whether the viewer is somebody.
func (v Viewer) Known() bool { return v.Email != "" }

// users is what auth needs of the catalog.
type users interface {
	Token(ctx context.Context, key string) (catalog.Token, error)
	User(ctx context.Context, email string) (catalog.User, error)
	UseLink(ctx context.Context, key string) (catalog.User, error)
}

// Auth recognises viewers.
type Auth struct {
	users    users
	sessions *scs.SessionManager
	origins  *http.CrossOriginProtection
}

// sessionLife ends a session however busy it is; idleLife ends an unused one.
const (
	sessionLife = 30 * 24 * time.Hour
	idleLife    = 7 * 24 * time.Hour
	emailKey    = "email"
)

// Options says how viewers are recognised.
type Options struct {
	Users    users
	Sessions scs.Store
	Secure   bool // the instance is reached by https alone
}

// New makes an Auth.
func New(o Options) *Auth {
	s := scs.New()
	s.Store, s.Lifetime, s.IdleTimeout = o.Sessions, sessionLife, idleLife
	s.Cookie.Name, s.Cookie.HttpOnly, s.Cookie.SameSite, s.Cookie.Secure = "mayday_session", true, http.SameSiteLaxMode, o.Secure
	return &Auth{users: o.Users, sessions: s, origins: http.NewCrossOriginProtection()}
}

type viewerKey struct{}

// From is the viewer of a request that went through Recognise.
func From(c echo.Context) Viewer {
	v, _ := c.Request().Context().Value(viewerKey{}).(Viewer)
	return v
}

// tokenHeader carries an API token. What follows a dash after the 32 digits is
// a description that some clients keep with it.
const tokenHeader = "Auth-Token"

// Recognise finds the viewer of each request. A wrong token is refused, also
// where none is needed: its owner should know. A request that changes
// something on behalf of a session must come from our own pages.
func (a *Auth) Recognise(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		v, err := a.viewer(r)
		if err != nil {
			return err
		}
		if !v.Token {
			if err := a.origins.Check(r); err != nil {
				return fault.As(fault.Forbidden, err, "request from another site")
			}
		}
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), viewerKey{}, v)))
		return next(c)
	}
}

func (a *Auth) viewer(r *http.Request) (Viewer, error) {
	if key := strings.TrimSpace(r.Header.Get(tokenHeader)); key != "" {
		key, _, _ = strings.Cut(key, "-")
		t, err := a.users.Token(r.Context(), key)
		if err != nil {
			return Viewer{}, err
		}
		return Viewer{Email: t.User.Email, UserID: t.User.ID, Permissions: t.Permissions, Token: true}, nil
	}
	cookie, err := r.Cookie(a.sessions.Cookie.Name)
	if err != nil {
		return Viewer{}, nil // no cookie: nobody
	}
	ctx, err := a.sessions.Load(r.Context(), cookie.Value)
	if err != nil {
		return Viewer{}, fault.Wrap(err, "load session")
	}
	email := a.sessions.GetString(ctx, emailKey)
	if email == "" {
		return Viewer{}, nil
	}
	u, err := a.users.User(r.Context(), email)
	if fault.Is(err, fault.NotFound) || err == nil && !u.Active {
		return Viewer{}, nil // removed while signed in
	}
	if err != nil {
		return Viewer{}, err
	}
	return Viewer{Email: u.Email, UserID: u.ID, Permissions: u.Permissions}, nil
}

// SignIn ends the one-use link with secret key and begins a session of its
// user.
func (a *Auth) SignIn(c echo.Context, key string) error {
	u, err := a.users.UseLink(c.Request().Context(), key)
	if err != nil {
		return err
	}
	ctx, err := a.sessions.Load(c.Request().Context(), "")
	if err != nil {
		return fault.Wrap(err, "begin session")
	}
	a.sessions.Put(ctx, emailKey, u.Email)
	token, expiry, err := a.sessions.Commit(ctx)
	if err != nil {
		return fault.Wrap(err, "begin session")
	}
	a.sessions.WriteSessionCookie(ctx, c.Response(), token, expiry)
	return nil
}

// SignOut ends the session of the request.
func (a *Auth) SignOut(c echo.Context) error {
	cookie, err := c.Request().Cookie(a.sessions.Cookie.Name)
	if err != nil {
		return nil // there is none
	}
	ctx, err := a.sessions.Load(c.Request().Context(), cookie.Value)
	if err != nil {
		return fault.Wrap(err, "load session")
	}
	if err := a.sessions.Destroy(ctx); err != nil {
		return fault.Wrap(err, "end session")
	}
	a.sessions.WriteSessionCookie(ctx, c.Response(), "", time.Time{})
	return nil
}
