package sinks

import "github.com/erbridge/erbridge/internal/soar"

// What people read, without a receiver around it.

// TeamsMessage is the body of a request to Teams.
func TeamsMessage(ev *soar.Event) ([]byte, error) { return teamsMessage(ev, "1") }

// TheHiveText is an event as Markdown.
func TheHiveText(ev *soar.Event) string { return theHiveText(ev, noticeOf(ev)) }

// EmailMessage is the mail of an event, as a sink opened with Open would send it.
func EmailMessage(s Sink, ev *soar.Event) ([]byte, error) { return s.(*email).message(ev) }
