package rules

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mayday/app/fault"
	"mayday/minidump/stackwalk"
)

// ErrLater ends the processing of a crash that is better tried again later:
// where the symbols do not answer, all stacks would lack names. It is of a kind
// that counts as a try, so that nobody waits for ever.
var ErrLater = fault.New(fault.Timeout, "the symbols do not answer")

// MinidumpStackwalk walks each dump whose name begins like the main dump's.
// What it finds in the main dump goes to the top of the processed crash, the
// rest to a field named like the dump.
func MinidumpStackwalk(ctx context.Context, env *Env, c *Crash) error {
	if c.keepEarlierWalks() {
		return nil
	}
	extra := []string{}
	for _, name := range c.Missing {
		if !strings.HasPrefix(name, MinidumpName) {
			continue
		}
		c.Note("MinidumpStackwalkRule: %s is missing--skipping minidump processing", name)
		result := map[string]any{"mdsw_status_string": "MissingMinidump", "mdsw_stderr": "Shortcut for a missing minidump."}
		extra = c.keepWalk(name, result, extra)
	}
	for _, d := range c.Dumps {
		if !strings.HasPrefix(d.Name, MinidumpName) {
			continue
		}
		result, err := c.walk(ctx, env, d)
		if err != nil {
			return err
		}
		extra = c.keepWalk(d.Name, result, extra)
	}
	slices.Sort(extra)
	c.Processed["additional_minidumps"] = slices.Compact(extra)
	return nil
}

// walkResults are the fields that walking the main dump sets.
var walkResults = []string{"json_dump", "mdsw_return_code", "mdsw_status_string", "mdsw_stderr", "stackwalk_version"}

// keepEarlierWalks takes over what an earlier round read from dumps that are
// gone since: dumps are kept for a shorter time than what was made of them.
func (c *Crash) keepEarlierWalks() bool {
	if _, ping := c.Raw["StackTraces"]; ping || c.Previous["json_dump"] == nil {
		return false
	}
	for _, d := range c.Dumps {
		if strings.HasPrefix(d.Name, MinidumpName) {
			return false
		}
	}
	for _, field := range walkResults {
		if v, ok := c.Previous[field]; ok {
			c.Processed[field] = v
		}
	}
	names := []string{}
	for _, v := range listAt(c.Previous, "additional_minidumps") {
		if name, _ := v.(string); strings.HasPrefix(name, MinidumpName) && c.Previous[name] != nil {
			c.Processed[name] = c.Previous[name]
			names = append(names, name)
		}
	}
	c.Processed["additional_minidumps"] = names
	c.Note("MinidumpStackwalkRule: there are no dumps any more--keeping what an earlier round found")
	return true
}

func (c *Crash) keepWalk(name string, result map[string]any, extra []string) []string {
	if name != MinidumpName {
		c.Processed[name] = result
		return append(extra, name)
	}
	for key, v := range result {
		c.Processed[key] = v
	}
	return extra
}

// walk walks one dump and tells what came of it as Socorro does.
func (c *Crash) walk(ctx context.Context, env *Env, d Dump) (map[string]any, error) {
	if d.Size == 0 {
		c.Note("MinidumpStackwalkRule: %s is empty--skipping minidump processing", d.Name)
		return map[string]any{"mdsw_status_string": "EmptyMinidump", "mdsw_stderr": "Shortcut for 0-bytes minidump."}, nil
	}
	if env.Walker == nil {
		return nil, fmt.Errorf("no walker")
	}
	w := env.Walker.Walk(ctx, d, c.Raw)
	if err := ctx.Err(); err != nil {
		return nil, err // the program stops: nothing is known of the dump
	}
	if w.NoAnswer && c.Patient {
		return nil, ErrLater
	}
	jd, isObject := w.Output.(map[string]any)
	switch {
	case isObject:
	case w.Exit == ExitOK && w.Output != nil:
		c.Note("MinidumpStackwalkRule: minidump-stackwalk: output is not a json object")
		jd = map[string]any{}
	default:
		jd = map[string]any{}
	}
	status, ok := jd["status"].(string)
	if !ok {
		status = "unknown error"
	}
	result := map[string]any{
		"json_dump": jd, "mdsw_return_code": int64(w.Exit), "success": w.Exit == ExitOK && status == "OK",
		"stackwalk_version": w.Version, "mdsw_stderr": lastLines(w.Log),
	}
	switch w.Exit {
	case ExitOK:
	case ExitAbort:
		c.Note("MinidumpStackwalkRule: minidump-stackwalk: timeout (SIGABRT)")
	case ExitKilled:
		c.Note("MinidumpStackwalkRule: minidump-stackwalk: timeout (SIGKILL)")
	default:
		c.Note("MinidumpStackwalkRule: minidump-stackwalk: failed: %d: %s", w.Exit, status)
	}
	if words := strings.Fields(w.Log); len(words) > 1 && strings.HasPrefix(w.Log, "ERROR") && (status == "OK" || status == "unknown error") {
		status = words[1]
		c.Note("MinidumpStackwalkRule: processing %s had error; stomped on mdsw_status_string", d.Name)
	}
	result["mdsw_status_string"] = status
	return result, nil
}

// maxLogLines is how much of a walker's log is kept; its end says what failed.
const maxLogLines = 10

func lastLines(log string) string {
	lines := strings.SplitAfter(log, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) <= maxLogLines {
		return log
	}
	return "...\n" + strings.Join(lines[len(lines)-maxLogLines:], "")
}

// ModuleURLRewrite takes the queries out of symbol URLs, which may hold
// signatures, and drops the URLs of internal hosts.
func ModuleURLRewrite(_ context.Context, env *Env, c *Crash) error {
	for _, jd := range c.allWalks() {
		for _, m := range listAt(jd, "modules") {
			mod, _ := m.(map[string]any)
			raw, ok := mod["symbol_url"].(string)
			if !ok || raw == "" {
				continue
			}
			u, err := url.Parse(raw)
			if err != nil || env.Tables.internal(u.Host) {
				c.Note("Redacting symbol url for module %s", moduleName(mod))
				mod["symbol_url"] = nil
				continue
			}
			u.RawQuery, u.ForceQuery, u.Fragment, u.User = "", false, "", nil
			mod["symbol_url"] = u.String()
		}
	}
	return nil
}

func (t *Tables) internal(host string) bool {
	return slices.ContainsFunc(t.InternalHosts, func(h string) bool { return strings.Contains(host, h) })
}

func moduleName(mod map[string]any) string {
	for _, key := range []string{"filename", "debug_file"} {
		if s, _ := mod[key].(string); s != "" {
			return s
		}
	}
	return "unknown"
}

// allWalks gives what was read of every dump: the main one first, the others
// by name.
func (c *Crash) allWalks() []map[string]any {
	var all []map[string]any
	for _, w := range c.walks() {
		all = append(all, w.dump)
	}
	return all
}

type walk struct {
	prefix string // of paths in notes
	dump   map[string]any
}

func (c *Crash) walks() []walk {
	var all []walk
	if jd := c.walked(); jd != nil {
		all = append(all, walk{"json_dump", jd})
	}
	names, _ := c.Processed["additional_minidumps"].([]string)
	for _, name := range names {
		if jd, ok := at(c.Processed[name], "json_dump").(map[string]any); ok {
			all = append(all, walk{name + ".json_dump", jd})
		}
	}
	return all
}

// CrashingThreadInfo lifts what the walker says of the crash to the top.
func CrashingThreadInfo(_ context.Context, _ *Env, c *Crash) error {
	jd := c.walked()
	if jd == nil {
		return nil
	}
	thread := at(jd, "crash_info", "crashing_thread")
	if thread == nil {
		c.Note("mdsw did not identify the crashing thread")
	}
	c.Processed["crashing_thread"] = thread
	c.Processed["crashing_thread_name"] = at(jd, "crashing_thread", "thread_name")
	c.Processed["reason"] = textAt(jd, "crash_info", "type")
	c.Processed["address"] = crashAddress(jd)
	if e := textAt(jd, "crashing_thread", "last_error_value"); e != "" {
		c.Processed["last_error_value"] = e
	}
	return nil
}

// longAddress is the length of a 64-bit address in hex with its 0x.
const longAddress = 18

// crashAddress is the address of the crash after the walker's adjustment.
func crashAddress(jd map[string]any) any {
	address := at(jd, "crash_info", "address")
	switch textAt(jd, "crash_info", "adjusted_address", "kind") {
	case "null-pointer":
		if s, _ := address.(string); len(s) == longAddress {
			return "0x0000000000000000"
		}
		return "0x00000000"
	case "non-canonical":
		if a := at(jd, "crash_info", "adjusted_address", "address"); a != nil {
			return a
		}
	}
	return address
}

// Stacks longer than maxFrames keep this many frames at each end, with one
// frame in between that stands for the rest.
// The walker does so itself where it hands out documents.
const (
	maxFrames  = stackwalk.DocumentFrames
	headFrames = stackwalk.DocumentHead
	tailFrames = maxFrames - headFrames - 1
)

// TruncateStacks shortens stacks of runaway recursion, which would make the
// processed crash as large as the dump.
func TruncateStacks(_ context.Context, _ *Env, c *Crash) error {
	for _, w := range c.walks() {
		if t, ok := w.dump["crashing_thread"].(map[string]any); ok {
			if n := truncate(t); n > 0 {
				c.Note("TruncateStacksRule: truncated %s.crashing_thread.frames: %d -> %d", w.prefix, n, maxFrames)
			}
		}
		for i, t := range listAt(w.dump, "threads") {
			thread, ok := t.(map[string]any)
			if !ok {
				continue
			}
			if n := truncate(thread); n > 0 {
				c.Note("TruncateStacksRule: truncated %s.threads[%d].frames: %d > %d", w.prefix, i, n, maxFrames)
			}
		}
	}
	return nil
}

// truncate shortens one thread's stack and returns how long it was, 0 when it
// was left as it is.
func truncate(thread map[string]any) int {
	frames, _ := thread["frames"].([]any)
	n := len(frames)
	if n == maxFrames && at(frames[headFrames], "truncated") != nil {
		thread["truncated"] = true
		all, _ := number(thread["frame_count"])
		return int(all)
	}
	if n <= maxFrames {
		return 0
	}
	gone := n - headFrames - tailFrames
	kept := make([]any, 0, maxFrames)
	kept = append(kept, frames[:headFrames]...)
	kept = append(kept, map[string]any{"truncated": map[string]any{"msg": thousands(gone) + " frames truncated"}})
	thread["frames"] = append(kept, frames[n-tailFrames:]...)
	thread["truncated"] = true
	return n
}

// thousands writes n with a comma every three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// PossibleBitFlips says, in percent, how sure the walker is that one flipped
// bit explains the crash.
func PossibleBitFlips(_ context.Context, _ *Env, c *Crash) error {
	best, found := 0.0, false
	for _, f := range listAt(c.walked(), "crash_info", "possible_bit_flips") {
		if x, ok := number(at(f, "confidence")); ok {
			best, found = max(best, x), true
		}
	}
	if found {
		c.Processed["possible_bit_flips_max_confidence"] = int64(best * 100)
	}
	return nil
}

// CrashInconsistencies lifts the ways in which the dump contradicts itself.
func CrashInconsistencies(_ context.Context, _ *Env, c *Crash) error {
	if jd := c.walked(); jd != nil {
		c.Processed["crash_inconsistencies"] = at(jd, "crash_info", "crash_inconsistencies")
	}
	return nil
}

// HasGuardPageAccess says when the crashing instruction touched what is
// probably a guard page.
func HasGuardPageAccess(_ context.Context, _ *Env, c *Crash) error {
	for _, a := range listAt(c.walked(), "crash_info", "memory_accesses") {
		if at(a, "is_likely_guard_page") == true {
			c.Processed["has_guard_page_access"] = true
		}
	}
	return nil
}

// maxSoftErrors bounds the text of the dump's flaws; a broken dump has many.
const maxSoftErrors = 4096

// SoftErrors keeps the flaws that the walker found in the dump.
func SoftErrors(_ context.Context, _ *Env, c *Crash) error {
	v, ok := c.walked()["soft_errors"]
	if !ok || v == nil {
		return nil
	}
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	if r := []rune(text); len(r) > maxSoftErrors {
		text = string(r[:maxSoftErrors])
	}
	c.Processed["soft_errors"] = text
	return nil
}

// ThreadCount lifts the number of threads.
func ThreadCount(_ context.Context, _ *Env, c *Crash) error {
	c.Processed["thread_count"] = at(c.walked(), "thread_count")
	return nil
}
