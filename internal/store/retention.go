package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	// retainInterval is how often what has aged is removed.
	retainInterval = time.Hour
	// retainBatch bounds one transaction of retention, so that commits never wait
	// long behind it.
	retainBatch = 500
	// vacuumPages is how much one transaction gives back to the file system.
	vacuumPages = 1000
)

// retain removes what has aged, now and then once an hour.
func (s *Store) retain(ctx context.Context) {
	for {
		if err := s.Retain(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("retention", "dir", s.dir, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retainInterval):
		}
	}
}

// Retain removes what is older than Options.Retention allows, in small batches
// between the commits of others. It never removes
//   - a feed event that a sink with a cursor has not passed, however old; a sink
//     that is gone for good is forgotten with a SinkCursor of position -1,
//   - an alert that awaits evaluation, has a run that is unended or unknown, or is
//     told of by an event that is still there,
//   - a run that has not ended or that a person still has to settle.
func (s *Store) Retain(ctx context.Context) error {
	now := s.now()
	if err := s.RetainTelemetry(ctx); err != nil {
		return err
	}
	if s.keep.Alerts > 0 {
		if err := s.upkeep(ctx, s.ageFeed(now.Add(-s.keep.Alerts))); err != nil {
			return fmt.Errorf("remove old events: %w", err)
		}
	}
	if s.keep.Runs > 0 {
		if err := s.upkeep(ctx, s.ageRuns(now.Add(-s.keep.Runs))); err != nil {
			return fmt.Errorf("remove old runs: %w", err)
		}
	}
	if s.keep.Alerts > 0 {
		if err := s.upkeep(ctx, s.ageAlerts(now.Add(-s.keep.Alerts))); err != nil {
			return fmt.Errorf("remove old alerts: %w", err)
		}
	}
	if s.keep.DeadLetters > 0 {
		if err := s.upkeep(ctx, s.ageDeadLetters(now.Add(-s.keep.DeadLetters))); err != nil {
			return fmt.Errorf("remove old dead letters: %w", err)
		}
	}
	if err := s.upkeep(ctx, s.ageKV(now)); err != nil {
		return fmt.Errorf("remove expired values: %w", err)
	}
	if err := s.upkeep(ctx, s.vacuum); err != nil {
		return fmt.Errorf("give space back: %w", err)
	}
	if s.keep.Audit > 0 { // last, because a record that cannot be read stops it
		if err := s.upkeep(ctx, s.ageAudit(now.Add(-s.keep.Audit))); err != nil {
			return fmt.Errorf("remove old audit records: %w", err)
		}
	}
	return nil
}

// upkeep lets the committer run batches until there is nothing more to do.
func (s *Store) upkeep(ctx context.Context, batch func() (more bool, err error)) error {
	for {
		var more bool
		_, err := s.submit(ctx, &request{upkeep: func() (err error) {
			more, err = batch()
			return err
		}})
		if err != nil || !more {
			return err
		}
	}
}

// delete runs a statement that removes at most retainBatch rows.
func (s *Store) delete(sql string, args ...driver.Value) (int64, error) {
	st, err := s.writer.prepare(sql)
	if err != nil {
		return 0, err
	}
	n, err := st.exec(args...)
	return n, errors.Join(err, st.close())
}

func (s *Store) ageFeed(before time.Time) func() (bool, error) {
	return func() (bool, error) {
		// Positions are given out in the order of time, so the oldest events are
		// the first ones; where a clock went back, they go a little later.
		n, err := s.delete(`DELETE FROM feed WHERE pos IN (
			SELECT pos FROM (SELECT pos, at FROM feed WHERE pos <= (SELECT coalesce(min(pos), ?) FROM sink) ORDER BY pos LIMIT ?) WHERE at < ?)`,
			s.writer.tally[lastFeedPos], int64(retainBatch), micros(before))
		s.writer.tally[numFeed] -= n
		return n == retainBatch, err
	}
}

func (s *Store) ageRuns(before time.Time) func() (bool, error) {
	var after int64 // the last run looked at
	first := int64(soar.NewRunID(before))
	return func() (bool, error) {
		st, err := s.writer.prepare("SELECT id, state, ended_at FROM run WHERE id > ? AND id < ? ORDER BY id LIMIT ?")
		if err != nil {
			return false, err
		}
		type old struct {
			id    int64
			state soar.RunState
		}
		var aged []old
		seen := 0
		err = st.query(values(after, first, int64(retainBatch)), func(row []driver.Value) error {
			seen++
			after = number(row[0])
			state, endedAt := soar.RunState(text(row[1])), number(row[2])
			if state.Ended() && state != soar.RunUnknown && endedAt < micros(before) {
				aged = append(aged, old{after, state})
			}
			return nil
		})
		if err := errors.Join(err, st.close()); err != nil {
			return false, err
		}
		var removed retentionBody
		for _, run := range aged {
			if _, err := s.delete("DELETE FROM ev WHERE run = ?", run.id); err != nil {
				return false, err
			}
			if _, err := s.delete("DELETE FROM run WHERE id = ?", run.id); err != nil {
				return false, err
			}
			s.writer.tally.run(run.state, -1)
			removed.Runs = append(removed.Runs, soar.RunID(run.id))
		}
		return seen == retainBatch, s.writer.recordRetention(&removed)
	}
}

func (s *Store) ageAlerts(before time.Time) func() (bool, error) {
	var after int64 // the last alert looked at
	return func() (bool, error) {
		st, err := s.writer.prepare(`SELECT key, received_at < ?1
			AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.key = a.key)
			AND NOT EXISTS (SELECT 1 FROM run r WHERE r.alert_key = a.key AND r.state IN ('running', 'waiting', 'unknown'))
			AND NOT EXISTS (SELECT 1 FROM feed f WHERE f.alert_key = a.key)
			AND NOT EXISTS (SELECT 1 FROM redelivery d WHERE d.alert_key = a.key),
			received_at, server, id
			FROM alert a WHERE key > ?2 ORDER BY key LIMIT ?3`)
		if err != nil {
			return false, err
		}
		type old struct {
			key  int64
			hash identity
		}
		var aged []old
		seen, young := 0, false
		err = st.query(values(micros(before), after, int64(retainBatch)), func(row []driver.Value) error {
			seen++
			after = number(row[0])
			young = number(row[2]) >= micros(before)
			if number(row[1]) != 0 {
				aged = append(aged, old{after, identify(text(row[3]), text(row[4]))})
			}
			return nil
		})
		if err := errors.Join(err, st.close()); err != nil {
			return false, err
		}
		var removed retentionBody
		for _, alert := range aged {
			if _, err := s.delete("DELETE FROM alert_identity WHERE hash = ? AND key = ?", alert.hash[:], alert.key); err != nil {
				return false, err
			}
			for _, sql := range []string{
				"DELETE FROM alert_body WHERE key = ?", "DELETE FROM verdict WHERE key = ?",
				"DELETE FROM alert WHERE key = ?",
			} {
				if _, err := s.delete(sql, alert.key); err != nil {
					return false, err
				}
			}
			s.writer.tally[numAlerts]--
			removed.removedAlert(alert.key)
		}
		return seen == retainBatch && !young, s.writer.recordRetention(&removed)
	}
}

// ageDeadLetters says in the feed how many went: nobody has looked after them, and what
// was in them is not delivered any more.
func (s *Store) ageDeadLetters(before time.Time) func() (bool, error) {
	var removed int64
	return func() (bool, error) {
		n, err := s.delete(`DELETE FROM dead_letter WHERE id IN (
			SELECT id FROM (SELECT id, at FROM dead_letter ORDER BY id LIMIT ?) WHERE at < ?)`, int64(retainBatch), micros(before))
		s.writer.tally[numDeadLetters] -= n
		removed += n
		if err != nil || n == retainBatch || removed == 0 {
			return n == retainBatch, err
		}
		row, err := makeEvent(&soar.Event{
			ID: fmt.Sprintf("dead-letters-aged-%d", before.UnixMilli()), Type: soar.EventTrouble, At: s.now().UTC(),
			Text: fmt.Sprintf("%d dead letters were set aside before %s and nobody replayed or dropped them: they are removed, as store.retention.dead_letters says.",
				removed, before.UTC().Format(time.RFC3339)),
		})
		if err != nil {
			return false, err
		}
		err = s.writer.feed(row.kind, row.at, nil, nil, row.body)
		return false, errors.Join(err, s.writer.insertFeed.flush())
	}
}

func (s *Store) ageKV(now time.Time) func() (bool, error) {
	return func() (bool, error) {
		n, err := s.delete("DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE expires <> 0 AND expires <= ? LIMIT ?)",
			micros(now), int64(retainBatch))
		return n == retainBatch, err
	}
}

// vacuum gives free pages back to the file system, a few megabytes at a time.
func (s *Store) vacuum() (bool, error) {
	free, err := s.writer.number("PRAGMA freelist_count")
	if err != nil || free < vacuumPages {
		return false, err
	}
	return true, s.writer.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumPages))
}
