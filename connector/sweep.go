package connector

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// sweepAll sweeps at its interval until ctx ends.
func (p *Poller) sweepAll(ctx context.Context) {
	for {
		if err := pause(ctx, p.settings.SweepInterval); err != nil {
			return
		}
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.env.Log.Warn("sweep failed", "err", err)
		}
	}
}

// Sweep mirrors what a poll cannot see. It reads the window again, which brings
// reopened alerts and any that polls have missed, and asks about older alerts whether
// they are there what they are here. Missed alerts are reported: they mean that the
// overlap is too short.
func (p *Poller) Sweep(ctx context.Context) error {
	cursor, err := p.load(ctx)
	if err != nil {
		return err
	}
	floor := p.env.Now().Add(-p.settings.SweepWindow)
	var missed []string
	for _, resolved := range []bool{false, true} {
		err := p.readInTurns(ctx, resolved, cursor, floor, func(page []pollRow) error {
			late, err := p.takeSwept(ctx, page, cursor)
			missed = append(missed, late...)
			return err
		}, p.turn.take)
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	if err := p.checkKnown(ctx, cursor, floor); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if err := p.reportGap(ctx, missed); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.LastSweep = p.env.Now()
	return nil
}

// takeSwept stores a batch and returns the alerts that a poll should have found:
// new here, and not newer than what polls have read.
func (p *Poller) takeSwept(ctx context.Context, rows []pollRow, cursor pollCursor) (missed []string, err error) {
	slices.SortFunc(rows, func(a, b pollRow) int { return cmp.Compare(a.id, b.id) })
	done, err := p.store(ctx, rows, cursor)
	if err != nil {
		return nil, err
	}
	for _, i := range done.New {
		if rows[i].id > cursor.BackfillID && rows[i].id <= cursor.MaxID {
			missed = append(missed, rows[i].alert.ID)
		}
	}
	return missed, nil
}

// reportGap tells people about alerts that polls had missed.
func (p *Poller) reportGap(ctx context.Context, missed []string) error {
	if len(missed) == 0 {
		return nil
	}
	p.metrics.gap.Add(float64(len(missed)))
	shown := missed[:min(10, len(missed))]
	now := p.env.Now().UTC()
	event := soar.Event{
		ID: fmt.Sprintf("trouble/poll-gap/%s/%s", p.server, missed[0]), Type: soar.EventTrouble, At: now,
		Text: fmt.Sprintf("%d alerts of %s were missed by polls and found by the sweep (%v): raise sources.poll.overlap above %s",
			len(missed), p.server, shown, p.settings.Overlap),
	}
	p.env.Log.Warn("polls had missed alerts", "count", len(missed), "first", shown)
	if _, err := p.env.Intake.Commit(ctx, soar.Change{Events: []soar.Event{event}}); err != nil {
		return fmt.Errorf("report gap: %w", err)
	}
	return nil
}
