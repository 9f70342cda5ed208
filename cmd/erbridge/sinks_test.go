package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
)

const routedConfig = `
server: {url: "https://127.0.0.1:1", username: admin, password: {file: pw}, retries: 0, timeout: 1s}
console: {listen: ""}
store: {path: data}
sinks:
  siem: {type: file, path: siem.ndjson}
  soc: {type: file, path: soc.ndjson, events: [alert.received]}
  paging: {type: file, path: paging.ndjson, when: '.alert.severity | at_least("high")'}
routes:
  - {name: ransom, when: '.alert.rule.name | test("(?i)ransom")', to: [soc, paging], continue: true}
  - {name: lab, when: '.alert.host.name | startswith("lab-")', to: []}
`

// deliveries is a store with four events that siem has passed, and some dead letters.
func deliveries(t *testing.T, letters ...soar.DeadLetter) (config string) {
	t.Helper()
	dir := t.TempDir()
	config = write(t, dir, "erbridge.yaml", strings.Replace(routedConfig, `to: []`, `to: [soc]`, 1))
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	change := soar.Change{DeadLetters: letters, Sinks: []soar.SinkCursor{{Sink: "siem", Pos: 4}, {Sink: "soc", Pos: 0}}}
	for i := range 4 {
		change.Events = append(change.Events, soar.Event{
			ID: fmt.Sprint("note-", i), Type: soar.EventNotification, At: time.Date(2026, 11, 20, 10+i, 0, 0, 0, time.UTC), Text: "x",
		})
	}
	change.Events[2].Type = soar.EventRunStarted // not one that siem gets
	_, err = s.Commit(ctx, change)
	cancel()
	if err := errors.Join(err, <-ended, s.Close()); err != nil {
		t.Fatal(err)
	}
	return config
}

// commandCase is one command line and what comes of it.
type commandCase struct {
	name   string
	line   []string
	stdin  string
	code   int
	stdout []string
	stderr string
}

func runCases(t *testing.T, config string, cases []commandCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, tt.stdin, append(tt.line, "-c", config)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, stderr)
			}
			for _, words := range tt.stdout {
				if !strings.Contains(stdout, words) {
					t.Errorf("%q is missing:\n%s", words, stdout)
				}
			}
		})
	}
}

func TestSinksPauseAndResumeWithoutADaemon(t *testing.T) {
	runCases(t, deliveries(t), []commandCase{
		{"resume what runs nowhere", []string{"sinks", "resume", "siem"}, "", exitFailed, nil, "erbridge is not running"},
		{"pause", []string{"sinks", "pause", "siem", "--reason", "SIEM moves", "--by", "ada"}, "", exitOK, []string{"siem: paused, its events are kept until erbridge sinks resume siem"}, ""},
		{"pause again", []string{"sinks", "pause", "siem", "--by", "bob"}, "", exitOK, nil, ""},
		{"list", []string{"sinks", "list"}, "", exitOK, []string{"paused by " + daemon.SignedHere("ada") + ": SIEM moves"}, ""},
		{"list as JSON", []string{"sinks", "list", "-o", "json", "--jq", ".[0].held.reason"}, "", exitOK, []string{`"SIEM moves"`}, ""},
		{"pause of none", []string{"sinks", "pause", "sime"}, "", exitNotFound, nil, `did you mean "siem"?`},
		{"resume", []string{"sinks", "resume", "siem", "--by", "bob"}, "", exitOK, []string{"was paused by a person, goes on now"}, ""},
		{"the audit record", []string{"audit", "list"}, "", exitOK, []string{"sink siem paused", "sink siem resumed", "bob"}, ""},
		{"list afterwards", []string{"sinks", "list", "-o", "json", "--jq", ".[0].held"}, "", exitOK, []string{"null"}, ""},
	})
}

func TestSinksReplay(t *testing.T) {
	runCases(t, deliveries(t), []commandCase{
		{"no time", []string{"sinks", "replay", "siem"}, "", exitUsage, nil, "--since is needed"},
		{"odd time", []string{"sinks", "replay", "siem", "--since", "noon"}, "", exitUsage, nil, "expected a date, a time"},
		{"the future", []string{"sinks", "replay", "siem", "--since", "2999-01-01"}, "", exitUsage, nil, "has not come yet"},
		{"backwards", []string{"sinks", "replay", "siem", "--since", "2026-11-20", "--until", "2026-11-19"}, "", exitUsage, nil, "is not after --since"},
		{"odd type", []string{"sinks", "replay", "siem", "--since", "2026-11-20", "--type", "alert"}, "", exitUsage, nil, "expected alert.received"},
		{"no such sink", []string{"sinks", "replay", "sime", "--since", "2026-11-20"}, "", exitNotFound, nil, `did you mean "siem"?`},
		{"no such sink, dry", []string{"sinks", "replay", "sime", "--since", "2026-11-20", "--dry-run"}, "", exitNotFound, nil, `did you mean "siem"?`},
		{"dry", []string{"sinks", "replay", "siem", "--since", "2026-11-19", "--dry-run"}, "", exitOK,
			[]string{"3 events", "notification 3", "2026-11-20 10:00:00Z", "2026-11-20 13:00:00Z", "what happened before 2026-11-20 10:00:00Z is not in the store any more"}, ""},
		{"dry, a part", []string{"sinks", "replay", "siem", "--since", "2026-11-20T11:00:00Z", "--until", "2026-11-20T13:00:00Z", "--dry-run", "-o", "json", "--jq", ".events"}, "", exitOK, []string{"1"}, ""},
		{"passed nothing", []string{"sinks", "replay", "soc", "--since", "2026-11-20"}, "", exitFailed, nil, "there is nothing to deliver again"},
		{"call off none", []string{"sinks", "replay", "siem", "--cancel"}, "", exitNotFound, nil, "a replay to sink siem"},
		{"order", []string{"sinks", "replay", "siem", "--since", "2026-11-20T11:00:00Z", "--by", "ada", "--reason", "the SIEM lost a disk"}, "", exitOK, []string{"siem: replays what it passed since 2026-11-20 11:00:00Z: up to 3 events"}, ""},
		{"again", []string{"sinks", "replay", "siem", "--since", "2026-11-20"}, "", exitFailed, nil, "a replay is under way"},
		{"list", []string{"sinks", "list"}, "", exitOK, []string{"REPLAY", "0 sent, 3 to look at"}, ""},
		{"call off with more", []string{"sinks", "replay", "siem", "--cancel", "--since", "1h"}, "", exitUsage, nil, "--cancel goes alone"},
		{"call off", []string{"sinks", "replay", "siem", "--cancel", "--by", "ada"}, "", exitOK, []string{"is called off; 0 events went out"}, ""},
		{"audit", []string{"audit", "list"}, "", exitOK, []string{"replay to sink siem ordered, since 2026-11-20T11:00:00Z", "the SIEM lost a disk", "replay to sink siem called off"}, ""},
	})
}

func TestRouteTest(t *testing.T) {
	config := deliveries(t)
	dir := t.TempDir()
	alert := func(name, rule, host, severity string) string {
		return write(t, dir, name, fmt.Sprintf(`{"server": "er", "id": "7", "severity": %q, "status": "open", "rule": {"id": 1, "name": %q}, "host": {"name": %q}, "event": {}}`, severity, rule, host))
	}
	ransom, low := alert("ransom.json", "Ransomware note", "PC-1", "critical"), alert("low.json", "Odd login", "PC-1", "low")
	noRule := write(t, dir, "norule.json", `{"server": "er", "id": "8", "severity": "high", "status": "open", "host": {"name": "PC-1"}, "event": {}}`)
	runCases(t, config, []commandCase{
		{"neither", []string{"route", "test"}, "", exitUsage, nil, "--alert, or a file with --file"},
		{"no such alert", []string{"route", "test", "--alert", "er-99"}, "", exitNotFound, nil, "er-99"},
		{"no such file", []string{"route", "test", "--file", "absent.json"}, "", exitNotFound, nil, "absent.json"},
		{"odd type", []string{"route", "test", "--file", ransom, "--event", "alert"}, "", exitUsage, nil, "--event"},
		{"by a route", []string{"route", "test", "--file", ransom, "-o", "jsonl", "--jq", `"\(.sink) \(.delivered) \(.by)"`}, "", exitOK,
			[]string{`"siem true no filter"`, `"soc true route ransom"`, `"paging true route ransom"`}, ""},
		{"by events", []string{"route", "test", "--file", ransom, "--event", "run.finished"}, "", exitOK, []string{"events does not have run.finished"}, ""},
		{"by no route", []string{"route", "test", "--file", low}, "", exitOK, []string{"no route takes it"}, ""},
		{"from standard input", []string{"route", "test", "--file", "-"}, `{"server": "er", "id": "9", "severity": "high", "rule": {"id": 1, "name": "x"}, "host": {"name": "lab-1"}, "event": {}}`, exitOK, []string{"route lab"}, ""},
		{"a condition that fails", []string{"route", "test", "--file", noRule}, "", exitFailed, []string{"error"}, "would be set aside as a dead letter"},
	})
	alone := write(t, t.TempDir(), "erbridge.yaml", strings.NewReplacer("{type: stdout}", "{type: stdout, events: [trouble]}", "playbooks: {dir: playbooks}\n", "").Replace(goodConfig))
	if _, stderr, code := erbridge(t, "", "route", "test", "--file", ransom, "-c", alone); code != exitFailed || !strings.Contains(stderr, "no sink would get it") {
		t.Errorf("an alert that goes nowhere: exit code %d\n%s", code, stderr)
	}
}

func TestDeadLettersManyAndEdited(t *testing.T) {
	payload := func(id string) []byte {
		data, err := json.Marshal(soar.Event{ID: id, Type: soar.EventNotification, Text: "before"})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	now := time.Now()
	config := deliveries(t,
		soar.DeadLetter{Origin: "sink:siem", At: now.Add(-48 * time.Hour), Reason: "mapping conflict", EventID: "e1", Payload: payload("e1")},
		soar.DeadLetter{Origin: "sink:siem", At: now, Reason: "Mapping Conflict", EventID: "e2", Payload: payload("e2")},
		soar.DeadLetter{Origin: "sink:soc", At: now, Reason: "too large", EventID: "e3", Payload: payload("e3")},
		soar.DeadLetter{Origin: "source:push", At: now, Reason: "not JSON", Payload: []byte("{")},
	)
	dir := t.TempDir()
	otherID := write(t, dir, "id.json", string(payload("e9")))
	unknown := write(t, dir, "unknown.json", `{"id":"e2","type":"notification","at":"2026-11-20T10:00:00Z","txet":"x"}`)
	corrected := write(t, dir, "good.json", `{"id": "e2", "type": "notification", "at": "2026-11-20T10:00:00Z", "text": "from a file"}`)
	editor := write(t, dir, "editor.sh", "#!/bin/sh\nsed -i 's/before/by hand/' \"$1\"\n")
	if err := os.Chmod(editor, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", editor)
	runCases(t, config, []commandCase{
		{"list of a sink", []string{"deadletters", "list", "--sink", "siem", "--jq", ".event_id"}, "", exitOK, []string{"\"e2\"\n\"e1\"\n"}, ""},
		{"list by reason and time", []string{"deadletters", "list", "--reason", "conflict", "--since", "1h", "-o", "json", "--jq", "map(.event_id)"}, "", exitOK, []string{"[\n  \"e2\"\n]"}, ""},
		{"two ways to say which", []string{"deadletters", "list", "--sink", "a", "--origin", "sink:b"}, "", exitUsage, nil, "exclude each other"},
		{"edit with jq", []string{"deadletters", "edit", "1", "--set", `.text = "after"`, "--by", "ada"}, "", exitOK, []string{"dead letter 1 changed"}, ""},
		{"show the edit", []string{"deadletters", "show", "1"}, "", exitOK, []string{`"text": "after"`, `"id": "e1"`}, ""},
		{"edit without effect", []string{"deadletters", "edit", "1", "--set", "."}, "", exitOK, []string{"is as it was"}, ""},
		{"edit the id", []string{"deadletters", "edit", "2", "--file", otherID}, "", exitUsage, nil, `the id of the event is "e9" and must stay "e2"`},
		{"edit the type", []string{"deadletters", "edit", "2", "--set", `.type = "trouble"`}, "", exitUsage, nil, "must stay \"notification\""},
		{"edit a name", []string{"deadletters", "edit", "2", "--file", unknown}, "", exitUsage, nil, `unknown field "txet"`},
		{"edit to two values", []string{"deadletters", "edit", "2", "--set", ".,."}, "", exitFailed, nil, "gave 2 values"},
		{"edit from a file", []string{"deadletters", "edit", "2", "--file", corrected}, "", exitOK, []string{"changed"}, ""},
		{"edit in an editor", []string{"deadletters", "edit", "3"}, "", exitOK, []string{"changed"}, ""},
		{"show what the editor did", []string{"deadletters", "show", "3"}, "", exitOK, []string{`"text": "by hand"`}, ""},
		{"edit input", []string{"deadletters", "edit", "4", "--file", "-"}, `{"id": 5}`, exitOK, []string{"changed"}, ""},
		{"edit none", []string{"deadletters", "edit", "99", "--set", "."}, "", exitNotFound, nil, "dead letter 99"},
		{"the audit record", []string{"audit", "list"}, "", exitOK, []string{"dead letter 1 of sink:siem edited (event e1): SHA-256 of the payload was ", daemon.SignedHere("ada")}, ""},
		{"drop without a word", []string{"deadletters", "drop"}, "", exitUsage, nil, "name dead letters, or choose them"},
		{"drop both ways", []string{"deadletters", "drop", "1", "--sink", "siem"}, "", exitUsage, nil, "not both"},
		{"drop, nobody answers", []string{"deadletters", "drop", "--sink", "siem"}, "", exitFailed, nil, "This forgets 2 dead letters (sink:siem: 2). Go on? [y/N] \nerbridge: not confirmed, no dead letter was dropped"},
		{"drop none", []string{"deadletters", "drop", "--reason", "nosuch", "--yes"}, "", exitOK, nil, "no dead letter is like that"},
		{"drop", []string{"deadletters", "drop", "--sink", "siem", "--since", "1h"}, "y\n", exitOK, []string{"1 dead letter dropped"}, ""},
		{"replay", []string{"deadletters", "replay", "--reason", "mapping", "--yes"}, "", exitOK, []string{"1 dead letter replayed"}, ""},
		{"what is left", []string{"deadletters", "list", "-o", "json", "--jq", "map(.id)"}, "", exitOK, []string{"[\n  4,\n  3\n]"}, ""},
	})
}

// What a person has to know of a sink stands in one line.
func TestSinkNote(t *testing.T) {
	dropped, lost := int64(2), int64(3)
	got := sinkNote(daemon.SinkStatus{
		LastError: "403", StandsAt: &sinks.Standstill{Event: "e1", Attempts: 4, Batch: 5}, OverBacklog: true, Dropped: &dropped, Lost: &lost,
	})
	if want := "403; stands at event e1 after 4 attempts, the last with 5 events, any of which may be at fault; more than max_backlog waits; 2 dropped since start; 3 lost by the receiver since start"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
}
