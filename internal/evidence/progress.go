package evidence

import (
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Seen is how far a carve is, as the server tells it.
type Seen struct {
	Status string `json:"status"`
	// Done is how many blocks the server has; nil: it does not tell.
	Done *int64 `json:"blocks_done,omitempty"`
	// Blocks is how many there will be, Size how many bytes.
	Blocks int64 `json:"blocks,omitempty"`
	Size   int64 `json:"size,omitempty"`
}

// same reports whether nothing has happened in between.
func (s Seen) same(o Seen) bool {
	if (s.Done == nil) != (o.Done == nil) || s.Done != nil && *s.Done != *o.Done {
		return false
	}
	s.Done, o.Done = nil, nil
	return s == o
}

// String says it in words.
func (s Seen) String() string {
	text := fmt.Sprintf("%d blocks, %d bytes", s.Blocks, s.Size)
	if s.Done != nil {
		text = fmt.Sprintf("%d of %s", *s.Done, text)
	}
	switch {
	case s.Blocks == 0:
		return fmt.Sprintf("the server says %q", s.Status)
	case s.Done == nil:
		return fmt.Sprintf("%s in all, the server says %q", text, s.Status)
	}
	return fmt.Sprintf("%s, the server says %q", text, s.Status)
}

// Progress is how far a carve is that is under way, kept across restarts.
type Progress struct {
	Origin
	Seen
	// Changed is when that was first seen.
	Changed time.Time `json:"changed"`
	// Stalled is when it was given up.
	Stalled time.Time `json:"stalled,omitzero"`
	// Refused is why it is not taken.
	Refused string `json:"refused,omitempty"`
}

// state is that of a carve without an archive.
func (p *Progress) state() string {
	switch {
	case p.Refused != "":
		return StateRefused
	case !p.Stalled.IsZero():
		return StateStalled
	}
	return StateUnderWay
}

// Note writes down how far a carve is, where that has changed, and returns since when
// it is so. A carve that is seen for the first time is recorded as begun. An error
// wrapping ErrBusy says that somebody else is at it, ErrTooLarge that it will not be taken.
func (s *Store) Note(origin Origin, seen Seen, by Actor) (since time.Time, err error) {
	session := origin.Session
	before, err := s.readProgress(session)
	if err != nil {
		return since, err
	}
	if before != nil && before.Seen.same(seen) && before.Mark == origin.Mark && before.Refused == "" {
		return before.Changed, nil
	}
	if err := s.makeFolder(session); err != nil {
		return since, err
	}
	unlock, err := s.lock(session, false) // against those who clean up
	if err != nil {
		return since, err
	}
	defer unlock()
	p := &Progress{Origin: origin, Seen: seen, Changed: s.o.Now().UTC()}
	if before != nil && before.Seen.same(seen) {
		p.Changed = before.Changed // another run takes it over, which is no progress
	}
	if before == nil {
		err := s.record(session, by, Entry{What: Carved, Text: origin.Path + " from " + origin.Host})
		if err != nil {
			return since, err
		}
	}
	if err := s.admit(p, by); err != nil {
		return since, err
	}
	if err := s.disk.writeJSON(s.in(session, progressName), p); err != nil {
		return since, fmt.Errorf("progress of carve %s: %w", session, err)
	}
	return p.Changed, nil
}

// admit refuses a carve that is too large already by what the server tells of it.
func (s *Store) admit(p *Progress, by Actor) error {
	if p.Size <= s.o.MaxBytes {
		return nil
	}
	return s.refuse(p, by, fmt.Errorf("carve %s: the server tells of %d bytes, and %d are allowed (actions.max_carve_bytes): %w",
		p.Session, p.Size, s.o.MaxBytes, ErrTooLarge))
}

// refuse records that a carve is not taken, and why, and returns that.
func (s *Store) refuse(p *Progress, by Actor, cause error) error {
	before, err := s.readProgress(p.Session)
	if err != nil {
		return errors.Join(cause, err)
	}
	if before == nil || before.Refused == "" {
		s.metrics.count(outcomeTooLarge)
	}
	p.Refused = cause.Error()
	if err := s.record(p.Session, by, Entry{What: Refused, Text: p.Refused}); err != nil {
		return errors.Join(cause, err)
	}
	return errors.Join(cause, s.disk.writeJSON(s.in(p.Session, progressName), p))
}

// Stall records that a carve was given up, because its host stopped sending it.
func (s *Store) Stall(session string, by Actor, words string) error {
	p, err := s.readProgress(session)
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("progress of carve %s: %w", session, soar.ErrNotFound)
	}
	unlock, err := s.lock(session, false)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.record(session, by, Entry{What: Stalled, Text: words}); err != nil {
		return err
	}
	if p.Stalled.IsZero() {
		p.Stalled = s.o.Now().UTC()
		s.metrics.count(outcomeStalled)
	}
	return s.disk.writeJSON(s.in(session, progressName), p)
}

// readProgress is nil for a carve of which nothing was noted, or that is complete.
func (s *Store) readProgress(session string) (*Progress, error) {
	if err := validSession(session); err != nil {
		return nil, err
	}
	var p Progress
	switch err := readJSON(s.in(session, progressName), &p); {
	case errors.Is(err, soar.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("progress of carve %s: %w", session, err)
	}
	return &p, nil
}
