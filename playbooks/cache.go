package playbooks

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	failureTTL     = 15 * time.Second // how long a failed reading is not tried again
	maxCached      = 4096
	maxCachedBytes = 64 << 20
)

// cache keeps what reading actions returned. Many alerts of one host ask for the
// same at the same moment: the first asks the server, the others wait for it. What
// was read stays beyond its time, for when it cannot be read again.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*cached // guarded by mu, as all that they hold
	bytes   int                // of all answers
}

type cached struct {
	answer  *answer   // the last one that there was; nil: none
	until   time.Time // when nobody has a use for the answer any more
	failure error     // of the last reading, if it failed
	failed  time.Time
	flight  *flight // the reading under way; nil: none
}

// answer is what a reading brought: a value, or that there is nothing, which is an
// error that wraps soar.ErrNotFound or an empty value. It does not change.
type answer struct {
	value any
	err   error
	empty bool
	size  int
	at    time.Time
}

type flight struct {
	done   chan struct{} // closed when the others are set
	answer *answer
	err    error
}

// lifetimes say how long an answer is good for.
type lifetimes struct {
	found, empty time.Duration
	stale        time.Duration // beyond these, when it cannot be read again
}

func (l *lifetimes) of(a *answer) time.Duration {
	if a.empty {
		return min(l.empty, l.found)
	}
	return l.found
}

// How a look-up was answered; the label of its metric.
const (
	lookedUp     = "read"
	fromCache    = "cached"
	fromStale    = "stale"
	lookUpFailed = "failed"
)

// found is the answer to one look-up.
type found struct {
	*answer        // nil with err
	how     string // one of the words above
	err     error  // why it could not be read; with fromStale, why not again
}

// get returns the answer under key that is cached, or reads it; an old one when that
// fails. A reading that ends because its own caller gave up is not kept.
func (c *cache) get(ctx context.Context, key string, life lifetimes, read func() (*answer, error)) found {
	for {
		c.mu.Lock()
		entry, now := c.entries[key], c.now()
		switch {
		case entry == nil:
			c.makeRoom()
			entry = &cached{}
			c.entries[key] = entry
		case entry.answer != nil && now.Before(entry.answer.at.Add(life.of(entry.answer))):
			c.mu.Unlock()
			return found{answer: entry.answer, how: fromCache}
		case entry.flight == nil && entry.failure != nil && now.Before(entry.failed.Add(min(life.found, failureTTL))):
			defer c.mu.Unlock()
			return entry.old(now, life, entry.failure)
		}
		f, mine := entry.flight, entry.flight == nil
		if mine {
			f = &flight{done: make(chan struct{})}
			entry.flight = f
		}
		c.mu.Unlock()
		if mine {
			c.fly(ctx, key, entry, life, read)
		} else {
			select {
			case <-f.done:
			case <-ctx.Done():
				return found{how: lookUpFailed, err: context.Cause(ctx)}
			}
		}
		switch {
		case f.err == nil && mine:
			return found{answer: f.answer, how: lookedUp}
		case f.err == nil:
			return found{answer: f.answer, how: fromCache}
		case !mine && ctx.Err() == nil && errors.Is(f.err, context.Canceled):
			continue // the other caller gave up, this one has not
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return entry.old(c.now(), life, f.err)
	}
}

// peek returns the answer under key when it is cached and still good; else none.
func (c *cache) peek(key string, life lifetimes) found {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.entries[key]
	if entry == nil || entry.answer == nil || !c.now().Before(entry.answer.at.Add(life.of(entry.answer))) {
		return found{how: lookUpFailed}
	}
	return found{answer: entry.answer, how: fromCache}
}

// old is what is left when a reading failed: an answer that is too old, but not too
// old for that, or the failure.
func (e *cached) old(now time.Time, life lifetimes, why error) found {
	if a := e.answer; a != nil && now.Before(a.at.Add(life.of(a)+life.stale)) {
		return found{answer: a, how: fromStale, err: why}
	}
	return found{how: lookUpFailed, err: why}
}

// fly reads and lets those know who wait for it.
func (c *cache) fly(ctx context.Context, key string, entry *cached, life lifetimes, read func() (*answer, error)) {
	f := entry.flight
	f.err = errors.New("the reading ended without a result")
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		entry.flight = nil
		switch now := c.now(); {
		case f.err == nil:
			f.answer.at = now
			c.bytes += f.answer.size - entry.size()
			entry.answer, entry.failure = f.answer, nil
			entry.until = now.Add(max(life.found, life.empty) + life.stale)
			c.makeRoom()
		case ctx.Err() == nil:
			entry.failure, entry.failed = f.err, now
			if entry.answer == nil {
				entry.until = now.Add(failureTTL)
			}
		case entry.answer == nil:
			delete(c.entries, key)
		}
		close(f.done)
	}()
	f.answer, f.err = read()
	if errors.Is(f.err, soar.ErrNotFound) {
		f.answer, f.err = &answer{err: f.err, empty: true}, nil
	}
}

func (e *cached) size() int {
	if e.answer == nil {
		return 0
	}
	return e.answer.size
}

// makeRoom drops what nobody has a use for, and if that does not suffice, any that
// is not being read.
func (c *cache) makeRoom() {
	full := func() bool { return len(c.entries) >= maxCached || c.bytes > maxCachedBytes }
	if !full() {
		return
	}
	now := c.now()
	drop := func(e *cached) bool {
		c.bytes -= e.size()
		return true
	}
	maps.DeleteFunc(c.entries, func(_ string, e *cached) bool { return e.flight == nil && !now.Before(e.until) && drop(e) })
	maps.DeleteFunc(c.entries, func(_ string, e *cached) bool { return full() && e.flight == nil && drop(e) })
}

// copy is a cache of its own that knows the same.
func (c *cache) copy() *cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	other := newCache(c.now)
	other.bytes = c.bytes
	for key, e := range c.entries {
		if e.flight == nil || e.answer != nil {
			other.entries[key] = &cached{answer: e.answer, until: e.until, failure: e.failure, failed: e.failed}
		}
	}
	return other
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, entries: map[string]*cached{}}
}
