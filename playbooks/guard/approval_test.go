package guard

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

func TestApprovalSettings(t *testing.T) {
	leads := map[string][]string{"leads": {"ann", "ben", "Ann"}}
	for _, tt := range []struct {
		name string
		in   Settings
		want string
	}{
		{"nothing", Settings{}, ""},
		{"all of it", Settings{Approvers: leads, Approval: ApprovalSettings{From: []string{"leads", "cid"}, Count: 3, Not: "requester", Expires: time.Hour, OnExpiry: "deny"}}, ""},
		{"too few", Settings{Approvers: leads, Approval: ApprovalSettings{From: []string{"leads"}, Count: 3}}, "approval: count: 3 people have to agree, and from names 2"},
		{"so many", Settings{Approval: ApprovalSettings{Count: 21}}, "approval: count: must lie between 1 and 20"},
		{"less than none", Settings{Approval: ApprovalSettings{Count: -1}}, "approval: count: must lie between 1 and 20"},
		{"at once", Settings{Approval: ApprovalSettings{Expires: time.Millisecond}}, "approval: expires: must lie between 1s and 7d"},
		{"never", Settings{Approval: ApprovalSettings{Expires: 8 * 24 * time.Hour}}, "approval: expires: must lie between 1s and 7d"},
		{"nobody in it", Settings{Approvers: map[string][]string{"leads": {}}}, "approvers: leads: a group needs names of people"},
		{"no name", Settings{Approvers: map[string][]string{"leads": {"ann", " "}}}, "approvers: leads: a group needs names of people"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.in.Check(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Who may decide goes by the groups as they are now, not as they were.
func TestApproversAreThoseOfNow(t *testing.T) {
	g, err := New(Settings{Approvers: map[string][]string{"leads": {"ann"}}, Approval: ApprovalSettings{From: []string{"leads"}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	r := &Request{Run: 1, Step: "hit", Playbook: "p", Action: "host.contain", Call: "c", Modes: []Voice{{soar.ModeApprove, "so it says"}}, At: now}
	d := g.Ask(r)
	if d.OK || !AsksPeople(d.Answers) || !d.Until.Equal(now.Add(30*time.Minute)) {
		t.Fatalf("the guard says %+v", d)
	}
	_, events, settle := g.Wait(d.Asked, d.Answers)
	if len(events) != 1 || len(g.Approvals(now)) != 0 {
		t.Fatalf("%d events, approvals %+v before they are kept", len(events), g.Approvals(now))
	}
	if _, err := g.Decide(events[0].Approval.ID, soar.Vote{By: "ann", Agree: true, At: now}); !errors.Is(err, soar.ErrBusy) {
		t.Errorf("an answer to what is not kept yet: %v", err)
	}
	settle(true)
	if err := g.Configure(Settings{Approvers: map[string][]string{"leads": {"ben"}}, Approval: ApprovalSettings{From: []string{"leads"}}}); err != nil {
		t.Fatal(err)
	}
	id := g.Approvals(now)[0].ID
	if _, err := g.Decide(id, soar.Vote{By: "ann", Agree: true, At: now}); !errors.Is(err, ErrMayNot) || !strings.Contains(err.Error(), "leads (ben)") {
		t.Errorf("ann has left the group: %v", err)
	}
	decided, err := g.Decide(id, soar.Vote{By: "ben", Agree: true, Reason: "a\u202eb", At: now})
	if err != nil {
		t.Fatal(err)
	}
	if d := g.Ask(r); d.OK || d.State != "" {
		t.Errorf("while the answer is being written down, the guard says %+v", d)
	}
	if _, err := g.Decide(id, soar.Vote{By: "ben", At: now}); !errors.Is(err, soar.ErrBusy) {
		t.Errorf("another answer meanwhile: %v", err)
	}
	if v := decided.Approval.Votes[0]; v.By != "ben" || strings.Contains(v.Reason, "\u202e") || v.Reason == "" {
		t.Errorf("the answer is kept as %+v", v)
	}
	decided.Settle(true)
	if d := g.Ask(r); !d.OK {
		t.Errorf("with the answer kept, the guard says %+v", d)
	}
}

// Another name does not make another person, as far as the system knows them apart.
func TestApproversAreKnownByUserToo(t *testing.T) {
	user := func(uid int64, name string) *soar.SystemUser { return &soar.SystemUser{UID: uid, Name: name} }
	g, err := New(Settings{Approval: ApprovalSettings{Count: 2, Not: "requester"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	ask := func(run soar.RunID, requester string) string {
		t.Helper()
		d := g.Ask(&Request{Run: run, Step: "hit", Action: "host.contain", Call: "c", By: requester, Modes: []Voice{{soar.ModeApprove, ""}}, At: now})
		_, events, settle := g.Wait(d.Asked, d.Answers)
		settle(true)
		return events[0].Approval.ID
	}
	for i, tt := range []struct {
		name, requester, by string
		user                *soar.SystemUser
		want                string
	}{
		{"the requester", "ann (uid 1000 al)", "ann", user(1001, "bo"), "ann started the run"},
		{"the requester with another name", "ann (uid 1000 al)", "ben", user(1000, "al"), "ben and ann, who started the run, are both uid 1000 al"},
		{"somebody else", "ann (uid 1000 al)", "ben", user(1001, "bo"), ""},
		{"somebody who claims to be another user", "ann (uid 1000 al)", "ben (uid 1001 bo)", user(1000, "al"), "are both uid 1000 al"},
		{"root is many", "ann (uid 0 root)", "ben", user(0, "root"), ""},
		{"nobody vouches", "ann", "ben", nil, ""},
		{"nobody vouches for one of them", "ann (uid 1000 al)", "ben", nil, ""},
		{"cid again, as somebody else", "ann", "dan", user(2000, "ci"), "cid, who is uid 2000 ci like dan, has agreed already"},
	} {
		id := ask(soar.RunID(i+1), tt.requester)
		d, err := g.Decide(id, soar.Vote{By: "cid", User: user(2000, "ci"), Agree: true, At: now})
		if err != nil {
			t.Fatal(err)
		}
		d.Settle(true)
		d, err = g.Decide(id, soar.Vote{By: tt.by, User: tt.user, Agree: true, At: now})
		switch {
		case tt.want != "":
			if !errors.Is(err, ErrMayNot) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		case err != nil || d.Approval.State != soar.ApprovalApproved || d.Approval.Votes[1].By != "ben":
			t.Errorf("%s: %+v, %v", tt.name, d, err)
		}
	}
}

// An approval is forgotten some time after it is over.
func TestApprovalsAreForgotten(t *testing.T) {
	g, err := New(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	ask := func(run soar.RunID, at time.Time) {
		t.Helper()
		d := g.Ask(&Request{Run: run, Step: "hit", Action: "host.contain", Call: "c", Modes: []Voice{{soar.ModeApprove, ""}}, At: at})
		kvs, _, settle := g.Wait(d.Asked, d.Answers)
		settle(true)
		if len(kvs) != 1 || !kvs[0].Expires.Equal(at.Add(30*time.Minute+keepApprovals)) {
			t.Errorf("kept %+v", kvs)
		}
	}
	ask(1, now)
	later := now.Add(31 * 24 * time.Hour)
	ask(2, later)
	if list := g.Approvals(later); len(list) != 1 || list[0].Run != 2 {
		t.Errorf("approvals %+v", list)
	}
}
