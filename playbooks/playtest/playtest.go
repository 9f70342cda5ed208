// Package playtest tests playbooks: an alert comes in, or something else starts a run;
// the real engine works on it with the real store, and the answers of actions are those
// that the test gives.
// Nothing leaves the process. The clock moves by itself, so that a day of waiting
// takes no time.
package playtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Options are the settings of a run of tests.
type Options struct {
	// Actions are all actions there are, telling the time by now. None of those that
	// leave the process is carried out.
	Actions func(now func() time.Time) map[string]playbooks.Action
	// Only picks tests by "PLAYBOOK/NAME"; nil takes all.
	Only *regexp.Regexp
	// Others are where else playbooks are that may be called.
	Others []Place
}

// longest is how long the run of a test may take, on its own clock: longer than the
// longest time-out of a step, with some of its attempts.
const longest = 365 * 24 * time.Hour

// Run runs tests. An error of type registry.Problems holds every mistake in the
// files; then no test has run.
func Run(ctx context.Context, places []Place, o Options) (*Report, error) {
	known := o.Actions(time.Now)
	report := &Report{}
	others := &catalogue{places: slices.Concat(places, o.Others)}
	found, err := find(places)
	if err != nil {
		return nil, err
	}
	var suites []*suite
	var problems registry.Problems
	for _, f := range found.tests {
		s, more := f.place.open(f.name, known, others)
		problems, suites = append(problems, more...), append(suites, s)
	}
	for _, f := range found.untested {
		shown, key := f.place.shown(f.name), f.place.key(f.name)
		if slices.ContainsFunc(suites, func(s *suite) bool { return s != nil && s.key == key }) {
			continue // its tests stand elsewhere
		}
		if at := fixtureAt(suites, key); at != nil {
			problems.Addf(*at, "alert", "save it as JSON, or outside of the folder", "%s stands among the playbooks, where every YAML file is read as one", shown)
			continue
		}
		data, err := f.place.read(f.name)
		if err != nil {
			return nil, fmt.Errorf("playbook %w", err)
		}
		pb, more := playbooks.ParseIn(f.place.folder(f.name), shown, data, known)
		if problems = append(problems, more...); pb != nil {
			report.Files = append(report.Files, &FileReport{Playbook: pb.Name, Source: shown, Coverage: newCoverage(pb, shown, data)})
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	covered := map[string]*Coverage{} // by the playbook's file, which may have several of tests
	for _, s := range suites {
		if covered[s.key] == nil {
			covered[s.key] = newCoverage(s.pb, s.file, s.data)
		}
		f := &FileReport{Playbook: s.pb.Name, Source: s.file, File: s.doc.name, Coverage: covered[s.key], suite: s}
		report.Files = append(report.Files, f)
		for _, p := range s.plays {
			if o.Only != nil && !o.Only.MatchString(s.pb.Name+"/"+p.test().Name) {
				continue
			}
			result, err := p.run(ctx, o)
			if err != nil {
				return nil, fmt.Errorf("%s: test %q: %w", s.doc.name, p.test().Name, err)
			}
			f.Coverage.add(result)
			f.Results = append(f.Results, result)
		}
	}
	return report, nil
}

// trustingGuard lets pass what settings may allow: a test is about the playbook, and the
// settings of the guard are those of a place.
func trustingGuard() (*guard.Guard, error) {
	return guard.New(guard.Settings{AnybodyDecides: true, Everywhere: []string{"*"}})
}

// run plays one test in a world of its own. An error is none of the playbook's.
func (p *play) run(ctx context.Context, o Options) (result *Result, err error) {
	started := time.Now()
	c := p.test()
	start := p.main.at
	if len(p.before) > 0 {
		start = p.before[0].at
	}
	var clock atomic.Pointer[playbooks.Simulation] // the store looks at it from the start
	now := func() time.Time {
		if sim := clock.Load(); sim != nil {
			return sim.Now()
		}
		return start
	}
	known := o.Actions(now)
	dir, err := os.MkdirTemp("", "erbridge-playbook-test-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	journal, stop, err := openStore(ctx, dir, now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	outside := p.outside(now)
	actions := outside.standIns(known)
	pb, problems := p.parse(actions, now)
	if problems != nil {
		return nil, problems
	}
	trusting, err := trustingGuard()
	if err != nil {
		return nil, err
	}
	sim, err := playbooks.NewSimulation(journal, actions, playbooks.NewSet(pb), start, playbooks.EngineOptions{Ceiling: soar.Mode(c.Ceiling), Hosts: outside.hosts, Guard: trusting})
	if err != nil {
		return nil, err
	}
	sim.Ask(outside.people)
	clock.Store(sim)
	s := &stage{sim, journal, pb.Name}
	for i := range p.before {
		if err := s.reach(ctx, &p.before[i]); err != nil {
			return nil, err
		}
	}
	if err := sim.Advance(ctx, p.main.at.Sub(sim.Now())); err != nil {
		return nil, err
	}
	result = &Result{Name: c.Name, Position: p.doc.at("tests", p.index), play: p}
	err = outside.aside(func() error { // explain uses no answer up
		fresh, err := trustingGuard()
		if err != nil {
			return err
		}
		result.Explanation, err = sim.Explain(ctx, pb, p.main.trigger(), playbooks.ExplainOptions{
			Actions: actions, History: journal, Hosts: outside.hosts, Ceiling: soar.Mode(c.Ceiling), Guard: fresh,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	begun, err := s.arrive(ctx, &p.main)
	if err != nil {
		return nil, err
	}
	for i := range p.after {
		if err := s.reach(ctx, &p.after[i]); err != nil {
			return nil, err
		}
	}
	noEnd := sim.Settle(ctx, longest)
	if noEnd != nil && !errors.Is(noEnd, playbooks.ErrNoEnd) {
		return nil, noEnd
	}
	if result.got, err = p.happened(ctx, journal, outside, begun); err != nil {
		return nil, err
	}
	p.check(result, outside, noEnd)
	result.Took = time.Since(started)
	return result, nil
}

// happened is what came of an alert, or of what else started a run.
type happened struct {
	verdict string // match, no match, error, suppressed or grouped
	words   string // behind it, such as the error
	run     *soar.Run
	actions []Call
	steps   map[string]string // states by step id
	reasons map[string]string // why they failed, by step id
}

// ended reads verdict and run. Those of an alert are in the journal; started has the
// others, as they began.
func (p *play) ended(ctx context.Context, journal *store.Store, started playbooks.Started) (verdict string, run *soar.Run, err error) {
	if !p.main.isAlert() {
		if started.Run.ID == 0 {
			return started.Verdict, nil, nil
		}
		ended, err := journal.GetRun(ctx, started.Run.ID)
		return started.Verdict, &ended, err
	}
	ref := p.main.alert.Ref()
	stored, err := journal.AlertByRef(ctx, ref)
	if err != nil {
		return "", nil, err
	}
	runs, err := journal.Runs(ctx, store.RunFilter{Alert: ref, Playbook: p.pb.Name})
	if len(runs) > 0 {
		run = &runs[len(runs)-1]
	}
	return stored.Verdicts[p.pb.Name], run, err
}

// happened reads the journal.
func (p *play) happened(ctx context.Context, journal *store.Store, o *outside, started playbooks.Started) (*happened, error) {
	h := &happened{steps: map[string]string{}, reasons: map[string]string{}}
	verdict, run, err := p.ended(ctx, journal, started)
	if err != nil {
		return nil, err
	}
	if h.verdict, h.words = splitVerdict(verdict); run == nil {
		return h, nil
	}
	h.run, h.actions = run, of(run.ID, o.calls)
	entries, err := journal.Entries(ctx, h.run.ID)
	if err != nil {
		return nil, err
	}
	var order []string         // of the steps
	asked := map[string]bool{} // calls of which the guard was asked: a group ends observed too, when all of it did
	for _, e := range entries {
		if e.Step != "" && !slices.Contains(order, e.Step) {
			order = append(order, e.Step)
		}
		if asked[e.Step] = asked[e.Step] || e.Kind == soar.EntryDecision; e.Kind != soar.EntryResult {
			continue
		}
		var r playbooks.Result
		if err := json.Unmarshal(e.Body, &r); err != nil {
			return nil, err
		}
		h.steps[e.Step], h.reasons[e.Step] = string(r.State), r.Error
		if (r.State == soar.StepObserved || r.Granted != nil) && asked[e.Step] {
			with := o.withoutRuns(r.With, h.run.ID)
			h.actions = append(h.actions, Call{Do: r.Action, Step: e.Step, With: with})
		}
	}
	// Steps side by side call in any order, and what was only observed has made no call
	// at all: they stand in the order of the file and of the items.
	places := map[string]int{}
	for i, step := range p.pb.Steps() {
		places[step.ID] = i
	}
	slices.SortStableFunc(h.actions, func(a, b Call) int {
		idA, itemA := placeOf(a.Step)
		idB, itemB := placeOf(b.Step)
		return cmp.Or(places[idA]-places[idB], itemA-itemB, slices.Index(order, a.Step)-slices.Index(order, b.Step))
	})
	return h, nil
}

// placeOf is the step of the playbook itself, and the number of its item: of
// collect[2]/look, collect and 2.
func placeOf(step string) (id string, item int) {
	id, _, _ = strings.Cut(step, "/")
	id, number, _ := strings.Cut(id, "[")
	item, _ = strconv.Atoi(strings.TrimSuffix(number, "]")) // of none, it is 0
	return id, item
}

// openStore opens a store and runs it until stop is called.
func openStore(ctx context.Context, dir string, now func() time.Time) (_ *store.Store, stop func() error, err error) {
	s, err := store.Open(ctx, dir, store.Options{Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until stop, which waits for it
	ended := make(chan error, 1)                                      // the one result of Run
	go func() { ended <- s.Run(running) }()
	return s, func() error {
		cancel()
		err := <-ended
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return errors.Join(err, s.Close())
	}, nil
}
