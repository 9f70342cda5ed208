package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What waits is listed, what was decided is shown, and an answer needs a daemon.
func TestApprovalCommands(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	s := storeAlerts(t, dir, numbered(1, soar.SeverityHigh)) // it goes on running
	now := time.Now().UTC()
	asked := soar.Approval{
		ID: "aaaa000001", State: soar.ApprovalWaiting, Run: soar.NewRunID(now), Step: "contain", Playbook: "contain-miner", Action: "host.contain",
		With: map[string]any{"host": "h-1"}, Hosts: []string{"pc-1 (h-1)"}, Call: "c", Text: "May playbook contain-miner do host.contain on pc-1 (h-1)?",
		Alert: "er-1", Requester: "dan", From: []string{"leads"}, NotRequester: true, Count: 2, AskedAt: now.Add(-time.Hour), Expires: now.Add(time.Hour), Round: 1,
		Votes: []soar.Vote{{By: "ann", Agree: true, Reason: "a \x1b[31mreal one", Via: "command line of root", At: now}},
	}
	denied, expired := asked, asked
	denied.ID, denied.State, denied.Step, denied.DecidedAt = "aaaa000002", soar.ApprovalDenied, "kill", now
	expired.ID, expired.Step, expired.Expires = "aaaa000003", "tag", now.Add(-time.Minute)
	var change soar.Change
	for _, a := range []soar.Approval{asked, denied, expired} {
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		change.KV = append(change.KV, soar.KV{Key: "approval/" + a.ID, Value: string(data)})
	}
	if _, err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	ids := []string{"aaaa000001", "aaaa000002", "aaaa000003"}
	for _, tt := range []struct {
		line     []string
		code     int
		out, err []string
		listed   []string
	}{
		{[]string{"list"}, exitOK, []string{"1 of 2", "leads", "May playbook contain-miner do host.contain"}, nil, ids[:1]},
		{[]string{"list", "--all"}, exitOK, nil, nil, ids},
		{[]string{"list", "--state", "denied"}, exitOK, nil, nil, ids[1:2]},
		{[]string{"list", "--state", "expired", "-o", "jsonl", "--jq", ".id"}, exitOK, nil, nil, ids[2:]},
		{[]string{"list", "--state", "approved"}, exitOK, nil, []string{"nothing to list"}, nil},
		{[]string{"list", "--state", "open"}, exitUsage, nil, []string{"expected one of [waiting"}, nil},
		{[]string{"list", "--state", "denied", "--all"}, exitUsage, nil, []string{"either --state or --all"}, nil},
		{[]string{"show", ids[0]}, exitOK, []string{"host.contain host=h-1", "pc-1 (h-1)", "silence denies it", "not whoever started the run", "dan", `a \x1b[31mreal one`, "command line of root"}, nil, ids[:1]},
		{[]string{"show", ids[0], "-o", "json", "--jq", ".with.host"}, exitOK, []string{`"h-1"`}, nil, nil},
		{[]string{"show", "nothing"}, exitNotFound, nil, []string{`approval "nothing"`}, nil},
		{[]string{"approve", ids[0]}, exitUsage, nil, []string{"--reason is needed"}, nil},
		{[]string{"approve", ids[0], "--reason", "seen"}, exitFailed, nil, []string{"erbridge is not running", "everything is checked again"}, nil},
		{[]string{"deny", ids[0], "--reason", "seen", "--by", "ben"}, exitFailed, nil, []string{"erbridge is not running"}, nil},
	} {
		stdout, stderr, code := erbridge(t, "", append(append([]string{"approvals"}, tt.line...), "-c", config)...)
		if code != tt.code {
			t.Errorf("approvals %s: exit code %d, want %d\n%s%s", strings.Join(tt.line, " "), code, tt.code, stdout, stderr)
		}
		for _, want := range tt.out {
			if !strings.Contains(stdout, want) {
				t.Errorf("approvals %s has no %q:\n%s", strings.Join(tt.line, " "), want, stdout)
			}
		}
		for _, want := range tt.err {
			if !strings.Contains(stderr, want) {
				t.Errorf("approvals %s says %q, not %q", strings.Join(tt.line, " "), stderr, want)
			}
		}
		for _, id := range ids {
			if tt.listed != nil && strings.Contains(stdout, id) != slices.Contains(tt.listed, id) {
				t.Errorf("approvals %s, want %v:\n%s", strings.Join(tt.line, " "), tt.listed, stdout)
			}
		}
	}
}
