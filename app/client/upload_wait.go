package client

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"mayday/app/fault"
)

const (
	// defaultWait is how long the command waits for symbols: a browser's takes
	// minutes, and there may be others before it.
	defaultWait = 10 * time.Minute
	// askEvery is how often it asks at first, and at most how seldom.
	askEvery  = 300 * time.Millisecond
	askSeldom = 3 * time.Second
)

// conversion is what becomes of the symbols of a build whose raw debug files
// were sent.
type conversion struct {
	CodeID string `json:"code_id"`
	State  string
	Reason string
	Keys   []string
}

// sentTo notes an upload whose files the server may make symbols of.
func (u *symbolUpload) sentTo(upload int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if upload != 0 && !slices.Contains(u.uploads, upload) {
		u.uploads = append(u.uploads, upload)
	}
}

// await waits until the server has made symbols of the raw debug files that
// were sent, and says of each build what was made of it. Its error says that
// there are builds without symbols.
func (u *symbolUpload) await(ctx context.Context, limit time.Duration) error {
	if limit <= 0 || len(u.uploads) == 0 {
		return nil
	}
	end := time.Now().Add(limit)
	told := map[string]bool{}
	failed := 0
	open := u.uploads // those that something of waits
	for pause := askEvery; ; pause = min(2*pause, askSeldom) {
		waiting := 0
		asked := open
		open = nil
		for _, id := range asked {
			list, err := u.conversions(ctx, id)
			if err != nil {
				return err
			}
			before := waiting
			for _, v := range list {
				switch {
				case v.State == "waiting":
					waiting++
				case told[v.CodeID]:
				default:
					told[v.CodeID] = true
					if v.State == "failed" {
						failed++
					}
					u.tell(v)
				}
			}
			if waiting > before {
				open = append(open, id)
			}
		}
		switch {
		case waiting > 0 && !time.Now().Before(end):
			u.progress.say("the symbols of %d builds are not made yet; the page of the upload will tell", waiting)
		case waiting > 0:
			u.progress.wait("waiting for the symbols of %d builds", waiting)
			select {
			case <-ctx.Done():
				return fault.Wrap(ctx.Err(), "wait for symbols")
			case <-time.After(pause):
			}
			continue
		}
		if failed > 0 {
			return fault.New(refused, "no symbols were made of %d builds", failed)
		}
		return nil
	}
}

// tell says what became of a build.
func (u *symbolUpload) tell(v conversion) {
	switch {
	case v.State == "failed":
		u.progress.say("no symbols of build %s: %s", v.CodeID, v.Reason)
	case !u.quiet && len(v.Keys) > 0:
		u.progress.say("symbols of build %s: %s", v.CodeID, strings.Join(v.Keys, ", "))
	case !u.quiet:
		u.progress.say("symbols of build %s: %s", v.CodeID, v.Reason)
	}
}

// conversions asks what becomes of the files of an upload. A server that makes
// no symbols, such as Tecken, knows none.
func (u *symbolUpload) conversions(ctx context.Context, upload int64) ([]conversion, error) {
	var answer struct{ Conversions []conversion }
	_, err := u.call(ctx, http.MethodGet, fmt.Sprintf("%s/upload/status/%d", u.url, upload), nil, map[string]string{"Auth-Token": u.token}, &answer)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return answer.Conversions, err
}
