package playtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

// agreeAt is the one moment at which all alerts of the comparison come in.
var agreeAt = time.Date(2026, 11, 22, 3, 30, 0, 0, time.UTC)

func agreeNow() time.Time { return agreeAt }

// agreeParts is into how many parts the comparison is cut.
const agreeParts = 4

// saying is what one way of asking makes of one alert and one playbook.
type saying struct {
	verdict string          // as the journal has it
	calls   []string        // "step do {arguments}", sorted
	open    map[string]bool // steps of which it says nothing
	done    bool            // all calls that it tells of are made
}

// sayings are by alert and playbook.
type sayings map[[2]string]*saying

// Test, explain, backtest and the live engine in observe mode say the same of 10,000
// alerts: the same verdicts, and the same calls with the same arguments. The
// playbooks are those of the library, and those that use every key of the language.
func TestAllWaysAgree(t *testing.T) {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm") // the stores are real, and no crash is tested here
	}
	alerts := variations(simulatedAlerts(t), 10_000)
	sources := agreeSources(t)
	all, counts, pairs := sayings{}, map[string]int{}, 0
	for part := range agreeParts { // each playbook sees a part of the alerts, and each alert a part of the playbooks
		some := alerts[part*len(alerts)/agreeParts : (part+1)*len(alerts)/agreeParts]
		first, second := newWorld(t, sources, part, some), newWorld(t, sources, part, some)
		third, fourth := newWorld(t, sources, part, nil), newWorld(t, sources, part, nil)
		var ways sync.WaitGroup
		ways.Go(func() { first.runLive(t) })
		ways.Go(func() { second.simulate(t) })
		ways.Wait()
		if t.Failed() {
			t.FailNow()
		}
		live, tested := first.sayings(t), second.sayings(t)
		var backtested, explained sayings
		stored := first.stored(t)
		ways.Go(func() { backtested = third.backtest(t, first.store, stored) })
		ways.Go(func() { explained = fourth.explain(t, first.store, some, live) })
		ways.Wait()
		if t.Failed() {
			t.FailNow()
		}
		for key, l := range live {
			pairs++
			all[key] = l
			counts[firstWord(l.verdict)]++
			counts["calls"] += len(l.calls)
			agree(t, key, "test", tested[key], l, l.verdict)
			agree(t, key, "backtest", backtested[key], l, l.verdict)
			if x := explained[key]; x != nil {
				counts["explained"]++
				want := firstWord(l.verdict)
				if want == "suppressed" || want == "grouped" {
					want = "match" // these words depend on other alerts
				}
				agree(t, key, "explain", x, l, want)
			}
		}
	}
	t.Logf("%d alerts, %d pairs of alert and playbook: %v", len(alerts), pairs, counts)
	if pairs < 50_000 || counts["match"] < 5000 || counts["suppressed"] < 100 || counts["error"] < 50 || counts["calls"] < 10_000 || counts["explained"] < 10_000 {
		t.Errorf("too little is compared: %v", counts)
	}
	agreeFiles(t, sources, alerts, all)
}

// agree holds one way against the live engine.
func agree(t *testing.T, key [2]string, way string, got, live *saying, verdict string) {
	t.Helper()
	switch {
	case got == nil:
		t.Errorf("%s of %s says nothing of %s", way, key[1], key[0])
		return
	case got.verdict != verdict && (way != "explain" || got.verdict != firstWord(verdict)):
		t.Errorf("%s of %s on %s: %s\nlive: %s", way, key[1], key[0], got.verdict, verdict)
		return
	case firstWord(live.verdict) != "match":
		return
	}
	var made []string
	for _, call := range live.calls {
		if !got.isOpen(firstWord(call)) {
			made = append(made, call)
		}
	}
	if !got.done || !live.done { // a call failed: what was to follow it is left out
		made = slices.DeleteFunc(made, func(call string) bool { return slices.Contains(got.calls, call) })
		if len(made) > 0 {
			t.Errorf("%s of %s on %s does not tell of\n%s", way, key[1], key[0], strings.Join(made, "\n"))
		}
		return
	}
	if !slices.Equal(made, got.calls) {
		t.Errorf("%s of %s on %s\n%s\nlive:\n%s", way, key[1], key[0], strings.Join(got.calls, "\n"), strings.Join(made, "\n"))
	}
}

// isOpen reports whether a step, or a group in which it stands, is left open.
func (s *saying) isOpen(step string) bool {
	for open := range s.open {
		if rest, found := strings.CutPrefix(step, open); found && (rest == "" || rest[0] == '[' || rest[0] == '/') {
			return true
		}
	}
	return false
}

func firstWord(text string) string {
	if text == "no match" {
		return text
	}
	word, _, _ := strings.Cut(text, " ")
	return strings.TrimSuffix(word, ":")
}

// agreeSources reads the playbooks.
func agreeSources(t *testing.T) map[string][]byte {
	t.Helper()
	sources := map[string][]byte{}
	for _, place := range []fs.FS{library.FS, os.DirFS("../testdata/valid")} {
		names, err := fs.Glob(place, "*.y*ml")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := fs.ReadFile(place, name)
			if err != nil {
				t.Fatal(err)
			}
			if !isTest(name) {
				sources[name] = data
			}
		}
	}
	return sources
}

// agreeSet loads the playbooks anew, for actions that a test answers for.
func agreeSet(t *testing.T, sources map[string][]byte, known map[string]playbooks.Action) *playbooks.Set {
	t.Helper()
	var loaded []*playbooks.Playbook
	for name, data := range sources {
		pb, problems := playbooks.ParseWithClock(name, data, known, agreeNow)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		if pb.Takes("alert") || pb.Takes("manual") { // no alert of a comparison is an updated one
			loaded = append(loaded, pb)
		}
	}
	if err := playbooks.Link(loaded).Err(); err != nil {
		t.Fatal(err)
	}
	return playbooks.NewSet(loaded...)
}

func agreeActions() map[string]playbooks.Action {
	return actions.All(actions.Deps{Now: agreeNow})
}

// agreeGiven are the answers of actions: one host cannot be read.
func agreeGiven() []Given {
	output := map[string]any{
		"identifier": "host-1", "name": "PC-1", "tags": []any{"backup"}, "online": true, "files": []any{`C:\Temp\x.exe`}, "rows": []any{map[string]any{"pid": "7"}},
		"processes": []any{map[string]any{"pid": "7", "cmdline": "x.exe -a"}}, "results": []any{}, "status": 200.0, "body": map[string]any{"malicious": 3.0},
	}
	given := []Given{}
	for _, name := range sortedKeys(agreeActions()) {
		given = append(given,
			Given{Do: name, With: map[string]any{"host": "host-bad"}, State: "failed", Error: "the host is gone"},
			Given{Do: name, State: "executed", Output: output})
	}
	return given
}

// recorder notes the calls of runs.
type recorder struct {
	mu    sync.Mutex
	calls map[soar.RunID][]string // guarded by mu
}

type recorded struct {
	playbooks.Action
	name string
	to   *recorder
}

func (a *recorded) Do(ctx context.Context, call playbooks.Call) (playbooks.Outcome, error) {
	if call.Run != 0 {
		a.to.mu.Lock()
		a.to.calls[call.Run] = append(a.to.calls[call.Run], line(stepOf(call.Step), a.name, call.With, call.Run))
		a.to.mu.Unlock()
	}
	return a.Action.Do(ctx, call)
}

func line(step, do string, with map[string]any, run soar.RunID) string {
	if with == nil {
		with = map[string]any{}
	}
	data, err := json.Marshal(with)
	if err != nil {
		data = []byte(err.Error())
	}
	return step + " " + do + " " + strings.ReplaceAll(string(data), run.String(), runWord)
}

// world is a store with alerts in it, and actions that a test answers for.
type world struct {
	*recorder
	store   *store.Store
	actions map[string]playbooks.Action
	set     *playbooks.Set
}

func newWorld(t *testing.T, sources map[string][]byte, part int, alerts []soar.Alert) *world {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{Log: slog.New(slog.DiscardHandler), Now: agreeNow})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{recorder: &recorder{calls: map[soar.RunID][]string{}}, store: s, actions: map[string]playbooks.Action{}}
	given := newOutside(&document{File: File{Given: agreeGiven()}}, &Case{}, agreeNow)
	for name, action := range given.standIns(agreeActions()) {
		w.actions[name] = &recorded{action, name, w.recorder}
	}
	var books []*playbooks.Playbook
	for i, pb := range agreeSet(t, sources, w.actions).Playbooks() {
		if i%agreeParts == part {
			books = append(books, pb)
		}
	}
	w.set = playbooks.NewSet(books...)
	for batch := range slices.Chunk(alerts, 500) {
		if _, err := s.Commit(t.Context(), soar.Change{Alerts: batch}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// stored are all alerts, in the order in which they came in.
func (w *world) stored(t *testing.T) []soar.StoredAlert {
	var list []soar.StoredAlert
	for before := int64(0); ; before = list[len(list)-1].Key {
		page, err := w.store.Alerts(t.Context(), store.AlertFilter{Before: before, Limit: 5000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			slices.Reverse(list)
			return list
		}
		list = append(list, page...)
	}
}

// sayings reads the journal.
func (w *world) sayings(t *testing.T) sayings {
	all := sayings{}
	for _, a := range w.stored(t) {
		for _, pb := range w.set.Playbooks() {
			if pb.Takes("alert") {
				s := &saying{verdict: cmp.Or(a.Verdicts[pb.Name], "no match")}
				if strings.HasPrefix(s.verdict, "grouped") {
					s.verdict = "grouped" // the run that it names has another id every time
				}
				all[[2]string{a.Alert.Ref(), pb.Name}] = s
			}
		}
	}
	for before := soar.RunID(0); ; {
		runs, err := w.store.Runs(t.Context(), store.RunFilter{Before: before, Limit: 5000})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range runs {
			before = run.ID
			s := all[[2]string{run.Alert, run.Playbook}]
			s.done = run.State == soar.RunDone
			s.calls = append(w.calls[run.ID], w.observed(t, run)...)
			slices.Sort(s.calls)
		}
		if len(runs) == 0 {
			return all
		}
	}
}

// observed are the calls that a run would have made.
func (w *world) observed(t *testing.T, run soar.Run) (calls []string) {
	entries, err := w.store.Entries(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{} // calls of which the guard was asked: a group ends observed too, when all of it did
	for _, e := range entries {
		var r playbooks.Result
		if asked[e.Step] = asked[e.Step] || e.Kind == soar.EntryDecision; e.Kind != soar.EntryResult {
			continue
		}
		if err := json.Unmarshal(e.Body, &r); err != nil {
			t.Fatal(err)
		}
		if r.State == soar.StepObserved && asked[e.Step] {
			calls = append(calls, line(e.Step, r.Action, r.With, run.ID))
		}
	}
	return calls
}

// runLive lets the engine run as the daemon does. One alert is evaluated at a time, so
// that it is certain which of several takes a cool-down.
func (w *world) runLive(t *testing.T) {
	engine, err := playbooks.NewEngine(w.store, w.actions, w.set, playbooks.EngineOptions{Now: agreeNow, Ceiling: soar.ModeObserve, Evaluations: 1})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	for {
		runs, pending := w.store.Changed(soar.SignalRuns), w.store.Changed(soar.SignalAlerts)
		counts, err := w.store.Counts(t.Context())
		if err != nil {
			t.Error(err)
			break
		}
		if counts.Pending == 0 && counts.RunsByState[soar.RunRunning] == 0 {
			break
		}
		select {
		case <-runs:
		case <-pending:
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// simulate is the engine as tests of playbooks run it.
func (w *world) simulate(t *testing.T) {
	sim, err := playbooks.NewSimulation(w.store, w.actions, w.set, agreeAt, playbooks.EngineOptions{Ceiling: soar.ModeObserve})
	if err == nil {
		err = sim.Settle(t.Context(), 0)
	}
	if err != nil && !errors.Is(err, playbooks.ErrNoEnd) {
		t.Error(err)
	}
}

// planned turns what is told of steps into a saying.
func (s *saying) planned(steps []playbooks.PlannedStep, run soar.RunID) {
	s.open = map[string]bool{}
	s.done = true
	for _, step := range steps {
		switch step.Plan {
		case playbooks.PlanSent, playbooks.PlanObserved, playbooks.PlanReads:
			s.calls = append(s.calls, line(step.ID, step.Action, step.With, run))
		case playbooks.PlanUnknown, playbooks.PlanOnFailure:
			s.open[step.ID] = true
		}
	}
	slices.Sort(s.calls)
}

func (w *world) backtest(t *testing.T, history playbooks.History, alerts []soar.StoredAlert) sayings {
	b, err := playbooks.NewBacktest(w.set, playbooks.BacktestOptions{Actions: w.actions, Reads: true, Ceiling: soar.ModeObserve, History: history})
	if err != nil {
		t.Error(err)
		return nil
	}
	all := sayings{}
	for i := range alerts {
		trials, err := b.Evaluate(t.Context(), &alerts[i])
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, trial := range trials {
			s := &saying{verdict: strings.TrimSuffix(string(trial.Verdict)+": "+trial.Words, ": ")}
			if trial.Verdict == playbooks.Grouped {
				s.verdict = "grouped"
			}
			s.planned(trial.Steps, trial.Run)
			all[[2]string{alerts[i].Alert.Ref(), trial.Playbook}] = s
		}
	}
	if len(w.calls) > 0 {
		t.Errorf("the backtest made calls of steps: %v", w.calls)
	}
	return all
}

// explain asks for all that do something, and for some of those that do not match.
func (w *world) explain(t *testing.T, history playbooks.History, alerts []soar.Alert, live sayings) sayings {
	all := sayings{}
	for n, alert := range alerts {
		for i, pb := range w.set.Playbooks() {
			key := [2]string{alert.Ref(), pb.Name}
			if l := live[key]; l == nil || l.verdict == "no match" && (n+i)%8 > 0 {
				continue
			}
			x, err := playbooks.ExplainWith(t.Context(), pb, alert, playbooks.ExplainOptions{Actions: w.actions, Ceiling: soar.ModeObserve, Now: agreeNow, History: history})
			if err != nil {
				t.Error(err)
				return nil
			}
			s := &saying{verdict: string(x.Verdict)}
			s.planned(x.Steps, x.Run)
			all[key] = s
		}
	}
	return all
}

// agreeFiles writes tests of playbooks that expect what the live engine said of some
// of the alerts, and runs them.
func agreeFiles(t *testing.T, sources map[string][]byte, alerts []soar.Alert, live sayings) {
	dir := t.TempDir()
	given := []map[string]any{}
	for _, g := range agreeGiven() {
		one := map[string]any{"do": g.Do, "state": g.State}
		if g.With != nil {
			one["with"], one["error"] = g.With, g.Error
		} else {
			one["output"] = g.Output
		}
		given = append(given, one)
	}
	set, tests := agreeSet(t, sources, agreeActions()), 0
	for _, pb := range set.Playbooks() {
		if err := os.WriteFile(filepath.Join(dir, pb.Name+".yaml"), pb.Source, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(pb.Source), "\ngroup:") || strings.Contains(string(pb.Source), "\ncount:") || strings.Contains(string(pb.Source), ".count") {
			continue // other alerts have to come in before
		}
		cases, taken := []map[string]any{}, map[string]int{}
		for i := range alerts {
			l := live[[2]string{alerts[i].Ref(), pb.Name}]
			if l == nil {
				continue // it was asked about others
			}
			verdict := firstWord(l.verdict)
			if verdict == "suppressed" || verdict == "grouped" || taken[verdict] >= 3 {
				continue // they too depend on other alerts
			}
			taken[verdict]++
			expect := map[string]any{"verdict": verdict}
			if verdict == "match" {
				expect["outcome"] = map[bool]string{true: "done", false: "failed"}[l.done]
			}
			cases = append(cases, map[string]any{"name": alerts[i].Ref(), "alert": &alerts[i], "now": agreeAt, "ceiling": "observe", "expect": expect})
		}
		if len(cases) == 0 {
			continue
		}
		tests += len(cases)
		data, err := json.Marshal(map[string]any{"given": given, "tests": cases})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, pb.Name+"_test.yaml"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(t.Context(), []Place{{Dir: dir}}, Options{Actions: func(now func() time.Time) map[string]playbooks.Action {
		return actions.All(actions.Deps{Now: now})
	}})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range report.Files {
		for _, r := range f.Results {
			for _, failure := range r.Failures {
				t.Errorf("%s on %s: %+v", f.Playbook, r.Name, failure)
			}
			l := live[[2]string{r.Name, f.Playbook}]
			var calls []string
			for _, c := range r.got.actions {
				calls = append(calls, line(c.Step, c.Do, c.With, 0))
			}
			slices.Sort(calls)
			if !slices.Equal(calls, l.calls) {
				t.Errorf("%s on %s: playbook test says\n%s\nlive:\n%s", f.Playbook, r.Name, strings.Join(calls, "\n"), strings.Join(l.calls, "\n"))
			}
			compared++
		}
	}
	if compared != tests || tests < 100 {
		t.Errorf("%d of %d tests compared", compared, tests)
	}
}

// simulatedAlerts are what all scenarios of the simulator raise.
func simulatedAlerts(t *testing.T) []soar.Alert {
	t.Helper()
	sim, err := ersim.New(ersim.Options{Seed: 7})
	if err == nil {
		err = sim.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := connector.New(connector.Options{URL: sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	var plays sync.WaitGroup
	for _, name := range sim.Scenarios() {
		plays.Go(func() {
			if err := sim.Play(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	plays.Wait()
	var alerts []soar.Alert
	for row, err := range client.Alerts.List(t.Context(), connector.AlertQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		host, err := client.Hosts.Get(t.Context(), strconv.FormatInt(row.NodeID, 10))
		if err != nil {
			t.Fatal(err)
		}
		var rule *connector.Rule
		if row.RuleID != 0 {
			r, err := client.Rules.Get(t.Context(), row.RuleID)
			if err != nil {
				t.Fatal(err)
			}
			rule = &r
		}
		alerts = append(alerts, connector.Normalize("er", "", row, &host, rule))
	}
	// What is raised at the same moment has no order of its own.
	slices.SortFunc(alerts, func(a, b soar.Alert) int {
		return strings.Compare(a.Title()+a.Host.Name+a.Event["cmdline"], b.Title()+b.Host.Name+b.Event["cmdline"])
	})
	return alerts
}

// hostile are values that nobody expects.
var hostile = []string{"", "0", "-1", "null", "${{ .alert.id }}", "evil\x1b[2J", `"; drop table x; --`, "\u202egpj.exe", strings.Repeat("A", 3000), "é\xff", "7", `C:\Temp\a b.exe`}

// variations makes many alerts of a few, always the same ones.
func variations(base []soar.Alert, n int) []soar.Alert {
	random := rand.New(rand.NewPCG(7, 11))
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	var columns []map[string]string
	for i := range base {
		columns = append(columns, base[i].Event)
	}
	alerts := make([]soar.Alert, n)
	for i := range alerts {
		a := base[random.IntN(len(base))]
		a.ID = fmt.Sprint(i)
		a.CreatedAt = agreeAt.Add(-time.Duration(random.IntN(100)) * time.Minute)
		a.EventTime, a.UpdatedAt, a.Backfill = a.CreatedAt, time.Time{}, random.IntN(50) == 0
		a.Host.Identifier = fmt.Sprint("host-", i)
		event := map[string]string{}
		for k, v := range a.Event {
			event[k] = v
		}
		a.Event = event
		for range random.IntN(4) {
			switch random.IntN(12) {
			case 0:
				a.Severity = soar.Severity(pick([]string{"info", "low", "medium", "high", "critical", "odd"}))
			case 1:
				a.Host.Platform = pick([]string{"windows", "ubuntu", "darwin", ""})
			case 2:
				a.Host.Tags = []string{pick([]string{"backup", "vip", "domain-controller", "server", "build"}), pick(hostile)}
			case 3:
				a.Host.Identifier = pick([]string{"host-bad", "host-1", "host-2", "host-3", ""})
			case 4:
				a.Rule = nil
			case 5:
				a.Source, a.Intel = pick([]string{"rule", "ioc", "virustotal"}), json.RawMessage(pick([]string{`{"positives": "60"}`, `{"positives": 2}`, `[1]`, `"x"`, `null`}))
			case 6:
				a.EventCount = random.IntN(200)
			case 7:
				other := columns[random.IntN(len(columns))]
				for k, v := range other {
					event[k] = v
				}
			case 8:
				a.Status = pick([]string{"open", "resolved"})
			case 9:
				a.Host.Name = pick([]string{"WIN-TEST", "DC-1", pick(hostile)})
			default:
				if keys := sortedKeys(event); len(keys) > 0 {
					if k := pick(keys); random.IntN(3) == 0 {
						delete(event, k)
					} else {
						event[k] = pick(hostile)
					}
				}
			}
		}
		alerts[i] = a
	}
	return alerts
}
