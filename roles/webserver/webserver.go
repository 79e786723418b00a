// Package webserver is the web role: pages, JSON APIs and the symbol server
// behind one set of routes, with the indexer and the jobs running beside them.
package webserver

import (
	"context"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"
)

// mounter adds routes.
type mounter interface{ Mount(*echo.Echo) }

// runner works until ctx ends.
type runner interface{ Run(context.Context) error }

// Role is the web role.
type Role struct {
	Routes []mounter
	Works  []runner
}

// Mount adds the routes of every part.
func (r *Role) Mount(e *echo.Echo) {
	for _, m := range r.Routes {
		m.Mount(e)
	}
}

// Run runs every part until ctx ends.
func (r *Role) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range r.Works {
		group.Go(func() error { return w.Run(ctx) })
	}
	return group.Wait()
}
