package sinks

import (
	"context"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A storm is more like alerts in a minute than people can read. They are put together
// with the first of them, without being configured, until it is quiet. What becomes of
// them is counted, and only what needs a person is delivered, and not without end.
const (
	// DefaultStorm is how many like alerts a minute people are shown one by one.
	DefaultStorm = 20

	stormWithin  = time.Minute
	stormQuiet   = 2 * time.Minute  // without a like alert end it
	stormLongest = time.Hour        // then the next like alert is shown by itself, and a new group begins
	stormSlowest = 10 * time.Minute // between two updates

	// stormFirst are delivered at once: with a reply to each, and what has to be told
	// besides, that is what people can read of a storm. The next ones wait for a moment whether a storm
	// begins: the twentieth message of a storm of thousands is nineteen too late.
	stormFirst = 2
	stormHold  = 3 * time.Second

	maxSeries = 4096 // of alerts that are like one another, looked at for their pace
)

// What is delivered of a storm's alerts without a message of their own, at most.
const (
	maxShownFailures  = 5
	maxShownApprovals = 10
	maxShownUndos     = 10
	maxShownNotes     = 3
)

// series are the like alerts of the last minute that were delivered one by one.
type series struct{ alerts []alone }

// alone is an alert with a message of its own.
type alone struct {
	at         time.Time
	ref, event string
	key        int64
	host       groupHost
}

// pace decides whether an alert begins a storm. It looks at the like alerts of the
// minute before and, as far as the feed has them already, of the one behind it.
func (g *grouper) pace(kin string, ev *soar.Event, rest []soar.Event, wanted func(*soar.Event) bool, now time.Time) (verdict, []effect) {
	s := g.series[kin]
	if s == nil {
		g.makeRoom(ev.At)
		s = &series{}
		g.series[kin] = s
	}
	s.since(ev.At.Add(-stormWithin))
	if len(s.alerts) >= stormFirst {
		if g.coming(kin, len(s.alerts)+1, s.alerts[0].at.Add(stormWithin), rest, wanted) > g.o.Storm {
			delete(g.series, kin)
			return counted, []effect{g.storm(kin, s, ev, now)}
		}
		// After a clock was put back, an event may be one of the future: nobody waits for it.
		if hold := ev.At.Add(stormHold).Sub(now); len(rest) < maxPage-1 && hold > 0 && hold <= stormHold {
			return onHold, nil
		}
	}
	s.alerts = append(s.alerts, alone{ev.At, ev.Alert.Ref(), ev.ID, ev.AlertKey, g.hostOf(ev, nil)})
	return goesOut, nil
}

// coming adds the like alerts among those that follow, up to a time.
func (g *grouper) coming(kin string, n int, until time.Time, rest []soar.Event, wanted func(*soar.Event) bool) int {
	for i := range rest {
		next := &rest[i]
		if n > g.o.Storm {
			break
		}
		if next.Type == soar.EventAlertReceived && next.Alert != nil && next.At.Before(until) && likeKin(next.Alert) == kin && wanted(next) {
			n++
		}
	}
	return n
}

func (s *series) since(at time.Time) {
	i := 0
	for i < len(s.alerts) && !s.alerts[i].at.After(at) {
		i++
	}
	s.alerts = s.alerts[i:]
}

// makeRoom forgets series that have ended, or any when too many go on at once.
func (g *grouper) makeRoom(at time.Time) {
	if len(g.series) < maxSeries {
		return
	}
	for kin, s := range g.series {
		if s.since(at.Add(-stormWithin)); len(s.alerts) == 0 {
			delete(g.series, kin)
		}
	}
	for kin := range g.series {
		if len(g.series) < maxSeries {
			return
		}
		delete(g.series, kin)
	}
}

// storm is the effect of the alert with which one is noticed. The first of its series
// heads the group; those that were delivered are counted, and are no members: what
// becomes of them goes to their own messages.
func (g *grouper) storm(kin string, s *series, ev *soar.Event, now time.Time) effect {
	head := s.alerts[0]
	one := gathered{
		Key: shortKey([]string{g.clean(ev).Alert.Title()}), Kin: kin, Storm: true, Head: head.ref, HeadEvent: head.event, HeadKey: head.key,
		First: head.at, Last: head.at, Count: len(s.alerts), ToldAt: now,
	}
	for _, a := range s.alerts {
		one.addHost(a.host)
	}
	one.add(ev.AlertKey, g.hostOf(ev, nil), ev.At)
	one.Ends = earlier(ev.At.Add(stormQuiet), one.First.Add(stormLongest))
	g.log.Info("alerts come too fast to be shown one by one, they are counted with the first of them",
		"head", one.Head, "delivered", len(s.alerts), "per_minute", g.o.Storm)
	return begin(one)
}

// groupOf finds the group of an event's alert among those that have no message of their
// own.
func (g *grouper) groupOf(ctx context.Context, ev *soar.Event) *gathered {
	find := func(kin string) *gathered {
		for _, one := range g.ahead.byKin[kin] {
			if one.has(kin, ev.AlertKey) {
				return one
			}
		}
		return nil
	}
	if g.o.Storm > 0 {
		if one := find(likeKin(ev.Alert)); one != nil {
			return one
		}
	}
	if kin, ok := g.kinOf(ctx, ev); ok {
		return find(kin)
	}
	return nil
}

// member decides about an event of an alert that came in before.
func (g *grouper) member(ctx context.Context, ev *soar.Event) (verdict, []effect) {
	one := g.groupOf(ctx, ev)
	if one == nil {
		return goesOut, nil
	}
	tell := func() {
		ev.Group = &soar.Group{Key: one.Key, Head: one.Head, Count: one.Count, Hosts: len(one.Hosts), First: one.First, Last: one.Last}
	}
	if !one.Storm {
		tell()
		return goesOut, nil
	}
	name := one.name()
	news := func(f func(*gathered)) effect {
		return change(name, func(o *gathered) {
			f(o)
			o.News++
		})
	}
	show := func(kind string, most int) (verdict, []effect) {
		if one.Shown[kind] >= most {
			return counted, nil
		}
		tell()
		return goesOut, []effect{change(name, func(o *gathered) { count(&o.Shown, kind) })}
	}
	switch ev.Type {
	case soar.EventTrouble, soar.EventTest:
		tell()
		return goesOut, nil
	case soar.EventStepFinished:
		if ev.Outcome == nil {
			return counted, nil
		}
		word := ev.Outcome.Action + " " + string(ev.Outcome.State)
		what, effects := counted, []effect(nil)
		if failedStep(ev.Outcome.State) {
			what, effects = show("failure", maxShownFailures)
		}
		return what, append(effects, news(func(o *gathered) { count(&o.Steps, word) }))
	case soar.EventRunFinished:
		if ev.Run == nil {
			return counted, nil
		}
		state := string(ev.Run.State)
		what, effects := counted, []effect(nil)
		if ev.Run.State == soar.RunFailed || ev.Run.State == soar.RunUnknown {
			what, effects = show("failure", maxShownFailures)
		}
		return what, append(effects, news(func(o *gathered) { count(&o.Runs, state) }))
	case soar.EventApprovalRequested:
		return g.ask(one, ev, show)
	case soar.EventApprovalDecided:
		if ev.Approval != nil && slices.Contains(one.Asked, ev.Approval.ID) {
			tell()
			return goesOut, nil
		}
		return counted, []effect{news(func(o *gathered) { count(&o.Steps, "approval decided") })}
	case soar.EventUndoSoon:
		what, effects := show("undo", maxShownUndos)
		if what == counted {
			effects = []effect{news(func(o *gathered) { count(&o.Steps, "undo soon") })}
		}
		return what, effects
	case soar.EventNotification:
		what, effects := show("note", maxShownNotes)
		if what == counted {
			effects = []effect{news(func(o *gathered) { count(&o.Steps, "message held back") })}
		}
		return what, effects
	}
	return counted, nil // that a run began, or that an alert changed which nobody was shown
}

// ask shows the first approvals of a storm and counts the others, which can be listed.
func (g *grouper) ask(one *gathered, ev *soar.Event, show func(string, int) (verdict, []effect)) (verdict, []effect) {
	if ev.Approval == nil {
		return counted, nil
	}
	id := ev.Approval.ID
	what, effects := show("approval", maxShownApprovals)
	if what == counted {
		return what, []effect{change(one.name(), func(o *gathered) {
			count(&o.Steps, "approval requested")
			o.News++
		})}
	}
	return what, append(effects, change(one.name(), func(o *gathered) { o.Asked = append(o.Asked, id) }))
}

// failedStep reports whether people want to know of a step that ended so.
func failedStep(s soar.StepState) bool {
	switch s {
	case soar.StepFailed, soar.StepUnknown, soar.StepExpired, soar.StepRefused:
		return true
	}
	return false
}
