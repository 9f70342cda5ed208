package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Replay is an order to deliver a stretch of the feed to a sink once more. It has a
// place of its own, which moves with what is delivered: it goes on after a restart,
// holds one batch in memory, and takes turns with what is new.
type Replay struct {
	At     time.Time `json:"at"` // of the order
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	// Since and Until bound the times of the events; Until is the first that is not
	// meant any more, zero for none.
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
	// Types are those to deliver; nil is all that the sink gets.
	Types []soar.EventType `json:"types,omitempty"`
	// After and Last are positions in the feed: what is left is behind After, up to
	// and with Last.
	After int64 `json:"after"`
	Last  int64 `json:"last"`
	// Sent counts the events so far.
	Sent int64 `json:"sent"`
}

// ErrReplaying means that a sink is replaying already.
var ErrReplaying = errors.New("a replay is under way")

func replayKey(sink string) string { return "sink-replay/" + sink }

// ReplayChange orders a replay: it is what a running forwarder commits, and what is
// committed for one that does not run. A replay that is nil calls off the one that
// is under way.
func ReplayChange(sink string, r *Replay, by string, at time.Time) (soar.Change, error) {
	if r == nil {
		return soar.Change{KV: []soar.KV{{Key: replayKey(sink)}}, Acts: []soar.Act{{At: at, By: by, What: "replay to sink " + sink + " called off"}}}, nil
	}
	value, err := json.Marshal(r)
	if err != nil {
		return soar.Change{}, err
	}
	words := "since " + r.Since.UTC().Format(time.RFC3339)
	if !r.Until.IsZero() {
		words += " until " + r.Until.UTC().Format(time.RFC3339)
	}
	return soar.Change{
		KV:   []soar.KV{{Key: replayKey(sink), Value: string(value)}},
		Acts: []soar.Act{{At: at, By: by, What: fmt.Sprintf("replay to sink %s ordered, %s", sink, words), Reason: r.Reason}},
	}, nil
}

// ReadReplay is the replay that a sink is to make, or nil.
func ReadReplay(ctx context.Context, kv values, sink string) (*Replay, error) {
	var r Replay
	known, err := readValue(ctx, kv, replayKey(sink), &r)
	if err != nil || !known {
		return nil, err
	}
	return &r, nil
}

// Means reports whether an event is one of those to deliver, apart from what the
// sink's own filters say.
func (r *Replay) Means(ev *soar.Event) bool {
	return !ev.At.Before(r.Since) && (r.Until.IsZero() || ev.At.Before(r.Until)) && (r.Types == nil || slices.Contains(r.Types, ev.Type))
}

// Replay begins a replay; nil calls off the one that is under way. An error wraps
// ErrReplaying when there is one, or soar.ErrNotFound when there is none to call
// off. Safe for concurrent use.
func (f *Forwarder) Replay(ctx context.Context, r *Replay, by string) error {
	change, err := ReplayChange(f.name, r, by, f.o.Now().UTC())
	if err != nil {
		return err
	}
	f.mu.Lock()
	before := f.replay
	switch {
	case r != nil && before != nil:
		err = fmt.Errorf("sink %s: %w", f.name, ErrReplaying)
	case r == nil && before == nil:
		err = fmt.Errorf("a replay to sink %s: %w", f.name, soar.ErrNotFound)
	case r == nil:
		f.replay = nil // before the commit: Run must not write its progress behind it
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := f.feed.Commit(ctx, change); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r == nil && f.replay == nil {
			f.replay = before
		}
		return err
	}
	if r != nil {
		f.mu.Lock()
		f.replay = r
		f.mu.Unlock()
		f.wake()
	}
	return nil
}

// nextReplay reads on in what is to be replayed: one batch, or as much as may be
// skipped at once.
func (f *Forwarder) nextReplay(ctx context.Context) (*batch, error) {
	f.mu.Lock()
	current := f.replay
	f.mu.Unlock()
	if current == nil {
		return nil, nil
	}
	next := *current
	b := &batch{again: true, replay: &next}
	bytes := 0
	for looked := 0; looked < flushSkippedAt && next.After < next.Last; {
		var page []soar.Event
		err := f.insist(ctx, "read what is to be replayed", func() (err error) {
			page, err = f.feed.Feed(ctx, next.After, f.pageSize())
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			next.After = next.Last
		}
		for i := range page {
			ev := &page[i]
			if ev.Pos > next.Last {
				next.After = next.Last
				break
			}
			wanted, err := f.route.wants(ctx, ev)
			if err != nil || !wanted || !next.Means(ev) { // what cannot be routed was set aside the first time
				next.After = ev.Pos
				looked++
				continue
			}
			if n := len(b.items); n > 0 && (n == f.o.MaxBatch || bytes+sizeOf(ev) > f.o.MaxBatchBytes) {
				return b, nil
			}
			bytes += sizeOf(ev)
			b.add(&item{event: *ev})
			next.After = ev.Pos
			next.Sent++
			looked++
		}
	}
	return b, nil
}

// keepReplay puts the progress of a replay into a Change. It reports false when the
// replay was called off in the meantime.
func (f *Forwarder) keepReplay(c *soar.Change, r *Replay) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replay == nil || !f.replay.At.Equal(r.At) {
		return false
	}
	kv := soar.KV{Key: replayKey(f.name)}
	if r.After < r.Last {
		value, _ := json.Marshal(r) // numbers, times and words
		kv.Value = string(value)
	}
	c.KV = append(c.KV, kv)
	return true
}

// replayed notes progress that is on disk.
func (f *Forwarder) replayed(ctx context.Context, r *Replay) error {
	f.mu.Lock()
	calledOff := f.replay == nil
	if !calledOff {
		if f.replay = r; r.After >= r.Last {
			f.replay = nil
		}
	}
	f.mu.Unlock()
	switch {
	case calledOff:
		// The progress may have been written behind the word that called it off.
		return f.save(ctx, soar.Change{KV: []soar.KV{{Key: replayKey(f.name)}}})
	case r.After >= r.Last:
		f.log.Info("replay is done", "events", r.Sent, "since", r.Since, "until", r.Until)
	}
	return nil
}
