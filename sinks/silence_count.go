package sinks

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// silence reports whether an event is kept out of the sink, and counts alerts that are.
// What waits for a person is never kept out.
func (g *grouper) silence(ev *soar.Event) ([]effect, bool) {
	switch ev.Type {
	case soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventTrouble, soar.EventTest:
		return nil, false
	}
	one, silent := g.o.Silences.Of(g.sink, ev.Alert)
	if !silent || ev.Type != soar.EventAlertReceived {
		return nil, silent
	}
	name := one.ID + "-" + strconv.FormatInt(one.At.UnixMicro(), 36)
	words := ""
	if g.ahead.silenced[name] == nil {
		words = one.shown(g.clean(ev).Alert).String()
	}
	return []effect{func(s *groups) {
		c := s.silenced[name]
		if c == nil {
			c = &silenced{ID: one.ID, Since: one.At, Words: words, By: one.By}
			s.silenced[name] = c
		}
		c.Count++
		s.dirty[silencedPlace+name] = true
	}}, true
}

// endedSilences tells how many alerts each silence kept out of the sink that has ended.
func (g *grouper) endedSilences(now time.Time) (events []soar.Event) {
	for name, c := range g.ahead.silenced {
		if g.o.Silences != nil && g.o.Silences.holds(c.ID, c.Since) {
			continue
		}
		alerts := "1 alert was"
		if c.Count != 1 {
			alerts = strconv.Itoa(c.Count) + " alerts were"
		}
		events = append(events, soar.Event{
			ID:   fmt.Sprintf("silence-ended/%s/%s", g.sink, name),
			Type: soar.EventNotification, At: now.UTC(), To: g.sink,
			Text: fmt.Sprintf("%s silenced: %s, since %s, asked for by %s.", alerts, strings.ToValidUTF8(c.Words, "\ufffd"), c.Since.UTC().Format(time.DateTime+" UTC"), c.By),
		})
		g.both(func(s *groups) {
			delete(s.silenced, name)
			s.dirty[silencedPlace+name] = true
		})
	}
	return events
}
