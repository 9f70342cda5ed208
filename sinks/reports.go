package sinks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
)

// ReportStore is what Reports need of the store.
type ReportStore interface {
	Feed
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// ReportOptions say what a sink is told by the clock.
type ReportOptions struct {
	// Digest are the times of digests; nil for none.
	Digest []*schedule.Times
	// Heartbeat is the time between two heartbeats; 0 for none.
	Heartbeat time.Duration
	// When chooses the alerts that digests count; nil counts all.
	When Condition
	// Redact takes out of an event what must not leave, before it is counted.
	Redact func(soar.Event) soar.Event
	// Version is erbridge's own version.
	Version string
	Log     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Reports put into the feed what one sink is told by the clock: digests and heartbeats.
// They go the way of all events, and are delivered once each, also when erbridge is
// stopped between any two steps.
type Reports struct {
	sink  string
	store ReportStore
	o     ReportOptions
}

// NewReports makes the reports of a sink; Run makes the events. It is nil when there is
// nothing to tell.
func NewReports(sink string, store ReportStore, o ReportOptions) *Reports {
	if len(o.Digest) == 0 && o.Heartbeat <= 0 {
		return nil
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Redact == nil {
		o.Redact = func(ev soar.Event) soar.Event { return ev }
	}
	return &Reports{sink: sink, store: store, o: o}
}

func (c *Config) checkReports(report func(setting, hint, format string, args ...any)) {
	if c.Heartbeat != 0 && c.Heartbeat < minHeartbeat {
		report("heartbeat", "leave it out for none", "%s is too often, %s is the least", registry.FormatDuration(c.Heartbeat), registry.FormatDuration(minHeartbeat))
	}
	if c.Digest != nil {
		var err error
		if c.digest, err = c.Digest.Compile(); err != nil {
			report("digest", "", "%v", err)
		}
	}
}

// Reports completes report options with what the configuration says.
func (c *Config) Reports(o ReportOptions) ReportOptions {
	o.Digest, o.Heartbeat = c.digest, c.Heartbeat
	if c.when != nil {
		o.When = c.when
	}
	return o
}

const minHeartbeat = time.Minute

const (
	clockTrust  = time.Hour   // how far a clock that is put right may go back without a schedule beginning anew
	lookAtClock = time.Minute // at the latest: a clock may be put forward
	reportAgain = 10 * time.Second
	maxCounted  = 200_000 // events of the feed that one report counts
	maxCounts   = 10_000  // different rules or hosts told apart in it
	countPage   = 500
)

// Run works until ctx ends, and returns nil then.
func (r *Reports) Run(ctx context.Context) error {
	for {
		now := r.o.Now()
		beat, errBeat := r.heartbeat(ctx, now)
		next, err := r.digest(ctx, now)
		wait := lookAtClock
		for _, at := range []time.Time{beat, next} {
			if !at.IsZero() {
				wait = min(wait, at.Sub(now))
			}
		}
		if err = errors.Join(errBeat, err); err != nil && ctx.Err() == nil {
			r.o.Log.Warn("digest or heartbeat is late", "sink", r.sink, "err", err)
			wait = reportAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(wait, time.Second)):
		}
	}
}

// keep writes events and what is remembered of them in one Change.
func (r *Reports) keep(ctx context.Context, key string, mark any, events ...soar.Event) error {
	value, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	_, err = r.store.Commit(ctx, soar.Change{Events: events, KV: []soar.KV{{Key: key, Value: string(value)}}})
	return err
}

// feedCounts are what happened in a piece of the feed.
type feedCounts struct {
	pos    int64 // up to which it was counted
	more   bool  // there was more than is counted at once
	alerts int

	severity, rules, hosts, verdicts, runs, steps map[string]int
}

// tally counts the feed behind a place, of alerts that the condition is true for.
func (r *Reports) tally(ctx context.Context, after int64, when Condition) (*feedCounts, error) {
	c := &feedCounts{pos: after, severity: map[string]int{}, rules: map[string]int{}, hosts: map[string]int{}, verdicts: map[string]int{}, runs: map[string]int{}, steps: map[string]int{}}
	head, err := r.store.FeedHead(ctx)
	if err != nil {
		return nil, err
	}
	for seen := 0; c.pos < head; {
		page, err := r.store.Feed(ctx, c.pos, countPage)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			ev := &page[i]
			if ev.Pos > head {
				return c, nil
			}
			c.pos = ev.Pos
			if ev.Type == soar.EventTelemetry { // there is no end of it, and nothing in it to count
				continue
			}
			if seen++; seen > maxCounted {
				c.more, c.pos = true, head
				return c, nil
			}
			if r.counts(ctx, ev, when) {
				clean := r.o.Redact(*ev)
				c.add(&clean)
			}
		}
	}
	c.pos = head // retention may have removed the end of what was there
	return c, nil
}

// counts reports whether an event is one to count.
func (r *Reports) counts(ctx context.Context, ev *soar.Event, when Condition) bool {
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventRunFinished, soar.EventStepFinished:
	default:
		return false
	}
	if when == nil || ev.Alert == nil {
		return true
	}
	plain, err := soar.Plain(ev)
	if err != nil {
		return false
	}
	yes, err := when.True(ctx, plain)
	return yes && err == nil
}

func (c *feedCounts) add(ev *soar.Event) {
	count := func(in map[string]int, word string) {
		word = oneLine(word, 80)
		if _, known := in[word]; !known && len(in) >= maxCounts {
			word = "other"
		}
		in[word]++
	}
	switch {
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		c.alerts++
		count(c.severity, cmp.Or(string(ev.Alert.Severity), "unknown"))
		count(c.rules, ev.Alert.Title())
		if host := hostCalled(ev.Alert); host != "" {
			count(c.hosts, host)
		}
		switch ev.Alert.Verdict {
		case soar.VerdictTruePositive:
			count(c.verdicts, "true positive")
		case soar.VerdictFalsePositive:
			count(c.verdicts, "false positive")
		default:
			count(c.verdicts, cmp.Or(ev.Alert.Status, soar.StatusOpen))
		}
	case ev.Run != nil && ev.Type == soar.EventRunFinished:
		count(c.runs, string(ev.Run.State))
	case ev.Outcome != nil && ev.Type == soar.EventStepFinished:
		count(c.steps, ev.Outcome.Action+" "+string(ev.Outcome.State))
	}
}

func (c *feedCounts) alertsText() string {
	switch {
	case c.alerts == 0:
		return "no alert came in"
	case c.alerts == 1:
		return "1 alert came in"
	case len(c.hosts) > 1:
		return fmt.Sprintf("%d alerts came in, from %d hosts", c.alerts, len(c.hosts))
	}
	return fmt.Sprintf("%d alerts came in", c.alerts)
}
