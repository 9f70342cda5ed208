package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// changesOf tells what became different of an alert. That more events came together in
// it is the server's doing; when the rest starts no playbook, such as erbridge's own, it is
// a change apart.
func changesOf(was soar.AlertState, a *soar.Alert, hand soar.Hand, now time.Time) []soar.AlertChange {
	all := soar.AlertChange{
		What: soar.WhatChanged(was, a.State()), Origin: hand.Origin, By: hand.By, Run: hand.Run, At: hand.At, From: was, To: a.State(),
	}
	if all.At.IsZero() {
		all.At = now
	}
	if !slices.Contains(all.What, soar.ChangeEvents) {
		return []soar.AlertChange{all}
	}
	grown := soar.AlertChange{What: []string{soar.ChangeEvents}, Origin: soar.OriginServer, At: now, From: was, To: a.State()}
	grown.From.Status, grown.From.Verdict, grown.From.Comment, grown.From.Severity = a.Status, a.Verdict, a.Comment, a.Severity
	switch {
	case len(all.What) == 1:
		return []soar.AlertChange{grown}
	case hand.Origin.Starts():
		return []soar.AlertChange{all}
	}
	all.To.EventCount = was.EventCount
	all.What = slices.DeleteFunc(all.What, func(word string) bool { return word == soar.ChangeEvents })
	return []soar.AlertChange{all, grown}
}

// tell feeds a change of an alert to sinks and, when it starts any, to playbooks.
func (w *writer) tell(key int64, change *soar.AlertChange, id string) error {
	if change.Origin.Starts() {
		if err := w.pend(key, change); err != nil {
			return err
		}
	}
	data, err := json.Marshal(&soar.Event{ID: id, Type: soar.EventAlertUpdated, At: fromMicros(w.auditAt), Change: change})
	if err != nil {
		return err
	}
	return w.feed(string(soar.EventAlertUpdated), w.auditAt, key, id, pack(data))
}

// pend makes an alert await evaluation because it has changed. One that awaits it
// already, or is being evaluated, is evaluated once more.
func (w *writer) pend(key int64, change *soar.AlertChange) error {
	waits, later := false, ""
	err := w.findPending.query(values(key), func(row []driver.Value) error {
		waits, later = true, text(row[0])
		return nil
	})
	if err != nil {
		return err
	}
	all := *change
	if later != "" {
		var before soar.AlertChange
		if err := json.Unmarshal([]byte(later), &before); err == nil { // else only the last is told
			all = before.Then(all)
		}
	}
	data, err := json.Marshal(&all)
	if err != nil {
		return err
	}
	w.touched[soar.SignalAlertsAgain] = true
	if waits {
		_, err = w.pendAgain.exec(string(data), key)
		return err
	}
	w.tally[numPending]++
	if err := w.insertPending.add(key, pendingUpdated, int64(0), string(data)); err != nil {
		return err
	}
	return w.insertPending.flush()
}

// updatedID is the id of an alert.updated event. It says what changed and what the alert
// became, and has the server's time of the change, which tells a second resolving from
// the first one; where the server notes no time, it has the place in the feed.
func (w *writer) updatedID(a *soar.Alert, change *soar.AlertChange) string {
	at := "@" + strconv.FormatInt(micros(a.UpdatedAt), 10)
	if a.UpdatedAt.IsZero() {
		at = "#" + strconv.FormatInt(w.tally[lastFeedPos]+1, 10)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{
		strings.Join(change.What, ","), a.Status, a.Verdict, a.Comment, strconv.Itoa(a.EventCount), at,
	}, "\x00")))
	return string(soar.EventAlertUpdated) + "/" + a.Ref() + "/" + hex.EncodeToString(sum[:6])
}

// applyNoted takes in what changed of the notes of alerts.
func (w *writer) applyNoted(group []*request) error {
	for _, r := range group {
		for i := range r.change.Noted {
			n := &r.change.Noted[i]
			known := false
			err := w.loadBody.query(values(n.AlertKey), func([]driver.Value) error {
				known = true
				return nil
			})
			if err == nil && known {
				err = w.tell(n.AlertKey, &n.Change, n.ID)
			}
			if err != nil {
				return fmt.Errorf("notes of alert %d: %w", n.AlertKey, err)
			}
		}
	}
	return w.flushAlerts()
}
