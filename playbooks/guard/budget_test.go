package guard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

func tagBudget(hosts int) Settings {
	return Settings{Budgets: []Budget{{Name: "tags", Calls: Calls{Actions: []string{"host.tag"}}, Hosts: hosts, Window: time.Hour}}}
}

// A budget latches with the first call that goes beyond it, tells people once, and stays
// latched across a restart and beyond its window, until a person re-arms it.
func TestBudgetLatches(t *testing.T) {
	s := tagBudget(2)
	g, d := newGuard(t, s), disk{}
	for n, host := range []string{"a", "b", "a"} {
		if got := d.send(t, g, call(n+1, "host.tag", now, host)); !got.OK {
			t.Fatalf("call %d: %+v", n+1, got)
		}
	}
	over := call(4, "host.tag", now.Add(time.Minute), "c")
	got := g.Ask(over)
	if got.OK || got.State != soar.StepRefused {
		t.Fatalf("the third host: %+v", got)
	}
	for _, words := range []string{`budget "tags" is used up`, "host.tag of run " + over.Run.String(), "pc-c (c)", "would make it 3 hosts", "allowed are 2 within 1h", "erbridge budget rearm tags"} {
		if !strings.Contains(got.Words, words) {
			t.Errorf("%q does not say %q", got.Words, words)
		}
	}
	events := d.refuse(g, over, got.Answers)
	if len(events) != 1 || events[0].Type != soar.EventTrouble || !strings.Contains(events[0].Text, got.Words) {
		t.Fatalf("people are told %+v", events)
	}
	for _, g := range []*Guard{g, d.restart(t, s, now.Add(30*time.Hour))} {
		known := call(5, "host.tag", now.Add(30*time.Hour), "a")
		got := g.Ask(known)
		if got.OK || !strings.Contains(got.Words, "has latched at 2026-11-22T03:01:00Z") {
			t.Errorf("a host that counted, after it latched: %+v", got)
		}
		if events := d.refuse(g, known, got.Answers); len(events) != 0 {
			t.Errorf("people are told again: %+v", events)
		}
		if other := g.Ask(call(6, "process.list", now.Add(2*time.Minute), "z")); !other.OK {
			t.Errorf("a call that the budget is not about: %+v", other)
		}
	}
	g = d.restart(t, s, now.Add(2*time.Minute))
	if shown := g.Budgets(now.Add(2 * time.Minute))[1]; shown.Latched == nil || shown.Latched.Run != 4 || !slices.Equal(shown.Latched.Hosts, []string{"c"}) || shown.Used != 2 {
		t.Errorf("shown is %+v", shown)
	}
	kvs, done, err := g.Rearm("tags", Rearmed{By: "ann", Reason: "it was a drill", At: now})
	if err != nil {
		t.Fatal(err)
	}
	d.put(kvs...)
	if got := g.Ask(over); got.OK {
		t.Error("it went out before it was written down who allowed it")
	}
	done()
	for _, g := range []*Guard{g, d.restart(t, s, now.Add(2*time.Minute))} {
		shown := g.Budgets(now.Add(2 * time.Minute))[1]
		if shown.Latched != nil || shown.Used != 0 || shown.Rearmed == nil || shown.Rearmed.By != "ann" || shown.Rearmed.Reason != "it was a drill" {
			t.Errorf("after it was re-armed: %+v", shown)
		}
		if got := g.Ask(over); !got.OK {
			t.Errorf("after it was re-armed: %+v", got)
		}
	}
}

// A call that counts goes out although the budget latches before it does, also when the
// process dies in between: whether it does depends on nobody's luck.
func TestGrantsOutlastARestart(t *testing.T) {
	s := tagBudget(1)
	g, d := newGuard(t, s), disk{}
	granted := call(1, "host.tag", now, "a")
	d.send(t, g, granted)
	over := call(2, "host.tag", now, "b")
	if events := d.refuse(g, over, g.Ask(over).Answers); len(events) != 1 {
		t.Fatalf("people are told %+v", events)
	}
	for _, g := range []*Guard{g, d.restart(t, s, now.Add(time.Hour))} {
		if got := g.Ask(granted); !got.OK {
			t.Errorf("it counts, and is %+v", got)
		}
		again := *granted
		again.Attempt++
		if got := g.Ask(&again); got.OK {
			t.Error("another attempt goes out after it has latched")
		}
	}
	g = d.restart(t, s, now)
	d.end(g, granted, now)
	for _, g := range []*Guard{g, d.restart(t, s, now)} {
		if got := g.Ask(granted); got.OK {
			t.Error("after its end it counts still")
		}
	}
	for key := range d {
		if strings.HasPrefix(key, grantPrefix) {
			t.Errorf("%s is left behind", key)
		}
	}
}

func TestRearmWhatIsNotLatched(t *testing.T) {
	g := newGuard(t, tagBudget(2))
	if _, _, err := g.Rearm("tags", Rearmed{By: "ann"}); !errors.Is(err, ErrNotLatched) {
		t.Errorf("a budget that is not latched: %v", err)
	}
	_, _, err := g.Rearm("tag", Rearmed{By: "ann"})
	if !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), "there are destructive, tags") {
		t.Errorf("a budget that there is not: %v", err)
	}
}

// When the record of a latch cannot be written, the budget is latched all the same, and
// the next refusal brings it to disk; until then it cannot be re-armed.
func TestLatchThatWasNotKept(t *testing.T) {
	s := tagBudget(1)
	g, d := newGuard(t, s), disk{}
	d.send(t, g, call(1, "host.tag", now, "a"))
	over := call(2, "host.tag", now, "b")
	_, first, settle := g.Refused(over, g.Ask(over).Answers)
	if _, _, err := g.Rearm("tags", Rearmed{By: "ann"}); !errors.Is(err, soar.ErrBusy) {
		t.Errorf("re-armed while it was being written down: %v", err)
	}
	settle(false)
	if got := g.Ask(call(3, "host.tag", now, "a")); got.OK {
		t.Error("it is not latched")
	}
	again := d.refuse(g, over, g.Ask(over).Answers)
	if len(first) != 1 || len(again) != 1 || first[0].ID != again[0].ID {
		t.Errorf("people are told %+v and %+v", first, again)
	}
	if got := d.restart(t, s, now).Ask(call(3, "host.tag", now, "a")); got.OK {
		t.Error("it is not latched after a restart")
	}
}

// The window moves: hosts count no longer than it is long.
func TestBudgetWindow(t *testing.T) {
	g, d := newGuard(t, tagBudget(2)), disk{}
	d.send(t, g, call(1, "host.tag", now, "a"))
	d.send(t, g, call(2, "host.tag", now.Add(10*time.Minute), "b"))
	d.send(t, g, call(3, "host.tag", now.Add(20*time.Minute), "a")) // counts anew
	for _, tt := range []struct {
		at   time.Duration
		want bool
	}{{time.Hour, false}, {70*time.Minute - 1, false}, {70 * time.Minute, true}} {
		if got := g.Ask(call(9, "host.tag", now.Add(tt.at), "c")); got.OK != tt.want {
			t.Errorf("a third host after %s: %+v", tt.at, got)
		}
	}
}

func TestBudgetShare(t *testing.T) {
	for _, tt := range []struct {
		budget Budget
		fleet  int
		want   int
		words  string
	}{
		{Budget{Hosts: 10}, 0, 10, "10 within 1h"},
		{Budget{Share: "5%"}, 400, 20, "20 within 1h, for 5% of 400 hosts"},
		{Budget{Share: "7%"}, 100, 7, "7 within 1h, for 7% of 100 hosts"},
		{Budget{Share: "5%"}, 10, 1, "1 within 1h, for 5% of 10 hosts"},
		{Budget{Share: "5%", AtLeast: 3}, 10, 3, "3 within 1h, for 5% of 10 hosts"},
		{Budget{Share: "5%", Hosts: 10}, 100_000, 10, "10 within 1h"},
		{Budget{Share: "5%", Hosts: 10}, 100, 5, "5 within 1h, for 5% of 100 hosts"},
		{Budget{Share: "5%", Hosts: 2, AtLeast: 3}, 10, 2, "2 within 1h"},
		{Budget{Share: "5%", Hosts: 10}, 0, 10, "10 within 1h; the 5% of the fleet cannot be worked out before it is known how many hosts there are"},
		{Budget{Share: "5%"}, 0, 1, "1 within 1h; the 5% of the fleet cannot be worked out before it is known how many hosts there are"},
	} {
		b := readyBudget(tt.budget)
		if got, words := b.limit(tt.fleet), b.numbers(tt.fleet); got != tt.want || words != tt.words {
			t.Errorf("%+v of %d hosts: %d, %q; want %d, %q", tt.budget, tt.fleet, got, words, tt.want, tt.words)
		}
	}
}

// The size of the fleet outlasts a restart.
func TestFleetIsKept(t *testing.T) {
	g, d := newGuard(t, Settings{}), disk{}
	d.put(g.SetFleet(40)...)
	d.put(g.SetFleet(0)...) // the server could not tell
	if got := d.restart(t, Settings{}, now).Budgets(now)[0]; got.Fleet != 40 || got.Limit != 3 {
		t.Errorf("%+v", got)
	}
}

// A call that acts on all hosts counts as the whole fleet.
func TestEverywhereCountsAsTheFleet(t *testing.T) {
	everywhere := func(run int) *Request {
		r := call(run, "ioc.add", now)
		r.Everywhere = true
		return r
	}
	settings := func(b Budget) Settings {
		b.Name, b.Actions = "all", []string{"*"}
		return Settings{Budgets: []Budget{b}, Everywhere: []string{"ioc.*"}}
	}
	for _, tt := range []struct {
		name   string
		budget Budget
		fleet  int
		want   string // empty: it goes out
	}{
		{"less than the fleet", Budget{Hosts: 50}, 60, "ioc.add of run 0000000000001 acts on all 60 hosts; allowed are 50"},
		{"as much as the fleet", Budget{Hosts: 60}, 60, ""},
		{"a share of everything", Budget{Share: "100%"}, 60, ""},
		{"nobody knows the fleet", Budget{Hosts: 50}, 0, "nobody knows how many there are"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, d := newGuard(t, settings(tt.budget)), disk{}
			g.SetFleet(tt.fleet)
			got := d.send(t, g, everywhere(1))
			if got.OK != (tt.want == "") || !strings.Contains(got.Words, tt.want) {
				t.Fatalf("%+v", got)
			}
			if !got.OK {
				return
			}
			g = d.restart(t, settings(tt.budget), now)
			g.SetFleet(tt.fleet)
			if got := d.send(t, g, call(2, "host.tag", now, "a")); !got.OK {
				t.Errorf("a host of the fleet that counts as a whole: %+v", got)
			}
			if shown := g.Budgets(now)[1]; shown.Used != tt.fleet || !slices.Equal(shown.Hosts, []string{"*", "a"}) {
				t.Errorf("shown is %+v", shown)
			}
		})
	}
}

// A budget for each playbook refuses what one of them does, and not the others. What a
// playbook calls counts for it.
func TestBudgetPerPlaybook(t *testing.T) {
	s := tagBudget(1)
	s.Budgets[0].Per = "playbook"
	g, d := newGuard(t, s), disk{}
	by := func(run int, host string, chain ...string) *Request {
		r := call(run, "host.tag", now, host)
		r.Chain, r.Playbook = chain, chain[len(chain)-1]
		return r
	}
	if got := d.send(t, g, by(1, "a", "one", "shared")); !got.OK {
		t.Fatal(got)
	}
	if got := d.send(t, g, by(2, "b", "two", "shared")); !got.OK {
		t.Errorf("another playbook that calls the same: %+v", got)
	}
	over := by(3, "c", "one")
	got := g.Ask(over)
	if got.OK || !strings.Contains(got.Words, `budget "tags" for one is used up`) {
		t.Fatalf("%+v", got)
	}
	d.refuse(g, over, got.Answers)
	g = d.restart(t, s, now)
	if got := g.Ask(by(4, "b", "two")); !got.OK {
		t.Errorf("what latched for one playbook refuses another: %+v", got)
	}
	// Counting by something else does not let go what has latched.
	s.Budgets[0].Per = "all"
	if err := g.Configure(s); err != nil {
		t.Fatal(err)
	}
	if got := g.Ask(by(4, "b", "two")); got.OK {
		t.Errorf("the latch has gone with the setting: %+v", got)
	}
}

// The built-in budget is there without any settings. They may change its numbers.
func TestBuiltInBudget(t *testing.T) {
	for _, tt := range []struct {
		settings Settings
		want     int
	}{
		{Settings{}, 10},
		{Settings{Budgets: []Budget{{Name: "destructive", Hosts: 2}}}, 2},
		{Settings{Budgets: []Budget{{Name: "other", Calls: Calls{Actions: []string{"host.tag"}}, Hosts: 1}}}, 10},
	} {
		g, d := newGuard(t, tt.settings), disk{}
		sent := 0
		for n := range 50 {
			r := call(n+1, []string{"host.contain", "process.kill", "file.delete", "script.run"}[n%4], now, fmt.Sprint("host-", n))
			if d.send(t, g, r).OK {
				sent++
			}
		}
		if sent != tt.want {
			t.Errorf("%+v: %d hosts, want %d", tt.settings, sent, tt.want)
		}
		release := call(99, "host.release", now, "host-99")
		release.Kind, release.Sense = "containment", "release"
		if got := g.Ask(release); !got.OK {
			t.Errorf("to let a host out of containment takes nothing away: %+v", got)
		}
	}
}

// Calls that take nothing into account but each other: one of two at the same moment gets
// what is left.
func TestBudgetOfCallsBeingCommitted(t *testing.T) {
	s := tagBudget(1)
	g := newGuard(t, s)
	one := g.Take(call(1, "host.tag", now, "a"))
	if two := g.Take(call(2, "host.tag", now, "b")); two.OK {
		t.Error("both were taken")
	}
	one.Settle(false)
	if two := g.Ask(call(2, "host.tag", now, "b")); !two.OK {
		t.Errorf("after the first was not kept: %+v", two)
	}
	// Two calls on one host, the commit of the earlier one ending last: what is on disk
	// is the later one as well.
	d := disk{}
	one, two := g.Take(call(3, "host.tag", now, "a")), g.Take(call(4, "host.tag", now.Add(time.Second), "a"))
	for _, taken := range []*Decision{&two, &one} {
		kvs, _ := taken.Keep()
		d.put(kvs...)
		taken.Settle(true)
	}
	for _, g := range []*Guard{g, d.restart(t, s, now.Add(time.Hour))} {
		if got := g.Ask(call(5, "host.tag", now.Add(time.Hour), "b")); got.OK {
			t.Error("the host counts no longer, by the earlier of two calls")
		}
	}
}

func TestBudgetSettings(t *testing.T) {
	for _, tt := range []struct {
		list []Budget
		want string
	}{
		{[]Budget{{Name: "a b", Hosts: 1}}, `budgets: 0: name: "a b" cannot be the name of a budget`},
		{[]Budget{{Name: "a", Hosts: 1}, {Name: "a", Hosts: 1}}, `budgets: 1: name: there are two budgets "a"`},
		{[]Budget{{Name: "a"}}, "budgets: 0: the budget bounds nothing"},
		{[]Budget{{Name: "a", Share: "5"}}, `budgets: 0: share: "5" is not a share above 0% and up to 100%`},
		{[]Budget{{Name: "a", Share: "5x%"}}, `budgets: 0: share: "5x%" is not a share above 0% and up to 100%`},
		{[]Budget{{Name: "a", Share: "101%"}}, `budgets: 0: share: "101%" is not a share above 0% and up to 100%`},
		{[]Budget{{Name: "a", Hosts: -1}}, "budgets: 0: hosts: hosts is -1, and must be from 1 to 1000000"},
		{[]Budget{{Name: "a", Hosts: 1, AtLeast: -1}}, "budgets: 0: at_least: at_least is -1, and must be from 1 to 1000000"},
		{[]Budget{{Name: "a", Hosts: 1, Window: 400 * 24 * time.Hour}}, "budgets: 0: window: window is 400d, and must be from 1s to 31d"},
		{[]Budget{{Name: "destructive", Hosts: 1, Calls: Calls{Actions: []string{"host.tag"}}}}, "budgets: 0: what the budget destructive is about is built in"},
		{[]Budget{{Name: "destructive", Per: "playbook"}, {Name: "a", Hosts: 1, Calls: Calls{Playbooks: []string{""}}}}, "budgets: 1: playbooks: 0: an empty name fits nothing"},
	} {
		err := (&Settings{Budgets: tt.list}).Check()
		if err == nil || err.Error() != tt.want {
			t.Errorf("%+v:\n got %v\nwant %s", tt.list, err, tt.want)
		}
	}
}
