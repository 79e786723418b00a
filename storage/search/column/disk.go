package column

import (
	"os"
	"path/filepath"
)

// disk does the file operations of the write path. A test's hook is asked
// before each and may fail it, as a full or broken disk does.
type disk struct {
	hook   func(op, path string) error
	noSync bool // a test that only cares for the order of operations
}

func (d *disk) ask(op, path string) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(op, path)
}

// write creates a file with data and syncs it. What was written before a
// failure is left for the next Open to sweep.
func (d *disk) write(path string, data []byte) (err error) {
	if err := d.ask("create", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := d.ask("write", path); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := d.ask("sync", path); err != nil {
		return err
	}
	if d.noSync {
		return nil
	}
	return f.Sync()
}

// syncDir makes the entries of a folder durable.
func (d *disk) syncDir(path string) error {
	if err := d.ask("syncdir", path); err != nil {
		return err
	}
	if d.noSync {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// mkdir makes a folder and its parents below root, each synced.
func (d *disk) mkdir(root, rel string) error {
	path := root
	for _, part := range splitPath(rel) {
		parent := path
		path = filepath.Join(path, part)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := d.ask("mkdir", path); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
			return err
		}
		if err := d.syncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

func splitPath(rel string) []string {
	var out []string
	for rel != "" && rel != "." {
		dir, base := filepath.Split(filepath.Clean(rel))
		out = append([]string{base}, out...)
		rel = filepath.Clean(dir)
		if dir == "" {
			break
		}
	}
	return out
}

func (d *disk) rename(from, to string) error {
	if err := d.ask("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// remove unlinks a file or folder that no manifest names; failing is harmless,
// the next Open tries again.
func (d *disk) remove(path string) {
	if d.ask("remove", path) == nil {
		_ = os.RemoveAll(path)
	}
}
