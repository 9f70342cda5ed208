package playbooks

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Answer is what one check of the guard said, in words.
type Answer = guard.Answer

// voices are what has a say in how far the calls of a playbook may go: itself, those
// that call it, and the engine.
func voices(chain []*Playbook, ceiling soar.Mode, alert *soar.Alert) []guard.Voice {
	list := make([]guard.Voice, 0, len(chain)+3)
	for _, pb := range chain {
		switch pb.Mode {
		case soar.ModeObserve:
			list = append(list, guard.Voice{Mode: pb.Mode, Words: "the playbook only observes"})
		case soar.ModeApprove:
			list = append(list, guard.Voice{Mode: pb.Mode, Words: "the playbook asks for approval"})
		}
	}
	switch ceiling {
	case soar.ModeObserve:
		list = append(list, guard.Voice{Mode: ceiling, Words: "all playbooks are held at observe"})
	case soar.ModeApprove:
		list = append(list, guard.Voice{Mode: ceiling, Words: "all playbooks are held at approve"})
	}
	if alert != nil && alert.Backfill {
		list = append(list, guard.Voice{Mode: soar.ModeObserve, Words: "the alert is older than the first contact with the server"})
	}
	return append(list, guard.Voice{Mode: soar.ModeEnforce, Words: "playbook and engine enforce"})
}

// effectiveMode is the strictest of what has a say, and who said it.
func effectiveMode(pb *Playbook, ceiling soar.Mode, alert *soar.Alert) (soar.Mode, string) {
	v := guard.Strictest(voices([]*Playbook{pb}, ceiling, alert))
	return v.Mode, v.Words
}

// cooldowns keeps runs of one playbook with the same key apart. It is exact: of
// two alerts at the same moment one reserves the key and the other waits for what
// becomes of that reservation, which counts only once it is on disk.
type cooldowns struct {
	mu    sync.Mutex
	keys  map[string]*cooling // guarded by mu
	swept time.Time           // guarded by mu
}

type cooling struct {
	until   time.Time
	pending chan struct{} // open while the reservation is being committed
}

// cooldownPrefix starts the keys under which cool-downs are kept.
const cooldownPrefix = "cooldown/"

// cooldownKey names a cool-down. Runs that only observe do not use up the
// cool-down of those that act.
func cooldownKey(mode soar.Mode, playbook, value string) string {
	return cooldownPrefix + string(mode) + "/" + playbook + "/" + value
}

func (c *cooldowns) load(kvs []soar.KV) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = make(map[string]*cooling, len(kvs))
	for _, kv := range kvs {
		c.keys[kv.Key] = &cooling{until: kv.Expires}
	}
}

// reserve takes a key until a time. When another run has it, held is until when.
// Otherwise settle must be called once, with whether the reservation is on disk.
// Reservations of several keys must be made in the order of playbook names.
func (c *cooldowns) reserve(ctx context.Context, key string, now, until time.Time) (held time.Time, settle func(kept bool), err error) {
	for {
		c.mu.Lock()
		if c.keys == nil {
			c.keys = map[string]*cooling{}
		}
		c.sweep(now)
		current := c.keys[key]
		if current == nil || current.pending == nil && !now.Before(current.until) {
			mine := &cooling{until: until, pending: make(chan struct{})}
			c.keys[key] = mine
			c.mu.Unlock()
			return time.Time{}, func(kept bool) { c.settle(key, mine, kept) }, nil
		}
		pending := current.pending
		c.mu.Unlock()
		if pending == nil {
			return current.until, nil, nil
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return time.Time{}, nil, context.Cause(ctx)
		}
	}
}

func (c *cooldowns) settle(key string, mine *cooling, kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(mine.pending)
	mine.pending = nil
	if !kept && c.keys[key] == mine {
		delete(c.keys, key)
	}
}

// sweep drops what has run out, now and then.
func (c *cooldowns) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Minute {
		return
	}
	c.swept = now
	for key, k := range c.keys {
		if k.pending == nil && !now.Before(k.until) {
			delete(c.keys, key)
		}
	}
}

// cooldownValue turns the value of a cool-down key into text. Nothing at all is an
// error: it would put every alert that lacks the field under one key.
func cooldownValue(v any) (string, error) {
	text, err := asText(v)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" {
		return "", errors.New("cooldown.key is empty")
	}
	if len(text) > 512 {
		return "", errors.New("cooldown.key is longer than 512 bytes")
	}
	return text, nil
}
