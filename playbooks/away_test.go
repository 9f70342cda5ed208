package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// away makes an action whose host comes back at a time.
func away(actions map[string]Action, name string, back *time.Time, looks *atomic.Int64) {
	actions[name] = &readier{actions[name].(*fakeAction), func(Call) error {
		looks.Add(1)
		if time.Now().Before(*back) {
			return fmt.Errorf("pc-1: host is offline: %w", ErrNotNow)
		}
		return nil
	}}
}

// A step says itself how long it waits for its host.
func TestWaitOfAStep(t *testing.T) {
	for _, tt := range []struct {
		wait, ends string // when it ends: after that
		words      string
	}{
		{"wait: 90m", "1h30m", "never sent; waited for 1h30m: pc-1: host is offline"},
		{"wait: 0s", "0s", "never sent; waited for 0s: pc-1: host is offline"},
		{"if: true", "24h", "never sent; waited for 1d: pc-1: host is offline"},
	} {
		t.Run(tt.wait, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				back := time.Now().Add(1000 * time.Hour)
				var looks atomic.Int64
				away(actions, "fake.once", &back, &looks)
				text := "playbook: p\nsteps: [{id: hit, do: fake.once, " + tt.wait + ", with: {host: \"${{ .alert.host.identifier }}\"}}]"
				_, stop := running(t, j, actions, loadText(t, actions, text), EngineOptions{})
				j.put(t, testAlert("1"))
				limit, err := time.ParseDuration(tt.ends)
				if err != nil {
					t.Fatal(err)
				}
				if limit > 0 {
					time.Sleep(limit - time.Second)
					if j.all()[0].State.Ended() {
						t.Errorf("ended before %s", tt.ends)
					}
				}
				time.Sleep(2 * time.Second)
				stop()
				got := j.result(t, j.all()[0].ID, "hit")
				if got.State != soar.StepExpired || !strings.HasPrefix(got.Error, tt.words) || server.called("fake.once") != 0 {
					t.Errorf("hit ended %+v", got)
				}
				if entries, err := j.Entries(t.Context(), j.all()[0].ID); err != nil || slices.ContainsFunc(entries, func(e soar.Entry) bool { return e.Kind == soar.EntryIntent }) {
					t.Errorf("an intent was written of what was never sent: %v", err)
				}
			})
		})
	}
}

// A host that goes away between the look and the call is waited for like any other,
// also across a restart, and the call is not taken for one that was lost.
func TestHostLeavesBeforeTheCall(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				var back atomic.Bool
				server.before = func(int) error {
					if back.Load() {
						return nil
					}
					return fmt.Errorf("hit pc-1: host is offline: %w", ErrNotNow)
				}
				actions := server.actions() // fake.blind keeps no list to look a call up in
				set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.blind, timeout: 10m}]")
				_, stop := running(t, j, actions, set, EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				if restart {
					stop()
					_, stop = running(t, j, actions, set, EngineOptions{})
				}
				time.Sleep(2 * time.Hour)
				back.Store(true)
				time.Sleep(time.Minute)
				stop()
				id := j.all()[0].ID
				if got := j.result(t, id, "hit"); got.State != soar.StepExecuted || len(server.done("fake.blind")) != 1 {
					t.Errorf("hit ended %+v after %d calls", got, len(server.done("fake.blind")))
				}
				if words := decisions(t, j, id, "hit"); !strings.Contains(words[1], "host is offline") {
					t.Errorf("the journal says %q", words)
				}
			})
		})
	}
}

// Of many steps that wait for hosts, those of the severest alerts go first when the
// hosts are back, and among these those that waited longest.
func TestSevereAlertsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		back := time.Now().Add(time.Hour)
		var looks atomic.Int64
		away(actions, "fake.blind", &back, &looks)
		set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.blind, with: {alert: \"${{ .alert.id }}\"}}]")
		_, stop := running(t, j, actions, set, EngineOptions{Workers: 1, Evaluations: 1})
		severities := []soar.Severity{soar.SeverityLow, soar.SeverityCritical, soar.SeverityMedium, soar.SeverityHigh, soar.SeverityInfo}
		for i := range 20 {
			a := testAlert(fmt.Sprintf("%02d", i))
			a.Severity = severities[i%len(severities)]
			j.put(t, a)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Hour)
		stop()
		var order []string
		for _, c := range server.done("fake.blind") {
			order = append(order, c.with["alert"].(string))
		}
		want := []string{"01", "06", "11", "16", "03", "08", "13", "18", "02", "07", "12", "17", "00", "05", "10", "15", "04", "09", "14", "19"}
		if !slices.Equal(order, want) {
			t.Errorf("sent in the order\n%q, want\n%q", order, want)
		}
	})
}

// While a step waits for its host nothing else is asked; when the host is back,
// everything is asked again.
func TestBackHostIsCheckedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "host.get", Reads, nil)
		reads := 0
		var asked []string
		gone := false
		actions["fake.once"] = &readier{actions["fake.once"].(*fakeAction), func(call Call) error {
			asked = append(asked, "ready")
			switch {
			case len(asked) < 100:
				reads = server.called("host.get")
				return fmt.Errorf("pc-1: host is offline: %w", ErrNotNow)
			case gone:
				return errors.New("pc-1 was enrolled anew")
			}
			gone = true
			return nil
		}}
		_, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(2 * time.Hour)
		stop()
		if again := server.called("host.get"); reads != 1 || again != 2 {
			t.Errorf("the host was read %d times before it was back, and %d times in all", reads, again)
		}
		got := j.result(t, j.all()[0].ID, "hit")
		if got.State != soar.StepRefused || got.Error != "pc-1 was enrolled anew" || server.called("fake.once") != 0 {
			t.Errorf("hit ended %+v", got)
		}
	})
}

// A call that was executed and that nobody could look at has failed when the time of
// its step is over, unless its playbook does not ask for more.
func TestUnverified(t *testing.T) {
	for _, tt := range []struct {
		key   string
		state soar.StepState
		error string
		after time.Duration
	}{
		{"timeout: 10m", soar.StepFailed, "executed, not verified: the host does not answer", 10 * time.Minute},
		{"verify: true", soar.StepFailed, "executed, not verified: the host does not answer", 10 * time.Minute},
		{"verify: false", soar.StepExecuted, "", time.Second},
	} {
		t.Run(tt.key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				a := actions["fake.once"].(*fakeAction)
				a.poll = func(context.Context) (Outcome, error) {
					return Outcome{State: soar.StepAccepted, Summary: "did it", Unverified: "the host does not answer", Output: map[string]any{"command": "c1"}}, nil
				}
				begun := time.Now()
				_, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once, "+tt.key+"}]"), EngineOptions{})
				j.put(t, testAlert("1"))
				var ended time.Time
				for range 3600 {
					if time.Sleep(time.Second); j.all()[0].State.Ended() {
						ended = time.Now()
						break
					}
				}
				stop()
				got := j.result(t, j.all()[0].ID, "hit")
				if got.State != tt.state || got.Error != tt.error || !strings.HasPrefix(got.Summary, "did it") {
					t.Errorf("hit ended %+v", got)
				}
				if output, ok := got.Output.(map[string]any); !ok || output["command"] != "c1" {
					t.Errorf("the evidence is %v", got.Output)
				}
				if took := ended.Sub(begun); took < tt.after || took > tt.after+3*time.Second {
					t.Errorf("ended after %s, want %s", took, tt.after)
				}
			})
		})
	}
}

// That a call was executed is not forgotten when later looks, after a restart too, see
// nothing at all.
func TestUnverifiedAndThenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		polls := 0
		actions["fake.once"].(*fakeAction).poll = func(context.Context) (Outcome, error) {
			if polls++; polls == 1 {
				return Outcome{State: soar.StepAccepted, Summary: "did it", Unverified: "the host does not answer"}, nil
			}
			return Outcome{}, errors.New("connection refused")
		}
		set := loadText(t, actions, oneHit)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		_, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Hour)
		stop()
		got := j.result(t, j.all()[0].ID, "hit")
		if want := "executed, not verified: the host does not answer; the last look failed: connection refused"; got.State != soar.StepFailed || got.Error != want {
			t.Errorf("hit ended %+v", got)
		}
		entries, err := j.Entries(t.Context(), j.all()[0].ID)
		notes := 0
		for _, e := range entries {
			if e.Kind == soar.EntryNote && e.Step == "hit" {
				notes++
			}
		}
		if err != nil || notes != 1 {
			t.Errorf("%d notes say that it was executed: %v", notes, err)
		}
	})
}
