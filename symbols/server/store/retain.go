package store

import (
	"context"
	"time"

	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/storage/catalog"
)

// Days say how long uploads are kept; 0 is for good.
type Days struct{ Try, Regular int }

// Retain deletes the objects and records of uploads older than they may get.
// What was uploaded again since is as young as that, and what a pin protects
// stays.
func (s *Store) Retain(ctx context.Context, keep Days) error {
	now := s.now()
	for _, rule := range []struct {
		try  bool
		days int
	}{{true, keep.Try}, {false, keep.Regular}} {
		if rule.days <= 0 {
			continue
		}
		before := now.AddDate(0, 0, -rule.days)
		if err := s.dropObjects(ctx, rule.try, catalog.Stamp(before)); err != nil {
			return err
		}
		if err := s.catalog.DropSymbolUploads(ctx, rule.try, before); err != nil {
			return err
		}
	}
	return nil
}

// old are the conditions of a file whose key may go.
func old(try bool, before string) []catalog.Condition {
	return []catalog.Condition{
		{SQL: "f.try = ? AND f.created < ?", Args: []any{try, before}},
		{SQL: "NOT EXISTS (SELECT 1 FROM symbol_files n WHERE n.key = f.key AND n.try = f.try AND n.created >= ?)", Args: []any{before}},
		{SQL: catalog.Unpinned},
	}
}

// dropObjects deletes the objects whose newest record is older than a time.
func (s *Store) dropObjects(ctx context.Context, try bool, before string) error {
	const batch = 500
	last := int64(0)
	for {
		files, err := s.catalog.SymbolFiles(ctx, catalog.Page{OrderBy: "id", Limit: batch,
			Where: append(old(try, before), catalog.Condition{SQL: "f.id > ?", Args: []any{last}})})
		if err != nil {
			return err
		}
		for _, f := range files {
			last = f.ID
			if err := s.dropOld(ctx, f, before); err != nil {
				return err
			}
		}
		if len(files) < batch {
			return nil
		}
	}
}

// dropOld deletes the object and the records of a file, unless somebody
// uploaded or pinned it since it was found to be old.
func (s *Store) dropOld(ctx context.Context, f catalog.SymbolFile, before string) error {
	defer s.Lock(f.Key, f.Try)()
	still, _, err := s.catalog.CountSymbolFiles(ctx, append(old(f.Try, before), catalog.Condition{SQL: "f.id = ?", Args: []any{f.ID}}))
	if err != nil || still == 0 {
		return err
	}
	if err := s.drop(ctx, f); err != nil {
		return err
	}
	return s.catalog.DropSymbolKey(ctx, f.Key, f.Try)
}

// drop deletes the object of a file and what points to it.
func (s *Store) drop(ctx context.Context, f catalog.SymbolFile) error {
	for _, object := range append(pointers(f), Object(f.Key, f.Try)) {
		err := s.bucket.Delete(ctx, object)
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fault.As(fault.Unavailable, err, "drop %s", f.Key)
		}
	}
	s.changed(ctx, Module(f))
	return nil
}

// Recover takes back what an earlier life of the server, before a time, left
// half done: files that it was about to keep when it ended.
func (s *Store) Recover(ctx context.Context, before time.Time) error {
	files, err := s.catalog.InterruptedSymbolFiles(ctx, before)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := s.recover(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) recover(ctx context.Context, f catalog.SymbolFile) error {
	defer s.Lock(f.Key, f.Try)()
	_, err := s.catalog.SymbolFileByKey(ctx, f.Key, f.Try)
	switch {
	case fault.Is(err, fault.NotFound):
		err = s.drop(ctx, f) // nobody was told that it is there
	case err == nil: // the object is the old one or the new one, both whole
		err = s.catalog.DoubtSymbolFile(ctx, f.Key, f.Try)
		s.changed(ctx, Module(f))
	}
	if err != nil {
		return err
	}
	return s.catalog.DropSymbolFile(ctx, f.ID)
}
