package metrics

import (
	"bytes"
	"fmt"
	"net"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(\.[a-z][a-z0-9_]*)+$`)
	for _, r := range Rows() {
		if !name.MatchString(r.Name) {
			t.Errorf("name %q is not area.thing_unit", r.Name)
		}
		if !strings.HasSuffix(r.Help, ".") {
			t.Errorf("%s: help %q is no sentence", r.Name, r.Help)
		}
		for _, l := range r.Labels {
			if l.Values == nil && l.Most <= 0 {
				t.Errorf("%s: label %s is unbounded", r.Name, l.Name)
			}
		}
	}
}

func TestOutlets(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stop, err := SendTo(server.LocalAddr().String(), "test.")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	before := scrape()
	HTTPRequests.Inc("2xx")
	packet := make([]byte, 200)
	if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := server.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(packet[:n]), "test.http.requests:1|c|#class:2xx"; got != want {
		t.Errorf("statsd got %q, want %q", got, want)
	}
	text := scrape()
	for _, r := range Rows() {
		if !strings.Contains(text, "\n"+r.Prometheus()) {
			t.Errorf("/metrics lacks %s", r.Prometheus())
		}
	}
	if was, is := answered(t, before), answered(t, text); is != was+1 {
		t.Errorf("/metrics counted %d requests, then %d", was, is)
	}
}

func scrape() string {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// answered reads the count of requests answered with 2xx; 0 before the first.
func answered(t *testing.T, text string) (n int) {
	t.Helper()
	_, rest, found := strings.Cut(text, "\nmayday_http_requests_total{class=\"2xx\"} ")
	if !found {
		return 0
	}
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLabelsAreBounded(t *testing.T) {
	r := &Row{Name: "x.y", Labels: []Label{atMost(2, "rule")}}
	for i, want := range []string{"a", "b", "other", "a"} {
		if got := r.values([]string{[]string{"a", "b", "c", "a"}[i]})[0]; got != want {
			t.Errorf("value %d = %q, want %q", i, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an undeclared value passed a test unseen")
		}
	}()
	HTTPRequests.Inc("9xx")
}

func TestWrite(t *testing.T) {
	for _, format := range []string{"text", "json", "markdown"} {
		var out bytes.Buffer
		if err := Write(&out, format); err != nil || !strings.Contains(out.String(), "mayday_http_requests_total") {
			t.Errorf("%s: %v, %d bytes", format, err, out.Len())
		}
	}
}
