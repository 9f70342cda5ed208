package playbooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Answer is what one check of the guard said, in words.
type Answer struct {
	Check string `json:"check"`
	// OK lets the call go on to the next check. Otherwise State is how the step
	// ends: observed, refused, suppressed.
	OK    bool           `json:"ok"`
	State soar.StepState `json:"state,omitempty"`
	Words string         `json:"words"`
}

// request is a call with an effect that asks to be sent.
type request struct {
	playbook *Playbook
	step     *step
	alert    *soar.Alert
	run      *soar.Run
}

// check is one question of the guard. It answers at once and changes nothing.
type check struct {
	name string
	ask  func(g *guard, r *request) Answer
}

// checks are asked in this order before every call with an effect; the first that
// does not let it pass decides. Later guard rails join the list.
var checks = []check{
	{"mode", (*guard).mode},
}

// guard decides what may be sent. The cool-down is asked once, before a run
// starts (see cooldowns); the other checks before every call with an effect.
type guard struct {
	ceiling soar.Mode
}

// allow asks all checks. The answers are recorded with the step.
func (g *guard) allow(r *request) ([]Answer, bool) {
	answers := make([]Answer, 0, len(checks))
	for _, c := range checks {
		a := c.ask(g, r)
		a.Check = c.name
		answers = append(answers, a)
		if !a.OK {
			return answers, false
		}
	}
	return answers, true
}

// effectiveMode is the strictest of what has a say, and who said it.
func (g *guard) effectiveMode(pb *Playbook, alert *soar.Alert) (soar.Mode, string) {
	switch {
	case pb.Mode == soar.ModeObserve:
		return soar.ModeObserve, "the playbook only observes"
	case g.ceiling == soar.ModeObserve:
		return soar.ModeObserve, "all playbooks are held at observe"
	case alert.Backfill:
		return soar.ModeObserve, "the alert is older than the first contact with the server"
	}
	return soar.ModeEnforce, "playbook and engine enforce"
}

func (g *guard) mode(r *request) Answer {
	mode, why := g.effectiveMode(r.playbook, r.alert)
	if r.run.Mode == soar.ModeObserve && mode != soar.ModeObserve {
		mode, why = soar.ModeObserve, "the run began in observe mode"
	}
	if mode == soar.ModeObserve {
		if r.step.spec.Always {
			return Answer{OK: true, Words: fmt.Sprintf("observe: %s; %s is carried out in observe mode too", why, r.step.do)}
		}
		return Answer{State: soar.StepObserved, Words: "observe: " + why}
	}
	return Answer{OK: true, Words: "enforce: " + why}
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
