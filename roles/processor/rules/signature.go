package rules

import (
	"context"
	"strings"

	"mayday/signature"
)

// SignatureGenerator makes the signature of the crash.
func SignatureGenerator(_ context.Context, env *Env, c *Crash) error {
	r := signature.Generate(signature.FromProcessed(c.Processed), env.Lists)
	c.Processed["signature"] = r.Signature
	if r.ProtoSignature != "" {
		c.Processed["proto_signature"] = r.ProtoSignature
	} else {
		delete(c.Processed, "proto_signature") // of an earlier round
	}
	c.Processed["signature_debug"] = strings.Join(r.DebugLog(), "\n")
	c.Processed["signature_lists_version"] = r.ListsVersion
	if r.Upstream != "" && r.Upstream != r.Signature {
		c.Processed["signature_upstream"] = r.Upstream
	}
	for _, n := range r.Notes {
		c.Note("%s", n)
	}
	return nil
}

// ShutDownHangCrashingThread makes the main thread the crashing one when the
// program hung while shutting down: the watchdog that crashed is not to blame.
func ShutDownHangCrashingThread(_ context.Context, _ *Env, c *Crash) error {
	if s, _ := c.Processed["signature"].(string); strings.HasPrefix(s, "shutdownhang") {
		c.Processed["crashing_thread"] = int64(0)
	}
	return nil
}
