package app

import (
	"context"
	"path/filepath"

	"mayday/app/fault"
	"mayday/roles"
	"mayday/roles/collector"
	"mayday/storage"
	"mayday/storage/filebucket"
)

// buildCollector assembles the collector on the crash bucket and the queues.
func buildCollector(ctx context.Context, d *deps) (roles.Role, error) {
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return nil, err
	}
	queues, err := d.Queues(ctx)
	if err != nil {
		return nil, err
	}
	spool := d.cfg.Collector.Spool
	switch spool {
	case "":
		spool = filepath.Join(d.cfg.DataDir, "spool")
	case "off":
		spool = ""
	}
	var products []string
	for _, p := range d.cfg.Products.List {
		products = append(products, p.Name)
	}
	o := collector.Options{
		Config: d.cfg.Collector, Strict: d.cfg.Products.Strict, Products: products, SpoolDir: spool,
		Crashes: crashes, Queue: queues, Log: d.log.Named("collector"),
	}
	if d.cfg.Storage.Fsync {
		if o.Folder, err = d.folder(d.cfg.Storage.Crashes, "crashes"); err != nil {
			return nil, err
		}
	}
	if o.Folder != "" {
		b, err := filebucket.Open(o.Folder, filebucket.Options{})
		if err != nil {
			return nil, fault.As(fault.Unavailable, err, "open the crash bucket without syncing")
		}
		o.Unsynced = storage.NewCrashes(b, storage.Options{})
	}
	c, err := collector.New(o)
	if err != nil {
		return nil, err
	}
	d.onClose("collector", c.Close)
	d.checks = append(d.checks, roles.Check{Name: "collector", Ask: c.Health})
	return c, nil
}
