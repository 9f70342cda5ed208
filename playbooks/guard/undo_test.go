package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What takes something back passes where nothing may be begun, and each rail says so;
// nothing of it is remembered there.
func TestTakingBackPasses(t *testing.T) {
	g, err := New(Settings{
		Protected: []Protection{{Name: "all", Match: Match{Names: []string{"*"}}}},
		Hosts:     []Group{{Name: "all", Mode: soar.ModeApprove, Match: Match{Names: []string{"*"}}}},
		Budgets:   []Budget{{Name: "tight", Hosts: 1, Calls: Calls{Actions: []string{"*"}}}},
		Freezes:   []Freeze{{Name: "always", Begin: "2020-01-01 00:00", End: "2090-01-01 00:00", Timezone: "UTC"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	request := func(run soar.RunID, host string) *Request {
		return &Request{
			Run: run, Step: "open", Playbook: "undo-p", Chain: []string{"undo-p"}, Attempt: 1, Action: "host.release", Kind: "containment", Sense: "release",
			Hosts: []Host{{ID: host, Name: "pc-" + host, Known: true}}, Call: host, Modes: []Voice{{Mode: soar.ModeEnforce, Words: "playbook and engine enforce"}},
			Alert: &soar.Alert{Server: "er", ID: "1", Status: soar.StatusResolved}, AlertWas: soar.StatusOpen, At: now, Since: now,
		}
	}
	if d := g.Ask(request(1, "a")); d.OK {
		t.Fatalf("a call like any other passes: %+v", d.Answers)
	}
	for i, host := range []string{"a", "b", "c"} {
		r := request(soar.RunID(i+1), host)
		r.TakesBack = 77
		d := g.Take(r)
		d.Settle(true)
		if !d.OK {
			t.Fatalf("%s: %+v", host, d.Answers)
		}
		said := map[string]string{}
		for _, a := range d.Answers {
			said[a.Check] = a.Words
		}
		for _, rail := range []string{"mode", "alert still open", "protected hosts", "budget", "change freeze", "approval"} {
			if !strings.HasPrefix(said[rail], "what run "+soar.RunID(77).String()+" did is taken back") {
				t.Errorf("%s says %q", rail, said[rail])
			}
		}
		if kv, _ := d.Keep(); len(kv) == 0 {
			t.Error("its place on the host is not kept")
		}
	}
	for _, b := range g.Budgets(now) {
		if b.Used != 0 || b.Latched != nil {
			t.Errorf("budget %+v", b)
		}
	}

	// What would take something away itself is asked like any other call.
	for host, settings := range map[string]Settings{
		"protected": {Protected: []Protection{{Name: "all", Match: Match{Names: []string{"*"}}}}},
		"observed":  {Hosts: []Group{{Name: "all", Mode: soar.ModeObserve, Match: Match{Names: []string{"*"}}}}},
	} {
		strict, err := New(settings)
		if err != nil {
			t.Fatal(err)
		}
		r := request(11, host)
		r.TakesBack, r.Action, r.Kind, r.Sense, r.Alert = 77, "host.deactivate", "membership", "deactivate", nil
		if d := strict.Ask(r); d.OK || d.State != soar.StepRefused {
			t.Errorf("%s: %+v", host, d.Answers)
		}
	}

	// It takes turns with what is under way on its host.
	other := request(9, "a")
	other.TakesBack = 78
	if d := g.Ask(other); d.OK || d.Until.IsZero() || d.Answers[len(d.Answers)-1].Check != "open call" {
		t.Errorf("the second on one host: %+v", d.Answers)
	}
	// Where all is only observed it waits, and where all is paused.
	last := request(10, "z")
	last.TakesBack, last.Modes = 77, []Voice{{Mode: soar.ModeObserve, Words: "all playbooks are held at observe"}}
	if d := g.Ask(last); d.OK || d.Until.IsZero() || d.State != "" {
		t.Errorf("observe: %+v", d.Answers)
	}
	g.Pause(Thrown{By: "ann", At: now})
	last.Modes[0].Mode = soar.ModeEnforce
	if d := g.Ask(last); d.OK || d.Until.IsZero() || d.Answers[len(d.Answers)-1].Check != "kill switch" {
		t.Errorf("paused: %+v", d.Answers)
	}
}
