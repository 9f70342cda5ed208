package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Replay delivers dead letters of sinks again and takes those of sources in again.
// Those of sinks are queued all together, or nothing is done. A letter of a source
// that still cannot be understood stays. Of two replays of one letter at the same
// time, the second finds it gone.
func (d *Daemon) Replay(ctx context.Context, ids []int64) error {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	return replay(ctx, d.Store(), ids, d.configured().Names(), d.takeAgain)
}

// Drop forgets dead letters.
func (d *Daemon) Drop(ctx context.Context, ids []int64) error {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	return drop(ctx, d.Store(), ids)
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

func (f *offline) Replay(ctx context.Context, ids []int64) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return replay(ctx, st, ids, f.cfg.Sinks.Names(), func(context.Context, soar.DeadLetter) error {
		return errors.New("it can be taken in again only while the daemon runs")
	})
}

func (f *offline) Drop(ctx context.Context, ids []int64) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return drop(ctx, st, ids)
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

func replay(ctx context.Context, st letters, ids []int64, sinks []string, takeAgain func(context.Context, soar.DeadLetter) error) error {
	var change soar.Change
	var inputs []soar.DeadLetter
	var problems []error
	seen := make(map[int64]bool, len(ids))
	for _, id := range ids {
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
	}
	if len(change.DropDeadLetters) > 0 {
		_, err := st.Commit(ctx, change)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func drop(ctx context.Context, st letters, ids []int64) error {
	var problems []error
	for _, id := range ids {
		if _, err := st.DeadLetter(ctx, id); err != nil {
			problems = append(problems, err) // it names the letter
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err := st.Commit(ctx, soar.Change{DropDeadLetters: ids})
	return err
}
