package actions

import (
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// stuck is a command that its host does not come to the end of.
func (b *bench) stuck(h ersim.HostState, alert soar.Alert) (id string) {
	b.Helper()
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: h.Identifier})
	out, err := b.actions["file.delete"].Do(b.Context(), call("stuck", alert, object{"host": h.Identifier, "path": evil}))
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimPrefix(out.Ref, "cmd:")
}

func TestCommandStatusAndCancel(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	id := b.stuck(h, alert)
	c, of := call("c", alert, object{"host": h.Identifier, "command": id}), call("c", alert, object{"command": id})
	status := b.run("command.status", of).Output.(CommandStatusOutput)
	if status.Ended || status.Command != id || status.HostName != h.Name || status.Action != "delete" || status.Target != "file" || status.Created.IsZero() {
		t.Errorf("status %+v", status)
	}
	if err := b.ready("command.cancel", c); err != nil {
		t.Error(err)
	}
	// The guard knows the host that is named, so that it has to be the one of the command.
	other := b.other()
	if err := b.ready("command.cancel", call("c", alert, object{"host": other.Identifier, "command": id})); err == nil || errors.Is(err, playbooks.ErrNothingToDo) ||
		!strings.Contains(err.Error(), "is not one of "+other.Identifier+": name the host that has it") {
		t.Errorf("of another host: %v", err)
	}
	for range 2 { // the second as after a lost answer
		out := b.run("command.cancel", c)
		want(t, out, soar.StepVerified, "cancelled command "+id+" (delete file on "+h.Name+")")
		if got := out.Output.(CommandStatusOutput); !got.Ended || got.Status != "cancelled" {
			t.Errorf("output %+v", got)
		}
	}
	if err := b.ready("command.cancel", c); !errors.Is(err, playbooks.ErrNothingToDo) {
		t.Errorf("again: %v", err)
	}
	if status = b.run("command.status", of).Output.(CommandStatusOutput); !status.Ended {
		t.Errorf("status %+v", status)
	}
}

func TestCommandCancelComesTooLate(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	id := b.run("file.delete", call("delete", alert, object{"host": h.Identifier, "path": evil})).Output.(CommandOutput).Command
	c := call("c", alert, object{"host": h.Identifier, "command": id})
	if err := b.ready("command.cancel", c); err == nil || errors.Is(err, playbooks.ErrNothingToDo) || !strings.Contains(err.Error(), "has ended with success: what the host did stays done") {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.actions["command.cancel"].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrUncertain) || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("do: %v", err)
	}

	// The server says success to all, and the command ends otherwise, or is on its way.
	success := b.answering("/response/cancel", `{"status": "success", "message": "Command is cancelled successfully"}`)
	out, err := success["command.cancel"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepFailed || out.Error != "the host was quicker: the command has ended with success" {
		t.Errorf("contradicted: %+v: %v", out, err)
	}
	c = call("c", alert, object{"host": h.Identifier, "command": b.stuck(h, alert)})
	out, err = success["command.cancel"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepAccepted || out.Ref == "" || out.Unverified != "" || !strings.Contains(out.Summary, "the server says") {
		t.Errorf("under way: %+v: %v", out, err)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "response-get"})
	out, err = b.actions["command.cancel"].Do(t.Context(), c)
	if err != nil || out.State != soar.StepAccepted || out.Unverified == "" {
		t.Errorf("cannot be read: %+v: %v", out, err)
	}
	if out, err = b.actions["command.cancel"].Poll(t.Context(), c, out.Ref); err != nil || out.State != soar.StepVerified {
		t.Errorf("can be read again: %+v: %v", out, err)
	}
}

func TestCommandsThatAreNone(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	for _, action := range []string{"command.status", "command.cancel"} {
		for id, wanted := range map[string]string{
			"0123456789abcdef0123456789abcdef": "the server has no command 0123456789abcdef0123456789abcdef",
			"../hosts":                         "is not the id of a command", "a' or '1'='1": "is not the id of a command", "": "command: is empty",
		} {
			with := object{"command": id}
			if action == "command.cancel" {
				with["host"] = h.Identifier
			}
			c := call("c", soar.Alert{}, with)
			var err error
			if action == "command.status" {
				_, err = b.actions[action].Do(t.Context(), c)
			} else {
				err = b.ready(action, c)
			}
			if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%s %q: %v", action, id, err)
			}
			if found := strings.HasPrefix(wanted, "the server"); errors.Is(err, soar.ErrNotFound) != found {
				t.Errorf("%s %q: not found: %t", action, id, !found)
			}
		}
	}
	community := newBench(t, ersim.Options{Profile: "4.0-community"})
	_, err := community.actions["command.status"].Do(t.Context(), call("c", soar.Alert{}, object{"command": "0123456789abcdef0123456789abcdef"}))
	if err == nil || errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), "Community Edition") {
		t.Errorf("community: %v", err)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: "response-cancel"})
	c := call("c", soar.Alert{}, object{"host": h.Identifier, "command": b.stuck(h, b.raise(h, evil))})
	if _, err := b.actions["command.cancel"].Do(t.Context(), c); !errors.Is(err, playbooks.ErrUncertain) {
		t.Errorf("lost: %v", err)
	}
	want(t, b.run("command.cancel", c), soar.StepVerified, "cancelled")
}
