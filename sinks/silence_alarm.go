package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// AlarmSettings say when people are told that nothing comes in. A server that is quiet
// and a way to it that is broken look the same from here.
type AlarmSettings struct {
	// NoAlertsFor is how long nothing may come in from anywhere before people are told,
	// as trouble, and told again when alerts come back. 0, the default, is no alarm.
	NoAlertsFor time.Duration `yaml:"no_alerts_for"`

	// NoAlertsFrom is the same for one source, by its name: that of the server, or of a
	// sender of the webhook.
	NoAlertsFrom map[string]time.Duration `yaml:"no_alerts_from"`
}

// alarmGrace is how long after the start no alarm is raised: what has come in while
// erbridge did not run is read first.
const alarmGrace = 10 * time.Minute

// SilenceAlarm tells when no alerts come in.
type SilenceAlarm struct {
	store  ReportStore
	limits map[string]time.Duration // by Alert.Server; "" is anywhere
	log    *slog.Logger
	now    func() time.Time

	// Owned by Run.
	mark  *alarmMark // nil: read it from the store
	saved time.Time  // when it was last written there
}

// saveAlarm is how often the place in the feed is kept when there is no news; what lies
// behind it is read again after a restart.
const saveAlarm = time.Minute

// NewSilenceAlarm makes the alarm; Run watches. It is nil when there is nothing to watch.
// now is the clock; nil means time.Now.
func NewSilenceAlarm(store ReportStore, s AlarmSettings, log *slog.Logger, now func() time.Time) *SilenceAlarm {
	limits := maps.Clone(s.NoAlertsFrom)
	if limits == nil {
		limits = map[string]time.Duration{}
	}
	if s.NoAlertsFor > 0 {
		limits[""] = s.NoAlertsFor
	}
	maps.DeleteFunc(limits, func(_ string, d time.Duration) bool { return d <= 0 })
	if len(limits) == 0 {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &SilenceAlarm{store: store, limits: limits, log: log, now: now}
}

// alarmMark is what the alarm keeps.
type alarmMark struct {
	Pos  int64                `json:"pos"`  // in the feed, up to which it has looked
	Last map[string]time.Time `json:"last"` // when the last alert came in, or the watch began, by source
	Told map[string]time.Time `json:"told"` // of a silence: what Last was then
}

const alarmKey = "alarm/no-alerts"

// Run watches until ctx ends, and returns nil then.
func (a *SilenceAlarm) Run(ctx context.Context) error {
	began := a.now()
	for {
		grown := a.store.Changed(soar.SignalFeed)
		wait, err := a.look(ctx, began)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("whether alerts come in is not known", "err", err)
			wait = reportAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			continue
		case <-grown:
		}
		// Under load the feed grows all the time, and one look at a page of it is as good.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(wait, time.Second)):
		}
	}
}

// look reads what is new and tells what is to be told, in one Change with what it keeps.
// It returns how long nothing can happen by itself.
func (a *SilenceAlarm) look(ctx context.Context, began time.Time) (time.Duration, error) {
	now := a.now()
	if a.mark == nil {
		if err := a.load(ctx, now); err != nil {
			return 0, err
		}
	}
	mark := a.mark
	events, err := a.read(ctx, mark)
	if err != nil {
		a.mark = nil // it has changed, and nobody was told why
		return 0, err
	}
	wait := lookAtClock
	for _, name := range slices.Sorted(maps.Keys(a.limits)) {
		limit, last := a.limits[name], mark.Last[name]
		due := last.Add(limit)
		if ready := began.Add(min(limit, alarmGrace)); due.Before(ready) {
			due = ready
		}
		_, told := mark.Told[name]
		switch {
		case told:
		case now.Before(due):
			wait = min(wait, due.Sub(now))
		default:
			mark.Told[name] = last
			events = append(events, soar.Event{
				ID: fmt.Sprintf("no-alerts/%s/%d", name, last.UnixMilli()), Type: soar.EventTrouble, At: now.UTC(),
				Text: fmt.Sprintf("No alert has come in%s since %s, for more than %s. Either it is quiet, or the server raises none, or erbridge does not get them: look at the server, and at erbridge doctor.",
					fromText(name), last.UTC().Format("2006-01-02 15:04 UTC"), limit),
			})
		}
	}
	if len(events) == 0 && now.Sub(a.saved) < saveAlarm {
		return wait, nil
	}
	value, err := json.Marshal(mark)
	if err == nil {
		_, err = a.store.Commit(ctx, soar.Change{Events: events, KV: []soar.KV{{Key: alarmKey, Value: string(value)}}})
	}
	if a.saved = now; err != nil {
		a.mark = nil // as it is in the store, whichever way that commit went
		return 0, err
	}
	return max(wait, time.Millisecond), nil
}

// load finds the mark, or begins one. A source that is watched for the first time has
// its time from now on.
func (a *SilenceAlarm) load(ctx context.Context, now time.Time) error {
	var mark alarmMark
	known, err := readValue(ctx, a.store, alarmKey, &mark)
	if err != nil && !errors.Is(err, errBadValue) {
		return err
	}
	if !known {
		if mark.Pos, err = a.store.FeedHead(ctx); err != nil {
			return err
		}
	}
	if mark.Last == nil {
		mark.Last = map[string]time.Time{}
	}
	if mark.Told == nil {
		mark.Told = map[string]time.Time{}
	}
	for name := range a.limits {
		if mark.Last[name].IsZero() || mark.Last[name].After(now.Add(clockTrust)) { // or the clock was wrong then
			mark.Last[name] = now
		}
	}
	a.mark, a.saved = &mark, time.Time{}
	return nil
}

func fromText(name string) string {
	if name == "" {
		return ""
	}
	return " from " + name
}

// read goes through what is new in the feed. Where people were told of a silence, they
// are told of its end.
func (a *SilenceAlarm) read(ctx context.Context, mark *alarmMark) (events []soar.Event, err error) {
	for {
		page, err := a.store.Feed(ctx, mark.Pos, countPage)
		if err != nil || len(page) == 0 {
			return events, err
		}
		for i := range page {
			ev := &page[i]
			mark.Pos = ev.Pos
			if ev.Type != soar.EventAlertReceived || ev.Alert == nil {
				continue
			}
			for _, name := range []string{"", ev.Alert.Server} {
				if a.limits[name] == 0 {
					continue
				}
				if since, told := mark.Told[name]; told {
					delete(mark.Told, name)
					events = append(events, soar.Event{
						ID: fmt.Sprintf("alerts-again/%s/%d", name, since.UnixMilli()), Type: soar.EventTrouble, At: a.now().UTC(),
						Text: fmt.Sprintf("Alerts come in%s again, after %s without one.", fromText(name), ev.At.Sub(since).Round(time.Second)),
					})
				}
				if ev.At.After(mark.Last[name]) {
					mark.Last[name] = ev.At
				}
			}
		}
	}
}
