package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
)

// GroupSettings put like alerts together.
type GroupSettings struct {
	// By is what alerts have in common that are put together: rule, host, severity,
	// source, server, or jq expressions on the event as `when` has it, such as
	// '.alert.event.sha256'. Without it, alerts of the same rule are put together.
	By []string `yaml:"by"`

	// Window is how long a group takes in alerts, from its first one. The next like
	// alert begins a new group.
	Window time.Duration `yaml:"window"`

	// Update is how often at most the receiver is told how many there are by now.
	Update time.Duration `yaml:"update"`
}

// SetDefaults is called before the section is read.
func (s *GroupSettings) SetDefaults() { *s = DefaultGroup() }

// DefaultGroup is what `group: {}` means.
func DefaultGroup() GroupSettings {
	return GroupSettings{By: []string{"rule"}, Window: 10 * time.Minute, Update: 10 * time.Second}
}

// GroupKey is one thing that like alerts have in common.
type GroupKey func(ctx context.Context, ev *soar.Event) (string, error)

// Compile reads what alerts have in common. An error names the one that it is about.
func (s *GroupSettings) Compile() ([]GroupKey, error) {
	var keys []GroupKey
	var problems []error
	for _, by := range s.By {
		if of, ok := groupWords[by]; ok {
			keys = append(keys, func(_ context.Context, ev *soar.Event) (string, error) { return of(ev.Alert), nil })
			continue
		}
		if !strings.ContainsAny(by, ".|(\"[{@") {
			problems = append(problems, fmt.Errorf("by: %q is none of rule, host, severity, source, server, and no jq expression such as .alert.event.sha256", by))
			continue
		}
		program, err := jq.Compile(by, jq.WithFunction("at_least", 1, 1, atLeast))
		if err != nil {
			problems = append(problems, fmt.Errorf("by: %s: %w", by, err))
			continue
		}
		keys = append(keys, func(ctx context.Context, ev *soar.Event) (string, error) { return groupValue(ctx, program, ev) })
	}
	return keys, errors.Join(problems...)
}

var groupWords = map[string]func(*soar.Alert) string{
	"rule":     (*soar.Alert).Title,
	"host":     hostCalled,
	"severity": func(a *soar.Alert) string { return string(a.Severity) },
	"source":   func(a *soar.Alert) string { return a.Source },
	"server":   func(a *soar.Alert) string { return a.Server },
}

// groupValue is what an expression makes of an event, as text.
func groupValue(ctx context.Context, program *jq.Program, ev *soar.Event) (string, error) {
	plain, err := soar.Plain(ev)
	if err != nil {
		return "", err
	}
	value, err := program.Value(ctx, plain)
	if err != nil {
		return "", err
	}
	if text, ok := value.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(value)
	return string(data), err
}

// GroupOptions tell a forwarder what to put together. The zero value does nothing.
type GroupOptions struct {
	// By, Window and Update are those of GroupSettings, By compiled; nil groups nothing.
	By             []GroupKey
	Window, Update time.Duration
	// Storm is how many like alerts a minute are delivered one by one; 0: all.
	Storm int
	// StormUpdate is how soon the receiver is told of more in a storm. The time doubles
	// with every update.
	StormUpdate time.Duration
	// Silences are asked about every event of an alert; nil for none.
	Silences *Silences
}

func (o *GroupOptions) off() bool { return o.By == nil && o.Storm == 0 && o.Silences == nil }

// verdict is what becomes of an event.
type verdict int

const (
	goesOut verdict = iota // it is delivered
	counted                // it is counted, and not delivered
	onHold                 // it is too early to say
)

// tickEvery is how often at most groups are looked over for what is due.
const tickEvery = 250 * time.Millisecond

// clockSlip is how far a clock may go back without a group ending for it.
const clockSlip = time.Second

// updateLost is when an update counts as lost that never came by.
const updateLost = 10 * time.Minute

// grouper decides for one forwarder which alerts are delivered, and which are counted
// in the group of one that was. Only the forwarder's goroutine uses it.
//
// What it remembers follows from the events it was shown. It is kept twice: ahead is
// as of the last event that was looked at, kept is as of the cursor and goes into the
// store in the Change that moves it. So a crash between any two commits neither loses
// a count nor counts anything twice.
type grouper struct {
	sink   string
	o      GroupOptions
	redact func(soar.Event) soar.Event // nil takes out nothing
	log    *slog.Logger

	ahead, kept *groups
	series      map[string]*series // by kin
	ticked      time.Time
	jqFailed    bool
}

func newGrouper(sink string, o GroupOptions, redact func(soar.Event) soar.Event, log *slog.Logger) *grouper {
	return &grouper{sink: sink, o: o, redact: redact, log: log, ahead: newGroups(), kept: newGroups(), series: map[string]*series{}}
}

// load reads what the store has. What cannot be read is forgotten, and told in an error
// that wraps errBadValue.
func (g *grouper) load(ctx context.Context, kv KV) error {
	if kv == nil || g.o.off() {
		return nil
	}
	g.ahead, g.kept = newGroups(), newGroups()
	var problems []error
	for _, place := range []string{groupPlace, silencedPlace} {
		kvs, err := kv.KV(ctx, statePrefix(g.sink)+place)
		if err != nil {
			return err
		}
		problems = append(problems, g.kept.load(g.sink, kvs))
		_ = g.ahead.load(g.sink, kvs) // the same mistakes
	}
	return errors.Join(problems...)
}

// keep adds to a Change what goes into the store with the cursor.
func (g *grouper) keep(c *soar.Change, now time.Time) {
	kvs, err := g.kept.unsaved(g.sink, now)
	if err != nil { // texts, numbers and times go into JSON
		g.log.Error("groups are not kept as they are", "err", err)
	}
	c.KV = append(c.KV, kvs...)
}

// saved is called when such a Change is on disk.
func (g *grouper) saved() { clear(g.kept.dirty) }

// look decides about an event that the sink wants. rest are those behind it in the
// feed, and wanted tells which of them the sink wants. The effects are to be handed to
// settled once the event is; the event may get its group.
func (g *grouper) look(ctx context.Context, ev *soar.Event, rest []soar.Event, wanted func(*soar.Event) bool, now time.Time) (verdict, []effect) {
	if g.o.off() {
		return goesOut, nil
	}
	var effects []effect
	what := goesOut
	switch {
	case ev.Type == soar.EventAlertGrouped:
		effects = g.passed(ev)
	case ev.Alert == nil:
	default:
		var silent bool
		if effects, silent = g.silence(ev); silent {
			what = counted
			break
		}
		if ev.Type == soar.EventAlertReceived && ev.To == "" {
			what, effects = g.received(ctx, ev, rest, wanted, now)
		} else {
			what, effects = g.member(ctx, ev)
		}
	}
	if what == onHold {
		return onHold, nil
	}
	for _, do := range effects {
		do(g.ahead)
	}
	clear(g.ahead.dirty)
	return what, effects
}

// settled is called when the cursor passes an event.
func (g *grouper) settled(effects []effect) {
	for _, do := range effects {
		do(g.kept)
	}
}

// both does something that no event of the feed does. It is called between batches,
// when ahead and kept are alike.
func (g *grouper) both(do effect) {
	do(g.ahead)
	clear(g.ahead.dirty)
	do(g.kept)
}

// clean is an event of an alert as the receiver may know it. What is told of a group goes
// through it, since the words of a group are told with its first alert only: by that alone
// nobody could take out what stood in the others.
func (g *grouper) clean(ev *soar.Event) *soar.Event {
	if g.redact == nil {
		return ev
	}
	clean := g.redact(*ev)
	return &clean
}

// kinOf is what the configuration says that an alert has in common with others; ok is
// false when it groups nothing, or the alert has no answer.
func (g *grouper) kinOf(ctx context.Context, ev *soar.Event) (kin string, ok bool) {
	if g.o.By == nil {
		return "", false
	}
	parts := make([]string, len(g.o.By))
	for i, by := range g.o.By {
		var err error
		if parts[i], err = by(ctx, ev); err != nil {
			if !g.jqFailed {
				g.log.Warn("group.by cannot be evaluated, such alerts are delivered one by one", "event", ev.ID, "err", err)
			}
			g.jqFailed = true
			return "", false
		}
	}
	return "by\x00" + strings.Join(parts, "\x00"), true
}

// keyOf is the same for people.
func (g *grouper) keyOf(ctx context.Context, ev *soar.Event) string {
	ev = g.clean(ev)
	var parts []string
	for _, by := range g.o.By {
		if part, err := by(ctx, ev); err == nil { // else what it reads was taken out
			parts = append(parts, part)
		}
	}
	return shortKey(parts)
}

// likeKin is what alerts of a storm have in common.
func likeKin(a *soar.Alert) string { return "like\x00" + a.Source + "\x00" + a.Title() }

func shortKey(parts []string) string {
	text := strings.ToValidUTF8(strings.Join(parts, ", "), "\ufffd")
	if runes := []rune(text); len(runes) > maxKeyRunes {
		text = string(runes[:maxKeyRunes]) + "…"
	}
	return text
}

// received decides about a new alert.
func (g *grouper) received(ctx context.Context, ev *soar.Event, rest []soar.Event, wanted func(*soar.Event) bool, now time.Time) (verdict, []effect) {
	kin, grouping := g.kinOf(ctx, ev)
	var effects []effect
	join := func(kin string) bool {
		open := g.ahead.newest(kin)
		if open == nil || !open.Closed.IsZero() {
			return false
		}
		if !ev.At.Before(open.Ends) {
			effects = append(effects, change(open.name(), func(o *gathered) { o.close(ev.At) }))
			return false
		}
		effects = append(effects, g.joined(open, ev))
		return true
	}
	if grouping && join(kin) {
		return counted, effects
	}
	full := len(g.ahead.all) >= maxGroups
	if g.o.Storm > 0 {
		like := likeKin(ev.Alert)
		if join(like) {
			return counted, effects
		}
		if !full {
			what, storm := g.pace(like, ev, rest, wanted, now)
			if what != goesOut {
				return what, append(effects, storm...)
			}
		}
	}
	if grouping && !full {
		head := gathered{
			Key: g.keyOf(ctx, ev), Kin: kin, Head: ev.Alert.Ref(), HeadEvent: ev.ID, HeadKey: ev.AlertKey,
			First: ev.At, Last: ev.At, Ends: ev.At.Add(g.o.Window), Count: 1, ToldAt: now,
		}
		head.addHost(g.hostOf(ev, nil))
		ev.Group = head.tell()
		effects = append(effects, begin(head))
	}
	return goesOut, effects
}

// joined is the effect of one more alert.
func (g *grouper) joined(open *gathered, ev *soar.Event) effect {
	key, host, at := ev.AlertKey, g.hostOf(ev, open), ev.At
	return change(open.name(), func(o *gathered) {
		o.add(key, host, at)
		if o.Storm { // it goes on until it is quiet
			o.Ends = earlier(at.Add(stormQuiet), o.First.Add(stormLongest))
		}
	})
}

// hostOf is the host of an alert. Its name is looked for only where a group, if there is
// one, has room for it.
func (g *grouper) hostOf(ev *soar.Event, in *gathered) groupHost {
	h := groupHost{called: hostCalled(ev.Alert)}
	if h.called != "" && (in == nil || len(in.Names) < maxNames && !in.Hosts.has(h.called)) {
		h.shown = hostCalled(g.clean(ev).Alert)
	}
	return h
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (g *gathered) close(at time.Time) {
	if g.Closed.IsZero() {
		g.Closed = at
		g.News++
	}
}

// passed notes that an update came by.
func (g *grouper) passed(ev *soar.Event) []effect {
	for name, one := range g.ahead.all {
		if one.Waiting && one.updateID(one.Updates) == ev.ID {
			return []effect{change(name, func(o *gathered) { o.Waiting = false })}
		}
	}
	return nil
}

// tick returns the updates that are due, and what has to happen with them in one
// Change. All of the feed before reached was looked at: a group whose time ended by then
// has ended.
func (g *grouper) tick(now, reached time.Time) []soar.Event {
	if g.o.off() || now.Sub(g.ticked) < tickEvery && now.After(g.ticked) {
		return nil
	}
	g.ticked = now
	events := g.endedSilences(now)
	for name, one := range g.ahead.all {
		if one.Closed.IsZero() && !reached.Before(one.Ends) {
			g.both(change(name, func(o *gathered) { o.close(now) }))
		}
		if one.ToldAt.After(now.Add(clockSlip)) { // the clock was put back: this group has no times to go by
			g.both(change(name, func(o *gathered) {
				o.close(now)
				o.ToldAt = now.Add(-clockSlip)
			}))
		}
		switch {
		case !one.Closed.IsZero() && (one.Count == 1 || now.Sub(one.Closed) >= keepClosed && one.News == one.Told):
			g.both(forget(name))
		case g.due(one, now):
			events = append(events, g.update(one, now))
		}
	}
	g.dropClosed()
	slices.SortFunc(events, func(a, b soar.Event) int { return strings.Compare(a.ID, b.ID) })
	return events
}

// due reports whether the receiver is to be told how a group does.
func (g *grouper) due(one *gathered, now time.Time) bool {
	if one.News == one.Told || one.Waiting && now.Sub(one.ToldAt) < updateLost {
		return false
	}
	return !now.Before(g.dueAt(one))
}

func (g *grouper) dueAt(one *gathered) time.Time {
	if !one.Closed.IsZero() && one.Closed.After(one.ToldAt) {
		return one.ToldAt // the last word on its alerts is told at once
	}
	if !one.Storm {
		return one.ToldAt.Add(g.o.Update)
	}
	return one.ToldAt.Add(doubled(g.o.StormUpdate, max(stormSlowest, g.o.StormUpdate), one.Updates+1))
}

// update makes the event that tells how a group does.
func (g *grouper) update(one *gathered, now time.Time) soar.Event {
	g.both(change(one.name(), func(o *gathered) {
		o.Told, o.ToldAt, o.Waiting = o.News, now, true
		o.Updates++
	}))
	return soar.Event{
		ID: one.updateID(one.Updates), Type: soar.EventAlertGrouped, At: now.UTC(), AlertKey: one.HeadKey,
		Group: one.tell(), To: g.sink, Text: groupText(one),
	}
}

// dropClosed keeps the groups that have ended within their bound.
func (g *grouper) dropClosed() {
	var ended []*gathered
	for _, one := range g.ahead.all {
		if !one.Closed.IsZero() && one.News == one.Told {
			ended = append(ended, one)
		}
	}
	if len(ended) <= maxClosed {
		return
	}
	slices.SortFunc(ended, func(a, b *gathered) int { return a.Closed.Compare(b.Closed) })
	for _, one := range ended[:len(ended)-maxClosed] {
		g.both(forget(one.name()))
	}
}

// next is when tick has something to do; zero when nothing is due by itself.
func (g *grouper) next(now time.Time) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, one := range g.ahead.all {
		switch {
		case one.News > one.Told && one.Waiting:
			sooner(one.ToldAt.Add(updateLost))
		case one.News > one.Told:
			sooner(g.dueAt(one))
		}
		if one.Closed.IsZero() {
			sooner(one.Ends)
		} else if one.News == one.Told {
			sooner(one.Closed.Add(keepClosed))
		}
	}
	if len(g.ahead.silenced) > 0 {
		sooner(now.Add(time.Second)) // a person may end a silence at any time
	}
	if !at.IsZero() && at.Before(now.Add(tickEvery)) {
		at = now.Add(tickEvery)
	}
	return at
}

// groupText says in words how a group does, for receivers that show nothing else.
func groupText(g *gathered) string {
	text := fmt.Sprintf("%d alerts like %s so far", g.Count, g.Head)
	if !g.Closed.IsZero() {
		text = fmt.Sprintf("%d alerts like %s in all", g.Count, g.Head)
	}
	switch {
	case len(g.Hosts) >= maxHosts:
		text += fmt.Sprintf(", on %d hosts or more", maxHosts)
	case len(g.Hosts) > 1:
		text += fmt.Sprintf(", on %d hosts", len(g.Hosts))
	case len(g.Names) == 1:
		text += ", on " + g.Names[0]
	}
	text += fmt.Sprintf(", from %s to %s.", g.First.UTC().Format(time.TimeOnly), g.Last.UTC().Format(time.TimeOnly+" UTC"))
	for _, part := range []struct {
		what string
		of   map[string]int
	}{{"Steps", g.Steps}, {"Runs", g.Runs}} {
		if len(part.of) > 0 {
			text += " " + part.what + ": " + countWords(part.of) + "."
		}
	}
	return text
}

// countWords is a list of counts, the largest first.
func countWords(of map[string]int) string {
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
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", of[word], word)
	}
	return strings.Join(words, ", ")
}
