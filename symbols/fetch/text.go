package fetch

import (
	"context"
	"io"

	"mayday/symbols"
)

// Fetch gets the text of a module's symbols from the paths, the downloads kept,
// or the servers. It is what a symbols/cache.Store asks.
func (s *Source) Fetch(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	return s.open(ctx, id)
}
