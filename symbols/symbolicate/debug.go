package symbolicate

import (
	"encoding/json"
	"time"
)

// debugInfo is what a request with the header Debug gets in addition, in the
// shape Eliot gives it.
type debugInfo struct {
	begin   time.Time
	session *session
	jobs    []Job
}

type debugCache struct {
	Count int     `json:"count"`
	Hits  int     `json:"hits"`
	Time  float64 `json:"time"`
}

type debugDownloads struct {
	Count    int                `json:"count"`
	Size     int64              `json:"size"`
	Time     float64            `json:"time"`
	Sizes    map[string]int64   `json:"size_per_module"`
	Times    map[string]float64 `json:"time_per_module"`
	FailTime map[string]float64 `json:"fail_time_per_module"`
}

type debugStep struct {
	Time     float64            `json:"time"`
	Times    map[string]float64 `json:"time_per_module"`
	FailTime map[string]float64 `json:"fail_time_per_module,omitempty"`
}

type debugModules struct {
	Count  int            `json:"count"`
	Stacks map[string]int `json:"stacks_per_module"`
}

// append writes the details of the request.
func (d *debugInfo) append(b []byte, now time.Time) []byte {
	var lookups debugCache
	downloads := debugDownloads{Sizes: map[string]int64{}, Times: map[string]float64{}, FailTime: map[string]float64{}}
	parse := debugStep{Times: map[string]float64{}, FailTime: map[string]float64{}}
	save := debugStep{Times: map[string]float64{}}
	modules := debugModules{Stacks: d.stacks()}
	for _, n := range modules.Stacks {
		modules.Count += n
	}
	for m, o := range d.session.modules {
		lookups.Count++
		lookups.Time += o.took.Seconds()
		if o.stats.Hit {
			lookups.Hits++
			continue
		}
		if o.handle == nil {
			downloads.FailTime[m.key()] = o.took.Seconds()
			continue
		}
		downloads.Count++
		downloads.Size += o.stats.TextBytes
		downloads.Sizes[m.key()] = o.stats.TextBytes
		// The text is parsed while it arrives.
		downloads.Time += o.stats.FetchTime.Seconds()
		downloads.Times[m.key()] = o.stats.FetchTime.Seconds()
		parse.Time += o.stats.FetchTime.Seconds()
		parse.Times[m.key()] = o.stats.FetchTime.Seconds()
		save.Time += o.stats.SaveTime.Seconds()
		save.Times[m.key()] = o.stats.SaveTime.Seconds()
	}
	out, err := json.Marshal(map[string]any{
		"time": now.Sub(d.begin).Seconds(), "cache_lookups": lookups, "downloads": downloads,
		"parse_sym": parse, "save_symcache": save, "modules": modules,
	})
	if err != nil { // no value here can fail
		return append(b, "null"...)
	}
	return append(b, out...)
}

// stacks counts, for each module that was looked up, the jobs that name it: what
// Eliot gives under this name.
func (d *debugInfo) stacks() map[string]int {
	out := map[string]int{}
	for _, j := range d.jobs {
		seen := map[Module]bool{}
		for _, m := range j.Modules {
			if d.session.modules[m] != nil && !seen[m] {
				seen[m] = true
				out[m.key()]++
			}
		}
	}
	return out
}
