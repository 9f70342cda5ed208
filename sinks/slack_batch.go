package sinks

import (
	"context"

	"github.com/erbridge/erbridge/internal/soar"
)

// slackKind says what a piece is told as.
type slackKind int

const (
	pieceAlone  slackKind = iota // one event, a message of its own
	pieceAlert                   // all of one alert: an edit of its message, and replies
	pieceDigest                  // many alerts without a message: counted in one
	pieceRows                    // rows of results: listed in one
	pieceBeat                    // heartbeats: one message, edited
)

// slackPiece is what of a batch is told together.
type slackPiece struct {
	kind   slackKind
	ref    string // of the alert
	events []*soar.Event
}

// only is the piece of one of its events.
func (p *slackPiece) only(i int) *slackPiece {
	return &slackPiece{kind: p.kind, ref: p.ref, events: p.events[i : i+1]}
}

// alert is the alert as it is now; nil where no event has it.
func (p *slackPiece) alert() (a *soar.Alert) {
	for _, ev := range p.events {
		if ev.Alert != nil && ev.Alert.Ref() == p.ref {
			a = ev.Alert
		}
	}
	return a
}

// headOf is the alert whose message an event belongs to; empty for none.
func headOf(ev *soar.Event) string {
	switch {
	case ev.Group != nil:
		return ev.Group.Head
	case ev.Type == soar.EventTrouble, ev.Type == soar.EventTest, ev.Alert == nil:
		return ""
	}
	return ev.Alert.Ref()
}

// byItself reports whether an event is a message of its own below the alert, because
// people shall see it: it is never counted in a digest.
func byItself(ev *soar.Event) bool {
	switch ev.Type {
	case soar.EventNotification, soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventTrouble, soar.EventTest:
		return true
	}
	return false
}

// pieces puts together what is told together. Events of one alert keep their order;
// a piece stands where its first event does.
func (s *slackSink) pieces(ctx context.Context, events []soar.Event) ([]*slackPiece, error) {
	var list []*slackPiece
	shared := map[string]*slackPiece{}
	join := func(key string, kind slackKind, ref string, ev *soar.Event) {
		p := shared[key]
		if p == nil {
			p = &slackPiece{kind: kind, ref: ref}
			shared[key], list = p, append(list, p)
		}
		p.events = append(p.events, ev)
	}
	for i := range events {
		ev := &events[i]
		ref := headOf(ev)
		switch {
		case ref != "":
			join("alert/"+ref, pieceAlert, ref, ev)
		case ev.Row != nil:
			join("rows", pieceRows, "", ev)
		case ev.Type == soar.EventHeartbeat:
			join("beat", pieceBeat, "", ev)
		default:
			list = append(list, &slackPiece{kind: pieceAlone, events: []*soar.Event{ev}})
		}
	}
	return s.underLoad(ctx, list)
}

// underLoad puts what too many alerts came to into one digest: those that have no
// message yet. What people have to see stays out of it.
func (s *slackSink) underLoad(ctx context.Context, list []*slackPiece) ([]*slackPiece, error) {
	var many []*slackPiece
	for _, p := range list {
		if p.kind != pieceAlert || !p.beginsMessage() {
			continue
		}
		t, err := s.thread(ctx, p.ref)
		if err != nil {
			return nil, err
		}
		if t.TS == "" {
			many = append(many, p)
		}
	}
	if len(many) <= s.settings.DigestAbove {
		return list, nil
	}
	digest := &slackPiece{kind: pieceDigest}
	for _, p := range many {
		var rest []*soar.Event
		for _, ev := range p.events {
			if byItself(ev) {
				rest = append(rest, ev)
			} else {
				digest.events = append(digest.events, ev)
			}
		}
		p.events = rest
	}
	out := []*slackPiece{digest}
	for _, p := range list {
		if len(p.events) > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// beginsMessage reports whether a piece gives an alert a message that has none.
func (p *slackPiece) beginsMessage() bool {
	for _, ev := range p.events {
		if !byItself(ev) && ev.Type != soar.EventAlertUpdated && ev.Alert != nil && ev.Alert.Ref() == p.ref {
			return true
		}
	}
	return false
}
