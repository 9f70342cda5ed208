package connector

import (
	"fmt"
	"strconv"
	"time"
)

// Span is the length of an EventWindow.
type Span int

// The spans that the server knows.
const (
	SpanHour  Span = 1
	SpanDay   Span = 2
	SpanWeek  Span = 3
	SpanMonth Span = 4 // 30 days
)

// EventWindow is a stretch of time in whole days (UTC), of which one end is given
// and the other lies a span away. The zero value is the week that ends with today.
type EventWindow struct {
	// From is the first day, or Until the last one; at most one of them. The time of
	// day does not count.
	From, Until time.Time
	// Span is the length; zero is a week. SpanHour is the first hour of From, or the
	// last one of Until: the last hour by the clock cannot be asked for.
	Span Span
}

// arguments writes the window as the server reads it. now is the server's time.
//
// The server takes the day for a moment at its start, counts the span from there,
// and then moves both ends forward by one day (public source of release 4.0,
// get_start_date_end_date; observed on 2.1.2). For a window that ends, this makes
// the day its last whole one; one that begins has to be asked for a day early. The
// date is always sent, because the default is the day when the server was started.
func (w EventWindow) arguments(now time.Time) (map[string]string, error) {
	if w.Span == 0 {
		w.Span = SpanWeek
	}
	switch {
	case w.Span < SpanHour || w.Span > SpanMonth:
		return nil, fmt.Errorf("window: %w: span %d is none of hour (1), day (2), week (3), month (4)", ErrInvalid, w.Span)
	case !w.From.IsZero() && !w.Until.IsZero():
		return nil, fmt.Errorf("window: %w: either its first or its last day", ErrInvalid)
	}
	day, kind := now, "2"
	switch {
	case !w.From.IsZero():
		day, kind = w.From.UTC().AddDate(0, 0, -1), "1"
	case !w.Until.IsZero():
		day = w.Until.UTC()
	}
	if day.Year() < 1970 || day.Year() > 9998 {
		return nil, fmt.Errorf("window: %w: the year %d is out of range", ErrInvalid, day.Year())
	}
	return map[string]string{"duration": strconv.Itoa(int(w.Span)), "type": kind, "date": day.Format(time.DateOnly)}, nil
}
