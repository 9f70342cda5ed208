package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

func value(key string) soar.Change { return soar.Change{KV: []soar.KV{{Key: key, Value: "1"}}} }

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, stop := start(t, dir, Options{})
	_, err := Open(t.Context(), dir, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second Open: %v", err)
	}
	stop()
	_, stop = start(t, dir, Options{}) // free again
	stop()
}

func TestFilesAreForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, stop := start(t, dir, Options{})
	defer stop()
	if _, err := s.Commit(t.Context(), value("a")); err != nil {
		t.Fatal(err)
	}
	mode := func(path string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	mode(dir, 0o700)
	for _, name := range []string{dataFile, dataFile + "-wal", dataFile + "-shm", lockFile} {
		mode(filepath.Join(dir, name), 0o600)
	}
	stop()
	if err := os.Chmod(filepath.Join(dir, dataFile), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, dir, Options{})
	defer stop()
	mode(filepath.Join(dir, dataFile), 0o600)
}

func TestDurabilitySettings(t *testing.T) {
	s, _, stop := prepare(t, t.TempDir(), Options{})
	defer stop()
	for pragma, want := range map[string]int64{"synchronous": 2, "auto_vacuum": 2, "application_id": applicationID, "user_version": int64(len(migrations))} {
		got, err := s.writer.number("PRAGMA " + pragma)
		if err != nil || got != want {
			t.Errorf("%s = %d, want %d; %v", pragma, got, want, err)
		}
	}
	var mode string
	if err := s.db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode %q, %v", mode, err)
	}
}

func TestOldSQLiteIsRefused(t *testing.T) {
	for version, want := range map[string]bool{"3.51.2": false, "3.51.3": true, "3.53.4": true, "3.6.23": false, "4.0.0": true, "odd": false} {
		if err := checkSQLiteVersion(version); (err == nil) != want {
			t.Errorf("SQLite %s: %v", version, err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, _, stop := prepare(t, dir, Options{})
	if err := s.writer.exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "newer erbridge") {
		t.Errorf("Open: %v", err)
	}
	if _, err := OpenReader(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "newer erbridge") {
		t.Errorf("OpenReader: %v", err)
	}
	// The refused Open has let go of the lock.
	f, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(f); err != nil {
		t.Error(err)
	}
}

func TestReader(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReader(t.Context(), dir); !errors.Is(err, ErrNoStore) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := OpenReader(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, ErrNoStore) {
		t.Errorf("no folder: %v", err)
	}
	dir = filepath.Join(dir, "odd name ?#%20&_pragma=x")
	s, stop := start(t, dir, Options{})
	a := sampleAlert(1)
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{a}}); err != nil {
		t.Fatal(err)
	}
	reads := func(when string) {
		t.Helper()
		r, err := OpenReader(t.Context(), dir)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := r.AlertByRef(t.Context(), a.Ref()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if _, err := r.db.ExecContext(t.Context(), "DELETE FROM alert"); err == nil {
			t.Errorf("%s: a reader has written", when)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	reads("beside a running store")
	stop()
	reads("without one")
}

// A reader in the middle of a query sees the store as it was, and the committer
// does not wait for it.
func TestReadersDoNotBlockTheWriter(t *testing.T) {
	s := running(t, Options{})
	var alerts []soar.Alert
	for i := range 100 {
		alerts = append(alerts, sampleAlert(i))
	}
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: alerts}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.db.QueryContext(t.Context(), "SELECT key FROM alert")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		if n++; n == 1 {
			if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{sampleAlert(100)}}); err != nil {
				t.Error(err)
			}
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Error(err)
	}
	if n != 100 {
		t.Errorf("the query saw %d alerts of 100", n)
	}
}

// What waits for the committer together goes to disk together.
func TestOneSyncForAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s, run, stop := prepare(t, t.TempDir(), Options{Registerer: registry})
		defer stop()
		const n = 50
		errs := make(chan error, n)
		for i := range n {
			go func() {
				_, err := s.Commit(t.Context(), value(fmt.Sprint(i)))
				errs <- err
			}()
		}
		synctest.Wait() // all are queued
		if got := metric(t, registry, "erbridge_store_queue_changes").GetGauge().GetValue(); got != n {
			t.Errorf("%g changes queued", got)
		}
		run()
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if h := metric(t, registry, "erbridge_store_commit_group_size").GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != n {
			t.Errorf("%d changes in %d groups", int(h.GetSampleSum()), h.GetSampleCount())
		}
		if got := metric(t, registry, "erbridge_store_size_bytes").GetGauge().GetValue(); got < 4096 {
			t.Errorf("size %g", got)
		}
	})
}

func TestFullQueueIsBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, run, stop := prepare(t, t.TempDir(), Options{QueueSize: 2})
		defer stop()
		ctx, leave := context.WithCancelCause(t.Context())
		errs := make([]error, 3)
		ended := make(chan int, 3)
		for i := range errs {
			ctx := ctx
			if i == 1 {
				ctx = t.Context()
			}
			go func() {
				_, errs[i] = s.Commit(ctx, value(fmt.Sprint(i)))
				ended <- i
			}()
			synctest.Wait()
		}
		if load := s.QueueLoad(); load != 1 {
			t.Errorf("load %g of a full queue", load)
		}
		select {
		case i := <-ended:
			t.Fatalf("caller %d did not wait: %v", i, errs[i])
		default:
		}
		// The first is queued and not taken up, the third never got in.
		gone := errors.New("gone")
		leave(gone)
		<-ended
		<-ended
		if !errors.Is(errs[0], gone) || !errors.Is(errs[2], gone) {
			t.Errorf("those who left: %v, %v", errs[0], errs[2])
		}
		run()
		if i := <-ended; i != 1 || errs[1] != nil {
			t.Errorf("caller %d: %v", i, errs[i])
		}
		found, err := s.KV(t.Context(), "")
		if err != nil || len(found) != 1 || found[0].Key != "1" {
			t.Errorf("kept %+v, %v", found, err)
		}
	})
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	q := newQueue(100, 1000)
	room := func(bytes int64) bool {
		t.Helper()
		wait, err := q.offer(&request{bytes: bytes})
		if err != nil {
			t.Fatal(err)
		}
		return wait == nil
	}
	if !room(5000) {
		t.Error("a large request does not get into an empty queue")
	}
	if room(1) {
		t.Error("room beside a request larger than the queue")
	}
	q.take(10)
	if !room(600) || room(600) || !room(400) {
		t.Error("the bound is not kept")
	}
}

func TestStoppingFinishesWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, run, stop := prepare(t, dir, Options{})
		errs := make(chan error, 10)
		for i := range 10 {
			go func() {
				_, err := s.Commit(t.Context(), value(fmt.Sprint(i)))
				errs <- err
			}()
		}
		synctest.Wait()
		run()
		stop()
		acknowledged := 0
		for range 10 {
			if err := <-errs; err == nil {
				acknowledged++
			} else if !errors.Is(err, soar.ErrNotAccepting) {
				t.Error(err)
			}
		}
		if acknowledged != 10 {
			t.Errorf("%d of 10 queued changes were committed", acknowledged)
		}
		if _, err := s.Commit(t.Context(), value("late")); !errors.Is(err, soar.ErrNotAccepting) {
			t.Errorf("after Close: %v", err)
		}
		r, err := OpenReader(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.KV(t.Context(), "")
		if err := errors.Join(err, r.Close()); err != nil || len(found) != acknowledged {
			t.Errorf("%d kept, %d acknowledged, %v", len(found), acknowledged, err)
		}
	})
}

func TestNobodyWaitsForAStoreThatNeverRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := prepare(t, t.TempDir(), Options{})
		ended := make(chan error, 1)
		go func() {
			_, err := s.Commit(t.Context(), value("a"))
			ended <- err
		}()
		synctest.Wait()
		stop()
		if err := <-ended; !errors.Is(err, soar.ErrNotAccepting) {
			t.Errorf("Commit: %v", err)
		}
	})
}

func TestRunOnce(t *testing.T) {
	s := running(t, Options{})
	if _, err := s.Commit(t.Context(), value("a")); err != nil { // it runs
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("a second Run was allowed")
	}
}

// A change that SQLite refuses for what is in it fails alone.
func TestFaultyChangeFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, run, stop := prepare(t, t.TempDir(), Options{})
		defer stop()
		errs := make([]error, 5)
		ended := make(chan int, len(errs))
		for i := range errs {
			change := value(fmt.Sprint(i))
			if i == 2 {
				change.Cursors = []soar.Cursor{{Source: "without a value"}}
			}
			go func() {
				_, errs[i] = s.Commit(t.Context(), change)
				ended <- i
			}()
		}
		synctest.Wait()
		run()
		for range errs {
			<-ended
		}
		for i, err := range errs {
			if (err != nil) != (i == 2) || errors.Is(err, soar.ErrNotAccepting) {
				t.Errorf("change %d: %v", i, err)
			}
		}
		if err := s.Health(); err != nil {
			t.Errorf("Health: %v", err)
		}
		if found, err := s.KV(t.Context(), ""); err != nil || len(found) != 4 {
			t.Errorf("%d kept, %v", len(found), err)
		}
	})
}

// Queries that a large store would make slow use the index made for them.
func TestQueriesUseTheirIndexes(t *testing.T) {
	s := running(t, Options{})
	for _, tt := range []struct{ query, index string }{
		{selectRuns + " WHERE state = 'running' AND state <> 'done' ORDER BY id", "run_by_state"},
		{selectRuns + " WHERE state = 'waiting' AND wake <= 5 ORDER BY wake, id LIMIT 5", "run_by_wake"},
		{selectRuns + " WHERE playbook = 'a' AND id < 5 ORDER BY id DESC LIMIT 5", "run_by_playbook"},
		{selectRuns + " WHERE alert_key = 1 AND alert = 'a' ORDER BY id DESC LIMIT 5", "run_by_alert"},
		{selectAlerts + " WHERE a.created_at >= 1 AND a.status = 'open' AND a.server = 'a' ORDER BY a.created_at DESC LIMIT 5", "alert_by_time"},
		{selectAlerts + " WHERE a.host = 'a' AND a.key < 1 ORDER BY a.key DESC LIMIT 5", "alert_by_host"},
		{"SELECT 1 FROM ev WHERE ref = 'a' LIMIT 1", "ev_by_ref"},
		{"SELECT 1 FROM feed WHERE alert_key = 1", "feed_by_alert"},
	} {
		steps, err := s.explain(t.Context(), tt.query)
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(steps, "; ")
		if !strings.Contains(plan, tt.index) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\n uses %s", tt.query, plan)
		}
	}
}

func (r *Reader) explain(ctx context.Context, query string) (steps []string, err error) {
	rows, err := r.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		steps = append(steps, detail)
	}
	return steps, rows.Err()
}

func TestPackedValues(t *testing.T) {
	for _, size := range []int{0, 1, minPacked - 1, minPacked, 100_000} {
		data := []byte(strings.Repeat(`{"server":"er"} `, size/16+1)[:size])
		got, err := unpack(pack(data))
		if err != nil || string(got) != string(data) {
			t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
		}
	}
	for name, packed := range map[string][]byte{
		"empty": {}, "unknown kind": {9, 1, 2}, "cut off": pack(make([]byte, 10_000))[:5], "promises gigabytes": {packedS2, 0xff, 0xff, 0xff, 0xff, 0x0f},
	} {
		if _, err := unpack(packed); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The dictionary is part of the format: a value packed by the first release must
// stay readable.
func TestPackedByTheFirstRelease(t *testing.T) {
	packed, err := os.ReadFile(filepath.Join("testdata", "alert-1.packed"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAlert(packed)
	want := sampleAlert(1)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}
