package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// like is an event about alert 2, which has no message of its own: that of alert 1
// stands for it.
func like(ev soar.Event) soar.Event {
	ev.Alert = sinktest.Event(2).Alert
	ev.Group = &soar.Group{Key: "k", Head: sinktest.Event(1).Alert.Ref(), Count: 2, Hosts: 2}
	return ev
}

// Somebody deleted the message of an alert, and then people are asked about one that is
// like it: they are asked all the same, and nothing waits behind it.
func TestSlackAsksBelowADeletedMessage(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	sendAll(t, sink, sinktest.Event(1))
	sim.Delete(sim.Messages()[0].TS)
	sendAll(t, sink, like(asking(newDesk(), "a1", 1)), sinktest.Event(3))
	m := sim.Messages()
	if len(m) != 2 || m[0].ThreadTS != "" || !strings.Contains(string(m[0].Blocks), "May contain do host.contain") {
		t.Errorf("messages %+v, want the question by itself and another alert", m)
	}
}

// What was asked and answered in a batch that breaks off does not wait for people after
// the next try.
func TestSlackAnsweredQuestionDoesNotWaitAgain(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	asked := asking(newDesk(), "a1", 1)
	decided := asking(newDesk(), "a1", 1)
	decided.ID, decided.Type, decided.Approval.State = "approval/a1/approved", soar.EventApprovalDecided, soar.ApprovalApproved
	batch := []soar.Event{sinktest.Event(1), asked, decided}
	sim.Next(sinksim.Answer{Pass: 1}, sinksim.Answer{Status: http.StatusServiceUnavailable})
	if err := sink.Send(t.Context(), batch); err == nil {
		t.Fatal("the second message was refused, and nothing is to be tried again")
	}
	if err := sink.Send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if head := string(sim.Messages()[0].Blocks); strings.Contains(head, "waits for people") {
		t.Errorf("head: %s", head)
	}
}

// A batch that breaks off is tried again, and what became of like alerts is counted once.
func TestSlackCountsLikeAlertsOnce(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	batch := []soar.Event{sinktest.Event(1)}
	for i := range 3 {
		batch = append(batch, like(outcome(fmt.Sprintf("like-%d", i), soar.StepVerified)))
	}
	grouped := soar.Event{ID: "g", Type: soar.EventAlertGrouped, Group: batch[1].Group, Alert: sinktest.Event(1).Alert}
	batch = append(batch, grouped, outcome("own", soar.StepVerified))
	sim.Next(sinksim.Answer{Pass: 1}, sinksim.Answer{Status: http.StatusServiceUnavailable})
	if err := sink.Send(t.Context(), batch); err == nil {
		t.Fatal("the reply was refused, and nothing is to be tried again")
	}
	if err := sink.Send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if head := string(sim.Messages()[0].Blocks); !strings.Contains(head, "host.contain verified ×3") {
		t.Errorf("head: %s", head)
	}
}

// forgets is a store that does not take the first value of a kind.
type forgets struct {
	sinktest.Memory
	prefix string
	done   bool
}

func (f *forgets) Set(ctx context.Context, key, value string, keep time.Duration) error {
	if strings.HasPrefix(key, f.prefix) && !f.done {
		f.done = true
		return errors.New("disk is full")
	}
	return f.Memory.Set(ctx, key, value, keep)
}

// What was posted is not posted again because the store would not take the note of it.
func TestSlackNoteThatTheStoreRefuses(t *testing.T) {
	row := func(i int) soar.Event {
		return soar.Event{ID: fmt.Sprintf("row-%d", i), Type: soar.EventTelemetry, Row: &soar.Row{Query: "q"}}
	}
	for name, tt := range map[string]struct {
		prefix string
		events []soar.Event
	}{
		"question":  {"question/", []soar.Event{asking(newDesk(), "a1", 1)}},
		"telemetry": {"event/", []soar.Event{row(1), row(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			sim, sink := workspace(t, sinksim.SlackOptions{}, &forgets{prefix: tt.prefix})
			if err := sink.Send(t.Context(), tt.events); err == nil {
				t.Fatal("the store refused, and nothing is to be tried again")
			}
			if err := sink.Send(t.Context(), tt.events); err != nil {
				t.Fatal(err)
			}
			if m := sim.Messages(); len(m) != 1 {
				t.Errorf("%d messages, want 1", len(m))
			}
		})
	}
}
