package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
)

// .count is how many alerts are like the one at hand: those taken in before it that
// have the same values of by, and were created less than window before or after it;
// and itself. It follows from what is stored, so that an alert has the same count
// whenever one looks, live, in an explanation and in a backtest.

// History is what counting needs of the store. Implementations are safe for
// concurrent use.
type History interface {
	AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error)
	// AlertsCreated returns alerts that were created at or after since and have keys
	// above after, the lowest key first.
	AlertsCreated(ctx context.Context, since time.Time, after int64, limit int) ([]soar.StoredAlert, error)
}

const (
	maxCountWindow = 7 * 24 * time.Hour
	maxCountReach  = 90 * 24 * time.Hour
	// maxCounted is how many alerts of one rule are kept in mind before those are
	// forgotten that are too old to be counted.
	maxCounted = 100_000
)

type countRule struct {
	by     []*expr
	window time.Duration
	text   string // of by: rules alike share what they know
}

// count reads the rule; by is one expression or a list of them.
func (l *loader) count(by *yaml.Node, window time.Duration) {
	if by.Kind == 0 || window == 0 {
		return // said already
	}
	if window < time.Second || window > maxCountWindow {
		l.problems.Addf(l.at(by), "range", "", "count.window must be between 1s and 7d")
	}
	for _, e := range l.pb.enrich {
		if e.name == countName { // .enrich_errors.count would be of both
			l.problems.Addf(l.at(by), "name", "give the enrichment another name", "with count, no enrichment may have the name count")
		}
	}
	rule := &countRule{window: window}
	for _, item := range l.keys(by) {
		e := l.expr(item, l.scope("count"))
		if e == nil {
			continue
		}
		rule.by, rule.text = append(rule.by, e), rule.text+e.String()+"\n"
		if e.whole {
			l.problems.Addf(l.at(item), "range", "take fields of .alert.host, .alert.rule or .alert.event",
				"count.by must say what an alert is, and nobody can tell what of it this reads")
			continue
		}
		for _, fields := range e.reads {
			if len(fields) < 2 || slices.Contains([]string{"status", "verdict", "comment", "event_count", "updated_at"}, fields[1]) {
				l.problems.Addf(l.at(item), "range", "take fields of .alert.host, .alert.rule or .alert.event",
					"count.by must say what an alert is, and .%s changes", fieldText(fields))
			}
		}
	}
	l.pb.count = rule
}

func fieldText(fields []string) string {
	if len(fields) < 2 {
		return fields[0] + " as a whole"
	}
	return fields[0] + "." + fields[1]
}

// keys are the expressions of by: one, or a list of them.
func (l *loader) keys(by *yaml.Node) []*yaml.Node {
	if by.Kind != yaml.SequenceNode {
		return []*yaml.Node{by}
	}
	if len(by.Content) == 0 {
		l.wrong(by, "one or several jq expressions")
	}
	return by.Content
}

// commonKey is what alerts have in common, as text. Nothing at all is an error: it
// would put all alerts that lack the fields together.
func commonKey(ctx context.Context, by []*expr, in *input) (string, error) {
	values := make([]any, len(by))
	found := false
	for i, e := range by {
		v, err := e.value(ctx, in)
		if err != nil {
			return "", err
		}
		values[i] = v
		found = found || v != nil && v != ""
	}
	if !found {
		return "", errors.New("all values are empty")
	}
	text, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	if len(text) > 512 {
		return "", errors.New("the values are longer than 512 bytes")
	}
	return string(text), nil
}

// counter counts like alerts. It keeps in mind what it has read, by rule.
type counter struct {
	history History // nil: there is nothing to count

	mu    sync.Mutex
	rules map[string]*countIndex // by countRule.text; guarded by mu
}

// countIndex knows all stored alerts that were created since floor, up to a key.
type countIndex struct {
	mu    sync.Mutex
	floor time.Time
	upTo  int64
	size  int
	most  int           // what size may be before old ones are forgotten
	reach time.Duration // how much more than the last one needed is kept in mind
	alike map[string][]counted
}

// retain forgets rules that no playbook of a set has.
func (c *counter) retain(set *Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.rules, func(text string, _ *countIndex) bool {
		return !slices.ContainsFunc(set.playbooks, func(pb *Playbook) bool { return pb.count != nil && pb.count.text == text })
	})
}

type counted struct {
	key     int64
	created time.Time
}

// count is .count of an alert.
func (c *counter) count(ctx context.Context, rule *countRule, alert *soar.Alert, plain map[string]any) (int, error) {
	switch {
	case c == nil || c.history == nil:
		return 0, errors.New("there are no stored alerts to count here")
	case plain == nil:
		return 0, errors.New("there is no alert that others could be like")
	}
	mine, err := commonKey(ctx, rule.by, countInput(plain))
	if err != nil {
		return 0, fmt.Errorf("count.by: %w", err)
	}
	last, itself := int64(math.MaxInt64), 1
	stored, err := c.history.AlertByRef(ctx, alert.Ref())
	switch {
	case err == nil:
		last, itself = stored.Key, 0 // it is among those that are counted
	case !errors.Is(err, soar.ErrNotFound):
		return 0, err
	}
	c.mu.Lock()
	known := c.rules[rule.text]
	if known == nil {
		if c.rules == nil {
			c.rules = map[string]*countIndex{}
		}
		known = &countIndex{most: maxCounted}
		c.rules[rule.text] = known
	}
	c.mu.Unlock()

	known.mu.Lock()
	defer known.mu.Unlock()
	if err := known.read(ctx, c.history, rule, alert.CreatedAt.Add(-rule.window)); err != nil {
		return 0, err
	}
	n := itself
	for _, other := range known.alike[mine] {
		if other.key <= last && other.created.Sub(alert.CreatedAt).Abs() < rule.window {
			n++
		}
	}
	return n, nil
}

func countInput(plain map[string]any) *input {
	return &input{object: map[string]any{"alert": plain}, vars: map[string]any{}}
}

// read takes in what is stored since it last looked.
func (t *countIndex) read(ctx context.Context, h History, rule *countRule, since time.Time) error {
	// Alerts do not come in the order in which they were created: more is kept than
	// this one needs, the more the further they go back, so that not everything is
	// read again for each.
	switch {
	case t.alike == nil || since.Before(t.floor):
		t.reach = min(max(rule.window/4, 2*t.reach), maxCountReach)
		t.floor, t.upTo, t.size, t.alike = since.Add(-t.reach), 0, 0, map[string][]counted{}
	case t.size > t.most:
		t.forget(since.Add(-t.reach))
		t.most = max(t.most, 2*t.size) // when many are in the window, not each time
	}
	for {
		page, err := h.AlertsCreated(ctx, t.floor, t.upTo, pageSize)
		if err != nil {
			return err
		}
		if len(page) == 0 { // a short page may have left out alerts that cannot be read
			return nil
		}
		for i := range page {
			a := &page[i]
			t.upTo = a.Key
			plain, err := plainAlert(&a.Alert)
			if err != nil {
				continue // it is like no other
			}
			key, err := commonKey(ctx, rule.by, countInput(plain))
			if ctx.Err() != nil {
				t.alike = nil // what was cut short is read again
				return context.Cause(ctx)
			}
			if err == nil {
				t.alike[key] = append(t.alike[key], counted{a.Key, a.Alert.CreatedAt})
				t.size++
			}
		}
	}
}

// forget drops what was created before floor.
func (t *countIndex) forget(floor time.Time) {
	if !floor.After(t.floor) {
		return
	}
	t.floor, t.size = floor, 0
	for key, list := range t.alike {
		list = slices.DeleteFunc(list, func(c counted) bool { return c.created.Before(floor) })
		if t.size += len(list); len(list) == 0 {
			delete(t.alike, key)
		} else {
			t.alike[key] = slices.Clip(list)
		}
	}
}

// readCount counts for the conditions and steps of an evaluation.
func (ev *evaluation) readCount(ctx context.Context) {
	n, err := ev.reader.counter.count(ctx, ev.pb.count, ev.alert, ev.plain)
	if err != nil {
		ev.found.errors[countName] = err.Error()
		return
	}
	extra := map[string]any{countName: float64(n)}
	for name, v := range ev.found.extra {
		extra[name] = v
	}
	ev.found.extra = extra
}

// countName is the field of the input, and of .enrich_errors when there is no count.
const countName = "count"
