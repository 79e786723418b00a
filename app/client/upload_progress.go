package client

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mayday/app/command"
)

const (
	// drawEvery is how often the bar is drawn.
	drawEvery = 200 * time.Millisecond
	barWidth  = 30
)

// progress draws a bar on a terminal, and is silent elsewhere. Files count by
// their size before they are packed.
type progress struct {
	out      io.Writer
	terminal bool
	begin    time.Time

	mu    sync.Mutex // guards what follows
	files int
	total int64
	done  int64
	ended int
	drawn time.Time
}

func newProgress(out io.Writer, quiet bool) *progress {
	return &progress{out: out, begin: time.Now(), terminal: !quiet && command.Terminal(out)}
}

// expect adds files to what is to be done.
func (p *progress) expect(files int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files += files
	p.total += bytes
}

// add counts bytes, and files that ended; one that fails gives back its bytes.
func (p *progress) add(bytes int64, ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += bytes
	p.ended += ended
	if now := time.Now(); p.terminal && now.Sub(p.drawn) >= drawEvery {
		p.drawn = now
		fmt.Fprintf(p.out, "\r%s\x1b[K", p.line(now.Sub(p.begin)))
	}
}

// line is the bar after a time; p.mu is held.
func (p *progress) line(took time.Duration) string {
	part := 1.0
	if p.total > 0 {
		part = min(max(float64(p.done)/float64(p.total), 0), 1)
	}
	full := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %d of %d files  %.1f of %.1f MB  %.1f MB/s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		100*part, p.ended, p.files, float64(p.done)/1e6, float64(p.total)/1e6, float64(p.done)/1e6/max(took.Seconds(), 0.001))
}

// say prints a line above the bar.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = time.Time{}
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// wait draws a line in place of the bar.
func (p *progress) wait(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprintf(p.out, "\r"+format+"\x1b[K", args...)
	}
}

// end removes the bar.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// of counts what is read from r, a part of size bytes that stand for whole.
func (p *progress) of(r io.Reader, size, whole int64) *counted {
	return &counted{r: r, p: p, scale: float64(whole) / float64(max(size, 1))}
}

// counted is a reader whose bytes count.
type counted struct {
	r     io.Reader
	p     *progress
	scale float64
	sum   int64
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	scaled := int64(float64(n) * c.scale)
	c.sum += scaled
	c.p.add(scaled, 0)
	return n, err
}
