package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
)

// StateNotRunning is the state of every sink while no daemon runs, and of one that
// a reload could not replace.
const StateNotRunning = "not running"

// SinkStatus is how a sink is doing. Where it stands and what was set aside comes
// from the store, so it is the same with and without a running daemon.
type SinkStatus struct {
	Name string `json:"name"`
	// State is one of the sinks.State constants, or not running: no daemon runs, or a
	// reload could not replace the sink.
	State string `json:"state"`
	// Circuit is how much is tried: closed is everything, half-open one event or
	// smaller batches, open nothing for the moment; empty while no daemon runs.
	Circuit string `json:"circuit,omitempty"`
	// LastError is why the sink is not ok.
	LastError string `json:"last_error,omitempty"`
	// NextTry is when a sink that is not ok tries again.
	NextTry time.Time `json:"next_try,omitzero"`
	// StandsAt is the event at which the sink stands: its last attempt could not deliver
	// it. Nil while no daemon runs.
	StandsAt *sinks.Standstill `json:"stands_at,omitempty"`
	// Held is who paused the sink, and why.
	Held *sinks.Hold `json:"held,omitempty"`
	// Replay is what is being delivered again.
	Replay *sinks.Replay `json:"replay,omitempty"`
	// LastSuccess is when events were last delivered; zero if never since the start
	// of the daemon.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Cursor is the position in the feed up to which all is delivered.
	Cursor int64 `json:"cursor"`
	// Backlog counts the events behind the cursor, those to be skipped included.
	Backlog int64 `json:"backlog"`
	// OverBacklog is set while max_backlog is exceeded.
	OverBacklog bool `json:"over_backlog,omitempty"`
	// Oldest is when the oldest of them happened.
	Oldest time.Time `json:"oldest,omitzero"`
	// DeadLetters counts what was set aside and is still kept.
	DeadLetters int64 `json:"dead_letters"`
	// Delivered, Dropped and Lost count events since the start of the daemon; nil while
	// none runs. What the receiver lost, it had taken.
	Delivered *int64 `json:"delivered_since_start,omitempty"`
	Dropped   *int64 `json:"dropped_since_start,omitempty"`
	Lost      *int64 `json:"lost_since_start,omitempty"`
}

// SinkStatus tells how each sink is doing, in the order of the configuration.
func (d *Daemon) SinkStatus(ctx context.Context) ([]SinkStatus, error) {
	parts, _ := d.parts()
	all := make([]SinkStatus, 0, len(parts))
	for _, p := range parts {
		s := p.forwarder.Status()
		if p.left.Load() {
			s.State, s.Circuit, s.LastError, s.NextTry = StateNotRunning, "", leftReason, time.Time{}
		}
		all = append(all, SinkStatus{
			Name: s.Name, State: s.State, Circuit: s.Circuit, LastError: s.LastError, NextTry: s.NextTry, LastSuccess: s.LastSuccess,
			StandsAt: s.StandsAt, OverBacklog: s.OverBacklog, Delivered: &s.Delivered, Dropped: &s.Dropped, Lost: &s.Lost,
		})
	}
	return all, standing(ctx, d.Store(), all)
}

// Delivered counts the events that the sinks of this daemon delivered.
func (d *Daemon) Delivered() (n int64) {
	parts, _ := d.parts()
	for _, p := range parts {
		n += p.forwarder.Status().Delivered
	}
	return n
}

// SinkStatus without a daemon knows where each sink stands, and not how it does.
func (f *offline) SinkStatus(ctx context.Context) ([]SinkStatus, error) {
	reader, err := store.OpenReader(ctx, f.cfg.Store.Path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer reader.Close()
	var all []SinkStatus
	for _, name := range f.cfg.Sinks.Names() {
		all = append(all, SinkStatus{Name: name, State: StateNotRunning})
	}
	return all, standing(ctx, reader, all)
}

// sinkRecords is what standing needs of the store.
type sinkRecords interface {
	Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error)
	FeedHead(ctx context.Context) (int64, error)
	SinkCursor(ctx context.Context, sink string) (pos int64, known bool, err error)
	DeadLetterCounts(ctx context.Context) ([]store.DeadLetterCount, error)
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// standing fills in what the store knows.
func standing(ctx context.Context, st sinkRecords, all []SinkStatus) error {
	counts, err := st.DeadLetterCounts(ctx)
	if err != nil {
		return err
	}
	letters := map[string]int64{}
	for _, c := range counts {
		letters[c.Origin] = c.Count
	}
	for i := range all {
		s := &all[i]
		s.DeadLetters = letters[originSink+s.Name]
		if s.Held, err = sinks.ReadHold(ctx, st, s.Name); err != nil {
			return err
		}
		if s.Replay, err = sinks.ReadReplay(ctx, st, s.Name); err != nil {
			return err
		}
		pos, known, err := st.SinkCursor(ctx, s.Name)
		if err != nil {
			return err
		}
		if !known {
			continue // it was never started: nothing waits for it yet
		}
		head, err := st.FeedHead(ctx)
		if err != nil {
			return err
		}
		s.Cursor, s.Backlog = pos, max(head-pos, 0)
		next, err := st.Feed(ctx, pos, 1)
		if err != nil {
			return err
		}
		if len(next) > 0 {
			s.Oldest = next[0].At
		}
	}
	return nil
}
