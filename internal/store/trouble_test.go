package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/erbridge/erbridge/internal/soar"
)

// SQLite's own bound on the size of the database gives the real SQLITE_FULL.
func TestFullStoreRecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fillAndRecover(t, dir, "disk is full", func(s *Store) (makeRoom func()) {
			other, err := openConn(t.Context(), s.writerDSN)
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{"CREATE TABLE ballast (body BLOB)", "INSERT INTO ballast VALUES (zeroblob(2000000))"} {
				if err := other.exec(sql); err != nil {
					t.Fatal(err)
				}
			}
			pages, err := other.number("PRAGMA page_count")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.writer.exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+300)); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(other.exec("DROP TABLE ballast"), other.close()); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// metric is the only sample of a metric.
func metric(t *testing.T, g prometheus.Gatherer, name string) *dto.Metric {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0]
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// fillAndRecover commits until the store cannot write any more, makes room, and
// expects it to go on by itself with all that it acknowledged and nothing else.
// It runs in a synctest bubble, where waiting for the next probe takes no time.
func fillAndRecover(t *testing.T, dir, reason string, limit func(*Store) (makeRoom func())) {
	t.Helper()
	ctx := t.Context()
	registry := prometheus.NewRegistry()
	accepting := func(want float64) {
		t.Helper()
		if got := metric(t, registry, "erbridge_store_accepting").GetGauge().GetValue(); got != want {
			t.Errorf("erbridge_store_accepting is %g, want %g", got, want)
		}
	}
	s, run, stop := prepare(t, dir, Options{Registerer: registry})
	defer stop()
	makeRoom := limit(s)
	run()
	accepting(1)

	const batch = 20
	acknowledged := 0
	commit := func(i int) error {
		alerts := make([]soar.Alert, batch)
		for j := range alerts {
			alerts[j] = sampleAlert(i*batch + j)
		}
		_, err := s.Commit(ctx, soar.Change{Alerts: alerts})
		return err
	}
	var err error
	for err == nil {
		if err = commit(acknowledged); err == nil {
			acknowledged++
		}
		if acknowledged > 10_000 {
			t.Fatal("the store was never full")
		}
	}
	if !errors.Is(err, soar.ErrNotAccepting) || !strings.Contains(err.Error(), reason) {
		t.Fatalf("full: %v", err)
	}
	if err := s.Health(); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("Health: %v", err)
	}
	accepting(0)
	time.Sleep(5 * probeInterval) // probes find that nothing has changed
	synctest.Wait()
	if s.Health() == nil {
		t.Error("healthy without room")
	}
	if err := commit(acknowledged); !errors.Is(err, soar.ErrNotAccepting) {
		t.Errorf("still full: %v", err)
	}
	// What is there can be read.
	if counts, err := s.Counts(ctx); err != nil || counts.Alerts != int64(acknowledged*batch) {
		t.Errorf("%d alerts counted, %d acknowledged, %v", counts.Alerts, acknowledged*batch, err)
	}

	makeRoom()
	time.Sleep(2 * probeInterval)
	synctest.Wait()
	if err := s.Health(); err != nil {
		t.Fatalf("room was made, and still: %v", err)
	}
	accepting(1)
	if err := commit(acknowledged); err != nil {
		t.Fatalf("after room was made: %v", err)
	}
	acknowledged++
	stop()

	s, _, stop = prepare(t, dir, Options{})
	defer stop()
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	checkTally(t, s)
	if counts, err := s.Counts(ctx); err != nil || counts.Alerts != int64(acknowledged*batch) || counts.Feed != counts.Alerts {
		t.Errorf("opened again: %+v, %d acknowledged, %v", counts, acknowledged*batch, err)
	}
	for i := range acknowledged * batch {
		a := sampleAlert(i)
		if _, err := s.AlertByRef(ctx, a.Ref()); err != nil {
			t.Fatal(err)
		}
	}
}
