package catalog

import (
	"context"
	"database/sql"
	"strings"
)

// ProductVersion is a build of a product and the version people call it by.
type ProductVersion struct {
	Product, Channel, BuildID, Version string
}

// VersionsOf finds the versions of a build. A beta build may be listed with its
// release candidates: where the first one is a beta the candidates do not
// count, else they alone do.
func (c *DB) VersionsOf(ctx context.Context, product, channel, buildID string) (out []string, err error) {
	channel = strings.ToLower(channel)
	rows, err := c.sql.QueryContext(ctx, `SELECT version_string FROM product_versions WHERE product = ? AND channel = ? AND build_id = ? ORDER BY version_string`, product, channel, buildID)
	if err != nil {
		return nil, outcome(err, "read versions")
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, outcome(err, "read version")
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil || channel != "beta" && channel != "aurora" || len(out) == 0 {
		return out, outcome(err, "read versions")
	}
	candidates := !strings.Contains(out[0], "b")
	kept := out[:0]
	for _, v := range out {
		if strings.Contains(v, "rc") == candidates {
			kept = append(kept, v)
		}
	}
	return kept, nil
}

// SaveVersion adds a build.
func (c *DB) SaveVersion(ctx context.Context, v ProductVersion) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO product_versions (product, channel, build_id, version_string) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		v.Product, strings.ToLower(v.Channel), v.BuildID, v.Version)
	return outcome(err, "save version")
}

// Versions lists all builds.
func (c *DB) Versions(ctx context.Context) (out []ProductVersion, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT product, channel, build_id, version_string FROM product_versions ORDER BY product, channel, build_id, version_string`)
	if err != nil {
		return nil, outcome(err, "list versions")
	}
	defer rows.Close()
	for rows.Next() {
		var v ProductVersion
		if err := rows.Scan(&v.Product, &v.Channel, &v.BuildID, &v.Version); err != nil {
			return nil, outcome(err, "read version")
		}
		out = append(out, v)
	}
	return out, outcome(rows.Err(), "list versions")
}

// SaveVersions adds builds, all of them or none.
func (c *DB) SaveVersions(ctx context.Context, list []ProductVersion) (added int64, err error) {
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		for _, v := range list {
			r, err := tx.ExecContext(ctx, `INSERT INTO product_versions (product, channel, build_id, version_string) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				v.Product, strings.ToLower(v.Channel), v.BuildID, v.Version)
			if err != nil {
				return outcome(err, "save version")
			}
			n, err := r.RowsAffected()
			if err != nil {
				return outcome(err, "save version")
			}
			added += n
		}
		return nil
	})
	return added, err
}
