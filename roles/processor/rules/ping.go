package rules

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"mayday/symbols"
)

// Limits of the stacks that a crash ping may bring: what a client can unwind
// and send in an annotation is far below.
const (
	maxPingThreads = 1024
	maxPingFrames  = 1024 // of one thread
	maxPingModules = 4096
)

// StackTraces makes of a crash ping's stacks what the walker would make of a
// dump: the addresses are looked up in the symbols of their modules. A report
// that brought a dump keeps what the dump says.
func StackTraces(ctx context.Context, env *Env, c *Crash) error {
	v, ok := c.Raw["StackTraces"]
	if !ok || c.walked() != nil {
		return nil
	}
	if text, isText := v.(string); isText {
		if v, ok = decodeJSON(text); !ok {
			c.Note("StackTraces: malformed: not valid json")
			return nil
		}
	}
	if inner := at(v, "stack_traces"); inner != nil {
		v = inner
	}
	p := ping{env: env, modules: pingModules(listAt(v, "modules"))}
	list := listAt(v, "threads")
	if len(list) == 0 || len(list) > maxPingThreads {
		c.Note("StackTraces: malformed: %d threads", len(list))
		return nil
	}
	var threads []any
	for _, t := range list {
		threads = append(threads, p.thread(ctx, t))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	crashing, hasCrashing := indexAt(v, "crash_info", "crashing_thread")
	if !hasCrashing || crashing < 0 || crashing >= len(threads) {
		crashing = 0
	}
	info := map[string]any{"crashing_thread": int64(crashing), "type": textOrNil(v, "crash_info", "type"), "address": textOrNil(v, "crash_info", "address")}
	top := map[string]any{"threads_index": int64(crashing)}
	for k, x := range threads[crashing].(map[string]any) {
		top[k] = x
	}
	jd := map[string]any{
		"status": "OK", "crash_info": info, "crashing_thread": top, "threads": threads, "thread_count": int64(len(threads)),
		"modules": p.describe(), "system_info": p.system(c),
	}
	if main, ok := indexAt(v, "main_module"); ok {
		jd["main_module"] = int64(main)
	}
	c.Processed["json_dump"] = jd
	return nil
}

// textOrNil is the text at a path, null when there is none.
func textOrNil(v any, path ...any) any {
	if s := textAt(v, path...); s != "" {
		return s
	}
	return nil
}

// ping symbolicates the stacks of one crash ping.
type ping struct {
	env     *Env
	modules []pingModule
}

type pingModule struct {
	id             symbols.ModuleID
	base, end      uint64
	version        any
	loaded, missed bool
}

func pingModules(list []any) []pingModule {
	if len(list) > maxPingModules {
		list = list[:maxPingModules]
	}
	mods := make([]pingModule, len(list))
	for i, m := range list {
		base, _ := address(at(m, "base_addr"))
		end, _ := address(at(m, "end_addr"))
		mods[i] = pingModule{base: base, end: end, version: textOrNil(m, "version"), id: symbols.ModuleID{
			DebugFile: textAt(m, "debug_file"), DebugID: textAt(m, "debug_id"), CodeFile: textAt(m, "filename"), CodeID: textAt(m, "code_id")}}
	}
	return mods
}

// address reads hex text with or without 0x.
func address(v any) (uint64, bool) {
	s, _ := v.(string)
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 64)
	return n, err == nil
}

func (p *ping) thread(ctx context.Context, t any) map[string]any {
	list := listAt(t, "frames")
	if len(list) > maxPingFrames {
		list = list[:maxPingFrames]
	}
	frames := make([]any, 0, len(list))
	for i, f := range list {
		frames = append(frames, p.frame(ctx, i, f))
	}
	return map[string]any{"frame_count": int64(len(frames)), "frames": frames, "thread_name": textOrNil(t, "thread_name"), "last_error_value": nil}
}

// frame looks one address up. Above the first frame it is a return address, so
// the call that is being made stands one byte before it.
func (p *ping) frame(ctx context.Context, i int, f any) map[string]any {
	out := map[string]any{
		"frame": int64(i), "trust": textOrNil(f, "trust"), "file": nil, "line": nil, "function": nil, "function_offset": nil,
		"inlines": nil, "module": nil, "module_offset": nil, "offset": nil, "missing_symbols": false,
	}
	ip, ok := address(at(f, "ip"))
	if !ok {
		return out
	}
	out["offset"] = fmt.Sprintf("0x%016x", ip)
	n, ok := indexAt(f, "module_index")
	if !ok || n < 0 || n >= len(p.modules) || ip < p.modules[n].base {
		return out
	}
	m := &p.modules[n]
	offset := ip - m.base
	out["module"], out["module_offset"] = symbols.Leaf(m.id.CodeFile), fmt.Sprintf("0x%x", offset)
	at := offset
	if i > 0 && at > 0 {
		at--
	}
	if p.env.Symbols == nil {
		m.missed = true
		out["missing_symbols"] = true
		return out
	}
	loc, ok := p.env.Symbols.Locate(ctx, m.id, at)
	if !ok {
		m.missed = true
		out["missing_symbols"] = true
		return out
	}
	m.loaded = true
	out["function"], out["function_offset"] = loc.Name, fmt.Sprintf("0x%x", offset-min(offset, loc.Address))
	if loc.HasFile {
		out["file"] = loc.File
	}
	if loc.HasLine {
		out["line"] = int64(loc.Line)
	}
	var inlines []any
	for _, in := range loc.Inlines {
		x := map[string]any{"function": in.Function, "file": nil, "line": nil}
		if in.HasFile {
			x["file"] = in.File
		}
		if in.HasLine {
			x["line"] = int64(in.Line)
		}
		inlines = append(inlines, x)
	}
	if len(inlines) > 0 {
		out["inlines"] = inlines
	}
	return out
}

// describe lists the modules as the walker does.
func (p *ping) describe() []any {
	list := make([]any, 0, len(p.modules))
	for _, m := range p.modules {
		list = append(list, map[string]any{
			"filename": symbols.Leaf(m.id.CodeFile), "debug_file": symbols.Leaf(m.id.DebugFile), "debug_id": m.id.DebugID, "code_id": m.id.CodeID,
			"base_addr": fmt.Sprintf("0x%016x", m.base), "end_addr": fmt.Sprintf("0x%016x", m.end), "version": m.version,
			"loaded_symbols": m.loaded, "missing_symbols": m.missed && !m.loaded, "corrupt_symbols": false, "symbol_url": nil, "cert_subject": nil,
		})
	}
	return list
}

// system names the system by the annotations, which a ping has instead of a
// dump.
func (p *ping) system(c *Crash) map[string]any {
	out := map[string]any{}
	for key, name := range map[string]string{"os": "OS", "os_ver": "OSVersion", "cpu_arch": "CPUArchitecture", "cpu_info": "CPUInfo"} {
		if text, ok := c.annotation(name); ok {
			out[key] = strings.TrimSpace(text)
		}
	}
	return out
}
