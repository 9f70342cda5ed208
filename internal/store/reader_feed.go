package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Feed returns events with positions above after, in order. Events about a stored
// alert carry it as it is now, not as it was when the event came about; their id
// and everything else are as they were. What cannot be read of an event is left
// out and its Text says so; an event of which nothing is left becomes trouble.
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
			ev, err = joinEvent(body, key.Int64, alert, r.recent.decode)
			if err != nil {
				r.log.Error("an event cannot be read as it was written", "pos", pos, "type", kind, "err", err)
				ev = unreadableEvent(ev, body != nil, fmt.Sprintf("event %d (%s)", pos, kind), err)
				ev.Pos, ev.AlertKey = pos, key.Int64
				if ev.ID == "" {
					ev.ID, ev.At = cmp.Or(id.String, fmt.Sprintf("unreadable/%d", pos)), fromMicros(at)
				}
				return ev, nil
			}
			ev.Pos, ev.AlertKey, ev.Type = pos, key.Int64, soar.EventType(kind)
			if body == nil {
				ev.At, ev.ID = fromMicros(at), id.String
				if ev.ID == "" && ev.Alert != nil {
					ev.ID = receivedID(ev.Alert)
				}
			}
			return ev, nil
		})
	if err != nil {
		return nil, fmt.Errorf("feed after %d: %w", after, err)
	}
	return events, nil
}

// unreadableEvent is what to hand out of an event whose body or alert cannot be
// read. Without its body nothing is left to deliver but the news itself.
func unreadableEvent(ev soar.Event, hasBody bool, name string, why error) soar.Event {
	text := fmt.Sprintf("%s: %v", name, why)
	switch {
	case !hasBody || ev.ID == "":
		return soar.Event{Type: soar.EventTrouble, Text: text}
	case ev.Text == "":
		ev.Text = text
	default:
		ev.Text += " (" + text + ")"
	}
	return ev
}

// joinEvent puts an event and its alert together again; either may be absent.
// Errors are errUnreadable, beside what could be read.
func joinEvent(body []byte, key int64, alert []byte, decode decodeFunc) (ev soar.Event, err error) {
	if body != nil {
		data, err := unpack(body)
		if err == nil {
			err = json.Unmarshal(data, &ev)
		}
		if err != nil {
			return soar.Event{}, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	if alert != nil {
		a, err := decode(key, alert)
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

// TelemetryRows is how many events of the feed are rows of telemetry.
func (r *Reader) TelemetryRows(ctx context.Context) (int64, error) {
	n, err := one(ctx, r, "SELECT value FROM meta WHERE name = ?", []any{tallyNames[numTelemetry]}, func(row *sql.Rows) (n int64, err error) {
		return n, row.Scan(&n)
	})
	if errors.Is(err, soar.ErrNotFound) {
		return 0, nil
	}
	return n, err
}

// FeedSince is the position of the first event that is not older than a time; the
// one behind the head when all are.
func (r *Reader) FeedSince(ctx context.Context, since time.Time) (int64, error) {
	pos, err := one(ctx, r, "SELECT pos FROM feed WHERE at >= ? ORDER BY pos LIMIT 1", []any{micros(since)}, func(row *sql.Rows) (pos int64, err error) {
		return pos, row.Scan(&pos)
	})
	if !errors.Is(err, soar.ErrNotFound) {
		return pos, err
	}
	head, err := r.FeedHead(ctx)
	return head + 1, err
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
			d.Event, err = joinEvent(body, key.Int64, alert, decodeAnew)
			if err != nil {
				r.log.Error("a redelivery cannot be read as it was written", "id", d.ID, "err", err)
				d.Event = unreadableEvent(d.Event, true, fmt.Sprintf("redelivery %d", d.ID), err)
				d.Event.ID = cmp.Or(d.Event.ID, fmt.Sprintf("unreadable/redelivery/%d", d.ID))
			}
			d.Event.AlertKey = key.Int64
			return d, nil
		})
}

// DeadLetterFilter chooses dead letters. Empty fields choose all.
type DeadLetterFilter struct {
	Origin string
	Reason string    // a part of the reason, in capital or small letters
	Since  time.Time // set aside then or later
	Before int64     // ids below, for the next page
	Limit  int       // zero: as many as one query may return
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
	if f.Reason != "" {
		w.add("instr(lower(reason), lower(?)) > 0", f.Reason)
	}
	if !f.Since.IsZero() {
		w.add("at >= ?", micros(f.Since))
	}
	if f.Before > 0 {
		w.add("id < ?", f.Before)
	}
	return list(ctx, r, selectDeadLetters+w.where()+" ORDER BY id DESC LIMIT ?", append(w.args, limited(f.Limit)), scanDeadLetter)
}

// DeadLetterCount is what is kept of one origin.
type DeadLetterCount struct {
	Origin string
	Count  int64
	Oldest time.Time // when the oldest of them was set aside
}

// DeadLetterCounts counts the dead letters of each origin that has any, by origin. It
// reads no payload.
func (r *Reader) DeadLetterCounts(ctx context.Context) ([]DeadLetterCount, error) {
	return list(ctx, r, `SELECT c.origin, c.n, d.at
		FROM (SELECT origin, count(*) AS n, min(id) AS oldest FROM dead_letter GROUP BY origin) c JOIN dead_letter d ON d.id = c.oldest ORDER BY c.origin`,
		nil, func(row *sql.Rows) (c DeadLetterCount, err error) {
			var at int64
			err = row.Scan(&c.Origin, &c.Count, &at)
			c.Oldest = fromMicros(at)
			return c, err
		})
}

// DeadLetter returns one dead letter.
func (r *Reader) DeadLetter(ctx context.Context, id int64) (soar.DeadLetter, error) {
	d, err := one(ctx, r, selectDeadLetters+" WHERE id = ?", []any{id}, scanDeadLetter)
	if err != nil {
		return d, fmt.Errorf("dead letter %d: %w", id, err)
	}
	return d, nil
}
