package guard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// intents keeps calls of one kind at one host apart: a host is contained or released,
// and not both at the same moment. What asks for the same as a call under way waits for
// it and shares its outcome; what asks for the opposite goes out after it.
type intents struct {
	open    map[place]*intent
	of      map[caller][]place
	waiting map[place][]*waiter // in the order in which they asked
	queues  map[caller][]place  // in which a step waits
}

// waiter is a step that waits for its turn at a place.
type waiter struct {
	caller
	call   string
	since  time.Time
	joined *intent // the call under way that does the same; nil: none did
}

// place is what calls are kept apart at.
type place struct{ host, kind string }

// caller is a step of a run.
type caller struct {
	run  soar.RunID
	step string
}

// intent is a call that was sent, and what became of it.
type intent struct {
	Run    soar.RunID `json:"run"`
	Step   string     `json:"step"`
	Action string     `json:"action"`
	Sense  string     `json:"sense,omitempty"`
	Call   string     `json:"call"`
	At     time.Time  `json:"at"`

	state soar.StepState // how it ended; empty: not yet
}

const intentPrefix = "guard/intent/"

// keptIntent is an intent in the journal, with the places that it takes.
type keptIntent struct {
	intent
	Kind  string   `json:"kind"`
	Hosts []string `json:"hosts"`
}

func (*intents) name() string   { return "open call" }
func (*intents) prefix() string { return intentPrefix }

func (t *intents) load(kvs []soar.KV) error {
	*t = *newIntents()
	for _, kv := range kvs {
		if kv.Value == "" {
			continue
		}
		var k keptIntent
		if err := json.Unmarshal([]byte(kv.Value), &k); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		one := k.intent
		for _, host := range k.Hosts {
			t.occupy(place{host, k.Kind}, &one)
		}
	}
	return nil
}

func newIntents() *intents {
	return &intents{open: map[place]*intent{}, of: map[caller][]place{}, waiting: map[place][]*waiter{}, queues: map[caller][]place{}}
}

func (t *intents) occupy(p place, one *intent) {
	by := caller{one.Run, one.Step}
	t.open[p] = one
	t.of[by] = append(t.of[by], p)
}

// kindOf is the kind of a call, as a place knows it. Everything at once, such as a
// firewall rule, belongs to the whole host; a process kill does so to one process.
func kindOf(r *Request) string {
	if r.Sense == "" {
		return r.Kind + "/" + r.Call // only the very same call is a repeat
	}
	return r.Kind
}

func (t *intents) ask(r *Request) Answer {
	if r.Kind == "" {
		return Pass("none is needed for %s", r.Action)
	}
	me := caller{r.Run, r.Step}
	for i := range r.Hosts {
		h := &r.Hosts[i]
		p := place{h.ID, kindOf(r)}
		one := t.open[p]
		if one != nil && one.by() == me {
			continue
		}
		for _, w := range t.waiting[p] {
			if w.caller != me {
				if w.joined == nil { // those that joined a call share its outcome and are not in the way
					return Hold(r.At.Add(lookAgain), "run %s asked before for %s: it comes first", w.run, h.Label())
				}
				continue
			}
			if j := w.joined; j != nil && j.state.OK() && len(r.Hosts) == 1 { // of several, each has an outcome of its own
				return Answer{State: soar.StepSuppressed, Words: fmt.Sprintf("run %s did the same meanwhile: %s, %s", j.Run, j.Action, j.state)}
			}
			break
		}
		if one != nil && one.Call == r.Call {
			return Hold(r.At.Add(lookAgain), "run %s does the same on %s", one.Run, h.Label())
		}
		if one != nil {
			return Hold(r.At.Add(lookAgain), "the %s of run %s on %s has to end first", one.Action, one.Run, h.Label())
		}
	}
	return Pass("no other call of this kind is under way")
}

func (one *intent) by() caller { return caller{one.Run, one.Step} }

// hold notes that a step waits for its turn, or that it waits for something else.
func (t *intents) hold(r *Request, forTurn bool, _ *claim) {
	me := caller{r.Run, r.Step}
	if !forTurn {
		t.leave(me)
		return
	}
	for _, host := range sortedHosts(r) {
		p := place{host, kindOf(r)}
		if slices.ContainsFunc(t.waiting[p], func(w *waiter) bool { return w.caller == me }) {
			continue
		}
		w := &waiter{caller: me, since: r.Since, call: r.Call}
		free := func(w *waiter) bool { return w.joined == nil }
		if one := t.open[p]; one != nil && one.Call == r.Call && !slices.ContainsFunc(t.waiting[p], free) {
			w.joined = one
		}
		// After a restart they come back in any order.
		at, _ := slices.BinarySearchFunc(t.waiting[p], w, func(a, b *waiter) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.run, b.run)) })
		t.waiting[p], t.queues[me] = slices.Insert(t.waiting[p], at, w), append(t.queues[me], p)
	}
}

// leave takes a step out of all queues.
func (t *intents) leave(me caller) {
	for _, p := range t.queues[me] {
		t.waiting[p] = slices.DeleteFunc(t.waiting[p], func(w *waiter) bool { return w.caller == me })
		if len(t.waiting[p]) == 0 {
			delete(t.waiting, p)
		}
	}
	delete(t.queues, me)
}

func (t *intents) take(r *Request, c *claim) {
	if r.Kind == "" || len(r.Hosts) == 0 {
		return
	}
	by := caller{r.Run, r.Step}
	t.leave(by)
	if len(t.of[by]) > 0 {
		return // an attempt before this one holds it
	}
	one := &intent{Run: r.Run, Step: r.Step, Action: r.Action, Sense: r.Sense, Call: r.Call, At: r.At}
	hosts := sortedHosts(r)
	for _, host := range hosts {
		t.occupy(place{host, kindOf(r)}, one)
	}
	value, _ := json.Marshal(keptIntent{*one, kindOf(r), hosts}) // texts and a time
	c.put(soar.KV{Key: intentKey(by), Value: string(value)})
	c.ifNotKept(func() { t.forget(by, "") })
}

func intentKey(by caller) string { return intentPrefix + by.run.String() + "/" + by.step }

func (t *intents) end(by caller, state soar.StepState, _ time.Time, c *claim) {
	t.leave(by)
	if len(t.of[by]) == 0 {
		return
	}
	c.put(soar.KV{Key: intentKey(by)})
	c.ifKept(func() { t.forget(by, state) })
}

// forget gives the places of a call free.
func (t *intents) forget(by caller, state soar.StepState) {
	for _, p := range t.of[by] {
		t.open[p].state = state
		delete(t.open, p)
	}
	delete(t.of, by)
}
