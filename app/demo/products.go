package demo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// product is a made-up program.
type product struct {
	vendor   string
	main     byte // platform that most people use
	exe      string
	library  string
	releases []release
}

// release is a version on a channel, in use between two days before the end.
type release struct {
	version, channel string
	from, until      int // days before the end; from is the larger
	share            int
}

var products = map[string]*product{
	"Kite": {vendor: "Kite Project", main: 'w', exe: "kite", library: "sail", releases: []release{
		{"12.1.0", "release", 60, 18, 60}, {"12.2.0", "release", 20, 0, 60}, {"12.2.1", "release", 8, 0, 70},
		{"12.3b2", "beta", 60, 12, 15}, {"12.3b4", "beta", 13, 0, 18}, {"13.0a1", "nightly", 60, 0, 9},
	}},
	"Ember Quest": {vendor: "Smoulder Games", main: 'w', exe: "EmberQuest", library: "embercore", releases: []release{
		{"1.3.0", "release", 60, 10, 80}, {"1.3.1", "release", 22, 6, 60}, {"1.4.0", "release", 11, 0, 90}, {"1.5.0", "beta", 9, 0, 8},
	}},
	"packrat": {vendor: "packrat authors", main: 'l', exe: "packrat", library: "packrat_core", releases: []release{
		{"0.8.2", "release", 60, 0, 40}, {"0.9.0", "release", 17, 0, 60},
	}},
}

// pick draws the version of somebody who crashes on a day.
func (p *product) pick(r *rand.Rand, back int) release {
	total := 0
	for _, x := range p.releases {
		total += x.weight(back)
	}
	if total == 0 {
		return p.releases[0]
	}
	at := r.IntN(total)
	for _, x := range p.releases {
		if at -= x.weight(back); at < 0 {
			return x
		}
	}
	return p.releases[len(p.releases)-1]
}

// weight grows over the first week of a release and fades after its end.
func (x release) weight(back int) int {
	switch {
	case back > x.from:
		return 0
	case back < x.until:
		return x.share / max(1, x.until-back)
	}
	return max(1, x.share*min(7, 1+x.from-back)/7)
}

// buildID is the time a release was built, as YYYYMMDDhhmmss.
func (m Month) buildID(name string, x release) string {
	r := m.random("build", name, x.version)
	day := m.Last.UTC().Truncate(24*time.Hour).AddDate(0, 0, -x.from-1-r.IntN(2))
	return day.Add(time.Duration(r.IntN(86400)) * time.Second).Format("20060102150405")
}

var (
	locales  = []string{"en-US", "en-US", "en-GB", "de", "fr", "es-ES", "ja", "pt-BR", "pl", "zh-CN"}
	comments = []string{
		"It just closed while I was reading.", "third time today!!", "Happens whenever I open a second window.", "was watching a video",
		"pressed back and it crashed", "I lost my work :(", "Nach dem Aufwachen aus dem Standby.", "no idea, please fix",
	}
	pages  = []string{"https://news.example/today", "https://video.example/watch?v=42", "https://mail.example/inbox", "https://shop.example/cart", "about:blank"}
	phones = [][3]string{{"Acme", "One 5", "arm64-v8a"}, {"Birch", "B20 Pro", "arm64-v8a"}, {"Corvid", "Raven 3", "arm64-v8a"}}
	cards  = [][2]string{{"0x10de", "0x1b80"}, {"0x8086", "0x5917"}, {"0x1002", "0x731f"}, {"0x8086", "0x9a49"}}
)

// annotations are what the program's crash reporter would send.
func (m Month) annotations(r *rand.Rand, c Crash, rel release) map[string]string {
	name := c.program.product
	p := products[name]
	crashed := c.Submitted.Add(-time.Duration(5+r.IntN(900)) * time.Second)
	uptime := int(r.ExpFloat64()*2400) + 1
	install := crashed.Add(-time.Duration(r.IntN(40*86400)) * time.Second).Truncate(6 * time.Hour)
	memory := int64(4+4*r.IntN(8)) << 30
	a := map[string]string{
		"ProductName": name, "Version": rel.version, "ReleaseChannel": rel.channel, "Vendor": p.vendor, "BuildID": m.buildID(name, rel),
		"CrashTime": strconv.FormatInt(crashed.Unix(), 10), "StartupTime": strconv.FormatInt(crashed.Unix()-int64(uptime), 10),
		"InstallTime": strconv.FormatInt(install.Unix(), 10), "UptimeTS": fmt.Sprintf("%d.%d", uptime, r.IntN(10)),
		"TotalPhysicalMemory": strconv.FormatInt(memory, 10), "AvailablePhysicalMemory": strconv.FormatInt(int64(float64(memory)*(.05+.6*r.Float64())), 10),
		"useragent_locale": locales[r.IntN(len(locales))], "SubmittedFrom": "Client",
	}
	if c.culprit.process != "parent" {
		a["ProcessType"] = c.culprit.process
	}
	if r.IntN(5) == 0 {
		a["SecondsSinceLastCrash"] = strconv.Itoa(r.IntN(20 * 86400))
	}
	if r.IntN(12) == 0 {
		a["Comments"] = comments[r.IntN(len(comments))]
	}
	if name == "Kite" && r.IntN(3) > 0 {
		a["URL"] = pages[r.IntN(len(pages))]
	}
	if uptime < 10 {
		a["StartupCrash"] = "1"
	}
	if strings.IndexByte("wx", c.program.platform) >= 0 {
		card := cards[r.IntN(len(cards))]
		a["AdapterVendorID"], a["AdapterDeviceID"] = card[0], card[1]
	}
	if c.program.platform == 'a' {
		phone := phones[r.IntN(len(phones))]
		a["Android_Manufacturer"], a["Android_Model"], a["Android_CPU_ABI"], a["Android_Version"] = phone[0], phone[1], phone[2], strconv.Itoa(30+r.IntN(6))+" (REL)"
	}
	switch c.culprit.fault {
	case "java":
		a["JavaStackTrace"] = javaStack(c.culprit)
	case "nodump":
		a["Notes"] = "The minidump could not be written: no space left on device."
	case "abort":
		if strings.HasPrefix(c.culprit.calls[0], "core::") {
			a["MozCrashReason"] = "called `Option::unwrap()` on a `None` value"
		}
	}
	return a
}

// javaStack is the exception of a crash in Java code.
func javaStack(c *culprit) string {
	class := strings.TrimSuffix(c.file, ".kt")
	return c.calls[0] + ": in " + class + "\n" +
		"\tat org.kite.browser." + class + ".onEvent(" + c.file + ":118)\n" +
		"\tat org.kite.browser.Dispatcher.deliver(Dispatcher.kt:52)\n" +
		"\tat android.os.Handler.dispatchMessage(Handler.java:106)\n" +
		"\tat android.os.Looper.loop(Looper.java:223)\n"
}

// Products names the made-up programs.
func Products() []string { return []string{"Ember Quest", "Kite", "packrat"} }

// IsProduct reports whether a program is one of the made-up ones.
func IsProduct(name string) bool { return products[name] != nil }
