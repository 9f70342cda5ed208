// Package store keeps everything that must survive a crash: alerts, runs and
// their journal, the feed of events, cursors, dead letters. It is SQLite behind
// the vocabulary of package soar; callers state what they need of it as small
// interfaces of their own.
//
// Everything that is written goes through one committer. Callers hand a
// soar.Change to Commit and wait; the committer takes whatever has gathered,
// writes it in one transaction with one sync to disk, and wakes them all. There
// is no timer: an idle store answers after one sync, and a busy one forms larger
// groups by itself, because changes gather while the disk is syncing.
//
// Reading is done on connections of its own, which see only what is committed
// and never make the writer wait.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Errors of Open that a caller can tell apart.
var (
	// ErrInUse means that another process has the store open for writing.
	ErrInUse = errors.New("store is in use")
	// ErrNetworkFilesystem means that the folder is not on a local disk.
	ErrNetworkFilesystem = errors.New("store on a network file system")
	// ErrNoStore means that the folder holds no store (OpenReader).
	ErrNoStore = errors.New("no store")
)

// Options are the optional settings of a store.
type Options struct {
	// Log gets what an operator should know. Nil: slog.Default.
	Log *slog.Logger
	// Registerer gets the metrics. Nil: none are kept.
	Registerer prometheus.Registerer
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// QueueSize is how many changes may wait for the committer; Commit waits for
	// room. Zero: 4096.
	QueueSize int
	// Retention is how long things are kept.
	Retention Retention
}

// Retention is how long things are kept after they have ended. Zero: for ever.
type Retention struct {
	// Alerts is counted from when an alert was taken in. It covers the feed too.
	Alerts time.Duration
	// Runs is counted from the end of a run; its journal goes with it.
	Runs time.Duration
	// DeadLetters is counted from when they were added.
	DeadLetters time.Duration
	// Audit is counted from when a record was made.
	Audit time.Duration
	// Telemetry is counted from when a row was taken in. Zero: as long as Alerts.
	Telemetry time.Duration
}

const (
	defaultQueueSize = 4096
	maxQueueBytes    = 64 << 20
)

// Store is the open store. All methods are safe for concurrent use.
type Store struct {
	*Reader
	dir     string
	log     *slog.Logger
	now     func() time.Time
	keep    Retention
	metrics *metrics
	queue   *queue
	lock    *os.File

	writer          *writer // owned by Run while it runs; by Open and Close before and after
	writerDSN       string
	checkpoints     chan struct{} // capacity 1: asks the checkpointer to work
	sinceCheckpoint int           // pages written; owned by Run
	logPages        atomic.Int64  // length of the write-ahead log at the last checkpoint
	auditHead       atomic.Int64  // number of the newest audit record
	rowsFrom        int64         // no telemetry is left in the feed up to here; owned by Run
	running         atomic.Bool

	trouble atomic.Pointer[error] // why nothing is accepted; nil when all is well

	mu      sync.Mutex
	signals [soar.NumSignals]chan struct{} // closed and forgotten when touched
}

// Open opens the store in folder dir and creates it where there is none. It takes
// a lock that keeps other processes from writing (ErrInUse) and refuses network
// file systems (ErrNetworkFilesystem). It starts nothing: Commit waits until Run
// is called.
func Open(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %q: %w", dir, err)
		}
	}()
	s := &Store{dir: dir, log: o.Log, now: o.Now, keep: o.Retention, checkpoints: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.QueueSize <= 0 {
		o.QueueSize = defaultQueueSize
	}
	s.queue = newQueue(o.QueueSize, maxQueueBytes)

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkFilesystem(dir); err != nil {
		return nil, err
	}
	if s.lock, err = lock(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock(s.lock))
		}
	}()
	if err := private(dir); err != nil {
		return nil, err
	}
	// mode=rw: a database that is gone is an error, never a new and empty one.
	s.writerDSN = dsn(dir, "&mode=rw",
		"auto_vacuum(incremental)", // before the first table
		"journal_mode(wal)",
		"synchronous(full)",
		"wal_autocheckpoint(0)", // the checkpointer does it beside the committer
		"journal_size_limit(67108864)",
		"cache_size(-32768)",
		"temp_store(memory)",
	)
	if err := s.openWriter(ctx); err != nil {
		return nil, err
	}
	if s.Reader, err = openReader(ctx, dir, s.now); err != nil {
		return nil, errors.Join(err, s.writer.close())
	}
	s.Reader.log = s.log
	if s.metrics, err = newMetrics(o.Registerer, s); err != nil {
		return nil, errors.Join(err, s.Reader.Close(), s.writer.close())
	}
	return s, nil
}

func (s *Store) openWriter(ctx context.Context) error {
	c, err := openConn(ctx, s.writerDSN)
	if err != nil {
		return err
	}
	if err := checkSQLite(c); err != nil {
		return errors.Join(err, c.close())
	}
	if err := migrate(c); err != nil {
		return errors.Join(err, c.close())
	}
	if s.writer, err = newWriter(c, s.now); err == nil {
		s.auditHead.Store(s.writer.tally[lastAuditSeq])
	}
	return err
}

// checkSQLite refuses a library that is too old to be trusted with the store.
func checkSQLite(c *conn) error {
	var version string
	st, err := c.prepare("SELECT sqlite_version()")
	if err != nil {
		return err
	}
	if err := errors.Join(st.query(nil, firstText(&version)), st.close()); err != nil {
		return err
	}
	return checkSQLiteVersion(version)
}

func checkSQLiteVersion(version string) error {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("SQLite version %q: %w", version, err)
	}
	if major*1_000_000+minor*1_000+patch < minSQLite {
		return fmt.Errorf("SQLite %s is older than 3.51.3, which corrects an error that can damage the store; build with a newer modernc.org/sqlite",
			version)
	}
	return nil
}

// private makes the folder and what is in it readable for the owner alone. The
// database is created here because SQLite would let the umask decide; it gives
// its other files the mode of the database.
func private(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs the x bit
		return err
	}
	path := filepath.Join(dir, dataFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close releases the files and the lock. Run must have returned.
func (s *Store) Close() error {
	s.refuse("closed")
	s.metrics.close()
	return errors.Join(s.Reader.Close(), s.writer.close(), unlock(s.lock))
}

// Commit makes a change durable: it returns after the change is on disk as a
// whole, or with an error and nothing of it kept. When the queue is full it waits
// for room; ctx bounds that wait and the wait for the committer to take the
// change up. From then on Commit waits for the outcome even when ctx ends, so
// that an error never leaves it open whether the change was kept.
//
// An error wrapping soar.ErrConflict means that a journal entry existed already;
// one wrapping soar.ErrNotAccepting, that the disk is full or broken or the store
// is shutting down.
//
// The change must not be modified until Commit returns.
func (s *Store) Commit(ctx context.Context, change soar.Change) (soar.Committed, error) {
	if err := s.Health(); err != nil {
		return soar.Committed{}, fmt.Errorf("%w: %w", soar.ErrNotAccepting, err)
	}
	rows, err := makeRows(&change)
	if err != nil || rows.empty() {
		return soar.Committed{}, err
	}
	return s.submit(ctx, &request{change: rows, bytes: rows.sizeInBytes})
}

// Pending is Reader.Pending. An alert that cannot be read will never be evaluated,
// so that its evaluation ends here.
func (s *Store) Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	for {
		found, unreadable, err := s.pending(ctx, after, limit)
		if err != nil || len(unreadable) == 0 {
			return found, err
		}
		var change soar.Change
		for _, key := range unreadable {
			s.log.Error("an alert that cannot be read is not evaluated", "key", key)
			change.Evaluated = append(change.Evaluated, soar.Evaluation{AlertKey: key})
		}
		if _, err := s.Commit(ctx, change); err != nil {
			return nil, err
		}
	}
}

func (s *Store) submit(ctx context.Context, r *request) (soar.Committed, error) {
	r.done = make(chan struct{})
	if err := s.queue.put(ctx, r); err != nil {
		return soar.Committed{}, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.withdraw() {
			return soar.Committed{}, context.Cause(ctx)
		}
		<-r.done
	}
	return r.committed, r.err
}

// Health is nil, or why the store accepts nothing: a full disk, an input/output
// error. The store finds out by itself when it can write again.
func (s *Store) Health() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// QueueLoad says how full the queue of the committer is, from 0 to 1.
func (s *Store) QueueLoad() float64 {
	load, _ := s.queue.load()
	return load
}

// Changed returns a channel that is closed at the next commit that touches what
// the signal names. Ask for it before reading, and wait on it when there was
// nothing to read: a commit in between is then not missed.
func (s *Store) Changed(signal soar.Signal) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signals[signal] == nil {
		s.signals[signal] = make(chan struct{})
	}
	return s.signals[signal]
}

func (s *Store) signal(touched [soar.NumSignals]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, hit := range touched {
		if hit && s.signals[i] != nil {
			close(s.signals[i])
			s.signals[i] = nil
		}
	}
}

// sizeBytes is what the store takes on disk.
func (s *Store) sizeBytes() (total int64) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(filepath.Join(s.dir, dataFile+suffix)); err == nil {
			total += info.Size()
		}
	}
	return total
}
