package storage

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"gocloud.dev/gcerrors"

	"mayday/app/fault"
)

// Verdict says why a crash is not processed: each try to process it failed.
type Verdict struct {
	Reason string    `json:"reason"`
	Tries  int       `json:"tries"`
	Time   time.Time `json:"time"`
	Queue  string    `json:"queue,omitempty"`
}

// SaveVerdict records that the crash is given up.
func (c *Crashes) SaveVerdict(ctx context.Context, id CrashID, v Verdict) (err error) {
	defer fault.In(&err, "save verdict on %s", id)
	text, err := json.Marshal(v)
	if err != nil {
		return fault.As(fault.Internal, err, "encode")
	}
	return c.write(ctx, verdictKey(id), text)
}

// Verdict reads the verdict on a crash; NotFound when it has none.
func (c *Crashes) Verdict(ctx context.Context, id CrashID) (v Verdict, err error) {
	defer fault.In(&err, "verdict on %s", id)
	text, err := c.read(ctx, verdictKey(id))
	if err != nil {
		return v, err
	}
	return v, fault.As(fault.Malformed, json.Unmarshal(text, &v), "decode %d bytes", len(text))
}

// DeleteVerdict forgets the verdict on a crash, before it is tried anew. No
// verdict is no error.
func (c *Crashes) DeleteVerdict(ctx context.Context, id CrashID) error {
	_, err := c.remove(ctx, verdictKey(id))
	return err
}

// probeKey is never written; looking for it tells whether the bucket answers
// without asking for the right to list.
const probeKey = "test/probe"

// Health says whether the bucket answers.
func (c *Crashes) Health(ctx context.Context) error {
	_, err := c.bucket.Exists(ctx, probeKey)
	return storeError(err, "reach the crash bucket")
}

// Verify writes, reads and deletes an object, to find out at start whether the
// bucket can be used.
func (c *Crashes) Verify(ctx context.Context) (err error) {
	defer fault.In(&err, "try the crash bucket")
	key := "test/testfile-" + string(NewCrashID(time.Now(), Accepted)) + ".txt"
	const text = "mayday"
	if err := c.stream(ctx, key, "text/plain", strings.NewReader(text)); err != nil {
		return err
	}
	r, err := c.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return storeError(err, "read %s", key)
	}
	defer r.Close()
	if got, err := io.ReadAll(io.LimitReader(r, 64)); err != nil || string(got) != text {
		return fault.New(fault.Unavailable, "wrote %q and read %q", text, got)
	}
	// The right to delete is not needed to take crashes, so its lack is no failure.
	if err := c.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.PermissionDenied {
		return storeError(err, "delete %s", key)
	}
	return nil
}
