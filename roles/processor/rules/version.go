package rules

import (
	"context"
	"slices"
	"strings"
)

// FenixVersionRewrite replaces versions that the tables name.
func FenixVersionRewrite(_ context.Context, env *Env, c *Crash) error {
	product, _ := c.Processed["product"].(string)
	version, _ := c.Processed["version"].(string)
	for _, r := range env.Tables.VersionRewrites {
		if r.Product == product && strings.HasPrefix(version, r.Prefix) {
			c.Processed["version"] = r.Version
			c.Note("Changed version from '%s' to %s", clip(version), r.Version)
			return nil
		}
	}
	return nil
}

// ESRVersionRewrite adds the suffix that the tables name for the channel.
func ESRVersionRewrite(_ context.Context, env *Env, c *Crash) error {
	channel, _ := c.Processed["release_channel"].(string)
	suffix, ok := env.Tables.ChannelSuffixes[channel]
	if !ok {
		return nil
	}
	version, has := c.Processed["version"].(string)
	if !has {
		c.Note("'version' missing from %s release processed_crash", channel)
		return nil
	}
	c.Processed["version"] = version + suffix
	return nil
}

// MajorVersion is the number before the first dot of the version.
func MajorVersion(_ context.Context, _ *Env, c *Crash) error {
	text, _ := c.annotation("Version")
	first, _, _ := strings.Cut(text, ".")
	n, fits, _ := parseInt(first)
	if !fits {
		n = 0
	}
	c.Processed["major_version"] = n
	return nil
}

// BetaVersion looks up the real version of betas that report the final one.
// Where builds of the product are listed and this one is not, the version
// gets "b0"; where none are listed at all nothing can be said and it stays.
func BetaVersion(ctx context.Context, env *Env, c *Crash) error {
	product, _ := c.Processed["product"].(string)
	channel, _ := c.Processed["release_channel"].(string)
	channel = strings.ToLower(channel)
	i := slices.IndexFunc(env.Tables.BetaProducts, func(b BetaProduct) bool { return b.Product == product })
	if i < 0 || !slices.Contains(env.Tables.BetaProducts[i].Channels, channel) || env.Versions == nil {
		return nil
	}
	version, has := c.Processed["version"].(string)
	if !has {
		return nil
	}
	buildID, _ := c.Processed["build"].(string)
	if r := env.Tables.BetaProducts[i].Renamed; r.To != "" && r.Channel == channel && buildID > r.After {
		product = r.To
	}
	found, ok, known, err := env.Versions.Version(ctx, product, channel, buildID)
	switch {
	case err != nil:
		return err
	case ok:
		c.Processed["version"] = found
	case known:
		c.Processed["version"] = version + "b0"
		c.Note(`release channel is %s but no version data was found - added "b0" suffix to version number`, channel)
	}
	return nil
}
