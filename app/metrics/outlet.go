package metrics

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// statsd is where metrics go besides /metrics; nil when none is set.
type statsd struct {
	conn   net.Conn
	prefix string
}

var outlet atomic.Pointer[statsd]

// SendTo sends every metric to the statsd server at addr too, its name
// preceded by prefix. UDP: a server that is away loses metrics, nothing waits.
// The function returned ends it.
func SendTo(addr, prefix string) (stop func(), err error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("statsd at %s: %w", addr, err)
	}
	s := &statsd{conn, prefix}
	outlet.Store(s)
	return func() {
		outlet.CompareAndSwap(s, nil)
		conn.Close()
	}, nil
}

func send(r *Row, v float64, kind string, values []string) {
	s := outlet.Load()
	if s == nil {
		return
	}
	b := make([]byte, 0, 128)
	b = append(b, s.prefix...)
	b = append(b, r.Name...)
	b = append(b, ':')
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	b = append(b, '|')
	b = append(b, kind...)
	for i, value := range values {
		if i == 0 {
			b = append(b, "|#"...)
		} else {
			b = append(b, ',')
		}
		b = append(b, r.Labels[i].Name...)
		b = append(b, ':')
		b = append(b, clean.Replace(value)...)
	}
	// A datagram that cannot be sent is a lost measurement, never a failed crash.
	_, _ = s.conn.Write(b)
}

var clean = strings.NewReplacer("|", "_", "#", "_", ",", "_", ":", "_", "\n", "_")

// Handler answers /metrics in the Prometheus text form.
func Handler() http.Handler {
	// Registering twice is refused by the registry and changes nothing.
	_ = registry.Register(collectors.NewGoCollector())
	_ = registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// Write prints the table; format is text, json or markdown.
func Write(w io.Writer, format string) error {
	switch format {
	case "json":
		type row struct {
			Name       string              `json:"name"`
			Prometheus string              `json:"prometheus"`
			Type       string              `json:"type"`
			Labels     map[string][]string `json:"labels"`
			Help       string              `json:"help"`
		}
		out := []row{}
		for _, r := range Rows() {
			labels := map[string][]string{}
			for _, l := range r.Labels {
				labels[l.Name] = l.Values
			}
			out = append(out, row{r.Name, r.Prometheus(), r.Type, labels, r.Help})
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(out)
	case "markdown":
		fmt.Fprint(w, "| metric | type | labels | what |\n|---|---|---|---|\n")
		for _, r := range Rows() {
			fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", r.Prometheus(), r.Type, labelText(r), r.Help)
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "METRIC\tPROMETHEUS\tTYPE\tLABELS\tWHAT")
	for _, r := range Rows() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Prometheus(), r.Type, labelText(r), r.Help)
	}
	return t.Flush()
}

func labelText(r *Row) string {
	var out []string
	for _, l := range r.Labels {
		if l.Values == nil {
			out = append(out, l.Name)
			continue
		}
		out = append(out, l.Name+"="+strings.Join(l.Values, "/"))
	}
	return strings.Join(out, " ")
}
