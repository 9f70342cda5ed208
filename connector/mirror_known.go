package connector

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Alerts of before the window of a sweep are asked about by id, hundreds with one call:
// those that are open here, whether they are resolved there; those that are resolved
// here, whether they are open there, or resolved otherwise. The server has no list of
// what has changed, but for its log of what users did. While that is read, asking is
// only to make sure, and is done once an hour.

// checkKnown asks about known alerts that were raised before a time.
func (p *Poller) checkKnown(ctx context.Context, cursor pollCursor, before time.Time) error {
	began := p.env.Now()
	if !p.looksDue(began) {
		return nil
	}
	if err := p.checkOpen(ctx, cursor, before); err != nil {
		return err
	}
	if p.settings.Mirror.Enabled {
		if err := p.checkResolved(ctx, cursor, before); err != nil {
			return err
		}
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	p.mirror.looked = began
	return nil
}

// looksDue reports whether known alerts are to be asked about now.
func (p *Poller) looksDue(now time.Time) bool {
	if !p.settings.Mirror.Enabled || p.closedNow(callOfLog) {
		return true
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	return p.mirror.logged == nil || now.Sub(p.mirror.looked) >= wholeLook
}

// checkOpen asks about alerts from before the window that are open here.
func (p *Poller) checkOpen(ctx context.Context, cursor pollCursor, before time.Time) error {
	open, err := p.env.Intake.KnownOpen(ctx, p.server, time.Time{}, maxOpenChecked)
	if err != nil {
		return fmt.Errorf("list open alerts: %w", err)
	}
	return p.askAbout(ctx, open, before, cursor, true)
}

// checkResolved asks about alerts from before the window that are resolved here, and
// were not raised too long ago.
func (p *Poller) checkResolved(ctx context.Context, cursor pollCursor, before time.Time) error {
	resolved, err := p.env.Intake.KnownResolved(ctx, p.server, p.env.Now().Add(-p.settings.Mirror.Window), maxOpenChecked)
	if err != nil {
		return fmt.Errorf("list resolved alerts: %w", err)
	}
	return p.askAbout(ctx, resolved, before, cursor, false, true)
}

// askAbout reads those of the alerts again that were raised before a time and that the
// server has in one of its lists: the resolved ones, the open ones.
func (p *Poller) askAbout(ctx context.Context, alerts []soar.StoredAlert, before time.Time, from pollCursor, resolved ...bool) error {
	if len(alerts) == maxOpenChecked {
		p.env.Log.Warn("a sweep asks about the newest alerts only", "alerts", maxOpenChecked)
	}
	var ids []int64
	for i := range alerts {
		if id, ok := alertNumber(alerts[i].Alert.ID); ok && alerts[i].Alert.CreatedAt.Before(before) {
			ids = append(ids, id)
		}
	}
	for len(ids) > 0 {
		chunk := ids[:min(openChecked, len(ids))]
		ids = ids[len(chunk):]
		for i := range resolved {
			if err := p.ask(ctx, AlertQuery{Resolved: &resolved[i], IDs: chunk, Limit: len(chunk)}, from, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// alertNumber is the server's number of an alert; false for one of another source.
func alertNumber(id string) (int64, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil
}
