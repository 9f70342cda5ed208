package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// hostGet is the action behind .host.
const hostGet = "host.get"

const (
	hostTTL       = 5 * time.Minute
	failureTTL    = 15 * time.Second // how long a failed reading is not tried again
	enrichTimeout = 30 * time.Second
	maxCached     = 4096
)

var errOutputTooLarge = fmt.Errorf("the output is larger than %d bytes", maxOutput)

// cache keeps what reading actions returned. Many alerts of one host ask for the
// same at the same moment: the first asks the server, the others wait for it.
type cache struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*cached // guarded by mu
}

type cached struct {
	ready   chan struct{} // closed when value and err are set
	value   any
	err     error
	expires time.Time // guarded by cache.mu; zero while being read
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, entries: map[string]*cached{}}
}

// get returns the cached value under key, or reads it. A reading that ends because
// its own caller gave up is not kept.
func (c *cache) get(ctx context.Context, key string, ttl time.Duration, read func() (any, error)) (any, error) {
	for {
		c.mu.Lock()
		entry := c.entries[key]
		if entry == nil || !entry.expires.IsZero() && !c.now().Before(entry.expires) {
			entry = &cached{ready: make(chan struct{})}
			c.makeRoom()
			c.entries[key] = entry
			c.mu.Unlock()
			c.fill(ctx, key, entry, ttl, read)
			return entry.value, entry.err
		}
		c.mu.Unlock()
		select {
		case <-entry.ready:
			if ctx.Err() == nil && errors.Is(entry.err, context.Canceled) {
				continue // the other caller gave up, this one has not
			}
			return entry.value, entry.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *cache) fill(ctx context.Context, key string, entry *cached, ttl time.Duration, read func() (any, error)) {
	entry.err = errors.New("the reading ended without a result")
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if entry.err != nil {
			ttl = min(ttl, failureTTL)
		}
		entry.expires = c.now().Add(ttl)
		if ctx.Err() != nil && c.entries[key] == entry {
			delete(c.entries, key)
		}
		close(entry.ready)
	}()
	entry.value, entry.err = read()
}

// makeRoom drops expired entries, and if there are none, any that is complete.
func (c *cache) makeRoom() {
	if len(c.entries) < maxCached {
		return
	}
	now := c.now()
	maps.DeleteFunc(c.entries, func(_ string, e *cached) bool { return !e.expires.IsZero() && !now.Before(e.expires) })
	for key, e := range c.entries {
		if len(c.entries) < maxCached {
			return
		}
		if !e.expires.IsZero() {
			delete(c.entries, key)
		}
	}
}

// reader runs reading actions for enrichment.
type reader struct {
	cache       *cache
	actions     map[string]Action
	callTimeout time.Duration
	now         func() time.Time
	counter     *counter // of like alerts; nil: none can be counted
}

// findings are what was read for one playbook and one alert.
type findings struct {
	host   any
	values map[string]any
	errors map[string]any
	extra  map[string]any // other fields of the input: what started the run, its group
}

func newFindings(alertHost any) *findings {
	return &findings{host: alertHost, values: map[string]any{}, errors: map[string]any{}}
}

// readHost overlays the alert's host with the host record. Without the action, or
// without an identifier, .host is what the alert knows.
func (r *reader) readHost(ctx context.Context, alert *soar.Alert, f *findings) {
	action := r.actions[hostGet]
	if action == nil || alert.Host.Identifier == "" {
		return
	}
	record, err := r.read(ctx, action, hostGet, map[string]any{"host": alert.Host.Identifier}, hostTTL, alert)
	if err != nil {
		f.errors["host"] = err.Error()
		return
	}
	fields, _ := record.(map[string]any)
	base, _ := f.host.(map[string]any)
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, fields)
	f.host = merged
}

// readOne runs one enrichment; its error is kept, not returned.
func (r *reader) readOne(ctx context.Context, e *enrichment, alert *soar.Alert, in *input, f *findings) {
	if _, done := f.values[e.name]; done {
		return
	}
	f.values[e.name] = nil
	with, err := e.with.object(ctx, in)
	if err == nil {
		f.values[e.name], err = r.read(ctx, e.action, e.do, with, e.ttl, alert)
	}
	if err != nil {
		f.errors[e.name] = err.Error()
	}
}

func (r *reader) read(ctx context.Context, action Action, name string, with map[string]any, ttl time.Duration, alert *soar.Alert) (any, error) {
	arguments, err := json.Marshal(with) // sorts keys
	if err != nil {
		return nil, err
	}
	return r.cache.get(ctx, name+string(arguments), ttl, func() (any, error) {
		return r.carryOut(ctx, action, Call{Alert: *alert, With: with, Step: name})
	})
}

// carryOut does a reading action and waits for its answer.
func (r *reader) carryOut(ctx context.Context, action Action, call Call) (any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(enrichTimeout, max(r.callTimeout, time.Second)), fmt.Errorf("%s took too long", call.Step))
	defer cancel()
	outcome, err := safely(func() (Outcome, error) { return action.Do(ctx, call) })
	for err == nil && outcome.State == soar.StepAccepted {
		ref, wait := outcome.Ref, outcome.PollAfter
		if wait <= 0 {
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		outcome, err = safely(func() (Outcome, error) { return action.Poll(ctx, call, ref) })
		if outcome.Ref == "" {
			outcome.Ref = ref
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return nil, err
	case !outcome.State.OK():
		return nil, fmt.Errorf("%s: %s", outcome.State, outcome.Error)
	}
	return plainOutput(outcome.Output)
}
