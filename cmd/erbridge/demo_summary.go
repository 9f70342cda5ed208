package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// figures are what the demo's summary says. Everything is read from the store and
// from the receivers after the daemon has stopped.
type figures struct {
	AlertsReceived  int64 `json:"alerts_received"`
	RunsDone        int64 `json:"runs_done"`
	RunsFailed      int64 `json:"runs_failed"`
	RunsUnknown     int64 `json:"runs_unknown"`
	RunsOpen        int64 `json:"runs_open"`
	ActionsSent     int64 `json:"actions_sent"`     // intents in the journal: calls with an effect
	ActionsExecuted int64 `json:"actions_executed"` // steps that ended executed or verified
	EventsDelivered int64 `json:"events_delivered"` // by all sinks together
	DeadLetters     int64 `json:"dead_letters"`
	// FirstResponseMS is from the start of the demo to the first step with an
	// effect that was executed; null when there was none.
	FirstResponseMS *int64 `json:"first_response_ms"`
	ChatMessages    int    `json:"chat_messages"`
	SyslogMessages  int    `json:"syslog_messages"`
	Seconds         int64  `json:"seconds"`
}

// measure counts in the store, which the daemon has left.
func (d *demo) measure(ctx context.Context, bridge *daemon.Daemon) (f figures, err error) {
	r, err := store.OpenReader(ctx, bridge.StorePath())
	if err != nil {
		return f, fmt.Errorf("demo: %w", err)
	}
	defer r.Close()
	counts, err := r.Counts(ctx)
	if err != nil {
		return f, fmt.Errorf("demo: %w", err)
	}
	f = figures{
		AlertsReceived: counts.Alerts, DeadLetters: counts.DeadLetters,
		RunsDone: counts.RunsByState[soar.RunDone], RunsFailed: counts.RunsByState[soar.RunFailed], RunsUnknown: counts.RunsByState[soar.RunUnknown],
		RunsOpen:     counts.RunsByState[soar.RunRunning] + counts.RunsByState[soar.RunWaiting],
		ChatMessages: len(d.chat.Messages()), SyslogMessages: len(d.syslog.Messages()), Seconds: int64(time.Since(d.began).Seconds()),
	}
	if err := f.readFeed(ctx, r, d.began); err != nil {
		return f, fmt.Errorf("demo: %w", err)
	}
	if err := f.readJournals(ctx, r); err != nil {
		return f, fmt.Errorf("demo: %w", err)
	}
	f.EventsDelivered = bridge.Delivered()
	return f, nil
}

// readFeed finds the steps that were executed, and the first of them.
func (f *figures) readFeed(ctx context.Context, r *store.Reader, began time.Time) error {
	const page = 500
	for after := int64(0); ; {
		events, err := r.Feed(ctx, after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, ev := range events {
			after = ev.Pos
			if ev.Type != soar.EventStepFinished || ev.Outcome == nil {
				continue
			}
			if s := ev.Outcome.State; s == soar.StepExecuted || s == soar.StepVerified {
				f.ActionsExecuted++
				if f.FirstResponseMS == nil {
					ms := ev.At.Sub(began).Milliseconds()
					f.FirstResponseMS = &ms
				}
			}
		}
	}
}

// readJournals counts the intents of all runs.
func (f *figures) readJournals(ctx context.Context, r *store.Reader) error {
	const page = 500
	var filter store.RunFilter
	filter.Limit = page
	for {
		runs, err := r.Runs(ctx, filter)
		if err != nil || len(runs) == 0 {
			return err
		}
		for _, run := range runs {
			filter.Before = run.ID
			entries, err := r.Entries(ctx, run.ID)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e.Kind == soar.EntryIntent {
					f.ActionsSent++
				}
			}
		}
	}
}

func (d *demo) conclude(w io.Writer, f figures) error {
	first := "there was none"
	if f.FirstResponseMS != nil {
		first = fmt.Sprintf("%.1f s after the start", float64(*f.FirstResponseMS)/1000)
	}
	_, err := fmt.Fprintf(w, `
In %d seconds:
  alerts received     %d
  runs                %d done, %d failed, %d unknown, %d still open
  actions             %d sent, %d executed; the first response %s
  events delivered    %d, of them %d messages in chat and %d lines of syslog
  dead letters        %d

A failed run is not a fault of the demo: hosts go offline and commands fail in the
scenario "failures", and erbridge says so instead of hiding it.

What next:
  erbridge simulate --help       a simulated server to try your own configuration against
  config.example.yaml            every setting, with its meaning
  docs/howto/connect.md          connect a real server, in observe mode first
  docs/howto/write-a-playbook.md
`, f.Seconds, f.AlertsReceived, f.RunsDone, f.RunsFailed, f.RunsUnknown, f.RunsOpen, f.ActionsSent, f.ActionsExecuted, first,
		f.EventsDelivered, f.ChatMessages, f.SyslogMessages, f.DeadLetters)
	return err
}
