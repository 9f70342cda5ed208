package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Hold is a person's word that a sink shall deliver nothing until somebody takes it
// back. It outlives restarts; the events are kept.
type Hold struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

func holdKey(sink string) string { return "sink-held/" + sink }

// HoldChange pauses a sink: it is what a running forwarder commits, and what is
// committed for one that does not run.
func HoldChange(sink string, h Hold) (soar.Change, error) {
	value, err := json.Marshal(h)
	if err != nil {
		return soar.Change{}, err
	}
	text := fmt.Sprintf("Sink %q was paused by %s", sink, h.By)
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return soar.Change{
		KV:   []soar.KV{{Key: holdKey(sink), Value: string(value)}},
		Acts: []soar.Act{{At: h.At, By: h.By, What: "sink " + sink + " paused", Reason: h.Reason}},
		Events: []soar.Event{{
			ID: fmt.Sprintf("%sheld-%d", pausedPrefix(sink), h.At.UnixMilli()), Type: soar.EventTrouble, At: h.At,
			Text: text + ". Its events are kept until erbridge sinks resume " + sink + ".",
		}},
	}, nil
}

// ReleaseChange takes a hold back.
func ReleaseChange(sink, by, reason string, at time.Time) soar.Change {
	return soar.Change{
		KV:   []soar.KV{{Key: holdKey(sink)}},
		Acts: []soar.Act{{At: at, By: by, What: "sink " + sink + " resumed", Reason: reason}},
	}
}

// TryAgainChange keeps who made a sink try again that waited, and in which state that was.
func TryAgainChange(sink, state, by, reason string, at time.Time) soar.Change {
	return soar.Change{Acts: []soar.Act{{At: at, By: by, What: "sink " + sink + " told to try again, it was " + state, Reason: reason}}}
}

// Forget deletes what is noted of a sink that is gone for good.
func Forget(sink string) []soar.KV {
	return []soar.KV{{Key: holdKey(sink)}, {Key: replayKey(sink)}, {Key: gapKey(sink)}, {Key: digestKey(sink)}, {Key: heartbeatKey(sink)}}
}

// ReadHold is the hold on a sink, or nil.
func ReadHold(ctx context.Context, kv values, sink string) (*Hold, error) {
	var h Hold
	known, err := readValue(ctx, kv, holdKey(sink), &h)
	if err != nil || !known {
		return nil, err
	}
	return &h, nil
}

// Hold pauses the sink until Release. A Send that is under way may finish. Safe for
// concurrent use.
func (f *Forwarder) Hold(ctx context.Context, h Hold) error {
	change, err := HoldChange(f.name, h)
	if err != nil {
		return err
	}
	if _, err := f.feed.Commit(ctx, change); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = &h
	return nil
}

// Release takes a hold back, and lets the sink try at once. Safe for concurrent use.
func (f *Forwarder) Release(ctx context.Context, by, reason string) error {
	if _, err := f.feed.Commit(ctx, ReleaseChange(f.name, by, reason, f.o.Now().UTC())); err != nil {
		return err
	}
	f.mu.Lock()
	f.held = nil
	f.mu.Unlock()
	f.Resume()
	return nil
}

// errBadValue says that a value in the store is not what was written there.
var errBadValue = errors.New("cannot be read")

// values is what readValue needs of the store.
type values interface {
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// readValue reads one value as JSON; known is false when there is none.
func readValue(ctx context.Context, kv values, key string, to any) (known bool, err error) {
	found, err := kv.KV(ctx, key) // a prefix: sink soc finds soc-2 as well
	if err != nil {
		return false, err
	}
	for _, v := range found {
		if v.Key != key || v.Value == "" {
			continue
		}
		if err := json.Unmarshal([]byte(v.Value), to); err != nil {
			return false, fmt.Errorf("value %s %w: %w", key, errBadValue, err)
		}
		return true, nil
	}
	return false, nil
}
