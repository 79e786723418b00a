// Package demo makes up a month of crashes of three made-up programs: a
// browser, a game and a command-line tool, on five platforms, with versions
// that roll out, some sixty causes with a long tail, one that begins with a
// version, ones that spike for two days, ones that were fixed. It serves
// `mayday demo`, the load generator and screenshots.
//
// Everything follows from the seed and the calendar: a day of the month has the
// same crashes whenever it is generated, ids included. So sending a month twice
// changes nothing, and sending it again tomorrow adds a day. Dumps and symbols
// are built by minidump/synth. What crashes is data: culprits.tsv.
//
// The package sends nothing; package app does.
package demo

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

//go:embed culprits.tsv
var culpritText string

// Month says which crashes to make up.
type Month struct {
	Seed    uint64
	Last    time.Time // the last day, UTC
	Days    int
	Crashes int // about as many in all
}

// Crash is one report, ready to be sent.
type Crash struct {
	ID          string // crash id of the day it happened on
	Submitted   time.Time
	Annotations map[string]string
	Signature   string // that should come out; "" is not foretold
	culprit     *culprit
	program     *program
	random      uint64
}

// culprit is a row of culprits.tsv.
type culprit struct {
	product   string
	weight    int
	process   string
	platforms string
	fault     string
	when      string
	file      string
	calls     []string // innermost first
}

// culprits reads the table; a test makes sure that it can be read.
func culprits() []culprit {
	var out []culprit
	for _, line := range strings.Split(culpritText, "\n") {
		f := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") || len(f) != 8 {
			continue
		}
		weight, err := strconv.Atoi(f[1])
		if err != nil {
			continue
		}
		out = append(out, culprit{f[0], weight, f[2], f[3], f[4], f[5], f[6], strings.Split(f[7], " < ")})
	}
	return out
}

// All generates the crashes, oldest day first.
func (m Month) All() iter.Seq[Crash] {
	return func(yield func(Crash) bool) {
		table := culprits()
		last := m.Last.UTC().Truncate(24 * time.Hour)
		for back := m.Days - 1; back >= 0; back-- {
			day := last.AddDate(0, 0, -back)
			for n := range m.onDay(day) {
				if !yield(m.crash(table, day, back, n)) {
					return
				}
			}
		}
	}
}

// Count is how many crashes All generates.
func (m Month) Count() int {
	total := 0
	last := m.Last.UTC().Truncate(24 * time.Hour)
	for back := range m.Days {
		total += m.onDay(last.AddDate(0, 0, -back))
	}
	return total
}

// onDay is the number of crashes of a day: fewer at the weekend, and never the
// same twice.
func (m Month) onDay(day time.Time) int {
	share := float64(m.Crashes) / float64(max(m.Days, 1))
	factor := 1.06
	if w := day.Weekday(); w == time.Saturday || w == time.Sunday {
		factor = .85
	}
	r := m.random("day", day.Format(time.DateOnly))
	return max(1, int(math.Round(share*factor*(.94+.12*r.Float64()))))
}

// random is a generator of its own for each thing that is named.
func (m Month) random(parts ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, parts...)
	return rand.New(rand.NewPCG(m.Seed, h.Sum64()))
}

// crash makes up crash n of a day, which is back days before the last one.
func (m Month) crash(table []culprit, day time.Time, back, n int) Crash {
	r := m.random("crash", day.Format(time.DateOnly), n)
	version := map[string]release{}
	for name, p := range products {
		version[name] = p.pick(r, back)
	}
	c := pickCulprit(table, r, back, version)
	rel := version[c.product]
	platform := c.platforms[r.IntN(len(c.platforms))]
	if r.IntN(10) < 6 && strings.IndexByte(c.platforms, products[c.product].main) >= 0 {
		platform = products[c.product].main
	}
	// People use computers by day, most of them in the evening.
	second := int(86400 * (.35 + .62*math.Sqrt(r.Float64())))
	at := day.Add(time.Duration(min(second, 86399)) * time.Second).Add(time.Duration(r.IntN(1e6)) * time.Microsecond)
	out := Crash{ID: crashID(r, day), Submitted: at, culprit: c, program: &program{product: c.product, release: rel, platform: platform}, random: r.Uint64()}
	out.Annotations = m.annotations(r, out, rel)
	if c.fault != "java" && c.fault != "nodump" {
		out.Signature = c.calls[0]
	}
	return out
}

// pickCulprit draws by weight among what can happen on the day.
func pickCulprit(table []culprit, r *rand.Rand, back int, version map[string]release) *culprit {
	weights := make([]int, len(table))
	total := 0
	for i := range table {
		weights[i] = table[i].weightOn(back, version[table[i].product].version)
		total += weights[i]
	}
	at := r.IntN(total)
	for i := range table {
		if at -= weights[i]; at < 0 {
			return &table[i]
		}
	}
	return &table[0]
}

// spikeFactor is how much more often than its weight says a cause occurs while
// it spikes.
const spikeFactor = 6

// weightOn is how likely a culprit is on a day, for the version in use.
func (c *culprit) weightOn(back int, version string) int {
	word, rest, _ := strings.Cut(c.when, " ")
	switch word {
	case "from":
		if versionLess(version, rest) {
			return 0
		}
	case "until":
		if versionLess(rest, version) && !strings.HasPrefix(version, rest) {
			return 0
		}
	case "spike":
		start, length, _ := strings.Cut(rest, "+")
		from, err := strconv.Atoi(start)
		days, err2 := strconv.Atoi(length)
		if err != nil || err2 != nil || back > from || back <= from-days {
			return c.weight / 20
		}
		return c.weight * spikeFactor
	}
	return c.weight
}

// versionLess compares the numbers of two versions.
func versionLess(a, b string) bool {
	as, bs := strings.FieldsFunc(a, notDigit), strings.FieldsFunc(b, notDigit)
	for i := 0; i < len(as) && i < len(bs); i++ {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX == nil && errY == nil && x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// crashID makes the id of an accepted crash of a day.
func crashID(r *rand.Rand, day time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return text[:29] + "0" + day.Format("060102")
}
