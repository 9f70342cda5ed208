package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

const waitingPlaybook = `playbook: waiting
steps:
  - {id: stop, do: process.kill, with: {host: HOST-1, pid: 7, name: evil.exe}}
  - {id: tell, do: alert.note, with: {text: stopped}}`

// waitingRuns are runs of which a step waits for its host, one for each severity; it
// returns their ids.
func waitingRuns(t *testing.T, dir string, severities ...soar.Severity) (ids []soar.RunID) {
	t.Helper()
	pb, problems := playbooks.Parse("waiting.yaml", []byte(waitingPlaybook), actions.All(actions.Deps{}))
	if problems != nil {
		t.Fatal(problems)
	}
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	now := time.Now().UTC()
	change := soar.Change{Playbooks: []soar.PlaybookVersion{{Hash: pb.Hash, Name: pb.Name, Source: pb.Source}}}
	for i, severity := range severities {
		key := int64(i + 1)
		id := soar.NewRunID(now)
		ids = append(ids, id)
		alert := soar.Alert{Server: "er", ID: string(rune('a' + i)), Severity: severity, CreatedAt: now, Event: map[string]string{}}
		change.Alerts = append(change.Alerts, alert)
		change.Evaluated = append(change.Evaluated, soar.Evaluation{AlertKey: key})
		change.Runs = append(change.Runs, soar.Run{
			ID: id, AlertKey: key, Alert: alert.Ref(), Playbook: pb.Name, Version: pb.Hash, Mode: soar.ModeEnforce, State: soar.RunWaiting,
			Wake: now.Add(time.Hour), StartedAt: now,
		})
		body, err := json.Marshal(playbooks.Decision{
			Since: now, Answers: []playbooks.Answer{{Check: "ready", Words: "WIN-1: host is offline", Until: now.Add(time.Minute)}},
			Waits: &playbooks.Waits{Action: "process.kill", Host: "HOST-1", Until: now.Add(24 * time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
		change.Entries = append(change.Entries, soar.Entry{Run: id, Seq: 1, At: now, Kind: soar.EntryNote, Body: []byte(`{"text":"began"}`)},
			soar.Entry{Run: id, Seq: 2, At: now, Step: "stop", Kind: soar.EntryDecision, Body: body})
	}
	if _, err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// The queue lists the most urgent first, and what is called off leaves it.
func TestQueue(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	ids := waitingRuns(t, dir, soar.SeverityLow, soar.SeverityCritical, soar.SeverityHigh)

	list := func() []queued {
		t.Helper()
		stdout, stderr, code := erbridge(t, "", "queue", "list", "-c", file, "-o", "json")
		var list []queued
		if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitOK {
			t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
		}
		return list
	}
	before := list()
	if len(before) != 3 || before[0].Run != ids[1] || before[1].Run != ids[2] || before[2].Run != ids[0] {
		t.Fatalf("queue %+v", before)
	}
	if q := before[0]; q.Step != "stop" || q.Action != "process.kill" || q.Host != "HOST-1" || q.Words != "WIN-1: host is offline" || q.Until.Sub(q.Since) != 24*time.Hour {
		t.Errorf("first %+v", q)
	}
	if stdout, _, _ := erbridge(t, "", "queue", "list", "-c", file, "--limit", "1"); strings.Count(stdout, "process.kill") != 1 || !strings.Contains(stdout, ids[1].String()) {
		t.Errorf("the first one:\n%s", stdout)
	}

	for _, tt := range []struct {
		line []string
		code int
		want string
	}{
		{[]string{ids[1].String(), "--reason", "wrong machine", "--by", "ann"}, exitOK, "cancelled: run " + ids[1].String() + "\n"},
		{[]string{ids[1].String(), "--reason", "again", "--by", "ann"}, exitFailed, "is cancelled already"},
		{[]string{ids[2].String(), "--step", "tell", "--reason", "wrong machine", "--by", "ann"}, exitFailed, "step tell of run " + ids[2].String() + " has not begun"},
		{[]string{ids[2].String(), "--step", "stop", "--reason", "wrong machine", "--by", "ann"}, exitOK, "cancelled: step stop of run " + ids[2].String() + "\n"},
	} {
		stdout, stderr, code := erbridge(t, "", append([]string{"runs", "cancel", "-c", file}, tt.line...)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("runs cancel %s: exit code %d\n%s%s", strings.Join(tt.line, " "), code, stdout, stderr)
		}
	}
	if after := list(); len(after) != 1 || after[0].Run != ids[0] {
		t.Errorf("queue %+v", after)
	}
	stdout, _, _ := erbridge(t, "", "runs", "show", ids[1].String(), "-c", file)
	if !strings.Contains(stdout, "cancelled by "+daemon.SignedHere("ann")+": wrong machine") || !strings.Contains(stdout, "state     cancelled") {
		t.Errorf("the run:\n%s", stdout)
	}
}
