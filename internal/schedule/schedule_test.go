package schedule

import (
	"strings"
	"testing"
	"time"
)

func TestScheduleTimes(t *testing.T) {
	for _, tt := range []struct {
		name, cron, zone string
		every            time.Duration
		from             string
		want             []string
	}{
		{"every hour", "", "UTC", time.Hour, "2026-01-31T22:30:10Z", []string{"2026-01-31T23:00:00Z", "2026-02-01T00:00:00Z"}},
		{"every quarter of an hour", "", "UTC", 15 * time.Minute, "2026-01-31T23:45:00Z", []string{"2026-02-01T00:00:00Z", "2026-02-01T00:15:00Z"}},
		{"every six hours of Berlin", "", "Europe/Berlin", 6 * time.Hour, "2026-01-31T22:30:00Z", []string{"2026-01-31T23:00:00Z", "2026-02-01T05:00:00Z"}},
		{"every day of Kathmandu", "", "Asia/Kathmandu", 24 * time.Hour, "2026-01-31T18:14:59Z", []string{"2026-01-31T18:15:00Z", "2026-02-01T18:15:00Z"}},
		{"working days", "30 7 * * mon-fri", "Europe/Berlin", 0, "2026-01-30T06:30:00Z", []string{"2026-02-02T06:30:00Z", "2026-02-03T06:30:00Z"}},
		{"lists and steps", "5,35 8-18/5 * * *", "UTC", 0, "2026-01-30T08:05:00Z", []string{"2026-01-30T08:35:00Z", "2026-01-30T13:05:00Z", "2026-01-30T13:35:00Z", "2026-01-30T18:05:00Z"}},
		{"a day of either kind", "0 0 13 * 5", "UTC", 0, "2026-03-07T00:00:00Z", []string{"2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z"}},
		{"seven is Sunday", "0 0 * * 7", "UTC", 0, "2026-03-06T00:00:00Z", []string{"2026-03-08T00:00:00Z"}},
		{"a leap day", "0 0 29 feb *", "UTC", 0, "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"a time that the clock leaves out", "30 2 * * *", "Europe/Berlin", 0, "2026-03-28T02:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"a time that comes twice", "30 2 * * *", "Europe/Berlin", 0, "2026-10-24T23:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"every hour while the clock goes back", "", "Europe/Berlin", time.Hour, "2026-10-25T00:00:00Z", []string{"2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
		{"every hour while it goes forward", "", "Europe/Berlin", time.Hour, "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
		{"a midnight that the clock leaves out", "0 0 * * sun", "America/Havana", 0, "2026-03-08T04:29:00Z", []string{"2026-03-08T05:00:00Z", "2026-03-15T04:00:00Z"}},
		{"half an hour forward", "15 2 * * *", "Australia/Lord_Howe", 0, "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			zone, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Cron(tt.cron, zone)
			if tt.every > 0 {
				s, err = Every(tt.every, zone)
			}
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if at = s.Next(at); at.Format(time.RFC3339) != want {
					t.Fatalf("found %s, want %s", at.Format(time.RFC3339), want)
				}
			}
		})
	}
}

func TestScheduleMistakes(t *testing.T) {
	for _, tt := range []struct{ cron, want string }{
		{"* * * *", "expected five fields (minute, hour, day, month, weekday), found 4"},
		{"60 * * * *", `minute: "60" is not between 0 and 59`},
		{"* 5-3 * * *", `hour: "5-3" ends before it begins`},
		{"*/0 * * * *", `minute: "0" is no step`},
		{"* * * * fry", `day of the week: "fry" is not between 0 and 7`},
		{"0 0 30 2 *", "no day is ever like that"},
	} {
		if _, err := Cron(tt.cron, time.UTC); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.cron, err, tt.want)
		}
	}
	for _, d := range []time.Duration{0, -time.Hour, 30 * time.Second, 7 * time.Minute, 5 * time.Hour, 90 * time.Minute, 48 * time.Hour} {
		if _, err := Every(d, time.UTC); err == nil || !strings.HasPrefix(err.Error(), "expected ") {
			t.Errorf("every %s: %v", d, err)
		}
	}
}

func TestScheduleCountsWhatWasMissed(t *testing.T) {
	s, err := Every(time.Hour, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	if last, missed := s.Due(since, since.Add(59*time.Minute)); !last.IsZero() || missed != 0 {
		t.Errorf("before the next time: %s, %d missed", last, missed)
	}
	if last, missed := s.Due(since, since.Add(5*time.Hour+time.Minute)); !last.Equal(since.Add(5*time.Hour)) || missed != 4 {
		t.Errorf("after five hours: %s, %d missed", last, missed)
	}
}
