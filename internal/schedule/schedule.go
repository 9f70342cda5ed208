// Package schedule says when the clocks of a place show a time: for playbooks that run by
// themselves, and for digests.
package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a schedule names its zone, and small images have no zone database
)

// Times are the minutes whose wall clock in a zone has all of minute, hour, day and
// month. Make them with Cron or Every; they never change.
type Times struct {
	text string
	zone *time.Location

	minutes, hours, days, months, weekdays uint64 // a bit for each value
	// anyDay is set for * in the field of days or of weekdays: then both must hold,
	// else one of them is enough (crontab(5)).
	anyDay bool
}

// cronField is one field of a cron expression.
type cronField struct {
	name      string
	low, high int
	names     []string // of the values from low on
}

var cronFields = []cronField{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// Cron reads the five fields of crontab(5): lists, ranges, steps, and names of
// months and weekdays.
func Cron(text string, zone *time.Location) (*Times, error) {
	words := strings.Fields(text)
	if len(words) != len(cronFields) {
		return nil, fmt.Errorf("expected five fields (minute, hour, day, month, weekday), found %d", len(words))
	}
	var sets [5]uint64
	for i, f := range cronFields {
		set, err := f.parse(words[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		sets[i] = set
	}
	if sets[4]&(1<<7) != 0 {
		sets[4] |= 1 // 7 is Sunday too
	}
	s := &Times{
		text: strings.Join(words, " ") + " " + zone.String(), zone: zone,
		minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4],
		anyDay: strings.HasPrefix(words[2], "*") || strings.HasPrefix(words[4], "*"),
	}
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("no day is ever like that")
	}
	return s, nil
}

func (f cronField) parse(text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.high {
				return 0, fmt.Errorf("%q is no step", stepText)
			}
		}
		low, high := f.low, f.high
		if span != "*" {
			first, last, isRange := strings.Cut(span, "-")
			if low, err = f.value(first); err != nil {
				return 0, err
			}
			switch {
			case isRange:
				if high, err = f.value(last); err != nil {
					return 0, err
				}
			case !stepped:
				high = low
			}
			if high < low {
				return 0, fmt.Errorf("%q ends before it begins", span)
			}
		}
		for v := low; v <= high; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

func (f cronField) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.low + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.high {
		return 0, fmt.Errorf("%q is not between %d and %d", text, f.low, f.high)
	}
	return v, nil
}

// Every are the times of an interval, counted from midnight in zone. It
// must divide the day, so that the times are the same on every day.
func Every(d time.Duration, zone *time.Location) (*Times, error) {
	const day = 24 * time.Hour
	if d < time.Minute || d > day || d%time.Minute != 0 || day%d != 0 {
		return nil, errors.New("expected whole minutes that divide the day, such as 5m, 1h, 6h or 24h")
	}
	s := &Times{text: d.String() + " " + zone.String(), zone: zone, days: 1<<32 - 2, months: 1<<13 - 2, weekdays: 1<<8 - 1, anyDay: true}
	switch {
	case d <= time.Hour && time.Hour%d == 0:
		s.hours = 1<<24 - 1
		for m := 0; m < 60; m += int(d / time.Minute) {
			s.minutes |= 1 << m
		}
	case d%time.Hour == 0:
		s.minutes = 1
		for h := 0; h < 24; h += int(d / time.Hour) {
			s.hours |= 1 << h
		}
	default: // such as 90m: no two fields say that
		return nil, errors.New("expected an interval that divides the hour, or whole hours that divide the day")
	}
	return s, nil
}

// String is what the times were made of, to see that they have changed.
func (s *Times) String() string { return s.text }

// Zone is the place whose clocks count.
func (s *Times) Zone() *time.Location { return s.zone }

// Next is the first time of the schedule after t, in UTC; zero when there is none.
//
// When clocks go back, times at fixed hours come once, the first time; when they go
// forward, times that the clock leaves out come with the first minute after them.
// Schedules of every hour go by the time that passes.
func (s *Times) Next(t time.Time) time.Time {
	t = t.In(s.zone).Truncate(time.Minute).Add(time.Minute)
	end := t.AddDate(9, 0, 0) // a 29 February is at most eight years away
	for t.Before(end) {
		if !s.onDay(t) {
			year, month, day := t.Date()
			midnight := time.Date(year, month, day+1, 0, 0, 0, 0, s.zone)
			if !midnight.After(t) { // a day that begins later than at midnight
				midnight = t.Add(time.Duration(60-t.Minute()) * time.Minute)
			}
			t = midnight
			continue
		}
		if s.at(t.Hour(), t.Minute()) && !s.repeated(t) || s.leftOut(t) {
			return t.UTC()
		}
		t = t.Add(time.Minute)
	}
	return time.Time{}
}

func (s *Times) onDay(t time.Time) bool {
	day, weekday := s.days&(1<<t.Day()) != 0, s.weekdays&(1<<t.Weekday()) != 0
	if s.months&(1<<t.Month()) == 0 {
		return false
	}
	if s.anyDay {
		return day && weekday
	}
	return day || weekday
}

func (s *Times) at(hour, minute int) bool {
	return s.hours&(1<<hour) != 0 && s.minutes&(1<<minute) != 0
}

func (s *Times) everyHour() bool { return s.hours == 1<<24-1 }

// repeated reports whether the clock has shown this time once before, since it was
// put back. UTC of t goes on all the while.
func (s *Times) repeated(t time.Time) bool {
	start, _ := t.ZoneBounds()
	return !s.everyHour() && t.Sub(start) < clockChange(start, -1)
}

// leftOut reports whether t is the first minute after the clock was put forward over
// a time of the schedule.
func (s *Times) leftOut(t time.Time) bool {
	start, _ := t.ZoneBounds()
	gap := clockChange(start, 1)
	if s.everyHour() || gap <= 0 || t.Sub(start) >= time.Minute {
		return false
	}
	wall := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
	for missing := wall.Add(-gap); missing.Before(wall); missing = missing.Add(time.Minute) {
		if s.at(missing.Hour(), missing.Minute()) && s.onDay(missing) {
			return true
		}
	}
	return false
}

// clockChange is by how much clocks were put forward (1) or back (-1) at start; not
// above zero when they were not.
func clockChange(start time.Time, direction int) time.Duration {
	if start.IsZero() {
		return 0
	}
	_, before := start.Add(-time.Second).Zone()
	_, after := start.Zone()
	return time.Duration(direction*(after-before)) * time.Second
}

// First is the first time of the schedule at t or after it.
func (s *Times) First(t time.Time) time.Time { return s.Next(t.Add(-time.Nanosecond)) }

// Before is when the schedule must have been looked at, so that at a time of it, so
// many others are found to have passed.
func (s *Times) Before(at time.Time, missed int) time.Time {
	for span := time.Hour; ; span *= 2 {
		since := at.Add(-span)
		times := []time.Time{since}
		for t := s.Next(since); t.Before(at); t = s.Next(t) {
			times = append(times, t)
		}
		if len(times) > missed+1 || span > 50*366*24*time.Hour {
			return times[max(len(times)-1-missed, 0)]
		}
	}
}

// Due looks which times of the schedule have come since the one before, up to now:
// the last of them, and how many came before it. When none has come, last is zero.
func (s *Times) Due(since, now time.Time) (last time.Time, missed int) {
	for t := s.Next(since); !t.IsZero() && !t.After(now); t = s.Next(t) {
		if !last.IsZero() {
			missed++
		}
		last = t
	}
	return last, missed
}
