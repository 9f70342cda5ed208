// Package actions holds what playbooks can do, one file per action: the file of
// host.contain is host_contain.go. It is the only package that knows both the
// engine's contract and the client of the Endpoint Response server.
//
// An action checks its arguments, sends one call and says how it went. Modes,
// cool-down, retries, time-outs and the journal are the engine's.
package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// Deps is what actions work with. The zero value is good for lint and for the
// reference: every action is there, and Do says that no server is configured.
type Deps struct {
	// Client talks to the server.
	Client *connector.Client
	// Server is the configured name of that server. Alerts of another source are
	// not looked for on it. Empty: not checked.
	Server string
	// Evidence keeps downloaded carves. nil: one is made in CarveDir, in the clear and
	// with downloads of at most MaxCarveBytes; without a folder, carves stay on the server.
	Evidence      *evidence.Store
	CarveDir      string
	MaxCarveBytes int64
	// CarveStall is how long nothing new may be seen of a carve; zero is ten minutes.
	CarveStall time.Duration
	// Sinks are the configured sinks. nil: names of sinks are not checked.
	Sinks []string
	// Scripts are the reviewed scripts. nil: their names and arguments are not checked,
	// and none can be run.
	Scripts *scripts.Set
	// AllowedNets may be reached by http.request although they are link-local or
	// hold a cloud's metadata service.
	AllowedNets []netip.Prefix
	// ProbeTimeout bounds one look at a host that verifies an action; zero is 15 s.
	ProbeTimeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	channels, present *awayList // hosts for which steps wait, with a response channel and without

	indicatorTurn *indicatorTurn
}

// Types are all actions by name.
var Types = registry.NewSet[Type]("action")

// Type is one action before it is bound to a server.
type Type struct {
	// Spec describes it; the reference pages come from it.
	Spec playbooks.Spec
	bind func(*Deps) playbooks.Action
}

// All binds every action to deps.
func All(deps Deps) map[string]playbooks.Action {
	if deps.CarveStall == 0 {
		deps.CarveStall = 10 * time.Minute
	}
	if deps.ProbeTimeout == 0 {
		deps.ProbeTimeout = 15 * time.Second
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Evidence == nil && deps.CarveDir != "" {
		// Only recipients and a registerer can be refused.
		deps.Evidence, _ = evidence.New(deps.CarveDir, evidence.Options{MaxBytes: deps.MaxCarveBytes, Now: deps.Now})
	}
	deps.channels, deps.present = newAwayList(deps.Now, deps.readChannels), newAwayList(deps.Now, deps.readOnline)
	deps.indicatorTurn = newIndicatorTurn()
	all := map[string]playbooks.Action{}
	for _, name := range Types.Names() {
		t, _ := Types.Get(name)
		all[name] = t.bind(&deps)
	}
	return all
}

// kind is an action with typed arguments. What it leaves nil is answered in the
// way that is right for most: a call that is over when do returns has no poll,
// and a call that the server keeps no record of has no find.
type kind[In any] struct {
	playbooks.Spec
	// defaults are the arguments before the playbook's are read into them.
	defaults In
	// local marks actions that need no server.
	local bool
	// prose names the arguments that are texts for people. What cannot be sent is
	// spelled out in them; in other arguments it is refused.
	prose []string
	// check looks for mistakes that types cannot show. It runs at lint time on
	// what is known then, and before each call.
	check func(d *Deps, in *In, a *arguments)
	// host is the host that the call acts on; what it has to be like before is looked at
	// by Needs. ready looks at what else has to be so, such as which process has a pid.
	host  func(in In) Host
	ready func(ctx context.Context, d *Deps, call playbooks.Call, in In) error
	// foresee takes the place of ready where reverse depends on how it was before the call:
	// it also returns what the call leaves as output if it is carried out now.
	foresee func(ctx context.Context, d *Deps, call playbooks.Call, in In) (leaves any, err error)
	do      func(ctx context.Context, d *Deps, call playbooks.Call, in In) (playbooks.Outcome, error)
	poll    func(ctx context.Context, d *Deps, call playbooks.Call, in In, ref string) (playbooks.Outcome, error)
	find    func(ctx context.Context, d *Deps, call playbooks.Call, in In, since time.Time) ([]playbooks.Found, error)
	// pin adds to the arguments what the call depends on besides.
	pin func(d *Deps, with map[string]any) map[string]any
	// reverse names the call of Inverse that takes this one back. output is what the call
	// left; empty when nobody knows what came of it.
	reverse func(call playbooks.Call, in In, output map[string]any) *playbooks.Reversal
}

func add[In any](k kind[In]) {
	k.Spec.Input = &k.defaults
	Types.Add(k.Spec.Name, Type{Spec: k.Spec, bind: func(d *Deps) playbooks.Action {
		b := &bound[In]{kind: k, deps: d}
		switch {
		case k.foresee != nil:
			return foreseeing[In]{readied[In]{b}}
		case k.host != nil || k.ready != nil:
			return readied[In]{b}
		}
		return b
	}})
}

// bound is a kind together with what it works on. It has no state of its own, so
// it is safe for concurrent use.
type bound[In any] struct {
	kind kind[In]
	deps *Deps
}

func (b *bound[In]) Spec() playbooks.Spec {
	spec := b.kind.Spec
	input := b.kind.defaults // a copy, so that nobody can write into the defaults
	spec.Input = &input
	return spec
}

func (b *bound[In]) Check(file string, step playbooks.StepSource) registry.Problems {
	in := b.kind.defaults
	a := literalArguments(step)
	a.decode(&in)
	if b.kind.check != nil {
		b.kind.check(b.deps, &in, a)
	}
	b.refuseNUL(a)
	return a.at(file, step)
}

func (b *bound[In]) Do(ctx context.Context, call playbooks.Call) (playbooks.Outcome, error) {
	in, err := b.read(call)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	return visible(b.kind.do(ctx, b.deps, call, in))
}

func (b *bound[In]) Poll(ctx context.Context, call playbooks.Call, ref string) (playbooks.Outcome, error) {
	in, err := b.read(call)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	if b.kind.poll == nil {
		return playbooks.Outcome{}, fmt.Errorf("%s: has nothing to wait for, yet was asked about %q", b.kind.Name, ref)
	}
	return visible(b.kind.poll(ctx, b.deps, call, in, ref))
}

// visible makes the words about a call fit to be read: they hold names and paths
// that an attacker chose. The output stays as it came.
func visible(out playbooks.Outcome, err error) (playbooks.Outcome, error) {
	out.Summary, out.Error, out.Progress = soar.Visible(out.Summary), soar.Visible(out.Error), soar.Visible(out.Progress)
	if err != nil {
		err = visibleError{err}
	}
	return out, err
}

// visibleError is an error in whose text hidden characters are spelled out.
type visibleError struct{ error }

func (e visibleError) Error() string { return soar.Visible(e.error.Error()) }
func (e visibleError) Unwrap() error { return e.error }

func (b *bound[In]) Find(ctx context.Context, call playbooks.Call, since time.Time) ([]playbooks.Found, error) {
	in, err := b.read(call)
	if err != nil {
		return nil, err
	}
	if b.kind.find == nil {
		return nil, playbooks.ErrCannotTell
	}
	return b.kind.find(ctx, b.deps, call, in, since)
}

// Pin implements playbooks.Pinner.
func (b *bound[In]) Pin(with map[string]any) map[string]any {
	if b.kind.pin == nil {
		return with
	}
	return b.kind.pin(b.deps, with)
}

// Reverse implements playbooks.Reverser.
func (b *bound[In]) Reverse(call playbooks.Call, output any) *playbooks.Reversal {
	in, err := b.typed(call)
	if err != nil || b.kind.reverse == nil {
		return nil
	}
	left, _ := output.(map[string]any)
	return b.kind.reverse(call, in, left)
}

var errNoServer = errors.New("no server is configured")

// read turns the evaluated arguments of a call into typed ones.
func (b *bound[In]) read(call playbooks.Call) (In, error) {
	if b.deps.Client == nil && !b.kind.local {
		return b.kind.defaults, errNoServer
	}
	return b.typed(call)
}

// typed is read for what needs no server.
func (b *bound[In]) typed(call playbooks.Call) (In, error) {
	in := b.kind.defaults
	a := evaluatedArguments(call.With)
	a.decode(&in)
	if len(a.problems) == 0 && b.kind.check != nil {
		b.kind.check(b.deps, &in, a)
	}
	b.refuseNUL(a)
	if err := a.err(); err != nil {
		return in, visibleError{err}
	}
	return in, nil
}

// refuseNUL refuses the character that the server's database has no room for. The
// server would answer with an internal error, after which nobody knows whether it
// did what it was asked to do.
func (b *bound[In]) refuseNUL(a *arguments) {
	if b.kind.local {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(a.values)) {
		if !a.wrong(key) && !slices.Contains(b.kind.prose, key) && holdsNUL(a.values[key]) {
			a.refuse(key, "", "holds the character NUL, which the server cannot take")
		}
	}
}

func holdsNUL(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		return slices.ContainsFunc(v, holdsNUL)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), holdsNUL)
	}
	return false
}
