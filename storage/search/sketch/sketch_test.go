package sketch

import (
	"math/rand/v2"
	"testing"
)

func TestEstimateIsClose(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, 5_000, 300_000, 1_000_000} {
		registers := make([]uint8, 1<<14)
		for range n {
			h := r.Uint64()
			Add(registers, h)
			Add(registers, h) // twice is once
		}
		got := float64(Estimate(registers))
		if off := got - float64(n); off > .03*float64(n)+.5 || -off > .03*float64(n)+.5 {
			t.Errorf("%d values: %v", n, got)
		}
	}
}
