package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"mayday/app/fault"
)

func TestOf(t *testing.T) {
	base := errors.New("disk on fire")
	for _, c := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"plain", base, fault.Internal},
		{"given at the origin", fault.New(fault.NotFound, "crash %s", "x"), fault.NotFound},
		{"kept by Wrap", fault.Wrap(fault.New(fault.TooLarge, "part"), "read body"), fault.TooLarge},
		{"kept by fmt", fmt.Errorf("read: %w", fault.New(fault.Conflict, "upload")), fault.Conflict},
		{"outermost wins", fault.As(fault.Unavailable, fault.New(fault.NotFound, "bucket"), "open"), fault.Unavailable},
		{"context canceled", fmt.Errorf("get: %w", context.Canceled), fault.Canceled},
		{"deadline", context.DeadlineExceeded, fault.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fault.Of(c.err); got != c.want {
				t.Errorf("Of(%v) = %v, want %v", c.err, got, c.want)
			}
		})
	}
}

func TestContextIsAdded(t *testing.T) {
	base := fault.New(fault.Malformed, "3 threads claimed, 40 bytes left")
	err := func() (err error) {
		defer fault.In(&err, "read thread list")
		return base
	}()
	if got, want := err.Error(), "read thread list: 3 threads claimed, 40 bytes left"; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if !errors.Is(err, base) {
		t.Error("the cause is not reachable")
	}
	if fault.Wrap(nil, "x") != nil || fault.As(fault.Invalid, nil, "x") != nil {
		t.Error("nil did not stay nil")
	}
}

func TestPolicies(t *testing.T) {
	names := map[string]bool{}
	for i, p := range fault.Policies() {
		if int(p.Kind) != i {
			t.Errorf("policy %d is for kind %d", i, p.Kind)
		}
		if names[p.Name] {
			t.Errorf("name %q stands twice", p.Name)
		}
		names[p.Name] = true
		if p.Status < 400 || p.Status > 599 {
			t.Errorf("%s: status %d", p.Name, p.Status)
		}
	}
	if got := fault.Kind(200).Status(); got != 500 {
		t.Errorf("unknown kind answers %d, want 500", got)
	}
}
