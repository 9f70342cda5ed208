package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertNote are the arguments of alert.note.
type AlertNote struct {
	// Text is the note. A line that names the run is added to it. Control characters
	// and those that turn the direction of writing are spelled out, as \x1b or U+202E.
	Text string `yaml:"text" required:"true"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertNoteOutput is what alert.note leaves under .steps.<id>.output.
type AlertNoteOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
	// Note is the server's id of the note.
	Note int64 `json:"note"`
}

// maxNoteRunes keeps notes readable; what is longer is cut.
const maxNoteRunes = 16000

func init() {
	add(kind[AlertNote]{
		Spec: playbooks.Spec{
			Name:    "alert.note",
			Summary: "Adds an analyst note to an alert.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise"},
			Inverse: "alert.note_remove",
			Output:  AlertNoteOutput{},
			Example: "do: alert.note\nwith:\n  text: \"contained ${{ .alert.host.name }}\"\n",
			Timeout: 2 * time.Minute,
		},
		prose: []string{"text"},
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNote) error {
			_, _, err := d.notes(ctx, call, in.Alert)
			return err
		},
		do: addNote,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertNote, ref string) (playbooks.Outcome, error) {
			id, err := d.alertID(call, in.Alert)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			note, err := strconv.ParseInt(strings.TrimPrefix(ref, "note:"), 10, 64)
			if err != nil {
				return playbooks.Outcome{}, fmt.Errorf("note reference %q: %w", ref, err)
			}
			return d.noteOutcome(ctx, id, note, noteMark(call.Mark)), nil
		},
		find: findNote,
		reverse: func(_ playbooks.Call, _ AlertNote, output map[string]any) *playbooks.Reversal {
			if note, _ := output["note"].(float64); note <= 0 {
				return nil
			}
			return &playbooks.Reversal{Do: "alert.note_remove", With: map[string]any{"alert": output["alert"], "note": output["note"]}}
		},
	})
}

func addNote(ctx context.Context, d *Deps, call playbooks.Call, in AlertNote) (playbooks.Outcome, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	text := clipRunes(soar.Visible(in.Text), maxNoteRunes) + "\n\n" + noteMark(call.Mark)
	note, err := d.Client.Alerts.AddNote(ctx, id, text)
	if err != nil {
		return playbooks.Outcome{}, fmt.Errorf("note on alert %d: %w", id, effectError(err))
	}
	return d.noteOutcome(ctx, id, note, noteMark(call.Mark)), nil
}

func findNote(ctx context.Context, d *Deps, call playbooks.Call, in AlertNote, _ time.Time) ([]playbooks.Found, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return nil, err
	}
	notes, err := d.Client.Alerts.Notes(ctx, id)
	if errors.Is(err, connector.ErrUnavailable) {
		return nil, playbooks.ErrCannotTell
	}
	if err != nil {
		return nil, fmt.Errorf("notes of alert %d: %w", id, readError(err))
	}
	var found []playbooks.Found
	for _, n := range notes {
		if strings.Contains(n.Text, noteMark(call.Mark)) {
			found = append(found, playbooks.Found{Ref: noteRef(n.ID), At: n.CreatedAt, Mark: call.Mark})
		}
	}
	return found, nil
}

// noteOutcome reads a note back.
func (d *Deps) noteOutcome(ctx context.Context, alert, note int64, mark string) playbooks.Outcome {
	notes, err := d.Client.Alerts.Notes(ctx, alert)
	at := slices.IndexFunc(notes, func(n connector.Note) bool { return strings.Contains(n.Text, mark) })
	if at >= 0 { // the server need not tell the id when it takes the note
		note = notes[at].ID
	}
	out := playbooks.Outcome{
		Ref:     noteRef(note),
		Summary: fmt.Sprintf("noted on alert %d", alert),
		Output:  AlertNoteOutput{Alert: alert, Note: note},
	}
	switch {
	case err != nil:
		out.State, out.Unverified = soar.StepAccepted, inWords(err).Error()
	case at >= 0:
		out.State = soar.StepVerified
	default:
		out.State, out.Error = soar.StepFailed, fmt.Sprintf("the server reports success, and the note is not on alert %d", alert)
	}
	return out
}

// noteMark is the line by which a note is recognised. The brackets end it, so
// that the mark of step 1 is not found in the note of step 10.
func noteMark(mark string) string { return soar.OwnLine(mark) }

func noteRef(id int64) string { return "note:" + strconv.FormatInt(id, 10) }

// alertID is the alert that a call is about: the one named, else the one at hand.
func (d *Deps) alertID(call playbooks.Call, named Number) (int64, error) {
	if named != 0 {
		return int64(named), nil
	}
	if d.Server != "" && call.Alert.Server != d.Server {
		return 0, fmt.Errorf("alert %s came from %q, and is not on server %q", call.Alert.ID, call.Alert.Server, d.Server)
	}
	id, err := strconv.ParseInt(call.Alert.ID, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("alert %q has no number on the server", call.Alert.ID)
	}
	return id, nil
}

// clipRunes cuts a text that is too long, and shows that it did.
func clipRunes(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}
