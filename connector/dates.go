package connector

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeLayouts are the ways in which the server writes a time. All are UTC; none
// but the mail style carries a zone. Day-first and month-first dates do not
// collide, because one has dashes and the other slashes. A fraction of a second
// may follow wherever seconds stand: time.Parse takes it unasked.
//
// Alert list: 22-11-2026 03:22:30. Alert detail, host list: 2026-11-22
// 03:22:30.754074. Host detail, rules, carves: 2026-11-22T03:22:31.017958, or
// mail style in release 4.0. Recent activity: 11/22/2026 03/22/30. Columns
// utc_time: Sun Nov 22 03:22:00 2026 UTC.
var timeLayouts = []string{
	"02-01-2006 15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02 15:04:05Z07:00",
	"01/02/2006 15/04/05",
	"01/02/2006 15:04:05",
	"Mon, 02 Jan 2006 15:04:05 -0700",
	"Mon, 02 Jan 2006 15:04:05 MST",
	"Mon Jan _2 15:04:05 2006",
	"Mon Jan _2 15:04:05 2006 UTC",
	"Mon Jan _2 15:04:05 2006 GMT",
	"2006-01-02",
	"02-01-2006",
}

// ParseTime reads a time in any of the server's layouts: the dates of the API,
// unix seconds with or without a fraction, and unix milliseconds. The result is
// in UTC. A time outside of the years 1970 to 9999 is an error, because JSON
// cannot carry it on.
func ParseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, fmt.Errorf("time is empty")
	}
	if t, ok := parseUnix(text); ok {
		return t, nil
	}
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
			return time.Time{}, fmt.Errorf("time %q: the year is out of range", clip(text, 64))
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("time %q: not in a layout that the server uses", clip(text, 64))
}

// parseUnix reads seconds since 1970, or milliseconds where the number is too
// large for seconds.
func parseUnix(text string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	// Up to eight digits could be a date without separators; no event is that old.
	if err != nil || n < 0 || len(whole) < 9 && n != 0 {
		return time.Time{}, false
	}
	var nanos int64
	if fraction != "" {
		if len(fraction) > 9 {
			fraction = fraction[:9]
		}
		if nanos, err = strconv.ParseInt(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64); err != nil || nanos < 0 {
			return time.Time{}, false
		}
	}
	const year9999 = 253402300799
	switch {
	case n <= 99_999_999_999: // seconds until the year 5138
		return time.Unix(n, nanos).UTC(), true
	case n/1000 <= year9999:
		return time.UnixMilli(n).UTC(), true
	}
	return time.Time{}, false
}

// clip shortens text for messages.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
