package playbooks

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A run that waits for the guard is not forgotten when a row of it turns out to be old that
// was read before it began to wait.
func TestHeldRunIsKeptBesideAnOldRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Hosts: anyHost})
		if _, err := e.Pause(t.Context(), "ann", "lunch"); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		run := j.all()[0]
		if run.State != soar.RunWaiting || !run.Wake.After(time.Now()) {
			t.Fatalf("%+v", run)
		}
		old := run
		old.Wake = time.Now()
		var workers sync.WaitGroup
		p := &pool{e: e, ctx: t.Context(), wg: &workers, runs: make(chan struct{}, 1)}
		if !p.start(t.Context(), old, whenDue) {
			t.Fatal("not looked at")
		}
		workers.Wait()
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := server.called("fake.once"); n != 1 {
			t.Errorf("%d calls were sent", n)
		}
		stop()
	})
}
