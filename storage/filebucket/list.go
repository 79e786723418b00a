package filebucket

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/blob/driver"
)

// pageSize is the number of objects in a page when the caller names none: a
// folder is read once a page, so pages should hold a whole day of crashes.
const pageSize = 50_000

// maxDepth bounds the folders in each other that a listing descends into; keys
// are at most maxPath bytes long, so no object is deeper.
const maxDepth = maxPath / 2

// listing is one call of ListPaged.
type listing struct {
	ctx   context.Context
	b     *bucket
	opts  *driver.ListOptions
	after string // the last key of the page before
	limit int
	page  driver.ListPage
	dir   string // the pseudo folder added last
}

// errFull ends the walk when the page is full.
var errFull = errors.New("page is full")

// entry is a name in a folder with the part of the key it stands for.
type entry struct {
	fs.DirEntry
	part string // with "/" at the end for folders, so that entries sort as keys do
}

// ListPaged lists objects in the order of their keys.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	l := &listing{ctx: ctx, b: b, opts: opts, after: string(opts.PageToken), limit: opts.PageSize}
	if l.limit <= 0 {
		l.limit = pageSize
	}
	// Start in the deepest folder that holds all of the prefix.
	folder, key := b.root, ""
	if i := strings.LastIndexByte(opts.Prefix, '/'); i >= 0 {
		key = opts.Prefix[:i+1]
		path, err := b.path(opts.Prefix[:i])
		if i == 0 {
			path, err = filepath.Join(b.root, escape("")), nil
		}
		if err != nil {
			return &l.page, nil // no object can have that prefix
		}
		folder = path
	}
	err := l.walk(folder, key, 0)
	switch {
	case errors.Is(err, errFull):
		l.page.NextPageToken = []byte(l.page.Objects[len(l.page.Objects)-1].Key)
		return &l.page, nil
	case err != nil:
		return nil, err
	}
	return &l.page, nil
}

// entries reads a folder and sorts it as keys sort.
func (b *bucket) entries(folder string) ([]entry, error) {
	b.counters.FolderReads.Add(1)
	f, err := os.Open(folder)
	if err != nil {
		if err = b.explain(err); errors.Is(err, errGone) {
			return nil, err
		}
		if b.ErrorCode(err) == b.ErrorCode(fs.ErrNotExist) {
			return nil, nil // removed meanwhile, or a file
		}
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && b.ErrorCode(err) != b.ErrorCode(fs.ErrNotExist) {
		return nil, err
	}
	out := make([]entry, 0, len(found))
	for _, d := range found {
		switch {
		case d.IsDir():
			out = append(out, entry{d, unescape(d.Name()) + "/"})
		case d.Type().IsRegular() && !isTemporary(d.Name()):
			out = append(out, entry{d, unescape(d.Name())})
		}
	}
	slices.SortFunc(out, func(x, y entry) int { return cmp.Compare(x.part, y.part) })
	return out, nil
}

// walk adds what lies in folder, whose objects' keys begin with base.
func (l *listing) walk(folder, base string, depth int) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return nil
	}
	found, err := l.b.entries(folder)
	if err != nil {
		return err
	}
	for _, e := range found {
		key := base + e.part
		if e.IsDir() {
			err = l.folder(filepath.Join(folder, e.Name()), key, depth)
		} else {
			err = l.object(e, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder adds what lies in a folder: as one pseudo folder when the delimiter
// says so, otherwise object by object.
func (l *listing) folder(path, key string, depth int) error {
	prefix := l.opts.Prefix
	if !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
		return nil
	}
	// All its keys begin with key, so they come before the page or were
	// collapsed into a pseudo folder that did.
	if key < l.after && !strings.HasPrefix(l.after, key) {
		return nil
	}
	name, collapses := l.collapse(key)
	if !collapses {
		return l.walk(path, key, depth+1)
	}
	if name == l.dir || name <= l.after {
		return nil
	}
	if holds, err := l.holds(path); !holds || err != nil {
		return err
	}
	return l.addFolder(name)
}

// collapse is the pseudo folder that key belongs to.
func (l *listing) collapse(key string) (string, bool) {
	if l.opts.Delimiter == "" || !strings.HasPrefix(key, l.opts.Prefix) {
		return "", false
	}
	rest := key[len(l.opts.Prefix):]
	i := strings.Index(rest, l.opts.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(l.opts.Prefix)+i+len(l.opts.Delimiter)], true
}

func (l *listing) addFolder(name string) error {
	if len(l.page.Objects) == l.limit {
		return errFull
	}
	l.dir = name
	l.page.Objects = append(l.page.Objects, &driver.ListObject{Key: name, IsDir: true})
	return nil
}

func (l *listing) object(e entry, key string) error {
	if !strings.HasPrefix(key, l.opts.Prefix) || key <= l.after {
		return nil
	}
	if name, collapses := l.collapse(key); collapses {
		if name == l.dir || name <= l.after {
			return nil
		}
		return l.addFolder(name)
	}
	if len(l.page.Objects) == l.limit {
		return errFull
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	l.page.Objects = append(l.page.Objects, &driver.ListObject{Key: key, ModTime: info.ModTime(), Size: info.Size()})
	return nil
}

// holds reports whether any object lies below a folder.
func (l *listing) holds(folder string) (bool, error) {
	todo := []string{folder}
	for len(todo) > 0 {
		if err := l.ctx.Err(); err != nil {
			return false, err
		}
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		found, err := l.b.entries(dir)
		if err != nil {
			return false, err
		}
		for _, e := range found {
			if !e.IsDir() {
				return true, nil
			}
			todo = append(todo, filepath.Join(dir, e.Name()))
		}
	}
	return false, nil
}
