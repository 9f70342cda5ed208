package sinks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
)

// DigestSettings say when a sink is told what came in since the last time.
type DigestSettings struct {
	// At are times of the day, such as "08:00".
	At []string `yaml:"at"`

	// Days are the days on which At counts: mon, tue, wed, thu, fri, sat, sun. The
	// default is every day.
	Days []string `yaml:"days" enum:"mon,tue,wed,thu,fri,sat,sun"`

	// Cron is a cron expression of five fields (minute, hour, day, month, weekday), in
	// place of At and Days.
	Cron string `yaml:"cron"`

	// Timezone is whose clocks count, such as Europe/Berlin. The default is UTC. A time
	// that a clock leaves out or shows twice in a year comes once.
	Timezone string `yaml:"timezone"`
}

const maxDigestTimes = 24

// Compile reads the times.
func (s *DigestSettings) Compile() ([]*schedule.Times, error) {
	zone := time.UTC
	if s.Timezone != "" {
		var err error
		// Local is another zone on every machine.
		if zone, err = time.LoadLocation(s.Timezone); err != nil || s.Timezone == "Local" {
			return nil, fmt.Errorf("timezone: %q is no time zone such as Europe/Berlin", s.Timezone)
		}
	}
	if (s.Cron == "") == (len(s.At) == 0) {
		return nil, errors.New(`a digest has either at or cron: {at: ["08:00"], days: [mon, fri]} or {cron: "0 8 * * mon-fri"}`)
	}
	if s.Cron != "" {
		if len(s.Days) > 0 {
			return nil, errors.New("days goes with at; cron has a field for them")
		}
		times, err := schedule.Cron(s.Cron, zone)
		if err != nil {
			return nil, fmt.Errorf("cron: %w", err)
		}
		return []*schedule.Times{times}, nil
	}
	if len(s.At) > maxDigestTimes {
		return nil, fmt.Errorf("at: %d times a day are too many, %d are the most", len(s.At), maxDigestTimes)
	}
	days := "*"
	if len(s.Days) > 0 {
		days = strings.Join(s.Days, ",")
	}
	var all []*schedule.Times
	for _, at := range s.At {
		clock, err := time.Parse("15:04", at)
		if err != nil {
			return nil, fmt.Errorf("at: %q is no time of a day such as 08:00", at)
		}
		times, err := schedule.Cron(fmt.Sprintf("%d %d * * %s", clock.Minute(), clock.Hour(), days), zone)
		if err != nil {
			return nil, fmt.Errorf("at: %w", err)
		}
		all = append(all, times)
	}
	return all, nil
}

// digestMark is what is kept of the last digest.
type digestMark struct {
	// At is the time up to which the schedule was looked at, Pos the place in the feed up
	// to which it was counted.
	At    time.Time `json:"at"`
	Pos   int64     `json:"pos"`
	Since time.Time `json:"since"` // when it was counted
	Times string    `json:"times"` // the schedule: another one begins now
}

// dueDigest looks which times of the schedules have come since a moment: the last of
// them, and how many there were. next is the first time to come.
func dueDigest(times []*schedule.Times, since, now time.Time) (last time.Time, n int, next time.Time) {
	for _, t := range times {
		if at, missed := t.Due(since, now); !at.IsZero() {
			if n += missed + 1; at.After(last) {
				last = at
			}
		}
		if at := t.Next(now); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return last, n, next
}

func digestKey(sink string) string { return statePrefix(sink) + "digest" }

func timesText(times []*schedule.Times) string {
	texts := make([]string, len(times))
	for i, t := range times {
		texts[i] = t.String()
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// digest makes the event that is due, and keeps in one Change with it that it was made:
// so there are not two for one time, and times that passed while nobody looked have one
// digest together. It returns when to look again.
func (r *Reports) digest(ctx context.Context, now time.Time) (next time.Time, err error) {
	if len(r.o.Digest) == 0 {
		return next, nil
	}
	key := digestKey(r.sink)
	var mark digestMark
	known, err := readValue(ctx, r.store, key, &mark)
	if err != nil && !errors.Is(err, errBadValue) {
		return next, err
	}
	text := timesText(r.o.Digest)
	if !known || mark.Times != text || mark.At.After(now.Add(clockTrust)) { // the clock was wrong then
		pos := mark.Pos
		if !known {
			if pos, err = r.store.FeedHead(ctx); err != nil {
				return next, err
			}
			mark.Since = now
		}
		mark = digestMark{At: now, Pos: pos, Since: mark.Since, Times: text}
		_, _, next = dueDigest(r.o.Digest, now, now)
		return next, r.keep(ctx, key, mark)
	}
	last, n, next := dueDigest(r.o.Digest, mark.At, now)
	if last.IsZero() {
		return next, nil
	}
	counts, err := r.tally(ctx, mark.Pos, r.o.When)
	if err != nil {
		return next, err
	}
	ev := soar.Event{
		ID: fmt.Sprintf("digest/%s/%s", r.sink, last.UTC().Format(time.RFC3339)), Type: soar.EventDigest, At: now.UTC(), To: r.sink,
		Text: digestText(counts, mark.Since, now, n-1),
	}
	return next, r.keep(ctx, key, digestMark{At: last, Pos: counts.pos, Since: now, Times: text}, ev)
}

// digestText says in words what was counted.
func digestText(c *feedCounts, since, now time.Time, missed int) string {
	lines := []string{fmt.Sprintf("From %s to %s: %s.", since.UTC().Format("2006-01-02 15:04"), now.UTC().Format("2006-01-02 15:04 UTC"), c.alertsText())}
	add := func(what string, of map[string]int, most int) {
		if text := topWords(of, most); text != "" {
			lines = append(lines, what+": "+text+".")
		}
	}
	if text := severityWords(c.severity); text != "" {
		lines = append(lines, "Severity: "+text+".")
	}
	add("Rules", c.rules, 10)
	add("Hosts", c.hosts, 10)
	add("By now", c.verdicts, 10)
	add("Runs", c.runs, 10)
	add("Steps", c.steps, 15)
	if missed > 0 {
		lines = append(lines, fmt.Sprintf("This makes up for %d that came due while erbridge did not run.", missed))
	}
	if c.more {
		lines = append(lines, fmt.Sprintf("More has happened than is counted at once: these are the first %d events of it, at least so many.", maxCounted))
	}
	return strings.Join(lines, "\n")
}

// severityWords are the counts of severities, the worst first.
func severityWords(of map[string]int) string {
	rank := func(word string) int {
		severity, _ := soar.ParseSeverity(word)
		return severity.Rank()
	}
	words := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(rank(b)-rank(a), strings.Compare(a, b))
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", of[word], word)
	}
	return strings.Join(words, ", ")
}

// topWords are the largest counts, and how much the others are together.
func topWords(of map[string]int, most int) string {
	words := make([]string, 0, len(of))
	for word := range of {
		words = append(words, word)
	}
	slices.SortFunc(words, func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	rest := 0
	for i, word := range words {
		if i >= most {
			rest += of[word]
		}
		words[i] = fmt.Sprintf("%d %s", of[word], word)
	}
	if len(words) > most {
		words = append(words[:most], fmt.Sprintf("%d from %d others", rest, len(of)-most))
	}
	return strings.Join(words, ", ")
}
