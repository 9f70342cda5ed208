package sinks_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// asking is an event that asks people about a call on an alert.
func asking(d *desk, id string, count int) soar.Event {
	a := soar.Approval{ID: id, State: soar.ApprovalWaiting, Text: "May contain do host.contain on WIN-07?", Action: "host.contain", Hosts: []string{"WIN-07"}, Count: count}
	d.mu.Lock()
	d.approvals[id] = a
	d.mu.Unlock()
	ev := sinktest.Event(1)
	ev.ID, ev.Type, ev.Run = "approval/"+id+"/requested", soar.EventApprovalRequested, &soar.RunSummary{ID: 1 << 50, Playbook: "contain", State: soar.RunWaiting}
	ev.Approval, ev.Text = &a, "erbridge approvals approve "+id
	return ev
}

func TestSlackApprove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		question := b.sim.Messages()[1]
		b.press("U0ANN", question.TS, "erb.approve", "")
		synctest.Wait()
		if want := "decide a1 by ann: true, via slack, account U0ANN, channel C000000001"; b.desk.log() != want {
			t.Errorf("stored: %s, want %s", b.desk.log(), want)
		}
		if want := "Your answer is stored: you approved, and so the request is approved."; b.said() != want {
			t.Errorf("ann was told %q, want %q", b.said(), want)
		}

		// The decision comes back through the feed: question and head show it.
		decided := asking(newDesk(), "a1", 1)
		now, err := b.desk.Approval(t.Context(), "a1")
		if err != nil {
			t.Fatal(err)
		}
		decided.ID, decided.Type, decided.Approval = "approval/a1/approved", soar.EventApprovalDecided, &now
		sendAll(t, sink, decided)
		m := b.sim.Messages()
		if len(m) != 2 || !strings.Contains(string(m[1].Blocks), "approved by ann") || strings.Contains(string(m[1].Blocks), "erb.approve") {
			t.Errorf("question after the answer: %+v", m[len(m)-1])
		}
		if head := string(m[0].Blocks); !strings.Contains(head, "approved by ann") || strings.Contains(head, "waits for people") {
			t.Errorf("head after the answer: %s", head)
		}
	})
}

// Somebody who is not linked is told what to do, and nothing happens; being in the
// channel is not enough, and nobody else sees it.
func TestSlackUnlinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		m := b.sim.Messages()
		b.press("U0EVE", m[1].TS, "erb.approve", "")
		b.press("U0EVE", m[0].TS, "erb.resolve.false", "")
		synctest.Wait()
		if b.desk.log() != "" {
			t.Errorf("done for somebody unknown: %s", b.desk.log())
		}
		told := b.sim.Ephemerals()
		if len(told) != 2 || told[0].User != "U0EVE" || !strings.Contains(told[0].Text, "people: {YOUR-NAME: {slack: U0EVE}}") {
			t.Errorf("told: %+v", told)
		}
		if after := b.sim.Messages(); len(after) != 2 || after[1].Updates != 0 {
			t.Errorf("the channel has changed: %+v", after)
		}
	})
}

func TestSlackSecondClickIsAnsweredToTheClickerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		question := b.sim.Messages()[1].TS
		b.press("U0ANN", question, "erb.deny", "")
		synctest.Wait()
		for _, tt := range []struct{ user, action, want string }{
			{"U0BEN", "erb.approve", "Your answer does not count: the request is denied by ann already."},
			{"U0ANN", "erb.deny", "Your answer was stored before: you denied. The request is denied by ann."},
		} {
			b.press(tt.user, question, tt.action, "")
			synctest.Wait()
			told := b.sim.Ephemerals()
			if last := told[len(told)-1]; last.User != tt.user || strings.TrimSpace(last.Text) != tt.want {
				t.Errorf("%s was told %q, want %q", last.User, last.Text, tt.want)
			}
		}
		if m := b.sim.Messages(); len(m) != 2 || strings.Count(b.desk.log(), "\n") != 0 {
			t.Errorf("%d messages, stored: %s", len(m), b.desk.log())
		}
	})
}

// Of two who have to agree, the first one shows on the question.
func TestSlackTwoPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 2))
		question := b.sim.Messages()[1].TS
		b.press("U0ANN", question, "erb.approve", "")
		synctest.Wait()
		if text := string(b.sim.Messages()[1].Blocks); !strings.Contains(text, "1 of 2 people have agreed") || !strings.Contains(text, "erb.approve") {
			t.Errorf("question after the first answer: %s", text)
		}
		b.press("U0BEN", question, "erb.approve", "")
		synctest.Wait()
		if a, _ := b.desk.Approval(t.Context(), "a1"); a.State != soar.ApprovalApproved {
			t.Errorf("approval %+v", a)
		}
	})
}

func TestSlackExpiredApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		b.desk.mu.Lock()
		a := b.desk.approvals["a1"]
		a.State, a.Why = soar.ApprovalExpired, "nobody answered in time"
		b.desk.approvals["a1"] = a
		b.desk.mu.Unlock()
		b.press("U0ANN", b.sim.Messages()[1].TS, "erb.approve", "")
		synctest.Wait()
		if want := "Your answer does not count: the request is expired already. nobody answered in time"; b.said() != want {
			t.Errorf("told %q, want %q", b.said(), want)
		}
	})
}

// The decision is on disk before Slack hears that it was taken: while it is written,
// nothing is acknowledged, and the repeats of Slack wait for it.
func TestSlackStoresBeforeItAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		slow := make(chan struct{})
		b.desk.stored = func() { <-slow }
		p, err := b.sim.Press("U0ANN", b.sim.Messages()[1].TS, "erb.approve", "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // virtual: Slack has sent it again three times
		synctest.Wait()
		select {
		case <-p.Acked:
			t.Error("acknowledged before it was stored")
		default:
		}
		close(slow)
		<-p.Acked
		synctest.Wait()
		if n := len(b.sim.Ephemerals()); strings.Count(b.desk.log(), "decide") != 1 || n != 1 {
			t.Errorf("told %d times, stored: %s", n, b.desk.log())
		}
	})
}

// erbridge is killed between the decision and its acknowledgement. Slack sends the click
// to the next process, which finds it stored, says so and stores nothing twice.
func TestSlackKilledBetweenDecisionAndAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		state := &sinktest.Memory{}
		sink := b.open(state)
		stop := b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		b.desk.stored = b.sim.Freeze // as when the process is gone: nothing arrives any more
		p, err := b.sim.Press("U0ANN", b.sim.Messages()[1].TS, "erb.approve", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = stop()
		select {
		case <-p.Acked:
			t.Fatal("acknowledged by a process that is gone")
		default:
		}
		b.listen(b.open(state))
		<-p.Acked
		synctest.Wait()
		if strings.Count(b.desk.log(), "decide") != 1 {
			t.Errorf("stored: %s", b.desk.log())
		}
		if want := "Your answer was stored before: you approved. The request is approved by ann."; b.said() != want {
			t.Errorf("told %q, want %q", b.said(), want)
		}
	})
}

func TestSlackDuplicateEnvelopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1))
		p, err := b.sim.Press("U0ANN", b.sim.Messages()[0].TS, "erb.resolve.true", "")
		if err != nil {
			t.Fatal(err)
		}
		<-p.Acked
		again, err := b.sim.Repeat(p)
		if err != nil {
			t.Fatal(err)
		}
		<-again.Acked
		synctest.Wait()
		if want := "resolve er-1 true_positive by ann"; b.desk.log() != want {
			t.Errorf("done: %s, want %s once", b.desk.log(), want)
		}
	})
}

// The other buttons, where they make sense and nowhere else.
func TestSlackButtons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		done := outcome("step-1", soar.StepVerified)
		done.Outcome.Undo = "host.release"
		sendAll(t, sink, sinktest.Event(1), done)
		head := b.sim.Messages()[0].TS
		if _, err := b.sim.Press("U0ANN", head, "erb.undo/0", ""); err == nil {
			t.Error("a run that goes on can be taken back")
		}
		finished := sinktest.Event(1)
		finished.ID, finished.Type, finished.Run = "run-1", soar.EventRunFinished, &soar.RunSummary{ID: 1 << 50, Playbook: "contain", State: soar.RunDone}
		soon := sinktest.Event(1)
		soon.ID, soon.Type, soon.Run = "soon", soar.EventUndoSoon, &soar.RunSummary{ID: 2 << 50, Playbook: "undo-contain", State: soar.RunWaiting}
		soon.Undo = &soar.Undo{At: time.Now().Add(15 * time.Minute), Of: 1 << 50, Step: "isolate", Action: "host.contain", Do: "host.release"}
		sendAll(t, sink, finished, soon)
		m := b.sim.Messages()
		warning := m[len(m)-1].TS
		b.press("U0ANN", head, "erb.undo/0", "")
		b.press("U0ANN", warning, "erb.extend", "")
		b.press("U0ANN", warning, "erb.extend", "") // the same time as before
		b.press("U0ANN", warning, "erb.undo", "")
		b.press("U0BEN", head, "erb.silence/soc", "for 8 hours")
		b.press("U0BEN", head, "erb.resolve.false", "")
		synctest.Wait()
		run, until := soar.RunID(1<<50).String(), soon.Undo.At.Add(4*time.Hour).UTC().Format(time.RFC3339)
		extend := `extend ` + soar.RunID(2<<50).String() + ` "" until ` + until + ` by ann`
		want := strings.Join([]string{
			`undo ` + run + ` "" by ann`, extend, extend, `undo ` + run + ` "isolate" by ann`,
			`silence er-1 in soc until ` + time.Now().Add(8*time.Hour).UTC().Format(time.RFC3339) + ` by ben`, `resolve er-1 false_positive by ben`,
		}, "\n")
		if b.desk.log() != want {
			t.Errorf("done:\n%s\nwant:\n%s", b.desk.log(), want)
		}

		// It was taken back, and the alert is resolved: nothing of that can be done again.
		back := outcome("step-2", soar.StepVerified)
		back.Run, back.Outcome.Of, back.Outcome.Action = &soar.RunSummary{ID: 3 << 50, Playbook: "undo-contain"}, 1<<50, "host.release"
		back.Alert.Status = soar.StatusResolved
		sendAll(t, sink, back)
		blocks := string(b.sim.Messages()[0].Blocks)
		for _, gone := range []string{"erb.undo", "erb.resolve"} {
			if strings.Contains(blocks, gone) {
				t.Errorf("%s is still there: %s", gone, blocks)
			}
		}
	})
}

// What cannot be done is told to the one who clicked, with the reason.
func TestSlackRefusedClick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1))
		b.desk.fail = errors.New("everything is paused <!channel>")
		b.press("U0ANN", b.sim.Messages()[0].TS, "erb.resolve.false", "")
		synctest.Wait()
		if want := "Nothing was done: everything is paused &lt;!channel&gt;"; b.said() != want {
			t.Errorf("told %q, want %q", b.said(), want)
		}
	})
}

func TestSlackWithoutAppTokenHasNoButtons(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	sendAll(t, sink, sinktest.Event(1), asking(newDesk(), "a1", 1))
	for _, m := range sim.Messages() {
		for _, action := range []string{"erb.approve", "erb.resolve", "erb.silence", "erb.undo"} {
			if strings.Contains(string(m.Blocks), action) {
				t.Errorf("%s in %s", action, m.Blocks)
			}
		}
	}
	if _, ok := sink.(sinks.Runner); !ok {
		t.Error("a slack sink is no Runner")
	}
}

// A store that takes longer than a click may is told of, too.
func TestSlackClickThatTookTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 1))
		b.desk.stored = func() { time.Sleep(30 * time.Second) }
		b.press("U0ANN", b.sim.Messages()[1].TS, "erb.approve", "")
		synctest.Wait()
		if want := "Your answer is stored: you approved, and so the request is approved."; b.said() != want {
			t.Errorf("told %q, want %q", b.said(), want)
		}
	})
}

// Two answer at the same time: the question does not get its buttons back from the one
// whose answer was the first.
func TestSlackQuestionStaysDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1), asking(b.desk, "a1", 2))
		b.desk.stored = func() { // with mu held: ben agrees before ann is told
			a := b.desk.approvals["a1"]
			a.State = soar.ApprovalApproved
			b.desk.approvals["a1"] = a
		}
		b.press("U0ANN", b.sim.Messages()[1].TS, "erb.approve", "")
		synctest.Wait()
		if m := b.sim.Messages()[1]; m.Updates != 0 || !strings.Contains(b.said(), "Your answer is stored") {
			t.Errorf("told %q, and the question became %s", b.said(), m.Blocks)
		}
	})
}

// A click that was made up does not silence every sink.
func TestSlackSilenceNeedsASink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{})
		defer b.close()
		sink := b.open(&sinktest.Memory{})
		b.listen(sink)
		sendAll(t, sink, sinktest.Event(1))
		<-b.sim.Forge("U0ANN", "erb.silence", "1h0m0s er-1").Acked
		synctest.Wait()
		if b.desk.log() != "" || b.said() != "Nothing was done: the button names no sink" {
			t.Errorf("done: %s, told %q", b.desk.log(), b.said())
		}
	})
}
