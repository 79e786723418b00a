package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"go.uber.org/zap"
	"gocloud.dev/blob"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/roles"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/filebucket"
	"mayday/storage/queue"
	"mayday/storage/schema"
	"mayday/storage/search/plan"
	"mayday/symbols/cache"
	"mayday/symbols/fetch"
)

// deps opens what roles and commands share, each thing on its first use, and
// closes it in reverse. A process opens exactly what its roles ask for.
type deps struct {
	cfg     *config.Config
	log     *zap.Logger
	checks  []roles.Check
	control *control // nil in a command
	closers []closer

	catalog *catalog.DB
	buckets map[string]*blob.Bucket
	folders []string // of local buckets
	crashes *storage.Crashes
	queues  *queue.Queues
	schema  *schema.Table
	fields  *plan.Fields
	engine  engine
	symbols *cache.Store
	places  *fetch.Places
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
	l, err := command.LoadConfig(c)
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
	return &deps{cfg: l.Config, log: quietly(log)}, nil
}

// withCatalog runs f on the catalog that the command's configuration names.
func withCatalog(c *cli.Context, f func(*catalog.DB) error) error {
	d, err := commandDeps(c)
	if err != nil {
		return err
	}
	defer d.close()
	db, err := d.Catalog(c.Context)
	if err != nil {
		return err
	}
	return f(db)
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

// bucket opens a bucket by its URL; "" is the folder name below the data
// directory. Roles that name the same bucket share it.
func (d *deps) bucket(ctx context.Context, url, name string) (_ *blob.Bucket, err error) {
	if b := d.buckets[name]; b != nil {
		return b, nil
	}
	defer fault.In(&err, "bucket %s", name)
	o := filebucket.Options{Fsync: d.cfg.Storage.Fsync}
	var b *blob.Bucket
	dir, err := d.folder(url, name)
	if err != nil {
		return nil, err
	}
	if dir != "" {
		b, err = filebucket.Open(dir, o)
		d.folders = append(d.folders, dir)
	} else {
		b, err = blob.OpenBucket(ctx, url)
	}
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "open")
	}
	if d.buckets == nil {
		d.buckets = map[string]*blob.Bucket{}
	}
	d.buckets[name] = b
	d.onClose("bucket "+name, b.Close)
	return b, nil
}

// folder is where a local bucket lies; "" for one elsewhere.
func (d *deps) folder(url, name string) (string, error) {
	switch {
	case url == "":
		return filepath.Join(d.cfg.DataDir, name), nil
	case strings.HasPrefix(url, filebucket.Scheme+":"):
		return filebucket.Folder(url)
	}
	return "", nil
}

// uploads bounds the objects written at once: the writers of cloud buckets
// hold a part of each in memory.
const uploads = 16

// Crashes is the store of raw and processed crashes.
func (d *deps) Crashes(ctx context.Context) (*storage.Crashes, error) {
	return once(&d.crashes, func() (*storage.Crashes, error) {
		b, err := d.bucket(ctx, d.cfg.Storage.Crashes, "crashes")
		if err != nil {
			return nil, err
		}
		c := storage.NewCrashes(b, storage.Options{Uploads: uploads})
		d.checks = append(d.checks, roles.Check{Name: "crashes", Ask: c.Health})
		return c, nil
	})
}

// SymbolsBucket holds uploaded symbols.
func (d *deps) SymbolsBucket(ctx context.Context) (*blob.Bucket, error) {
	return d.bucket(ctx, d.cfg.Storage.Symbols, "symbols")
}

// Queues connect the roles.
func (d *deps) Queues(ctx context.Context) (*queue.Queues, error) {
	return once(&d.queues, func() (*queue.Queues, error) {
		url := d.cfg.Queue.URL
		if url == "" {
			url = "sqlite://" + filepath.Join(d.cfg.DataDir, "queue.db")
		}
		q, err := queue.Open(ctx, url, queue.Options{Lease: d.cfg.Queue.Lease, Fsync: d.cfg.Storage.Fsync, Drivers: queueDrivers()})
		if err != nil {
			return nil, err
		}
		d.onClose("queues", func() error { return q.Close(context.WithoutCancel(ctx)) })
		d.checks = append(d.checks, roles.Check{Name: "queues", Ask: q.Check})
		return q, nil
	})
}

// Schema is the field table with the rows that the configuration adds.
func (d *deps) Schema() (*schema.Table, error) {
	return once(&d.schema, func() (*schema.Table, error) {
		var overlays [][]byte
		for _, file := range d.cfg.Schema.Extra {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fault.As(fault.Invalid, err, "schema.extra")
			}
			overlays = append(overlays, text)
		}
		return schema.Load(overlays...)
	})
}

// Fields are the search fields of the field table.
func (d *deps) Fields() (*plan.Fields, error) {
	return once(&d.fields, func() (*plan.Fields, error) {
		t, err := d.Schema()
		if err != nil {
			return nil, err
		}
		return searchFields(t, d.cfg.Search.BetaVersions)
	})
}
