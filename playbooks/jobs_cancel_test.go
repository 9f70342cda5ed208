package playbooks

import (
	"math"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// One host is under way and one waits when a job is called off: the first goes to its end,
// and the job was called off all the same.
func TestJobThatIsCalledOffHalfWay(t *testing.T) {
	s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), Once)
	act.executeAfter = math.MaxInt
	e, stop := running(t, s, map[string]Action{"fleet.act": act}, nil, EngineOptions{Hosts: anyHost})
	job, err := e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(2), AtOnce: 1, By: "ann", Reason: "to see"})
	if err != nil {
		t.Fatal(err)
	}
	states := func() map[string]int { // either may be the first
		lines, _ := linesOf(t, s, job)
		return map[string]int{lines[0].State: 1, lines[1].State: 1}
	}
	for {
		changed := s.Changed(soar.SignalRuns)
		if got := states(); got[string(soar.StepAccepted)]+got[lineHeld] == 2 {
			break
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("the hosts are %v", states())
		}
	}
	if n, err := e.CancelJob(t.Context(), job.ID, "ben", "enough"); n != 1 || err != nil {
		t.Errorf("called off %d runs: %v", n, err)
	}
	act.mu.Lock()
	act.executeAfter = 0
	act.mu.Unlock()
	awaitRuns(t, s, job)
	stop()
	run, err := s.GetRun(t.Context(), job.Runs[0])
	if got := states(); err != nil || run.State != soar.RunCancelled || got[string(soar.StepExecuted)]+got[string(soar.StepCancelled)] != 2 {
		t.Errorf("run %s (%s), hosts %v: %v", run.State, run.Error, got, err)
	}
}
