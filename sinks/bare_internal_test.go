package sinks

import (
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// An event may have lost what its type stands for: a person edits dead letters, and what
// is in a store that cannot be read is told by its id. No form of it may panic.
func TestBareEvents(t *testing.T) {
	for _, word := range append(EventTypes(), "alert.grouped", "digest", "heartbeat", "unheard.of") {
		for name, ev := range map[string]soar.Event{
			"bare":    {},
			"alert":   {Alert: &soar.Alert{}},
			"run":     {Run: &soar.RunSummary{}},
			"outcome": {Outcome: &soar.Outcome{}, Alert: &soar.Alert{}},
			"change":  {Change: &soar.AlertChange{}},
			"undo":    {Undo: &soar.Undo{}},
			"group":   {Group: &soar.Group{}},
			"row":     {Row: &soar.Row{}},
			"asked":   {Approval: &soar.Approval{}},
		} {
			ev.ID, ev.Type, ev.At = "e", soar.EventType(word), time.Unix(1, 0)
			t.Run(word+" "+name, func(t *testing.T) {
				for _, form := range format.Names() {
					f, err := format.New(form, format.Options{})
					if err != nil {
						t.Fatal(err)
					}
					_, _ = f(&ev) // an error is an answer
				}
				noticeOf(&ev)
				eventCard(&ev, true, slackButtons{})
				eventCard(&ev, false, slackButtons{})
				trigger(&ev, "k")
				if _, err := teamsMessage(&ev, "v"); err != nil {
					t.Error(err)
				}
				if _, err := fitPayload(ev); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
