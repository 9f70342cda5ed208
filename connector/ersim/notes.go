package ersim

import (
	"strconv"
	"time"
)

// note is an analyst's note.
type note struct {
	id               int64
	text             string
	author           *user
	created, updated time.Time
}

// Notes are the texts of an alert's analyst notes, oldest first.
func (s *Server) Notes(alertID int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.alert(alertID); a != nil {
		return noteTexts(a)
	}
	return nil
}

func noteTexts(a *alert) []string {
	var texts []string
	for _, n := range a.notes {
		texts = append(texts, n.text)
	}
	return texts
}

// pathAlert is the alert that the call's path names, or nil.
func (s *Server) pathAlert(c *call) *alert {
	id, _ := strconv.ParseInt(c.path["id"], 10, 64) // out of range finds nothing
	return s.alert(id)
}

const (
	noAlert = "No Alert present for the alert id given!"
	noNote  = "No note present for the note id given!"
)

// API: GET /alerts/{id}/analyst/notes, newest first.
func (s *Server) notesList(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	rows := []obj{}
	for i := len(a.notes) - 1; i >= 0; i-- {
		n := a.notes[i]
		rows = append(rows, obj{
			"id": n.id, "notes": n.text, "user_id": n.author.id, "user": n.author.name,
			"created_at": pyISO(n.created), "updated_at": pyISO(n.updated),
		})
	}
	return s.ok("Successfully fetched the notes", rows)
}

// API: POST /alerts/{id}/analyst/notes.
func (s *Server) notesAdd(c *call) answer {
	c.need("notes", "notes")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	s.lastNote++
	now := s.now().Truncate(time.Microsecond)
	a.notes = append(a.notes, &note{id: s.lastNote, text: c.text("notes"), author: c.user, created: now, updated: now})
	return s.ok("Successfully added notes", obj{"Analyst_note_id": s.lastNote})
}

// ownNote finds the note that the arguments name; only its author may touch it.
func (s *Server) ownNote(c *call) (*alert, int, *answer) {
	id := c.number("note_id", "note_id", 0)
	c.need("note_id", "note_id")
	if bad := s.invalid(c.args); bad != nil {
		return nil, 0, bad
	}
	a := s.pathAlert(c)
	if a == nil {
		return nil, 0, refuse(s.fail(noAlert))
	}
	for i, n := range a.notes {
		if n.id == id && n.author.id == c.user.id {
			return a, i, nil
		}
	}
	return nil, 0, refuse(s.fail(noNote))
}

// API: PUT /alerts/{id}/analyst/notes.
func (s *Server) notesUpdate(c *call) answer {
	c.need("notes", "notes")
	s.mu.Lock()
	defer s.mu.Unlock()
	a, at, refusal := s.ownNote(c)
	if refusal != nil {
		return *refusal
	}
	n := a.notes[at]
	n.text, n.updated = c.text("notes"), s.now().Truncate(time.Microsecond)
	return s.ok("Successfully modified the notes", obj{"Analyst_note_id": n.id})
}

// API: DELETE /alerts/{id}/analyst/notes with a body.
func (s *Server) notesDelete(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, at, refusal := s.ownNote(c)
	if refusal != nil {
		return *refusal
	}
	a.notes = append(a.notes[:at:at], a.notes[at+1:]...)
	return s.ok("Successfully deleted the notes", nil)
}
