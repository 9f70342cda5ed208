package sinks_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// openSlackAt makes a bot sink with buttons, on a simulated Slack.
func openSlackAt(t *testing.T, sim *sinksim.Slack, d sinks.Desk) sinks.Sink {
	t.Helper()
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return openSlack(t, &sinks.SlackSettings{
		Token: soar.SecretValue("xoxb-demo"), AppToken: soar.SecretValue("xapp-demo"), Channel: "#soc", APIURL: srv.URL + "/api",
	}, sinks.Env{Version: "1", State: &sinktest.Memory{}, Desk: d})
}

// undoes is an event of a run that did something which can be taken back.
func undoes(run int, ended bool) soar.Event {
	ev := outcome(fmt.Sprintf("run-%d-%t", run, ended), soar.StepVerified)
	ev.Run = &soar.RunSummary{ID: soar.RunID(run), Playbook: fmt.Sprintf("contain-%d", run), State: soar.RunRunning}
	ev.Outcome.Undo = "host.release"
	if ended {
		ev.Type, ev.Outcome, ev.Run.State = soar.EventRunFinished, nil, soar.RunDone
	}
	return ev
}

// The runs that ended last can be taken back by a click, whatever goes on beside them;
// that of a like alert cannot, since the message is about another host.
func TestSlackUndoOfTheLastRuns(t *testing.T) {
	b := newDesk()
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	sink := openSlackAt(t, sim, b)
	batch := []soar.Event{sinktest.Event(1)}
	for run := 1; run <= 30; run++ {
		batch = append(batch, undoes(run, false))
		if run > 3 {
			batch = append(batch, undoes(run, true))
		}
	}
	batch = append(batch, like(undoes(31, false)), like(undoes(31, true)))
	if err := sink.Send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	head := string(sim.Messages()[0].Blocks)
	for run, want := range map[int]bool{30: true, 29: true, 28: true, 27: false, 31: false} {
		if got := strings.Contains(head, fmt.Sprintf(`"Undo contain-%d"`, run)); got != want {
			t.Errorf("a button to undo run %d: %t, want %t", run, got, want)
		}
	}
}

// What was going to be taken back was: its message has no buttons any more.
func TestSlackWarningOfWhatWasTakenBack(t *testing.T) {
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	sink := openSlackAt(t, sim, newDesk())
	soon, back := sinktest.Event(1), undoes(2, false)
	soon.ID, soon.Type, soon.Run = "soon", soar.EventUndoSoon, back.Run
	soon.Undo = &soar.Undo{At: time.Now().Add(15 * time.Minute), Of: 1, Step: "isolate", Action: "host.contain", Do: "host.release"}
	failed, done := back, back
	failed.Outcome = &soar.Outcome{Step: "release", Action: "host.release", Of: 1, State: soar.StepFailed}
	done.ID, done.Outcome = "done", &soar.Outcome{Step: "release", Action: "host.release", Of: 1, State: soar.StepVerified}
	sendAll(t, sink, sinktest.Event(1), soon, failed)
	if text := string(sim.Messages()[1].Blocks); !strings.Contains(text, "erb.undo") {
		t.Errorf("nothing was taken back, and the message has no button: %s", text)
	}
	sendAll(t, sink, done, done)
	if m := sim.Messages()[1]; strings.Contains(string(m.Blocks), "erb.") || !strings.Contains(string(m.Blocks), "verified") || m.Updates != 1 {
		t.Errorf("the message after %d edits: %s", m.Updates, m.Blocks)
	}
}
