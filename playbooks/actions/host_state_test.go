package actions

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestDeactivateAndEnable(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		b := newBench(t, ersim.Options{Profile: profile})
		h := b.windows()
		alert := b.raise(h, evil)
		for _, step := range []struct {
			action, summary, state string
			wanted                 int
		}{{"host.deactivate", "deactivated " + h.Name, "removed", 1}, {"host.enable", "enabled " + h.Name, "active", 0}} {
			c := call(step.action, alert, object{"host": h.Identifier})
			if err := b.ready(step.action, c); err != nil {
				t.Fatalf("%s, %s: %v", profile, step.action, err)
			}
			out := b.run(step.action, c)
			want(t, out, soar.StepVerified, step.summary)
			if got := b.windows().State; got != step.wanted || out.Output.(HostStateOutput).State != step.state || out.Target != h.Identifier {
				t.Errorf("%s, %s: the host is in state %d: %+v", profile, step.action, got, out)
			}
			// Again, as after an answer that was lost: it is so already.
			want(t, b.run(step.action, c), soar.StepVerified, step.summary)
			if err := b.ready(step.action, c); !errors.Is(err, playbooks.ErrNothingToDo) || !strings.Contains(err.Error(), h.Name+" is "+step.state+" already") {
				t.Errorf("%s, %s: again: %v", profile, step.action, err)
			}
		}
	}
}

func TestDeactivateIsTakenBackByEnable(t *testing.T) {
	b := newBench(t, ersim.Options{})
	for action, inverse := range map[string]string{"host.deactivate": "host.enable", "host.enable": "host.deactivate"} {
		c := call("x", soar.Alert{}, object{"host": "H1"})
		got := b.actions[action].(playbooks.Reverser).Reverse(c, map[string]any{"state": "removed"})
		if want := (&playbooks.Reversal{Do: inverse, With: map[string]any{"host": "H1"}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", action, got, want)
		}
	}
}

// The server says success, and its list of hosts shows otherwise, or cannot be read.
func TestStateOfAHostIsReadBack(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := call("off", b.raise(h, evil), object{"host": h.Identifier})
	b.actions = b.answering("/hosts/"+h.Identifier+"/delete", `{"status": "Success", "message": "Successfully removed the host"}`)
	out := b.run("host.deactivate", c)
	if out.State != soar.StepFailed || out.Error != "the server reports success, and the host is active" || out.Summary != "could not deactivate "+h.Name {
		t.Errorf("contradicted: %+v", out)
	}

	b.actions = All(b.deps)
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "hosts-list", Count: 1})
	out, err := b.actions["host.deactivate"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepAccepted || out.Ref == "" || out.Unverified == "" {
		t.Fatalf("the list cannot be read: %+v: %v", out, err)
	}
	out, err = b.actions["host.deactivate"].Poll(t.Context(), c, out.Ref)
	if err != nil || out.State != soar.StepVerified {
		t.Errorf("the list can be read again: %+v: %v", out, err)
	}
}

func TestStateOfAHostIsRefused(t *testing.T) {
	b := newBench(t, ersim.Options{})
	for _, action := range []string{"host.deactivate", "host.enable"} {
		c := call("x", soar.Alert{}, object{"host": "NOBODY"})
		if err := b.ready(action, c); err == nil || !strings.Contains(err.Error(), "the server has no host NOBODY any more") {
			t.Errorf("%s of nobody: %v", action, err)
		}
		if out, err := b.actions[action].Do(t.Context(), c); err == nil && out.State == soar.StepVerified {
			t.Errorf("%s of nobody: %+v", action, out)
		}
	}
	if calls := b.sim.Calls(); calls["hosts-delete"]+calls["hosts-delete-bulk"] != 0 {
		t.Error("a host was deleted for good")
	}
}

// API v0 has no hosts that are removed: the call is refused before it is written down.
func TestOldAPICannotDeactivate(t *testing.T) {
	b := newBench(t, ersim.Options{Profile: "2.1.2"})
	b.speakV0()
	h := b.windows()
	for _, action := range []string{"host.deactivate", "host.enable"} {
		err := b.ready(action, call("x", soar.Alert{}, object{"host": h.Identifier}))
		if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "the server's API knows no hosts that are removed") {
			t.Errorf("%s: %v", action, err)
		}
	}
}

// A host that is away for an hour comes back by itself, and Defender looks again.
func TestStatesForATime(t *testing.T) {
	excluded := func(d *daemon) string {
		settings := d.run("defender.settings", call("look", soar.Alert{}, object{"host": d.host.Identifier})).Output.(DefenderSettingsOutput)
		list, _ := settings.Settings.(map[string]any)["ExclusionPath"].([]any)
		return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list)), " "), "[]")
	}
	for _, tt := range []struct {
		step, during, after string
		state               func(d *daemon) string
	}{
		{"host.deactivate, with: {", "removed", "active", func(d *daemon) string { return stateWords[d.windows().State] }},
		{`defender.exclusions_add, with: {path: 'C:\Build', `, `C:\Build`, "", excluded},
	} {
		d := newDaemon(t, "  - {id: shut, do: "+tt.step+"host: '${{ .alert.host.identifier }}', for: 1h}}\n")
		d.start()
		d.put()
		run := d.ended("act", 1)
		if got := tt.state(d); run.State != soar.RunDone || got != tt.during {
			t.Fatalf("%s: run %s: %s; %s", tt.step, run.State, run.Error, got)
		}
		d.restart(2 * time.Hour)
		back := d.ended("undo-act", 1)
		if got := tt.state(d); back.State != soar.RunDone || got != tt.after {
			t.Errorf("%s: run %s: %s; %s", tt.step, back.State, back.Error, got)
		}
	}
}

// The server takes changes of its hosts from administrators only, which is told before.
func TestHostStateByAnalyst(t *testing.T) {
	for action, doing := range map[string]string{"host.deactivate": "deactivating a host", "host.enable": "enabling a host"} {
		b := newBench(t, ersim.Options{})
		c := call("c", soar.Alert{}, object{"host": b.windows().Identifier})
		if action == "host.enable" {
			want(t, b.run("host.deactivate", c), soar.StepVerified, "deactivated")
		}
		b.as("analyst")
		err := b.ready(action, c)
		if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), doing+" needs the role admin on the server, and the account analyst has the role analyst") {
			t.Errorf("%s: %v", action, err)
		}
	}
}
