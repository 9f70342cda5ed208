package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// sweepEvery is how often retention looks.
const sweepEvery = time.Hour

// retention is who deletes in the name of the configuration.
const retention = "retention"

// Run cleans up what a crash left behind, and then keeps the folder within its bounds,
// until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Error("retention of carves", "err", err) // the next one tries again
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Sweep deletes archives that are kept for too long, and then the oldest, until the
// others are within the bound. Manifest and record of custody stay. A carve that a run
// or a person is using stays, too.
func (s *Store) Sweep(ctx context.Context) error {
	sessions, err := s.sessions()
	if err != nil {
		return err
	}
	var problems []error
	var kept []Item
	var total int64
	for _, session := range sessions {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.tidy(session); err != nil {
			problems = append(problems, err)
			continue
		}
		item, err := s.Get(session)
		if err != nil {
			if !errors.Is(err, soar.ErrNotFound) {
				problems = append(problems, err)
			}
			continue
		}
		if item.State == StateKept {
			bytes, _ := item.stored()
			kept, total = append(kept, item), total+bytes
		}
	}
	slices.SortStableFunc(kept, func(a, b Item) int { return a.DownloadedAt.Compare(b.DownloadedAt) })
	for i := range kept {
		m := &kept[i].Manifest
		bytes, _ := m.stored()
		var why string
		switch {
		case s.o.Keep > 0 && s.o.Now().Sub(m.DownloadedAt) > s.o.Keep:
			why = fmt.Sprintf("older than %s (carves.keep)", s.o.Keep)
		case s.o.MaxTotal > 0 && total > s.o.MaxTotal:
			why = fmt.Sprintf("the oldest, and all of them had %d bytes, with %d allowed (carves.max_total)", total, s.o.MaxTotal)
		default:
			continue
		}
		gone, err := s.expire(ctx, m, why)
		if err != nil {
			problems = append(problems, err)
		}
		if gone {
			total -= bytes
		}
	}
	s.metrics.kept.Set(float64(total))
	return errors.Join(problems...)
}

// tidy removes what a crash has left in a folder that nobody uses: parts, an archive
// without a manifest, and one that is recorded as deleted.
func (s *Store) tidy(session string) error {
	// Where nobody ever worked, nothing was left behind: it may be somebody else's folder.
	if _, err := os.Stat(s.in(session, lockName)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.lock(session, false)
	if errors.Is(err, ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	m, err := s.manifest(session)
	if errors.Is(err, soar.ErrNotFound) {
		return s.clear(session)
	}
	if err != nil {
		return err
	}
	deleted, err := s.deleted(session)
	if err != nil {
		return err
	}
	if deleted {
		return s.clear(session)
	}
	return s.clearParts(m.Session)
}

// expire deletes an archive, unless it is in use.
func (s *Store) expire(ctx context.Context, m *Manifest, why string) (gone bool, err error) {
	unlock, err := s.lock(m.Session, false)
	if errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	used, err := s.inUse(ctx, m.Session)
	if used || err != nil {
		return false, err
	}
	_, stored := m.stored()
	// The record comes first: a crash after it leaves an archive that the next sweep
	// removes, and never one that went without a word.
	err = s.record(m.Session, Actor{Name: retention, Why: why}, Entry{What: Deleted, Bytes: m.Bytes, SHA256: m.SHA256, Stored: stored})
	if err != nil {
		return false, err
	}
	if err := s.disk.remove(s.archive(m)); err != nil {
		return false, err
	}
	s.metrics.count(outcomeDeleted)
	s.o.Log.Info("carve deleted", "session", m.Session, "bytes", m.Bytes, "reason", why)
	return true, nil
}

// inUse reports whether a run that has to do with a carve has not ended.
func (s *Store) inUse(ctx context.Context, session string) (bool, error) {
	if s.o.InUse == nil {
		return false, nil
	}
	c, err := s.Custody(session)
	if err != nil && !errors.Is(err, ErrChanged) {
		return false, err
	}
	asked := map[soar.RunID]bool{}
	for _, e := range c.Entries {
		if e.Run == 0 || asked[e.Run] {
			continue
		}
		asked[e.Run] = true
		used, err := s.o.InUse(ctx, e.Run)
		if err != nil {
			return false, fmt.Errorf("whether run %s uses carve %s: %w", e.Run, session, err)
		}
		if used {
			return true, nil
		}
	}
	return false, nil
}

// Removed records that a carve was removed from the server, where the folder knows it.
func (s *Store) Removed(session string, by Actor) error {
	if err := validSession(session); err != nil {
		return err
	}
	_, err := os.Stat(s.folder(session))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.record(session, by, Entry{What: Removed})
}
