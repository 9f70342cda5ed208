package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	// rememberedOutcomes, rememberedUndo and rememberedIDs bound what is kept of one alert's thread.
	rememberedOutcomes = 50
	rememberedUndo     = 20
	rememberedIDs      = 2 * slackMaxBatch
	// keepSent is how long the message of a single event is remembered, which
	// matters when it is delivered twice.
	keepSent = 7 * 24 * time.Hour
)

// thread is what is remembered of an alert's message.
type thread struct {
	place
	Outcomes []shownOutcome `json:"outcomes,omitempty"`
	// Told are the events that are in the thread.
	Told []string `json:"told,omitempty"`
	// Waiting are the questions that nobody has answered, by the id of the approval.
	Waiting map[string]string `json:"waiting,omitempty"`
	// Undo are the runs whose effects can be taken back.
	Undo  []undoable  `json:"undo,omitempty"`
	Group *soar.Group `json:"group,omitempty"`
	// LikeRuns and LikeSteps count what became of like alerts, as far as it was told here.
	LikeRuns  map[string]int `json:"like_runs,omitempty"`
	LikeSteps map[string]int `json:"like_steps,omitempty"`
	// Shown is the fingerprint of the message as it stands there.
	Shown string `json:"shown,omitempty"`

	unsaved bool // something was counted since it was read
}

// undoable is a run whose effects can be taken back.
type undoable struct {
	Run      soar.RunID `json:"run"`
	Playbook string     `json:"playbook"`
	Steps    int        `json:"steps"` // that can be, and were not yet
	Ended    bool       `json:"ended"` // before that, the run itself may still act
}

func (t *thread) told(id string) bool { return slices.Contains(t.Told, id) }

func (t *thread) knows(id string) bool {
	return t.told(id) || slices.ContainsFunc(t.Outcomes, func(o shownOutcome) bool { return o.ID == id })
}

// fold takes in what an event says about the alert, once. ref is the alert's own: an
// event of a like alert says on which host it was.
func (t *thread) fold(ref string, ev *soar.Event) {
	if ev.Approval != nil && ev.Approval.State != soar.ApprovalWaiting {
		delete(t.Waiting, ev.Approval.ID) // also when it comes again, and its question before it
	}
	switch {
	case ev.Type == soar.EventAlertGrouped:
		if ev.Group == nil {
			return
		}
		if t.Group == nil || t.Group.Key != ev.Group.Key || !ev.Group.First.Equal(t.Group.First) || ev.Group.Count >= t.Group.Count {
			t.Group = ev.Group
		}
		return
	case ev.Type == soar.EventNotification, ev.Undo != nil, t.knows(ev.ID):
		return
	case ev.Approval != nil:
		if ev.Approval.State == soar.ApprovalWaiting {
			if t.Waiting == nil {
				t.Waiting = map[string]string{}
			}
			t.Waiting[ev.Approval.ID] = ev.Approval.Text
			return
		}
	case ofLike(ref, ev):
		// It is counted here, and gets no reply: one for each of a thousand would bury
		// what people look for. Its undo has no button: that would name another host.
		t.Told = append(t.Told, ev.ID)
		t.Told = t.Told[max(0, len(t.Told)-rememberedIDs):]
		t.unsaved = true
	case ev.Outcome != nil && ev.Run != nil:
		t.foldUndo(ev)
	case ev.Run != nil && ev.Type == soar.EventRunFinished:
		if i := t.undoOf(ev.Run.ID); i >= 0 {
			t.Undo[i].Ended = true
		}
	}
	if ev.Outcome == nil && ev.Run == nil && ev.Approval == nil {
		return
	}
	line := outcomeOf(ev)
	if ofLike(ref, ev) {
		switch {
		case ev.Outcome != nil:
			slackCount(&t.LikeSteps, ev.Outcome.Action+" "+outcomeWord(ev.Outcome))
		case ev.Type == soar.EventRunFinished && ev.Run != nil:
			slackCount(&t.LikeRuns, string(ev.Run.State))
		}
		if !wentWrong(ev) && ev.Approval == nil {
			return // it is in the counts; lines are for what people look into
		}
		line.Text += " (" + hostCalled(ev.Alert) + ")"
	}
	t.Outcomes = append(t.Outcomes, line)
	t.Outcomes = t.Outcomes[max(0, len(t.Outcomes)-rememberedOutcomes):]
}

// ofLike reports whether an event is about an alert that has no message of its own, and
// goes to that of another one.
func ofLike(ref string, ev *soar.Event) bool { return ev.Alert != nil && ev.Alert.Ref() != ref }

func (t *thread) undoOf(run soar.RunID) int {
	return slices.IndexFunc(t.Undo, func(u undoable) bool { return u.Run == run })
}

func (t *thread) foldUndo(ev *soar.Event) {
	o := ev.Outcome
	switch {
	case strings.HasPrefix(o.Action, "alert.note"):
		// A note does no harm: a button for each run that left one would hide the others.
	case o.Of != 0:
		if i := t.undoOf(o.Of); i >= 0 && (o.State == soar.StepExecuted || o.State == soar.StepVerified) {
			if t.Undo[i].Steps--; t.Undo[i].Steps <= 0 {
				t.Undo = slices.Delete(t.Undo, i, i+1)
			}
		}
	case o.Undo != "":
		i := t.undoOf(ev.Run.ID)
		if i < 0 {
			t.Undo = append(t.Undo, undoable{Run: ev.Run.ID, Playbook: ev.Run.Playbook})
			t.Undo = t.Undo[max(0, len(t.Undo)-rememberedUndo):]
			i = len(t.Undo) - 1
		}
		t.Undo[i].Steps++
	}
}

// thread finds what is remembered of an alert's message; without TS, it has none.
func (s *slackSink) thread(ctx context.Context, ref string) (*thread, error) {
	t := &thread{}
	text, err := s.memory.recall(ctx, "alert/"+ref, s.settings.KeepThreads)
	if err != nil || text == "" {
		return t, err
	}
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return &thread{}, nil //nolint:nilerr // it was written by something else; the alert gets a new message
	}
	return t, nil
}

func (s *slackSink) saveThread(ctx context.Context, ref string, t *thread) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	t.unsaved = false // memory holds on to what the store would not take
	return s.memory.remember(ctx, "alert/"+ref, string(text), s.settings.KeepThreads)
}

// bot delivers a piece with the Web API.
func (s *slackSink) bot(ctx context.Context, p *slackPiece) error {
	switch p.kind {
	case pieceDigest:
		return s.digest(ctx, p)
	case pieceRows:
		return s.once(ctx, p, rowsCard)
	case pieceBeat:
		return s.beat(ctx, p)
	case pieceAlert:
		return s.about(ctx, p)
	}
	return s.alone(ctx, p.events[0], place{})
}

// errNoReplies says that a message which was just posted takes no reply either.
var errNoReplies = fmt.Errorf("%w: reply to a new message", ErrPermanent)

// about brings the message of an alert up to date, and replies below it.
func (s *slackSink) about(ctx context.Context, p *slackPiece) error {
	t, err := s.thread(ctx, p.ref)
	if err != nil {
		return err
	}
	for _, ev := range p.events {
		t.fold(p.ref, ev)
	}
	a := p.alert()
	if t.TS == "" && (a == nil || !p.beginsMessage()) {
		return s.without(ctx, p)
	}
	if t.TS == "" {
		if err := s.head(ctx, a, t); err != nil {
			return err
		}
	}
	err = s.replies(ctx, p, t)
	if errors.Is(err, errThreadGone) && a == nil {
		// Only like alerts are told of, so there is nothing to post the message anew from.
		return s.without(ctx, p)
	}
	if errors.Is(err, errThreadGone) {
		// Somebody deleted the message. It is posted anew with all that is known.
		t.place = place{}
		if err := s.head(ctx, a, t); err != nil {
			return err
		}
		if err = s.replies(ctx, p, t); errors.Is(err, errThreadGone) {
			// Another message would be refused its reply as well.
			return fmt.Errorf("%w: %w", errNoReplies, err)
		}
	}
	if err == nil {
		err = s.takenBack(ctx, p)
	}
	if err != nil || a == nil {
		return err
	}
	return s.refresh(ctx, a, t)
}

// head posts the message of an alert.
func (s *slackSink) head(ctx context.Context, a *soar.Alert, t *thread) error {
	c := alertCard(a, t, s.buttons())
	at, err := s.post(ctx, c, a.Ref(), place{}, false)
	if err != nil {
		return err
	}
	t.place, t.Shown = at, c.fingerprint()
	// A crash here leaves a message that nobody remembers: when the event comes
	// again, the alert is posted a second time. Slack has no idempotency key, and
	// searching the channel would need a scope that reads what people write.
	return s.saveThread(ctx, a.Ref(), t)
}

// refresh edits the message of an alert, if it says something else by now.
func (s *slackSink) refresh(ctx context.Context, a *soar.Alert, t *thread) error {
	c := alertCard(a, t, s.buttons())
	shown := c.fingerprint()
	if shown == t.Shown {
		return nil
	}
	if _, err := s.update(ctx, t.place, c); err != nil {
		return err
	}
	t.Shown = shown
	// A crash here repeats the edit, which changes nothing.
	return s.saveThread(ctx, a.Ref(), t)
}

// replies tells in the thread what happened. What ended goes together into one reply;
// what people have to see is a message of its own.
func (s *slackSink) replies(ctx context.Context, p *slackPiece, t *thread) error {
	var ended []*soar.Event
	tell := func(c card, events []*soar.Event) error {
		if _, err := s.post(ctx, c, p.ref, t.place, false); err != nil {
			return err
		}
		for _, ev := range events {
			t.Told = append(t.Told, ev.ID)
		}
		t.Told = t.Told[max(0, len(t.Told)-rememberedIDs):]
		return s.saveThread(ctx, p.ref, t) // a crash before it repeats the reply
	}
	flush := func() error {
		if len(ended) == 0 {
			return nil
		}
		err := tell(outcomesCard(ended), ended)
		ended = nil
		return err
	}
	for _, ev := range p.events {
		switch {
		case t.told(ev.ID):
		case byItself(ev):
			if err := flush(); err != nil {
				return err
			}
			if err := s.alone(ctx, ev, t.place); err != nil {
				return err
			}
		case ev.Outcome != nil || ev.Run != nil:
			ended = append(ended, ev)
		}
	}
	if err := flush(); err != nil || !t.unsaved {
		return err
	}
	return s.saveThread(ctx, p.ref, t)
}

// without tells what concerns an alert that has no message, and begins none.
func (s *slackSink) without(ctx context.Context, p *slackPiece) error {
	for _, ev := range p.events {
		if !byItself(ev) && ev.Group == nil {
			continue // an alert that was never shown here is not worth a message now
		}
		if err := s.alone(ctx, ev, place{}); err != nil {
			return err
		}
	}
	return nil
}

// alone posts an event as a message of its own, in a thread where there is one. The
// answer to a question is written into the question.
func (s *slackSink) alone(ctx context.Context, ev *soar.Event, parent place) error {
	key := "event/" + ev.ID
	if sent, err := s.memory.recall(ctx, key, keepSent); err != nil || sent != "" {
		return err
	}
	if ev.Type == soar.EventApprovalDecided && ev.Approval != nil {
		if done, err := s.answered(ctx, ev); done || err != nil {
			return err
		}
	}
	about := ""
	if ev.Alert != nil {
		about = ev.Alert.Ref()
	}
	loud := ev.Type != soar.EventApprovalDecided
	at, err := s.post(ctx, eventCard(ev, parent.TS == "", s.buttons()), about, parent, loud)
	if err != nil {
		return err
	}
	var noted error
	if later := editedLater(ev); later != "" {
		text, err := json.Marshal(at)
		if err != nil {
			return err
		}
		// A crash here leaves a message whose buttons stay; a click on them is told
		// what became of it.
		noted = s.memory.remember(ctx, later, string(text), s.settings.KeepThreads)
	}
	// A crash before it repeats the message.
	return errors.Join(noted, s.memory.remember(ctx, key, at.TS, keepSent))
}

// editedLater is under which key it is remembered where a message stands whose buttons
// make no sense for ever; empty for others.
func editedLater(ev *soar.Event) string {
	switch {
	case ev.Type == soar.EventApprovalRequested && ev.Approval != nil:
		return "question/" + ev.Approval.ID
	case ev.Undo != nil && ev.Run != nil:
		return "soon/" + ev.Run.ID.String()
	}
	return ""
}

// takenBack writes into the messages that said what would be taken back that it was.
func (s *slackSink) takenBack(ctx context.Context, p *slackPiece) error {
	for _, ev := range p.events {
		o := ev.Outcome
		if o == nil || ev.Run == nil || o.Of == 0 || o.State != soar.StepExecuted && o.State != soar.StepVerified {
			continue
		}
		key := "soon/" + ev.Run.ID.String()
		text, err := s.memory.recall(ctx, key, s.settings.KeepThreads)
		if err != nil {
			return err
		}
		var at place
		if text == "" || json.Unmarshal([]byte(text), &at) != nil || at.TS == "" {
			continue // nobody was told, or something else wrote it
		}
		if _, err := s.update(ctx, at, eventCard(ev, false, s.buttons())); err != nil {
			return err
		}
		if err := s.memory.remember(ctx, key, "", s.settings.KeepThreads); err != nil { // a crash before it repeats the edit
			return err
		}
	}
	return nil
}

// answered writes the answer into the message of the question. It reports false where
// there is none any more.
func (s *slackSink) answered(ctx context.Context, ev *soar.Event) (done bool, err error) {
	text, err := s.memory.recall(ctx, "question/"+ev.Approval.ID, s.settings.KeepThreads)
	if err != nil || text == "" {
		return false, err
	}
	var at place
	if err := json.Unmarshal([]byte(text), &at); err != nil || at.TS == "" {
		return false, nil //nolint:nilerr // it was written by something else; the answer is a reply
	}
	changed, err := s.update(ctx, at, eventCard(ev, false, s.buttons()))
	if err != nil || !changed {
		return false, err
	}
	return true, s.memory.remember(ctx, "event/"+ev.ID, at.TS, keepSent)
}

// once posts events together that come once each, leaving out those that were told.
func (s *slackSink) once(ctx context.Context, p *slackPiece, make func([]*soar.Event) card) error {
	fresh, err := s.fresh(ctx, p.events)
	if err != nil || len(fresh) == 0 {
		return err
	}
	if s.settings.WebhookURL.IsSet() {
		err = s.posted(ctx, make(fresh))
	} else {
		_, err = s.post(ctx, make(fresh), p.ref, place{}, false)
	}
	if err != nil {
		return err
	}
	var noted error
	for _, ev := range fresh { // a crash before it repeats the message
		noted = errors.Join(noted, s.memory.remember(ctx, "event/"+ev.ID, "sent", keepSent))
	}
	return noted
}

// fresh are the events that were not told.
func (s *slackSink) fresh(ctx context.Context, events []*soar.Event) (fresh []*soar.Event, err error) {
	for _, ev := range events {
		sent, err := s.memory.recall(ctx, "event/"+ev.ID, keepSent)
		if err != nil {
			return nil, err
		}
		if sent == "" {
			fresh = append(fresh, ev)
		}
	}
	return fresh, nil
}

// beat keeps one message that says when erbridge was last heard of: a message for each
// heartbeat would bury everything else.
func (s *slackSink) beat(ctx context.Context, p *slackPiece) error {
	last := p.events[len(p.events)-1]
	text, err := s.memory.recall(ctx, "heartbeat", s.settings.KeepThreads)
	if err != nil {
		return err
	}
	var at place
	if text != "" && json.Unmarshal([]byte(text), &at) == nil && at.TS != "" {
		if changed, err := s.update(ctx, at, beatCard(last)); err != nil || changed {
			return err
		}
	}
	if at, err = s.post(ctx, beatCard(last), "", place{}, false); err != nil {
		return err
	}
	data, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return s.memory.remember(ctx, "heartbeat", string(data), s.settings.KeepThreads)
}

// hook delivers a piece with an incoming webhook, which tells nothing back: what one
// alert came to goes into one message, and nothing is edited.
func (s *slackSink) hook(ctx context.Context, p *slackPiece) error {
	switch p.kind {
	case pieceDigest:
		return s.once(ctx, p, func(events []*soar.Event) card {
			var d slackDigest
			for _, ev := range events {
				d.count(ev)
			}
			return d.card()
		})
	case pieceRows:
		return s.once(ctx, p, rowsCard)
	case pieceBeat:
		return s.once(ctx, p, func(events []*soar.Event) card { return beatCard(events[len(events)-1]) })
	case pieceAlert:
		quiet := slices.DeleteFunc(slices.Clone(p.events), func(ev *soar.Event) bool { return !newsToWebhook(ev) })
		if len(quiet) < len(p.events) {
			if len(quiet) == 0 {
				return nil
			}
			p = &slackPiece{kind: p.kind, ref: p.ref, events: quiet}
		}
	}
	return s.once(ctx, p, func(events []*soar.Event) card {
		a := p.alert()
		if a != nil && slices.ContainsFunc(events, func(ev *soar.Event) bool {
			return ev.Type == soar.EventAlertReceived || ev.Type == soar.EventAlertUpdated
		}) {
			t := &thread{}
			for _, ev := range events {
				t.fold(p.ref, ev)
			}
			return alertCard(a, t, slackButtons{})
		}
		if len(events) == 1 {
			return eventCard(events[0], true, slackButtons{})
		}
		c := outcomesCard(events)
		if a != nil {
			c.context(fit(a.Title(), 200) + "  ·  " + fit(a.Ref(), 200))
		}
		return c
	})
}

// newsToWebhook leaves out updates that are no news to people: that an alert has more
// events. With a bot, they are edits.
func newsToWebhook(ev *soar.Event) bool {
	if ev.Type != soar.EventAlertUpdated || ev.Change == nil {
		return true
	}
	return slices.ContainsFunc(ev.Change.What, func(what string) bool {
		return what == soar.ChangeResolved || what == soar.ChangeReopened || what == soar.ChangeVerdict
	})
}
