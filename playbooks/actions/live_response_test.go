package actions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestLiveResponse(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	session := func(mark, content string) playbooks.Call {
		return call(mark, alert, object{"host": h.Identifier, "kind": "powershell", "content": content})
	}
	out := b.run("live.response", session("live", "Write-Output 'it''s; here'\nWrite-Output two"))
	want(t, out, soar.StepExecuted, "ran a powershell script in a live response of "+h.Name)
	if got := out.Output.(ScriptRunOutput); strings.TrimSpace(got.Text) != "it''s; here\ntwo" || got.Command == "" || got.SHA256 != "" {
		t.Errorf("output %+v", got)
	}
	out = b.run("live.response", session("bad", "Write-Output before\nexit 3"))
	if got, ok := out.Output.(ScriptRunOutput); !ok || out.State != soar.StepFailed || !strings.Contains(out.Error, "exit status 3") || !strings.Contains(got.Text, "before") {
		t.Errorf("a script that fails: %+v", out)
	}

	// A session that cannot be listened to runs all the same, and so does one to which
	// nobody listened in time.
	c := session("deaf", "Write-Output deaf")
	out, err := b.actions["live.response"].Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.DropBefore, Call: "ws-*"})
	out = b.finish("live.response", c, out)
	if got := out.Output.(ScriptRunOutput); out.State != soar.StepExecuted || strings.TrimSpace(got.Text) != "deaf" {
		t.Errorf("not listened to: %+v", out)
	}
	b.sim.ClearFaults()

	// The answer that names the session is lost: it is found by its mark.
	c = session("lost", "Write-Output lost")
	since := time.Now().Add(-time.Minute)
	b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: "response-live"})
	if _, err := b.actions["live.response"].Do(t.Context(), c); !errors.Is(err, playbooks.ErrUncertain) {
		t.Fatal(err)
	}
	found, err := b.actions["live.response"].Find(t.Context(), c, since)
	if err != nil || len(found) != 1 || found[0].Mark != c.Mark {
		t.Fatalf("found %+v: %v", found, err)
	}
	out, err = b.actions["live.response"].Poll(t.Context(), c, found[0].Ref)
	if err != nil {
		t.Fatal(err)
	}
	if out = b.finish("live.response", c, out); out.State != soar.StepExecuted || strings.TrimSpace(out.Output.(ScriptRunOutput).Text) != "lost" {
		t.Errorf("found, and then %+v", out)
	}
	for _, sent := range b.sim.Commands() {
		if sent.Received != 1 {
			t.Errorf("%v was received %d times", sent.Parameters, sent.Received)
		}
	}
}

// A session that goes on is listened to for a while, then asked about again, and can be
// withdrawn.
func TestLiveResponseThatGoesOn(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := call("stuck", b.raise(h, evil), object{"host": h.Identifier, "kind": "shell", "content": "sleep 99999"})
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: h.Identifier})
	out, err := b.actions["live.response"].Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan playbooks.Outcome, 1)
	go func() {
		got, err := b.actions["live.response"].Poll(t.Context(), c, out.Ref)
		if err != nil {
			t.Errorf("poll: %v", err)
		}
		ended <- got
	}()
	if err := b.actions["live.response"].(playbooks.Withdrawer).Withdraw(t.Context(), c, out.Ref); err != nil {
		t.Error(err)
	}
	got := b.finish("live.response", c, <-ended)
	if got.State != soar.StepCancelled {
		t.Errorf("withdrawn: %+v", got)
	}
}
