package playbooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// guarded is a guard with settings.
func guarded(t *testing.T, s guard.Settings) *guard.Guard {
	t.Helper()
	g, err := guard.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// anyHost is a host like any other.
func anyHost(_ *soar.Alert, id string) guard.Host {
	return guard.Host{ID: id, Name: "pc-" + id, Platform: "windows", OS: "Windows 11", Addresses: []string{"10.3.0.7"}, Known: true, Facts: map[string]any{"name": "pc-" + id}}
}

func alertOn(id, host string) soar.Alert {
	a := testAlert(id)
	a.Host.Identifier = host
	return a
}

// A budget lets as many hosts be acted on as it allows, whatever number of runs there is
// at the same moment and whenever the engine is stopped; then it refuses, and tells people
// once, until somebody re-arms it.
func TestBudgetInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, oneHit)
		settings := guard.Settings{Budgets: []guard.Budget{{Name: "hits", Calls: guard.Calls{Actions: []string{"fake.*"}}, Hosts: 5, Window: time.Hour}}}
		metrics := prometheus.NewRegistry()
		options := func() EngineOptions {
			return EngineOptions{Guard: guarded(t, settings), Hosts: anyHost}
		}
		_, stop := running(t, j, actions, set, options())
		for n := range 3 {
			j.put(t, alertOn(fmt.Sprint("first ", n), fmt.Sprint("host-", n)))
		}
		time.Sleep(time.Minute)
		stop()
		o := options()
		o.Registerer = metrics
		e, stop := running(t, j, actions, set, o)
		for n := range 40 {
			j.put(t, alertOn(fmt.Sprint("then ", n), fmt.Sprint("host-", n)))
		}
		time.Sleep(time.Minute)
		hosts := map[string]bool{}
		for _, c := range server.done("fake.once") {
			hosts[c.with["host"].(string)] = true
		}
		if len(hosts) != 5 {
			t.Errorf("%d hosts were acted on, and 5 may be", len(hosts))
		}
		refused := 0
		for _, run := range j.all() {
			got := j.result(t, run.ID, "hit")
			if got.State == soar.StepRefused {
				refused++
				if !strings.Contains(got.Error, `budget "hits"`) || !strings.Contains(got.Error, "erbridge budget rearm hits") {
					t.Errorf("refused with %q", got.Error)
				}
			}
		}
		trouble := 0
		for _, event := range j.feed {
			if event.Type == soar.EventTrouble {
				trouble++
			}
		}
		if refused == 0 || trouble != 1 {
			t.Errorf("%d steps were refused, and people were told %d times", refused, trouble)
		}
		for name, want := range map[string]string{
			"erbridge_budget_latched": "destructive 0, hits 1", "erbridge_budget_trips_total": "destructive 0, hits 1",
			"erbridge_budget_used_hosts": "destructive 0, hits 5", "erbridge_budget_limit_hosts": "destructive 10, hits 5",
		} {
			if got := gathered(t, metrics, name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		time.Sleep(48 * time.Hour)
		j.put(t, alertOn("late", "host-0"))
		time.Sleep(time.Minute)
		if got := lastHit(t, j, "late"); got.State != soar.StepRefused {
			t.Errorf("it has let go by itself: %+v", got)
		}
		if err := e.RearmBudget(t.Context(), "hits", "ann", "it was a drill"); err != nil {
			t.Fatal(err)
		}
		if err := e.RearmBudget(t.Context(), "hits", "ann", "it was a drill"); !errors.Is(err, guard.ErrNotLatched) {
			t.Errorf("re-armed twice: %v", err)
		}
		stop()
		e, stop = running(t, j, actions, set, options())
		j.put(t, alertOn("after", "host-77"))
		time.Sleep(time.Minute)
		if got := lastHit(t, j, "after"); got.State != soar.StepExecuted {
			t.Errorf("after it was re-armed: %+v", got)
		}
		shown, err := e.Budgets(t.Context())
		if err != nil || len(shown) != 2 || shown[1].Used != 1 || shown[1].Rearmed == nil || shown[1].Rearmed.By != "ann" {
			t.Errorf("shown are %+v, %v", shown, err)
		}
		stop()
	})
}

// gathered are the values of a metric by its one label.
func gathered(t *testing.T, from prometheus.Gatherer, name string) string {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				values = append(values, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetGauge().GetValue()+m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(values, ", ")
}

// lastHit is how the step hit ended for an alert.
func lastHit(t *testing.T, j *memJournal, alert string) Result {
	t.Helper()
	for _, run := range j.all() {
		if run.Alert == "er-"+alert {
			return j.result(t, run.ID, "hit")
		}
	}
	t.Fatalf("no run of alert %s", alert)
	return Result{}
}

// When a budget cannot be re-armed on disk, it stays latched.
func TestRearmThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		settings := guard.Settings{Budgets: []guard.Budget{{Name: "hits", Calls: guard.Calls{Actions: []string{"fake.*"}}, Hosts: 1, Window: time.Hour}}}
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Guard: guarded(t, settings), Hosts: anyHost})
		j.put(t, alertOn("1", "a"))
		time.Sleep(time.Minute)
		j.put(t, alertOn("2", "b"))
		time.Sleep(time.Minute)
		j.refuse(errors.New("the disk is full"))
		err := e.RearmBudget(t.Context(), "hits", "ann", "why not")
		j.refuse(nil)
		if err == nil || !strings.Contains(err.Error(), "stays latched: the disk is full") {
			t.Errorf("re-armed: %v", err)
		}
		j.put(t, alertOn("3", "a"))
		time.Sleep(time.Minute)
		if got := lastHit(t, j, "3"); got.State != soar.StepRefused {
			t.Errorf("it is not latched any more: %+v", got)
		}
		stop()
	})
}

// Calls above a rate go out one after the other, in the order of asking, each at its
// moment, also when the engine is started anew in between.
func TestRateInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, oneHit)
		options := func() EngineOptions {
			return EngineOptions{Guard: guarded(t, guard.Settings{Limits: []guard.Limit{{Rate: 2, Per: 10 * time.Minute}}}), Hosts: anyHost}
		}
		began := time.Now()
		_, stop := running(t, j, actions, set, options())
		for n := range 7 {
			j.put(t, alertOn(fmt.Sprint(n), fmt.Sprint("host-", n)))
			time.Sleep(time.Second)
		}
		time.Sleep(12 * time.Minute)
		stop()
		_, stop = running(t, j, actions, set, options())
		time.Sleep(time.Hour)
		stop()
		sent := server.done("fake.once")
		if len(sent) != 7 || stateOf(j.all()) != strings.TrimSpace(strings.Repeat("done ", 7)) {
			t.Fatalf("%d calls, runs %s", len(sent), stateOf(j.all()))
		}
		for n, c := range sent {
			if want := fmt.Sprint("host-", n); c.with["host"] != want {
				t.Errorf("call %d is on %v, want %s", n, c.with["host"], want)
			}
			if n >= 2 && c.at.Sub(sent[n-2].at) < 10*time.Minute {
				t.Errorf("calls %d and %d are %s apart", n-2, n, c.at.Sub(sent[n-2].at))
			}
		}
		if took := sent[6].at.Sub(began); took > 31*time.Minute {
			t.Errorf("the last one went out after %s", took)
		}
	})
}

// No more calls are under way than may be, and all of them go out.
func TestConcurrentInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		server.executedAfter, server.pollAfter = 3, time.Second
		actions := server.actions()
		actions["fake.once"] = &fakeAction{server: server, spec: Spec{Name: "fake.once", Effect: Once}, async: true, list: true}
		settings := guard.Settings{Limits: []guard.Limit{{Concurrent: 3}}}
		_, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Guard: guarded(t, settings), Hosts: anyHost})
		for n := range 30 {
			j.put(t, alertOn(fmt.Sprint(n), fmt.Sprint("host-", n)))
		}
		time.Sleep(10 * time.Minute)
		stop()
		if got := server.done("fake.once"); len(got) != 30 {
			t.Errorf("%d calls", len(got))
		}
		open, worst := map[soar.RunID]bool{}, 0
		var edges []soar.Entry
		for _, run := range j.all() {
			entries, err := j.Entries(t.Context(), run.ID)
			if err != nil {
				t.Fatal(err)
			}
			edges = append(edges, entries...)
		}
		slices.SortStableFunc(edges, func(a, b soar.Entry) int { // at the same moment, what ends comes first
			return cmp.Or(a.At.Compare(b.At), -strings.Compare(string(a.Kind), string(b.Kind)))
		})
		for _, e := range edges {
			switch e.Kind {
			case soar.EntryIntent:
				open[e.Run] = true
			case soar.EntryResult:
				delete(open, e.Run)
			}
			worst = max(worst, len(open))
		}
		if worst != 3 {
			t.Errorf("%d calls were under way at the same time, and 3 may be", worst)
		}
		if kvs, err := j.KV(t.Context(), "guard/call/"); err != nil || len(kvs) != 0 {
			t.Errorf("left behind: %v, %v", kvs, err)
		}
	})
}

// What a freeze holds goes out when it is over; what would wait too long is refused.
func TestFreezeInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight in UTC, on Saturday, 2000-01-01
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		settings := guard.Settings{Freezes: []guard.Freeze{{Name: "new year", Dates: []string{"01-01"}, To: "18:00", Timezone: "UTC"}}}
		set := loadText(t, actions, oneHit)
		for _, tt := range []struct {
			hold time.Duration
			want soar.StepState
		}{{0, soar.StepExecuted}, {time.Hour, soar.StepRefused}} {
			_, stop := running(t, j, actions, set, EngineOptions{Guard: guarded(t, settings), Hosts: anyHost, MaxHold: tt.hold})
			id := tt.hold.String()
			j.put(t, alertOn(id, "host-1"))
			time.Sleep(17 * time.Hour)
			if n := len(server.done("fake.once")); n != 0 && tt.hold == 0 {
				t.Fatalf("%d calls during the freeze", n)
			}
			time.Sleep(2 * time.Hour)
			stop()
			got := lastHit(t, j, id)
			if got.State != tt.want || got.State == soar.StepRefused && !strings.Contains(got.Error, "no fake.once before") {
				t.Errorf("a step that waits for %s: %+v", tt.hold, got)
			}
			time.Sleep(time.Until(time.Date(time.Now().Year()+1, 1, 1, 1, 0, 0, 0, time.UTC)))
		}
		if sent := server.done("fake.once"); len(sent) != 1 || !sent[0].at.Equal(time.Date(2000, 1, 1, 18, 0, 0, 0, time.UTC)) {
			t.Errorf("sent %+v", sent)
		}
	})
}

// Wherever the process dies, no more hosts are acted on than the budget allows, what it
// counted or latched is known afterwards, and nothing is left that is under way.
func TestCrashWithABudget(t *testing.T) {
	const alerts, hosts = 5, 2
	settings := guard.Settings{
		Budgets: []guard.Budget{{Name: "hits", Calls: guard.Calls{Actions: []string{"fake.*"}}, Hosts: hosts, Window: 24 * time.Hour}},
		Limits:  []guard.Limit{{Concurrent: 1}},
	}
	for _, where := range []string{"commit", "committed", "call", "called"} {
		t.Run(where, func(t *testing.T) {
			moments := 0
			for n := 1; ; n++ {
				died := false
				synctest.Test(t, func(t *testing.T) {
					j, server := newMemJournal(), newFakeServer()
					server.now = time.Now
					actions := server.actions()
					actions["fake.once"] = &fakeAction{server: server, spec: Spec{Name: "fake.once", Effect: Once}, async: true, list: true}
					for i := range alerts {
						j.put(t, alertOn(fmt.Sprint(i), fmt.Sprint("host-", i)))
					}
					options := func() EngineOptions { return EngineOptions{Guard: guarded(t, settings), Hosts: anyHost} }
					died = crashAt{n, where}.runWith(t, j, server, actions, loadText(t, actions, oneHit), options)
					acted := map[any]bool{}
					for _, c := range server.done("fake.once") {
						if acted[c.with["host"]] {
							t.Errorf("%s %d: %v was acted on twice", where, n, c.with["host"])
						}
						acted[c.with["host"]] = true
					}
					refused := 0
					for _, run := range j.all() {
						if j.result(t, run.ID, "hit").State == soar.StepRefused {
							refused++
						}
					}
					// A call that was counted and never received is not sent again when its time is
					// over, or when the budget has latched meanwhile.
					if len(acted) < hosts-1 || len(acted) > hosts || refused < alerts-hosts {
						t.Errorf("%s %d: %d hosts were acted on, %d refused", where, n, len(acted), refused)
					}
					e, stop := running(t, j, actions, loadText(t, actions, oneHit), options())
					shown, err := e.Budgets(t.Context())
					if err != nil || shown[1].Used != hosts || shown[1].Latched == nil {
						t.Errorf("%s %d: afterwards the budget is %+v, %v", where, n, shown[1], err)
					}
					stop()
					if kvs, err := j.KV(t.Context(), "guard/call/"); err != nil || len(kvs) != 0 {
						t.Errorf("%s %d: left behind: %v, %v", where, n, kvs, err)
					}
					if told := j.events(soar.EventTrouble); len(told) != 1 {
						t.Errorf("%s %d: people are told %d times", where, n, len(told))
					}
				})
				if !died {
					break
				}
				moments++
			}
			if moments < 2 {
				t.Errorf("the process died at %d moments", moments)
			}
		})
	}
}

// countingJournal counts how often runs are gone on with.
type countingJournal struct {
	*memJournal
	resumed atomic.Int64
}

func (c *countingJournal) Entries(ctx context.Context, run soar.RunID) ([]soar.Entry, error) {
	c.resumed.Add(1)
	return c.memJournal.Entries(ctx, run)
}

// Of the many that wait for a turn, only the one that has it is gone on with.
func TestTurnsDoNotWakeEverybody(t *testing.T) {
	const runs = 400
	for _, tt := range []struct {
		name     string
		settings guard.Settings
		kind     string
		host     func(n int) string
	}{
		{"a number at the same time", guard.Settings{Limits: []guard.Limit{{Concurrent: 2}}}, "", func(n int) string { return fmt.Sprint("host-", n) }},
		{"a rate", guard.Settings{Limits: []guard.Limit{{Rate: 5, Per: time.Minute}}}, "", func(n int) string { return fmt.Sprint("host-", n) }},
		{"calls of a kind at one host", guard.Settings{}, "agent", func(int) string { return "host-1" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := &countingJournal{memJournal: newMemJournal()}, newFakeServer()
				server.executedAfter, server.pollAfter = 2, time.Second
				actions := server.actions()
				sense := ""
				if tt.kind != "" {
					sense = "do"
				}
				actions["fake.once"] = &fakeAction{server: server, spec: Spec{Name: "fake.once", Effect: Once, Kind: tt.kind, Sense: sense}, async: true, list: true}
				book := strings.Replace(oneHit, "host: \"", "n: \"${{ .alert.id }}\", host: \"", 1)
				_, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: guarded(t, tt.settings), Hosts: anyHost})
				for n := range runs {
					j.put(t, alertOn(fmt.Sprint(n), tt.host(n)))
				}
				time.Sleep(5 * time.Hour)
				stop()
				if got := server.done("fake.once"); len(got) != runs || strings.Count(stateOf(j.all()), "done") != runs {
					t.Errorf("%d calls of %d", len(got), runs)
				}
				// Polling takes some as well; if all were woken each time, it would be many thousand.
				if n := j.resumed.Load(); n > 10*runs {
					t.Errorf("%d runs were gone on with %d times", runs, n)
				}
			})
		})
	}
}
