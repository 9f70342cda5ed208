package playbooks

import (
	"cmp"
	"maps"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// BacktestReport is what came of a backtest, in an order that is always the same.
type BacktestReport struct {
	// From and To are when the first and the last alert came in.
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	Alerts int       `json:"alerts"`
	Reads  bool      `json:"reads"` // whether anything was looked up
	// Baseline is what it was compared with: playbooks, live, or nothing.
	Baseline string             `json:"baseline,omitempty"`
	Results  []PlaybookBacktest `json:"playbooks"`
}

// PlaybookBacktest is what came of one playbook.
type PlaybookBacktest struct {
	Playbook string    `json:"playbook"`
	File     string    `json:"file"`
	Mode     soar.Mode `json:"mode"`
	// Change is what became of it since the baseline: added, removed, changed or same.
	// Without a baseline of playbooks, it is empty.
	Change string `json:"change,omitempty"`

	Matched    int `json:"matched"`    // the conditions hold
	Suppressed int `json:"suppressed"` // of these, held back by a cool-down
	Grouped    int `json:"grouped"`    // of these, joined to the run of an earlier one
	NotMatched int `json:"not_matched"`
	Errors     int `json:"errors"`
	Unknown    int `json:"unknown"` // a look-up would decide
	// FirstError is the first error, and the alert on which it occurred.
	FirstError string `json:"first_error,omitempty"`

	NewlyMatching    *AlertList `json:"newly_matching,omitempty"`
	NoLongerMatching *AlertList `json:"no_longer_matching,omitempty"`
	NewlyFailing     *AlertList `json:"newly_failing,omitempty"`
	// Uncertain counts alerts of which nobody knows whether anything changed.
	Uncertain int `json:"uncertain,omitempty"`

	// Actions are the calls of steps, by action.
	Actions []ActionCount `json:"actions"`
	// Guard are the checks that refuse calls, or let them wait.
	Guard     []GuardCount `json:"guard,omitempty"`
	Hosts     int          `json:"hosts"`     // distinct hosts of the runs
	Approvals int          `json:"approvals"` // calls that would ask a person
	// BusiestHour is the hour in which most runs would have started.
	BusiestHour *BusyHour `json:"busiest_hour,omitempty"`
}

// AlertList names alerts, up to a bound, in the order in which they came in.
type AlertList struct {
	Count  int      `json:"count"`
	Alerts []string `json:"alerts"`
}

// ActionCount counts the calls of an action.
type ActionCount struct {
	Action string `json:"action"`
	Effect Effect `json:"effect"`
	// Calls would have been made, or written down in observe mode, if all that they
	// follow succeeds.
	Calls int `json:"calls"`
	// Before is how many of them the baseline has.
	Before *int `json:"before,omitempty"`
	// Unknown are those of which only a run, or a look-up, can tell whether they are
	// made; OnFailure are made only when a call fails.
	Unknown   int `json:"unknown"`
	OnFailure int `json:"on_failure"`
	// Refused are those that the guard does not let go, and Held those that would wait for
	// it.
	Refused int `json:"refused,omitempty"`
	Held    int `json:"held,omitempty"`
}

// GuardCount counts the calls that a check of the guard refuses, or lets wait.
type GuardCount struct {
	Check   string `json:"check"`
	Refused int    `json:"refused,omitempty"`
	Held    int    `json:"held,omitempty"`
}

// stopped counts a call that the guard refuses or lets wait.
func (c *counts) stopped(n *ActionCount, s *PlannedStep) {
	check := s.Guard[len(s.Guard)-1].Check
	by := c.guard[check]
	by.Check = check
	if s.Plan == PlanHeld {
		n.Held++
		by.Held++
	} else {
		n.Refused++
		by.Refused++
	}
	c.guard[check] = by
}

// refusedBy reports whether the guard refuses a planned call, which is more than that it
// is written down in observe mode.
func (s *PlannedStep) refusedBy() bool {
	return s.Plan == PlanObserved && len(s.Guard) > 0 && s.Guard[len(s.Guard)-1].State == soar.StepRefused
}

// BusyHour is an hour, in UTC, and the runs in it.
type BusyHour struct {
	Hour time.Time `json:"hour"`
	Runs int       `json:"runs"`
}

// tally counts what comes of alerts, by playbook.
type tally struct {
	playbooks map[string]*counts
	listed    int
	alerts    int
	from, to  time.Time
	gone      map[string]*AlertList // matches of playbooks that only the baseline has
}

// counts are those of one playbook.
type counts struct {
	result  PlaybookBacktest
	pb      *Playbook
	actions map[string]*ActionCount
	guard   map[string]GuardCount // by check
	hosts   map[string]bool
	hours   map[time.Time]int
}

func newTally(set *Set, ceiling soar.Mode, listed int) *tally {
	t := &tally{playbooks: map[string]*counts{}, listed: listed, gone: map[string]*AlertList{}}
	for _, pb := range set.playbooks {
		c := &counts{
			result: PlaybookBacktest{Playbook: pb.Name, File: pb.File, Mode: pb.Mode}, pb: pb,
			actions: map[string]*ActionCount{}, guard: map[string]GuardCount{}, hosts: map[string]bool{}, hours: map[time.Time]int{},
		}
		if ceiling == soar.ModeObserve {
			c.result.Mode = ceiling
		}
		t.playbooks[pb.Name] = c
	}
	return t
}

func (t *tally) add(a *soar.StoredAlert, trials []*Trial) {
	t.alerts++
	if at := a.ReceivedAt.UTC(); t.from.IsZero() {
		t.from, t.to = at, at
	} else if at.After(t.to) {
		t.to = at
	}
	for _, one := range trials {
		t.playbooks[one.pb.Name].add(a, one)
	}
}

func (c *counts) add(a *soar.StoredAlert, t *Trial) {
	switch t.Verdict {
	case Suppressed:
		c.result.Matched++
		c.result.Suppressed++
	case Grouped:
		c.result.Matched++
		c.result.Grouped++
	case NoMatch:
		c.result.NotMatched++
	case Unknown:
		c.result.Unknown++
	case Failed:
		if c.result.Errors++; c.result.FirstError == "" {
			c.result.FirstError = a.Alert.Ref() + ": " + t.Words
		}
	case Match:
		c.result.Matched++
		c.hosts[hostOf(&a.Alert)] = true
		c.hours[a.ReceivedAt.UTC().Truncate(time.Hour)]++
		for i := range t.Steps {
			c.step(&t.Steps[i])
		}
	}
}

// hostOf names the host of an alert, by what is known of it.
func hostOf(a *soar.Alert) string {
	return cmp.Or(a.Host.Identifier, a.Host.Name, a.Server+"/"+strconv.FormatInt(a.Host.ID, 10))
}

func (c *counts) step(s *PlannedStep) {
	if s.Action == "" {
		return
	}
	n := c.actions[s.Action]
	if n == nil {
		n = &ActionCount{Action: s.Action, Effect: s.Effect}
		c.actions[s.Action] = n
	}
	switch {
	case s.Plan == PlanAsks:
		n.Calls++
		c.result.Approvals++
	case s.refusedBy(), s.Plan == PlanHeld && len(s.Guard) > 0:
		c.stopped(n, s)
	case s.Plan == PlanSent, s.Plan == PlanObserved, s.Plan == PlanReads, s.made:
		n.Calls++
	case s.Plan == PlanUnknown:
		n.Unknown++
	case s.Plan == PlanOnFailure:
		n.OnFailure++
	}
}

// compare holds what the playbooks make of an alert against what they made of it earlier.
func (t *tally) compare(a *soar.StoredAlert, now, earlier []*Trial) {
	was, ref := map[string]*Trial{}, a.Alert.Ref()
	for _, one := range earlier {
		was[one.pb.Name] = one
		if t.playbooks[one.pb.Name] == nil && one.holds() {
			gone := t.gone[one.pb.Name]
			t.name(&gone, ref)
			t.gone[one.pb.Name] = gone
		}
	}
	for _, one := range now {
		r := &t.playbooks[one.pb.Name].result
		before := was[one.pb.Name]
		if before == nil {
			before = &Trial{Verdict: NoMatch} // there was no such playbook
		}
		switch {
		case one.Verdict == Unknown || before.Verdict == Unknown:
			r.Uncertain++
		case one.holds() && !before.holds():
			t.name(&r.NewlyMatching, ref)
		case before.holds() && !one.holds():
			t.name(&r.NoLongerMatching, ref)
		}
		if one.Verdict == Failed && before.Verdict != Failed {
			t.name(&r.NewlyFailing, ref)
		}
	}
}

func (t *tally) name(list **AlertList, ref string) {
	if *list == nil {
		*list = &AlertList{}
	}
	if (*list).Count++; len((*list).Alerts) < t.listed {
		(*list).Alerts = append((*list).Alerts, ref)
	}
}

// report is what came of the playbook; earlier is nil when there was none of its name.
func (c *counts) report(baseline string, earlier *counts) PlaybookBacktest {
	r := c.result
	r.Actions, r.Hosts = []ActionCount{}, len(c.hosts)
	known := c.actions
	switch {
	case baseline != "playbooks":
	case earlier == nil:
		r.Change = "added"
	case earlier.pb.Hash == c.pb.Hash:
		r.Change = "same"
	default:
		r.Change = "changed"
	}
	if earlier != nil {
		known = maps.Clone(known)
		for name, n := range earlier.actions {
			if known[name] == nil {
				known[name] = &ActionCount{Action: name, Effect: n.Effect}
			}
		}
	}
	for _, name := range sortedNames(known) {
		n := *known[name]
		if baseline == "playbooks" {
			before := 0
			if earlier != nil && earlier.actions[name] != nil {
				before = earlier.actions[name].Calls
			}
			n.Before = &before
		}
		r.Actions = append(r.Actions, n)
	}
	for _, check := range sortedNames(c.guard) {
		r.Guard = append(r.Guard, c.guard[check])
	}
	for hour, runs := range c.hours {
		if b := r.BusiestHour; b == nil || runs > b.Runs || runs == b.Runs && hour.Before(b.Hour) {
			r.BusiestHour = &BusyHour{hour, runs}
		}
	}
	return r
}

// removed is what became of a playbook that the baseline has, and that is no more.
func (c *counts) removed(matched *AlertList) PlaybookBacktest {
	r := PlaybookBacktest{Playbook: c.result.Playbook, File: c.result.File, Mode: c.result.Mode, Change: "removed", NoLongerMatching: matched, Actions: []ActionCount{}}
	for _, name := range sortedNames(c.actions) {
		n := c.actions[name]
		before := n.Calls
		r.Actions = append(r.Actions, ActionCount{Action: name, Effect: n.Effect, Before: &before})
	}
	return r
}
