package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// pollCursor is how far the poller has read; it is stored as JSON.
type pollCursor struct {
	// MaxID is the highest alert id taken in.
	MaxID int64 `json:"max_id"`
	// Newest is the latest creation time taken in, by the server's clock.
	Newest time.Time `json:"newest"`
	// BackfillID is the highest alert id that existed at first contact.
	BackfillID int64 `json:"backfill_id"`
	// Since is where the backfill begins: what is older stays on the server.
	Since time.Time `json:"since"`
}

// wanted reports whether an alert of the list is to be taken in.
func (c pollCursor) wanted(id int64, created time.Time) bool {
	return id > c.BackfillID || !created.Before(c.Since)
}

// load brings the cursor in, or makes the first one at first contact.
func (p *Poller) load(ctx context.Context) (pollCursor, error) {
	p.mu.Lock()
	cursor, met := p.cursor, p.met
	p.mu.Unlock()
	if met {
		return cursor, nil
	}
	value, err := p.env.Intake.Cursor(ctx, p.cursorName())
	if err != nil {
		return pollCursor{}, fmt.Errorf("poll: read cursor: %w", err)
	}
	if value != nil {
		if err := json.Unmarshal(value, &cursor); err != nil {
			return pollCursor{}, fmt.Errorf("poll: stored cursor %q: %w", value, err)
		}
	} else if cursor, err = p.firstContact(ctx); err != nil {
		return pollCursor{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor, p.met = cursor, true
	return cursor, nil
}

// firstContact notes which alerts exist before erbridge looks after them, and
// where reading starts.
func (p *Poller) firstContact(ctx context.Context) (pollCursor, error) {
	since := p.env.Now().UTC().Add(-p.settings.Backfill)
	cursor := pollCursor{Since: since, Newest: since.Add(p.settings.Overlap)} // the overlap ends where the backfill begins
	for _, resolved := range []bool{false, true} {
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, Limit: 1})
		if err != nil {
			return pollCursor{}, fmt.Errorf("poll: first contact: %w", err)
		}
		for i := range page.Results {
			cursor.BackfillID = max(cursor.BackfillID, page.Results[i].ID)
		}
	}
	p.env.Log.Info("first contact with the server", "backfill", p.settings.Backfill, "last_alert", cursor.BackfillID)
	return cursor, p.save(ctx, cursor)
}

// cursorName keeps the cursors of several servers apart.
func (p *Poller) cursorName() string { return pollSource + "/" + p.server }

func (p *Poller) save(ctx context.Context, cursor pollCursor) error {
	value, err := json.Marshal(cursor)
	if err != nil {
		return fmt.Errorf("poll: encode cursor: %w", err)
	}
	if _, err := p.env.Intake.Commit(ctx, soar.Change{Cursors: []soar.Cursor{{Source: p.cursorName(), Value: value}}}); err != nil {
		return fmt.Errorf("poll: save cursor: %w", err)
	}
	return nil
}

// advance moves the cursor when it has moved, and forgets what fell out of the overlap.
func (p *Poller) advance(ctx context.Context, from, next pollCursor) error {
	if next.MaxID == from.MaxID && next.Newest.Equal(from.Newest) {
		return nil
	}
	if err := p.save(ctx, next); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor = next
	if len(p.seen) > 5*maxCollected {
		clear(p.seen) // it only spares repeats
	}
	return nil
}
