package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// memJournal keeps what the store keeps, by the same rules: a change is applied as
// a whole or not at all, and a repeated (run, seq) is a conflict.
type memJournal struct {
	mu      sync.Mutex
	alerts  []soar.StoredAlert
	runs    map[soar.RunID]soar.Run
	entries map[soar.RunID][]soar.Entry
	kv      map[string]soar.KV
	texts   map[string]soar.PlaybookVersion
	feed    []soar.Event
	waiters [soar.NumSignals]chan struct{}
	commits int
	// fail, when set, is asked at every commit: an error before it is applied, or
	// after, when the caller never learns that it was.
	fail func(n int, c soar.Change) (before, after error)
	down error // every call fails with it
}

func newMemJournal() *memJournal {
	j := &memJournal{
		runs: map[soar.RunID]soar.Run{}, entries: map[soar.RunID][]soar.Entry{}, kv: map[string]soar.KV{}, texts: map[string]soar.PlaybookVersion{},
	}
	for i := range j.waiters {
		j.waiters[i] = make(chan struct{})
	}
	return j
}

func (j *memJournal) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := cmpErr(ctx.Err(), j.down); err != nil {
		return soar.Committed{}, err
	}
	var after error
	if j.fail != nil {
		j.commits++
		var before error
		if before, after = j.fail(j.commits, c); before != nil {
			return soar.Committed{}, before
		}
	}
	for _, e := range c.Entries {
		if slices.ContainsFunc(j.entries[e.Run], func(o soar.Entry) bool { return o.Seq == e.Seq }) {
			return soar.Committed{}, soar.ErrConflict
		}
		if e.Ref != "" && j.claimed(e.Ref) {
			return soar.Committed{}, fmt.Errorf("command %s belongs to another entry", e.Ref)
		}
		if !json.Valid(e.Body) {
			return soar.Committed{}, fmt.Errorf("entry body is no JSON: %s", e.Body)
		}
	}
	var touched [soar.NumSignals]bool
	for _, p := range c.Playbooks {
		j.texts[p.Hash] = p
	}
	for _, a := range c.Alerts {
		j.alerts = append(j.alerts, soar.StoredAlert{Key: int64(len(j.alerts) + 1), Alert: a, Pending: pendingAlert})
		touched[soar.SignalAlerts] = true
	}
	for _, e := range c.Evaluated {
		a := &j.alerts[e.AlertKey-1]
		if a.Pending == "" {
			return soar.Committed{}, fmt.Errorf("alert %d evaluated twice", e.AlertKey)
		}
		a.Pending, a.Verdicts = "", e.Verdicts
		touched[soar.SignalAlerts] = true
	}
	for _, r := range c.Runs {
		if _, known := j.texts[r.Version]; !known {
			return soar.Committed{}, fmt.Errorf("run %s of a playbook version that is not kept", r.ID)
		}
		j.runs[r.ID] = r
		touched[soar.SignalRuns] = true
	}
	for _, e := range c.Entries {
		j.entries[e.Run] = append(j.entries[e.Run], e)
	}
	for _, kv := range c.KV {
		if j.kv[kv.Key] = kv; kv.Value == "" {
			delete(j.kv, kv.Key)
		}
	}
	j.feed = append(j.feed, c.Events...)
	for i, t := range touched {
		if t {
			close(j.waiters[i])
			j.waiters[i] = make(chan struct{})
		}
	}
	return soar.Committed{}, after
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *memJournal) claimed(ref string) bool {
	for _, list := range j.entries {
		if slices.ContainsFunc(list, func(e soar.Entry) bool { return e.Ref == ref }) {
			return true
		}
	}
	return false
}

func (j *memJournal) Changed(sig soar.Signal) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiters[sig]
}

func read[T any](j *memJournal, f func() (T, error)) (T, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down != nil {
		var zero T
		return zero, j.down
	}
	return f()
}

func (j *memJournal) Pending(_ context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	return read(j, func() (out []soar.StoredAlert, _ error) {
		for _, a := range j.alerts {
			if a.Pending != "" && a.Key > after && len(out) < limit {
				out = append(out, a)
			}
		}
		return out, nil
	})
}

func (j *memJournal) AlertByKey(_ context.Context, key int64) (soar.StoredAlert, error) {
	return read(j, func() (soar.StoredAlert, error) {
		if key < 1 || key > int64(len(j.alerts)) {
			return soar.StoredAlert{}, soar.ErrNotFound
		}
		return j.alerts[key-1], nil
	})
}

func (j *memJournal) runsWhere(match func(soar.Run) bool) []soar.Run {
	var out []soar.Run
	for _, r := range j.runs {
		if match(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b soar.Run) int { return int(a.ID - b.ID) })
	return out
}

func (j *memJournal) Running(context.Context) ([]soar.Run, error) {
	return read(j, func() ([]soar.Run, error) {
		return j.runsWhere(func(r soar.Run) bool { return r.State == soar.RunRunning }), nil
	})
}

func (j *memJournal) Due(_ context.Context, now time.Time, limit int) ([]soar.Run, error) {
	return read(j, func() ([]soar.Run, error) {
		due := j.runsWhere(func(r soar.Run) bool { return r.State == soar.RunWaiting && !r.Wake.After(now) })
		return due[:min(len(due), limit)], nil
	})
}

func (j *memJournal) NextWake(context.Context) (time.Time, error) {
	return read(j, func() (next time.Time, _ error) {
		for _, r := range j.runs {
			if r.State == soar.RunWaiting && (next.IsZero() || r.Wake.Before(next)) {
				next = r.Wake
			}
		}
		return next, nil
	})
}

func (j *memJournal) GetRun(_ context.Context, id soar.RunID) (soar.Run, error) {
	return read(j, func() (soar.Run, error) {
		r, ok := j.runs[id]
		if !ok {
			return r, soar.ErrNotFound
		}
		return r, nil
	})
}

func (j *memJournal) Entries(_ context.Context, id soar.RunID) ([]soar.Entry, error) {
	return read(j, func() ([]soar.Entry, error) { return slices.Clone(j.entries[id]), nil })
}

func (j *memJournal) RefClaimed(_ context.Context, ref string) (bool, error) {
	return read(j, func() (bool, error) { return j.claimed(ref), nil })
}

func (j *memJournal) PlaybookVersion(_ context.Context, hash string) (soar.PlaybookVersion, error) {
	return read(j, func() (soar.PlaybookVersion, error) {
		v, ok := j.texts[hash]
		if !ok {
			return v, soar.ErrNotFound
		}
		return v, nil
	})
}

func (j *memJournal) KV(_ context.Context, prefix string) ([]soar.KV, error) {
	return read(j, func() (out []soar.KV, _ error) {
		for k, kv := range j.kv {
			if strings.HasPrefix(k, prefix) {
				out = append(out, kv)
			}
		}
		return out, nil
	})
}

// all returns a copy of the runs.
func (j *memJournal) all() []soar.Run {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.runsWhere(func(soar.Run) bool { return true })
}

func (j *memJournal) events(kind soar.EventType) []soar.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []soar.Event
	for _, e := range j.feed {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

func (j *memJournal) pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, a := range j.alerts {
		if a.Pending != "" {
			n++
		}
	}
	return n
}

// verdict is what a playbook said of the nth alert.
func (j *memJournal) verdict(n int, playbook string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.alerts[n].Verdicts[playbook]
}

// result is how a step of a run ended.
func (j *memJournal) result(t testing.TB, id soar.RunID, step string) Result {
	t.Helper()
	entries, err := j.Entries(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var result Result
	for _, e := range entries {
		if e.Step == step && e.Kind == soar.EntryResult {
			if err := json.Unmarshal(e.Body, &result); err != nil {
				t.Fatal(err)
			}
		}
	}
	return result
}

func (j *memJournal) put(t testing.TB, alerts ...soar.Alert) {
	t.Helper()
	if _, err := j.Commit(t.Context(), soar.Change{Alerts: alerts}); err != nil {
		t.Fatal(err)
	}
}

var errCrashed = errors.New("crashed")

func (j *memJournal) crash() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = errCrashed
}

func (j *memJournal) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down, j.fail = nil, nil
}
