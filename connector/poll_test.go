package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// startSim runs a simulated server for the time of the test, and a client for it.
func startSim(t *testing.T, o ersim.Options) (*ersim.Server, *Client) {
	t.Helper()
	o.Username, o.Password = "soc", "correct horse"
	sim, err := ersim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) //nolint:usetesting // t.Context ends before the clean-up that waits
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the simulator ended with %v", err)
		}
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := New(Options{URL: sim.URL(), Username: "soc", Password: soar.SecretValue("correct horse"), CAFile: ca, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return sim, client
}

func newTestPoller(t *testing.T, client *Client, in *intake, change func(*PollSettings)) *Poller {
	t.Helper()
	settings := DefaultPoll()
	if change != nil {
		change(&settings)
	}
	p, err := NewPoller(client, "er", settings, SourceEnv{Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func poll(t *testing.T, p *Poller, want int) {
	t.Helper()
	fresh, err := p.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fresh != want {
		t.Errorf("the poll brought %d new or changed alerts, want %d", fresh, want)
	}
}

func raise(sim *ersim.Server, n int) (ids []int64) {
	for i := range n {
		ids = append(ids, sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, Columns: map[string]string{
			"action": "PROC_CREATE", "pid": strconv.Itoa(1000 + i), "cmdline": fmt.Sprintf("run %d", i)}}))
	}
	return ids
}

func TestPollBackfillsOnceAndTakesWhatComes(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			sim, client := startSim(t, ersim.Options{Profile: profile})
			sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, CreatedAt: time.Now().Add(-48 * time.Hour), Detached: true})
			raise(sim, 5)
			in := newIntake()
			p := newTestPoller(t, client, in, func(s *PollSettings) { s.PageSize = 2 })
			poll(t, p, 5)
			poll(t, p, 0)
			fresh := raise(sim, 7)
			poll(t, p, 7)
			for ref, a := range in.alerts {
				id, _ := strconv.ParseInt(a.ID, 10, 64)
				if want := id < fresh[0]; a.Backfill != want {
					t.Errorf("%s: backfill %v, want %v", ref, a.Backfill, want)
				}
			}
			a := in.alert(t, fmt.Sprintf("er-%d", fresh[3]))
			if a.Event["cmdline"] != "run 3" || a.Host.Identifier == "" || a.Rule == nil || a.Severity.Rank() < 3 {
				t.Errorf("taken in as %+v", a)
			}
			if _, err := in.Cursor(t.Context(), "poll/er"); err != nil || len(in.cursors) != 1 {
				t.Errorf("cursors %v, %v", in.cursors, err)
			}
			again := newTestPoller(t, client, in, nil) // after a restart
			poll(t, again, 0)
		})
	}
}

func TestPollSurvivesShiftingPages(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, func(s *PollSettings) { s.PageSize = 10 })
	poll(t, p, 0)
	raise(sim, 95)
	sim.Inject(ersim.Fault{Kind: ersim.ShiftPages, Call: "alerts-list", Count: 3})
	poll(t, p, 95)
	poll(t, p, 3) // those that arrived meanwhile
}

// Every open list read loses a row in front of the next page: without stepping
// back, an alert would be skipped for good.
func TestPollMissesNothingWhenAlertsAreResolvedMeanwhile(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, func(s *PollSettings) { s.PageSize = 10 })
	poll(t, p, 0)
	ids := raise(sim, 60)
	pages := 0
	err := p.read(t.Context(), false, pollCursor{}, time.Time{}, func(page []pollRow) error {
		pages++
		if pages <= 3 { // the three newest rows of the page leave the open list
			if err := client.Alerts.Resolve(t.Context(), []int64{page[0].id, page[1].id, page[2].id}, true, "meanwhile"); err != nil {
				t.Fatal(err)
			}
		}
		_, err := p.take(t.Context(), page, pollCursor{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		in.alert(t, fmt.Sprintf("er-%d", id))
	}
}

func TestPollSeesTheEventCountGrow(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	host := sim.Hosts()[0].Identifier
	first := sim.Raise(ersim.AlertSpec{Host: host, Rule: "R", Severity: "HIGH"})
	poll(t, p, 1)
	if again := sim.Raise(ersim.AlertSpec{Host: host, Rule: "R", Severity: "HIGH"}); again != first {
		t.Fatalf("the simulator made alert %d, not aggregated into %d", again, first)
	}
	poll(t, p, 1)
	if a := in.alert(t, fmt.Sprintf("er-%d", first)); a.EventCount != 1 {
		t.Errorf("event count %d, want 1", a.EventCount)
	}
}

func TestPollTakesALateAlert(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	sim.Inject(ersim.Fault{Kind: ersim.LateAlert})
	ids := raise(sim, 2) // the first shows only after the second was served
	poll(t, p, 1)
	poll(t, p, 1)
	for _, id := range ids {
		in.alert(t, fmt.Sprintf("er-%d", id))
	}
}

func TestSweepMirrorsResolveAndReopenAndReportsGaps(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, func(s *PollSettings) { s.Overlap, s.SweepWindow = 0, time.Hour })
	old := sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, CreatedAt: time.Now().Add(-3 * time.Hour), Detached: true})
	recent := raise(sim, 1)[0]
	poll(t, p, 2)
	if err := client.Alerts.Resolve(t.Context(), []int64{old, recent}, false, "noise"); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []int64{old, recent} {
		if a := in.alert(t, fmt.Sprintf("er-%d", id)); a.Status != soar.StatusResolved || a.Verdict != soar.VerdictFalsePositive {
			t.Errorf("alert %d is %s %s after the sweep", id, a.Status, a.Verdict)
		}
	}
	if err := client.Alerts.Reopen(t.Context(), []int64{recent}); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := in.alert(t, fmt.Sprintf("er-%d", recent)); a.Status != soar.StatusOpen || a.Verdict != "" {
		t.Errorf("alert %d is %s %q after it was reopened", recent, a.Status, a.Verdict)
	}
	if len(in.events) != 0 {
		t.Fatalf("a gap was reported where there was none: %s", in.events[0].Text)
	}

	// An alert that polls have passed by: dated before everything a poll reads again.
	missed := sim.Raise(ersim.AlertSpec{Severity: "LOW", Separate: true, CreatedAt: time.Now().Add(-30 * time.Minute), Detached: true})
	raise(sim, 1)
	p.mu.Lock()
	p.cursor.MaxID = missed + 1
	p.mu.Unlock()
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.alert(t, fmt.Sprintf("er-%d", missed))
	if len(in.events) != 1 || in.events[0].Type != soar.EventTrouble || !strings.Contains(in.events[0].Text, "missed") {
		t.Errorf("events %+v", in.events)
	}
}

// A failing server loses nothing: the cursor stays where it was.
func TestPollKeepsItsPlaceWhenTheServerFails(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, func(s *PollSettings) { s.PageSize = 10 })
	poll(t, p, 0)
	ids := raise(sim, 35)
	sim.Inject(ersim.Fault{Kind: ersim.HTMLAnswer, Call: "alerts-list", After: 2, Count: 1})
	if _, err := p.Poll(t.Context()); !errors.Is(err, ErrNotJSON) {
		t.Fatalf("error %v, want one of HTML", err)
	}
	if p.Status().LastError == "" {
		t.Error("the status shows no error")
	}
	if _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		in.alert(t, fmt.Sprintf("er-%d", id))
	}
	if s := p.Status(); s.LastError != "" || s.LastSuccess.IsZero() {
		t.Errorf("status %+v after it went well", s)
	}
}

func TestPollStoresNothingWhenTheStoreRefuses(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	id := raise(sim, 1)[0]
	in.refuse = fmt.Errorf("disk full: %w", soar.ErrNotAccepting)
	if _, err := p.Poll(t.Context()); !errors.Is(err, soar.ErrNotAccepting) {
		t.Fatalf("error %v", err)
	}
	in.refuse = nil
	poll(t, p, 1)
	in.alert(t, fmt.Sprintf("er-%d", id))
}

// The server's own push rings the doorbell: with an hour between polls, the
// alert is there because of the ring.
func TestPushMakesThePollerFetchAtOnce(t *testing.T) {
	in := newIntake()
	var p *Poller
	settings := DefaultPush()
	settings.Listen = "127.0.0.1:0"
	push, err := NewPush("er", settings, func() { p.Ring() }, SourceEnv{Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := push.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sim, client := startSim(t, ersim.Options{PushAddress: addr.(*net.TCPAddr).String()})
	p = newTestPoller(t, client, in, func(s *PollSettings) { s.Interval = time.Hour })
	poll(t, p, 0)
	<-in.commits // the first cursor
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- push.Run(ctx) }()
	go func() { ended <- p.Run(ctx) }()
	id := sim.Raise(ersim.AlertSpec{Severity: "HIGH", Rule: "R"})
	<-in.commits
	in.alert(t, fmt.Sprintf("er-%d", id))
	stop()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func TestFetchByID(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	ids := raise(sim, 3)
	if err := client.Alerts.Resolve(t.Context(), ids[:1], true, ""); err != nil {
		t.Fatal(err)
	}
	found, err := p.Fetch(t.Context(), []int64{ids[0], ids[2], 999_999})
	if err != nil || found != 2 {
		t.Errorf("found %d, %v; want 2", found, err)
	}
	if a := in.alert(t, fmt.Sprintf("er-%d", ids[0])); a.Status != soar.StatusResolved {
		t.Errorf("alert %d is %s", ids[0], a.Status)
	}
	in.alert(t, fmt.Sprintf("er-%d", ids[2]))
}

// A row without an id cannot be an alert: it is kept once, and the page around it
// goes on.
func TestPollKeepsAMalformedRowOnce(t *testing.T) {
	_, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	bad := []*MalformedError{{Reason: "no id", Raw: []byte(`{"id":null}`)}}
	for range 2 {
		if err := p.reject(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
	}
	if len(in.letters) != 1 || string(in.letters[0].Payload) != `{"id":null}` {
		t.Fatalf("dead letters %+v", in.letters)
	}
	if err := p.Replay(t.Context(), in.letters[0].Payload); err == nil {
		t.Error("the same row was taken in again")
	}
	if err := p.Replay(t.Context(), []byte(`{"id": 77, "severity": "LOW", "created_at": "22-11-2026 03:22:30"}`)); err != nil {
		t.Error(err)
	}
	in.alert(t, "er-77")
}

// Sinks and playbooks see alerts in the order in which they were raised, however
// many pages they came on.
func TestPollHandsOverOldestFirst(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, func(s *PollSettings) { s.PageSize = 4 })
	poll(t, p, 0)
	ids := raise(sim, 11)
	if err := client.Alerts.Resolve(t.Context(), ids[2:5], true, ""); err != nil {
		t.Fatal(err)
	}
	poll(t, p, 11)
	for i, ref := range in.order {
		if want := fmt.Sprintf("er-%d", ids[i]); ref != want {
			t.Fatalf("order %v, want that of %v", in.order, ids)
		}
	}
}

// A server that was reinstalled gives known ids to other alerts. They must not be
// dropped as repeats in silence, nor overwrite the old ones.
func TestPollNoticesAReinstalledServer(t *testing.T) {
	old, client := startSim(t, ersim.Options{})
	in := newIntake()
	poll(t, newTestPoller(t, client, in, nil), 0)
	host := old.Hosts()[0].Identifier
	for i := range 3 {
		old.Raise(ersim.AlertSpec{Host: host, Rule: fmt.Sprint(i), Severity: "HIGH", CreatedAt: time.Now().Add(-time.Hour), Detached: true})
	}
	poll(t, newTestPoller(t, client, in, nil), 3)
	before := in.alert(t, "er-2")

	reinstalled, client := startSim(t, ersim.Options{})
	p := newTestPoller(t, client, in, nil)
	raise(reinstalled, 2)
	for range 2 {
		if _, err := p.Poll(t.Context()); !errors.Is(err, ErrIDsReused) || !strings.Contains(err.Error(), "server.name") {
			t.Fatalf("error %v", err)
		}
	}
	if p.Status().LastError == "" {
		t.Error("the status shows nothing")
	}
	if len(in.events) != 1 || in.events[0].Type != soar.EventTrouble {
		t.Errorf("events %+v, want one of trouble", in.events)
	}
	if after := in.alert(t, "er-2"); after.Event["cmdline"] != before.Event["cmdline"] || !after.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("the old alert was overwritten: %+v", after)
	}
	if err := p.Sweep(t.Context()); !errors.Is(err, ErrIDsReused) {
		t.Errorf("the sweep says %v", err)
	}
}

// A server that hangs shows long before the client gives up on it.
func TestPollStatusOfASilentServer(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	_, client := startSim(t, ersim.Options{})
	p, err := NewPoller(client, "er", DefaultPoll(), SourceEnv{Intake: newIntake(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	p.hears(now)
	now = now.Add(pollPatience - time.Second)
	if s := p.Status(); s.LastError != "" {
		t.Errorf("too early: %s", s.LastError)
	}
	now = now.Add(5 * time.Second)
	if s := p.Status(); !strings.Contains(s.LastError, "not answered for 19s") {
		t.Errorf("status %q", s.LastError)
	}
	if _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if s := p.Status(); s.LastError != "" {
		t.Errorf("no poll is under way, and yet: %s", s.LastError)
	}
}

// Also while the poller runs, and remembers what it has seen.
func TestPollNoticesAReinstalledServerWhileItRuns(t *testing.T) {
	old, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	for i := range 3 {
		old.Raise(ersim.AlertSpec{Rule: fmt.Sprint(i), Severity: "HIGH", CreatedAt: time.Now().Add(-time.Minute), Separate: true, Detached: true})
	}
	poll(t, p, 3)
	reinstalled, other := startSim(t, ersim.Options{})
	p.client, p.details.client = other, other
	raise(reinstalled, 3)
	if _, err := p.Poll(t.Context()); !errors.Is(err, ErrIDsReused) {
		t.Errorf("error %v", err)
	}
}

// What a sweep stored is what counts as seen: an alert that was resolved, reopened
// and resolved again is resolved in the end.
func TestSweepAndPollShareWhatTheyHaveSeen(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	id := sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, CreatedAt: time.Now().Add(-30 * time.Minute), Detached: true})
	poll(t, p, 1)
	resolve := func() {
		t.Helper()
		if err := client.Alerts.Resolve(t.Context(), []int64{id}, false, "noise"); err != nil {
			t.Fatal(err)
		}
	}
	resolve()
	poll(t, p, 1)
	if err := client.Alerts.Reopen(t.Context(), []int64{id}); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	resolve()
	// It has left the window meanwhile: only the question about open alerts is left.
	if err := p.checkOpen(t.Context(), p.cursor, time.Now()); err != nil {
		t.Fatal(err)
	}
	if a := in.alert(t, fmt.Sprintf("er-%d", id)); a.Status != soar.StatusResolved {
		t.Errorf("the alert is %s here, and resolved on the server", a.Status)
	}
}

// A caller of the webhook who hangs up leaves nothing behind for other alerts.
func TestDetailsSurviveACallerThatHangsUp(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	id := raise(sim, 1)[0]
	page, err := client.Alerts.Page(t.Context(), AlertQuery{IDs: []int64{id}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	p.rows(gone, page.Results)
	poll(t, p, 1)
	if a := in.alert(t, fmt.Sprintf("er-%d", id)); a.Host.Platform == "" || a.Host.Identifier == "" {
		t.Errorf("taken in without its host: %+v", a.Host)
	}
}

// A clock that is behind the server's must not make every poll read everything again.
func TestPollMovesOnWithASlowClock(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p, err := NewPoller(client, "er", DefaultPoll(), SourceEnv{Intake: in, Now: func() time.Time { return time.Now().Add(-10 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, p, 0)
	before := p.cursor.Newest
	raise(sim, 3)
	poll(t, p, 3)
	if moved := p.cursor.Newest.Sub(before); moved < time.Hour {
		t.Errorf("the cursor moved by %s only", moved)
	}
}

// Retention has forgotten an old alert; when it is fetched again, nothing acts on it.
func TestFetchOfAForgottenAlertActsOnNothing(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	old := sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, CreatedAt: time.Now().Add(-100 * 24 * time.Hour), Detached: true})
	raise(sim, 1)
	if _, err := p.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref := fmt.Sprintf("er-%d", old)
	in.mu.Lock()
	delete(in.alerts, ref)
	in.mu.Unlock()
	p.seen = map[int64]look{}
	if _, err := p.Fetch(t.Context(), []int64{old}); err != nil {
		t.Fatal(err)
	}
	if a := in.alert(t, ref); !a.Backfill {
		t.Error("playbooks would act on an alert of a hundred days ago")
	}
}

// One alert that is too large to be kept does not hold up those around it.
func TestPollSetsAHugeAlertAside(t *testing.T) {
	sim, client := startSim(t, ersim.Options{})
	in := newIntake()
	p := newTestPoller(t, client, in, nil)
	poll(t, p, 0)
	raise(sim, 2)
	sim.Raise(ersim.AlertSpec{Severity: "HIGH", Separate: true, Columns: map[string]string{"cmdline": strings.Repeat("x", 20_000)}})
	raise(sim, 2)
	poll(t, p, 4)
	poll(t, p, 0)
	if len(in.letters) != 1 || !strings.Contains(in.letters[0].Reason, "too large") {
		t.Errorf("dead letters %+v", in.letters)
	}
}
