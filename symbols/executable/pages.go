package executable

import (
	"io"
	"sync"
)

const (
	pageSize = 16 << 10
	// maxPages bounds what is kept of a file: 4 MB. A walk of a stack looks at few
	// places of it.
	maxPages = 256
	// MaxRead is the most that is read at once.
	MaxRead = 64 << 20
)

// pages reads a file in blocks and keeps some of them.
type pages struct {
	r    io.ReaderAt
	size uint64

	mu   sync.Mutex
	kept map[uint64][]byte // by number; guarded by mu
}

func newPages(r io.ReaderAt, size uint64) *pages {
	return &pages{r: r, size: size, kept: map[uint64][]byte{}}
}

// bytes reads n bytes at off, or nothing. The result may be shared.
func (p *pages) bytes(off uint64, n int) []byte {
	if n < 0 || n > MaxRead || off > p.size || uint64(n) > p.size-off {
		return nil
	}
	first, last := off/pageSize, (off+uint64(max(n, 1))-1)/pageSize
	if first == last {
		page := p.page(first)
		at := off - first*pageSize
		if at+uint64(n) > uint64(len(page)) {
			return nil
		}
		return page[at : at+uint64(n) : at+uint64(n)]
	}
	if n > maxPages*pageSize/4 {
		return p.direct(off, n)
	}
	b := make([]byte, 0, n)
	for i := first; i <= last; i++ {
		page := p.page(i)
		from := uint64(0)
		if i == first {
			from = off - first*pageSize
		}
		if from > uint64(len(page)) {
			return nil
		}
		b = append(b, page[from:min(uint64(len(page)), from+uint64(n-len(b)))]...)
	}
	if len(b) != n {
		return nil
	}
	return b
}

// direct reads without keeping anything.
func (p *pages) direct(off uint64, n int) []byte {
	b := make([]byte, n)
	if got, _ := p.r.ReadAt(b, int64(off)); got != n { // the length says what an error would
		return nil
	}
	return b
}

func (p *pages) page(i uint64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.kept[i]; ok {
		return b
	}
	b := p.direct(i*pageSize, int(min(pageSize, p.size-i*pageSize)))
	if b == nil {
		return nil // the next one may be lucky: a store far away may be back by then
	}
	if len(p.kept) >= maxPages {
		clear(p.kept)
	}
	p.kept[i] = b
	return b
}
