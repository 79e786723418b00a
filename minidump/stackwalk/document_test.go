package stackwalk

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump"
	"mayday/minidump/stackwalk/jsontext"
)

// states are the states of the sample dumps that the tests below use.
func states(t testing.TB) []*State {
	var list []*State
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "stackwalk", "visible", "dumps", "*.dmp"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := minidump.FromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Walk(context.Background(), d, nil, Options{}); err == nil {
			list = append(list, s)
		}
	}
	return list
}

// Document gives what the JSON says.
func TestDocumentIsTheJSON(t *testing.T) {
	name := "näme \"x\" \\ \x01\n\t\r\b\f �"
	list := append(states(t), &State{RequestingThread: -1, Threads: []Thread{{Name: &name}}, SoftErrors: jsontext.Normal([]byte(` {"b":[1,2.5e3,"\ud83d\ude00/\u2028",{}],"a":null,"c":[],"d":true}`))})
	for i, s := range list {
		got := s.Document()
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(s.AppendJSON(nil)))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("state %d: %v", i, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("state %d (-want +got):\n%s", i, diff)
		}
	}
}

// Every key of every object comes in alphabetical order.
func TestJSONKeysAreSorted(t *testing.T) {
	for _, s := range append(states(t), &State{RequestingThread: -1}) {
		b := s.AppendJSON(nil)
		if got := jsontext.Normal(b); !bytes.Equal(got, b) {
			t.Errorf("keys are not sorted or a text is written otherwise:\n%s\n%s", firstDifference(got, b), firstDifference(b, got))
		}
	}
}

// What is written piece by piece is what is made at once.
func TestJSONIsStreamed(t *testing.T) {
	name := strings.Repeat("näme \"[{,: €\\ \x01", 3*jsontext.MaxPending/16)
	list := append(states(t), &State{RequestingThread: -1, Threads: []Thread{{Name: &name}, {}}, SoftErrors: jsontext.Normal([]byte(`{"a":[],"b":{},"c":[{"d":"]"}]}`))})
	for i, s := range list {
		var got, pretty, want bytes.Buffer
		if err := s.JSON(&got, false); err != nil {
			t.Fatal(err)
		}
		whole := s.AppendJSON(nil)
		if !bytes.Equal(got.Bytes(), whole) {
			t.Errorf("state %d: streamed %s", i, firstDifference(got.Bytes(), whole))
		}
		if err := s.JSON(&pretty, true); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&want, whole, "", "  "); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pretty.Bytes(), want.Bytes()) {
			t.Errorf("state %d: indented %s, want %s", i, firstDifference(pretty.Bytes(), want.Bytes()), firstDifference(want.Bytes(), pretty.Bytes()))
		}
	}
}

func firstDifference(a, b []byte) string {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return string(a[max(0, i-60):min(len(a), i+60)])
		}
	}
	return ""
}
