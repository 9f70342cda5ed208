package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// retainTelemetryInterval is how often rows of telemetry that have aged are removed:
// there may be millions of them in the hour that everything else takes to age.
const retainTelemetryInterval = time.Minute

// retainTelemetry removes rows that have aged, now and then once a minute.
func (s *Store) retainTelemetry(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retainTelemetryInterval):
		}
		if err := s.RetainTelemetry(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("retention", "dir", s.dir, "err", err)
		}
	}
}

// RetainTelemetry removes rows of telemetry that are older than Options.Retention
// allows and that every sink with a cursor has passed, in small batches between the
// commits of others.
func (s *Store) RetainTelemetry(ctx context.Context) error {
	keep := s.keep.Telemetry
	if keep <= 0 || s.keep.Alerts > 0 && s.keep.Alerts < keep {
		keep = s.keep.Alerts
	}
	if keep <= 0 {
		return nil
	}
	now := s.now()
	if err := s.upkeep(ctx, s.ageTelemetry(now, now.Add(-keep))); err != nil {
		return fmt.Errorf("remove old telemetry: %w", err)
	}
	return nil
}

// ageTelemetry goes by when a row came in, which its time in the feed says, unless the
// clock was ahead when it did. A row from the future came in by now at the latest: it gets
// that time, so that it ages like the others and holds up none of those behind it.
func (s *Store) ageTelemetry(now, before time.Time) func() (bool, error) {
	var from int64 // the last position that was looked at
	return func() (bool, error) {
		if s.writer.tally[numTelemetry] == 0 {
			return false, nil
		}
		from = max(from, s.rowsFrom)
		// The next events that may go, whatever their type; the newest of them says
		// whether younger ones follow.
		st, err := s.writer.prepare(`SELECT count(*), coalesce(max(pos), 0), coalesce(max(CASE WHEN at <= ?1 THEN at END), 0), coalesce(sum(at > ?1 AND type = ?2), 0)
			FROM (SELECT pos, at, type FROM feed WHERE pos > ?3 AND pos <= (SELECT coalesce(min(pos), ?4) FROM sink) ORDER BY pos LIMIT ?5)`)
		if err != nil {
			return false, err
		}
		var n, upTo, newest, ahead int64
		telemetry := string(soar.EventTelemetry)
		err = st.query(values(micros(now), telemetry, from, s.writer.tally[lastFeedPos], int64(retainBatch)), func(row []driver.Value) error {
			n, upTo, newest, ahead = number(row[0]), number(row[1]), number(row[2]), number(row[3])
			return nil
		})
		if err := errors.Join(err, st.close()); err != nil || n == 0 {
			return false, err
		}
		gone, err := s.delete("DELETE FROM feed WHERE pos > ? AND pos <= ? AND type = ? AND at < ?", from, upTo, telemetry, micros(before))
		s.writer.tally[numFeed] -= gone
		s.writer.tally[numTelemetry] -= gone
		if err != nil {
			return false, err
		}
		if ahead > 0 {
			if err := s.backdate(from, upTo, now); err != nil {
				return false, err
			}
		}
		young := newest >= micros(before)
		if from == s.rowsFrom && !young && ahead == 0 {
			s.rowsFrom = upTo
		}
		from = upTo
		return n == retainBatch && (!young || ahead > 0), nil
	}
}

// backdate gives rows of a stretch of the feed that are from the future the time now.
func (s *Store) backdate(from, upTo int64, now time.Time) error {
	st, err := s.writer.prepare("UPDATE feed SET at = ? WHERE pos > ? AND pos <= ? AND type = ? AND at > ?")
	if err != nil {
		return err
	}
	_, err = st.exec(micros(now), from, upTo, string(soar.EventTelemetry), micros(now))
	return errors.Join(err, st.close())
}
