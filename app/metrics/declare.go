// Package metrics declares every metric of the program once (metrics.go) and
// sends what is emitted to two outlets: /metrics in the Prometheus text form,
// and, when a server is set, statsd by UDP. A metric named collector.malformed
// is mayday_collector_malformed_total in Prometheus and, with the default
// prefix, mayday.collector.malformed in statsd (labels as dogstatsd tags).
//
// Label values are bounded: a label either lists its values, and any other
// counts as "other" (and panics under go test, where it is a bug), or names
// the most different values it may take in the life of the process.
package metrics

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Unit is what a histogram measures; it picks the buckets.
type Unit uint8

// The units of histograms.
const (
	Seconds Unit = iota
	Size         // bytes
)

var buckets = map[Unit][]float64{
	Seconds: {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
	Size:    {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20},
}

// Label is a dimension of a metric with the values it may take.
type Label struct {
	Name   string
	Values []string // nil: any, up to Most
	Most   int
}

func oneOf(name string, values ...string) Label { return Label{Name: name, Values: values} }

// atMost is a label whose values come from configuration or data.
func atMost(n int, name string) Label { return Label{Name: name, Most: n} }

// Row is one declared metric.
type Row struct {
	Name   string // area.thing_unit
	Type   string // counter, gauge or histogram
	Help   string
	Labels []Label

	mu   sync.Mutex // guards seen
	seen []map[string]bool
}

// Prometheus is the metric's name in the Prometheus text form.
func (r *Row) Prometheus() string {
	name := "mayday_" + strings.ReplaceAll(r.Name, ".", "_")
	if r.Type == "counter" {
		name += "_total"
	}
	return name
}

// each visits every combination of label values that is known beforehand, so
// that a metric shows on /metrics before its first event. A label that takes
// its values from elsewhere begins with "other".
func (r *Row) each(visit func(values []string)) {
	combinations := [][]string{nil}
	for _, l := range r.Labels {
		values := l.Values
		if values == nil {
			values = []string{"other"}
		}
		var next [][]string
		for _, c := range combinations {
			for _, v := range values {
				next = append(next, append(slices.Clone(c), v))
			}
		}
		combinations = next
	}
	for _, c := range combinations {
		visit(c)
	}
}

// values bounds what label values reach the outlets.
func (r *Row) values(given []string) []string {
	if len(given) != len(r.Labels) {
		panic(fmt.Sprintf("metric %s: %d label values for %d labels", r.Name, len(given), len(r.Labels)))
	}
	for i, l := range r.Labels {
		if r.allowed(i, l, given[i]) {
			continue
		}
		if l.Values != nil && testing.Testing() {
			panic(fmt.Sprintf("metric %s: value %q of label %s is not declared", r.Name, given[i], l.Name))
		}
		given = slices.Clone(given)
		given[i] = "other"
	}
	return given
}

func (r *Row) allowed(i int, l Label, v string) bool {
	if l.Values != nil {
		return slices.Contains(l.Values, v)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = make([]map[string]bool, len(r.Labels))
	}
	if r.seen[i] == nil {
		r.seen[i] = map[string]bool{}
	}
	if !r.seen[i][v] && len(r.seen[i]) < l.Most {
		r.seen[i][v] = true
	}
	return r.seen[i][v]
}

var (
	registry = prometheus.NewRegistry()
	rows     []*Row
)

func declare(kind, name, help string, labels []Label) (*Row, []string) {
	r := &Row{Name: name, Type: kind, Help: help, Labels: labels}
	rows = append(rows, r)
	var names []string
	for _, l := range labels {
		names = append(names, l.Name)
	}
	return r, names
}

// Rows lists every declared metric by name.
func Rows() []*Row {
	out := slices.Clone(rows)
	slices.SortFunc(out, func(a, b *Row) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Counter counts events.
type Counter struct {
	row *Row
	vec *prometheus.CounterVec
}

func counter(name, help string, labels ...Label) *Counter {
	r, names := declare("counter", name, help, labels)
	c := &Counter{r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: r.Prometheus(), Help: help}, names)}
	registry.MustRegister(c.vec)
	r.each(func(values []string) { c.vec.WithLabelValues(values...) })
	return c
}

// Inc counts one event; values are those of the labels, in order.
func (c *Counter) Inc(values ...string) { c.Add(1, values...) }

// Add counts n events.
func (c *Counter) Add(n float64, values ...string) {
	values = c.row.values(values)
	c.vec.WithLabelValues(values...).Add(n)
	send(c.row, n, "c", values)
}

// Gauge holds a value that goes up and down.
type Gauge struct {
	row *Row
	vec *prometheus.GaugeVec
}

func gauge(name, help string, labels ...Label) *Gauge {
	r, names := declare("gauge", name, help, labels)
	g := &Gauge{r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: r.Prometheus(), Help: help}, names)}
	registry.MustRegister(g.vec)
	r.each(func(values []string) { g.vec.WithLabelValues(values...) })
	return g
}

// Set makes v the value.
func (g *Gauge) Set(v float64, values ...string) {
	values = g.row.values(values)
	g.vec.WithLabelValues(values...).Set(v)
	send(g.row, v, "g", values)
}

// Histogram gathers durations in seconds or sizes in bytes.
type Histogram struct {
	row  *Row
	unit Unit
	vec  *prometheus.HistogramVec
}

func histogram(name, help string, unit Unit, labels ...Label) *Histogram {
	r, names := declare("histogram", name, help, labels)
	h := &Histogram{r, unit, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: r.Prometheus(), Help: help, Buckets: buckets[unit]}, names)}
	registry.MustRegister(h.vec)
	r.each(func(values []string) { h.vec.WithLabelValues(values...) })
	return h
}

// Observe adds one measurement, in the histogram's unit.
func (h *Histogram) Observe(v float64, values ...string) {
	values = h.row.values(values)
	h.vec.WithLabelValues(values...).Observe(v)
	if h.unit == Seconds {
		send(h.row, v*1000, "ms", values)
		return
	}
	send(h.row, v, "h", values)
}
