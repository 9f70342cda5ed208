package connector

import (
	"net/http"
	"testing"
	"time"
)

func TestClockOffset(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 500_000_000, time.UTC)
	var c clock
	for _, tt := range []struct {
		date string
		want time.Duration
	}{
		{"", 0},
		{now.Format(http.TimeFormat), 0},
		{now.Add(-20 * time.Minute).Format(http.TimeFormat), -20*time.Minute - 500*time.Millisecond},
		{"yesterday", -20*time.Minute - 500*time.Millisecond}, // says nothing
		{now.Add(time.Hour).Format(http.TimeFormat), time.Hour - 500*time.Millisecond},
		{now.Format(http.TimeFormat), 0},
	} {
		c.observe(tt.date, now)
		if got := time.Duration(c.offset.Load()); got != tt.want {
			t.Errorf("after %q: %s, want %s", tt.date, got, tt.want)
		}
	}
}
