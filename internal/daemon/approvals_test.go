package daemon

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const asksFirst = `
playbook: asks-first
on: manual
mode: enforce
steps:
  - {id: ask, do: approval.ask, with: {text: "Tell them?", from: [leads], not: requester, expires: 1h}}
  - {if: .steps.ask.granted, do: notify.send, with: {sink: archive, text: "${{ .steps.ask.output.by }} agreed"}}
`

// People answer through the socket, under a name that the configuration has.
func TestApprovalsThroughTheSocket(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/asks.yaml", asksFirst)
	s.configure("guard: {approvers: {leads: [ann, ben]}}\nsinks:\n" + s.fileSink("archive"))
	d, stop := s.start()
	c, release := s.control()
	ctx := t.Context()
	run, err := c.StartRun(ctx, RunStart{Playbook: "asks-first", By: "ann", Enforce: true})
	if err != nil {
		t.Fatal(err)
	}
	asked := s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Type == soar.EventApprovalRequested && ev.Run.ID == run.ID })
	if !strings.Contains(asked.Text, "Tell them? leads (ann, ben) may decide until") {
		t.Errorf("people are told %q", asked.Text)
	}
	id := asked.Approval.ID
	for _, tt := range []struct {
		id, by string
		want   error
	}{
		{"nothing", "ben", soar.ErrNotFound}, {id, "eve", guard.ErrMayNot}, {id, "ann", guard.ErrMayNot}, {id, "ben", nil}, {id, "ben", guard.ErrDecided},
	} {
		a, err := c.Decide(ctx, tt.id, soar.Vote{By: tt.by, Agree: true, Reason: "why not"})
		if !errors.Is(err, tt.want) || err == nil && a.State != soar.ApprovalApproved {
			t.Errorf("%s decides about %s: %+v, %v", tt.by, tt.id, a, err)
		}
	}
	s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Type == soar.EventNotification && ev.Text == "ben agreed" })
	same := func(a soar.Approval) bool {
		return a.ID == id && a.State == soar.ApprovalApproved && a.Requester == SignedHere("ann") && a.Votes[0].By == "ben" && vouched(a.Votes[0].User)
	}
	if list, err := c.Approvals(ctx); err != nil || !slices.ContainsFunc(list, same) {
		t.Errorf("approvals %+v, %v", list, err)
	}
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, release = s.control()
	defer release()
	if list, err := c.Approvals(ctx); err != nil || !slices.ContainsFunc(list, same) {
		t.Errorf("without a daemon: %+v, %v", list, err)
	}
	if _, err := c.Decide(ctx, id, soar.Vote{By: "ben"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("an answer without a daemon: %v", err)
	}
}

// vouched reports whether a user is the one of this process, where the system tells.
func vouched(u *soar.SystemUser) bool {
	own, _ := ownUser()
	return runtime.GOOS != "linux" || u != nil && *u == own
}
