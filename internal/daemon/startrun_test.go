package daemon

import (
	"errors"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

const byHand = `
playbook: by-hand
on: manual
match: {all: [{they say why: .input.why != null}]}
steps: [{do: notify.send, with: {sink: archive, text: "started by hand ${{ .input.why }}"}}]
`

func TestRunsByHandThroughTheSocket(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/hand.yaml", byHand)
	s.configure("sinks:\n" + s.fileSink("archive"))
	d, stop := s.start()
	c, release := s.control()
	ctx := t.Context()
	why := map[string]any{"why": "to see"}
	for _, tt := range []struct {
		name  string
		start RunStart
		want  error
	}{
		{"nobody agreed", RunStart{Playbook: "by-hand", Input: why, By: "me"}, playbooks.ErrNotAgreed},
		{"not by hand", RunStart{Playbook: "note-everything", By: "me", Enforce: true}, playbooks.ErrNotManual},
		{"no such playbook", RunStart{Playbook: "by-hond", By: "me"}, soar.ErrNotFound},
		{"no such alert", RunStart{Playbook: "by-hand", Alert: "er-0", By: "me"}, soar.ErrNotFound},
		{"no match", RunStart{Playbook: "by-hand", By: "me", Enforce: true}, playbooks.ErrNotStarted},
	} {
		if run, err := c.StartRun(ctx, tt.start); !errors.Is(err, tt.want) || run.ID != 0 {
			t.Errorf("%s: run %s, %v", tt.name, run.ID, err)
		}
	}
	run, err := c.StartRun(ctx, RunStart{Playbook: "by-hand", Input: why, By: "me", Enforce: true})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		return ev.Type == soar.EventRunFinished && ev.Run.ID == run.ID && ev.Run.State == soar.RunDone && ev.Alert == nil
	})
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		return ev.Type == soar.EventNotification && ev.Text == "started by hand to see" && ev.Alert == nil
	})
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, release = s.control()
	defer release()
	if _, err := c.StartRun(ctx, RunStart{Playbook: "by-hand", By: "me"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon: %v", err)
	}
}
