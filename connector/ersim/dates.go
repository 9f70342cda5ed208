package ersim

import "time"

// The layouts in which the server writes times, all in UTC without a zone. The
// fraction is dropped when it is zero, as Python's datetime does.
const (
	layoutList   = "02-01-2006 15:04:05" // alert list
	layoutEvents = "2006-01-02 15:04:05" // aggregated events, 4.0
	layoutCarve4 = "Mon, 02 Jan 2006 15:04:05 -0000"
	layoutCType  = "Mon Jan _2 15:04:05 2006" // event column utc_time
)

// pySpace is str(datetime): 2026-11-22 03:22:30.754074.
func pySpace(t time.Time) string { return pyTime(t, "2006-01-02 15:04:05") }

// pyISO is datetime.isoformat(): 2026-11-22T03:22:31.017958.
func pyISO(t time.Time) string { return pyTime(t, "2006-01-02T15:04:05") }

func pyTime(t time.Time, layout string) string {
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.Format(layout)
}

// nullTime is a time in the given form, or nil when it never was.
func nullTime(t time.Time, form func(time.Time) string) any {
	if t.IsZero() {
		return nil
	}
	return form(t)
}
