package symbolicate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// payloads are requests, and whether they are read straight.
var payloads = []struct {
	text   string
	direct bool
}{
	{`{"jobs":[{"memoryMap":[["a.so","AB0"],["",""]],"stacks":[[[0,1],[-1,18446744],[1,-1]],[]]}],"version":5}`, true},
	{` { "stacks" : [ [ [ 0 , 4096 ] , [ 0 , 0 ] ] ] , "x" : {"y":[null]} , "memoryMap" : [ [ "a.so" , "AB0" ] ] } `, true},
	{`{"memoryMap":[["a\u0062.so","AB0"]],"stacks":[[[0,9223372036854775808]]],"options":{"adjust_return_addresses":true}}`, true},
	{`{"jobs":[]}`, true},
	{`{"memoryMap":[],"stacks":[[]]}`, true},
	{`{"memoryMap":[],"stacks":[[],[[-1,3]],[]]}`, true},
	{`{"memoryMap":[["a.so","AB0"]],"stacks":[[[0,18446744073709551615]]]}`, false}, // 20 digits: the other way
	{`{"memoryMap":[["a.so","AB0"]],"stacks":[[[true,-0]]]}`, false},
	{`{"memoryMap":[],"memoryMap":[["a.so","AB0"]],"stacks":[[[0,1]]]}`, false},
	{`{"jobs":[],"memoryMap":[["a.so","AB0"]],"stacks":[[[0,1]]]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[[[0,1]]]}]} x`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[[[1,1]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[[[0,1.5]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[[[0,-2]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]],"stacks":[[[0,1,2]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so"]],"stacks":[[[0,1]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a/so","AB0"]],"stacks":[[[0,1]]]}]}`, false},
	{`{"jobs":[{"memoryMap":[["a.so","AB0"]]}]}`, false},
	{`{"jobs":null}`, false},
	{`{"jobs":"text"}`, false},
	{`{"jobs":{}}`, false},
	{"\ufeff" + `{"jobs":[]}`, false},
	{`{"memoryMap":[],"stacks":[[]],"x":"` + "\xff" + `"}`, false},
	{`{"memoryMap":[["a.so","AB0"]],"stacks":[[[1180591620717411303424,1]]]}`, false},
	{`null`, false},
	{``, false},
}

func TestReadJobs(t *testing.T) {
	for _, p := range payloads {
		if _, _, ok := readJobs([]byte(p.text), MaxJobs); ok != p.direct {
			t.Errorf("%s: read straight: %v, want %v", p.text, ok, p.direct)
		}
	}
}

// FuzzReadJobs reads payloads straight and by way of any JSON: what the first
// takes it takes for the same.
func FuzzReadJobs(f *testing.F) {
	for _, p := range payloads {
		f.Add([]byte(p.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		jobs, options, ok := readJobs(b, MaxJobs)
		if !ok {
			return
		}
		v, err := decodeJSON(b)
		if err != nil {
			t.Fatalf("%s is taken: %v", b, err)
		}
		want, err := parseJobs(v, MaxJobs)
		if err != nil {
			t.Fatalf("%s is taken: %v", b, err)
		}
		if d := cmp.Diff(want, jobs, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-any JSON +straight)\n%s", b, d)
		}
		o, _ := v.(map[string]any)
		if _, has := o["options"]; has && !options {
			t.Errorf("%s: options: %v", b, options)
		}
	})
}
