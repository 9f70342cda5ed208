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

// Explanation tells what a playbook makes of an alert, and why.
type Explanation struct {
	Playbook   string      `json:"playbook"`
	Alert      string      `json:"alert"`
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
}

// ExplainOptions are the settings of an explanation; the zero value works.
type ExplainOptions struct {
	// Actions are those that read. Without them, enrichment counts as failed.
	Actions map[string]Action
	// History has the alerts that .count counts. Without it, .count is an error.
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
}

// Explain evaluates one playbook on one alert, every condition of it, without
// sending anything that has an effect. Reading actions are carried out for the
// enrichment; without actions, enrichment counts as failed.
func Explain(ctx context.Context, pb *Playbook, alert soar.Alert, actions map[string]Action) (*Explanation, error) {
	return ExplainWith(ctx, pb, alert, ExplainOptions{Actions: actions})
}

// ExplainWith is Explain with all that can be set.
func ExplainWith(ctx context.Context, pb *Playbook, alert soar.Alert, o ExplainOptions) (*Explanation, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	plain, err := plainAlert(&alert)
	if err != nil {
		return nil, fmt.Errorf("alert %s: %w", alert.Ref(), err)
	}
	read := &reader{cache: newCache(o.Now), actions: o.Actions, callTimeout: enrichTimeout, now: o.Now, hosts: o.Hosts, counter: &counter{history: o.History}}
	ev := newEvaluation(read, &alert, plain, pb)
	ev.match(ctx, true)
	if ev.verdict == Match {
		ev.prepare(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	x := &Explanation{
		Playbook: pb.Name, Alert: alert.Ref(), Verdict: ev.verdict, Error: ev.err, Conditions: ev.conditions,
		Closest: closest(ev.conditions), Against: against(ev.conditions), Enrich: ev.found.values, EnrichErrors: ev.found.errors, EnrichStatus: ev.found.status,
	}
	in := ev.input()
	for i := range x.Conditions {
		x.Conditions[i].Value = truncated(x.Conditions[i].Value)
		x.Conditions[i].Reads = fieldValues(pb.match.conditions[i].expr, in)
	}
	if o.Guard == nil {
		if o.Guard, err = guard.New(guard.Settings{}); err != nil {
			return nil, err
		}
	}
	x.guard(ctx, ev, o.Ceiling)
	mode, _ := effectiveMode(pb, o.Ceiling, &alert)
	now := o.Now()
	x.Run = soar.NewRunID(now)
	w := newPlanner(ctx, ev, o.Guard, o.Ceiling, soar.Run{ID: x.Run, Playbook: pb.Name, Mode: mode, StartedAt: now.UTC()})
	w.limit = maxPlannedItems
	x.Steps = w.walk()
	return x, nil
}

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
		if _, whole := v.(map[string]any); !whole && strings.Count(way, ".") > 1 {
			values[way] = truncated(v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return values
}

func (x *Explanation) guard(ctx context.Context, ev *evaluation, ceiling soar.Mode) {
	mode, why := effectiveMode(ev.pb, ceiling, ev.alert)
	x.Guard = []Answer{{Check: "mode", OK: mode == soar.ModeEnforce, Words: string(mode) + ": " + why}}
	if ev.pb.cooldown == nil {
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
	fmt.Fprintf(&b, "%s on %s: %s", x.Playbook, x.Alert, x.Verdict)
	if x.Error != "" {
		fmt.Fprintf(&b, " (%s)", printable(x.Error))
	}
	b.WriteString("\n")
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
			case !c.Holds():
				sign = "-"
			}
			fmt.Fprintf(&b, "    %s %s", sign, printable(c.Name))
			if c.Verdict == Failed {
				fmt.Fprintf(&b, ": error: %s", printable(c.Error))
			} else if text, err := asText(c.Value); err == nil && c.Value != true && c.Value != false {
				if c.Value == nil {
					text = "null"
				}
				fmt.Fprintf(&b, " (%s)", printable(text))
			}
			b.WriteString("\n")
			if !c.Holds() {
				c.writeReads(&b)
			}
		}
	}
	if x.Closest != "" {
		fmt.Fprintf(&b, "  closest: only %q stands against a match\n", printable(x.Closest))
	} else if len(x.Against) > 0 && x.Verdict != Match {
		fmt.Fprintf(&b, "  against a match: %s\n", printable(strings.Join(x.Against, "; ")))
	}
	for _, name := range sortedNames(x.EnrichErrors) {
		fmt.Fprintf(&b, "  enrichment %s failed: %s\n", name, printable(fmt.Sprint(x.EnrichErrors[name])))
	}
	for _, a := range x.Guard {
		fmt.Fprintf(&b, "  guard: %s: %s\n", a.Check, printable(a.Words))
	}
	if x.Verdict != Match {
		return b.String()
	}
	for _, s := range x.Steps {
		place := "step"
		if s.Finally {
			place = "finally"
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", place, s.ID, printable(strings.TrimLeft(s.Action+" "+s.Words, " ")))
		for _, name := range sortedNames(s.With) {
			text, err := asText(truncated(s.With[name]))
			if err == nil {
				fmt.Fprintf(&b, "    %s: %s\n", name, printable(text))
			}
		}
	}
	return b.String()
}

// writeReads tells what a condition found that does not hold.
func (c *Condition) writeReads(b *strings.Builder) {
	for _, field := range sortedNames(c.Reads) {
		if data, err := json.Marshal(c.Reads[field]); err == nil {
			fmt.Fprintf(b, "        %s is %s\n", printable(field), printable(string(data)))
		}
	}
}

// printable keeps control characters of alert text out of a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, text)
}
