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
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

// The comparison goes by a clock of its own. Some alerts come in at the same moment,
// then the next ones: cool-downs and groups end in between, what was read grows old,
// and a look-up fails for a while.
var agreeStart = time.Date(2026, 11, 22, 3, 30, 0, 0, time.UTC)

const (
	agreeParts = 8 // into which the alerts are cut
	agreeBatch = agreeAlerts / agreeParts / 100
	agreePause = time.Minute
	agreeEnd   = 72 * time.Hour // after which the last group has come to its end
)

// cameIn is when an alert comes in.
func cameIn(i int) time.Time {
	return agreeStart.Add(time.Duration(i%(agreeAlerts/agreeParts)/agreeBatch) * agreePause)
}

// outage reports whether look-ups at outageHost fail.
func outage(now time.Time) bool {
	minute := int(now.Sub(agreeStart) / time.Minute)
	return minute >= 20 && minute < 60
}

const outageHost = "outage"

// asksAnew are playbooks whose verdicts depend on what was read before the alert came
// in: an explanation, which asks by itself, cannot know of that.
var asksAnew = []string{"goes-stale"}

// saying is what one way of asking makes of one alert and one playbook.
type saying struct {
	verdict string          // as the journal has it
	calls   []string        // "step do {arguments}", in order
	open    map[string]bool // steps of which it says nothing
	done    bool            // all calls that it tells of are made
}

// sayings are by alert and playbook.
type sayings map[[2]string]*saying

// Test, explain, backtest and the live engine in observe mode say the same of 10,000
// alerts: the same verdicts, and the same calls with the same arguments in the same
// order. The playbooks are those of the library, those that use every key of the
// language, and some that do what the others leave out. Nothing in it goes by the
// clock of the machine, so that a busy one changes nothing but how long it takes.
func TestAllWaysAgree(t *testing.T) {
	c := &comparison{alerts: variations(simulatedAlerts(t), agreeAlerts), sources: agreeSources(t), all: sayings{}, counts: map[string]int{}}
	t.Run("parts", func(t *testing.T) {
		for part := range agreeParts { // each playbook sees a part of the alerts, and each alert a part of the playbooks
			t.Run(strconv.Itoa(part), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { c.part(t, part) })
			})
		}
	})
	t.Logf("%d alerts, %d pairs of alert and playbook: %v", len(c.alerts), len(c.all), c.counts)
	least := map[string]int{
		"match": 4000, "no match": 20_000, "suppressed": 200, "grouped": 500, "error": 100, "calls": 10_000, "explained": 7000,
		"after a failed call": 20, "stale": 40, "group of several": 20,
	}
	for _, what := range sortedKeys(least) {
		if c.counts[what] < least[what]*agreeAlerts/10_000 {
			t.Errorf("too little is compared: %d times %s", c.counts[what], what)
		}
	}
	for _, name := range []string{"does-everything", "goes-stale", "tells-of-groups"} {
		if c.counts["runs of "+name] == 0 {
			t.Errorf("%s never ran", name)
		}
	}
	if !t.Failed() {
		synctest.Test(t, c.files)
	}
}

// comparison is what all parts of it work on.
type comparison struct {
	alerts  []soar.Alert
	sources map[string][]byte

	mu     sync.Mutex
	all    sayings        // of the live engine; guarded by mu
	counts map[string]int // guarded by mu
}

// part lets the live engine work on a part of the alerts, and then asks the others.
func (c *comparison) part(t *testing.T, part int) {
	time.Sleep(time.Until(agreeStart)) // on the clock of synctest
	some := c.alerts[part*len(c.alerts)/agreeParts : (part+1)*len(c.alerts)/agreeParts]
	first := newWorld(t, c.sources, part, time.Now).open(t)
	first.runLive(t, some)
	live, stored := first.sayings(t), first.stored(t)
	second, third, fourth := newWorld(t, c.sources, part, nil).open(t), newWorld(t, c.sources, part, nil), newWorld(t, c.sources, part, nil)
	var tested, backtested, explained sayings
	var ways sync.WaitGroup
	ways.Go(func() {
		second.simulate(t, some)
		tested = second.sayings(t)
	})
	ways.Go(func() { backtested = third.backtest(t, first.store, stored) })
	ways.Go(func() { explained = fourth.explain(t, stored, live) })
	ways.Wait()
	if t.Failed() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, l := range live {
		c.all[key] = l
		c.count(key, l)
		agree(t, key, "test", tested[key], l, l.verdict)
		agree(t, key, "backtest", backtested[key], l, l.verdict)
		if x := explained[key]; x != nil {
			c.counts["explained"]++
			want := firstWord(l.verdict)
			if want == "suppressed" || want == "grouped" {
				want = "match" // these words depend on other alerts
			}
			agree(t, key, "explain", x, l, want)
		}
	}
}

// count counts what is compared. The caller holds mu.
func (c *comparison) count(key [2]string, l *saying) {
	word := firstWord(l.verdict)
	c.counts[word]++
	c.counts["calls"] += len(l.calls)
	if word != "match" {
		return
	}
	c.counts["runs of "+key[1]]++
	if !l.done {
		c.counts["after a failed call"]++
	}
	for _, call := range l.calls { // by what those under testdata/agree say
		if strings.Contains(call, `"tag":"stale-`) {
			c.counts["stale"]++
		}
		if key[1] == "tells-of-groups" && firstWord(call) == "step3" {
			c.counts["group of several"]++
		}
	}
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
	made := live.calls
	if got.open != nil { // it tells of a run that has not begun: a call that is repeated is told of once
		made = slices.Compact(slices.DeleteFunc(slices.Clone(made), func(call string) bool { return got.isOpen(firstWord(call)) }))
	}
	same := slices.Equal(made, got.calls)
	if got.open != nil && !live.done { // a call failed: what was to follow it is left out
		same = isWithin(made, got.calls)
	}
	if !same {
		t.Errorf("%s of %s on %s\n%s\nlive:\n%s", way, key[1], key[0], strings.Join(got.calls, "\n"), strings.Join(made, "\n"))
	}
}

// isWithin reports whether all of part stands in whole, in the same order.
func isWithin(part, whole []string) bool {
	for _, text := range whole {
		if len(part) > 0 && part[0] == text {
			part = part[1:]
		}
	}
	return len(part) == 0
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
	for _, place := range []fs.FS{library.FS, os.DirFS("../testdata/valid"), os.DirFS("testdata/agree")} {
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
func agreeSet(t *testing.T, sources map[string][]byte, known map[string]playbooks.Action, now func() time.Time) *playbooks.Set {
	t.Helper()
	var loaded []*playbooks.Playbook
	for name, data := range sources {
		pb, problems := playbooks.ParseWithClock(name, data, known, now)
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

func agreeActions(now func() time.Time) map[string]playbooks.Action {
	return actions.All(actions.Deps{Now: now})
}

// agreeGiven are the answers of actions: one host cannot be read, and one process only
// now and then, which is never when somebody asks.
func agreeGiven() []Given {
	output := map[string]any{
		"identifier": "host-1", "name": "PC-1", "tags": []any{"backup"}, "online": true, "files": []any{`C:\Temp\x.exe`}, "rows": []any{map[string]any{"pid": "7"}},
		"processes": []any{map[string]any{"pid": "7", "cmdline": "x.exe -a"}}, "results": []any{}, "status": 200.0, "body": map[string]any{"malicious": 3.0},
	}
	given := []Given{{Do: "process.tree", With: map[string]any{"guid": "flaky"}, State: "transient", Error: "the server is busy"}}
	for _, name := range sortedKeys(agreeActions(time.Now)) {
		given = append(given,
			Given{Do: name, With: map[string]any{"host": "host-bad"}, State: "failed", Error: "the host is gone"},
			Given{Do: name, State: "executed", Output: output})
	}
	return given
}

// recorder notes the calls of runs.
type recorder struct {
	mu    sync.Mutex
	calls map[soar.RunID]map[string][]string // by step; guarded by mu
}

type recorded struct {
	playbooks.Action
	name string
	to   *world
}

func (a *recorded) Do(ctx context.Context, call playbooks.Call) (playbooks.Outcome, error) {
	if err := playbooks.Refusal(a.Action, call.With); err != nil {
		return playbooks.Outcome{}, err // as the action itself, which makes no call then
	}
	if hosts, _ := call.With["hosts"].([]any); len(hosts) == 1 && hosts[0] == outageHost && outage(a.to.now()) {
		return playbooks.Outcome{State: soar.StepFailed, Error: "nobody answers"}, nil
	}
	if call.Run != 0 {
		a.to.mu.Lock()
		if a.to.calls[call.Run] == nil {
			a.to.calls[call.Run] = map[string][]string{}
		}
		step := stepOf(call.Step)
		a.to.calls[call.Run][step] = append(a.to.calls[call.Run][step], line(step, a.name, call.With, call.Run))
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

// world is actions that a test answers for, and a store where one is needed.
type world struct {
	recorder
	clock   func() time.Time // guarded by mu
	store   *store.Store
	actions map[string]playbooks.Action
	set     *playbooks.Set
	group   map[string]string // of the steps inside parallel groups
}

// newWorld makes a world. With a nil clock, what is to go on in it sets the clock.
func newWorld(t *testing.T, sources map[string][]byte, part int, clock func() time.Time) *world {
	t.Helper()
	w := &world{
		recorder: recorder{calls: map[soar.RunID]map[string][]string{}}, clock: clock, actions: map[string]playbooks.Action{}, group: map[string]string{},
	}
	if clock == nil {
		w.stopAt(agreeStart)
	}
	given := newOutside(&document{File: File{Given: agreeGiven()}}, &Case{}, w.now)
	for name, action := range given.standIns(agreeActions(w.now)) {
		w.actions[name] = &recorded{action, name, w}
	}
	var books []*playbooks.Playbook
	for i, pb := range agreeSet(t, sources, w.actions, w.now).Playbooks() {
		if i%agreeParts == part {
			books = append(books, pb)
		}
		o := pb.Outline()
		w.groups(o.Steps, "")
		w.groups(o.Finally, "")
	}
	w.set = playbooks.NewSet(books...)
	return w
}

// open opens the store.
func (w *world) open(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.Context(), agreeDir(t), store.Options{Log: slog.New(slog.DiscardHandler), Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	w.store = s
	return w
}

// agreeDir is a directory in memory where there is one: no crash is tested here.
func agreeDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "agree")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// now is the time of the world.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock().UTC()
}

// goBy sets the clock, and stopAt stops it.
func (w *world) goBy(clock func() time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = clock
}

func (w *world) stopAt(at time.Time) { w.goBy(func() time.Time { return at }) }

// groups notes which steps stand inside parallel groups.
func (w *world) groups(steps []playbooks.OutlineStep, group string) {
	for _, s := range steps {
		if group != "" {
			w.group[s.ID] = group
		}
		w.groups(s.Handlers, group)
		for _, branch := range s.Branches {
			w.groups(branch, cmp.Or(group, s.ID))
		}
	}
}

// inOrder sorts the calls of steps that are done side by side, which have no order,
// and leaves all others where they are.
func (w *world) inOrder(calls []string) []string {
	from := 0
	for i := range calls {
		if w.sideBySide(calls[i]) != w.sideBySide(calls[from]) {
			slices.Sort(calls[from:i])
			from = i
		}
	}
	slices.Sort(calls[from:])
	return calls
}

// sideBySide is the parallel group or the for_each that a call is made in; for others,
// it is the step.
func (w *world) sideBySide(call string) string {
	key, way := firstWord(call), ""
	for part := range strings.SplitSeq(key, "/") {
		id, _, isItem := strings.Cut(part, "[")
		if group := w.group[id]; group != "" {
			return way + group
		}
		if isItem {
			return way + id
		}
		way += part + "/"
	}
	return key
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
			if run.Alert == "" {
				continue // by the clock
			}
			s := all[[2]string{run.Alert, run.Playbook}]
			s.done = run.State == soar.RunDone
			s.calls = w.callsOf(t, run)
			if !run.State.Ended() {
				t.Errorf("run %s of %s on %s is %s", run.ID, run.Playbook, run.Alert, run.State)
			}
		}
		if len(runs) == 0 {
			return all
		}
	}
}

// callsOf are the calls that a run made, and those that it would have made.
func (w *world) callsOf(t *testing.T, run soar.Run) (calls []string) {
	entries, err := w.store.Entries(t.Context(), run.ID)
	if err != nil {
		t.Error(err)
	}
	asked := map[string]bool{} // calls of which the guard was asked: a group ends observed too, when all of it did
	for _, e := range entries {
		var r playbooks.Result
		if asked[e.Step] = asked[e.Step] || e.Kind == soar.EntryDecision; e.Kind != soar.EntryResult {
			continue
		}
		if err := json.Unmarshal(e.Body, &r); err != nil {
			t.Error(err)
		}
		if r.State == soar.StepObserved && asked[e.Step] {
			calls = append(calls, line(e.Step, r.Action, r.With, run.ID))
		}
		calls = append(calls, w.calls[run.ID][e.Step]...)
	}
	return w.inOrder(calls)
}

// batches hands over the alerts that come in at the same moment.
func batches(t *testing.T, s *store.Store, alerts []soar.Alert, then func()) {
	for batch := range slices.Chunk(alerts, agreeBatch) {
		if _, err := s.Commit(t.Context(), soar.Change{Alerts: batch}); err != nil {
			t.Error(err)
			return
		}
		then()
	}
}

// runLive lets the engine run as the daemon does. One alert is evaluated at a time, so
// that it is certain which of several takes a cool-down.
func (w *world) runLive(t *testing.T, alerts []soar.Alert) {
	engine, err := playbooks.NewEngine(w.store, w.actions, w.set, playbooks.EngineOptions{Now: w.now, Ceiling: soar.ModeObserve, Evaluations: 1})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	batches(t, w.store, alerts, func() { time.Sleep(agreePause) }) // which ends when all is done
	time.Sleep(agreeEnd)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// simulate is the engine as tests of playbooks run it.
func (w *world) simulate(t *testing.T, alerts []soar.Alert) {
	sim, err := playbooks.NewSimulation(w.store, w.actions, w.set, agreeStart, playbooks.EngineOptions{Ceiling: soar.ModeObserve})
	if err != nil {
		t.Error(err)
		return
	}
	w.goBy(sim.Now)
	batches(t, w.store, alerts, func() {
		if err := sim.Advance(t.Context(), agreePause); err != nil {
			t.Error(err)
		}
	})
	if err := sim.Settle(t.Context(), agreeEnd); err != nil {
		t.Error(err)
	}
}

// planned turns what is told of steps into a saying.
func (w *world) planned(s *saying, steps []playbooks.PlannedStep, run soar.RunID) {
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
	w.inOrder(s.calls)
}

func (w *world) backtest(t *testing.T, history playbooks.History, alerts []soar.StoredAlert) sayings {
	b, err := playbooks.NewBacktest(w.set, playbooks.BacktestOptions{Actions: w.actions, Reads: true, Ceiling: soar.ModeObserve, History: history})
	if err != nil {
		t.Error(err)
		return nil
	}
	all := sayings{}
	for i := range alerts {
		w.stopAt(alerts[i].ReceivedAt)
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
			w.planned(s, trial.Steps, trial.Run)
			all[[2]string{alerts[i].Alert.Ref(), trial.Playbook}] = s
		}
	}
	if len(w.calls) > 0 {
		t.Errorf("the backtest made calls of steps: %v", w.calls)
	}
	return all
}

// explain asks for all that do something, and for some of those that do not match.
func (w *world) explain(t *testing.T, alerts []soar.StoredAlert, live sayings) sayings {
	all, history := sayings{}, remember(alerts)
	for n, alert := range alerts {
		w.stopAt(alert.ReceivedAt)
		for i, pb := range w.set.Playbooks() {
			key := [2]string{alert.Alert.Ref(), pb.Name}
			if l := live[key]; l == nil || l.verdict == "no match" && (n+i)%16 > 0 || slices.Contains(asksAnew, pb.Name) {
				continue
			}
			x, err := playbooks.ExplainWith(t.Context(), pb, alert.Alert, playbooks.ExplainOptions{Actions: w.actions, Ceiling: soar.ModeObserve, Now: w.now, History: history})
			if err != nil {
				t.Error(err)
				return nil
			}
			s := &saying{verdict: string(x.Verdict)}
			w.planned(s, x.Steps, x.Run)
			all[key] = s
		}
	}
	return all
}

// remembered is a history in memory: each explanation reads much of it.
type remembered struct {
	alerts []soar.StoredAlert // the lowest key first
	byRef  map[string]int
}

func remember(alerts []soar.StoredAlert) *remembered {
	r := &remembered{alerts: alerts, byRef: map[string]int{}}
	for i := range alerts {
		r.byRef[alerts[i].Alert.Ref()] = i
	}
	return r
}

func (r *remembered) AlertByRef(_ context.Context, ref string) (soar.StoredAlert, error) {
	i, ok := r.byRef[ref]
	if !ok {
		return soar.StoredAlert{}, soar.ErrNotFound
	}
	return r.alerts[i], nil
}

func (r *remembered) AlertsCreated(_ context.Context, since time.Time, after int64, limit int) (page []soar.StoredAlert, err error) {
	from, _ := slices.BinarySearchFunc(r.alerts, after+1, func(a soar.StoredAlert, key int64) int { return cmp.Compare(a.Key, key) })
	for _, a := range r.alerts[from:] {
		if len(page) < limit && !a.Alert.CreatedAt.Before(since) {
			page = append(page, a)
		}
	}
	return page, nil
}

// files writes tests of playbooks that expect what the live engine said of some of the
// alerts, and runs them.
func (c *comparison) files(t *testing.T) {
	alerts, live, w := c.alerts, c.all, newWorld(t, c.sources, 0, nil)
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
	set, tests := agreeSet(t, c.sources, agreeActions(time.Now), time.Now), 0
	for _, pb := range set.Playbooks() {
		if err := os.WriteFile(filepath.Join(dir, pb.Name+".yaml"), pb.Source, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(pb.Source), "\ngroup:") || strings.Contains(string(pb.Source), "\ncount:") || strings.Contains(string(pb.Source), ".count") || slices.Contains(asksAnew, pb.Name) {
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
			cases = append(cases, map[string]any{"name": alerts[i].Ref(), "alert": &alerts[i], "now": cameIn(i), "ceiling": "observe", "expect": expect})
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
			if !slices.Equal(w.inOrder(calls), l.calls) {
				t.Errorf("%s on %s: playbook test says\n%s\nlive:\n%s", f.Playbook, r.Name, strings.Join(calls, "\n"), strings.Join(l.calls, "\n"))
			}
			compared++
		}
	}
	t.Logf("%d tests of playbooks", compared)
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
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
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
		a.CreatedAt = cameIn(i).Add(-time.Duration(random.IntN(100)) * time.Minute)
		a.EventTime, a.UpdatedAt, a.Backfill = a.CreatedAt, time.Time{}, random.IntN(50) == 0
		a.Host.Identifier = fmt.Sprint("host-", i%300)
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
