package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// The server keeps a log of what users did (release 3.5 and later, admins only), with a
// row for every alert that somebody resolved or reopened: which one, who, when. It costs
// one call to see that nobody did anything. Notes are not in it.

// logPlace is how far the log was read; it is stored as JSON.
type logPlace struct {
	ID int64     `json:"id"`
	At time.Time `json:"at"`
}

const (
	logPage = 100
	// maxLogRows bounds one reading; beyond it, all known alerts are asked about.
	maxLogRows = 10_000
	// logOverlap is how far behind the newest row the log is read again: a row may be
	// committed after one with a later time.
	logOverlap = time.Minute
	alertsItem = "alerts" // the kind of item of rows about alerts, in lower case
)

// who changed an alert, and when.
type who struct {
	by string
	at time.Time
}

func (p *Poller) logName() string { return "mirror/" + p.server }

// readLog fetches the alerts that somebody has changed since the log was read last.
// The place in the log moves after they are stored.
func (p *Poller) readLog(ctx context.Context, from pollCursor) error {
	if p.closedNow(callOfLog) {
		return nil
	}
	var place logPlace
	value, err := p.env.Intake.Cursor(ctx, p.logName())
	if err == nil && value != nil {
		err = json.Unmarshal(value, &place)
	}
	if err != nil {
		return fmt.Errorf("mirror: place in the log: %w", err)
	}
	next, told, rows, err := p.logSince(ctx, place, value == nil)
	if err != nil {
		if err = p.close(callOfLog, err); err != nil {
			err = fmt.Errorf("mirror: read %s: %w", callOfLog, err)
		}
		return err
	}
	if err := p.fetchOf(ctx, slices.Sorted(maps.Keys(told)), from, told); err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	if next != place {
		value, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("mirror: encode place in the log: %w", err)
		}
		if _, err := p.env.Intake.Commit(ctx, soar.Change{Cursors: []soar.Cursor{{Source: p.logName(), Value: value}}}); err != nil {
			return fmt.Errorf("mirror: save place in the log: %w", err)
		}
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	p.mirror.logged = rows
	return nil
}

// logSince reads the log, newest first, down to a place. It returns who changed which
// alerts, and the rows that the next reading meets again.
func (p *Poller) logSince(ctx context.Context, place logPlace, first bool) (next logPlace, told map[int64]who, rows map[int64]bool, err error) {
	p.mirror.mu.Lock()
	known := p.mirror.logged
	p.mirror.mu.Unlock()
	next, told, rows = place, map[int64]who{}, map[int64]bool{}
	floor := place.At.Add(-logOverlap)
	for start := 0; start < maxLogRows; {
		page, err := p.client.Users.ActivityPage(ctx, PlatformActivityQuery{Start: start, Limit: logPage})
		if err != nil {
			return place, nil, nil, err
		}
		for i := range page.Results {
			row := &page.Results[i]
			if row.ID > next.ID {
				next.ID = row.ID
			}
			if row.At.After(next.At) {
				next.At = row.At
			}
			if row.ID <= place.ID && row.At.Before(floor) {
				return next, told, rows, nil
			}
			rows[row.ID] = true
			if _, newer := told[row.ItemID]; newer || known[row.ID] || row.ItemID == 0 || strings.ToLower(row.ItemType) != alertsItem {
				continue
			}
			told[row.ItemID] = who{by: row.Username, at: row.At}
		}
		switch {
		case first: // what was before is found by asking about all known alerts
			return next, nil, rows, nil
		case len(page.Results) < logPage:
			return next, told, rows, nil
		}
		start += len(page.Results)
	}
	p.lookAtAll()
	return next, told, rows, nil
}

// lookAtAll has the next sweep ask about all known alerts.
func (p *Poller) lookAtAll() {
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	p.mirror.looked = time.Time{}
}
