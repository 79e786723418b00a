package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"path"
	"time"

	"gocloud.dev/blob"
)

// ListRaw walks the ids of the raw crashes received on the day of date (UTC),
// in the order of the ids. An error ends the walk; keys that are no crash are
// passed over.
func (c *Crashes) ListRaw(ctx context.Context, date time.Time) iter.Seq2[CrashID, error] {
	return c.walk(ctx, rawCrashPrefix+date.UTC().Format("20060102")+"/")
}

// ListProcessed walks the ids of all processed crashes, in the order of the
// ids. An error ends the walk.
func (c *Crashes) ListProcessed(ctx context.Context) iter.Seq2[CrashID, error] {
	return c.walk(ctx, "v1/processed_crash/")
}

// ListVerdicts walks the ids that have a verdict.
func (c *Crashes) ListVerdicts(ctx context.Context) iter.Seq2[CrashID, error] {
	return c.walk(ctx, verdictPrefix)
}

// Days walks the days that hold raw crashes, oldest first.
func (c *Crashes) Days(ctx context.Context) iter.Seq2[time.Time, error] {
	return func(yield func(time.Time, error) bool) {
		l := c.bucket.List(&blob.ListOptions{Prefix: rawCrashPrefix, Delimiter: "/"})
		for {
			o, err := l.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(time.Time{}, storeError(err, "list days"))
				return
			}
			day, err := time.Parse("20060102", path.Base(o.Key))
			if !o.IsDir || err != nil {
				continue
			}
			if !yield(day, nil) {
				return
			}
		}
	}
}

func (c *Crashes) walk(ctx context.Context, prefix string) iter.Seq2[CrashID, error] {
	return func(yield func(CrashID, error) bool) {
		l := c.bucket.List(&blob.ListOptions{Prefix: prefix})
		for {
			o, err := l.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield("", storeError(err, "list %s", prefix))
				return
			}
			id, err := ParseCrashID(path.Base(o.Key))
			if err != nil {
				continue
			}
			if !yield(id, nil) {
				return
			}
		}
	}
}
