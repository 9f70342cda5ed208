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
	if err := s.upkeep(ctx, s.ageTelemetry(s.now().Add(-keep))); err != nil {
		return fmt.Errorf("remove old telemetry: %w", err)
	}
	return nil
}

func (s *Store) ageTelemetry(before time.Time) func() (bool, error) {
	return func() (bool, error) {
		if s.writer.tally[numTelemetry] == 0 {
			return false, nil
		}
		// The next events that may go, whatever their type; the last of them says
		// whether younger ones follow.
		st, err := s.writer.prepare(`SELECT count(*), coalesce(max(pos), 0), coalesce(max(at), 0) FROM (SELECT pos, at FROM feed
			WHERE pos > ? AND pos <= (SELECT coalesce(min(pos), ?) FROM sink) ORDER BY pos LIMIT ?)`)
		if err != nil {
			return false, err
		}
		var n, upTo, newest int64
		err = st.query(values(s.rowsFrom, s.writer.tally[lastFeedPos], int64(retainBatch)), func(row []driver.Value) error {
			n, upTo, newest = number(row[0]), number(row[1]), number(row[2])
			return nil
		})
		if err := errors.Join(err, st.close()); err != nil || n == 0 {
			return false, err
		}
		gone, err := s.delete("DELETE FROM feed WHERE pos > ? AND pos <= ? AND type = ? AND at < ?",
			s.rowsFrom, upTo, string(soar.EventTelemetry), micros(before))
		s.writer.tally[numFeed] -= gone
		s.writer.tally[numTelemetry] -= gone
		if err != nil || newest >= micros(before) {
			return false, err
		}
		s.rowsFrom = upTo
		return n == retainBatch, nil
	}
}
