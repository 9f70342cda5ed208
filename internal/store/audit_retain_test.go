package store

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const day = 24 * time.Hour

// retained is the folder of a store of which the first records have aged, and some
// that came later.
func retained(t *testing.T, keep Retention) (dir string, before, after AuditReport) {
	t.Helper()
	var moved atomic.Int64
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dir = t.TempDir()
	s, stop := start(t, dir, Options{Retention: keep, Now: func() time.Time { return began.Add(time.Duration(moved.Load())) }})
	defer stop()
	fill(t, s, 3)
	before, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if err != nil {
		t.Fatal(err)
	}
	moved.Store(int64(50 * day))
	at := s.now()
	changes := append([]soar.Change{{Alerts: []soar.Alert{sampleAlert(10)}}}, aRun(4, soar.NewRunID(at), at)...)
	for _, change := range changes {
		if _, err := s.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	moved.Store(int64(60 * day))
	if err := s.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err = s.VerifyAudit(t.Context(), AuditCheck{}); err != nil {
		t.Fatal(err)
	}
	return dir, before, after
}

// What retention removes is recorded, so that nobody else can have removed it.
func TestAuditTellsOfRetention(t *testing.T) {
	dir, before, after := retained(t, Retention{Alerts: 30 * day, Runs: 30 * day})
	if after.First != 1 || after.Alerts >= before.Alerts+1 || after.Runs != 1 || after.Entries != 4 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	tamper(t, dir, "DELETE FROM ev; DELETE FROM run")
	if _, err := verify(t, dir, AuditCheck{}); err == nil {
		t.Error("what retention has left was removed, and nothing was found")
	}
}

func TestAuditRetention(t *testing.T) {
	for name, keep := range map[string]Retention{
		"of audit records alone": {Audit: 30 * day},
		"of everything":          {Audit: 30 * day, Alerts: 20 * day, Runs: 20 * day},
		"of runs first":          {Audit: 40 * day, Runs: 5 * day},
		"of nearly everything":   {Audit: time.Hour, Alerts: time.Hour, Runs: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			dir, before, after := retained(t, keep)
			if after.First <= before.Head.Seq {
				t.Fatalf("nothing was removed: %+v, then %+v", before, after)
			}
			// The chain goes on behind what was removed, also after a restart.
			s, stop := start(t, dir, Options{})
			if _, err := s.Commit(t.Context(), soar.Change{Acts: []soar.Act{{By: "ada", What: "go on"}}}); err != nil {
				t.Fatal(err)
			}
			stop()
			report, err := verify(t, dir, AuditCheck{Expect: &after.Head})
			if err != nil || report.First != after.First || report.Head.Seq != after.Head.Seq+1 {
				t.Errorf("%+v, %v", report, err)
			}
			_, err = verify(t, dir, AuditCheck{Expect: &AuditMark{1, before.Head.Hash}})
			if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != FaultMissing {
				t.Errorf("a head that retention has removed: %v", err)
			}
			for sql, what := range map[string]AuditFault{
				"UPDATE audit_anchor SET hash = zeroblob(32)":                                              FaultAnchor,
				"UPDATE audit_anchor SET at = at + 1":                                                      FaultAnchor,
				"UPDATE audit_anchor SET seq = seq - 1":                                                    FaultAnchor,
				"DELETE FROM audit_anchor":                                                                 FaultAnchor,
				"DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)":                               FaultMissing,
				"UPDATE audit SET at = at - 1 WHERE seq = (SELECT min(seq) FROM audit)":                    FaultContent,
				"UPDATE audit_anchor SET (seq, hash) = (SELECT seq, hash FROM audit ORDER BY seq LIMIT 1)": FaultAnchor,
			} {
				dir := copied(t, dir)
				tamper(t, dir, sql)
				_, err := verify(t, dir, AuditCheck{})
				if b, ok := errors.AsType[*AuditBreak](err); !ok || b.What != what {
					t.Errorf("%s: %v, want %q", sql, err, what)
				}
			}
		})
	}
}

// Retention is not the way to get rid of a record that was changed.
func TestAuditRetentionLeavesTheUnreadable(t *testing.T) {
	dir := filled(t, Options{}, 2)
	tamper(t, dir, "UPDATE audit SET hash = x'00' WHERE seq = 5")
	s, stop := start(t, dir, Options{Retention: Retention{Audit: time.Hour}, Now: func() time.Time { return time.Now().Add(day) }})
	defer stop()
	if err := s.Retain(t.Context()); err == nil {
		t.Error("a record that cannot be read was removed without a word")
	}
	_, err := s.VerifyAudit(t.Context(), AuditCheck{})
	if b, ok := errors.AsType[*AuditBreak](err); !ok || b.Seq != 5 {
		t.Errorf("%v", err)
	}
}
