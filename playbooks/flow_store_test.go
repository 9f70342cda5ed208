package playbooks

import (
	"fmt"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Groups on the real store: the engine is stopped in the middle of its work again and
// again, and in the end all is done, and done once.
func TestGroupsOnTheRealStore(t *testing.T) {
	s, server := openStore(t, t.TempDir()), newFakeServer()
	server.pollAfter = time.Millisecond
	actions := server.actions()
	set := loadText(t, actions, fmt.Sprintf(flowBooks[0], "fake.marked"), fmt.Sprintf(flowBooks[1], "fake.marked"))
	const alerts = 60
	var batch []soar.Alert
	for i := range alerts {
		batch = append(batch, testAlert(fmt.Sprint(i)))
	}
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: batch}); err != nil {
		t.Fatal(err)
	}
	finished := func() int {
		n := 0
		eachRun(t, s, func(r soar.Run) {
			switch r.State {
			case soar.RunDone:
				n++
			case soar.RunFailed, soar.RunUnknown:
				t.Fatalf("run %s: %s", r.State, r.Error)
			}
		})
		return n
	}
	stopAgainAndAgain(t, s, actions, set, func() bool { return finished() == alerts })
	happened := map[string]int{}
	for _, c := range server.done("fake.marked") {
		happened[c.with["a"].(string)]++
	}
	for i := range alerts {
		for _, call := range flowCalls {
			if n := happened[fmt.Sprint(i, " ", call)]; n != 1 {
				t.Errorf("alert %d: %s happened %d times", i, call, n)
			}
		}
	}
	if len(happened) != alerts*len(flowCalls) {
		t.Errorf("%d calls, want %d", len(happened), alerts*len(flowCalls))
	}
}
