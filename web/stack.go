package web

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"mayday/app/fault"
)

// dumpView is the part of json_dump that a report shows.
type dumpView struct {
	CrashInfo struct {
		CrashingThread *int `json:"crashing_thread"`
	} `json:"crash_info"`
	Threads   []dumpThread `json:"threads"`
	Modules   []dumpModule `json:"modules"`
	Truncated string       `json:"truncated"`
	Unloaded  []struct {
		Filename string `json:"filename"`
	} `json:"unloaded_modules"`
}

type dumpThread struct {
	Name      string      `json:"thread_name"`
	Frames    []dumpFrame `json:"frames"`
	Truncated any         `json:"truncated"` // true, or the limit that ended the walk
}

type dumpFrame struct {
	Frame     int    `json:"frame"`
	Module    string `json:"module"`
	Function  string `json:"function"`
	FuncOff   string `json:"function_offset"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Offset    string `json:"offset"`
	ModuleOff string `json:"module_offset"`
	Trust     string `json:"trust"`
	Missing   bool   `json:"missing_symbols"`
	Inlines   []struct {
		Function string `json:"function"`
		File     string `json:"file"`
		Line     int    `json:"line"`
	} `json:"inlines"`
	Truncated *struct {
		Msg string `json:"msg"`
	} `json:"truncated"`
}

type dumpModule struct {
	Filename  string `json:"filename"`
	Version   string `json:"version"`
	DebugFile string `json:"debug_file"`
	DebugID   string `json:"debug_id"`
	Base      string `json:"base_addr"`
	Loaded    bool   `json:"loaded_symbols"`
	Missing   bool   `json:"missing_symbols"`
	Corrupt   bool   `json:"corrupt_symbols"`
}

// decodeDump reads json_dump; nil when there is none.
func decodeDump(v any) (*dumpView, error) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fault.Wrap(err, "json_dump")
	}
	d := &dumpView{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fault.As(fault.Malformed, err, "json_dump")
	}
	return d, nil
}

type threadView struct {
	Index  int
	Name   string
	Top    string // what a folded thread says about itself
	Count  int    // of frames, calls inlined into them not counted
	Frames []frameView
}

type frameView struct {
	Number, Module, Function, Source string
	Trust, TrustText, Class          string
	MissingSymbols                   bool
	Truncated                        string
}

type moduleView struct {
	Filename, Version, DebugFile, DebugID, Base string
	State, StateClass                           string
	missing                                     bool
}

// fillStacks turns the dump into threads and modules.
func (p *reportPage) fillStacks(d *dumpView) {
	if d == nil {
		return
	}
	p.CutShort = d.Truncated
	crashing := -1
	if d.CrashInfo.CrashingThread != nil {
		crashing = *d.CrashInfo.CrashingThread
	}
	for i, t := range d.Threads {
		v := viewThread(i, t)
		if i == crashing {
			p.Crashing = &v
			for _, f := range v.Frames {
				p.MissingInStack = p.MissingInStack || f.MissingSymbols
			}
			continue
		}
		p.Threads = append(p.Threads, v)
	}
	needed := map[string]bool{}
	for _, t := range d.Threads {
		for _, f := range t.Frames {
			if f.Missing {
				needed[f.Module] = true
			}
		}
	}
	for _, m := range d.Modules {
		v := viewModule(m)
		p.Modules = append(p.Modules, v)
		if v.missing && needed[m.Filename] {
			p.Missing = append(p.Missing, v)
		}
	}
	for _, u := range d.Unloaded {
		p.Unloaded = append(p.Unloaded, u.Filename)
	}
}

func viewModule(m dumpModule) moduleView {
	v := moduleView{Filename: path.Base(strings.ReplaceAll(m.Filename, `\`, "/")), Version: m.Version, DebugFile: m.DebugFile, DebugID: m.DebugID, Base: m.Base}
	switch {
	case m.Corrupt:
		v.State, v.StateClass = "corrupt", "bad"
	case m.Loaded:
		v.State, v.StateClass = "loaded", "good"
	case m.Missing:
		v.State, v.StateClass, v.missing = "missing", "warn", true
	default:
		v.State = "not needed"
	}
	return v
}

func viewThread(i int, t dumpThread) threadView {
	v := threadView{Index: i, Name: t.Name, Count: len(t.Frames)}
	for _, f := range t.Frames {
		v.Frames = append(v.Frames, viewFrame(f)...)
	}
	if limit, ok := t.Truncated.(string); ok {
		v.Frames = append(v.Frames, frameView{Truncated: "The walk ended here: " + limit})
	}
	for _, f := range v.Frames {
		if f.Truncated == "" {
			v.Top = f.Function
			break
		}
	}
	return v
}

// trustTexts say how a frame was found, in words.
var trustTexts = map[string]string{"context": "exact", "cfi": "call frame info", "cfi_scan": "call frame info", "frame_pointer": "frame pointer",
	"scan": "guessed", "prewalked": "given", "none": "unknown", "inlined": "inlined"}

// viewFrame gives a frame its rows: first the calls inlined into it, innermost
// first, then the frame itself.
func viewFrame(f dumpFrame) []frameView {
	if f.Truncated != nil {
		return []frameView{{Truncated: f.Truncated.Msg}}
	}
	number := strconv.Itoa(f.Frame)
	module := path.Base(strings.ReplaceAll(f.Module, `\`, "/"))
	if f.Module == "" {
		module = ""
	}
	var out []frameView
	for _, in := range f.Inlines {
		out = append(out, frameView{Number: number, Module: module, Function: in.Function, Source: source(in.File, in.Line),
			Trust: "inlined", TrustText: trustTexts["inlined"], Class: "inline"})
	}
	one := frameView{Number: number, Module: module, Function: f.Function, Source: source(f.File, f.Line), Trust: f.Trust,
		TrustText: trustTexts[f.Trust], MissingSymbols: f.Missing}
	if one.TrustText == "" {
		one.TrustText = f.Trust
	}
	if one.Function == "" {
		one.Class = "missing"
		one.Function = f.Offset
		if f.Module != "" {
			one.Function = module + " + " + f.ModuleOff
		}
	} else if one.Source == "" && f.FuncOff != "" {
		one.Source = "+ " + f.FuncOff
	}
	return append(out, one)
}

// source is a place in the source as pages show it. Repository links of the
// form vcs:root/repo:path:revision are cut to the path.
func source(file string, line int) string {
	if file == "" {
		return ""
	}
	if parts := strings.Split(file, ":"); len(parts) == 4 {
		file = parts[2]
	}
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
