package app

import (
	"context"

	"mayday/app/fault"
	"mayday/roles"
)

// roleRow is one role: its name, what it does, and how it is built.
type roleRow struct {
	name  string
	doc   string
	build func(context.Context, *deps) (roles.Role, error)
}

// roleTable lists the roles in the order in which they are built.
func roleTable() []roleRow {
	return []roleRow{
		{"collector", "takes crashes from clients", buildCollector},
		{"processor", "turns raw crashes into processed ones", buildProcessor},
		{"web", "serves pages and APIs, runs the indexer and the jobs", buildWeb},
	}
}

func buildRole(ctx context.Context, d *deps, name string) (roles.Role, error) {
	for _, r := range roleTable() {
		if r.name == name {
			return r.build(ctx, d)
		}
	}
	return nil, fault.New(fault.Invalid, "no role %q", name)
}
