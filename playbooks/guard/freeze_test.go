package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// frozen asks for a call at a time.
func frozen(t *testing.T, f Freeze, at time.Time) Answer {
	t.Helper()
	f.Name = "month end"
	r := call(1, "host.tag", at, "a")
	r.Deadline = at.Add(26 * time.Hour) // some days have 25 hours
	return answer(t, newGuard(t, Settings{Freezes: []Freeze{f}}), r, "change freeze")
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// A freeze begins and ends by the clock of its place, also in the nights in which clocks
// are changed. In Havana they are changed at midnight, so that a day begins at 01:00, or
// twice.
func TestFreezeByTheClock(t *testing.T) {
	night := Freeze{Days: []string{"mon-sun"}, From: "22:00", To: "06:00", Timezone: "Europe/Berlin"}
	gap := Freeze{Days: []string{"sun"}, From: "02:30", To: "05:00", Timezone: "Europe/Berlin"}
	intoGap := Freeze{Days: []string{"sun"}, From: "01:00", To: "02:30", Timezone: "Europe/Berlin"}
	saturday := Freeze{Days: []string{"sat"}, Timezone: "America/Havana"}
	sunday := Freeze{Days: []string{"sun"}, Timezone: "America/Havana"}
	late := Freeze{Days: []string{"sat"}, From: "20:00", To: "00:30", Timezone: "America/Havana"}
	for _, tt := range []struct {
		name       string
		freeze     Freeze
		begin, end string // the first moment that is frozen, and the first that is not
	}{
		{"a night", night, "2026-11-22T22:00:00+01:00", "2026-11-23T06:00:00+01:00"},
		{"a night in summer", night, "2026-07-01T22:00:00+02:00", "2026-07-02T06:00:00+02:00"},
		{"the night of 7 hours", night, "2026-03-28T22:00:00+01:00", "2026-03-29T06:00:00+02:00"},
		{"the night of 9 hours", night, "2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00+01:00"},
		{"from a time that there is not", gap, "2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+02:00"},
		{"until a time that there is not", intoGap, "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"from a time that there is twice", gap, "2026-10-25T02:30:00+02:00", "2026-10-25T05:00:00+01:00"},
		{"until a time that there is twice", intoGap, "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"the day before one that begins at 01:00", saturday, "2026-03-07T00:00:00-05:00", "2026-03-08T01:00:00-04:00"},
		{"a day that begins at 01:00", sunday, "2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"},
		{"the day before one that begins twice", saturday, "2026-10-31T00:00:00-04:00", "2026-11-01T00:00:00-04:00"},
		{"a day that begins twice", sunday, "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
		{"until a midnight that is leapt over", late, "2026-03-07T20:00:00-05:00", "2026-03-08T01:00:00-04:00"},
		{"until an hour that there is twice", late, "2026-10-31T20:00:00-04:00", "2026-11-01T00:30:00-05:00"},
		{"a date", Freeze{Dates: []string{"2026-12-24"}, Timezone: "Asia/Kolkata"}, "2026-12-24T00:00:00+05:30", "2026-12-25T00:00:00+05:30"},
		{"a date of each year", Freeze{Dates: []string{"12-31"}, From: "12:00", Timezone: "UTC"}, "2031-12-31T12:00:00Z", "2032-01-01T00:00:00Z"},
		{"a leap day", Freeze{Dates: []string{"02-29"}, Timezone: "UTC"}, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"once", Freeze{Begin: "2026-12-24 18:00", End: "2026-12-25 06:00", Timezone: "Europe/Berlin"}, "2026-12-24T18:00:00+01:00", "2026-12-25T06:00:00+01:00"},
		{"once, until a time that there is twice", Freeze{Begin: "2026-10-24 18:00", End: "2026-10-25 02:30", Timezone: "Europe/Berlin"}, "2026-10-24T18:00:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"a day that a place left out", Freeze{Dates: []string{"2011-12-29"}, Timezone: "Pacific/Apia"}, "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin, end := moment(t, tt.begin), moment(t, tt.end)
			for _, at := range []time.Time{begin, end.Add(-time.Minute), begin.Add(end.Sub(begin) / 2)} {
				if got := frozen(t, tt.freeze, at); got.OK || !got.Until.Equal(end) {
					t.Errorf("at %s: %+v, and it should end at %s", at, got, end)
				}
			}
			for _, at := range []time.Time{begin.Add(-time.Minute), end} {
				if got := frozen(t, tt.freeze, at); !got.OK {
					t.Errorf("at %s: %+v", at, got)
				}
			}
		})
	}
}

// A day that there was not in a place is not frozen at any moment.
func TestFreezeOnADayThatThereWasNot(t *testing.T) {
	f := Freeze{Dates: []string{"2011-12-30"}, Timezone: "Pacific/Apia"}
	for at := moment(t, "2011-12-28T00:00:00Z"); at.Before(moment(t, "2012-01-02T00:00:00Z")); at = at.Add(30 * time.Minute) {
		if got := frozen(t, f, at); !got.OK {
			t.Fatalf("at %s: %+v", at, got)
		}
	}
}

// Minute by minute through a year, what a freeze says is what the clock on the wall says.
// Nights in which clocks change are told apart above.
func TestFreezeAgreesWithTheWall(t *testing.T) {
	for _, place := range []string{"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"} {
		loc, err := time.LoadLocation(place)
		if err != nil {
			t.Fatal(err)
		}
		f := Freeze{Name: "f", Days: []string{"fri", "mon"}, From: "21:15", To: "05:45", Timezone: place}
		ready := f.ready(nil, &mistakes{})
		for at := moment(t, "2026-01-01T00:00:00Z"); at.Year() < 2027; at = at.Add(time.Minute) {
			wall := at.In(loc)
			_, before := wall.Add(-24 * time.Hour).Zone()
			_, after := wall.Add(24 * time.Hour).Zone()
			if before != after {
				continue
			}
			clock := wall.Hour()*60 + wall.Minute()
			day := wall.Weekday()
			want := (day == time.Friday || day == time.Monday) && clock >= 21*60+15 || (day == time.Saturday || day == time.Tuesday) && clock < 5*60+45
			if got := ready.at(at); got.frozen != want || at.Before(got.from) || !at.Before(got.to) {
				t.Fatalf("%s at %s: %+v, want %t", place, wall, got, want)
			}
		}
	}
}

func TestDates(t *testing.T) {
	for _, tt := range []struct{ dates, in, out string }{
		{"2026-12-24", "2026-12-24", "2026-12-23 2026-12-25 2027-12-24"},
		{"2026-12-24..2027-01-02", "2026-12-24 2026-12-31 2027-01-02", "2026-12-23 2027-01-03 2027-12-24"},
		{"12-24", "2026-12-24 2030-12-24", "2026-12-25"},
		{"03-01..03-03", "2026-03-01 2031-03-03", "2026-02-28 2026-03-04"},
		{"12-24..01-02", "2026-12-24 2026-12-31 2027-01-01 2031-01-02", "2026-12-23 2026-01-03 2026-06-01"},
		{"02-29", "2028-02-29", "2027-02-28 2027-03-01"},
	} {
		r, err := readDates(tt.dates)
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{tt.in: true, tt.out: false} {
			for _, day := range strings.Fields(text) {
				if got := r.has(moment(t, day+"T00:00:00Z")); got != want {
					t.Errorf("%s in %s: %t", day, tt.dates, got)
				}
			}
		}
	}
}

// A call waits for the end of all freezes that follow each other, and is refused when
// that is later than it waits.
func TestFreezesFollowEachOther(t *testing.T) {
	s := Settings{Freezes: []Freeze{
		{Name: "weekend", Days: []string{"sat", "sun"}, Timezone: "Europe/Berlin"},
		{Name: "monday morning", Days: []string{"mon"}, To: "09:00", Timezone: "Europe/Berlin"},
	}}
	g := newGuard(t, s)
	end := moment(t, "2026-11-23T09:00:00+01:00")
	r := call(1, "host.tag", moment(t, "2026-11-21T12:00:00+01:00"), "a")
	got := g.Ask(r)
	if got.OK || got.State != soar.StepRefused || !strings.Contains(got.Words, `freeze "weekend": no host.tag before Mon 2026-11-23 09:00 CET, which is later than the step waits`) {
		t.Errorf("on Saturday: %+v", got)
	}
	r.Deadline = end
	if got := g.Ask(r); got.OK || !got.Until.Equal(end) {
		t.Errorf("on Saturday, when it waits that long: %+v", got)
	}
	r.At, r.Deadline = moment(t, "2026-11-22T23:30:00+01:00"), time.Time{}
	if got := g.Ask(r); got.OK || !got.Until.Equal(end) || got.Words != `freeze "weekend": host.tag waits until Mon 2026-11-23 09:00 CET` {
		t.Errorf("on Sunday: %+v", got)
	}
	r.At = end
	if got := g.Ask(r); !got.OK {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestFreezeWithoutEnd(t *testing.T) {
	got := frozen(t, Freeze{Days: []string{"mon-sun"}, Timezone: "UTC"}, now)
	if got.OK || got.State != soar.StepRefused || !strings.Contains(got.Words, "no end to that in sight") {
		t.Errorf("%+v", got)
	}
}

// What is allowed goes out, and so does what the freeze is not about.
func TestFreezeAllows(t *testing.T) {
	f := Freeze{Name: "f", Days: []string{"mon-sun"}, Timezone: "UTC", Calls: Calls{Actions: []string{"host.*"}}, Allow: []string{"emergency-*"}}
	g := newGuard(t, Settings{Freezes: []Freeze{f}})
	for _, tt := range []struct {
		action string
		chain  []string
		want   bool
	}{
		{"host.tag", []string{"daily"}, false},
		{"process.list", []string{"daily"}, true},
		{"host.tag", []string{"emergency-contain"}, true},
		{"host.tag", []string{"emergency-contain", "daily"}, true},
		{"host.tag", []string{"daily", "emergency-contain"}, false}, // nobody gets round it by a call
	} {
		r := call(1, tt.action, now, "a")
		r.Chain, r.Playbook = tt.chain, tt.chain[len(tt.chain)-1]
		if got := g.Ask(r); got.OK != tt.want {
			t.Errorf("%s by %v: %+v", tt.action, tt.chain, got)
		}
	}
}

func TestFreezeSettings(t *testing.T) {
	for _, tt := range []struct {
		freeze Freeze
		want   string
	}{
		{Freeze{Days: []string{"mon"}, Timezone: "UTC"}, "freezes: 0: name: a freeze needs a name, which answers tell"},
		{Freeze{Name: "f", Timezone: "UTC"}, "freezes: 0: the freeze never begins"},
		{Freeze{Name: "f", Days: []string{"mon"}, Timezone: "Berlin"}, `freezes: 0: timezone: "Berlin" is no time zone`},
		{Freeze{Name: "f", Days: []string{"mon"}}, `freezes: 0: timezone: "" is no time zone`},
		{Freeze{Name: "f", Days: []string{"fri-"}, Timezone: "UTC"}, `freezes: 0: days: 0: "fri-" is no day of the week`},
		{Freeze{Name: "f", Dates: []string{"2026-02-29"}, Timezone: "UTC"}, `freezes: 0: dates: 0: "2026-02-29" is no date`},
		{Freeze{Name: "f", Dates: []string{"2026-02-02..2026-02-01"}, Timezone: "UTC"}, `freezes: 0: dates: 0: "2026-02-02..2026-02-01" ends before it begins`},
		{Freeze{Name: "f", Days: []string{"mon"}, From: "24:00", Timezone: "UTC"}, `freezes: 0: from: "24:00" is no time of a day at which something begins`},
		{Freeze{Name: "f", Days: []string{"mon"}, To: "6", Timezone: "UTC"}, `freezes: 0: to: "6" is no time of a day`},
		{Freeze{Name: "f", Begin: "2026-01-02 10:00", End: "2026-01-02 10:00", Timezone: "UTC"}, "freezes: 0: end: the freeze ends before it begins"},
		{Freeze{Name: "f", Begin: "2026-01-02 10:00", Timezone: "UTC"}, `freezes: 0: end: "" is no date and time`},
		{Freeze{Name: "f", Begin: "2026-01-02 10:00", End: "2026-01-03 10:00", From: "10:00", Timezone: "UTC"}, "freezes: 0: begin and end stand alone; days, dates, from and to are of a freeze that comes again"},
		{Freeze{Name: "f", Days: []string{"mon"}, Timezone: "UTC", Allow: []string{""}}, "freezes: 0: allow: 0: an empty name fits nothing"},
	} {
		err := (&Settings{Freezes: []Freeze{tt.freeze}}).Check()
		if err == nil || err.Error() != tt.want {
			t.Errorf("%+v:\n got %v\nwant %s", tt.freeze, err, tt.want)
		}
	}
}
