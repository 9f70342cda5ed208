package guard

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// intents keeps calls of one kind at one host apart: a host is contained or released,
// and not both at the same moment. What asks for the same as a call under way waits for
// it and shares its outcome; what asks for the opposite goes out after it.
type intents struct {
	open map[place]*intent
	of   map[caller][]place
	last map[place]*intent // how the last one ended; kept for shareFor
	swep time.Time
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
	Run    soar.RunID     `json:"run"`
	Step   string         `json:"step"`
	Action string         `json:"action"`
	Sense  string         `json:"sense,omitempty"`
	Call   string         `json:"call"`
	At     time.Time      `json:"at"`
	State  soar.StepState `json:"-"`
	ended  time.Time
}

const (
	intentPrefix = "guard/intent/"
	// shareFor is how long the outcome of a call is kept for those that waited for it.
	shareFor = time.Hour
)

// keptIntent is an intent in the journal, with the places that it takes.
type keptIntent struct {
	intent
	Kind  string   `json:"kind"`
	Hosts []string `json:"hosts"`
}

func (*intents) name() string   { return "open call" }
func (*intents) prefix() string { return intentPrefix }

func (t *intents) load(kvs []soar.KV) error {
	t.open, t.of, t.last = map[place]*intent{}, map[caller][]place{}, map[place]*intent{}
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
			t.hold(place{host, k.Kind}, &one)
		}
	}
	return nil
}

func (t *intents) hold(p place, one *intent) {
	if t.open == nil {
		t.open, t.of, t.last = map[place]*intent{}, map[caller][]place{}, map[place]*intent{}
	}
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
	for i := range r.Hosts {
		h := &r.Hosts[i]
		p := place{h.ID, kindOf(r)}
		switch one := t.open[p]; {
		case one == nil || one.Run == r.Run && one.Step == r.Step:
		case one.Sense == r.Sense:
			return Hold(r.At.Add(lookAgain), "run %s is doing the same on %s: %s", one.Run, h.Label(), one.Action)
		default:
			return Hold(r.At.Add(lookAgain), "waits for the %s of run %s on %s to end", one.Action, one.Run, h.Label())
		}
	}
	if len(r.Hosts) == 1 { // of several, each has an outcome of its own
		p := place{r.Hosts[0].ID, kindOf(r)}
		if last := t.last[p]; last != nil && last.Run != r.Run && last.Sense == r.Sense && last.Call == r.Call && last.ended.After(r.Since) && last.State.OK() {
			return Answer{State: soar.StepSuppressed, Words: fmt.Sprintf("run %s has done it meanwhile: %s, %s", last.Run, last.Action, last.State)}
		}
	}
	return Pass("no other %s is under way", strings.TrimSuffix(r.Kind, "/"))
}

func (t *intents) take(r *Request, c *claim) {
	if r.Kind == "" || len(r.Hosts) == 0 || !askedFor(t.ask(r)) {
		return
	}
	by := caller{r.Run, r.Step}
	if len(t.of[by]) > 0 {
		return // an attempt before this one holds it
	}
	one := &intent{Run: r.Run, Step: r.Step, Action: r.Action, Sense: r.Sense, Call: r.Call, At: r.At}
	hosts := sortedHosts(r)
	for _, host := range hosts {
		t.hold(place{host, kindOf(r)}, one)
	}
	value, _ := json.Marshal(keptIntent{*one, kindOf(r), hosts}) // texts and a time
	c.put(soar.KV{Key: intentKey(by), Value: string(value)})
	c.ifNotKept(func() { t.forget(by, "", time.Time{}) })
}

func askedFor(a Answer) bool { return a.OK }

func intentKey(by caller) string { return intentPrefix + by.run.String() + "/" + by.step }

func (t *intents) end(by caller, state soar.StepState, at time.Time, c *claim) {
	if len(t.of[by]) == 0 {
		return
	}
	c.put(soar.KV{Key: intentKey(by)})
	c.ifKept(func() { t.forget(by, state, at) })
}

// forget gives the places of a call free.
func (t *intents) forget(by caller, state soar.StepState, at time.Time) {
	for _, p := range t.of[by] {
		one := t.open[p]
		delete(t.open, p)
		if state != "" {
			one.State, one.ended = state, at
			t.last[p] = one
		}
	}
	delete(t.of, by)
	if at.Sub(t.swep) > time.Minute {
		t.swep = at
		for p, one := range t.last {
			if at.Sub(one.ended) > shareFor {
				delete(t.last, p)
			}
		}
	}
}
