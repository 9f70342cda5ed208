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
	waiting map[place]*queue
	queues  map[caller][]place // in which a step waits
}

// waiter is a step that waits for its turn at a place.
type waiter struct {
	caller
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
	return &intents{open: map[place]*intent{}, of: map[caller][]place{}, waiting: map[place]*queue{}, queues: map[caller][]place{}}
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
		if q := t.waiting[p]; q != nil {
			mine := q.of[me]
			at := mine
			if at == nil { // where it would stand: what asked before, and waited for something else, does not get behind
				at = &waiter{caller: me, since: r.Since}
			}
			// Those that joined a call share its outcome and are not in the way.
			if len(q.free) > 0 && q.free[0].before(at) < 0 {
				return Hold(r.At.Add(lookAgain), "run %s asked before for %s: it comes first", q.free[0].run, h.Label())
			}
			if mine != nil && mine.joined != nil && mine.joined.state.OK() && len(r.Hosts) == 1 { // of several, each has an outcome of its own
				j := mine.joined
				return Answer{State: soar.StepSuppressed, Words: fmt.Sprintf("run %s did the same meanwhile: %s, %s", j.Run, j.Action, j.state)}
			}
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
func (t *intents) hold(r *Request, forTurn bool, c *claim) {
	me := caller{r.Run, r.Step}
	if !forTurn {
		t.leave(me, c.g.call)
		return
	}
	for _, host := range sortedHosts(r) {
		p := place{host, kindOf(r)}
		q := t.waiting[p]
		if q == nil {
			q = &queue{of: map[caller]*waiter{}}
			t.waiting[p] = q
		}
		one := t.open[p]
		same := one != nil && one.Call == r.Call && one.by() != me
		if w := q.of[me]; w != nil {
			if w.joined != nil && w.joined.state != "" && same { // what it waited for came to nothing
				w.joined = one
			}
			continue
		}
		w := &waiter{caller: me, since: r.Since}
		if same && len(q.free) == 0 {
			w.joined = one
		}
		q.add(w)
		t.queues[me] = append(t.queues[me], p)
		c.ifNotKept(func() { t.leave(me, c.g.call) }) // a run that was never kept comes back under another name
	}
	if a := t.ask(r); a.Until.IsZero() { // its turn has come since it asked
		c.g.call(r.Run)
	}
}

// leave takes a step out of all queues, and calls who comes after it.
func (t *intents) leave(me caller, call func(soar.RunID)) {
	for _, p := range t.queues[me] {
		q := t.waiting[p]
		first := len(q.free) > 0 && q.free[0].caller == me
		if q.remove(me); len(q.of) == 0 {
			delete(t.waiting, p)
		} else if first && t.open[p] == nil {
			q.next(call)
		}
	}
	delete(t.queues, me)
}

func (t *intents) take(r *Request, c *claim) {
	if r.Kind == "" || len(r.Hosts) == 0 {
		return
	}
	by := caller{r.Run, r.Step}
	t.leave(by, func(soar.RunID) {}) // who comes after it waits for it now
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
	t.leave(by, c.g.call)
	if len(t.of[by]) == 0 {
		return
	}
	c.put(soar.KV{Key: intentKey(by)})
	c.noteKept(func() {
		places := t.of[by]
		t.forget(by, state)
		for _, p := range places {
			if q := t.waiting[p]; q != nil {
				q.next(c.g.call)
			}
		}
	})
}

// forget gives the places of a call free.
func (t *intents) forget(by caller, state soar.StepState) {
	for _, p := range t.of[by] {
		t.open[p].state = state
		delete(t.open, p)
	}
	delete(t.of, by)
}

// queue are the steps that wait for a place.
type queue struct {
	of   map[caller]*waiter
	free []*waiter // those that joined no call, in the order in which they asked
}

func (w *waiter) before(o *waiter) int {
	return cmp.Or(w.since.Compare(o.since), cmp.Compare(w.run, o.run), cmp.Compare(w.step, o.step))
}

// add puts a step in its place. After a restart they come back in any order.
func (q *queue) add(w *waiter) {
	if q.of[w.caller] = w; w.joined == nil {
		at, _ := slices.BinarySearchFunc(q.free, w, (*waiter).before)
		q.free = slices.Insert(q.free, at, w)
	}
}

func (q *queue) remove(me caller) {
	w := q.of[me]
	delete(q.of, me)
	if w.joined == nil {
		if at, found := slices.BinarySearchFunc(q.free, w, (*waiter).before); found {
			q.free = slices.Delete(q.free, at, at+1)
		}
	}
}

// next calls those that may go on now that the place is free: all that share the outcome
// of a call that has ended, and the first of the others.
func (q *queue) next(call func(soar.RunID)) {
	if len(q.free) > 0 {
		call(q.free[0].run)
	}
	if len(q.of) == len(q.free) {
		return
	}
	for by, w := range q.of {
		if w.joined != nil && w.joined.state != "" {
			call(by.run)
		}
	}
}
