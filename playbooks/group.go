package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
)

// A group is one run for like alerts. The first match opens it: its run is in the
// journal from then on and waits until the window ends. Matches with the same key
// join until then, and start no run of their own. When the window ends nobody can
// join any more, the run notes in its journal who did, and begins its steps.

const (
	maxGroupWindow = 24 * time.Hour
	// maxGroupAlerts bounds .alerts; .group.count counts them all.
	maxGroupAlerts = 100

	groupPrefix  = "group/"   // + mode/playbook/key: the run of an open group
	joinedPrefix = "grouped/" // + run/alert: alerts that joined, until the run notes them
	// keepJoined is how long a run that waits may wait longer than its window, such
	// as for erbridge to be started again.
	keepJoined = 90 * 24 * time.Hour
)

type groupRule struct {
	by     []*expr
	window time.Duration
}

// group reads the rule; by is one expression or a list of them.
func (l *loader) group(by *yaml.Node, window time.Duration) {
	if by.Kind == 0 || window == 0 {
		return // said already
	}
	rule := &groupRule{window: window}
	if window < time.Second || window > maxGroupWindow {
		l.problems.Addf(l.at(by), "range", "", "group.window must be between 1s and 24h")
	}
	if !l.pb.takesAlerts() {
		l.problems.Addf(l.at(by), "on", "", "group needs alerts: on has neither alert nor alert.updated")
	}
	for _, item := range l.keys(by) {
		rule.by = append(rule.by, l.expr(item, l.scope("cooldown.key")))
	}
	l.pb.group = rule
}

// keys are the expressions of cooldown and group.
func (p *Playbook) keys() (keys []*expr) {
	if p.group != nil {
		keys = slices.Clone(p.group.by)
	}
	if p.cooldown != nil {
		keys = append(keys, p.cooldown.key)
	}
	return keys
}

// comesInGroups reports whether what starts runs is put together in groups: alerts are,
// and neither a failed run nor what a person wants now.
func comesInGroups(on string) bool { return on == pendingAlert || on == pendingUpdated }

// groups knows the open groups. It is exact as cooldowns is: a group counts once
// its run is on disk, and closes only when all that were joining are.
type groups struct {
	mu   sync.Mutex
	open map[string]*openGroup     // by KV key; guarded by mu
	runs map[soar.RunID]*openGroup // guarded by mu
}

type openGroup struct {
	run     soar.RunID
	until   time.Time
	opening chan struct{} // open while its run is being committed; guarded by groups.mu
	joining int           // alerts that are being committed; guarded by groups.mu
	idle    chan struct{} // closed when joining is 0 again; guarded by groups.mu
}

func (g *groups) load(kvs []soar.KV) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.runs = map[string]*openGroup{}, map[soar.RunID]*openGroup{}
	for _, kv := range kvs {
		id, err := soar.ParseRunID(kv.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		g.open[kv.Key] = &openGroup{run: id, until: kv.Expires}
		g.runs[id] = g.open[kv.Key]
	}
	return nil
}

// stillOpen leaves out groups whose run has begun or is gone: when the clock was put
// back while erbridge was stopped, their windows seem to be open, and who joined would
// never be heard of.
func (e *Engine) stillOpen(ctx context.Context, kvs []soar.KV) (open []soar.KV, err error) {
	for _, kv := range kvs {
		id, err := soar.ParseRunID(kv.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		run, err := e.journal.GetRun(ctx, id)
		if errors.Is(err, soar.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		entries, err := e.journal.Entries(ctx, id)
		if err != nil {
			return nil, err
		}
		if run.State == soar.RunWaiting && !slices.ContainsFunc(entries, notesMembers) {
			open = append(open, kv)
		}
	}
	return open, nil
}

// notesMembers reports whether an entry says who joined a group.
func notesMembers(entry soar.Entry) bool {
	var began BeganNote
	return entry.Kind == soar.EntryNote && entry.Step == "" && json.Unmarshal(entry.Body, &began) == nil && began.Members != nil
}

// enter joins the open group under key, or opens one for run. Joined is the group's
// run and window; zero when it was opened. Settle must be called once, with whether
// that is on disk. Groups of several keys must be entered in the order of playbook
// names.
func (g *groups) enter(ctx context.Context, key string, run soar.RunID, now, until time.Time) (joined soar.RunID, end time.Time, settle func(kept bool), err error) {
	for {
		g.mu.Lock()
		if g.open == nil {
			g.open, g.runs = map[string]*openGroup{}, map[soar.RunID]*openGroup{}
		}
		current := g.open[key]
		switch {
		case current == nil || current.opening == nil && !now.Before(current.until):
			mine := &openGroup{run: run, until: until, opening: make(chan struct{})}
			g.open[key], g.runs[run] = mine, mine
			g.mu.Unlock()
			return 0, until, func(kept bool) { g.opened(key, mine, kept) }, nil
		case current.opening == nil:
			if current.joining++; current.idle == nil {
				current.idle = make(chan struct{})
			}
			g.mu.Unlock()
			return current.run, current.until, func(bool) { g.joined(current) }, nil
		}
		opening := current.opening
		g.mu.Unlock()
		select {
		case <-opening:
		case <-ctx.Done():
			return 0, time.Time{}, nil, context.Cause(ctx)
		}
	}
}

func (g *groups) opened(key string, mine *openGroup, kept bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(mine.opening)
	mine.opening = nil
	if !kept {
		delete(g.runs, mine.run)
		if g.open[key] == mine {
			delete(g.open, key)
		}
	}
}

func (g *groups) joined(current *openGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if current.joining--; current.joining == 0 {
		close(current.idle)
		current.idle = nil
	}
}

// seal closes the group of a run and waits until all that joined are on disk.
func (g *groups) seal(ctx context.Context, run soar.RunID) error {
	for {
		g.mu.Lock()
		current := g.runs[run]
		if current == nil {
			g.mu.Unlock()
			return nil
		}
		for key, o := range g.open {
			if o == current {
				delete(g.open, key) // the next match opens another
			}
		}
		idle := current.idle
		if idle == nil {
			delete(g.runs, run)
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func joinedKey(run soar.RunID, alert int64) string {
	return joinedPrefix + run.String() + "/" + strconv.FormatInt(alert, 10)
}

// gather closes the group of a run whose window has ended, and notes who joined. A
// crash before the note is on disk repeats it: nobody joins in between.
func (r *runner) gather(ctx context.Context) error {
	if r.group == nil {
		return nil
	}
	if r.members == nil {
		if err := r.e.groups.seal(ctx, r.run.ID); err != nil {
			return err
		}
		kvs, err := r.e.journal.KV(ctx, joinedPrefix+r.run.ID.String()+"/")
		if err != nil {
			return err
		}
		r.members = []int64{r.run.AlertKey}
		for _, kv := range kvs {
			_, text, _ := strings.Cut(strings.TrimPrefix(kv.Key, joinedPrefix), "/")
			key, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("%w: alert of a group: %w", errBrokenRun, err)
			}
			if !slices.Contains(r.members, key) {
				r.members = append(r.members, key)
			}
			r.change.KV = append(r.change.KV, soar.KV{Key: kv.Key})
		}
		slices.Sort(r.members)
		r.entry("", soar.EntryNote, "", BeganNote{Text: count(len(r.members), "alert") + " in the group", Members: r.members})
	}
	alerts := make([]any, 0, min(len(r.members), maxGroupAlerts))
	for _, key := range r.members[:min(len(r.members), maxGroupAlerts)] {
		if key == r.run.AlertKey {
			alerts = append(alerts, r.plain)
			continue
		}
		stored, err := r.e.journal.AlertByKey(ctx, key)
		if errors.Is(err, soar.ErrNotFound) {
			continue // retention took it
		} else if err != nil {
			return err
		}
		plain, err := plainAlert(&stored.Alert)
		if err != nil {
			return fmt.Errorf("%w: %w", errBrokenRun, err)
		}
		alerts = append(alerts, plain)
	}
	r.found.extra = withGroup(r.found.extra, alerts, len(r.members), r.group.Key)
	return nil
}

// withGroup adds what steps see of a group.
func withGroup(extra map[string]any, alerts []any, n int, key string) map[string]any {
	out := map[string]any{}
	maps.Copy(out, extra)
	out["alerts"], out["group"] = alerts, map[string]any{"count": float64(n), "key": orNull(key)}
	return out
}

// alone is withGroup for a run that nobody joins: one that a person started, or one
// that is explained.
func alone(extra, plain map[string]any) map[string]any {
	if plain == nil {
		return withGroup(extra, []any{}, 0, "")
	}
	return withGroup(extra, []any{plain}, 1, "")
}
