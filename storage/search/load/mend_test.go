package load_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/zap"

	"mayday/storage/search/load"
)

func TestMenderMendsWhatIsBroken(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked, mended := 0, 0
	m := load.Mender{Log: zap.NewNop(),
		Broken: func() []string { asked++; return []string{"2026/47"} },
		Mend: func(context.Context) error {
			if mended++; mended == 1 {
				cancel()
				return errors.New("the bucket does not answer")
			}
			return nil
		}}
	if err := m.Run(ctx); err != nil || asked != 1 || mended != 1 {
		t.Errorf("%v; asked %d, mended %d times", err, asked, mended)
	}
	m.Broken = func() []string { asked++; return nil }
	if err := m.Run(ctx); err != nil || mended != 1 {
		t.Errorf("a whole index was mended: %v", err)
	}
}
