package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const selectRuns = `SELECT id, alert_key, alert, playbook, version, mode, state, pc, wake, epoch, started_at, ended_at, error FROM run`

func scanRun(row *sql.Rows) (run soar.Run, err error) {
	var wake, startedAt, endedAt int64
	err = row.Scan(&run.ID, &run.AlertKey, &run.Alert, &run.Playbook, &run.Version, &run.Mode, &run.State, &run.PC, &wake, &run.Epoch,
		&startedAt, &endedAt, &run.Error)
	run.Wake, run.StartedAt, run.EndedAt = fromMicros(wake), fromMicros(startedAt), fromMicros(endedAt)
	return run, err
}

// Running returns all runs in state running, oldest first: those that were at
// work when the process ended. Waiting runs are Due when their time comes.
func (r *Reader) Running(ctx context.Context) ([]soar.Run, error) {
	return list(ctx, r, selectRuns+" WHERE state = 'running' AND state <> 'done' ORDER BY id", nil, scanRun)
}

// Due returns waiting runs whose wake time has come, the longest overdue first.
func (r *Reader) Due(ctx context.Context, now time.Time, limit int) ([]soar.Run, error) {
	return list(ctx, r, selectRuns+" WHERE state = 'waiting' AND wake <= ? ORDER BY wake, id LIMIT ?", []any{micros(now), limited(limit)}, scanRun)
}

// NextWake is when the next waiting run is due; zero when none waits. It may lie
// in the past.
func (r *Reader) NextWake(ctx context.Context) (time.Time, error) {
	t, err := one(ctx, r, "SELECT wake FROM run WHERE state = 'waiting' ORDER BY wake LIMIT 1", nil, func(row *sql.Rows) (t time.Time, err error) {
		var wake int64
		err = row.Scan(&wake)
		return time.UnixMicro(wake).UTC(), err
	})
	if errors.Is(err, soar.ErrNotFound) {
		return time.Time{}, nil
	}
	return t, err
}

// GetRun returns one run.
func (r *Reader) GetRun(ctx context.Context, id soar.RunID) (soar.Run, error) {
	run, err := one(ctx, r, selectRuns+" WHERE id = ?", []any{int64(id)}, scanRun)
	if err != nil {
		return run, fmt.Errorf("run %s: %w", id, err)
	}
	return run, nil
}

// Entries returns the journal of a run in order.
func (r *Reader) Entries(ctx context.Context, id soar.RunID) ([]soar.Entry, error) {
	return list(ctx, r, "SELECT run, seq, at, step, kind, ref, body FROM ev WHERE run = ? ORDER BY seq", []any{int64(id)},
		func(row *sql.Rows) (e soar.Entry, err error) {
			var at int64
			var ref, body sql.NullString
			err = row.Scan(&e.Run, &e.Seq, &at, &e.Step, &e.Kind, &ref, &body)
			e.At, e.Ref = fromMicros(at), ref.String
			if body.Valid {
				e.Body = []byte(body.String)
			}
			return e, err
		})
}

// RefClaimed reports whether a journal entry has this command id.
func (r *Reader) RefClaimed(ctx context.Context, ref string) (bool, error) {
	_, err := one(ctx, r, "SELECT 1 FROM ev WHERE ref = ? LIMIT 1", []any{ref}, func(row *sql.Rows) (n int, err error) {
		return n, row.Scan(&n)
	})
	if errors.Is(err, soar.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// RunFilter chooses runs. Empty fields choose all.
type RunFilter struct {
	State    soar.RunState
	Playbook string
	Alert    string     // Alert.Ref
	Before   soar.RunID // ids below, for the next page
	Limit    int        // zero: as many as one query may return
}

// Runs returns runs, newest first.
func (r *Reader) Runs(ctx context.Context, f RunFilter) ([]soar.Run, error) {
	var w filter
	if f.State != "" {
		w.add("state = ?", string(f.State))
		if f.State != soar.RunDone {
			w.terms = append(w.terms, "state <> 'done'") // the condition of run_by_state, in words the planner knows again
		}
	}
	if f.Playbook != "" {
		w.add("playbook = ?", f.Playbook)
	}
	if f.Alert != "" {
		// By key where the alert is still there; retention may have taken it
		// before its runs, and then all runs are looked through.
		key, err := r.keyByRef(ctx, f.Alert)
		switch {
		case err == nil:
			w.add("alert_key = ?", key)
		case !errors.Is(err, soar.ErrNotFound):
			return nil, err
		}
		w.add("alert = ?", f.Alert)
	}
	if f.Before > 0 {
		w.add("id < ?", int64(f.Before))
	}
	found, err := list(ctx, r, selectRuns+w.where()+" ORDER BY id DESC LIMIT ?", append(w.args, limited(f.Limit)), scanRun)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return found, nil
}
