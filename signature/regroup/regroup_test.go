package regroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	c := Changes{KeepIDs: true}
	for _, crash := range [][3]string{
		{"1", "malloc", "malloc | Load"}, {"2", "malloc", "malloc | Save"}, {"3", "malloc", "malloc | Load"},
		{"4", "Tick", "Tick"}, {"5", "Tock", "Tick"}, {"", "Tock", "Tick"},
	} {
		c.Add(crash[0], crash[1], crash[2])
	}
	want := Report{
		Crashes: 6, Changed: 5, Before: 3, After: 3,
		Moves: []Move{
			{"Tock", "Tick", 2, []string{"5"}},
			{"malloc", "malloc | Load", 2, []string{"1", "3"}},
			{"malloc", "malloc | Save", 1, []string{"2"}},
		},
		Split:  []Group{{"malloc", 3, []Part{{"malloc | Load", 2}, {"malloc | Save", 1}}}},
		Merged: []Group{{"Tick", 3, []Part{{"Tock", 2}, {"Tick", 1}}}},
		IDs:    []string{"1", "2", "3", "5"},
	}
	if d := cmp.Diff(want, c.Report()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNothing(t *testing.T) {
	var c Changes
	c.Add("1", "a", "a")
	want := Report{Crashes: 1, Before: 1, After: 1, Moves: []Move{}, Split: []Group{}, Merged: []Group{}}
	if d := cmp.Diff(want, c.Report()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
