package rules

import (
	"context"
	"strings"
)

// MacBootArgs lifts the boot arguments of a Mac.
func MacBootArgs(_ context.Context, _ *Env, c *Crash) error {
	switch v := c.walked()["mac_boot_args"].(type) {
	case nil:
	case string:
		if v = strings.TrimSpace(v); v != "" {
			c.Processed["mac_boot_args"], c.Processed["has_mac_boot_args"] = v, true
		}
	default:
		c.Note("MacBootArgs: mac_boot_args is not a text")
	}
	return nil
}

// MacCrashInfo keeps the records that libraries of macOS left, as JSON text.
func MacCrashInfo(_ context.Context, _ *Env, c *Crash) error {
	delete(c.Processed, "mac_crash_info")
	info := at(c.walked(), "mac_crash_info")
	if n, ok := toInt64(at(info, "num_records")); !ok || n <= 0 {
		return nil
	}
	text, err := encodeJSON(info)
	if err != nil {
		return err
	}
	c.Processed["mac_crash_info"] = text
	return nil
}
