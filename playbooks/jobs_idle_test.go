package playbooks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// slowAction is fleet.act, with an answer that takes from half a minute to a minute and a
// half: at once, as that of a live query does, or of the command that it sends.
type slowAction struct {
	*fleetAction
	blocks bool

	mu   sync.Mutex
	sent int
	ends map[string]time.Time // by host
}

func (a *slowAction) Do(_ context.Context, call Call) (Outcome, error) {
	host := call.With["host"].(string)
	a.mu.Lock()
	a.sent++
	took := time.Duration(30+a.sent*7%60) * time.Second
	a.ends[host] = time.Now().Add(took)
	a.mu.Unlock()
	if a.blocks {
		time.Sleep(took)
		return Outcome{State: soar.StepExecuted}, nil
	}
	return Outcome{State: soar.StepAccepted, Ref: host, Target: host, PollAfter: took}, nil
}

func (a *slowAction) Poll(_ context.Context, _ Call, ref string) (Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if left := time.Until(a.ends[ref]); left > 0 {
		return Outcome{State: soar.StepAccepted, PollAfter: left}, nil
	}
	return Outcome{State: soar.StepExecuted}, nil
}

// underWay counts the calls of a job, and those of them that have no answer yet.
func (a *slowAction) underWay(hosts []JobHost) (sent, open int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range hosts {
		if end, called := a.ends[h.ID]; called {
			sent++
			open += b2i(time.Now().Before(end))
		}
	}
	return sent, open
}

// While jobs have hosts left that may be called, as many calls are under way as the limit
// lets be, however long each of them takes.
func TestJobsLeaveNoPlaceIdle(t *testing.T) {
	const jobs, hosts, atOnce, limit = 4, 120, 20, 50
	for _, effect := range []Effect{Reads, Once} {
		for _, blocks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, blocks %t", effect, blocks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := newMemJournal()
					act := &slowAction{fleetAction: newFleetAction(newFakeServer(), effect), blocks: blocks, ends: map[string]time.Time{}}
					g := jobGuard(t, guard.Settings{Limits: []guard.Limit{{Name: "jobs", Concurrent: limit}}})
					e, stop := running(t, j, map[string]Action{"fleet.act": act}, nil, EngineOptions{Guard: g, Hosts: anyHost, CallTimeout: time.Hour})
					defer stop()
					var all [jobs][]JobHost
					for n := range all {
						all[n] = hostsOfJob(hosts)
						for i := range all[n] {
							all[n][i].ID = fmt.Sprintf("%d-%d", n, i)
						}
						order := JobOrder{Action: "fleet.act", With: map[string]any{"text": fmt.Sprint(n)}, Hosts: all[n], AtOnce: atOnce, By: "ann", Reason: "r"}
						if _, err := e.StartJob(t.Context(), order); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(500 * time.Millisecond) // answers come at whole seconds
					for second := 0; ; second++ {
						open, could, sent := 0, 0, 0
						for _, list := range all {
							s, o := act.underWay(list)
							open, could, sent = open+o, could+min(atOnce, o+hosts-s), sent+s
						}
						if could = min(could, limit); open != could {
							t.Fatalf("after %ds, %d calls are under way and %d could be; %d of %d were sent", second, open, could, sent, jobs*hosts)
						}
						if sent == jobs*hosts {
							return
						}
						time.Sleep(time.Second)
					}
				})
			})
		}
	}
}
