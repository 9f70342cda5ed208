package guard

import (
	"fmt"
	"strings"
	"time"
)

// dateRange are dates, first and last among them: of all years, or of each.
type dateRange struct {
	first, last time.Time // midnight in UTC; of each year: in one that has all dates
	yearly      bool
}

// leapYear has all dates that there are.
const leapYear = "2024-"

func readDates(text string) (dateRange, error) {
	from, to, isRange := strings.Cut(text, "..")
	if !isRange {
		to = from
	}
	first, err := time.Parse(time.DateOnly, leapYear+from)
	last, lastErr := time.Parse(time.DateOnly, leapYear+to)
	if err == nil && lastErr == nil {
		return dateRange{first, last, true}, nil
	}
	if first, err = time.Parse(time.DateOnly, from); err != nil {
		return dateRange{}, fmt.Errorf("%q is no date", from)
	}
	if last, err = time.Parse(time.DateOnly, to); err != nil {
		return dateRange{}, fmt.Errorf("%q is no date", to)
	}
	if last.Before(first) {
		return dateRange{}, fmt.Errorf("%q ends before it begins", text)
	}
	return dateRange{first, last, false}, nil
}

func (r dateRange) has(date time.Time) bool {
	if !r.yearly {
		return !date.Before(r.first) && !date.After(r.last)
	}
	date = time.Date(r.first.Year(), date.Month(), date.Day(), 0, 0, 0, 0, time.UTC)
	if r.last.Before(r.first) { // over the end of the year
		return !date.Before(r.first) || !date.After(r.last)
	}
	return !date.Before(r.first) && !date.After(r.last)
}

// clockTime is what a clock on the wall shows. 24:00 is the end of a day.
type clockTime struct{ hour, minute int }

func readClock(text string) (clockTime, error) {
	if text == "" || text == "24:00" {
		return clockTime{24, 0}, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return clockTime{}, fmt.Errorf("%q is no time of a day", text)
	}
	return clockTime{t.Hour(), t.Minute()}, nil
}

func (c clockTime) dayEnd() bool { return c.hour == 24 }

func (c clockTime) after(o clockTime) bool {
	return c.hour > o.hour || c.hour == o.hour && c.minute > o.minute
}

// on is when the clocks of a place show a time on a date: for the first time, and for the
// last. They differ on the night on which clocks are turned back. When clocks leap over
// it, both are the moment of the leap.
func (c clockTime) on(date time.Time, place *time.Location) (first, last time.Time) {
	year, month, day := date.Date()
	wall := time.Date(year, month, day, c.hour, c.minute, 0, 0, time.UTC)
	// time.Date in the place would choose one of two, and does not say which. The offsets
	// of a day before and a day after are all that can count.
	offset := func(d time.Duration) time.Duration {
		_, seconds := wall.Add(d).In(place).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := offset(-26*time.Hour), offset(26*time.Hour)
	shows := func(t time.Time) bool {
		l := t.In(place)
		return l.Year() == year && l.Month() == month && l.Day() == day && l.Hour() == c.hour && l.Minute() == c.minute
	}
	early, late := wall.Add(-max(before, after)), wall.Add(-min(before, after))
	switch {
	case shows(early) && shows(late):
		return early, late
	case shows(early):
		return early, early
	case shows(late):
		return late, late
	}
	_, leap := early.In(place).ZoneBounds() // early is still before the leap
	return leap.UTC(), leap.UTC()
}
