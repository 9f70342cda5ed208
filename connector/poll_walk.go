package connector

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// pollRow is a row of the server's alert list, normalised.
type pollRow struct {
	id    int64
	alert soar.Alert
}

// rows normalises what the server listed.
func (p *Poller) rows(ctx context.Context, listed []Alert) []pollRow {
	rows := make([]pollRow, len(listed))
	for i := range listed {
		rows[i] = pollRow{listed[i].ID, p.details.normalize(ctx, p.server, &listed[i])}
	}
	return rows
}

// read walks one list, newest first, until a whole page is known by its ids and
// older than floor. Rows move while it walks: a new alert pushes rows
// down, which repeats some; a resolved one leaves the open list and pulls rows
// up, which would skip some. So every page starts with the last row of the one
// before, and when that row is gone the walk goes back half a page. The caller has
// the turn.
func (p *Poller) read(ctx context.Context, resolved bool, from pollCursor, floor time.Time,
	take func(page []pollRow) error) error {
	return p.readInTurns(ctx, resolved, from, floor, take, func(context.Context) (func(), error) { return func() {}, nil })
}

// readInTurns is read that takes a turn for each page, so that polls go in between.
func (p *Poller) readInTurns(ctx context.Context, resolved bool, from pollCursor, floor time.Time,
	take func(page []pollRow) error, turn func(context.Context) (release func(), err error)) error {
	known := max(from.MaxID, from.BackfillID)
	size, lowest, shifts, start := p.settings.PageSize, int64(math.MaxInt64), 0, 0
	next := func() (more bool, err error) {
		release, err := turn(ctx)
		if err != nil {
			return false, err
		}
		defer release()
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, Start: start, Limit: size})
		if err != nil {
			return false, fmt.Errorf("poll: read alerts from %d: %w", start, err)
		}
		if err := p.reject(ctx, page.Malformed); err != nil {
			return false, err
		}
		rows := page.Results
		got := len(rows) + len(page.Malformed)
		if start > 0 && shifts < maxShifts && (got == 0 || len(rows) > 0 && rows[0].ID < lowest) {
			shifts++
			start = max(0, start-max(size/2, 1))
			return true, nil
		}
		wanted, done := make([]Alert, 0, len(rows)), len(rows) > 0
		for i := range rows {
			row := &rows[i]
			lowest = min(lowest, row.ID)
			done = done && row.ID <= known && row.CreatedAt.Before(floor)
			if from.wanted(row.ID, row.CreatedAt) {
				wanted = append(wanted, *row)
			}
		}
		if err := take(p.rows(ctx, wanted)); err != nil {
			return false, err
		}
		// A server may give fewer rows than asked for; its count says whether more follow.
		if got == 0 || done || start+got >= page.Count && (page.Count > 0 || got < size) {
			return false, nil
		}
		if got == 1 && start > 0 && page.Count == 0 {
			return false, nil // the last row of the page before, and nothing after it
		}
		start += got - 1
		return true, nil
	}
	for {
		if more, err := next(); err != nil || !more {
			return err
		}
	}
}

// reject keeps rows that could not be read as dead letters, each once: the overlap
// brings them again with every poll.
func (p *Poller) reject(ctx context.Context, malformed []*MalformedError) error {
	for _, bad := range malformed {
		sum := sha256.Sum256(bad.Raw)
		p.mu.Lock()
		known := p.rejected[sum]
		p.mu.Unlock()
		if known {
			continue
		}
		if _, err := p.rejects.keep(ctx, bad.Raw, bad); err != nil {
			return err
		}
		p.mu.Lock()
		if len(p.rejected) >= maxRejectsPerMinute {
			clear(p.rejected)
		}
		p.rejected[sum] = true
		p.mu.Unlock()
	}
	return nil
}
