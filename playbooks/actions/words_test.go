package actions

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// hidden holds what an attacker writes into a command line: a terminal sequence,
// NUL, which the server's database refuses, and a turn of the writing direction.
const (
	hidden  = "red\x1b[31m\x00 one\r\ntwo\tcod\u202efdp.exe\u009b"
	spelled = "red\\x1b[31m\\x00 one\ntwo\tcodU+202Efdp.exe\\x9b"
)

// What people read on the server, in messages and in the story of a run has its
// hidden characters spelled out.
func TestHiddenCharactersAreSpelledOut(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	id, err := strconv.ParseInt(alert.ID, 10, 64)
	if err != nil {
		t.Fatal(err)
	}

	want(t, b.run("alert.note", call("note", alert, object{"text": hidden})), soar.StepVerified, "noted")
	if notes := b.sim.Notes(id); len(notes) != 1 || notes[0] != spelled+"\n\n[erbridge 0run/note]" {
		t.Errorf("notes %q", notes)
	}
	want(t, b.run("alert.resolve", call("resolve", alert, object{"verdict": "true_positive", "comment": hidden})), soar.StepVerified, "resolved")
	if states := b.sim.Alerts(); states[len(states)-1].Comment != spelled+" [erbridge 0run/resolve]" {
		t.Errorf("comment %q", states[len(states)-1].Comment)
	}
	message := b.run("notify.send", call("notify", alert, object{"sink": "soc-slack", "text": hidden}))
	want(t, message, soar.StepExecuted, "queued for soc-slack")
	if text := message.Events[0].Text; text != spelled {
		t.Errorf("message %q", text)
	}

	// The script and the rule carry the mark, which is a text of the playbook.
	mark := playbooks.Call{Mark: "0run/a\x1bb\u202e", Alert: alert, With: object{"host": h.Identifier, "kind": "bat", "content": "echo a"}}
	want(t, b.run("script.run", mark), soar.StepExecuted, "ran")
	mark.With = object{"host": h.Identifier}
	want(t, b.run("host.contain", mark), soar.StepVerified, "blocked")
	for _, c := range b.sim.Commands() {
		for name, value := range c.Parameters {
			if strings.ContainsFunc(value, soar.IsHidden) {
				t.Errorf("%s: %s is %q", c.Kind, name, value)
			}
		}
	}

	// A path goes to the host as it is; words about it do not.
	path := "C:\\cod\u202efdp.exe"
	out := b.run("file.delete", call("delete", alert, object{"host": h.Identifier, "path": path}))
	if out.State != soar.StepFailed || !strings.Contains(out.Summary, `C:\codU+202Efdp.exe`) || strings.ContainsFunc(out.Error, soar.IsHidden) {
		t.Errorf("outcome %+v", out)
	}
	sent := b.sim.Commands()
	if last := sent[len(sent)-1]; last.Parameters["file_name"] != path {
		t.Errorf("sent %q", last.Parameters)
	}
	b.sim.SetOnline(h.Identifier, false)
	_, err = b.actions["file.delete"].Do(t.Context(), call("delete", alert, object{"host": h.Identifier, "path": path}))
	if !errors.Is(err, playbooks.ErrTransient) || strings.ContainsFunc(err.Error(), soar.IsHidden) {
		t.Errorf("error %q", err)
	}
}

// The server answers NUL with an internal error, after which nobody knows what it
// did; so it is not sent.
func TestNULIsNotSent(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	for name, c := range effects(h, alert) {
		for key, value := range c.With {
			text, ok := value.(string)
			if !ok || name == "alert.note" || slices.Contains([]string{"host", "verdict", "kind", "tag"}, key) {
				continue
			}
			c.With[key] = text + "\x00"
			_, err := b.actions[name].Do(t.Context(), c)
			if err == nil || errors.Is(err, playbooks.ErrUncertain) || strings.ContainsFunc(err.Error(), soar.IsHidden) {
				t.Errorf("%s with NUL in %s: %q", name, key, err)
			}
			c.With[key] = value
		}
	}
	if sent := b.sim.Commands(); len(sent) != 0 {
		t.Errorf("%d commands were sent", len(sent))
	}
}

// A failure tells what it was about, whether the host or the way to it failed.
func TestFailuresNameTheirTarget(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	kill := call("kill", alert, object{"host": h.Identifier, "pid": "4", "name": `C:\no\such.exe`})
	out := b.run("process.kill", kill)
	if wanted := "could not stop such.exe (pid 4) on " + h.Name; out.State != soar.StepFailed || out.Target != h.Identifier ||
		out.Summary != wanted || out.Error != "PROCESS_NOT_FOUND" {
		t.Errorf("outcome %+v", out)
	}

	// Another host than the alert's has no name here.
	elsewhere := alert
	elsewhere.Host = soar.Host{Identifier: "ELSEWHERE", Name: "elsewhere"}
	kill.Alert = elsewhere
	if out = b.run("process.kill", kill); out.Summary != "could not stop such.exe (pid 4) on "+h.Identifier {
		t.Errorf("outcome %+v", out)
	}

	b.sim.SetOnline(h.Identifier, false)
	for action, begin := range map[string]string{
		"process.kill": "stop it's evil; --.exe (pid 7777) on ", "file.delete": "delete " + evil + " on ", "host.contain": "block incoming connections on ",
		"host.release": "release ", "script.run": "run a bat script on ", "agent.restart": "restart the agent of ", "carve.file": "carve " + evil + " from ",
	} {
		out, err := b.actions[action].Do(t.Context(), effects(h, alert)[action])
		if err == nil || !strings.HasPrefix(err.Error(), begin+h.Name) || out.Target != h.Identifier {
			t.Errorf("%s: target %q, %v", action, out.Target, err)
		}
	}
}
