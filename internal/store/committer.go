package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	// maxGroup bounds one transaction, in requests.
	maxGroup = 2048
	// checkpointPages is after how many written pages the log is moved into the
	// database: 4 MiB.
	checkpointPages = 1000
	// probeInterval is how often a store that accepts nothing tries again.
	probeInterval = time.Second
	// probeBytes is how much space must be there again.
	probeBytes = 256 << 10
)

// Run commits what Commit hands over, until ctx ends. Then it refuses new changes
// with soar.ErrNotAccepting, finishes those that are queued, and returns. It also
// runs retention and checkpoints. It may be called once.
func (s *Store) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("store: Run was called twice")
	}
	defer s.refuse("not running")
	var wg sync.WaitGroup
	defer wg.Wait()
	helpers, stop := context.WithCancel(ctx)
	defer stop()
	// A connection of its own: the committer goes on while pages are moved.
	c, err := openConn(ctx, s.writerDSN)
	if err != nil {
		return fmt.Errorf("store: open checkpointer: %w", err)
	}
	wg.Go(func() { s.checkpointer(helpers, c) })
	wg.Go(func() { s.retain(helpers) })
	wg.Go(func() { s.retainTelemetry(helpers) })
	s.commitUntil(ctx)
	return nil
}

func (s *Store) commitUntil(ctx context.Context) {
	// The writer's own context never ends: a transaction is finished, not cut.
	for {
		if group := s.queue.take(maxGroup); len(group) > 0 {
			s.commit(group)
			continue
		}
		var probe <-chan time.Time
		if s.Health() != nil {
			probe = time.After(probeInterval)
		}
		select {
		case <-s.queue.filled:
		case <-probe:
			s.probe(ctx)
		case <-ctx.Done():
			s.queue.close(fmt.Errorf("%w: shutting down", soar.ErrNotAccepting))
			for {
				group := s.queue.take(maxGroup)
				if len(group) == 0 {
					return
				}
				s.commit(group)
			}
		}
	}
}

// refuse answers whatever is queued and whatever comes with soar.ErrNotAccepting.
func (s *Store) refuse(reason string) {
	err := fmt.Errorf("%w: %s", soar.ErrNotAccepting, reason)
	s.queue.close(err)
	for group := s.queue.take(maxGroup); len(group) > 0; group = s.queue.take(maxGroup) {
		for _, r := range group {
			if r.take() {
				r.finish(err)
			}
		}
	}
}

// commit writes the requests whose callers still wait for them.
func (s *Store) commit(requests []*request) {
	group := make([]*request, 0, len(requests))
	for _, r := range requests {
		switch {
		case !r.take():
		case r.upkeep != nil:
			s.finish([]*request{r}, s.transact(r.upkeep))
		default:
			group = append(group, r)
		}
	}
	if len(group) == 0 {
		return
	}
	s.metrics.groupSize.Observe(float64(len(group)))
	err := s.transact(func() error { return s.writer.apply(group) })
	if err != nil && (errors.Is(err, soar.ErrConflict) || ownFault(err)) {
		err = s.transact(func() error { return s.applyEach(group) })
	}
	s.finish(group, err)
}

// applyEach writes a group in which one change is at fault, each change by
// itself, and leaves its error at the request.
func (s *Store) applyEach(group []*request) error {
	for i, r := range group {
		r.err = s.writer.savepoint(func() error { return s.writer.apply(group[i : i+1]) })
		if r.err == nil {
			continue
		}
		if _, broken := errors.AsType[*brokenError](r.err); broken || !errors.Is(r.err, soar.ErrConflict) && !ownFault(r.err) {
			return r.err
		}
		r.committed = soar.Committed{}
	}
	return nil
}

// transact runs f in a transaction of the writer and does what follows from how
// it went.
func (s *Store) transact(f func() error) error {
	if s.Health() != nil {
		// Queued before the trouble was known.
		return s.Health()
	}
	start := time.Now() // the disk's own time, whatever clock the store goes by
	err := s.writer.transact(f)
	if err == nil {
		s.metrics.commitTime.Observe(time.Since(start).Seconds())
		s.auditHead.Store(s.writer.tally[lastAuditSeq])
		s.signal(s.writer.touched)
		s.afterCommit()
		return nil
	}
	if !errors.Is(err, soar.ErrConflict) && !ownFault(err) {
		s.fail(err)
		return s.Health()
	}
	return err
}

// finish answers the callers of a group. Without an error of the whole group,
// each has its own outcome.
func (s *Store) finish(group []*request, err error) {
	for _, r := range group {
		if err != nil {
			r.committed = soar.Committed{}
			if s.Health() != nil {
				r.finish(fmt.Errorf("%w: %w", soar.ErrNotAccepting, err))
				continue
			}
			r.finish(err)
			continue
		}
		r.finish(r.err)
	}
}

// fail records why nothing can be written.
func (s *Store) fail(err error) {
	if code(err) == sqlite3.SQLITE_FULL {
		err = fmt.Errorf("disk is full: %w", err)
	} else {
		err = fmt.Errorf("cannot write to disk: %w", err)
	}
	if s.trouble.Swap(&err) == nil {
		s.log.Error("store accepts nothing until it can write again", "dir", s.dir, "err", err)
	}
}

// probe tries to write, and ends the trouble when it can. What is written is
// more than a few bytes, because those often fit into a page that is half empty.
func (s *Store) probe(ctx context.Context) {
	before := s.Health()
	if code(before) != sqlite3.SQLITE_FULL {
		// After an input/output error SQLite may hold on to a broken file.
		if err := s.reopen(ctx); err != nil {
			s.fail(err)
			return
		}
	}
	err := s.writer.transact(func() error {
		return s.writer.exec(fmt.Sprintf("INSERT INTO probe (body) VALUES (zeroblob(%d))", probeBytes))
	})
	if err == nil {
		err = s.writer.transact(func() error { return s.writer.exec("DELETE FROM probe") })
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.trouble.Store(nil)
	s.log.Info("store accepts changes again", "dir", s.dir)
}

func (s *Store) reopen(ctx context.Context) error {
	old := s.writer
	if err := s.openWriter(ctx); err != nil {
		s.writer = old
		return err
	}
	if err := old.close(); err != nil {
		s.log.Warn("closing the broken connection", "dir", s.dir, "err", err)
	}
	return nil
}

// afterCommit sees to it that the write-ahead log does not grow for ever.
func (s *Store) afterCommit() {
	n, err := s.writer.pages()
	if err != nil {
		s.log.Warn("count written pages", "err", err)
		return
	}
	s.sinceCheckpoint += n
	if s.logPages.Load() > maxLogPages {
		// Under steady load the checkpointer never catches up with the end of the
		// log, and only then is it begun anew. What it left over is little.
		pages, moved, err := s.writer.checkpoint()
		if err != nil {
			s.log.Warn("checkpoint", "dir", s.dir, "err", err)
		}
		s.logPages.Store(pages - moved)
		s.sinceCheckpoint = 0
		return
	}
	if s.sinceCheckpoint >= checkpointPages {
		s.sinceCheckpoint = 0
		select {
		case s.checkpoints <- struct{}{}:
		default: // at work already
		}
	}
}

// checkpointer moves the log into the database whenever it is asked to.
func (s *Store) checkpointer(ctx context.Context, c *conn) {
	defer func() {
		if err := c.close(); err != nil {
			s.log.Warn("close checkpointer", "dir", s.dir, "err", err)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.checkpoints:
		}
		pages, _, err := c.checkpoint()
		if err != nil {
			// Nothing is lost: the log still has everything, and a commit that
			// finds no space says so.
			s.log.Warn("checkpoint", "dir", s.dir, "err", err)
			continue
		}
		s.logPages.Store(pages)
	}
}
