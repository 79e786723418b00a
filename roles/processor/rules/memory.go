package rules

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxMemoryReport bounds a memory report once it is unpacked. Real ones have a
// few megabytes; a gzip bomb is stopped here.
const maxMemoryReport = 20 << 20

// OutOfMemoryBinary unpacks the memory report that came as a dump.
func OutOfMemoryBinary(_ context.Context, _ *Env, c *Crash) error {
	for _, d := range c.Dumps {
		if d.Name != memoryReportName {
			continue
		}
		report, problem := readMemoryReport(d)
		if problem != "" {
			c.Processed["memory_report_error"] = problem
			c.Note("%s", problem)
			return nil
		}
		c.Processed["memory_report"] = report
	}
	return nil
}

// readMemoryReport unpacks the report or says why it cannot; the text is public
// and holds nothing of the report.
func readMemoryReport(d Dump) (report map[string]any, problem string) {
	z, err := gzip.NewReader(io.NewSectionReader(d.Reader, 0, d.Size))
	if err != nil {
		return nil, fmt.Sprintf("error in gzip for %s: %s", d.Name, gzipProblem(err))
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(z, maxMemoryReport+1)); err != nil {
		return nil, fmt.Sprintf("error in gzip for %s: %s", d.Name, gzipProblem(err))
	}
	if b.Len() > maxMemoryReport {
		return nil, fmt.Sprintf("Uncompressed memory info too large (max: %d)", maxMemoryReport)
	}
	v, ok := decodeJSON(b.String())
	if !ok {
		return nil, fmt.Sprintf("error in json for %s: not valid json", d.Name)
	}
	report, ok = v.(map[string]any)
	if !ok {
		return nil, fmt.Sprintf("error in json for %s: not an object", d.Name)
	}
	return report, ""
}

// gzipProblem names an error of the unpacker without any of its text: the text
// of a reader may name a file.
func gzipProblem(err error) string {
	switch err {
	case gzip.ErrHeader:
		return "invalid header"
	case gzip.ErrChecksum:
		return "invalid checksum"
	case io.EOF, io.ErrUnexpectedEOF:
		return "unexpected end"
	}
	return "corrupt data"
}

// PHC copies what the probabilistic heap checker found.
func PHC(_ context.Context, _ *Env, c *Crash) error {
	kind, ok := c.annotation("PHCKind")
	if !ok {
		return nil
	}
	c.Processed["phc_kind"] = kind
	if text, ok := c.annotation("PHCBaseAddress"); ok {
		// An address has 64 bits without a sign.
		if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil {
			c.Processed["phc_base_address"] = "0x" + strconv.FormatUint(n, 16)
		}
	}
	if n, fits, _ := parseInt(c.Raw["PHCUsableSize"]); fits {
		c.Processed["phc_usable_size"] = n
	}
	for field, name := range map[string]string{"phc_alloc_stack": "PHCAllocStack", "phc_free_stack": "PHCFreeStack"} {
		if text, ok := c.annotation(name); ok {
			c.Processed[field] = text
		}
	}
	return nil
}

// measured are the paths of a memory report that are added up as they are.
var measured = []string{
	"gfx-textures", "ghost-windows", "heap-allocated", "host-object-urls", "private", "resident", "resident-unique",
	"system-heap-allocated", "vsize", "vsize-max-contiguous",
}

// Kinds and units of a memory report's entries.
const (
	kindNonheap = 0
	kindHeap    = 1
	unitsBytes  = 0
)

// MemoryReportExtraction adds up the memory report's entries of the process
// that crashed. A report that is not as expected gives no measures at all:
// half a sum would be worse than none.
func MemoryReportExtraction(_ context.Context, _ *Env, c *Crash) error {
	report, _ := c.Processed["memory_report"].(map[string]any)
	pid, ok := toInt64(at(c.walked(), "pid"))
	if !ok || report["version"] == nil || report["hasMozMallocUsableSize"] == nil {
		return nil
	}
	reports, ok := report["reports"].([]any)
	if !ok {
		return nil
	}
	if m := measure(reports, fmt.Sprintf("(pid %d)", pid)); m != nil {
		c.Processed["memory_measures"] = m
	}
	return nil
}

// measure adds up; nil when there is nothing or something is wrong.
func measure(reports []any, process string) map[string]any {
	sums := map[string]int64{}
	for _, name := range measured {
		sums[name] = 0
	}
	var heap, nonheap, images, overhead, detached, js int64
	found := false
	for _, r := range reports {
		entry, ok := r.(map[string]any)
		if !ok {
			return nil
		}
		owner, hasOwner := entry["process"].(string)
		if !hasOwner {
			return nil
		}
		if !strings.Contains(owner, process) {
			continue
		}
		path, ok1 := entry["path"].(string)
		amount, ok2 := toInt64(entry["amount"])
		kind, ok3 := toInt64(entry["kind"])
		units, ok4 := toInt64(entry["units"])
		if !ok1 || !ok2 || !ok3 || !ok4 {
			return nil
		}
		found = true
		switch {
		case strings.HasPrefix(path, "explicit/"):
			if units != unitsBytes {
				return nil
			}
			switch kind {
			case kindNonheap:
				nonheap += amount
			case kindHeap:
				heap += amount
			default:
				return nil
			}
			switch {
			case strings.HasPrefix(path, "explicit/images/"):
				images += amount
			case strings.Contains(path, "top(none)/detached"):
				detached += amount
			case strings.HasPrefix(path, "explicit/heap-overhead/"):
				overhead += amount
			}
		case strings.HasPrefix(path, "js-main-runtime/"):
			js += amount
		default:
			if _, ok := sums[path]; ok {
				sums[path] += amount
			}
		}
	}
	if !found {
		return nil
	}
	out := map[string]any{
		"explicit": sums["heap-allocated"] + nonheap, "heap_unclassified": sums["heap-allocated"] - heap,
		"images": images, "heap_overhead": overhead, "top_none_detached": detached, "js_main_runtime": js,
	}
	for name, n := range sums {
		out[strings.ReplaceAll(name, "-", "_")] = n
	}
	return out
}
