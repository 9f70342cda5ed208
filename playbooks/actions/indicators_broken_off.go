package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// The server deletes all indicators before it writes the new set. When it breaks off in
// between, those of other people are gone as well, and a second attempt would take what
// is left for all that there was. So the set is kept as it was until a write is known to
// have come through, and what is missing of it is put back with the next one.

// putBackFor is how long after a write that broke off its losses are put back. Later,
// somebody may have cleared up by hand.
const putBackFor = 10 * time.Minute

// indicatorTurn lets one change of the set after the other through.
type indicatorTurn struct {
	taken  chan struct{}            // holds one; whoever put it in owns the rest
	before map[string]connector.IOC // before the last write, when nobody knows what came of that
	at     time.Time
}

func newIndicatorTurn() *indicatorTurn { return &indicatorTurn{taken: make(chan struct{}, 1)} }

// modify lets change alter the set, and writes it. read tells whether the set was read, so
// that something may have been sent.
func (t *indicatorTurn) modify(ctx context.Context, d *Deps, change func(set map[string]connector.IOC) error) (read bool, err error) {
	select {
	case t.taken <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("wait for another change of indicators: %w", context.Cause(ctx))
	}
	defer func() { <-t.taken }()
	for range 3 {
		var was, wanted map[string]connector.IOC
		read = false
		err = d.Client.IOCs.Modify(ctx, connector.ReplaceEverything, func(set map[string]connector.IOC) error {
			read = true
			if d.Now().Sub(t.at) < putBackFor {
				putBack(set, t.before)
			}
			was = cloneIndicators(set)
			err := change(set)
			wanted = cloneIndicators(set)
			return err
		})
		switch uncertain := errors.Is(err, connector.ErrUncertain); {
		case err == nil:
			t.before = nil
			return read, nil
		case uncertain:
			t.before, t.at = was, d.Now()
			now, readErr := d.Client.IOCs.Get(ctx)
			if readErr != nil || !lost(was, wanted, now) { // nothing was sent, or nobody knows
				return read, err
			}
		case !errors.Is(err, connector.ErrConflict) || errors.Is(err, connector.ErrUnavailable):
			return read, err
		default: // it was written, and somebody else has written after it
			t.before = nil
		}
	}
	return read, err
}

// putBack adds to a set what it has lost of what it was.
func putBack(set, before map[string]connector.IOC) {
	for name, list := range cloneIndicators(before) {
		there, known := set[name]
		switch {
		case !known:
			set[name] = list
		case there.Type == list.Type:
			there.Values = append(there.Values, lackingIndicators(list.Values, there.Values)...)
			set[name] = there
		}
	}
}

// lost reports whether something was there before, was to stay, and is gone.
func lost(before, wanted, now map[string]connector.IOC) bool {
	for name, list := range wanted {
		stays := among(list.Values, before[name].Values)
		if len(lackingIndicators(stays, now[name].Values)) > 0 {
			return true
		}
	}
	return false
}

func cloneIndicators(set map[string]connector.IOC) map[string]connector.IOC {
	set = maps.Clone(set)
	for name, list := range set {
		list.Values = slices.Clone(list.Values)
		set[name] = list
	}
	return set
}

// modifyIndicators changes the set. change is called again when somebody else has written
// at the same time.
func (d *Deps) modifyIndicators(ctx context.Context, change func(set map[string]connector.IOC) error) error {
	read, err := d.indicatorTurn.modify(ctx, d, change)
	if _, bad := errors.AsType[*connector.MalformedError](err); bad && !errors.Is(err, connector.ErrUncertain) {
		return indicatorError(err)
	}
	if !read && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", playbooks.ErrTransient, err)
	}
	if !read { // so nothing was sent
		return readError(err)
	}
	return effectError(err)
}
