// Package roles says what a role of the program is: a part that can run alone
// in a process or beside the others. Which roles there are and how each is
// built stands in app/roles.go.
package roles

import (
	"context"

	"github.com/labstack/echo/v4"
)

// Role is one part of the program.
type Role interface {
	// Mount adds the role's routes.
	Mount(*echo.Echo)
	// Run does the role's work until ctx ends, then finishes or gives back
	// what is under way and returns nil. A role without work of its own
	// returns when ctx ends.
	Run(ctx context.Context) error
}

// Check asks one dependency of a role whether it answers; /__heartbeat__
// shows what fails.
type Check struct {
	Name string
	Ask  func(context.Context) error
}
