package storage

import (
	"context"
	"slices"

	"mayday/app/fault"
)

// Object is one object of a crash in the bucket.
type Object struct {
	Key       string
	What      string // raw_crash, processed_crash, dump_names, verdict or dump_<name>
	SizeBytes int64
}

// Objects lists what the bucket holds of a crash, in the order in which Delete
// removes it. A crash that is not there has none.
func (c *Crashes) Objects(ctx context.Context, id CrashID) ([]Object, error) {
	keys, err := c.keysOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var found []Object
	for _, o := range keys {
		ok, err := c.exists(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		a, err := c.bucket.Attributes(ctx, o.Key)
		if err != nil {
			return nil, storeError(err, "look at %s", o.Key)
		}
		o.SizeBytes = a.Size
		found = append(found, o)
	}
	return found, nil
}

// Delete removes all objects of a crash and returns what it removed; a crash
// that is not there is no error. The raw crash goes first and the list of dump
// names last, so an interrupted Delete leaves no crash that looks complete and
// finds the rest when it runs again.
func (c *Crashes) Delete(ctx context.Context, id CrashID) ([]Object, error) {
	keys, err := c.keysOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var removed []Object
	for _, o := range keys {
		ok, err := c.remove(ctx, o.Key)
		if err != nil {
			return removed, err
		}
		if ok {
			removed = append(removed, o)
		}
	}
	return removed, nil
}

// keysOf lists the keys a crash may have. The main dump is always among them,
// in case the list of names was never written.
func (c *Crashes) keysOf(ctx context.Context, id CrashID) ([]Object, error) {
	names, err := c.DumpNames(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Malformed) {
		return nil, err
	}
	if !slices.Contains(names, MinidumpName) {
		names = append(names, MinidumpName)
	}
	keys := []Object{
		{Key: rawKey(id), What: "raw_crash"},
		{Key: oldRawKey(id), What: "raw_crash"},
		{Key: processedKey(id), What: "processed_crash"},
		{Key: verdictKey(id), What: "verdict"},
	}
	for _, name := range names {
		keys = append(keys, Object{Key: dumpKey(id, name), What: "dump_" + name})
	}
	return append(keys, Object{Key: dumpNamesKey(id), What: "dump_names"}), nil
}

// DeleteDump removes one dump that SaveRaw may have written before it failed.
func (c *Crashes) DeleteDump(ctx context.Context, id CrashID, name string) error {
	if err := CheckDumpName(name); err != nil {
		return err
	}
	_, err := c.remove(ctx, dumpKey(id, name))
	return err
}
