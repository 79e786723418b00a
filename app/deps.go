package app

import (
	"context"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/roles"
	"mayday/storage/catalog"
)

// deps opens what roles and commands share, each thing on its first use, and
// closes it in reverse. A process opens exactly what its roles ask for.
type deps struct {
	cfg     *config.Config
	log     *zap.Logger
	checks  []roles.Check
	closers []closer

	catalog *catalog.DB
}

type closer struct {
	name  string
	close func() error
}

// onClose has f called by close, after everything that was opened later.
func (d *deps) onClose(name string, f func() error) {
	d.closers = append(d.closers, closer{name, f})
}

func (d *deps) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		if err := d.closers[i].close(); err != nil {
			d.log.Warn("close", zap.String("dependency", d.closers[i].name), zap.Error(err))
		}
	}
	d.closers = nil
}

// commandDeps are the dependencies of a command that has configFlags.
func commandDeps(c *cli.Context) (*deps, error) {
	l, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.DataDir, 0o700); err != nil {
		return nil, fault.As(fault.Unavailable, err, "data_dir")
	}
	log, err := newLog(l.Log, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	return &deps{cfg: l.Config, log: log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))}, nil
}

// once opens a dependency on the first call and gives the same one after; a
// failed open is tried again by the next call.
func once[T comparable](held *T, open func() (T, error)) (T, error) {
	var zero T
	if *held != zero {
		return *held, nil
	}
	v, err := open()
	if err == nil {
		*held = v
	}
	return v, err
}

// Catalog is the database of users, tokens and first appearances.
func (d *deps) Catalog(ctx context.Context) (*catalog.DB, error) {
	return once(&d.catalog, func() (*catalog.DB, error) {
		db, err := catalog.Open(ctx, filepath.Join(d.cfg.DataDir, "catalog.db"))
		if err != nil {
			return nil, err
		}
		d.onClose("catalog", db.Close)
		d.checks = append(d.checks, roles.Check{Name: "catalog", Ask: db.Check})
		return db, nil
	})
}
