// Package sketch counts distinct values in little memory, about: HyperLogLog
// (Flajolet and others, 2007) with 64-bit hashes. A sketch is a slice of 2^p
// bytes; its standard error is 1.04 / sqrt(2^p), 0.4 % with p = 16.
//
// It does not hash, and does not merge or store sketches.
package sketch

import (
	"math"
	"math/bits"
)

// Add takes the hash of a value into a sketch of 2^p registers.
func Add(registers []uint8, hash uint64) {
	p := bits.TrailingZeros(uint(len(registers)))
	at := hash >> (64 - p)
	registers[at] = max(registers[at], uint8(bits.LeadingZeros64(hash<<p|1<<(p-1)))+1)
}

// Estimate is about how many distinct values were added.
func Estimate(registers []uint8) int64 {
	m := float64(len(registers))
	sum, empty := 0.0, 0
	for _, r := range registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	n := 0.7213 / (1 + 1.079/m) * m * m / sum
	if n <= 2.5*m && empty > 0 { // few keys: by the registers that none came to
		n = m * math.Log(m/float64(empty))
	}
	return int64(math.Round(n))
}
