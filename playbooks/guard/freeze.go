package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // machines without a database of time zones know them all the same
)

// Freeze is a time in which calls wait, by the calendar and the clock of a place: on days
// of the week or dates, or once from begin to end. A call waits until the freeze is over,
// and is refused when that is later than a step waits.
type Freeze struct {
	// Name is what the freeze is called in answers, such as month end.
	Name string `yaml:"name" required:"true"`

	// Days are the days on which it begins: mon, tue, wed, thu, fri, sat, sun, or a
	// range of them: mon-fri.
	Days []string `yaml:"days"`

	// Dates are the dates on which it begins: "2026-12-24", a range "2026-12-24..2027-01-02", or
	// each year "12-24" and "12-24..01-02". Of days and dates, either will do.
	Dates []string `yaml:"dates"`

	// From is the time of the day at which it begins, as "18:00". Empty means when the day
	// begins.
	From string `yaml:"from"`

	// To is when it ends, as "06:00": on the same day, or on the next one when that is not
	// later than from. Empty means when the day ends.
	To string `yaml:"to"`

	// Begin is when a freeze that happens once begins, as "2026-12-24 18:00".
	Begin string `yaml:"begin"`

	// End is when it ends.
	End string `yaml:"end"`

	// Timezone is the place whose clock counts, as Europe/Berlin. When a clock is turned
	// back, a freeze begins at the first time that it shows from, and ends at the last
	// that it shows to; when it leaps over one of them, then.
	Timezone string `yaml:"timezone" required:"true" example:"Europe/Berlin"`

	Calls `yaml:",inline"`

	// Allow are names of playbooks whose calls go out all the same. A playbook that is
	// called counts for the one that began the run.
	Allow []string `yaml:"allow"`
}

// DefaultHold is how long a step waits where nobody said otherwise.
const DefaultHold = 24 * time.Hour

// maxFrozen is how far ahead the end of a freeze is looked for.
const maxFrozen = 100 * 24 * time.Hour

// freezes are the change freezes. What they know is in the settings.
type freezes struct{ list []*freeze }

// freeze is a Freeze, made ready.
type freeze struct {
	Freeze
	which      which
	allow      nameList
	place      *time.Location
	days       [7]bool
	dates      []dateRange
	from, to   clockTime
	begin, end time.Time // of one that happens once

	known span // what was found out last
}

// span is a time in which a freeze holds or does not hold all along.
type span struct {
	from, to time.Time
	frozen   bool
}

func (*freezes) name() string { return "change freeze" }

func (f *freezes) configure(list []Freeze) {
	f.list = nil
	for i := range list {
		f.list = append(f.list, list[i].ready(nil, &mistakes{})) // Check found none
	}
}

func (f *freezes) ask(r *Request) Answer {
	about := r.subject()
	var first *freeze
	for _, one := range f.list {
		if one.about(about) && one.at(r.At).frozen {
			first = one
			break
		}
	}
	if first == nil {
		return Pass("nothing is frozen")
	}
	end := f.over(about, r.At)
	limit := r.Deadline
	if limit.IsZero() {
		limit = r.At.Add(DefaultHold)
	}
	switch {
	case end.IsZero():
		return Refuse("freeze %q: no %s, and there is no end to that in sight; change the freeze, or name the playbook under its allow", first.Name, r.Action)
	case end.After(limit):
		return Refuse("freeze %q: no %s before %s, which is later than the step waits; when it cannot wait, name the playbook under allow of the freeze", first.Name, r.Action, first.local(end))
	}
	return Hold(end, "freeze %q: %s waits until %s", first.Name, r.Action, first.local(end))
}

// over is when nothing that is about a call is frozen any more: one freeze may begin
// before another ends. The zero time means not within maxFrozen.
func (f *freezes) over(about *subject, at time.Time) time.Time {
	end := at
	for again := true; again; {
		again = false
		for _, one := range f.list {
			if !one.about(about) {
				continue
			}
			for s := one.peek(end); s.frozen; s = one.peek(end) {
				if end, again = s.to, true; end.Sub(at) > maxFrozen {
					return time.Time{}
				}
			}
		}
	}
	return end
}

func (f *freeze) about(s *subject) bool {
	return f.which.holds(s) && !f.allow.has(s.Playbooks[0])
}

func (f *freeze) local(t time.Time) string { return t.In(f.place).Format("Mon 2006-01-02 15:04 MST") }

// at is peek, and remembers what it found: most calls ask about now.
func (f *freeze) at(t time.Time) span {
	f.known = f.peek(t)
	return f.known
}

// peek tells whether it is frozen at a time, and between when that is so.
func (f *freeze) peek(t time.Time) span {
	if !t.Before(f.known.from) && t.Before(f.known.to) {
		return f.known
	}
	return f.find(t)
}

// find is peek, worked out. Nothing is known for longer than a day ahead.
func (f *freeze) find(t time.Time) span {
	if !f.begin.IsZero() {
		switch {
		case t.Before(f.begin):
			return span{t, f.begin, false}
		case t.Before(f.end):
			return span{f.begin, f.end, true}
		}
		return span{f.end, t.Add(24 * time.Hour), false}
	}
	year, month, day := t.In(f.place).Date()
	free := span{t, t.Add(24 * time.Hour), false}
	for d := -2; d <= 2; d++ { // a day may have 25 hours, and a freeze end on the next one
		date := time.Date(year, month, day+d, 0, 0, 0, 0, time.UTC)
		if !f.on(date) {
			continue
		}
		begin, end := f.window(date)
		switch {
		case !begin.Before(end):
		case !t.Before(begin) && t.Before(end):
			return span{begin, end, true}
		case begin.After(t) && begin.Before(free.to):
			free.to = begin
		}
	}
	return free
}

// on reports whether the freeze begins on a date.
func (f *freeze) on(date time.Time) bool {
	return f.days[date.Weekday()] || slices.ContainsFunc(f.dates, func(r dateRange) bool { return r.has(date) })
}

// window is from when until when it lasts that begins on a date.
func (f *freeze) window(date time.Time) (begin, end time.Time) {
	begin, _ = f.from.on(date, f.place)
	next := date.AddDate(0, 0, 1)
	switch {
	case f.to.dayEnd():
		end, _ = clockTime{}.on(next, f.place) // the day has ended when the next one begins
	case f.to.after(f.from):
		_, end = f.to.on(date, f.place)
	default:
		_, end = f.to.on(next, f.place)
	}
	return begin, end
}

// checkFreezes looks for mistakes in the freezes.
func (s *Settings) checkFreezes(wrong *mistakes) {
	for i := range s.Freezes {
		s.Freezes[i].ready([]string{"freezes", fmt.Sprint(i)}, wrong)
	}
}

// ready makes a freeze ready. Mistakes are told with their place below at.
func (f *Freeze) ready(at []string, wrong *mistakes) *freeze {
	below := func(name string) []string { return append(slices.Clone(at), name) }
	out := &freeze{Freeze: *f, which: f.Calls.ready(), allow: nameList{patterns: f.Allow}, place: time.UTC}
	if strings.TrimSpace(f.Name) == "" {
		wrong.addf(below("name"), "", "a freeze needs a name, which answers tell")
	}
	f.Calls.check(at, wrong)
	checkNames(at, "allow", f.Allow, wrong)
	place, err := time.LoadLocation(f.Timezone)
	if err != nil || f.Timezone == "" || f.Timezone == "Local" {
		wrong.addf(below("timezone"), "a place of the IANA database, such as Europe/Berlin, or UTC", "%q is no time zone", f.Timezone)
	} else {
		out.place = place
	}
	if f.Begin != "" || f.End != "" {
		f.once(out, at, wrong)
		return out
	}
	if len(f.Days)+len(f.Dates) == 0 {
		wrong.addf(at, "give it days, dates, or begin and end", "the freeze never begins")
	}
	for i, text := range f.Days {
		if err := out.addDays(text); err != nil {
			wrong.addf(append(below("days"), fmt.Sprint(i)), "mon, tue, wed, thu, fri, sat, sun, or a range of them: mon-fri", "%v", err)
		}
	}
	for i, text := range f.Dates {
		r, err := readDates(text)
		if err != nil {
			wrong.addf(append(below("dates"), fmt.Sprint(i)), `"2026-12-24", "2026-12-24..2027-01-02", or each year "12-24"`, "%v", err)
		}
		out.dates = append(out.dates, r)
	}
	if out.from, err = readClock(f.From); err != nil || out.from.dayEnd() && f.From != "" {
		wrong.addf(below("from"), `such as "18:00"`, "%q is no time of a day at which something begins", f.From)
	}
	if f.From == "" {
		out.from = clockTime{}
	}
	if out.to, err = readClock(f.To); err != nil {
		wrong.addf(below("to"), `such as "06:00"`, "%q is no time of a day", f.To)
	}
	if f.To == "" || out.to == (clockTime{}) {
		out.to = clockTime{24, 0}
	}
	return out
}

// once reads begin and end.
func (f *Freeze) once(out *freeze, at []string, wrong *mistakes) {
	if len(f.Days)+len(f.Dates) > 0 || f.From != "" || f.To != "" {
		wrong.addf(at, "make two freezes of it", "begin and end stand alone; days, dates, from and to are of a freeze that comes again")
	}
	read := func(name, text string) (first, last time.Time) {
		t, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			wrong.addf(append(slices.Clone(at), name), `such as "2026-12-24 18:00"`, "%q is no date and time", text)
			return first, last
		}
		return clockTime{t.Hour(), t.Minute()}.on(t, out.place)
	}
	out.begin, _ = read("begin", f.Begin)
	_, out.end = read("end", f.End)
	if !out.begin.IsZero() && !out.end.IsZero() && !out.begin.Before(out.end) {
		wrong.addf(append(slices.Clone(at), "end"), "", "the freeze ends before it begins")
	}
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (f *freeze) addDays(text string) error {
	first, last, isRange := strings.Cut(strings.ToLower(text), "-")
	from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if !isRange {
		to = from
	}
	if from < 0 || to < 0 {
		return fmt.Errorf("%q is no day of the week", text)
	}
	for d := from; ; d = (d + 1) % 7 {
		f.days[d] = true
		if d == to {
			return nil
		}
	}
}
