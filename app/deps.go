package app

import (
	"go.uber.org/zap"

	"mayday/app/config"
	"mayday/roles"
)

// deps opens what roles and commands share, each thing on its first use, and
// closes it in reverse. A process opens exactly what its roles ask for.
type deps struct {
	cfg     *config.Config
	log     *zap.Logger
	checks  []roles.Check
	closers []closer
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
