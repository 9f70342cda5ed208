package actions

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertNoteEdit are the arguments of alert.note_edit.
type AlertNoteEdit struct {
	// Note is the server's id of the note, as alert.note leaves it. Its author must be the
	// account of erbridge.
	Note Number `yaml:"note" required:"true"`

	// Text takes the place of the old text, all of it. Control characters and those that
	// turn the direction of writing are spelled out, as \x1b or U+202E.
	Text string `yaml:"text" required:"true"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertNoteEditOutput is what alert.note_edit leaves under .steps.<id>.output.
type AlertNoteEditOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
	// Note is the server's id of the note.
	Note int64 `json:"note"`
	// TextWas is the text that the note had before; empty when it had this one already.
	TextWas string `json:"text_was"`
}

// maxEditRunes leaves room for what alert.note puts below a text of full length.
const maxEditRunes = maxNoteRunes + 4000

func init() {
	edit := change[AlertNoteEdit, AlertNoteEditOutput]{
		make: editNote,
		look: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteEdit, _ AlertNoteEditOutput) (string, error) {
			alert, note, found, err := d.note(ctx, call, in.Alert, in.Note)
			switch {
			case err != nil:
				return "", err
			case !found:
				return fmt.Sprintf("alert %d has no note %d any more", alert, in.Note), nil
			case !in.saidBy(note.Text):
				return fmt.Sprintf("note %d on alert %d has another text", in.Note, alert), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, _ AlertNoteEdit, changed AlertNoteEditOutput) string {
			return fmt.Sprintf("rewrote note %d on alert %d", changed.Note, changed.Alert)
		},
	}
	add(kind[AlertNoteEdit]{
		Spec: playbooks.Spec{
			Name:    "alert.note_edit",
			Summary: "Rewrites an analyst note on an alert.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"enterprise"},
			Inverse: "alert.note_edit",
			Output:  AlertNoteEditOutput{},
			Example: "do: alert.note_edit\nwith:\n  note: 17\n  text: \"contained ${{ .alert.host.name }}, and released again\"\n",
			Timeout: 2 * time.Minute,
		},
		prose: []string{"text"},
		check: func(_ *Deps, in *AlertNoteEdit, a *arguments) {
			if a.known("text") && utf8.RuneCountInString(in.Text) > maxEditRunes {
				a.refuse("text", "", "has more than %d characters", maxEditRunes)
			}
		},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteEdit) (any, error) {
			alert, note, found, err := d.note(ctx, call, in.Alert, in.Note)
			switch {
			case err != nil:
				return nil, err
			case !found:
				return nil, fmt.Errorf("alert %d has no note %d", alert, in.Note)
			case in.saidBy(note.Text):
				return nil, fmt.Errorf("%w: note %d on alert %d has this text", playbooks.ErrNothingToDo, in.Note, alert)
			}
			return AlertNoteEditOutput{Alert: alert, Note: int64(in.Note), TextWas: note.Text}, d.ownNote(ctx, alert, note)
		},
		do:   edit.do,
		poll: edit.poll,
		reverse: func(_ playbooks.Call, _ AlertNoteEdit, output map[string]any) *playbooks.Reversal {
			if outputText(output, "text_was") == "" {
				return nil
			}
			return &playbooks.Reversal{Do: "alert.note_edit", With: map[string]any{
				"alert": output["alert"], "note": output["note"], "text": output["text_was"],
			}}
		},
	})
}

func editNote(ctx context.Context, d *Deps, call playbooks.Call, in AlertNoteEdit) (AlertNoteEditOutput, error) {
	changed := AlertNoteEditOutput{Note: int64(in.Note)}
	alert, note, found, err := d.note(ctx, call, in.Alert, in.Note)
	changed.Alert = alert
	switch {
	case err != nil:
		return changed, err
	case !found:
		return changed, fmt.Errorf("alert %d has no note %d", alert, in.Note)
	case in.saidBy(note.Text):
		return changed, nil
	}
	changed.TextWas = note.Text
	if err := d.Client.Alerts.UpdateNote(ctx, alert, note.ID, soar.Visible(in.Text)); err != nil {
		return changed, fmt.Errorf("note %d on alert %d: %w", note.ID, alert, effectError(err))
	}
	return changed, nil
}

// saidBy reports whether a note has the text. Blanks at its ends say nothing.
func (in AlertNoteEdit) saidBy(text string) bool {
	return strings.TrimSpace(text) == strings.TrimSpace(soar.Visible(in.Text))
}
