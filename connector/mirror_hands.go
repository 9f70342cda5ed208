package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Who changed an alert is told, in this order, by the line that erbridge puts into the
// comment with which it resolves; by the user whom the server names; and, where it names
// none, by what erbridge wrote down before it sent the call. The first also shows what
// other instances of erbridge did; releases before 4.0 keep neither comments nor users,
// and leave only the last.

// seenChange is a change of a known alert that is about to be stored.
type seenChange struct {
	id     int64
	what   []string
	origin soar.Origin
	flip   bool // see mirror_flips.go
}

// attribute finds out which rows change what is stored of an alert and who did it, and
// adds it to the change that stores them.
func (p *Poller) attribute(ctx context.Context, rows []pollRow, told map[int64]who, change *soar.Change) (found []seenChange, err error) {
	for i := range rows {
		row := &rows[i]
		p.mu.Lock()
		seen, known := p.seen[row.id]
		p.mu.Unlock()
		if known && seen == lookOf(&row.alert) {
			continue
		}
		stored, err := p.env.Intake.AlertByRef(ctx, row.alert.Ref())
		if errors.Is(err, soar.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		to := row.alert.State()
		to.EventCount, to.Severity = stored.Alert.EventCount, stored.Alert.Severity // not a person's doing
		what := soar.WhatChanged(stored.Alert.State(), to)
		if len(what) == 0 {
			continue
		}
		hand, settled, err := p.handOf(ctx, row, stored.Alert.Status, told)
		if err != nil {
			return nil, err
		}
		flip := isFlip(what, hand.Origin)
		if flip && p.keepsChanging(row, change) {
			hand.Origin = soar.OriginUnclear
		}
		if change.Hands == nil {
			change.Hands = map[int]soar.Hand{}
		}
		change.Hands[i] = hand
		for _, own := range settled {
			change.KV = append(change.KV, soar.KV{Key: own.Key()})
		}
		if kv, ok := p.watchNotes(&stored, hand); ok {
			change.KV = append(change.KV, kv)
		}
		found = append(found, seenChange{row.id, what, hand.Origin, flip})
	}
	return found, nil
}

// handOf tells whose hand a change was. settled are the own changes that this one was,
// and that need not be remembered any longer.
func (p *Poller) handOf(ctx context.Context, row *pollRow, was string, told map[int64]who) (hand soar.Hand, settled []soar.OwnChange, err error) {
	a := &row.alert
	hand = soar.Hand{Origin: soar.OriginAnalyst, By: told[row.id].by, At: a.UpdatedAt}
	if hand.At.IsZero() {
		hand.At = told[row.id].at
	}
	own, err := p.ownChanges(ctx, a.ID)
	if err != nil {
		return hand, nil, err
	}
	own = slices.DeleteFunc(own, func(c soar.OwnChange) bool { return !c.MadeIt(a) })
	resolved := a.Status == soar.StatusResolved
	_, run, marked := soar.OwnMark(a.Comment)
	switch {
	case resolved && marked:
		hand.Origin, hand.Run = soar.OriginErbridge, run.String()
		return hand, own, nil
	case resolved && a.Verdict != "":
		own = nil // a server that keeps verdicts keeps comments, and ours have the line
	}
	if hand.By == "" && !a.UpdatedAt.IsZero() { // releases before 4.0 do not tell
		if hand.By, err = p.changedBy(ctx, row.id); err != nil {
			return hand, nil, err
		}
	}
	switch {
	case hand.By == "": // nobody tells: it is ours when we were about to do the same
		if len(own) > 0 && was != a.Status {
			hand.Origin, hand.Run = soar.OriginErbridge, own[len(own)-1].Run
			return hand, own, nil
		}
	case p.otherAutomation(hand.By):
		hand.Origin = soar.OriginErbridge
	case !resolved || a.Verdict == "":
		// There is no line. Another instance of erbridge may use the same account.
		account, err := p.ownAccount(ctx)
		if err != nil {
			return hand, nil, err
		}
		if strings.EqualFold(account, hand.By) {
			hand.Origin = soar.OriginErbridge
			if len(own) > 0 {
				hand.Run = own[len(own)-1].Run
			}
			return hand, own, nil
		}
	}
	return hand, nil, nil
}

// otherAutomation reports whether a user is one whose changes are not an analyst's.
func (p *Poller) otherAutomation(user string) bool {
	return slices.ContainsFunc(p.settings.Mirror.Accounts, func(name string) bool { return strings.EqualFold(name, user) })
}

// changedBy asks the server who changed an alert last; empty when it does not tell.
func (p *Poller) changedBy(ctx context.Context, id int64) (string, error) {
	a, err := p.client.Alerts.Get(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused), errors.Is(err, ErrUnavailable), errors.Is(err, ErrForbidden):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("who changed alert %d: %w", id, err)
	}
	return a.UpdatedBy, nil
}

// ownAccount is the name of the user whom the server knows erbridge by.
func (p *Poller) ownAccount(ctx context.Context) (string, error) {
	p.mirror.mu.Lock()
	account := p.mirror.account
	p.mirror.mu.Unlock()
	if account != "" {
		return account, nil
	}
	account = p.client.o.Username // which may be its e-mail address
	switch me, err := p.client.Users.Me(ctx); {
	case err == nil && me.Username != "":
		account = me.Username
	case err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrRefused):
		return "", fmt.Errorf("our account: %w", err)
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	p.mirror.account = account
	return account, nil
}

// countChanges counts what was stored.
func (p *Poller) countChanges(found []seenChange) {
	for _, c := range found {
		if c.flip {
			p.countFlip(c.id)
		}
		for _, what := range c.what {
			p.metrics.changes.WithLabelValues(what, string(c.origin)).Inc()
		}
	}
}

// ownPatience is how long a change of ours may take to be seen. It is longer than the
// server may take for a call whose answer was lost.
const ownPatience = 10 * time.Minute

// ownChanges are the changes of an alert that erbridge is making or has made, and that
// were not seen yet.
func (p *Poller) ownChanges(ctx context.Context, id string) ([]soar.OwnChange, error) {
	prefix := soar.OwnChangePrefix + p.server + "/"
	if id != "" {
		prefix = soar.OwnChangesOf(p.server, id)
	}
	kvs, err := p.env.Intake.KV(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("own changes: %w", err)
	}
	var own []soar.OwnChange
	for _, kv := range kvs {
		c, err := soar.ParseOwnChange(kv)
		if err != nil {
			p.env.Log.Error("what erbridge is changing cannot be read", "err", err)
			continue
		}
		own = append(own, c)
	}
	slices.SortFunc(own, func(a, b soar.OwnChange) int { return a.At.Compare(b.At) })
	return own, nil
}

// settleOwn looks for the changes that erbridge makes itself, so that each is known as
// ours soon, whatever becomes of the alert after it. One that did not come about in time
// is forgotten, so that an analyst who does the same later is not taken for erbridge.
func (p *Poller) settleOwn(ctx context.Context, from pollCursor) error {
	asked := p.env.Now()
	own, err := p.ownChanges(ctx, "")
	if err != nil || len(own) == 0 {
		return err
	}
	var ids []int64
	for _, c := range own {
		if id, ok := alertNumber(c.ID); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if err := p.fetchOf(ctx, ids, from, nil); err != nil {
		return fmt.Errorf("mirror: look for own changes: %w", err)
	}
	if own, err = p.ownChanges(ctx, ""); err != nil {
		return err
	}
	var change soar.Change
	for _, c := range own {
		if asked.Sub(c.At) > ownPatience {
			change.KV = append(change.KV, soar.KV{Key: c.Key()})
		}
	}
	if len(change.KV) == 0 {
		return nil
	}
	if _, err := p.env.Intake.Commit(ctx, change); err != nil {
		return fmt.Errorf("mirror: forget own changes: %w", err)
	}
	return nil
}
