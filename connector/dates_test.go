package connector

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	const day = "2026-11-22T03:22:30"
	for _, tt := range []struct{ name, in, want string }{
		{"alert list", "22-11-2026 03:22:30", day + "Z"},
		{"alert detail", "2026-11-22 03:22:30.754074", day + ".754074Z"},
		{"fraction absent", "2026-11-22 03:22:30", day + "Z"},
		{"aggregated events of 2.1.2", "22-11-2026 03:22:30.000000", day + "Z"},
		{"recent activity", "11/22/2026 03/22/30", day + "Z"},
		{"ISO", "2026-11-22T03:22:30.017958", day + ".017958Z"},
		{"ISO with zone", "2026-11-22T04:22:30+01:00", day + "Z"},
		{"ISO with Z", "2026-11-22T03:22:30Z", day + "Z"},
		{"mail", "Sun, 22 Nov 2026 03:22:30 -0000", day + "Z"},
		{"mail GMT", "Sun, 22 Nov 2026 03:22:30 GMT", day + "Z"},
		{"C", "Sun Nov 22 03:22:30 2026", day + "Z"},
		{"C with UTC", "Sun Nov 22 03:22:30 2026 UTC", day + "Z"},
		{"C, day of one digit", "Sun Nov  1 03:22:30 2026 UTC", "2026-11-01T03:22:30Z"},
		{"unix", "1795317750", day + "Z"},
		{"unix with fraction", "1795317750.25", day + ".25Z"},
		{"milliseconds", "1795317750250", day + ".25Z"},
		{"milliseconds as float", "1795317750250.0", day + ".25Z"},
		{"epoch", "0", "1970-01-01T00:00:00Z"},
		{"spaces", " 22-11-2026 03:22:30\n", day + "Z"},
		{"day", "2026-11-22", "2026-11-22T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTime(tt.in)
			if err != nil || got.Format(time.RFC3339Nano) != tt.want || got.Location() != time.UTC {
				t.Errorf("ParseTime(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"", " ", "yesterday", "32-11-2026 03:22:30", "2026-13-01", "-5", "20261122", "1e9", "0000-01-01 00:00:00", "99999999999999999999",
		"11-22-2026 03:22:30", strings.Repeat("9", 5000), "NaN"} {
		if got, err := ParseTime(bad); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", clip(bad, 40), got)
		}
	}
}

// captureDate finds what looks like a time in a recorded exchange.
var captureDate = regexp.MustCompile(`\d{2,4}[-/]\d\d[-/]\d{2,4}[ T]\d\d[:/]\d\d[:/]\d\d(\.\d+)?|\w{3}, \d\d \w{3} \d{4} [\d:]+ \S+`)

func FuzzParseTime(f *testing.F) {
	for _, layout := range timeLayouts {
		f.Add(time.Date(2026, 11, 22, 3, 22, 30, 754074000, time.UTC).Format(layout))
	}
	f.Add("1795317750.25")
	for _, text := range seedFiles(f) {
		for _, date := range captureDate.FindAllString(string(text), 8) {
			f.Add(date)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTime(text)
		if err != nil {
			if !got.IsZero() {
				t.Errorf("%q: %v with an error", text, got)
			}
			return
		}
		// What is accepted can be written and read again.
		if _, err := got.MarshalJSON(); err != nil || got.Location() != time.UTC {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseTime(got.Format(time.RFC3339Nano)); err != nil || !again.Equal(got) {
			t.Errorf("%q: %v became %v, %v", text, got, again, err)
		}
	})
}
