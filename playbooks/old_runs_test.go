package playbooks

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// oldBook and the journals below are as they were written while a run had one place,
// its PC. Runs of that time must be gone on with for as long as they may wait.
const oldBook = `
playbook: old
steps:
  - {id: look, do: fake.read}
  - id: hit
    do: fake.once
    timeout: 2h
    with: {a: "1"}
    on_error:
      - {id: tell, do: fake.repeat, with: {was: "${{ .steps.hit.error }}"}}
      - {id: more, do: fake.repeat, with: {was: "${{ .steps.tell.state }}"}}
  - {id: after, do: fake.repeat, with: {was: "${{ .steps.hit.state }}"}}
`

const (
	oldStart = `note||{"text":"read before the start","enrich":{},"host":{"name":"pc-1"}}
decision||{"answers":[{"check":"mode","ok":true,"words":"enforce: playbook and engine enforce"}]}
result|look|{"action":"fake.read","state":"executed","output":{"read":"fake.read","with":{}}}
decision|hit|{"answers":[{"check":"mode","ok":true,"words":"enforce: playbook and engine enforce"}]}
intent|hit|{"action":"fake.once","effect":"once","with":{"a":"1"},"mark":"MARK","attempt":1,"started":"NOW"}
`
	oldSent    = `sent|hit|{"target":"host-1","summary":"did it","started":"NOW"}` + "\n"
	oldFailed  = `result|hit|{"action":"fake.once","state":"failed","error":"no such host"}` + "\n"
	oldUnknown = `result|hit|{"action":"fake.once","state":"unknown","error":"the answer was lost"}` + "\n"
	oldRetry   = `note|hit|{"text":"trying again","error":"busy","retry":2,"started":"NOW"}` + "\n"
)

func TestOldRunsGoOn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		state   soar.RunState
		pc      int
		entries string
		known   bool // the server has the command
		end     soar.RunState
		said    string // by fake.repeat
		sent    int    // commands in all
	}{
		{"waits for its host", soar.RunWaiting, 1, oldStart + oldSent, true, soar.RunDone, "executed", 1},
		{"died before the command id came", soar.RunRunning, 1, oldStart, true, soar.RunDone, "executed", 1},
		{"died before the call", soar.RunRunning, 1, oldStart, false, soar.RunDone, "executed", 1},
		{"waits for another attempt", soar.RunWaiting, 1, oldStart + oldRetry, false, soar.RunDone, "executed", 1},
		{"failed, and handles it", soar.RunRunning, 2, oldStart + oldFailed, false, soar.RunFailed, "no such host,executed", 0},
		{"has handled half of it", soar.RunRunning, 3, oldStart + oldFailed + `result|tell|{"action":"fake.repeat","state":"executed"}` + "\n", false,
			soar.RunFailed, "executed", 0},
		{"is settled", soar.RunUnknown, 1, oldStart + oldUnknown, false, soar.RunDone, "executed", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				id := soar.NewRunID(time.Now())
				pb := loadText(t, actions, oldBook).Get("old")
				j.put(t, testAlert("1"))
				change := soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1}}, Playbooks: []soar.PlaybookVersion{pb.version()}}
				run := soar.Run{
					ID: id, AlertKey: 1, Alert: "er-1", Playbook: "old", Version: pb.Hash, Mode: soar.ModeEnforce, State: tt.state, PC: tt.pc, Epoch: 1,
					StartedAt: time.Now(),
				}
				if tt.state == soar.RunWaiting {
					run.Wake = time.Now().Add(time.Second)
				}
				if tt.pc > 1 {
					run.Error = "step hit: no such host"
				}
				change.Runs = []soar.Run{run}
				if tt.known {
					server.take("fake.once", Call{With: map[string]any{"a": "1"}})
				}
				text := strings.NewReplacer("MARK", mark(id, "hit", 1), "NOW", time.Now().UTC().Format(time.RFC3339Nano)).Replace(tt.entries)
				for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
					part := strings.SplitN(line, "|", 3)
					entry := soar.Entry{Run: id, Seq: i + 1, At: time.Now(), Step: part[1], Kind: soar.EntryKind(part[0]), Body: json.RawMessage(part[2])}
					if entry.Kind == soar.EntrySent {
						entry.Ref = "c1"
					}
					change.Entries = append(change.Entries, entry)
				}
				if _, err := j.Commit(t.Context(), change); err != nil {
					t.Fatal(err)
				}
				e, stop := running(t, j, actions, nil, EngineOptions{})
				if tt.state == soar.RunUnknown {
					if err := e.Settle(t.Context(), id, "look", true, "ann", ""); !errors.Is(err, ErrNotUnknown) {
						t.Errorf("settling another step: %v", err)
					}
					if err := e.Settle(t.Context(), id, "hit", true, "ann", "saw it"); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				stop()
				var said []string
				for _, c := range server.done("fake.repeat") {
					said = append(said, c.with["was"].(string))
				}
				run = j.all()[0]
				if got := strings.Join(said, ","); run.State != tt.end || got != tt.said || len(server.done("fake.once")) != tt.sent {
					t.Errorf("run %s (%s), said %q, %d commands; want %s, %q, %d", run.State, run.Error, got, len(server.done("fake.once")), tt.end, tt.said, tt.sent)
				}
				if tt.end == soar.RunFailed && run.Error != "step hit: no such host" {
					t.Errorf("run error %q", run.Error)
				}
			})
		})
	}
}
