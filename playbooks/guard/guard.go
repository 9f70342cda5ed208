// Package guard decides whether a call with an effect may be sent. The engine asks
// it before every such call, whatever a playbook says, and nothing in a playbook can
// switch it off. Its rails are asked in one order; the first that does not let a call
// pass decides, and what each of them said is kept in words.
//
// What the guard remembers is kept in the journal as small values that are
// committed together with the intent of the call, so that neither a crash nor two
// calls at the same moment make it forget or grant anything twice.
package guard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Answer is what one rail said.
type Answer struct {
	// Check is the name of the rail.
	Check string `json:"check"`
	// OK lets the call go on to the next rail. Without it, either State is how the
	// step ends (observed, refused, suppressed), or Until is set, and the rail is asked
	// again then, or sooner.
	OK    bool           `json:"ok"`
	State soar.StepState `json:"state,omitempty"`
	Until time.Time      `json:"until,omitzero"`
	Words string         `json:"words"`
}

// Pass lets a call go on.
func Pass(format string, args ...any) Answer {
	return Answer{OK: true, Words: fmt.Sprintf(format, args...)}
}

// Refuse ends a step.
func Refuse(format string, args ...any) Answer {
	return Answer{State: soar.StepRefused, Words: fmt.Sprintf(format, args...)}
}

// Hold lets a step wait, until a moment at the latest.
func Hold(until time.Time, format string, args ...any) Answer {
	return Answer{Until: until, Words: fmt.Sprintf(format, args...)}
}

// Request is a call with an effect that asks to be sent.
type Request struct {
	Run      soar.RunID
	Step     string // its key in the run: collect[2]
	Playbook string // whose step it is
	By       string // the person who started the run; empty: nobody did
	Action   string // host.contain
	// Chain are the playbooks that called each other down to Playbook, that of the run first.
	Chain []string
	// Attempt is which one of the step it is, from 1.
	Attempt int
	// Kind is what the action works on at a host, and Sense in which direction: of one
	// kind, a host has one open call at a time. Empty for actions that need no such care.
	Kind, Sense string
	// Always marks an action that is carried out in observe mode too.
	Always bool
	// Harmless marks one that changes what is said of a host, and nothing on it.
	Harmless bool
	// Modes are what has a say in how far the call may go.
	Modes []Voice
	// Hosts are those that the call acts on. Everywhere means that it acts on all.
	Hosts      []Host
	Everywhere bool
	// Call names the call exactly: a hash of action and arguments.
	Call  string
	With  map[string]any
	Alert *soar.Alert
	// AlertWas is the status of the alert when the step first asked. OwnResolve tells that
	// the run itself has resolved it.
	AlertWas   string
	OwnResolve bool
	// Inside marks an action of which nothing leaves the process before its result is in
	// the journal.
	Inside bool
	// Undoable marks an action that another one undoes.
	Undoable bool
	// Reads marks a call that changes nothing: it is asked about where a limit counts it,
	// and no rail but the kill switch and the limits has to do with it.
	Reads bool
	// Job is the job over many hosts that the call belongs to; nil: none.
	Job *Job
	// TakesBack is the run whose effects the call takes back; zero: it is a call like any
	// other. Only the engine sets it.
	TakesBack soar.RunID
	// Question is what the step asks people; nil for a call.
	Question *Question
	// At is the moment of asking, Since when the step first asked, and Deadline when it
	// waits no longer; zero: DefaultHold from At on.
	At, Since, Deadline time.Time

	judged judged // by Guard, before it is locked
}

// Voice is one mode that counts for a call, and why.
type Voice struct {
	Mode  soar.Mode
	Words string
}

// Host is what is known of a host when a call is about to act on it.
type Host struct {
	ID        string
	Name      string
	Platform  string // windows, linux, darwin
	OS        string // as the server writes it
	Addresses []string
	Tags      []string
	// Known is false for a host of which nothing could be found out; Why says why, and
	// Unread that another look may find something out.
	Known  bool
	Unread bool
	Why    string
	// Facts is the host record as expressions see it.
	Facts map[string]any
}

// Label is what people call the host.
func (h *Host) Label() string {
	if h.Name != "" && h.Name != h.ID {
		return h.Name + " (" + h.ID + ")"
	}
	return h.ID
}

// rail is one question. All of its methods are called with the guard locked.
type rail interface {
	name() string
	// ask answers by what is known now and changes nothing.
	ask(r *Request) Answer
}

// taker is a rail that remembers the calls it let pass.
type taker interface {
	// take notes that a call is about to be sent.
	take(r *Request, c *claim)
}

// holder is a rail that remembers the steps that wait.
type holder interface {
	// hold notes that a step waits, and whether it was this rail that let it.
	hold(r *Request, decided bool, c *claim)
}

// keeper is a rail that keeps what it knows in the journal.
type keeper interface {
	// prefix starts its keys there.
	prefix() string
	// load puts what the journal says in the place of what is known.
	load(kvs []soar.KV) error
}

// ender is a rail that wants to know how calls ended.
type ender interface {
	// end notes that the call of a step is over, and how it ended; what has to be
	// forgotten with it, is added to c.
	end(by caller, state soar.StepState, at time.Time, c *claim)
}

// Decision is what the guard says of a call: it goes out when OK, the step waits
// until Until when that is set, and ends in State otherwise.
type Decision struct {
	// Version is how often the guard had changed its mind before; see Changed.
	Version uint64
	OK      bool
	State   soar.StepState
	Until   time.Time
	Words   string // of the rail that decided
	Answers []Answer
	// Asked is what it answers; nil for what no rail said.
	Asked *Request

	claim *claim
}

// Keep is what has to be committed with the intent of the call.
func (d *Decision) Keep() ([]soar.KV, []soar.Event) {
	if d.claim == nil {
		return nil, nil
	}
	return d.claim.kv, d.claim.events
}

// Settle tells whether that was committed. It must be called once after Take.
func (d *Decision) Settle(kept bool) {
	if d.claim != nil {
		d.claim.settle(kept)
	}
}

// claim collects what rails remember of one call, and takes it back when it cannot be
// committed.
type claim struct {
	g      *Guard
	kv     []soar.KV
	events []soar.Event
	undo   []func() // with the guard locked, the last one first
	then   []func() // when it was committed, with the guard locked
	done   bool
}

func (c *claim) put(kv soar.KV)        { c.kv = append(c.kv, kv) }
func (c *claim) event(e soar.Event)    { c.events = append(c.events, e) }
func (c *claim) ifNotKept(undo func()) { c.undo = append(c.undo, undo) }
func (c *claim) noteKept(then func())  { c.then = append(c.then, then) }

func (c *claim) settle(kept bool) {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if c.done {
		return
	}
	c.done = true
	if kept {
		for _, then := range c.then {
			then()
		}
	} else {
		for _, undo := range slices.Backward(c.undo) {
			undo()
		}
	}
	if !kept {
		c.g.wake()
	}
}

// Guard asks the rails. It is safe for concurrent use.
type Guard struct {
	mu       sync.Mutex
	rails    []rail // guarded by mu, as all that they know
	changed  chan struct{}
	version  uint64
	woken    uint64                // the version at which all who wait were let ask again
	called   map[soar.RunID]uint64 // and at which only the steps of a run were
	settings *Settings
	rules    atomic.Pointer[rules] // replaced with mu held

	stop      *killSwitch
	intents   *intents
	approvals *approvals
	caps      *caps
	budgets   *budgets
	freezes   *freezes
}

// New makes a guard with all rails.
func New(s Settings) (*Guard, error) {
	g := &Guard{
		changed: make(chan struct{}), called: map[soar.RunID]uint64{}, stop: &killSwitch{}, intents: newIntents(), approvals: newApprovals(&s),
		caps: newCaps(), budgets: newBudgets(), freezes: &freezes{},
	}
	if err := g.Configure(s); err != nil {
		return nil, err
	}
	return g, nil
}

// Configure replaces the settings. What the rails know stays.
func (g *Guard) Configure(s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	hosts := s.readRules(&mistakes{}) // Check found none
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settings, g.approvals.settings = &s, &s
	if old := g.rules.Load(); old != nil {
		hosts.own = old.own
	}
	g.rules.Store(hosts)
	// The order is that in which they are asked: what stops everything first, what
	// costs a person's time last.
	g.caps.configure(s.Limits)
	g.budgets.list = readyBudgets(s.Budgets)
	g.freezes.configure(s.Freezes)
	g.rails = []rail{g.stop, modes{approvals: true}, alertOpen{}, protect{}, g.intents, g.caps, g.budgets, g.freezes, g.approvals}
	g.wake()
	return nil
}

// Load puts what the journal says in the place of what the guard knows. kv reads all
// values whose keys begin with a prefix.
func (g *Guard) Load(kv func(prefix string) ([]soar.KV, error)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for _, r := range g.rails {
		k, ok := r.(keeper)
		if !ok {
			continue
		}
		kvs, err := kv(k.prefix())
		if err == nil {
			err = k.load(kvs)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("guard: %s: %w", r.name(), err))
		}
	}
	g.wake()
	return errors.Join(errs...)
}

// Ask tells what the guard would say now, by all rails up to the one that decides. It
// changes nothing.
func (g *Guard) Ask(r *Request) Decision {
	r.judged = g.rules.Load().judge(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ask(r)
}

// AskAll is Ask, and goes on with the rails behind the one that decides.
func (g *Guard) AskAll(r *Request) Decision {
	d := g.Ask(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rail := range g.rails[min(len(d.Answers), len(g.rails)):] {
		d.Answers = append(d.Answers, answerOf(rail, r))
	}
	return d
}

func (g *Guard) ask(r *Request) Decision {
	if hosts := g.rules.Load(); r.judged.rules != hosts { // replaced in between
		r.judged = hosts.judge(r)
	}
	d := Decision{Version: g.version, OK: true, Answers: make([]Answer, 0, len(g.rails)), Asked: r}
	for _, rail := range g.rails {
		if r.Question != nil && !forQuestions(rail) || r.Reads && !forReads(rail) {
			continue
		}
		a := answerOf(rail, r)
		d.Answers, d.Words = append(d.Answers, a), a.Words
		if !a.OK {
			d.OK, d.State, d.Until = false, a.State, a.Until
			return d
		}
	}
	return d
}

// answerOf is what a rail says of a request.
func answerOf(rail rail, r *Request) (a Answer) {
	words, passes := passesUndo(rail, r)
	if a = Pass("%s", words); !passes {
		a = rail.ask(r)
	}
	a.Check = rail.name()
	return a
}

// Take is Ask for a call that goes out at once when it may: the rails remember it. What
// Keep returns must be committed before the call is sent, and Settle be called with
// how that ended.
func (g *Guard) Take(r *Request) Decision {
	r.judged = g.rules.Load().judge(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.ask(r)
	d.claim = &claim{g: g}
	for _, rail := range g.rails {
		if _, passes := passesUndo(rail, r); passes {
			continue
		}
		if t, ok := rail.(taker); ok && d.OK && (!r.Reads || forReads(rail)) {
			t.take(r, d.claim)
		}
	}
	return d
}

// forQuestions reports whether a rail has to do with what a playbook asks people. To
// ask changes nothing, so that the others have nothing against it.
func forQuestions(r rail) bool {
	switch r.(type) {
	case *killSwitch, modes, alertOpen, *approvals:
		return true
	}
	return false
}

// Wait is told that a step waits, and what the guard had answered. What it returns is
// committed with the note that it does; settle tells whether it was.
func (g *Guard) Wait(r *Request, answers []Answer) (kv []soar.KV, events []soar.Event, settle func(kept bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	decided := ""
	if len(answers) > 0 {
		decided = answers[len(answers)-1].Check
	}
	c := &claim{g: g}
	for _, rail := range g.rails {
		if h, ok := rail.(holder); ok && (!r.Reads || forReads(rail)) {
			h.hold(r, decided == rail.name(), c)
		}
	}
	return c.kv, c.events, c.settle
}

// End is told when the call of a step is over. What it returns is committed together
// with the result of the step; settle tells whether it was.
func (g *Guard) End(run soar.RunID, step string, state soar.StepState, at time.Time) (kv []soar.KV, events []soar.Event, settle func(kept bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &claim{g: g}
	for _, rail := range g.rails {
		if e, ok := rail.(ender); ok {
			e.end(caller{run, step}, state, at, c)
		}
	}
	return c.kv, c.events, c.settle
}

// Changed returns a channel that is closed when a call that waits may get another
// answer, and how often that was so already; News tells which.
func (g *Guard) Changed() (version uint64, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version, g.changed
}

// News tells which runs may get another answer than the one they got at a version, and
// returns a channel that is closed when there are more.
func (g *Guard) News() (news func(run soar.RunID, version uint64) bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	woken, called := g.woken, maps.Clone(g.called)
	return func(run soar.RunID, version uint64) bool { return woken > version || called[run] > version }, g.changed
}

// wake lets all who wait ask again. The guard is locked.
func (g *Guard) wake() {
	g.version++
	g.woken = g.version
	clear(g.called)
	close(g.changed)
	g.changed = make(chan struct{})
}

// maxCalled bounds the runs that are remembered; beyond, all ask again.
const maxCalled = 1024

// call lets the steps of one run ask again: of the many that wait for a turn, it has the
// next one. The guard is locked.
func (g *Guard) call(run soar.RunID) {
	if len(g.called) >= maxCalled {
		g.wake()
		return
	}
	g.version++
	g.called[run] = g.version
	close(g.changed)
	g.changed = make(chan struct{})
}

// sortedHosts lists the ids of the hosts of a call.
func sortedHosts(r *Request) []string {
	ids := map[string]bool{}
	for i := range r.Hosts {
		ids[r.Hosts[i].ID] = true
	}
	return slices.Sorted(maps.Keys(ids))
}
