// Package webserver is the web role: pages, JSON APIs and the symbol server
// behind one set of routes, with the indexer and the jobs running beside them.
package webserver

import (
	"context"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"
)

// Mounter adds routes.
type Mounter interface{ Mount(*echo.Echo) }

// Runner works until ctx ends.
type Runner interface{ Run(context.Context) error }

// Role is the web role.
type Role struct {
	Routes []Mounter
	Works  []Runner
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
