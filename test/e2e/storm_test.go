package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Every crash that was answered with an id has, after any number of kills, one
// processed crash and one search hit.
func TestStormOfKills(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	s := start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dump := sampleDump(t)

	var mu sync.Mutex
	answered := map[string]bool{}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for sender := range 4 {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				body, kind := form(map[string]string{"ProductName": "Storm", "Version": "1.0", "Sender": fmt.Sprint(sender), "N": fmt.Sprint(n)},
					map[string][]byte{"upload_file_minidump": dump})
				status, text, err := s.post(bytes.NewReader(body), kind, nil)
				if err != nil || status != 200 {
					time.Sleep(20 * time.Millisecond) // the server is down just now
					continue
				}
				mu.Lock()
				answered[idOf(t, text)] = true
				mu.Unlock()
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(100+random.IntN(700)) * time.Millisecond)
		s.kill()
		s.restart()
	}
	close(stop)
	senders.Wait()
	if len(answered) < kills {
		t.Fatalf("only %d crashes were answered", len(answered))
	}
	t.Logf("%d crashes answered, %d kills", len(answered), kills)

	// Crashes whose answer never left may be there too, so each id is looked for.
	for id := range answered {
		s.eventually("crash "+id+" can be found", func() error {
			if n, err := s.hits(id); err != nil || n == 0 {
				return fmt.Errorf("%d hits, %v", n, err)
			}
			return nil
		})
	}
	for id := range answered {
		// Crashes whose answer never left were counted above, too: one of the
		// answered may still be on its way.
		s.eventually("crash "+id+" can be found once", func() error {
			if n, err := s.hits(id); err != nil || n != 1 {
				return fmt.Errorf("%d search hits (%v)", n, err)
			}
			return nil
		})
		object := filepath.Join(s.dir, "crashes", "v1", "processed_crash", id)
		if _, err := os.Stat(object); err != nil {
			t.Errorf("crash %s was answered and has no processed crash: %v", id, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
}
