package sinks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	// digestFor is how long one digest message goes on being edited.
	digestFor = 10 * time.Minute
	// digestNames bounds how many rules and hosts a digest tells apart.
	digestNames = 500
	// digestTop is how many rules are listed.
	digestTop = 10
)

// slackDigest counts alerts that have no message of their own.
type slackDigest struct {
	place
	Begun      time.Time      `json:"begun"` // when it was posted
	From       time.Time      `json:"from"`
	To         time.Time      `json:"to"`
	Alerts     int            `json:"alerts"`
	Severities map[string]int `json:"severities,omitempty"`
	Titles     map[string]int `json:"titles,omitempty"`
	Hosts      map[string]int `json:"hosts,omitempty"`
	Steps      map[string]int `json:"steps,omitempty"`
	Runs       map[string]int `json:"runs,omitempty"`
	// Last are the events of the last batch that was counted. A crash before the
	// cursor moves repeats that batch.
	Last []string `json:"last,omitempty"`
}

// digest counts a piece in the message of these minutes.
func (s *slackSink) digest(ctx context.Context, p *slackPiece) error {
	text, err := s.memory.recall(ctx, "digest", 2*digestFor)
	if err != nil {
		return err
	}
	var d slackDigest
	if text != "" {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			d = slackDigest{} // it was written by something else
		}
	}
	fresh := slices.DeleteFunc(slices.Clone(p.events), func(ev *soar.Event) bool { return slices.Contains(d.Last, ev.ID) })
	if len(fresh) == 0 {
		return nil
	}
	if s.now().Sub(d.Begun) > digestFor {
		d = slackDigest{Begun: s.now().UTC()}
	}
	d.Last = nil
	for _, ev := range fresh {
		d.count(ev)
		d.Last = append(d.Last, ev.ID)
	}
	changed := false
	if d.TS != "" {
		if changed, err = s.update(ctx, d.place, d.card()); err != nil {
			return err
		}
	}
	if !changed {
		if d.place, err = s.post(ctx, d.card(), "", place{}, false); err != nil {
			return err
		}
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.memory.remember(ctx, "digest", string(data), 2*digestFor)
}

func slackCount(m *map[string]int, name string) {
	if *m == nil {
		*m = map[string]int{}
	}
	if _, known := (*m)[name]; !known && len(*m) >= digestNames {
		name = "others"
	}
	(*m)[name]++
}

func (d *slackDigest) count(ev *soar.Event) {
	if d.From.IsZero() || ev.At.Before(d.From) {
		d.From = ev.At
	}
	if ev.At.After(d.To) {
		d.To = ev.At
	}
	switch {
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		d.Alerts++
		slackCount(&d.Severities, string(ev.Alert.Severity))
		slackCount(&d.Titles, ev.Alert.Title())
		slackCount(&d.Hosts, hostCalled(ev.Alert))
	case ev.Outcome != nil:
		slackCount(&d.Steps, ev.Outcome.Action+" "+outcomeWord(ev.Outcome))
	case ev.Type == soar.EventRunFinished && ev.Run != nil:
		slackCount(&d.Runs, string(ev.Run.State))
	}
}

// card is the digest as a message.
func (d *slackDigest) card() card {
	title := fmt.Sprintf("🗂️ %d alerts on %s, too many for a message each", d.Alerts, countOf(len(d.Hosts), "host"))
	var severities []string
	for _, s := range []soar.Severity{soar.SeverityCritical, soar.SeverityHigh, soar.SeverityMedium, soar.SeverityLow, soar.SeverityInfo} {
		if n := d.Severities[string(s)]; n > 0 {
			severities = append(severities, fmt.Sprintf("%s %d %s", severitySign(s), n, s))
		}
	}
	c := card{text: fit(title, slackTextMax)}
	c.header(title)
	lines := []string{fmt.Sprintf("%s to %s UTC", d.From.UTC().Format("2006-01-02 15:04:05"), d.To.UTC().Format("15:04:05"))}
	if len(severities) > 0 {
		lines = append(lines, strings.Join(severities, "   "))
	}
	titles := most(d.Titles)
	for _, name := range titles[:min(digestTop, len(titles))] {
		lines = append(lines, fmt.Sprintf("• %s ×%d", fit(name, 120), d.Titles[name]))
	}
	if more := len(titles) - digestTop; more > 0 {
		lines = append(lines, fmt.Sprintf("• and %d other rules", more))
	}
	c.section(strings.Join(lines, "\n"))
	if text := countsLine(d.Runs, d.Steps); text != "" {
		c.section(text)
	}
	c.context("All of them: `erbridge alerts list`")
	return c
}

// countsLine says what became of alerts without a message of their own.
func countsLine(runs, steps map[string]int) string {
	var parts []string
	for _, group := range []struct {
		what   string
		counts map[string]int
	}{{"runs", runs}, {"actions", steps}} {
		var words []string
		for _, name := range most(group.counts) {
			if len(words) == digestTop {
				words = append(words, "…")
				break
			}
			words = append(words, fmt.Sprintf("%s ×%d", fit(name, 80), group.counts[name]))
		}
		if len(words) > 0 {
			parts = append(parts, "*"+group.what+"* "+strings.Join(words, ", "))
		}
	}
	return strings.Join(parts, "\n")
}

// most are the names, the one that is counted most first.
func most(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// countOf is a number with its word.
func countOf(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
