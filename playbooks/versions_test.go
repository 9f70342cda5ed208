package playbooks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A folder that changes all the time leaves a bounded number of versions behind, and
// a run goes on with its own however many came after it.
func TestVersionsDoNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		edition := func(n int) *Set {
			return loadText(t, actions, fmt.Sprintf(`
playbook: p
steps:
  - {id: wait, do: fake.once, timeout: 5h}
  - {do: fake.repeat, with: {edition: "%d"}}
`, n), "playbook: other\non: manual\nsteps: [{do: fake.repeat}]")
		}
		server.pollAfter, server.executedAfter = time.Hour, 1
		e, stop := running(t, j, actions, edition(0), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		for n := range 10 * maxOldVersions {
			e.Reload(edition(n + 1))
			if n%100 == 0 {
				j.put(t, testAlert(fmt.Sprint("a", n)))
				time.Sleep(time.Second)
			}
		}
		e.mu.Lock()
		inForce, old, stored := len(e.versions.inForce), len(e.versions.old), len(e.versions.stored)
		gone := e.versions.find(j.all()[0].Version) == nil
		e.mu.Unlock()
		if inForce != 2 || old > maxOldVersions || stored > 2 || !gone {
			t.Errorf("%d in force, %d old, %d stored, the first gone: %t", inForce, old, stored, gone)
		}
		time.Sleep(4 * time.Hour)
		stop()
		said := map[any]bool{}
		for _, c := range server.done("fake.repeat") {
			said[c.with["edition"]] = true
		}
		for _, n := range []int{0, 1, 101, 601} {
			if !said[fmt.Sprint(n)] {
				t.Errorf("edition %d: its run did not go on with it: %v", n, said)
			}
		}
		for _, run := range j.all() {
			if run.State != soar.RunDone {
				t.Errorf("run %s: %s %s", run.ID, run.State, run.Error)
			}
		}
	})
}

func TestOldVersions(t *testing.T) {
	var v versions
	book := func(n int) *Playbook { return &Playbook{Hash: fmt.Sprint(n)} }
	v.replace(NewSet(book(0)))
	v.keep("0")
	for n := range maxOldVersions {
		v.add(book(n + 1))
	}
	v.find("1") // and so 2 is the oldest
	v.add(book(100))
	v.add(book(100))
	if v.find("0") == nil || v.find("1") == nil || v.find("2") != nil || v.find("3") == nil || len(v.old) != maxOldVersions {
		t.Errorf("%d old ones, 2 is %v", len(v.old), v.find("2"))
	}
	v.replace(NewSet(book(100)))
	v.keep("0")
	if v.find("0") == nil || v.stored["0"] || v.inForce["100"] == nil || len(v.old) != maxOldVersions {
		t.Errorf("%d old ones, stored %v", len(v.old), v.stored)
	}
}
