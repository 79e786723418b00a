package processor

import (
	"context"
	"slices"
	"strings"

	"mayday/storage"
)

// Builds finds versions in a list of builds. It does not change.
type Builds struct {
	products map[string]bool
	byBuild  map[storage.Build][]string // Version is empty in the key
}

// NewBuilds makes a Builds of rows, whose order it keeps.
func NewBuilds(rows []storage.Build) *Builds {
	b := &Builds{products: map[string]bool{}, byBuild: map[storage.Build][]string{}}
	for _, r := range rows {
		key := storage.Build{Product: r.Product, Channel: strings.ToLower(r.Channel), BuildID: r.BuildID}
		b.products[r.Product] = true
		b.byBuild[key] = append(b.byBuild[key], r.Version)
	}
	return b
}

// Version is the version of a build; known is false when no build of the
// product is listed. A beta may be listed with its release candidates: where
// the first row is a beta the candidates do not count, else they alone do.
func (b *Builds) Version(_ context.Context, product, channel, buildID string) (version string, found, known bool, err error) {
	channel = strings.ToLower(channel)
	list := b.byBuild[storage.Build{Product: product, Channel: channel, BuildID: buildID}]
	if len(list) > 0 && (channel == "beta" || channel == "aurora") {
		beta := strings.Contains(list[0], "b")
		list = slices.DeleteFunc(slices.Clone(list), func(v string) bool { return strings.Contains(v, "rc") == beta })
	}
	if len(list) == 0 {
		return "", false, b.products[product], nil
	}
	return list[0], true, true, nil
}
