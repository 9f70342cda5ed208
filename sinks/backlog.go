package sinks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// gap is what was dropped and the receiver was not told of yet.
type gap struct {
	Events int64     `json:"events"`
	First  int64     `json:"first"` // positions in the feed
	Last   int64     `json:"last"`
	From   time.Time `json:"from"` // times of the events
	To     time.Time `json:"to"`
}

func gapKey(sink string) string { return "sink-gap/" + sink }

// gapPrefix begins the ids of the events that tell a receiver what it did not get.
// They are addressed to that sink, and their ids hold the numbers: one that is dropped
// itself, because the receiver went down again, goes into the next.
func gapPrefix(sink string) string { return "sink-gap-" + sink + "-" }

func (g *gap) id(sink string) string {
	return fmt.Sprintf("%s%d-%d-%d-%d-%d", gapPrefix(sink), g.First, g.Last, g.Events, g.From.Unix(), g.To.Unix())
}

func parseGap(sink, id string) (g gap, ok bool) {
	var from, to int64
	rest, ok := strings.CutPrefix(id, gapPrefix(sink))
	if !ok {
		return g, false
	}
	n, err := fmt.Sscanf(rest+"\n", "%d-%d-%d-%d-%d\n", &g.First, &g.Last, &g.Events, &from, &to)
	g.From, g.To = time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()
	return g, err == nil && n == 5
}

// add puts a dropped event into the gap.
func (g *gap) add(sink string, ev *soar.Event) {
	if told, ok := parseGap(sink, ev.ID); ok {
		g.join(told)
		return
	}
	g.join(gap{Events: 1, First: ev.Pos, Last: ev.Pos, From: ev.At, To: ev.At})
}

func (g *gap) join(more gap) {
	if g.Events == 0 {
		*g = more
		return
	}
	g.Events += more.Events
	g.First, g.Last = min(g.First, more.First), max(g.Last, more.Last)
	if more.From.Before(g.From) {
		g.From = more.From
	}
	if more.To.After(g.To) {
		g.To = more.To
	}
}

// span is the time of the gap, from and until, as sinks replay takes it.
func (g *gap) span() (since, until string) {
	return g.From.UTC().Format(time.RFC3339), g.To.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339)
}

// noteGap keeps in a Change what was dropped, and tells the other sinks now and then.
func (f *Forwarder) noteGap(c *soar.Change) {
	value, _ := json.Marshal(f.gap) // numbers and times
	c.KV = append(c.KV, soar.KV{Key: gapKey(f.name), Value: string(value)})
	now := f.o.Now().UTC()
	if !f.dropTold.IsZero() && now.Sub(f.dropTold) < troubleEvery {
		return
	}
	f.dropTold = now
	since, _ := f.gap.span()
	c.Events = append(c.Events, soar.Event{
		ID: fmt.Sprintf("%sdrops-%d", pausedPrefix(f.name), now.UnixMilli()), Type: soar.EventTrouble, At: now,
		Text: fmt.Sprintf("Sink %q is over max_backlog and passes over its oldest events: %d so far, since %s. As long as the store keeps them, "+
			"erbridge sinks replay %s --since %s delivers them.", f.name, f.gap.Events, since, f.name, since),
	})
}

// gapDue is how long to wait before the receiver is told of its gap.
func (f *Forwarder) gapDue() time.Duration {
	if f.gapTold.IsZero() {
		return 0
	}
	return max(troubleEvery-time.Since(f.gapTold), 0)
}

// closeGap tells a receiver that answers again what it did not get.
func (f *Forwarder) closeGap(c *soar.Change) {
	g := f.gap
	since, until := g.span()
	c.KV = append(c.KV, soar.KV{Key: gapKey(f.name)})
	c.Events = append(c.Events, soar.Event{
		ID: g.id(f.name), Type: soar.EventTrouble, At: f.o.Now().UTC(), To: f.name,
		Text: fmt.Sprintf("%d events from %s to %s are missing here: sink %q was over max_backlog and passed over them. "+
			"As long as the store keeps them, erbridge sinks replay %s --since %s --until %s delivers them.",
			g.Events, since, until, f.name, f.name, since, until),
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
	// What was dropped when the batch was put together stands in front of it.
	if s.drops() && (b.drop(f.overdue()) > 0 || b.items[0].state == dropped) {
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
