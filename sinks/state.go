package sinks

import (
	"context"
	"net/url"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// KV is where a sink's State is kept; the store has it.
type KV interface {
	Commit(ctx context.Context, c soar.Change) (soar.Committed, error)
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// NewState makes the durable memory of one sink. now is the clock; nil means
// time.Now. It is safe for concurrent use if kv is.
func NewState(kv KV, sink string, now func() time.Time) State {
	if now == nil {
		now = time.Now
	}
	return &state{kv: kv, prefix: statePrefix(sink), now: now}
}

type state struct {
	kv     KV
	prefix string
	now    func() time.Time
}

// full is the key in the store. Values are found by prefix there, so each key
// ends with a character that escaping leaves in no key: without it, looking for
// er-1 would read er-10, er-11 and all the others.
func (s *state) full(key string) string { return s.prefix + url.PathEscape(key) + "|" }

// Get returns soar.ErrNotFound for a key that was never set or has expired.
func (s *state) Get(ctx context.Context, key string) (string, error) {
	full := s.full(key)
	values, err := s.kv.KV(ctx, full)
	if err != nil {
		return "", err
	}
	for _, v := range values {
		if v.Key == full && v.Value != "" && (v.Expires.IsZero() || v.Expires.After(s.now())) {
			return v.Value, nil
		}
	}
	return "", soar.ErrNotFound
}

// Set returns after the value is on disk. An empty value deletes; keep 0 keeps
// it for good.
func (s *state) Set(ctx context.Context, key, value string, keep time.Duration) error {
	kv := soar.KV{Key: s.full(key), Value: value}
	if keep > 0 {
		kv.Expires = s.now().Add(keep)
	}
	_, err := s.kv.Commit(ctx, soar.Change{KV: []soar.KV{kv}})
	return err
}
