package playbooks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// fakeServer stands for the server and its hosts. It remembers every command.
type fakeServer struct {
	mu       sync.Mutex
	commands []fakeCommand
	calls    map[string]int
	// before and after are asked around the effect of the nth call with an effect.
	before, after func(n int) error
	effects       int
	pollAfter     time.Duration
	executedAfter int // polls until a command is executed; -1: never
	now           func() time.Time
}

type fakeCommand struct {
	ref, mark, action, step string
	at                      time.Time
	with                    map[string]any
	polls                   int
}

func newFakeServer() *fakeServer {
	return &fakeServer{calls: map[string]int{}, executedAfter: 1, pollAfter: time.Second, now: time.Now}
}

func (f *fakeServer) done(action string) []fakeCommand {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []fakeCommand
	for _, c := range f.commands {
		if c.action == action {
			out = append(out, c)
		}
	}
	return out
}

func (f *fakeServer) called(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[name]
}

// fakeAction is an action on the fake server.
type fakeAction struct {
	server *fakeServer
	spec   Spec
	async  bool // accepted first, executed when polled
	list   bool // the server keeps a list to look calls up in
	marked bool // and the list carries marks
	do     func(ctx context.Context, call Call) (Outcome, error)
	poll   func(ctx context.Context) (Outcome, error)
	check  func(file string, step StepSource) registry.Problems
}

func (a *fakeAction) Spec() Spec { return a.spec }

func (a *fakeAction) Check(file string, step StepSource) registry.Problems {
	if a.check == nil {
		return nil
	}
	return a.check(file, step)
}

func (a *fakeAction) Do(ctx context.Context, call Call) (Outcome, error) {
	f := a.server
	f.mu.Lock()
	f.calls[a.spec.Name]++
	n := f.effects + 1
	if a.spec.Effect != Reads {
		f.effects = n
	}
	f.mu.Unlock()
	if a.do != nil {
		return a.do(ctx, call)
	}
	if a.spec.Effect == Reads {
		return Outcome{State: soar.StepExecuted, Output: map[string]any{"read": a.spec.Name, "with": call.With}}, nil
	}
	if f.before != nil {
		if err := f.before(n); err != nil {
			return Outcome{}, err
		}
	}
	f.mu.Lock()
	ref := fmt.Sprintf("c%d", len(f.commands)+1)
	mark := ""
	if a.marked {
		mark = call.Mark
	}
	f.commands = append(f.commands, fakeCommand{ref: ref, mark: mark, action: a.spec.Name, step: call.Step, at: f.now(), with: call.With})
	f.mu.Unlock()
	if f.after != nil {
		if err := f.after(n); err != nil {
			return Outcome{}, err
		}
	}
	if a.async {
		return Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: f.pollAfter, Target: "host-1"}, nil
	}
	return Outcome{State: soar.StepExecuted, Ref: ref, Output: map[string]any{"ref": ref}, Target: "host-1", Summary: "did it"}, nil
}

// take is the server taking a command, now.
func (f *fakeServer) take(action string, call Call) (ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ref = fmt.Sprintf("c%d", len(f.commands)+1)
	f.commands = append(f.commands, fakeCommand{ref: ref, action: action, step: call.Step, at: f.now(), with: call.With})
	return ref
}

func (a *fakeAction) Poll(ctx context.Context, _ Call, ref string) (Outcome, error) {
	if a.poll != nil {
		return a.poll(ctx)
	}
	f := a.server
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.commands {
		if c := &f.commands[i]; c.ref == ref {
			if c.polls++; f.executedAfter < 0 || c.polls <= f.executedAfter {
				return Outcome{State: soar.StepAccepted}, nil
			}
			return Outcome{State: soar.StepExecuted, Output: map[string]any{"ref": ref}, Summary: "did it"}, nil
		}
	}
	return Outcome{}, fmt.Errorf("no command %s", ref)
}

// Find looks for calls like this one: the same action with the same arguments.
func (a *fakeAction) Find(_ context.Context, call Call, since time.Time) ([]Found, error) {
	if !a.list {
		return nil, ErrCannotTell
	}
	f := a.server
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Found
	for _, c := range f.commands {
		if c.action == a.spec.Name && !c.at.Before(since) && reflect.DeepEqual(c.with, call.With) {
			list = append(list, Found{Ref: c.ref, At: c.at, Mark: c.mark})
		}
	}
	return list, nil
}

func (f *fakeServer) actions() map[string]Action {
	all := map[string]Action{}
	for _, a := range []*fakeAction{
		{spec: Spec{Name: "fake.read", Effect: Reads}},
		{spec: Spec{Name: "fake.repeat", Effect: Repeatable}},
		{spec: Spec{Name: "fake.once", Effect: Once}, async: true, list: true},
		{spec: Spec{Name: "fake.marked", Effect: Once}, async: true, list: true, marked: true},
		{spec: Spec{Name: "fake.blind", Effect: Once}},
		{spec: Spec{Name: "fake.tell", Effect: Repeatable, Always: true}},
	} {
		a.server = f
		all[a.spec.Name] = a
	}
	return all
}

// with adds or replaces an action.
func (f *fakeServer) add(actions map[string]Action, name string, effect Effect, do func(ctx context.Context, call Call) (Outcome, error)) *fakeAction {
	a := &fakeAction{server: f, spec: Spec{Name: name, Effect: effect}, do: do}
	actions[name] = a
	return a
}

func loadText(t testing.TB, actions map[string]Action, texts ...string) *Set {
	t.Helper()
	fsys := fstest.MapFS{}
	for i, text := range texts {
		fsys[fmt.Sprintf("p%d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	set, problems := LoadFS(fsys, ".", actions)
	if problems != nil {
		t.Fatalf("does not load:\n%v", problems)
	}
	return set
}

func testAlert(id string) soar.Alert {
	at := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)
	return soar.Alert{
		Server: "er", ID: id, Source: "rule", Severity: soar.SeverityHigh, Status: soar.StatusOpen, CreatedAt: at, EventTime: at,
		Host:  soar.Host{ID: 7, Identifier: "host-1", Name: "pc-1", Platform: "windows"},
		Rule:  &soar.Rule{ID: 3, Name: "Shadow copies deleted"},
		Event: map[string]string{"cmdline": "vssadmin delete shadows /all", "pid": "77"},
	}
}

// running runs an engine until stop is called, which waits for it.
func running(t testing.TB, j Journal, actions map[string]Action, set *Set, o EngineOptions) (e *Engine, stop func()) {
	t.Helper()
	e, err := NewEngine(j, actions, set, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, errCrashed) {
				t.Errorf("engine: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return e, stop
}

func stateOf(runs []soar.Run) string {
	var states []string
	for _, r := range runs {
		states = append(states, string(r.State))
	}
	slices.Sort(states)
	return strings.Join(states, " ")
}
