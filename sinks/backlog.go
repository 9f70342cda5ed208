package sinks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// BacklogSettings say how far a sink may fall behind, and what happens then.
// The backlog lies in the store: it costs disk and no memory, and nothing in the
// feed goes before every sink has passed it, however old it is.
type BacklogSettings struct {
	// Events is how many events of the feed may lie behind the sink's place, those
	// that it would skip included; 0 is any number.
	Events int64 `yaml:"events"`

	// Age is how old an event may be that has not been delivered; 0 is any age.
	Age time.Duration `yaml:"age"`

	// Policy is what happens beyond that. keep keeps everything and tells of it, in a
	// trouble event and in erbridge_sink_backlog_over. drop_oldest passes over the
	// oldest events until the rest is within the bound: they are counted, a trouble
	// event tells their number and time, to the receiver as well, and sinks replay
	// delivers them as long as the store has them.
	Policy string `yaml:"policy" enum:"keep,drop_oldest"`
}

const (
	policyDropOldest = "drop_oldest"
	// defaultBacklogAge is when a backlog is worth a word where nothing is configured.
	defaultBacklogAge = 24 * time.Hour
	// boundEvery is how often the bound is looked at while nothing is sent.
	boundEvery = time.Minute
	// overEvery is how often a backlog is told of that stays too long.
	overEvery = 6 * time.Hour
)

func (s BacklogSettings) drops() bool { return s.Policy == policyDropOldest }

func (s BacklogSettings) check(report func(setting, hint, format string, args ...any)) {
	switch {
	case s.Events < 0 || s.Age < 0:
		report("max_backlog", "", "events and age must not be below 0")
	case s.drops() && s.Events == 0 && s.Age == 0:
		report("max_backlog", "such as max_backlog: {age: 72h, policy: drop_oldest}", "policy drop_oldest needs events or age: there is no bound to keep to")
	}
}

// gap is what was dropped and not told of yet.
type gap struct {
	Events int64     `json:"events"`
	First  int64     `json:"first"` // positions in the feed
	Last   int64     `json:"last"`
	From   time.Time `json:"from"` // times of the events
	To     time.Time `json:"to"`
}

func gapKey(sink string) string { return "sink-gap/" + sink }

// gapPrefix begins the ids of the events that tell what a sink did not deliver. That
// sink gets them whatever its filters say: its receiver has the gap.
func gapPrefix(sink string) string { return "sink-gap-" + sink + "-" }

func (g *gap) add(ev *soar.Event) {
	if g.Events == 0 {
		g.First, g.From, g.To = ev.Pos, ev.At, ev.At
	}
	g.Events++
	g.Last = ev.Pos
	if ev.At.Before(g.From) {
		g.From = ev.At
	}
	if ev.At.After(g.To) {
		g.To = ev.At
	}
}

// tellGap puts into a Change what was dropped: as a trouble event, or, where one was
// told a moment ago, as a number for the next one.
func (f *Forwarder) tellGap(c *soar.Change) {
	g := f.gap
	if g.Events == 0 {
		return
	}
	if !f.gapTold.IsZero() && time.Since(f.gapTold) < troubleEvery {
		value, _ := json.Marshal(g) // numbers and times
		c.KV = append(c.KV, soar.KV{Key: gapKey(f.name), Value: string(value)})
		return
	}
	from, until := g.From.UTC().Truncate(time.Second), g.To.UTC().Truncate(time.Second).Add(time.Second)
	c.KV = append(c.KV, soar.KV{Key: gapKey(f.name)})
	c.Events = append(c.Events, soar.Event{
		ID: fmt.Sprintf("%s%d-%d", gapPrefix(f.name), g.First, g.Last), Type: soar.EventTrouble, At: f.o.Now().UTC(),
		Text: fmt.Sprintf("Sink %q passed over %d events from %s to %s: its backlog was over max_backlog. Its receiver does not have them. "+
			"As long as the store keeps them, erbridge sinks replay %s --since %s --until %s delivers them.",
			f.name, g.Events, from.Format(time.RFC3339), until.Format(time.RFC3339), f.name, from.Format(time.RFC3339), until.Format(time.RFC3339)),
	})
	f.gap, f.gapTold = gap{}, time.Now()
}

// overdue is which events of the feed are to be dropped now.
func (f *Forwarder) overdue() func(*soar.Event) bool {
	s := f.o.Backlog
	if !s.drops() {
		return func(*soar.Event) bool { return false }
	}
	head, now := f.headNow(), f.o.Now()
	return func(ev *soar.Event) bool {
		if ev.Type == soar.EventTrouble {
			return false // they are few, and may be the word of an earlier gap
		}
		return s.Age > 0 && now.Sub(ev.At) > s.Age || s.Events > 0 && head-ev.Pos >= s.Events
	}
}

func (f *Forwarder) headNow() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// bound takes what is overdue out of a batch, and looks whether the backlog is too
// long.
func (f *Forwarder) bound(ctx context.Context, b *batch) error {
	s := f.o.Backlog
	if s.Events == 0 && s.Age == 0 || b.again || len(b.groups) == 0 {
		return nil
	}
	if s.drops() && b.drop(f.overdue()) > 0 {
		if err := f.settle(ctx, b, true); err != nil {
			return err
		}
	}
	behind, oldest, now := f.headNow()-f.passed, b.oldest(), f.o.Now().UTC()
	over := s.Events > 0 && behind > s.Events || s.Age > 0 && !oldest.IsZero() && now.Sub(oldest) > s.Age
	f.update(func(status *SinkStatus) { status.OverBacklog = over })
	if !over || s.drops() || !f.overTold.IsZero() && now.Sub(f.overTold) < overEvery {
		return nil
	}
	f.overTold = now
	f.log.Warn("backlog is over its bound, everything is kept", "behind", behind, "oldest", oldest)
	trouble := soar.Event{
		ID: fmt.Sprintf("%sbacklog-%d", pausedPrefix(f.name), now.UnixMilli()), Type: soar.EventTrouble, At: now,
		Text: fmt.Sprintf("Sink %q is %d events behind, the oldest of %s: more than max_backlog. Everything is kept, which needs space on the disk.",
			f.name, behind, oldest.UTC().Format(time.RFC3339)),
	}
	return f.insist(ctx, "tell that the backlog is too long", func() error {
		return f.record(ctx, soar.Change{Events: []soar.Event{trouble}})
	})
}

// drop gives up the waiting items that a function names, and counts them.
func (b *batch) drop(which func(*soar.Event) bool) (n int) {
	for i, group := range b.groups {
		b.groups[i] = slices.DeleteFunc(group, func(it *item) bool {
			if !which(&it.event) {
				return false
			}
			it.state = dropped
			n++
			return true
		})
	}
	b.groups = slices.DeleteFunc(b.groups, func(group []*item) bool { return len(group) == 0 })
	return n
}
