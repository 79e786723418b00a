package storage

import (
	"context"
	"encoding/json"
	"time"

	"mayday/app/fault"
)

// What web publishes in the bucket for processors, which see no catalog.
const (
	// BuildsSnapshot holds a list of Build.
	BuildsSnapshot = "product_versions"
	// AwaitedSnapshot holds a list of AwaitedModule.
	AwaitedSnapshot = "awaited_modules"
)

// Build is a build of a product and the version people call it by.
type Build struct {
	Product string `json:"product_name"`
	Channel string `json:"release_channel"`
	BuildID string `json:"build_id"`
	Version string `json:"version_string"`
}

// AwaitedModule is a module whose symbols came lately, after crashes may have
// been processed without them.
type AwaitedModule struct {
	DebugFile string    `json:"debug_file"`
	DebugID   string    `json:"debug_id"`
	Arrived   time.Time `json:"arrived"`
}

// SaveSnapshot publishes a small table under a name, in the place of the
// earlier one; value is encoded as JSON.
func (c *Crashes) SaveSnapshot(ctx context.Context, name string, value any) (err error) {
	defer fault.In(&err, "save snapshot %s", name)
	key, err := snapshotKey(name)
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fault.As(fault.Internal, err, "encode")
	}
	return c.write(ctx, key, text)
}

// Snapshot reads a table into value and returns when it was published.
func (c *Crashes) Snapshot(ctx context.Context, name string, value any) (published time.Time, err error) {
	defer fault.In(&err, "snapshot %s", name)
	key, err := snapshotKey(name)
	if err != nil {
		return published, err
	}
	text, err := c.read(ctx, key)
	if err != nil {
		return published, err
	}
	a, err := c.bucket.Attributes(ctx, key)
	if err != nil {
		return published, storeError(err, "look at %s", key)
	}
	return a.ModTime, fault.As(fault.Malformed, json.Unmarshal(text, value), "decode %d bytes", len(text))
}
