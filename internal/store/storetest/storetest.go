// Package storetest holds the promises that every store backend keeps, as tests.
// A backend calls Run from a test of its own.
package storetest

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// Backend is what a store can do.
type Backend interface {
	Commit(ctx context.Context, change soar.Change) (soar.Committed, error)
	Changed(signal soar.Signal) <-chan struct{}
	Health() error
	Retain(ctx context.Context) error

	Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error)
	AlertByKey(ctx context.Context, key int64) (soar.StoredAlert, error)
	AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error)
	Alerts(ctx context.Context, f store.AlertFilter) ([]soar.StoredAlert, error)
	KnownOpen(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)

	KnownResolved(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)
	WorkedOn(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)

	Running(ctx context.Context) ([]soar.Run, error)
	Due(ctx context.Context, now time.Time, limit int) ([]soar.Run, error)
	NextWake(ctx context.Context) (time.Time, error)
	GetRun(ctx context.Context, id soar.RunID) (soar.Run, error)
	Entries(ctx context.Context, id soar.RunID) ([]soar.Entry, error)
	RefClaimed(ctx context.Context, ref string) (bool, error)
	Runs(ctx context.Context, f store.RunFilter) ([]soar.Run, error)

	PlaybookVersion(ctx context.Context, hash string) (soar.PlaybookVersion, error)
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
	Cursor(ctx context.Context, source string) ([]byte, error)

	Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error)
	FeedHead(ctx context.Context) (int64, error)
	SinkCursor(ctx context.Context, sink string) (pos int64, known bool, err error)
	SinkCursors(ctx context.Context) ([]soar.SinkCursor, error)
	Redeliveries(ctx context.Context, sink string, limit int) ([]soar.Redelivery, error)
	DeadLetters(ctx context.Context, f store.DeadLetterFilter) ([]soar.DeadLetter, error)
	DeadLetter(ctx context.Context, id int64) (soar.DeadLetter, error)
	DeadLetterCounts(ctx context.Context) ([]store.DeadLetterCount, error)
	FeedSince(ctx context.Context, since time.Time) (int64, error)
	Counts(ctx context.Context) (store.Counts, error)
	TelemetryRows(ctx context.Context) (int64, error)

	VerifyAudit(ctx context.Context, check store.AuditCheck) (store.AuditReport, error)
	ExportAudit(ctx context.Context, w io.Writer, since, until time.Time) (store.AuditReport, error)
}

var _ Backend = (*store.Store)(nil)

// Opener opens an empty backend that commits until the test ends.
type Opener func(t *testing.T, o store.Options) Backend

// Run tests a backend.
func Run(t *testing.T, open Opener) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, open Opener)
	}{
		{"alerts", testAlerts},
		{"changes", testChanges},
		{"runs", testRuns},
		{"feed", testFeed},
		{"values", testValues},
		{"commit", testCommit},
		{"retention", testRetention},
		{"telemetry", testTelemetry},
		{"audit", testAudit},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, open) })
	}
}

// epoch is when the tests take place.
var epoch = time.Date(2026, 11, 22, 3, 22, 30, 754074000, time.UTC)

// clock is a clock that stands still until a test moves it.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time             { return epoch.Add(time.Duration(c.since.Load())) }
func (c *clock) moveTo(since time.Duration) { c.since.Store(int64(since)) }

func alert(server, id string) soar.Alert {
	return soar.Alert{
		Server: server, ID: id, Source: "rule", Severity: soar.SeverityHigh, Status: soar.StatusOpen,
		CreatedAt: epoch, EventTime: epoch, EventCount: 1,
		Host:  soar.Host{Name: "WIN-FIN-01"},
		Event: map[string]string{"pid": "4000", "cmdline": `mimikatz.exe "sekurlsa::logonpasswords"`},
	}
}

func commit(t *testing.T, b Backend, change soar.Change) soar.Committed {
	t.Helper()
	done, err := b.Commit(t.Context(), change)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return done
}

// must returns a value of a query that has to work.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// names lists what a test wants to see of each item.
func names[T any](items []T, name func(T) string) []string {
	out := []string{}
	for _, item := range items {
		out = append(out, name(item))
	}
	return out
}
