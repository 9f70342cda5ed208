package sinks_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// passing hands on what a sink gets.
type passing chan soar.Event

func (p passing) Send(ctx context.Context, events []soar.Event) error {
	for _, ev := range events {
		select {
		case p <- ev:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
func (passing) Close() error { return nil }

// Groups in the real store: members are found by their keys there, updates come with the
// alert that they are about, and the count goes on after a restart.
func TestGroupInTheStore(t *testing.T) {
	dir := t.TempDir()
	settings := sinks.GroupSettings{By: []string{"rule"}}
	by, err := settings.Compile()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	addAlerts := func(s *store.Store, count int) {
		t.Helper()
		var c soar.Change
		for range count {
			n++
			a := *sinktest.Event(1).Alert
			a.ID, a.Host.Name = fmt.Sprint(n), fmt.Sprintf("pc-%d", n%4)
			c.Alerts = append(c.Alerts, a)
		}
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	// run forwards until an event fits, which it returns.
	run := func(s *store.Store, fits func(soar.Event) bool) soar.Event {
		t.Helper()
		got := make(passing)
		f, err := sinks.NewForwarder("chat", got, s, sinks.ForwarderOptions{
			FromStart: true, Drain: time.Nanosecond, Group: sinks.GroupOptions{By: by, Window: time.Hour, Update: time.Nanosecond}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		for {
			select {
			case ev := <-got:
				if fits(ev) {
					return ev
				}
			case <-t.Context().Done():
				t.Fatal("the event never came")
			}
		}
	}
	counted := func(want int) func(soar.Event) bool {
		return func(ev soar.Event) bool {
			return ev.Type == soar.EventAlertGrouped && ev.Group.Count == want
		}
	}
	s, shut := openStore(t, dir)
	addAlerts(s, 9)
	first := run(s, counted(9))
	if first.Alert == nil || first.Alert.ID != "1" || first.Group.Hosts != 4 || first.Group.Head != first.Alert.Ref() {
		t.Errorf("the update of 9: %+v of alert %+v", first.Group, first.Alert)
	}
	shut()

	s, _ = openStore(t, dir)
	addAlerts(s, 7)
	second := run(s, counted(16))
	if second.ID == first.ID || second.Group.Head != first.Group.Head {
		t.Errorf("the update of 16 is %s of head %s, the one before was %s of head %s", second.ID, second.Group.Head, first.ID, first.Group.Head)
	}
	member, err := s.AlertByRef(t.Context(), first.Alert.Server+"-12")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), soar.Change{Events: []soar.Event{
		{ID: "step", Type: soar.EventStepFinished, At: time.Now(), AlertKey: member.Key, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified}},
	}}); err != nil {
		t.Fatal(err)
	}
	step := run(s, func(ev soar.Event) bool { return ev.Type == soar.EventStepFinished })
	if step.Group == nil || step.Group.Head != first.Group.Head || step.Alert.ID != "12" {
		t.Errorf("a step of a member belongs to %+v", step.Group)
	}
}
