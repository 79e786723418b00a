package processor

import (
	"testing"

	"mayday/storage/queue"
)

// Where all queues have something waiting, they are served by weight; where
// only one has, it has every turn.
func TestChooseByWeight(t *testing.T) {
	p := newPool()
	count := map[queue.Name]int{}
	for range 110 {
		for _, row := range pulled {
			if p.places[row.name] == nil {
				p.places[row.name] = &delivery{queue: row.name}
			}
		}
		count[p.choose().queue]++
	}
	if count[queue.Standard] != 50 || count[queue.Priority] != 50 || count[queue.Reprocessing] != 10 {
		t.Errorf("served %v, want 50, 50 and 10", count)
	}
	p = newPool()
	for range 10 {
		p.places[queue.Reprocessing] = &delivery{queue: queue.Reprocessing}
		if d := p.choose(); d == nil || d.queue != queue.Reprocessing {
			t.Fatalf("got %v", d)
		}
	}
	if p.choose() != nil {
		t.Error("something came of nothing")
	}
}

func TestTryCountForgets(t *testing.T) {
	var c tryCount
	for i := range 3 {
		if n := c.next("a"); n != i+1 {
			t.Errorf("try %d, want %d", n, i+1)
		}
	}
	c.forget("a")
	if n := c.next("a"); n != 1 {
		t.Errorf("try %d after forgetting, want 1", n)
	}
}
