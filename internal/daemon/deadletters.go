package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Replay delivers dead letters of sinks again and takes those of sources in again.
// Those of sinks are queued all together, or nothing is done. A letter of a source
// that still cannot be understood stays. Of two replays of one letter at the same
// time, the second finds it gone.
func (d *Daemon) Replay(ctx context.Context, o LetterOrder) error {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	return replay(ctx, d.Store(), o, d.o.Now().UTC(), d.configured().Names(), d.takeAgain)
}

// Drop forgets dead letters.
func (d *Daemon) Drop(ctx context.Context, o LetterOrder) error {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	return drop(ctx, d.Store(), o, d.o.Now().UTC())
}

// takeAgain hands what a source could not understand to the source again.
func (d *Daemon) takeAgain(ctx context.Context, letter soar.DeadLetter) error {
	name := strings.TrimPrefix(letter.Origin, originSource)
	d.mu.Lock()
	sources := slices.Clone(d.sources)
	d.mu.Unlock()
	for _, s := range sources {
		if sender, ok := strings.CutPrefix(name, s.name); ok && (sender == "" || sender[0] == '-') {
			return s.replay(ctx, strings.TrimPrefix(sender, "-"), letter.Payload)
		}
	}
	return fmt.Errorf("source %q is not in the configuration", name)
}

func (f *offline) Replay(ctx context.Context, o LetterOrder) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return replay(ctx, st, o, f.o.Now().UTC(), f.cfg.Sinks.Names(), func(context.Context, soar.DeadLetter) error {
		return errors.New("it can be taken in again only while the daemon runs")
	})
}

func (f *offline) Drop(ctx context.Context, o LetterOrder) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return drop(ctx, st, o, f.o.Now().UTC())
}

// LetterOrder is a person's word to replay or to drop dead letters.
type LetterOrder struct {
	IDs    []int64 `json:"ids"`
	By     string  `json:"by"`
	Reason string  `json:"reason,omitempty"`
}

// LetterEdit is a person's correction of a dead letter.
type LetterEdit struct {
	ID int64 `json:"id"`
	// Payload takes the place of the one that Was, which nobody must have changed in
	// the meantime.
	Payload []byte `json:"payload"`
	Was     []byte `json:"was"`
	By      string `json:"by"`
	Reason  string `json:"reason,omitempty"`
}

// ErrBadEdit wraps the refusals of an edit.
var ErrBadEdit = errors.New("the dead letter was not changed")

// EditDeadLetter gives a dead letter another payload. It stays one: replaying it is a
// step of its own. An error wraps ErrBadEdit when the payload cannot be replayed, or
// when the letter has changed in the meantime.
func (d *Daemon) EditDeadLetter(ctx context.Context, e LetterEdit) error {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	return edit(ctx, d.Store(), e, d.o.Now().UTC())
}

func (f *offline) EditDeadLetter(ctx context.Context, e LetterEdit) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return edit(ctx, st, e, f.o.Now().UTC())
}

func edit(ctx context.Context, st letters, e LetterEdit, now time.Time) error {
	letter, err := st.DeadLetter(ctx, e.ID)
	if err != nil {
		return err // it names the letter
	}
	if !bytes.Equal(letter.Payload, e.Was) {
		return fmt.Errorf("%w: number %d has changed since you read it; read it again", ErrBadEdit, e.ID)
	}
	if err := CheckEdit(letter, e.Payload); err != nil {
		return err
	}
	_, err = st.Commit(ctx, soar.Change{
		EditDeadLetters: []soar.DeadLetterEdit{{ID: e.ID, Payload: e.Payload}},
		Acts: []soar.Act{{At: now, By: e.By, Reason: e.Reason, What: fmt.Sprintf("dead letter %d of %s edited (event %s): SHA-256 of the payload was %x, is %x",
			e.ID, letter.Origin, letter.EventID, sha256.Sum256(letter.Payload), sha256.Sum256(e.Payload))}},
	})
	return err
}

// maxLetterBytes is what the store keeps of a dead letter.
const maxLetterBytes = 1 << 20

// CheckEdit reports whether a payload can take the place of that of a dead letter. An
// event keeps its id and its type: receivers know it by them. An error wraps ErrBadEdit.
func CheckEdit(letter soar.DeadLetter, payload []byte) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBadEdit, fmt.Sprintf(format, args...))
	}
	if len(payload) > maxLetterBytes {
		return refuse("%d bytes are more than the %d that are kept", len(payload), maxLetterBytes)
	}
	if !strings.HasPrefix(letter.Origin, originSink) {
		if len(payload) == 0 {
			return refuse("the payload is empty; to forget the letter there is deadletters drop")
		}
		return nil // input is what its source says it is
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	var ev soar.Event
	if err := decoder.Decode(&ev); err != nil {
		return refuse("the payload is not an event: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse("there is more behind the event")
	}
	if ev.ID != letter.EventID {
		return refuse("the id of the event is %q and must stay %q", ev.ID, letter.EventID)
	}
	var before soar.Event
	if err := json.Unmarshal(letter.Payload, &before); err == nil && before.Type != ev.Type {
		return refuse("the type of the event is %q and must stay %q", ev.Type, before.Type)
	}
	if ev.Type == "" {
		return refuse("the event has no type")
	}
	return nil
}

// The origins of dead letters: one of these and a name.
const (
	originSink   = "sink:"
	originSource = "source:"
)

// letters is what replay and drop need of the store.
type letters interface {
	Commit(ctx context.Context, c soar.Change) (soar.Committed, error)
	DeadLetter(ctx context.Context, id int64) (soar.DeadLetter, error)
}

// acts is what the audit record keeps of an order that was carried out: one act for the
// letters of each origin, or several where there are very many.
func (o LetterOrder) acts(done string, list []soar.DeadLetter, at time.Time) (acts []soar.Act) {
	byOrigin := map[string][]string{}
	for _, l := range list {
		name := strconv.FormatInt(l.ID, 10)
		if l.EventID != "" {
			name += " (event " + l.EventID + ")"
		}
		byOrigin[l.Origin] = append(byOrigin[l.Origin], name)
	}
	for _, origin := range slices.Sorted(maps.Keys(byOrigin)) {
		for names := range slices.Chunk(byOrigin[origin], lettersInAct) {
			acts = append(acts, soar.Act{At: at, By: o.By, Reason: o.Reason, What: fmt.Sprintf("dead letters of %s %s: %s", origin, done, strings.Join(names, ", "))})
		}
	}
	return acts
}

// lettersInAct is how many dead letters one act names.
const lettersInAct = 100

func replay(ctx context.Context, st letters, o LetterOrder, now time.Time, sinks []string, takeAgain func(context.Context, soar.DeadLetter) error) error {
	var change soar.Change
	var inputs, done []soar.DeadLetter
	var problems []error
	seen := make(map[int64]bool, len(o.IDs))
	for _, id := range o.IDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		letter, err := st.DeadLetter(ctx, id)
		if err != nil {
			problems = append(problems, err) // it names the letter
			continue
		}
		sink, ok := strings.CutPrefix(letter.Origin, originSink)
		if !ok {
			inputs = append(inputs, letter)
			continue
		}
		if !slices.Contains(sinks, sink) {
			problems = append(problems, fmt.Errorf("dead letter %d is for sink %q, which is not in the configuration", id, sink))
			continue
		}
		var ev soar.Event
		if err := json.Unmarshal(letter.Payload, &ev); err != nil {
			problems = append(problems, fmt.Errorf("dead letter %d: its event cannot be read: %w", id, err))
			continue
		}
		change.Redeliver = append(change.Redeliver, soar.Redelivery{Sink: sink, Event: ev})
		change.DropDeadLetters = append(change.DropDeadLetters, id)
		done = append(done, letter)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	// A crash between taking an input in and dropping its letter leaves the letter; the
	// alert that a second replay brings is known then.
	for _, letter := range inputs {
		if err := takeAgain(ctx, letter); err != nil {
			problems = append(problems, fmt.Errorf("dead letter %d is input of %s, and stays: %w", letter.ID, letter.Origin, err))
			continue
		}
		change.DropDeadLetters = append(change.DropDeadLetters, letter.ID)
		done = append(done, letter)
	}
	if change.Acts = o.acts("replayed", done, now); len(done) > 0 {
		_, err := st.Commit(ctx, change)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func drop(ctx context.Context, st letters, o LetterOrder, now time.Time) error {
	ids := slices.Compact(slices.Sorted(slices.Values(o.IDs)))
	var done []soar.DeadLetter
	var problems []error
	for _, id := range ids {
		letter, err := st.DeadLetter(ctx, id)
		if err != nil {
			problems = append(problems, err) // it names the letter
		}
		done = append(done, letter)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err := st.Commit(ctx, soar.Change{DropDeadLetters: ids, Acts: o.acts("dropped", done, now)})
	return err
}
