package connector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// ErrIDsReused means that the server gives known alert ids to other alerts.
var ErrIDsReused = errors.New("the server's alert ids begin anew")

// take hands rows to the store, oldest first and a page at a time, less what is
// known to be unchanged. It returns how many were new or changed.
func (p *Poller) take(ctx context.Context, rows []pollRow, from pollCursor) (fresh int, err error) {
	changed := make([]pollRow, 0, len(rows))
	p.mu.Lock()
	for i := range rows {
		if known, ok := p.seen[rows[i].id]; !ok || known != lookOf(&rows[i].alert) {
			changed = append(changed, rows[i])
		}
	}
	p.mu.Unlock()
	p.metrics.alerts.WithLabelValues("known").Add(float64(len(rows) - len(changed)))
	slices.SortFunc(changed, func(a, b pollRow) int { return cmp.Compare(a.id, b.id) })
	for page := range slices.Chunk(changed, p.settings.PageSize) {
		done, err := p.store(ctx, page, from)
		if err != nil {
			return fresh, err
		}
		fresh += len(done.New) + len(done.Updated)
	}
	return fresh, nil
}

// store commits rows as alerts. What was committed last is what counts as seen, so
// that a page which was read before a newer one, and stored after it, is mended by
// whoever reads the alert next.
func (p *Poller) store(ctx context.Context, rows []pollRow, from pollCursor) (soar.Committed, error) {
	return p.storeOf(ctx, rows, from, nil)
}

// storeOf is store of rows of which it is told who changed them last, by id.
func (p *Poller) storeOf(ctx context.Context, rows []pollRow, from pollCursor, told map[int64]who) (soar.Committed, error) {
	alerts := make([]soar.Alert, len(rows))
	for i := range rows {
		alerts[i] = rows[i].alert
		alerts[i].Backfill = rows[i].id <= from.BackfillID || rows[i].id <= from.MaxID && rows[i].alert.CreatedAt.Before(p.remembered(from))
		if err := p.checkReuse(ctx, &rows[i], from); err != nil {
			return soar.Committed{}, err
		}
	}
	change := soar.Change{Alerts: alerts}
	found, err := p.attribute(ctx, rows, told, &change)
	if err != nil {
		return soar.Committed{}, fmt.Errorf("poll: find out who changed alerts: %w", err)
	}
	done, err := p.env.Intake.Commit(ctx, change)
	if errors.Is(err, soar.ErrTooLarge) {
		return p.storeApart(ctx, rows, from, told, err)
	}
	if err != nil {
		return soar.Committed{}, fmt.Errorf("poll: store %d alerts: %w", len(alerts), err)
	}
	p.mu.Lock()
	for i := range rows {
		p.seen[rows[i].id] = lookOf(&rows[i].alert)
	}
	p.mu.Unlock()
	p.countChanges(found)
	p.metrics.alerts.WithLabelValues("new").Add(float64(len(done.New)))
	p.metrics.alerts.WithLabelValues("updated").Add(float64(len(done.Updated)))
	p.metrics.alerts.WithLabelValues("known").Add(float64(done.Known))
	return done, nil
}

// storeApart commits rows one by one, so that the one which is too large to be kept
// becomes a dead letter and the others are taken in.
func (p *Poller) storeApart(ctx context.Context, rows []pollRow, from pollCursor, told map[int64]who, tooLarge error) (soar.Committed, error) {
	if len(rows) == 1 {
		row := &rows[0]
		short, err := json.Marshal(map[string]any{"id": row.id, "created_at": row.alert.CreatedAt, "host": row.alert.Host.Name, "rule": row.alert.Rule})
		if err == nil {
			_, err = p.rejects.keep(ctx, short, fmt.Errorf("alert %s: %w", row.alert.Ref(), tooLarge))
		}
		if err != nil {
			return soar.Committed{}, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen[row.id] = lookOf(&row.alert)
		return soar.Committed{}, nil
	}
	var all soar.Committed
	for i := range rows {
		done, err := p.storeOf(ctx, rows[i:i+1], from, told)
		if err != nil {
			return all, err
		}
		if len(done.New) > 0 {
			all.New = append(all.New, i)
		}
		if len(done.Updated) > 0 {
			all.Updated = append(all.Updated, i)
		}
		all.Known += done.Known
	}
	return all, nil
}

// remembered is from when on the store surely has every alert that was taken in.
// Retention may have forgotten an older one, which must not be acted on as if it
// were new.
func (p *Poller) remembered(from pollCursor) time.Time {
	return from.Newest.Add(-max(p.settings.Overlap, p.settings.SweepWindow, p.settings.Backfill))
}

// checkReuse finds out that the server was reinstalled, or restored from a copy. Its
// ids begin anew then, and new alerts would be dropped as repeats of old ones. An
// alert under an id that polls have passed is suspect when it was seen with another
// creation time, or when it is newer than all that was seen and so a late one or a
// stranger: the stored alert of that id tells.
func (p *Poller) checkReuse(ctx context.Context, row *pollRow, from pollCursor) error {
	p.mu.Lock()
	seen, known := p.seen[row.id]
	p.mu.Unlock()
	suspect := row.id <= from.MaxID && row.alert.CreatedAt.After(from.Newest) || known && seen.created != row.alert.CreatedAt.Unix()
	if !suspect {
		return nil
	}
	stored, err := p.env.Intake.AlertByRef(ctx, row.alert.Ref())
	switch {
	case errors.Is(err, soar.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("poll: look up alert %s: %w", row.alert.Ref(), err)
	}
	if row.alert.CreatedAt.Sub(stored.Alert.CreatedAt).Abs() < 2*time.Second { // the list drops fractions
		return nil
	}
	problem := fmt.Errorf("%w: alert %d of %s is another one now than the one known here. Was the server reinstalled or restored?"+
		" Give it a new server.name, so that its alerts are not taken for the old ones", ErrIDsReused, row.id, row.alert.CreatedAt.Format(time.DateTime))
	event := soar.Event{
		ID:   fmt.Sprintf("trouble/ids-reused/%s/%d", row.alert.Ref(), row.alert.CreatedAt.Unix()),
		Type: soar.EventTrouble, At: p.env.Now().UTC(), Text: problem.Error(),
	}
	p.mu.Lock()
	told := p.toldReuse
	p.toldReuse = true
	p.mu.Unlock()
	if told {
		return problem
	}
	_, err = p.env.Intake.Commit(ctx, soar.Change{Events: []soar.Event{event}})
	return errors.Join(problem, err)
}

// Replay takes a row of the alert list in again that was kept as a dead letter. An
// error means that it still cannot be read.
func (p *Poller) Replay(ctx context.Context, row []byte) error {
	cursor, err := p.load(ctx)
	if err != nil {
		return err
	}
	release, err := p.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	read, err := parse(row)
	if err != nil {
		return fmt.Errorf("alert row: %w", err)
	}
	alert, err := alertRow(read)
	if err != nil {
		return fmt.Errorf("alert row: %w", err)
	}
	_, err = p.take(ctx, p.rows(ctx, []Alert{alert}), cursor)
	return err
}

// look is what of an alert tells whether it is the same, unchanged.
type look struct {
	created int64  // unix seconds
	changes uint64 // a fingerprint of what can change on the server
}

func lookOf(a *soar.Alert) look {
	const prime = 1099511628211 // FNV-1a, 64 bit
	sum := uint64(14695981039346656037)
	for _, text := range []string{a.Status, a.Verdict, a.Comment} {
		for i := range len(text) {
			sum = (sum ^ uint64(text[i])) * prime
		}
		sum = (sum ^ 0xff) * prime
	}
	sum = (sum ^ uint64(a.EventCount)) * prime //nolint:gosec // the bits, not the number
	return look{created: a.CreatedAt.Unix(), changes: sum}
}
