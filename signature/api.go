package signature

import (
	"encoding/json"

	"mayday/app/fault"
)

// maxJobs bounds the crashes of one request: a client that has more asks
// again, so that one request cannot hold a server for long.
const maxJobs = 10000

// AnswerRequest is the endpoint CrashSignature: the body holds the crash data
// of any number of crashes,
//
//	{"jobs": [{"threads": …, "os": …, …}, …]}
//
// and the answer a result for each, in order:
//
//	{"results": [{"signature": …, "notes": […], "debug_log": […],
//	  "extra": {"proto_signature": …, "normalized_frames": […]}, "lists": …}, …]}
//
// A job may also be a processed crash. The error is Invalid or TooLarge and
// says to the client what is wrong.
func AnswerRequest(body []byte, lists *Lists) ([]byte, error) {
	jobs := ""
	if !json.Valid(body) || !eachField(string(body), func(key, value string) {
		if key == "jobs" {
			jobs = value
		}
	}) {
		return nil, fault.New(fault.Invalid, "the request is no JSON object")
	}
	results := []answer{}
	var failed error
	eachItem(jobs, func(job string) bool {
		if len(results) == maxJobs {
			failed = fault.New(fault.TooLarge, "more than %d jobs", maxJobs)
			return false
		}
		r, err := ParseRecord([]byte(job))
		if err != nil {
			failed = fault.New(fault.Invalid, "job %d is no JSON object", len(results))
			return false
		}
		res := Generate(r.Input, lists)
		results = append(results, res.answer())
		return true
	})
	if failed != nil {
		return nil, failed
	}
	if len(results) == 0 {
		return nil, fault.New(fault.Invalid, "no jobs specified")
	}
	return json.Marshal(map[string]any{"results": results})
}

// answer is a result in the form of the endpoint.
type answer struct {
	Signature string         `json:"signature"`
	Upstream  string         `json:"upstream_signature,omitempty"`
	Notes     []string       `json:"notes"`
	Debug     []string       `json:"debug_log"`
	Extra     map[string]any `json:"extra"`
	Lists     string         `json:"lists"`
}

func (r *Result) answer() answer {
	a := answer{Signature: r.Signature, Upstream: r.Upstream, Notes: append([]string{}, r.Notes...), Debug: r.DebugLog(),
		Extra: map[string]any{}, Lists: r.ListsVersion}
	if len(r.NormalizedFrames) > 0 {
		a.Extra["proto_signature"] = r.ProtoSignature
		a.Extra["normalized_frames"] = r.NormalizedFrames
	}
	return a
}

// MarshalJSON writes the result in the form of the endpoint.
func (r Result) MarshalJSON() ([]byte, error) { return json.Marshal(r.answer()) }
