package signature

import (
	"hash/maphash"
	"strings"
	"sync"
)

// frameCache remembers what became of function names: the normalised text and
// what the lists say of it. The same few thousand functions stand on most
// stacks of a product, so it saves most of the work.
//
// It is bounded by entries, split into shards so that processors do not wait
// for each other, and forgets by halves: when the young half of a shard is
// full it becomes the old one and the former old one is dropped; what is still
// in use moves over as it is found.
type frameCache struct {
	seed   maphash.Seed
	half   int // entries of half a shard
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 64
	// maxCachedName keeps long names out: they are rare, and without a bound
	// on their size a bound on their number would not bound the memory.
	maxCachedName = 1024
	// DefaultCacheSize in frames suits one product; it takes some 10 MB with
	// names of usual length, 130 MB if all were as long as is allowed.
	DefaultCacheSize = 1 << 16
)

type cacheShard struct {
	mu sync.RWMutex
	// mu guards the two halves.
	young, old map[uint64]cached
}

// cached is an entry. The maps go by hash, so that a name is hashed once; of
// two names with one hash the later wins.
type cached struct {
	key   cacheKey
	frame named
}

type cacheKey struct {
	name string
	kind nameKind
}

// nameKind is the set of rules a name is treated by.
type nameKind uint8

const (
	rustName nameKind = 1 << iota
	improvedName
)

// WithCache returns the same lists with a cache of n frames (0 or less: none).
// All users of the result share the cache, which is safe for concurrent use
// and goes with the lists: new lists begin with an empty one.
func (l *Lists) WithCache(n int) *Lists {
	out := *l
	out.cache = nil
	if n > 0 {
		out.cache = &frameCache{seed: maphash.MakeSeed(), half: max(n/(2*cacheShards), 1)}
	}
	return &out
}

// hash is that of a name treated as its kind says.
func (c *frameCache) hash(k cacheKey) uint64 {
	return maphash.String(c.seed, k.name) + uint64(k.kind)<<48
}

func (c *frameCache) get(h uint64, k cacheKey) (named, bool) {
	s := &c.shards[h%cacheShards]
	s.mu.RLock()
	e, young := s.young[h]
	ok := young && e.key == k
	if !ok {
		e = s.old[h]
		ok, young = e.key == k, false
	}
	s.mu.RUnlock()
	if ok && !young {
		s.put(h, e, c.half)
	}
	return e.frame, ok
}

func (c *frameCache) put(h uint64, k cacheKey, f named) {
	if len(k.name) > maxCachedName {
		return
	}
	// The name may be a part of a whole crash, which must not be kept alive.
	same := f.text == k.name
	k.name = strings.Clone(k.name)
	if same {
		f.text = k.name
	} else {
		f.text = strings.Clone(f.text)
	}
	c.shards[h%cacheShards].put(h, cached{k, f}, c.half)
}

func (s *cacheShard) put(h uint64, e cached, half int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= half {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[uint64]cached, min(half, 64))
	}
	s.young[h] = e
}
