package playbooks

import (
	"fmt"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// fleetReverser is fleet.act, which fleet.undo takes back.
type fleetReverser struct{ *fleetAction }

func (fleetReverser) Reverse(call Call, _ any) *Reversal {
	return &Reversal{Do: "fleet.undo", With: map[string]any{"host": call.With["host"]}}
}

// What a job did is taken back on as many hosts at the same time as it was done.
func TestUndoKeepsTheBoundOfTheJob(t *testing.T) {
	s, server := openStore(t, t.TempDir()), newFakeServer()
	act, back := newFleetAction(server, Once), newFleetAction(server, Once)
	back.spec.Name = "fleet.undo"
	e, stop := running(t, s, map[string]Action{"fleet.act": fleetReverser{act}, "fleet.undo": back}, nil, EngineOptions{Hosts: anyHost})
	job, err := e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(3 * jobPart), AtOnce: 4, By: "ann", Reason: "to see"})
	if err != nil {
		t.Fatal(err)
	}
	awaitRuns(t, s, job)
	undone := Job{}
	for _, run := range job.Runs {
		got, err := e.Undo(t.Context(), UndoOrder{Run: run, By: "ben", Reason: "too many"})
		if err != nil || len(got.Steps) != jobPart {
			t.Fatalf("%d steps of run %s: %v", len(got.Steps), run, err)
		}
		undone.Runs = append(undone.Runs, got.Run.ID)
	}
	awaitRuns(t, s, undone)
	stop()
	for _, id := range undone.Runs {
		if run, err := s.GetRun(t.Context(), id); err != nil || run.State != soar.RunDone {
			t.Errorf("run %s: %+v, %v", id, run, err)
		}
	}
	if hosts, calls, most := back.sent(); fmt.Sprint(hosts, calls) != "150 150" || most > 4 {
		t.Errorf("taken back on %d hosts by %d calls, %d at the same time", hosts, calls, most)
	}
}
