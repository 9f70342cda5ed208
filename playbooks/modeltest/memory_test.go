package modeltest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// disk is where lives leave what they know.
type disk interface {
	playbooks.Journal
	Runs(ctx context.Context, f store.RunFilter) ([]soar.Run, error)
}

// memory is a disk that keeps, of what the store keeps, as much as the engine reads, by
// the same rules; TestMemoryIsLikeTheStore compares the two. It is there because most of
// the time of a sequence would be spent on SQL otherwise.
type memory struct {
	mu      sync.Mutex
	alerts  []soar.StoredAlert
	runs    map[soar.RunID]soar.Run
	entries map[soar.RunID][]soar.Entry
	refs    map[string]bool
	kv      map[string]soar.KV
	books   map[string]soar.PlaybookVersion
	waiting [soar.NumSignals]chan struct{}
}

func newMemory() *memory {
	m := &memory{
		runs: map[soar.RunID]soar.Run{}, entries: map[soar.RunID][]soar.Entry{}, refs: map[string]bool{}, kv: map[string]soar.KV{},
		books: map[string]soar.PlaybookVersion{},
	}
	for i := range m.waiting {
		m.waiting[i] = make(chan struct{})
	}
	return m
}

// Commit implements playbooks.Journal.
func (m *memory) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return soar.Committed{}, err
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		same := func(o soar.Entry) bool { return o.Run == e.Run && o.Seq == e.Seq }
		switch {
		case slices.ContainsFunc(m.entries[e.Run], same), slices.ContainsFunc(c.Entries[:i], same):
			return soar.Committed{}, soar.ErrConflict
		case len(e.Body) > 0 && !json.Valid(e.Body):
			return soar.Committed{}, fmt.Errorf("the body of an entry is no JSON: %s", e.Body)
		}
	}
	var done soar.Committed
	for i, a := range c.Alerts {
		at := slices.IndexFunc(m.alerts, func(s soar.StoredAlert) bool { return s.Alert.Ref() == a.Ref() })
		switch {
		case at < 0:
			m.alerts = append(m.alerts, soar.StoredAlert{Key: int64(len(m.alerts) + 1), Alert: a, Pending: "alert"})
			done.New = append(done.New, i)
		case m.alerts[at].Alert.Status != a.Status || m.alerts[at].Alert.Verdict != a.Verdict:
			m.alerts[at].Alert = a // no playbook of this test asks for changes
			done.Updated = append(done.Updated, i)
		default:
			done.Known++
		}
	}
	for _, p := range c.Playbooks {
		if _, known := m.books[p.Hash]; !known {
			m.books[p.Hash] = p
		}
	}
	for _, e := range c.Evaluated {
		m.alerts[e.AlertKey-1].Pending = ""
	}
	for _, run := range c.Runs {
		run.Wake, run.StartedAt, run.EndedAt = onDisk(run.Wake), onDisk(run.StartedAt), onDisk(run.EndedAt)
		m.runs[run.ID] = run
	}
	for _, e := range c.Entries {
		e.At, e.Body = onDisk(e.At), slices.Clone(e.Body)
		at, _ := slices.BinarySearchFunc(m.entries[e.Run], e, func(a, b soar.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
		m.entries[e.Run] = slices.Insert(m.entries[e.Run], at, e)
		if e.Ref != "" {
			m.refs[e.Ref] = true
		}
	}
	for _, kv := range c.KV {
		kv.Expires = onDisk(kv.Expires)
		if m.kv[kv.Key] = kv; kv.Value == "" {
			delete(m.kv, kv.Key)
		}
	}
	for signal, touched := range map[soar.Signal]bool{
		soar.SignalAlerts: len(done.New)+len(done.Updated) > 0, soar.SignalRuns: len(c.Runs) > 0,
	} {
		if touched {
			close(m.waiting[signal])
			m.waiting[signal] = make(chan struct{})
		}
	}
	return done, nil
}

// onDisk is a time as the store keeps it.
func onDisk(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// Changed implements playbooks.Journal.
func (m *memory) Changed(signal soar.Signal) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting[signal]
}

// read reads something, unless nobody waits for it any more.
func read[T any](ctx context.Context, m *memory, f func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		var none T
		return none, err
	}
	return f()
}

// Pending implements playbooks.Journal.
func (m *memory) Pending(ctx context.Context, after int64, limit int) ([]soar.StoredAlert, error) {
	return read(ctx, m, func() (list []soar.StoredAlert, _ error) {
		for _, a := range m.alerts {
			if a.Pending != "" && a.Key > after && len(list) < limit {
				list = append(list, a)
			}
		}
		return list, nil
	})
}

// AlertByKey implements playbooks.Journal.
func (m *memory) AlertByKey(ctx context.Context, key int64) (soar.StoredAlert, error) {
	return read(ctx, m, func() (soar.StoredAlert, error) {
		if key < 1 || key > int64(len(m.alerts)) {
			return soar.StoredAlert{}, soar.ErrNotFound
		}
		return m.alerts[key-1], nil
	})
}

// those lists runs by their ids.
func (m *memory) those(match func(soar.Run) bool) []soar.Run {
	var list []soar.Run
	for run := range maps.Values(m.runs) {
		if match(run) {
			list = append(list, run)
		}
	}
	slices.SortFunc(list, func(a, b soar.Run) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Running implements playbooks.Journal.
func (m *memory) Running(ctx context.Context) ([]soar.Run, error) {
	return read(ctx, m, func() ([]soar.Run, error) {
		return m.those(func(run soar.Run) bool { return run.State == soar.RunRunning }), nil
	})
}

// Due implements playbooks.Journal.
func (m *memory) Due(ctx context.Context, now time.Time, limit int) ([]soar.Run, error) {
	return read(ctx, m, func() ([]soar.Run, error) {
		due := m.those(func(run soar.Run) bool { return run.State == soar.RunWaiting && !run.Wake.After(now) })
		slices.SortStableFunc(due, func(a, b soar.Run) int { return a.Wake.Compare(b.Wake) })
		return due[:min(len(due), limit)], nil
	})
}

// NextWake implements playbooks.Journal.
func (m *memory) NextWake(ctx context.Context) (time.Time, error) {
	return read(ctx, m, func() (next time.Time, _ error) {
		for _, run := range m.runs {
			if run.State == soar.RunWaiting && (next.IsZero() || run.Wake.Before(next)) {
				next = run.Wake
			}
		}
		return next, nil
	})
}

// GetRun implements playbooks.Journal.
func (m *memory) GetRun(ctx context.Context, id soar.RunID) (soar.Run, error) {
	return read(ctx, m, func() (soar.Run, error) {
		run, known := m.runs[id]
		if !known {
			return run, soar.ErrNotFound
		}
		return run, nil
	})
}

// Runs lists all runs, the newest first.
func (m *memory) Runs(ctx context.Context, _ store.RunFilter) ([]soar.Run, error) {
	return read(ctx, m, func() ([]soar.Run, error) {
		list := m.those(func(soar.Run) bool { return true })
		slices.Reverse(list)
		return list, nil
	})
}

// Entries implements playbooks.Journal.
func (m *memory) Entries(ctx context.Context, id soar.RunID) ([]soar.Entry, error) {
	return read(ctx, m, func() ([]soar.Entry, error) { return slices.Clone(m.entries[id]), nil })
}

// RefClaimed implements playbooks.Journal.
func (m *memory) RefClaimed(ctx context.Context, ref string) (bool, error) {
	return read(ctx, m, func() (bool, error) { return m.refs[ref], nil })
}

// PlaybookVersion implements playbooks.Journal.
func (m *memory) PlaybookVersion(ctx context.Context, hash string) (soar.PlaybookVersion, error) {
	return read(ctx, m, func() (soar.PlaybookVersion, error) {
		v, known := m.books[hash]
		if !known {
			return v, soar.ErrNotFound
		}
		return v, nil
	})
}

// KV implements playbooks.Journal.
func (m *memory) KV(ctx context.Context, prefix string) ([]soar.KV, error) {
	return read(ctx, m, func() (list []soar.KV, _ error) {
		for _, key := range slices.Sorted(maps.Keys(m.kv)) {
			if kv := m.kv[key]; strings.HasPrefix(key, prefix) && (kv.Expires.IsZero() || kv.Expires.After(time.Now())) {
				list = append(list, kv)
			}
		}
		return list, nil
	})
}
