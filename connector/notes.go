package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Note is an analyst's note on an alert.
type Note struct {
	ID                   int64
	Text                 string
	User                 string
	UserID               int64
	CreatedAt, UpdatedAt time.Time
}

// Notes fetches the notes on an alert, newest first. Enterprise only. An answer
// without a list is ErrNotJSON. With a note that cannot be read, the error is a
// *MalformedError, and the others are returned all the same.
// API: GET /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Get analyst notes").
func (s *AlertsService) Notes(ctx context.Context, id int64) ([]Note, error) {
	k, err := callAlertsNotesList.with(strconv.FormatInt(id, 10))
	if err != nil {
		return nil, err
	}
	return listed(ctx, s.c, k, noteRow)
}

func noteRow(v value) (Note, error) {
	n := Note{
		ID:        v.at("id").id(),
		Text:      v.at("notes").text(),
		User:      v.at("user").text(),
		UserID:    v.at("user_id").id(),
		CreatedAt: v.at("created_at").time(),
		UpdatedAt: v.at("updated_at").time(),
	}
	switch {
	case !v.isObject():
		return n, errNotObject
	case n.ID == 0:
		return n, errors.New("note without id")
	case !v.has("notes"):
		return n, errors.New("note without text")
	}
	return n, nil
}

// AddNote writes a note on an alert and returns its id, 0 if the server does not
// tell it. Enterprise only.
// API: POST /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Add analyst note").
func (s *AlertsService) AddNote(ctx context.Context, id int64, text string) (noteID int64, err error) {
	if text == "" {
		return 0, fmt.Errorf("add note: %w: the note is empty", ErrInvalid)
	}
	k, err := callAlertsNotesAdd.with(strconv.FormatInt(id, 10))
	if err != nil {
		return 0, err
	}
	err = s.c.do(ctx, k, map[string]any{"notes": text}, data(func(v value) {
		for key, id := range v.fields() {
			if strings.EqualFold(key, "Analyst_note_id") { // the spelling is the server's
				noteID = id.id()
			}
		}
	}))
	return noteID, err
}

// UpdateNote rewrites a note. Only its author may. Enterprise only.
// API: PUT /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Update analyst note").
func (s *AlertsService) UpdateNote(ctx context.Context, id, noteID int64, text string) error {
	if text == "" {
		return fmt.Errorf("update note: %w: the note is empty", ErrInvalid)
	}
	k, err := callAlertsNotesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"notes": text, "note_id": noteID}, nil)
}

// DeleteNote removes a note for good. Enterprise only.
// API: DELETE /alerts/{alert_id}/analyst/notes (REST guide 4.0.0, "Delete analyst note").
func (s *AlertsService) DeleteNote(ctx context.Context, id, noteID int64, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete note"); err != nil {
		return err
	}
	k, err := callAlertsNotesDelete.with(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, map[string]any{"note_id": noteID}, nil)
}
