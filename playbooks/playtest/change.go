package playtest

import (
	"context"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// change is what changed of an alert that was known.
type change struct {
	earlier soar.Alert
	note    *soar.AlertNote // nil: none was added
	hand    soar.Hand
}

// mainChange makes the change of the test's alert.
func (p *play) mainChange(c *Case, object map[string]any) (problems registry.Problems) {
	if c.Changed == nil {
		return nil
	}
	at := p.doc.at("tests", p.index, "changed")
	earlier, err := decodeAlert(merged(object, c.Changed.Was))
	if err != nil {
		problems.Addf(at, "alert", "", "with was, it is no alert: %v", err)
		return problems
	}
	if earlier.Ref() != p.main.alert.Ref() {
		problems.Addf(at, "alert", "name what changed, such as {status: open}", "with was, it is another alert")
		return problems
	}
	p.main.change = &change{earlier: earlier, hand: soar.Hand{Origin: soar.OriginAnalyst, By: c.Changed.By}}
	if c.Changed.Note != "" {
		p.main.change.note = &soar.AlertNote{ID: 1, What: soar.ChangeNoteAdded, By: c.Changed.By, Text: c.Changed.Note}
	}
	if len(soar.WhatChanged(earlier.State(), p.main.alert.State())) == 0 && c.Changed.Note == "" {
		problems.Addf(at, "missing", "such as was: {status: open}, or note: \"it was bob\"", "test %q does not say what changed", c.Name)
	}
	return problems
}

// changes is what changed of the alert; without anything said, that one event more came
// together in it.
func (a *arrival) changes() *change {
	if a.change != nil {
		return a.change
	}
	c := &change{earlier: *a.alert, hand: soar.Hand{Origin: soar.OriginServer}}
	c.earlier.EventCount++
	return c
}

// told is the change as expressions see it.
func (c *change) told(a *arrival) *soar.AlertChange {
	t := &soar.AlertChange{
		What: soar.WhatChanged(c.earlier.State(), a.alert.State()), Origin: c.hand.Origin, By: c.hand.By, At: a.at,
		From: c.earlier.State(), To: a.alert.State(),
	}
	if c.note != nil {
		t.What, t.Notes = append(t.What, c.note.What), []soar.AlertNote{*c.note}
	}
	return t
}

// update lets an alert change that was evaluated before.
func (w *stage) update(ctx context.Context, a *arrival) error {
	c := a.changes()
	stored, err := w.keep(ctx, &c.earlier)
	if err != nil {
		return err
	}
	commit := soar.Change{Alerts: []soar.Alert{*a.alert}, Hands: map[int]soar.Hand{0: c.hand}}
	if c.note != nil {
		told := c.told(a)
		commit.Noted = []soar.Noted{{ID: "note/" + a.alert.Ref(), AlertKey: stored.Key, Change: *told}}
		if len(told.What) > 1 { // it is told of with the rest
			commit.Alerts, commit.Hands = nil, nil
			if _, err := w.journal.Commit(ctx, soar.Change{Alerts: []soar.Alert{*a.alert}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginErbridge}}}); err != nil {
				return err
			}
		}
	}
	_, err = w.journal.Commit(ctx, commit)
	return err
}
