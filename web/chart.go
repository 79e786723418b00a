package web

import (
	"time"

	"mayday/storage/search"
)

// bars is a bar chart by day, laid out for templates/partials.html.
type bars struct {
	Label                string
	Width, Height, Floor int
	Bars                 []bar
	Ticks                []tick
}

type bar struct {
	X, Y, W, H float64
	Label      string
	Count      int64
}

type tick struct {
	X, Y   float64
	Anchor string // start, middle or end
	Text   string
}

// byDay lays out the buckets of a date histogram over the days from first to
// last, both included; days without a bucket have no bar.
func byDay(f *search.Facet, first, last time.Time, label string) bars {
	const width, height, floor = 640, 110, 92
	b := bars{Label: label, Width: width, Height: height, Floor: floor}
	first, last = midnight(first), midnight(last)
	days := int(last.Sub(first).Hours()/24) + 1
	if days < 1 || days > 400 {
		return b
	}
	counts := make([]int64, days)
	if f != nil {
		for _, bucket := range f.Buckets {
			text, _ := bucket.Term.(string)
			day, err := time.Parse(time.RFC3339, text)
			if err != nil {
				continue
			}
			if i := int(day.Sub(first).Hours() / 24); i >= 0 && i < days {
				counts[i] += bucket.Count
			}
		}
	}
	most := int64(1)
	for _, n := range counts {
		most = max(most, n)
	}
	step := float64(width) / float64(days)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		h := max(1, float64(floor-14)*float64(n)/float64(most))
		b.Bars = append(b.Bars, bar{X: round(float64(i)*step + step*.1), Y: round(floor - h), W: round(step * .8), H: round(h),
			Label: first.AddDate(0, 0, i).Format("2 January"), Count: n})
	}
	b.Ticks = []tick{
		{0, height - 4, "start", first.Format("2 Jan")},
		{width, height - 4, "end", last.Format("2 Jan")},
		{0, 9, "start", thousandsOf(most)},
	}
	if days > 4 {
		b.Ticks = append(b.Ticks, tick{width / 2, height - 4, "middle", first.AddDate(0, 0, days/2).Format("2 Jan")})
	}
	return b
}

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func round(v float64) float64 { return float64(int(v*10+.5)) / 10 }
