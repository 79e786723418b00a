package app

import (
	"context"
	"path/filepath"

	"mayday/roles"
	"mayday/roles/collector"
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
	c, err := collector.New(collector.Options{
		Config: d.cfg.Collector, Strict: d.cfg.Products.Strict, Products: products, SpoolDir: spool,
		Crashes: crashes, Queue: queues, Log: d.log.Named("collector"),
	})
	if err != nil {
		return nil, err
	}
	d.onClose("collector", c.Close)
	d.checks = append(d.checks, roles.Check{Name: "collector", Ask: c.Health})
	return c, nil
}
