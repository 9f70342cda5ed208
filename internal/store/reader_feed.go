package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// Feed returns events with positions above after, in order. Events about a stored
// alert carry it as it is now, not as it was when the event came about; their id
// and everything else are as they were.
//
// The ids of the store's own events are "alert.received/<ref>" and
// "alert.updated/<ref>/<hash of what it became>".
func (r *Reader) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	events, err := list(ctx, r, `SELECT f.pos, f.type, f.at, f.alert_key, f.id, f.body, b.body
		FROM feed f LEFT JOIN alert_body b ON b.key = f.alert_key WHERE f.pos > ? ORDER BY f.pos LIMIT ?`,
		[]any{after, limited(limit)},
		func(row *sql.Rows) (ev soar.Event, err error) {
			var at int64
			var kind string
			var key sql.NullInt64
			var id sql.NullString
			var body, alert sql.RawBytes
			var pos int64
			if err := row.Scan(&pos, &kind, &at, &key, &id, &body, &alert); err != nil {
				return ev, err
			}
			ev, err = joinEvent(body, alert)
			ev.Pos, ev.AlertKey, ev.Type = pos, key.Int64, soar.EventType(kind)
			if body == nil {
				ev.At, ev.ID = fromMicros(at), id.String
				if ev.ID == "" && ev.Alert != nil {
					ev.ID = receivedID(ev.Alert)
				}
			}
			return ev, err
		})
	if err != nil {
		return nil, fmt.Errorf("feed after %d: %w", after, err)
	}
	return events, nil
}

// joinEvent puts an event and its alert together again; either may be absent.
func joinEvent(body, alert []byte) (ev soar.Event, err error) {
	if body != nil {
		data, err := unpack(body)
		if err != nil {
			return ev, err
		}
		if err := json.Unmarshal(data, &ev); err != nil {
			return ev, err
		}
	}
	if alert != nil {
		a, err := decodeAlert(alert)
		if err != nil {
			return ev, err
		}
		ev.Alert = &a
	}
	return ev, nil
}

// FeedHead is the position of the newest event that was ever written.
func (r *Reader) FeedHead(ctx context.Context) (int64, error) {
	head, err := one(ctx, r, "SELECT value FROM meta WHERE name = ?", []any{tallyNames[lastFeedPos]}, func(row *sql.Rows) (pos int64, err error) {
		return pos, row.Scan(&pos)
	})
	if errors.Is(err, soar.ErrNotFound) {
		return 0, nil
	}
	return head, err
}

// SinkCursor is how far a sink has delivered; known is false for a sink that
// never moved its cursor.
func (r *Reader) SinkCursor(ctx context.Context, sink string) (pos int64, known bool, err error) {
	pos, err = one(ctx, r, "SELECT pos FROM sink WHERE name = ?", []any{sink}, func(row *sql.Rows) (pos int64, err error) {
		return pos, row.Scan(&pos)
	})
	if errors.Is(err, soar.ErrNotFound) {
		return 0, false, nil
	}
	return pos, err == nil, err
}

// SinkCursors returns the cursors of all sinks, by name.
func (r *Reader) SinkCursors(ctx context.Context) ([]soar.SinkCursor, error) {
	return list(ctx, r, "SELECT name, pos FROM sink ORDER BY name", nil, func(row *sql.Rows) (c soar.SinkCursor, err error) {
		return c, row.Scan(&c.Sink, &c.Pos)
	})
}

// Redeliveries returns what a sink shall deliver again, oldest first.
func (r *Reader) Redeliveries(ctx context.Context, sink string, limit int) ([]soar.Redelivery, error) {
	return list(ctx, r, `SELECT r.id, r.sink, r.alert_key, r.body, b.body
		FROM redelivery r LEFT JOIN alert_body b ON b.key = r.alert_key WHERE r.sink = ? ORDER BY r.id LIMIT ?`,
		[]any{sink, limited(limit)},
		func(row *sql.Rows) (d soar.Redelivery, err error) {
			var key sql.NullInt64
			var body, alert sql.RawBytes
			if err := row.Scan(&d.ID, &d.Sink, &key, &body, &alert); err != nil {
				return d, err
			}
			d.Event, err = joinEvent(body, alert)
			d.Event.AlertKey = key.Int64
			return d, err
		})
}

// DeadLetterFilter chooses dead letters. Empty fields choose all.
type DeadLetterFilter struct {
	Origin string
	Before int64 // ids below, for the next page
	Limit  int   // zero: as many as one query may return
}

const selectDeadLetters = "SELECT id, origin, at, reason, event_id, payload FROM dead_letter"

func scanDeadLetter(row *sql.Rows) (d soar.DeadLetter, err error) {
	var at int64
	err = row.Scan(&d.ID, &d.Origin, &at, &d.Reason, &d.EventID, &d.Payload)
	d.At = fromMicros(at)
	return d, err
}

// DeadLetters returns dead letters, newest first.
func (r *Reader) DeadLetters(ctx context.Context, f DeadLetterFilter) ([]soar.DeadLetter, error) {
	var w filter
	if f.Origin != "" {
		w.add("origin = ?", f.Origin)
	}
	if f.Before > 0 {
		w.add("id < ?", f.Before)
	}
	return list(ctx, r, selectDeadLetters+w.where()+" ORDER BY id DESC LIMIT ?", append(w.args, limited(f.Limit)), scanDeadLetter)
}

// DeadLetter returns one dead letter.
func (r *Reader) DeadLetter(ctx context.Context, id int64) (soar.DeadLetter, error) {
	d, err := one(ctx, r, selectDeadLetters+" WHERE id = ?", []any{id}, scanDeadLetter)
	if err != nil {
		return d, fmt.Errorf("dead letter %d: %w", id, err)
	}
	return d, nil
}
