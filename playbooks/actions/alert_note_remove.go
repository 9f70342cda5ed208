package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertNoteRemove are the arguments of alert.note_remove.
type AlertNoteRemove struct {
	// Note is the server's id of the note, as alert.note leaves it. Its author must be the
	// account of erbridge.
	Note Number `yaml:"note" required:"true"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertNoteRemoveOutput is what alert.note_remove leaves under .steps.<id>.output.
type AlertNoteRemoveOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
	// Note is the id that the note had.
	Note int64 `json:"note"`
	// Text is what the note said; empty when it was gone already.
	Text string `json:"text"`
	// WrittenAt is when it was written.
	WrittenAt time.Time `json:"written_at,omitzero"`
}

func init() {
	remove := change[AlertNoteRemove, AlertNoteRemoveOutput]{
		make: removeNote,
		look: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteRemove, _ AlertNoteRemoveOutput) (string, error) {
			alert, _, found, err := d.note(ctx, call, in.Alert, in.Note)
			if err != nil || !found {
				return "", err
			}
			return fmt.Sprintf("note %d is still on alert %d", in.Note, alert), nil
		},
		words: func(_ playbooks.Call, _ AlertNoteRemove, changed AlertNoteRemoveOutput) string {
			return fmt.Sprintf("removed note %d from alert %d", changed.Note, changed.Alert)
		},
	}
	add(kind[AlertNoteRemove]{
		Spec: playbooks.Spec{
			Name: "alert.note_remove",
			// It has no inverse: a note that is written again has another id and another time.
			Summary: "Removes an analyst note from an alert, for good. What it said stays in the run.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"enterprise"},
			Output:  AlertNoteRemoveOutput{},
			Example: "do: alert.note_remove\nwith:\n  note: 17\n",
			Timeout: 2 * time.Minute,
		},
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteRemove) error {
			alert, note, found, err := d.note(ctx, call, in.Alert, in.Note)
			switch {
			case err != nil:
				return err
			case !found:
				return fmt.Errorf("%w: alert %d has no note %d", playbooks.ErrNothingToDo, alert, in.Note)
			}
			return d.ownNote(ctx, alert, note)
		},
		do:   remove.do,
		poll: remove.poll,
	})
}

func removeNote(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteRemove) (AlertNoteRemoveOutput, error) {
	changed := AlertNoteRemoveOutput{Note: int64(in.Note)}
	alert, note, found, err := d.note(ctx, call, in.Alert, in.Note)
	changed.Alert = alert
	if err != nil || !found {
		return changed, err
	}
	changed.Text, changed.WrittenAt = note.Text, note.CreatedAt
	if err := d.Client.Alerts.DeleteNote(ctx, alert, note.ID, connector.DeleteForGood); err != nil {
		return changed, fmt.Errorf("note %d on alert %d: %w", note.ID, alert, effectError(err))
	}
	return changed, nil
}
