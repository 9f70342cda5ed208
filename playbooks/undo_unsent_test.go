package playbooks

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Of a run that was given up, nothing is taken back that was never sent: a step that waits
// after its intent, because the kill switch had caught its call. Somebody else may have
// done the same.
func TestWhatWasCaughtIsNotTakenBack(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	waits := Decision{Answers: []Answer{{Check: "kill switch", Words: "paused"}}, Since: at}
	first, again, second := Intent{Action: "fake.once", Attempt: 1}, Intent{Action: "fake.once", Attempt: 1, Again: true}, Intent{Action: "fake.once", Attempt: 2}
	for _, tt := range []struct {
		name    string
		entries []any
		sent    bool
	}{
		{"sent", []any{first}, true},
		{"sent after it had waited", []any{waits, first}, true},
		{"caught", []any{first, waits}, false},
		{"caught, and sent later", []any{first, waits, first}, true},
		{"caught after its answer was lost", []any{first, again, waits}, true},
		{"caught at the second attempt", []any{first, second, waits}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var entries []soar.Entry
			for i, body := range tt.entries {
				data, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				kind := soar.EntryIntent
				if _, decision := body.(Decision); decision {
					kind = soar.EntryDecision
				}
				entries = append(entries, soar.Entry{Seq: i, Step: "put", Kind: kind, At: at, Body: data})
			}
			if steps := stepsToUndo(entries, "", true); (len(steps) == 1) != tt.sent {
				t.Errorf("to be taken back: %+v", steps)
			}
		})
	}
}
