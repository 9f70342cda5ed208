package playtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// errNothingGiven is what an action answers that the test says nothing about.
var errNothingGiven = errors.New("the test gives no answer")

// Call is a call of an action by a step.
type Call struct {
	Do   string         `json:"do"`
	Step string         `json:"step"`
	With map[string]any `json:"with"`

	run soar.RunID
}

// outside is all that lies outside of the process, as far as a test knows it.
type outside struct {
	now    func() time.Time
	failed []soar.RunID // the runs whose failure starts others

	mu      sync.Mutex
	given   []*answer          // guarded by mu
	waiting map[string]pending // what was accepted, by its id; guarded by mu
	calls   []Call             // of steps; guarded by mu
	missing []Call             // to which there is no answer; guarded by mu
	silent  []soar.Approval    // of which the test does not say what people answer; guarded by mu
}

// answer is a Given, and how often it was asked for.
type answer struct {
	*Given
	own  bool // it stands in the test itself
	used int
}

type pending struct {
	answer *Given
	due    time.Time
}

// outside is what the test knows.
func (p *play) outside(now func() time.Time) *outside {
	o := newOutside(p.doc, p.test(), now)
	for _, a := range slices.Concat(p.before, []arrival{p.main}, p.after) {
		if a.failed != nil {
			o.failed = append(o.failed, a.failed.ID)
		}
	}
	return o
}

func newOutside(d *document, c *Case, now func() time.Time) *outside {
	o := &outside{now: now, waiting: map[string]pending{}}
	for i := range c.Given {
		o.given = append(o.given, &answer{Given: &c.Given[i], own: true})
	}
	for i := range d.Given {
		o.given = append(o.given, &answer{Given: &d.Given[i]})
	}
	return o
}

// standIns puts a stand-in in the place of every action that leaves the process.
func (o *outside) standIns(actions map[string]playbooks.Action) map[string]playbooks.Action {
	all := make(map[string]playbooks.Action, len(actions))
	for name, action := range actions {
		all[name] = &standIn{Action: action, name: name, outside: o}
	}
	return all
}

// aside does what asks for answers, and forgets afterwards that it has asked. Nobody
// else may ask meanwhile.
func (o *outside) aside(ask func() error) error {
	o.mu.Lock()
	given, waiting, calls, missing := o.given, o.waiting, o.calls, o.missing
	o.given, o.waiting = make([]*answer, len(given)), maps.Clone(waiting)
	for i, g := range given {
		one := *g
		o.given[i] = &one
	}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.given, o.waiting, o.calls, o.missing = given, waiting, calls[:len(calls):len(calls)], missing[:len(missing):len(missing)]
	}()
	return ask()
}

// standIn is an action whose answers a test gives. What it is, and how its
// arguments are checked, is the action's own.
type standIn struct {
	playbooks.Action
	name    string
	outside *outside
}

// Do answers as the test says.
func (s *standIn) Do(ctx context.Context, call playbooks.Call) (playbooks.Outcome, error) {
	o := s.outside
	if err := playbooks.Refusal(s.Action, call.With); err != nil {
		return playbooks.Outcome{}, err // no answer of a test can make that good
	}
	made := Call{Do: s.name, Step: stepOf(call.Step), With: o.withoutRuns(call.With, call.Run), run: call.Run}
	if call.Run == 0 {
		made.Step = "" // a reading ahead of the run
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if call.Run != 0 {
		o.calls = append(o.calls, made)
	}
	if s.Spec().Inside {
		return s.Action.Do(ctx, call)
	}
	g := o.find(&made, false)
	if g == nil {
		o.missing = append(o.missing, made)
		return playbooks.Outcome{}, fmt.Errorf("%s: %w", s.name, errNothingGiven)
	}
	if g.After > 0 && call.Run != 0 && g.State != "transient" && g.State != "unknown" {
		ref := fmt.Sprintf("given-%d", len(o.waiting)+1)
		o.waiting[ref] = pending{g, o.now().Add(g.After)}
		return playbooks.Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: g.After, Target: g.Target, Summary: g.Summary}, nil
	}
	return g.outcome()
}

// Poll answers when the time has come.
func (s *standIn) Poll(ctx context.Context, call playbooks.Call, ref string) (playbooks.Outcome, error) {
	if s.Spec().Inside {
		return s.Action.Poll(ctx, call, ref)
	}
	o := s.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	p, ok := o.waiting[ref]
	if !ok {
		return playbooks.Outcome{}, fmt.Errorf("%s: nothing waits under %q", s.name, ref)
	}
	if left := p.due.Sub(o.now()); left > 0 {
		return playbooks.Outcome{State: soar.StepAccepted, PollAfter: left}, nil
	}
	return p.answer.outcome()
}

// Find has nothing to look a lost call up in.
func (s *standIn) Find(context.Context, playbooks.Call, time.Time) ([]playbooks.Found, error) {
	return nil, playbooks.ErrCannotTell
}

// find takes the first answer that fits: of people, or of the action. The caller holds
// mu.
func (o *outside) find(c *Call, people bool) *Given {
	for _, g := range o.given {
		if (g.Approval != "") != people || g.Times > 0 && g.used >= g.Times || g.Step != "" && !isStep(c.Step, g.Step) || g.Do != "" && g.Do != c.Do || !holds(c.With, g.With) {
			continue
		}
		g.used++
		return g.Given
	}
	return nil
}

// holds reports whether have holds every field of want.
func holds(have, want map[string]any) bool {
	for name, value := range want {
		if v, ok := have[name]; !ok || !reflect.DeepEqual(v, value) {
			return false
		}
	}
	return true
}

func (g *Given) outcome() (playbooks.Outcome, error) {
	switch g.State {
	case "transient":
		return playbooks.Outcome{}, fmt.Errorf("%w: %s", playbooks.ErrTransient, cmp.Or(g.Error, "so the test says"))
	case "unknown":
		return playbooks.Outcome{Target: g.Target}, fmt.Errorf("%w: %s", playbooks.ErrUncertain, cmp.Or(g.Error, "so the test says"))
	}
	return playbooks.Outcome{State: soar.StepState(g.State), Error: g.Error, Summary: g.Summary, Target: g.Target, Output: g.Output}, nil
}

// stepOf is the step in the name of a call: "contain#2" is its second attempt.
func stepOf(name string) string {
	name, _, _ = strings.Cut(name, "#")
	return name
}

var itemNumber = regexp.MustCompile(`\[\d+\]`)

// withoutItems is a step without the numbers of items: "collect" for "collect[3]".
func withoutItems(step string) string { return itemNumber.ReplaceAllString(step, "") }

// isStep reports whether a step is the one that a test names: one item of it, or
// all of them.
func isStep(step, named string) bool {
	return step == named || withoutItems(step) == named
}

// These stand for the id of the run, and for that of a failed run that started it,
// which are other ones every time.
const (
	runWord    = "RUN"
	failedWord = "FAILED"
)

// withoutRuns copies the arguments of a call, with the ids of runs taken out.
func (o *outside) withoutRuns(with map[string]any, run soar.RunID) map[string]any {
	with = maps.Clone(with)
	if run != 0 {
		with, _ = replaced(with, run.String(), runWord).(map[string]any)
	}
	for _, id := range o.failed {
		with, _ = replaced(with, id.String(), failedWord).(map[string]any)
	}
	return with
}

// replaced is a copy of a plain value with other words in its texts.
func replaced(v any, old, word string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, old, word)
	case []any:
		list := slices.Clone(v)
		for i := range list {
			list[i] = replaced(list[i], old, word)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, item := range v {
			object[name] = replaced(item, old, word)
		}
		return object
	}
	return v
}

// of are the calls of a run.
func of(run soar.RunID, calls []Call) []Call {
	var found []Call
	for _, c := range calls {
		if c.run == run {
			found = append(found, c)
		}
	}
	return found
}
