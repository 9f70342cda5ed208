package soar

import (
	"slices"
	"time"
)

// Origin says whose doing a change of an alert is.
type Origin string

// The origins.
const (
	OriginAnalyst  Origin = "analyst"  // somebody on the server
	OriginErbridge Origin = "erbridge" // this erbridge, or another one on the same server
	OriginServer   Origin = "server"   // the server itself: more events came together in the alert
	OriginUnclear  Origin = "unclear"  // the status keeps changing: perhaps two programs work against each other
)

// Starts reports whether playbooks are started by changes of the origin. What erbridge
// does itself must not start what it was done for once more.
func (o Origin) Starts() bool { return o == OriginAnalyst || o == OriginServer }

// The words of AlertChange.What.
const (
	ChangeResolved    = "resolved"
	ChangeReopened    = "reopened"
	ChangeVerdict     = "verdict"
	ChangeComment     = "comment"
	ChangeSeverity    = "severity"
	ChangeEvents      = "events"
	ChangeNoteAdded   = "note.added"
	ChangeNoteEdited  = "note.edited"
	ChangeNoteRemoved = "note.removed"
)

// AlertChange says what became different of an alert that was known, and by whose
// hand. Playbooks with on: alert.updated see it as .change.
type AlertChange struct {
	// What names what changed: resolved, reopened, verdict, comment, severity, events,
	// note.added, note.edited, note.removed.
	What []string `json:"what"`
	// Origin is whose doing it is. Where several changes came together, analyst when one
	// of them is an analyst's.
	Origin Origin `json:"origin"`
	// By is the user of the server who did it; empty where the server does not tell.
	By string `json:"by"`
	// Run is the run of erbridge that did it; empty where none did, or nobody can tell.
	Run string `json:"run"`
	// At is when the server noted it, else when erbridge saw it.
	At time.Time `json:"at"`
	// From and To are what the alert was, and what it became.
	From AlertState `json:"from"`
	To   AlertState `json:"to"`
	// Notes are the notes that were added, edited or removed.
	Notes []AlertNote `json:"notes,omitempty"`
}

// AlertState is what of an alert can change.
type AlertState struct {
	Status     string   `json:"status"`
	Verdict    string   `json:"verdict"`
	Comment    string   `json:"comment"`
	Severity   Severity `json:"severity"`
	EventCount int      `json:"event_count"`
}

// AlertNote is a note of an analyst. One that was removed has no text any more, and of a
// long one only the beginning is told.
type AlertNote struct {
	ID   int64     `json:"id"`
	What string    `json:"what"` // note.added, note.edited, note.removed
	By   string    `json:"by"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Hand is who changed an alert.
type Hand struct {
	Origin Origin
	By     string
	Run    string
	At     time.Time // zero: not known
}

// Noted is a change of an alert that is not in the alert itself: its notes.
type Noted struct {
	// ID is that of the event, the same whenever the same is found again.
	ID       string
	AlertKey int64
	Change   AlertChange
}

// State is what of the alert can change, as it is.
func (a *Alert) State() AlertState {
	return AlertState{Status: a.Status, Verdict: a.Verdict, Comment: a.Comment, Severity: a.Severity, EventCount: a.EventCount}
}

// WhatChanged names the differences between two states; nil when there are none.
func WhatChanged(from, to AlertState) (what []string) {
	add := func(differs bool, word string) {
		if differs {
			what = append(what, word)
		}
	}
	resolved := to.Status == StatusResolved
	add(from.Status != to.Status && resolved, ChangeResolved)
	add(from.Status != to.Status && !resolved, ChangeReopened)
	add(from.Verdict != to.Verdict, ChangeVerdict)
	add(from.Comment != to.Comment, ChangeComment)
	add(from.Severity != to.Severity, ChangeSeverity)
	add(from.EventCount != to.EventCount, ChangeEvents)
	return what
}

// maxChangeNotes bounds the notes of changes that came together.
const maxChangeNotes = 50

// Then is c followed by another change, as one: from before the first to after the last.
func (c AlertChange) Then(next AlertChange) AlertChange {
	both := next
	both.From = c.From
	both.What = slices.Clone(c.What)
	for _, word := range next.What {
		if !slices.Contains(both.What, word) {
			both.What = append(both.What, word)
		}
	}
	if c.Origin == OriginAnalyst && next.Origin != OriginAnalyst {
		both.Origin, both.By, both.Run, both.At = c.Origin, c.By, c.Run, c.At
	}
	both.Notes = slices.Concat(c.Notes, next.Notes)
	if extra := len(both.Notes) - maxChangeNotes; extra > 0 {
		both.Notes = both.Notes[extra:]
	}
	return both
}
