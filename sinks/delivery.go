package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// maxPanics is how often a sink may panic on one and the same event before the
// event is set aside: a bug in a format must not hold up everything behind it.
const maxPanics = 5

// maxReasonBytes bounds the reason of a dead letter (a receiver's text is in it).
const maxReasonBytes = 1 << 10

// maxPayloadBytes is how much of a dead letter the store keeps.
const maxPayloadBytes = 1 << 20

type itemState int

const (
	waiting  itemState = iota // to be sent
	settled                   // delivered, or not for this sink
	setAside                  // becomes a dead letter
	dropped                   // over the bound of the backlog
)

// item is one event on its way.
type item struct {
	event      soar.Event
	redelivery int64 // Redelivery.ID; 0 for an event of the feed
	state      itemState
	effects    []effect  // on the groups of the sink
	reason     error     // of setAside
	act        *soar.Act // of the person who skipped it
	panics     int
}

// batch is what is settled before anything after it is looked at. Its waiting
// items stand in groups, each of which goes into one Send; a group that is
// refused is halved until the item at fault stands alone.
type batch struct {
	items  []*item // in the order of the feed; those in front that are recorded are gone
	groups [][]*item
	again  bool // redeliveries and replays: no cursor to move
	// replay is how far a replay is when this batch is settled; nil for other batches.
	replay *Replay

	todo, bytes int       // of the waiting items, while the batch is collected
	since       time.Time // when the first of them joined
}

func (b *batch) add(it *item) {
	b.items = append(b.items, it)
	if it.state != waiting {
		return
	}
	if len(b.groups) == 0 {
		b.groups = [][]*item{nil}
	}
	b.groups[0] = append(b.groups[0], it)
}

// next takes up to limit items off the front.
func (b *batch) next(limit int) []*item {
	if len(b.groups) == 0 {
		return nil
	}
	group := b.groups[0]
	if len(group) > limit {
		b.groups[0] = group[limit:]
		return group[:limit:limit]
	}
	b.groups = b.groups[1:]
	return group
}

// putBack puts groups in front again, to be sent next.
func (b *batch) putBack(groups ...[]*item) { b.groups = append(groups, b.groups...) }

// settledItems takes off what can be recorded: for the feed everything up to the
// first item that is not settled, because the cursor cannot jump over it.
func (b *batch) settledItems() []*item {
	var done, left []*item
	for i, it := range b.items {
		if it.state != waiting {
			done = append(done, it)
			continue
		}
		if !b.again {
			left = b.items[i:]
			break
		}
		left = append(left, it)
	}
	b.items = left
	return done
}

// deliver sends a batch until every item of it is settled and recorded. It fails
// only when ctx ends; what is not settled then comes again at the next start.
func (f *Forwarder) deliver(ctx context.Context, b *batch) error {
	defer f.setOldest(time.Time{})
	for {
		if err := f.mayTry(ctx, b); err != nil {
			return err
		}
		group := b.next(f.limit)
		if group == nil {
			f.standsNowhere()
			return f.settle(ctx, b, false)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.setOldest(b.oldest())
		err := f.send(ctx, group)
		if err != nil && ctx.Err() != nil {
			// The Send was cut short, or its error can be due to that: no verdict on
			// the events, so they are neither delivered nor dead.
			f.log.Warn("delivery was cut short by the stop, its events come again after the next start",
				"events", len(group), "first", group[0].event.ID, "drain", f.o.Drain, "err", err)
			return errors.Join(context.Cause(ctx), f.settle(ctx, b, true))
		}
		wait, err := f.judge(ctx, b, group, err)
		if err != nil {
			return err
		}
		if err := f.settle(ctx, b, true); err != nil {
			return err
		}
		if err := f.pause(ctx, wait); err != nil {
			return err
		}
	}
}

func (b *batch) oldest() time.Time {
	for _, it := range b.items {
		if it.state == waiting {
			return it.event.At
		}
	}
	return time.Time{}
}

// settle records what is settled: cursor, dead letters and redeliveries in one
// Change. A crash before it repeats the delivery; the receiver sees the same ids.
// A batch of which everything was skipped may wait for a later record.
func (f *Forwarder) settle(ctx context.Context, b *batch, attempted bool) error {
	var c soar.Change
	var drops int64
	answers := false // the receiver took something
	for _, it := range b.settledItems() {
		f.grouper.settled(it.effects)
		switch it.state {
		case setAside:
			c.DeadLetters = append(c.DeadLetters, f.deadLetter(it))
			if it.act != nil {
				c.Acts = append(c.Acts, *it.act)
			}
		case dropped:
			drops++
			f.gap.add(f.name, &it.event)
		case settled:
			answers = answers || it.event.ID != ""
		}
		if it.redelivery != 0 {
			c.Redelivered = append(c.Redelivered, it.redelivery)
		}
		if b.again {
			continue
		}
		if f.passed == f.saved {
			f.unsavedFrom = time.Now()
		}
		f.passed = it.event.Pos
	}
	switch {
	case drops > 0:
		f.noteGap(&c)
	case answers && f.gap.Events > 0 && f.gapDue() == 0:
		f.closeGap(&c)
	}
	replayed := b.replay != nil && len(b.items) == 0 && f.keepReplay(&c, b.replay)
	ahead := f.passed - f.saved
	worth := len(c.DeadLetters) > 0 || len(c.Redelivered) > 0 || len(c.Events) > 0 || drops > 0 || replayed ||
		ahead > 0 && (attempted || ahead >= flushSkippedAt || time.Since(f.unsavedFrom) >= flushSkipped)
	if !worth {
		return nil
	}
	if err := f.save(ctx, c); err != nil {
		return err
	}
	if n := len(c.DeadLetters); n > 0 {
		f.metrics.count(outcomeDeadLetter, n)
		f.update(func(s *SinkStatus) { s.DeadLetters += int64(n) })
	}
	if drops > 0 {
		f.metrics.count(outcomeDropped, int(drops))
		f.update(func(s *SinkStatus) { s.Dropped += drops })
	}
	if replayed {
		return f.replayed(ctx, b.replay)
	}
	return nil
}

// fitPayload is the event as JSON that the store keeps whole. Cut JSON could not be
// replayed, so what makes an event too large goes first: a feed's own answer, then
// the ends of long texts, then the columns. The event itself stays as it is.
func fitPayload(ev soar.Event) ([]byte, error) {
	payload, err := json.Marshal(ev)
	if len(payload) <= maxPayloadBytes {
		return payload, err
	}
	var columns map[string]string
	if ev.Alert != nil {
		alert := *ev.Alert
		alert.Intel = nil
		ev.Alert, columns = &alert, alert.Event
		payload, err = json.Marshal(ev)
	}
	var cells map[string]string
	if ev.Row != nil {
		row := *ev.Row
		ev.Row, cells = &row, row.Columns
	}
	text, change := ev.Text, ev.Change
	for limit := 64 << 10; len(payload) > maxPayloadBytes && limit >= 64; limit /= 4 {
		ev.Text = shorten(text, limit)
		if ev.Alert != nil {
			ev.Alert.Comment = shorten(ev.Alert.Comment, limit)
			ev.Change = format.ShortChange(change, limit)
			ev.Alert.Event = shortValues(columns, limit)
		}
		if ev.Row != nil {
			ev.Row.Columns = shortValues(cells, limit)
		}
		payload, err = json.Marshal(ev)
	}
	if len(payload) > maxPayloadBytes && (ev.Alert != nil || ev.Row != nil) { // long names, or very many
		if ev.Alert != nil {
			ev.Alert.Event = nil
		}
		if ev.Row != nil {
			ev.Row.Columns = nil
		}
		payload, err = json.Marshal(ev)
	}
	return payload, err
}

func shortValues(columns map[string]string, limit int) map[string]string {
	short := make(map[string]string, len(columns))
	for name, value := range columns {
		short[name] = shorten(value, limit)
	}
	return short
}

// shorten cuts a text to about limit bytes, between two runes, and shows it.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// deadLetter keeps the whole event, so that it can be looked at and replayed; one
// that is too large for the store keeps what fits.
func (f *Forwarder) deadLetter(it *item) soar.DeadLetter {
	ev := f.redacted(it.event)
	payload, err := fitPayload(ev)
	if err != nil { // an event that came out of JSON goes into JSON; its id is enough to find the alert
		f.log.Error("dead letter without its event", "event", ev.ID, "err", err)
	}
	said := it.event
	said.Text = it.reason.Error() // which may quote the event, as a condition does that fails on it
	return soar.DeadLetter{
		Origin:  "sink:" + f.name,
		At:      f.o.Now().UTC(),
		Reason:  oneLine(f.redacted(said).Text, maxReasonBytes),
		EventID: ev.ID,
		Payload: payload,
	}
}

// panicError is what is left of a panic in Send.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("sink panicked: %v", e.value) }

// send is one attempt.
func (f *Forwarder) send(ctx context.Context, group []*item) (err error) {
	select {
	case <-f.resume: // given before this attempt, which is what it asked for
	default:
	}
	f.setTrying(true)
	defer f.setTrying(false)
	events := make([]soar.Event, len(group))
	for i, it := range group {
		events[i] = f.redacted(it.event)
	}
	ctx, cancel := outlive(ctx, f.o.Drain)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, f.o.SendTimeout)
	defer cancelTimeout()

	started := f.o.Now()
	defer func() {
		f.metrics.observe(f.o.Now().Sub(started))
		if value := recover(); value != nil {
			err = &panicError{value, debug.Stack()}
		}
	}()
	return f.sink.Send(ctx, events)
}

// judge decides by the error what becomes of a group, and says how long to wait
// before the next attempt. It fails only when ctx ends.
func (f *Forwarder) judge(ctx context.Context, b *batch, group []*item, err error) (time.Duration, error) {
	if err == nil {
		f.delivered(group)
		return 0, nil
	}
	if partial, ok := errors.AsType[*PartialError](err); ok {
		group, err = f.partly(group, partial)
		if len(group) == 0 {
			return 0, nil
		}
	}
	if lost, ok := errors.AsType[*LostError](err); ok {
		return 0, f.lost(ctx, group, lost)
	}
	switch {
	case errors.Is(err, ErrGone):
		f.comesAgain(b, group)
		return 0, f.wentAway(ctx, err)

	case errors.Is(err, ErrConfig):
		f.comesAgain(b, group)
		return f.stopped(ctx, err)

	case errors.Is(err, ErrPermanent), errors.Is(err, ErrTooLarge):
		if len(group) == 1 {
			f.setAside(group[0], err)
			return 0, nil
		}
		half := len(group) / 2
		b.putBack(group[:half:half], group[half:])
		return 0, nil
	}

	if crash, ok := errors.AsType[*panicError](err); ok {
		f.log.Error("sink panicked", "err", crash, "stack", string(crash.stack))
		if group[0].panics++; len(group) == 1 && group[0].panics >= maxPanics {
			f.setAside(group[0], err)
			return 0, nil
		}
	}
	f.comesAgain(b, group)
	return f.failed(ctx, group, err)
}

// comesAgain puts a group back that an attempt could not deliver.
func (f *Forwarder) comesAgain(b *batch, group []*item) {
	b.putBack(group)
	f.standsAt(group)
	f.metrics.count(outcomeRetried, len(group))
}

// partly settles what a PartialError settles. It returns the items to try again
// and the error that decides how: the gravest of theirs.
func (f *Forwarder) partly(group []*item, partial *PartialError) ([]*item, error) {
	var done, left []*item
	var worst error
	for i, it := range group {
		if err, ok := partial.Permanent[i]; ok {
			f.setAside(it, err)
		} else if err, ok := partial.Transient[i]; ok {
			left = append(left, it)
			worst = graver(worst, err)
		} else {
			done = append(done, it)
		}
	}
	f.delivered(done)
	return left, worst
}

// graver picks the error to act on: refused configuration before the longest
// asked wait before the rest. An item that is called transient stays so,
// whatever its error wraps.
func graver(a, b error) error {
	rank := func(err error) (int, time.Duration) {
		if errors.Is(err, ErrGone) {
			return 4, 0
		}
		if errors.Is(err, ErrConfig) {
			return 3, 0
		}
		if asked, ok := errors.AsType[*RetryAfter](err); ok {
			return 2, asked.Wait
		}
		if err != nil {
			return 1, 0
		}
		return 0, 0
	}
	rankA, waitA := rank(a)
	rankB, waitB := rank(b)
	if rankA > rankB || rankA == rankB && rankA > 0 && waitA >= waitB {
		return a
	}
	switch {
	case rankB > 1:
		return b
	case b == nil:
		b = errors.New("try again")
	}
	return errors.New(b.Error()) // without ErrPermanent and the like
}

// delivered settles items that the receiver has.
func (f *Forwarder) delivered(group []*item) {
	if len(group) == 0 {
		return
	}
	for _, it := range group {
		it.state = settled
	}
	f.metrics.count(outcomeDelivered, len(group))
	f.limit = min(f.limit*2, f.o.MaxBatch) // slow start: step by step, from the one event of the probe
	f.recovered()
	f.update(func(s *SinkStatus) {
		s.Delivered += int64(len(group))
		s.LastSuccess = f.o.Now().UTC()
	})
}

// setAside makes an item a dead letter. The receiver judged it, so it works.
func (f *Forwarder) setAside(it *item, reason error) {
	if reason == nil {
		reason = ErrPermanent
	}
	it.state, it.reason = setAside, reason
	f.log.Error("event set aside as a dead letter", "event", it.event.ID, "err", reason)
	f.recovered()
}

// sizeOf estimates an event's size as JSON. Marshalling it for every sink just to
// count would cost more than the batch limit is worth.
func sizeOf(ev *soar.Event) int {
	const frame = 512 // names, times, punctuation
	n := frame + len(ev.ID) + len(ev.Text)
	if ev.Outcome != nil {
		n += len(ev.Outcome.Summary) + len(ev.Outcome.Error)
	}
	if c := ev.Change; c != nil {
		n += frame + len(c.From.Comment) + len(c.To.Comment)
		for i := range c.Notes {
			n += 100 + len(c.Notes[i].Text)
		}
	}
	if a := ev.Approval; a != nil {
		n += frame + len(a.Text) + len(a.Why)
	}
	if ev.Run != nil {
		n += len(ev.Run.Error)
	}
	if ev.Row != nil {
		n += frame + sizeOfColumns(ev.Row.Columns)
	}
	if ev.Alert != nil {
		n += frame + len(ev.Alert.Comment) + len(ev.Alert.Intel) + sizeOfColumns(ev.Alert.Event)
		if ev.Alert.Rule != nil {
			n += len(ev.Alert.Rule.Name) + len(ev.Alert.Rule.Description)
		}
	}
	return n
}

func sizeOfColumns(columns map[string]string) (n int) {
	for column, value := range columns {
		n += len(column) + len(value) + 6
	}
	return n
}
