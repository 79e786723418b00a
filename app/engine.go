package app

import (
	"context"
	"path/filepath"

	"mayday/roles"
	"mayday/storage/search/column"
	"mayday/storage/search/load"
	"mayday/storage/search/opensearch"
)

// engine is what roles and commands need of a search index.
type engine interface {
	load.Index
	// DropWeeks removes the weeks before one such as 2026/21.
	DropWeeks(before string) (int, error)
	// Count is the number of crashes that can be searched.
	Count() int
	// Broken names weeks that lost crashes and should be rebuilt.
	Broken() []string
	// Run does what the index needs by the clock.
	Run(ctx context.Context) error
	Close() error
}

// Engine is the search index: the cluster that search.url names, or the
// embedded one, which one process owns.
func (d *deps) Engine() (engine, error) {
	return once(&d.engine, func() (engine, error) {
		fields, err := d.Fields()
		if err != nil {
			return nil, err
		}
		if o := d.cfg.Search; o.URL != "" {
			s, err := opensearch.Open(opensearch.Options{URL: o.URL, User: o.User, Password: o.Password, Prefix: o.Prefix,
				Fields: fields, Log: d.log.Named("index"), QueryTime: o.Timeout})
			if err != nil {
				return nil, err
			}
			d.onClose("index", s.Close)
			d.checks = append(d.checks, roles.Check{Name: "opensearch", Ask: s.Check})
			return s, nil
		}
		s, err := column.Open(column.Options{Dir: filepath.Join(d.cfg.DataDir, "index"), Fields: fields, Log: d.log.Named("index"),
			QueryTime: d.cfg.Search.Timeout, QueryBytes: int64(d.cfg.Search.Memory)})
		if err != nil {
			return nil, err
		}
		d.onClose("index", s.Close)
		return s, nil
	})
}
