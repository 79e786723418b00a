package debuginfo

import (
	"context"
	"unsafe"

	"mayday/app/fault"
)

// Meter counts what reading keeps in memory, and looks at a context now and
// then.
type Meter struct {
	left  int64
	limit int64
	steps int64 // since the last look at ctx
	ctx   context.Context
}

// NewMeter makes a meter for memory bytes.
func NewMeter(ctx context.Context, memory int64) *Meter {
	return &Meter{left: memory, limit: memory, ctx: ctx}
}

// Left is how many bytes may still be kept.
func (m *Meter) Left() int { return int(max(m.left, 0)) }

// Take counts n bytes that are kept from now on. They are steps too: whoever
// keeps them has moved them.
func (m *Meter) Take(n int64) error {
	if n > m.left {
		return fault.New(fault.TooLarge, "more than %d bytes of memory are needed", m.limit)
	}
	m.left -= n
	return m.step(n / moved)
}

// Give counts n bytes that are kept no more.
func (m *Meter) Give(n int64) { m.left += n }

const (
	// pause is how many steps are taken between looks at the context: some tens
	// of microseconds.
	pause = 4096
	// moved is how many bytes are read, cleaned and kept in the time of a step.
	moved = 64
)

// Step is called for each small piece of work. The error is the context's.
func (m *Meter) Step() error { return m.step(1) }

func (m *Meter) step(n int64) error {
	if m.steps += n; m.steps < pause {
		return nil
	}
	m.steps = 0
	return m.Check()
}

// Check is the context's error, with its kind.
func (m *Meter) Check() error {
	switch err := m.ctx.Err(); err {
	case nil:
		return nil
	case context.DeadlineExceeded:
		return fault.As(fault.Timeout, err, "stopped")
	default:
		return fault.As(fault.Canceled, err, "stopped")
	}
}

// Append appends a value to a list whose room m counts. Lists grow by a quarter,
// since twice what is needed would be most of the memory.
func Append[T any](m *Meter, list []T, v T) ([]T, error) {
	if len(list) < cap(list) {
		return append(list, v), nil
	}
	const least = 8
	room := max(least, len(list)+len(list)/4)
	if len(list) < quick {
		room = max(1, 2*len(list))
	}
	size := int64(unsafe.Sizeof(v))
	if err := m.Take(int64(room) * size); err != nil {
		return list, err
	}
	grown := make([]T, len(list), room)
	copy(grown, list)
	m.Give(int64(cap(list)) * size)
	return append(grown, v), nil
}

// quick is up to how many values a list grows by doubling.
const quick = 1024
