package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Explanation tells what a playbook makes of an alert, or of something else that
// starts runs, and why.
type Explanation struct {
	Playbook string `json:"playbook"`
	// On is what it is asked about, one of Triggers.
	On    string `json:"on"`
	Alert string `json:"alert,omitempty"` // Alert.Ref; empty when there is none
	// At is the time of a schedule, and Next are those after it.
	At     time.Time   `json:"at,omitzero"`
	Next   []time.Time `json:"next,omitempty"`
	Failed string      `json:"failed_run,omitempty"`
	// Verdict is one of those of the engine, or Unknown.
	Verdict    Verdict     `json:"verdict"`
	Error      string      `json:"error,omitempty"`
	Conditions []Condition `json:"conditions"`
	// Closest names the one condition that stands against a match, when it is one.
	Closest string `json:"closest,omitempty"`
	// Against lists all that stands against a match.
	Against []string `json:"against,omitempty"`
	// Enrich holds what was read, EnrichErrors what could not be.
	Enrich       map[string]any `json:"enrich,omitempty"`
	EnrichErrors map[string]any `json:"enrich_errors,omitempty"`
	// EnrichStatus tells how each look-up went, the host record's too.
	EnrichStatus map[string]any `json:"enrich_status,omitempty"`
	Guard        []Answer       `json:"guard"`
	// Steps are the steps as far as they can be told before the run.
	Steps []PlannedStep `json:"steps"`
	// Run is the id that stands for that of the run in the arguments of steps.
	Run soar.RunID `json:"-"`
}

// PlannedStep is what a step would do. With is nil, and Words says why, when that
// is decided only while the run goes on.
type PlannedStep struct {
	StepInfo
	Plan  Plan           `json:"plan"`
	Words string         `json:"words"`
	With  map[string]any `json:"with,omitempty"`
	// Guard are the answers of the guard about its call, up to the one that decides.
	Guard []Answer `json:"guard,omitempty"`
	// TakenBack says when its effect is taken back by itself; empty: it is not.
	TakenBack string `json:"taken_back,omitempty"`

	made bool // of PlanUnknown: the call is made, and only its arguments are not known
}

// ExplainOptions are the settings of an explanation; the zero value works.
type ExplainOptions struct {
	// Actions are those that read. Without them, enrichment counts as failed.
	Actions map[string]Action
	// History has the alerts that .count counts. Without it, what depends on .count is
	// Unknown.
	History History
	// Ceiling holds the playbook at observe when it is ModeObserve.
	Ceiling soar.Mode
	// Guard is what decides about calls; nil is one with what is built in.
	Guard *guard.Guard
	// Hosts is that of EngineOptions.
	Hosts HostFacts
	// Now is the time at which the alert comes in; time.Now by default. The clock of
	// the expressions is that of ParseWithClock.
	Now func() time.Time

	known *cache // what was looked up before; nil: nothing
}

// Explain evaluates one playbook on one alert, every condition of it, without
// sending anything that has an effect. Reading actions are carried out for the
// enrichment; without actions, enrichment counts as failed.
func Explain(ctx context.Context, pb *Playbook, alert soar.Alert, actions map[string]Action) (*Explanation, error) {
	return ExplainWith(ctx, pb, alert, ExplainOptions{Actions: actions})
}

// ExplainWith is Explain with all that can be set.
func ExplainWith(ctx context.Context, pb *Playbook, alert soar.Alert, o ExplainOptions) (*Explanation, error) {
	return ExplainTrigger(ctx, pb, Trigger{Alert: &alert}, o)
}

// ExplainTrigger is ExplainWith for all that may start a run.
func ExplainTrigger(ctx context.Context, pb *Playbook, t Trigger, o ExplainOptions) (*Explanation, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &Explanation{Playbook: pb.Name, On: t.on(pb)}
	alert, plain := &soar.Alert{}, map[string]any(nil)
	if t.Alert != nil {
		var err error
		alert, x.Alert = t.Alert, t.Alert.Ref()
		if plain, err = plainAlert(alert); err != nil {
			return nil, fmt.Errorf("alert %s: %w", x.Alert, err)
		}
	}
	if x.On == onSchedule {
		x.At, x.Next = t.At, pb.Times(t.At.Add(time.Minute), nextTimes)
	}
	if t.Failed != nil {
		x.Failed = t.Failed.ID.String()
	}
	if o.known == nil {
		o.known = newCache(o.Now)
	}
	read := &reader{cache: o.known, actions: o.Actions, callTimeout: enrichTimeout, now: o.Now, hosts: o.Hosts, counter: &counter{history: o.History}}
	ev := newEvaluation(read, alert, plain, pb)
	ev.found.extra = t.seen(x.On)
	lacks := t.unknownTo(pb, x.On, &o)
	lacks.hold(ev)
	ev.match(ctx, true)
	if lacks.doubt(ev); ev.verdict == Match || ev.verdict == Unknown {
		ev.prepare(ctx)
	}
	lacks.release(ev)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	x.Verdict, x.Error, x.Conditions = ev.verdict, ev.err, ev.conditions
	if x.Verdict != Unknown { // what is not known is not what stands against a match
		x.Closest, x.Against = closest(assumed(ev.conditions, true)), against(assumed(ev.conditions, true))
	}
	x.Enrich, x.EnrichErrors, x.EnrichStatus = ev.found.values, ev.found.errors, ev.found.status
	in := ev.input()
	for i := range x.Conditions {
		x.Conditions[i].Value = truncated(x.Conditions[i].Value)
		x.Conditions[i].Reads = fieldValues(pb.match.conditions[i].expr, in)
	}
	if o.Guard == nil {
		var err error
		if o.Guard, err = guard.New(guard.Settings{}); err != nil {
			return nil, err
		}
	}
	x.guard(ctx, ev, o.Ceiling, lacks)
	mode, _ := effectiveMode(pb, o.Ceiling, alert)
	now := o.Now()
	x.Run = soar.NewRunID(now)
	w := newPlanner(ctx, ev, o.Guard, o.Ceiling, soar.Run{ID: x.Run, Playbook: pb.Name, Mode: mode, StartedAt: now.UTC()})
	w.limit, w.lacks = maxPlannedItems, lacks
	x.Steps = w.walk()
	return x, nil
}

// nextTimes is how many times of a schedule an explanation lists.
const nextTimes = 3

// closest names the condition whose change alone would make a match.
func closest(conditions []Condition) string {
	if combine(conditions) == Match {
		return ""
	}
	name := ""
	for i, c := range conditions {
		if c.Holds() {
			continue
		}
		changed := append([]Condition(nil), conditions...)
		changed[i].Verdict = Match
		if c.Block == None {
			changed[i].Verdict = NoMatch
		}
		if combine(changed) == Match {
			if name != "" {
				return "" // one of several would do
			}
			name = c.Name
		}
	}
	return name
}

// against lists what stands against a match: each condition under all and none that
// does not hold, and those under any as one, when none of them does.
func against(conditions []Condition) (list []string) {
	var any []string
	anyHolds := false
	for i := range conditions {
		switch c := &conditions[i]; {
		case c.Block == Any:
			any, anyHolds = append(any, c.Name), anyHolds || c.Holds()
		case !c.Holds():
			list = append(list, c.Name)
		}
	}
	if len(any) > 0 && !anyHolds {
		list = append(list, "any of "+strings.Join(any, ", "))
	}
	return list
}

// fieldValues are the fields that an expression reads, and what they hold here.
func fieldValues(e *expr, in *input) map[string]any {
	values := map[string]any{}
	for _, fields := range e.Fields() {
		var v any = in.object
		way := ""
		for _, field := range fields {
			object, ok := v.(map[string]any)
			if !ok {
				break // of [] and of what is no object, the whole is shown
			}
			v, way = object[field], way+"."+field
		}
		if _, whole := v.(map[string]any); !whole && (strings.Count(way, ".") > 1 || way == "."+countName) {
			values[way] = truncated(v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return values
}

func (x *Explanation) guard(ctx context.Context, ev *evaluation, ceiling soar.Mode, lacks unknowns) {
	mode, why := effectiveMode(ev.pb, ceiling, ev.alert)
	x.Guard = []Answer{{Check: "mode", OK: mode == soar.ModeEnforce, Words: string(mode) + ": " + why}}
	x.group(ctx, ev, lacks)
	if ev.pb.cooldown == nil {
		return
	}
	if why := lacks.of(ev.pb.cooldown.key); why != "" {
		x.Guard = append(x.Guard, Answer{Check: "cool-down", OK: true, Words: fmt.Sprintf("one run in %s for a key that nobody knows here: %s", ev.pb.cooldown.dur, why)})
		return
	}
	value, err := ev.pb.cooldown.key.value(ctx, ev.input())
	var text string
	if err == nil {
		text, err = cooldownValue(value)
	}
	a := Answer{Check: "cool-down", OK: err == nil, Words: fmt.Sprintf("one run for %q in %s", text, ev.pb.cooldown.dur)}
	if err != nil {
		a.Words = "cooldown.key: " + err.Error()
		if x.Verdict == Match { // as the engine, which starts no run then
			x.Verdict, x.Error = Failed, a.Words
		}
	}
	x.Guard = append(x.Guard, a)
}

// group tells which alerts would share the run. Without a key the engine starts none.
func (x *Explanation) group(ctx context.Context, ev *evaluation, lacks unknowns) {
	if ev.pb.group == nil || !comesInGroups(x.On) {
		return
	}
	for _, by := range ev.pb.group.by {
		if lacks.of(by) != "" {
			return
		}
	}
	key, err := commonKey(ctx, ev.pb.group.by, ev.input())
	a := Answer{Check: "group", OK: err == nil, Words: fmt.Sprintf("one run for all with %s within %s", key, ev.pb.group.window)}
	if err != nil {
		a.Words = "group.by: " + err.Error()
		if x.Verdict == Match || x.Verdict == Unknown {
			x.Verdict, x.Error = Failed, a.Words
		}
	}
	x.Guard = append(x.Guard, a)
}

// truncated keeps what people can take in.
func truncated(v any) any {
	const longest = 200
	switch v := v.(type) {
	case string:
		if len(v) > longest {
			return strings.ToValidUTF8(v[:longest], "") + "…"
		}
	case []any, map[string]any:
		if text, err := asText(v); err == nil && len(text) > longest {
			return strings.ToValidUTF8(text[:longest], "") + "…"
		}
	}
	return v
}

// Text is the explanation for a terminal.
func (x *Explanation) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s: %s", x.Playbook, printable(x.Occasion()), x.Verdict)
	if x.Error != "" {
		fmt.Fprintf(&b, " (%s)", printable(x.Error))
	}
	b.WriteString("\n")
	if len(x.Next) > 0 {
		times := make([]string, len(x.Next))
		for i, t := range x.Next {
			times[i] = t.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "  and then at %s\n", strings.Join(times, ", "))
	}
	for _, block := range []Block{All, Any, None} {
		title := false
		for _, c := range x.Conditions {
			if c.Block != block {
				continue
			}
			if !title {
				fmt.Fprintf(&b, "  %s\n", block)
				title = true
			}
			sign := "+"
			switch {
			case c.Verdict == Failed:
				sign = "!"
			case c.Verdict == Unknown:
				sign = "?"
			case !c.Holds():
				sign = "-"
			}
			fmt.Fprintf(&b, "    %s %s", sign, printable(c.Name))
			if c.Verdict == Failed {
				fmt.Fprintf(&b, ": error: %s", printable(c.Error))
			} else if c.Verdict == Unknown {
				fmt.Fprintf(&b, ": unknown: %s", printable(c.Error))
			} else if text, err := asText(c.Value); err == nil && c.Value != true && c.Value != false {
				if c.Value == nil {
					text = "null"
				}
				fmt.Fprintf(&b, " (%s)", printable(text))
			}
			b.WriteString("\n")
			if !c.Holds() && c.Verdict != Unknown {
				c.writeReads(&b)
			}
		}
	}
	if x.Closest != "" {
		fmt.Fprintf(&b, "  closest: only %q stands against a match\n", printable(x.Closest))
	} else if len(x.Against) > 0 && x.Verdict != Match {
		fmt.Fprintf(&b, "  against a match: %s\n", printable(strings.Join(x.Against, "; ")))
	}
	x.writeLookUps(&b)
	for _, a := range x.Guard {
		fmt.Fprintf(&b, "  guard: %s: %s\n", a.Check, printable(a.Words))
	}
	if x.Verdict != Match && x.Verdict != Unknown {
		return b.String()
	}
	if x.Verdict == Unknown && len(x.Steps) > 0 {
		b.WriteString("  should it match:\n")
	}
	for _, s := range x.Steps {
		place := "step"
		if s.Finally {
			place = "finally"
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", place, s.ID, printable(strings.TrimLeft(s.Action+" "+s.Words, " ")))
		for _, name := range sortedNames(s.With) {
			text, err := asText(truncated(s.With[name]))
			if s.With[name] == nil {
				text = "null"
			}
			if err == nil {
				fmt.Fprintf(&b, "    %s: %s\n", name, printable(text))
			}
		}
		if s.TakenBack != "" {
			fmt.Fprintf(&b, "    then: %s\n", printable(s.TakenBack))
		}
		if len(s.Guard) > 0 {
			fmt.Fprintf(&b, "    guard: %s\n", guardLine(s.Guard))
		}
	}
	return b.String()
}

// guardLine names the rails of the guard that let a call pass, and the one that does not.
func guardLine(answers []Answer) string {
	var pass []string
	for _, a := range answers {
		if !a.OK {
			return strings.Join(append(pass, "not "+a.Check), ", ")
		}
		pass = append(pass, a.Check)
	}
	return "all let it pass: " + strings.Join(pass, ", ")
}

// writeLookUps tells of what was looked up where that is not simply there: it failed,
// there is nothing, or an old answer stands in.
func (x *Explanation) writeLookUps(b *strings.Builder) {
	said := func(name string) string {
		if x.EnrichErrors[name] == nil {
			return ""
		}
		return ": " + printable(fmt.Sprint(x.EnrichErrors[name]))
	}
	for _, name := range sortedNames(x.EnrichStatus) {
		status, _ := x.EnrichStatus[name].(map[string]any)
		what := "enrichment " + name
		if _, own := x.Enrich[name]; !own {
			what = "the " + name + " record"
		}
		const again = "could not be looked up again"
		switch stale := status["stale"] == true; {
		case status["state"] == stateFailed:
			fmt.Fprintf(b, "  %s failed%s\n", what, said(name))
		case status["state"] == stateEmpty && stale:
			fmt.Fprintf(b, "  %s found nothing %v seconds ago, and %s%s\n", what, status["age_seconds"], again, said(name))
		case status["state"] == stateEmpty:
			fmt.Fprintf(b, "  %s found nothing%s\n", what, said(name))
		case stale:
			fmt.Fprintf(b, "  %s is %v seconds old, and %s\n", what, status["age_seconds"], again)
		}
	}
	for _, name := range sortedNames(x.EnrichErrors) {
		if x.EnrichStatus[name] == nil {
			fmt.Fprintf(b, "  %s failed%s\n", name, said(name))
		}
	}
}

// writeReads tells what a condition found that does not hold.
func (c *Condition) writeReads(b *strings.Builder) {
	for _, field := range sortedNames(c.Reads) {
		var value strings.Builder
		e := json.NewEncoder(&value)
		e.SetEscapeHTML(false) // > is to be read as it is
		if err := e.Encode(c.Reads[field]); err == nil {
			fmt.Fprintf(b, "        %s is %s\n", printable(field), printable(strings.TrimSuffix(value.String(), "\n")))
		}
	}
}

// printable spells out what a terminal would obey in alert text, on one line.
func printable(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(soar.Visible(text))
}
