package format

import (
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// rowAlert is a row of a query's result in the shape of an alert, so that the one reading
// of columns serves both. It is nobody's finding: it has no id, no rule and no status.
func rowAlert(r *soar.Row) *soar.Alert {
	return &soar.Alert{
		Server: r.Server, Severity: soar.SeverityInfo, QueryName: r.Query, Host: r.Host,
		CreatedAt: r.At, EventTime: r.At, Event: r.Columns,
	}
}

// subject is what the event is about, alert or row, or nil.
func subject(ev *soar.Event) *soar.Alert {
	if ev.Row != nil && ev.Alert == nil {
		return rowAlert(ev.Row)
	}
	return ev.Alert
}

// isFinding reports whether the event tells the alert itself, and not what was done or
// said because of it.
func isFinding(ev *soar.Event) bool {
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventAlertGrouped:
		return ev.Alert != nil
	}
	return false
}

// occurred is when the event happened: on the host for an alert that came in and for a
// row, here for all else.
func occurred(ev *soar.Event) time.Time {
	switch {
	case ev.Row != nil && ev.Alert == nil:
		return firstTime(ev.Row.At, ev.At)
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		return firstTime(ev.Alert.EventTime, ev.Alert.CreatedAt, ev.At)
	}
	return firstTime(ev.At)
}
