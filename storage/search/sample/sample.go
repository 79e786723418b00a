// Package sample makes up processed crashes by the million, for benchmarks of
// search engines: `mayday demo --processed-only` and `make bench-search`.
//
// What counts for an index is the shape: about sixty fields and 2.3 kB of JSON a
// crash; 20,000 signatures whose counts fall like 1/rank; in a million crashes a
// third of a million different stacks of some 370 bytes, half a million
// addresses and as many installations; three to eleven modules of 3,000 in each
// stack; 200 versions that follow each other; weeks of equal size. Field names
// are those of the field table. Everything follows from the seed.
//
// It walks no stacks and writes no dumps: package app/demo does.
package sample

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Crashes says which crashes to make up.
type Crashes struct {
	Seed  uint64
	Last  time.Time // the last day, UTC
	Days  int
	Count int
}

const (
	signatures  = 20_000
	functions   = 30_000
	modules     = 3_000
	stacksOfOne = 1_000_000 // stacks that one signature could have
)

// products are the programs that crash, by tenths of all crashes in share.
var products = []struct {
	name, vendor string
	share        int
}{
	{"Kite", "Kite Project", 62}, {"Ember Quest", "Smoulder Games", 20}, {"packrat", "packrat authors", 9}, {"Kite Mobile", "Kite Project", 6}, {"Kite Mail", "Kite Project", 3},
}

// IsProduct says whether a program is one of the made-up ones.
func IsProduct(name string) bool {
	for _, p := range products {
		if p.name == name {
			return true
		}
	}
	return false
}

// maker holds what all crashes are drawn from.
type maker struct {
	r         *rand.Rand
	seed      uint64
	functions []string
	modules   []string
	signature *rand.Zipf
	stack     *rand.Zipf
	module    *rand.Zipf
}

// All makes the crashes in the order of their dates.
func (c Crashes) All() iter.Seq[map[string]any] {
	return func(yield func(map[string]any) bool) {
		m := newMaker(c.Seed)
		end := c.Last.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
		span := time.Duration(max(c.Days, 1)) * 24 * time.Hour
		for n := range c.Count {
			share := float64(n) / float64(c.Count)
			if !yield(m.crash(end.Add(-span).Add(time.Duration(share*float64(span))).Truncate(time.Microsecond), share)) {
				return
			}
		}
	}
}

var words = strings.Fields("Worker Runnable Dispatch Promise Layer Buffer Render Garbage Collector Socket Cache Image Texture Audio Event Queue Thread Message Channel Frame")

func newMaker(seed uint64) *maker {
	m := &maker{r: rand.New(rand.NewPCG(seed, 1)), seed: seed}
	m.signature = rand.NewZipf(m.r, 1.1, 3, signatures-1)
	m.stack = rand.NewZipf(m.r, 1.05, 40, stacksOfOne-1)
	m.module = rand.NewZipf(m.r, 1.2, 5, modules-1)
	for i := range functions {
		m.functions = append(m.functions, fmt.Sprintf("ns%d::%s%s<T%d>::%s%d", i%97, words[i%20], words[(i/20)%20], i%13, words[(i/7)%20], i%211))
	}
	for i := range modules {
		m.modules = append(m.modules, fmt.Sprintf("module%d.dll/%032X1", i, uint64(i)*2654435761))
	}
	return m
}

// frames are the functions of one of a signature's stacks.
func (m *maker) frames(signature int) string {
	r := rand.New(rand.NewPCG(uint64(signature), m.stack.Uint64()))
	out := make([]string, 1, 12)
	out[0] = m.functions[signature]
	for range 5 + r.IntN(7) {
		out = append(out, m.functions[int(math.Pow(r.Float64(), 3)*functions)])
	}
	return strings.Join(out, " | ")
}

// crash makes one crash of a time; share is how much of all came before.
func (m *maker) crash(at time.Time, share float64) map[string]any {
	r := m.r
	id := m.id(at)
	date := at.Format("2006-01-02T15:04:05.000000+00:00")
	signature := int(m.signature.Uint64())
	p := map[string]any{
		"uuid": id, "crash_id": id, "date_processed": date, "submitted_timestamp": date, "success": true,
		"signature": m.functions[signature], "proto_signature": m.frames(signature), "report_type": pick(r, "crash", "crash", "crash", "hang"),
		"address": "0x" + hex(r.Uint64N(1<<uint(r.IntN(48)+8)), 16), "crashing_thread": r.IntN(8), "thread_count": 3 + r.IntN(147),
		"install_time": 1_700_000_000 + int64(math.Pow(r.Float64(), 1.5)*1_500_000), "install_age": r.IntN(40 * 86400), "uptime": int64(math.Exp(r.Float64() * 12)),
		"build": strconv.FormatInt(20260101000000+int64(share*180)*1_000_000+int64(r.IntN(3)), 10),
	}
	m.program(p, share)
	m.machine(p)
	m.stackParts(p)
	m.seldom(p)
	return p
}

// id is a crash id of the day.
func (m *maker) id(at time.Time) string {
	a, b := m.r.Uint64(), m.r.Uint64()
	return hex(a>>32, 8) + "-" + hex(a>>16, 4) + "-4" + hex(a, 3) + "-8" + hex(b, 3) + "-" + hex(b>>32, 5) + "0" + at.Format("060102")
}

// program sets what is known of the program that crashed.
func (m *maker) program(p map[string]any, share float64) {
	r := m.r
	at := r.IntN(100)
	for _, one := range products {
		if at -= one.share; at < 0 {
			p["product"], p["vendor"] = one.name, one.vendor
			break
		}
	}
	major := 100 + int(share*20)
	p["version"], p["major_version"] = strconv.Itoa(major)+".0b"+strconv.Itoa(r.IntN(10)), major
	p["release_channel"] = pick(r, "release", "release", "beta", "nightly", "esr")
	p["process_type"] = pick(r, "parent", "parent", "content", "gpu", "rdd", "utility")
	p["distribution_id"] = pick(r, "default", "default", "default", "store", "partner"+strconv.Itoa(r.IntN(20)))
	p["useragent_locale"] = pick(r, "en-US", "en-US", "en-GB", "de", "fr", "es-ES", "ja", "pt-BR", "pl", "zh-CN")
	p["startup_time"] = p["install_time"].(int64) + int64(r.IntN(1_000_000))
	p["startup_crash"], p["safe_mode"] = r.IntN(12) == 0, r.IntN(50) == 0
	p["productid"] = fmt.Sprintf("{%s}", hex(uint64(len(p["product"].(string)))*0x9e3779b97f4a7c15, 16))
	for _, flag := range []string{"dom_fission_enabled", "dom_ipc_enabled", "accessibility", "is_garbage_collecting", "throttleable", "windows_error_reporting", "content_sandbox_enabled", "content_sandbox_capable", "has_device_touch_screen"} {
		if r.IntN(3) > 0 {
			p[flag] = r.IntN(4) == 0
		}
	}
	if r.IntN(2) == 0 {
		p["last_crash"] = r.IntN(1_000_000)
	}
}

var platforms = [][2]string{{"Windows", "10.0."}, {"Windows", "10.0."}, {"Windows", "6.1."}, {"Linux", "6.1."}, {"Mac OS X", "15."}, {"Android", "3"}}

// machine sets what is known of the computer.
func (m *maker) machine(p map[string]any) {
	r := m.r
	platform := platforms[r.IntN(len(platforms))]
	p["os_name"], p["os_version"] = platform[0], platform[1]+strconv.Itoa(r.IntN(40))
	p["os_pretty_version"] = platform[0] + " " + strconv.Itoa(7+r.IntN(5))
	p["reason"] = pick(r, "EXCEPTION_ACCESS_VIOLATION_READ", "EXCEPTION_ACCESS_VIOLATION_WRITE", "SIGSEGV / SEGV_MAPERR", "SIGABRT", "EXCEPTION_BREAKPOINT")
	p["cpu_arch"] = pick(r, "amd64", "amd64", "x86", "arm64")
	p["cpu_info"] = fmt.Sprintf("family %d model %d stepping %d", r.IntN(4), r.IntN(50), r.IntN(10))
	p["cpu_microcode_version"] = "0x" + hex(uint64(r.IntN(200)), 2)
	p["adapter_vendor_id"], p["adapter_device_id"] = "0x"+hex(uint64(r.IntN(12))*4096+2, 4), "0x"+hex(uint64(r.IntN(300)), 4)
	p["adapter_driver_version"] = fmt.Sprintf("%d.0.%d.%d", 20+r.IntN(12), r.IntN(20), r.IntN(300))
	total := int64(1+r.IntN(64)) << 30
	p["total_physical_memory"], p["available_physical_memory"] = total, r.Int64N(total)
	p["total_virtual_memory"], p["available_virtual_memory"] = int64(1)<<47, int64(1)<<46+r.Int64N(1<<46)
	p["total_page_file"], p["available_page_file"] = total*2, r.Int64N(total*2)
	p["system_memory_use_percentage"] = r.IntN(101)
	memory := map[string]any{}
	for _, name := range []string{"explicit", "resident", "vsize", "heap_allocated", "private", "images"} {
		memory[name] = r.Int64N(4 << 30)
	}
	if r.IntN(4) > 0 {
		p["memory_measures"] = memory
	}
	p["app_notes"] = fmt.Sprintf("AdapterVendorID: 0x%04x, AdapterDeviceID: 0x%04x, FP(D00-L1000-W0000-T000)", r.IntN(12), r.IntN(300))
	if platform[0] == "Android" {
		p["android_manufacturer"], p["android_model"] = "maker"+strconv.Itoa(r.IntN(30)), "phone "+strconv.Itoa(r.IntN(400))
		p["android_version"], p["android_cpu_abi"] = strconv.Itoa(26+r.IntN(10)), pick(r, "arm64-v8a", "armeabi-v7a", "x86_64")
	}
}

// stackParts sets the modules and files of the stack and the add-ons.
func (m *maker) stackParts(p map[string]any) {
	r := m.r
	var list []string
	for range 3 + r.IntN(9) {
		list = append(list, m.modules[m.module.Uint64()])
	}
	p["modules_in_stack"] = strings.Join(list, ";")
	p["topmost_filenames"] = "src/" + strings.ToLower(pick(r, words...)) + "/file" + strconv.Itoa(int(m.module.Uint64())) + ".cpp"
	if r.IntN(3) == 0 {
		p["missing_symbols"] = list[0]
	}
	var addons []string
	for range r.IntN(4) {
		addons = append(addons, fmt.Sprintf("addon%d@example.org:1.%d", m.module.Uint64()%300, r.IntN(4)))
	}
	if len(addons) > 0 {
		p["addons"] = addons
	}
}

// seldom sets what few crashes have.
func (m *maker) seldom(p map[string]any) {
	r := m.r
	if r.IntN(20) == 0 {
		p["user_comments"] = fmt.Sprintf("it crashed %d times while watching %s today", r.IntN(100000), pick(r, "video", "news", "maps"))
	}
	if r.IntN(5) == 0 {
		p["moz_crash_reason"] = "RELEASE_ASSERT(" + m.functions[r.IntN(300)] + ")"
	}
	if r.IntN(10) == 0 {
		p["url"] = fmt.Sprintf("https://site%d.example/%d", r.IntN(500), r.IntN(1000))
	}
	if r.IntN(15) == 0 {
		p["oom_allocation_size"] = int64(1) << r.IntN(32)
	}
	if r.IntN(8) == 0 {
		p["graphics_critical_error"] = fmt.Sprintf("|[0][GFX1-]: Failed %s buffer %d", pick(r, words...), r.IntN(500))
	}
	if r.IntN(30) == 0 {
		p["ipc_channel_error"] = pick(r, "ShutDownKill", "Channel error")
	}
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// hex writes the last n hex digits of v.
func hex(v uint64, n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		b[i] = digits[v&15]
		v >>= 4
	}
	return string(b)
}
