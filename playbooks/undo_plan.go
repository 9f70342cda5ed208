package playbooks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const (
	// undoPrefix starts the keys under which it stands which run takes a step back: of the
	// last one that was made for it.
	undoPrefix = "undo/" // + run/step
	// keepUndo is how long that is kept after its time.
	keepUndo = 400 * 24 * time.Hour
	onUndo   = "undo"
	// undoAtOnce bounds how many items of one step are taken back at the same time.
	undoAtOnce = 10
)

func undoKey(run soar.RunID, step string) string { return undoPrefix + run.String() + "/" + step }

// UndoKeys is what the keys begin with under which the store has the runs that take back
// the steps of a run.
func UndoKeys(run soar.RunID) string { return undoKey(run, "") }

// undoMark is the value under undoKey.
type undoMark struct {
	Run soar.RunID `json:"run"`
	Key string     `json:"key"` // of the step of that run
}

// undoStep is a step that is to be taken back.
type undoStep struct {
	key    string
	result Result // with Undo
}

// undoPlan is what a run shall take back.
type undoPlan struct {
	of     soar.Run
	alert  int64      // key of its alert; 0 when there is none, or none any more
	steps  []undoStep // in the order in which they ended
	by     string
	reason string
	due    time.Time // zero: at once
	now    time.Time
	job    *guard.Job // of which the run is a part, with whose calls these count; nil: of none
}

// madeUndo is a run that takes something back, to be committed.
type madeUndo struct {
	run     soar.Run
	pb      *Playbook
	entries []soar.Entry
	events  []soar.Event
	kv      []soar.KV
}

// makeUndo makes the run of a plan, with the playbook that it is a run of. The arguments
// of calls stand in its first note, which its expressions read, and not in the text of
// the playbook: nothing that came from a host or an alert becomes code. What an action
// takes only as text, such as YARA rules, is written there as a value.
func (e *Engine) makeUndo(p *undoPlan) (*madeUndo, error) {
	groups, err := e.undoGroups(p.steps)
	if err != nil {
		return nil, err
	}
	text, input, undone, err := undoText(p.of.Playbook, groups)
	if err != nil {
		return nil, err
	}
	pb, problems := ParseWithClock("undo of run "+p.of.ID.String(), text, e.actions, e.options.Now)
	if problems != nil {
		return nil, problems
	}
	run := soar.Run{
		ID: soar.NewRunID(p.now), AlertKey: p.alert, Alert: p.of.Alert, Playbook: pb.Name, Version: pb.Hash,
		Mode: soar.ModeEnforce, State: soar.RunWaiting, Wake: p.now, Epoch: 1, StartedAt: p.now,
	}
	note := UndoNote{Run: p.of.ID, Playbook: p.of.Playbook, Steps: undone, By: p.by, Reason: p.reason, Due: p.due}
	r := e.newRunner(run, pb, &soar.Alert{}, nil, newFindings(nil))
	began := "takes back what run " + p.of.ID.String() + " did"
	r.entry("", soar.EntryNote, "", BeganNote{Text: began, On: onUndo, Extra: seenOfPerson(input), By: p.by, Undo: &note, Job: p.job})
	u := newUndo(&note, p.now)
	if u.begun {
		words := "by " + p.by
		if p.reason != "" {
			words += ": " + p.reason
		}
		seq := r.entry("", soar.EntryDecision, "", Decision{Answers: []Answer{{Check: "started", OK: true, Words: words}}, By: p.by, Reason: p.reason})
		r.event(soar.EventRunStarted, seq, nil)
	} else {
		run.Wake = u.warnAt()
	}
	made := &madeUndo{run: run, pb: pb, entries: r.change.Entries, events: r.change.Events}
	for _, one := range undone {
		value, err := json.Marshal(undoMark{run.ID, one.Key})
		if err != nil {
			return nil, err
		}
		expires := p.now
		if p.due.After(expires) {
			expires = p.due
		}
		made.kv = append(made.kv, soar.KV{Key: undoKey(p.of.ID, one.Step), Value: string(value), Expires: expires.Add(keepUndo)})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.versions.add(pb)
	return made, nil
}

// undoGroup are instances of one step that the same call takes back, the last one first.
type undoGroup struct {
	id    string
	do    string
	names []string       // of the arguments
	texts map[string]any // those that stand in the text, which all steps have in common
	steps []undoStep
}

var itemNumbers = regexp.MustCompile(`\[\d+\]`)

// undoGroups puts what is to be taken back in order: what was done last comes first.
// The items of a for_each become those of one step, so that the text stays small.
func (e *Engine) undoGroups(steps []undoStep) ([]*undoGroup, error) {
	var groups []*undoGroup
	open := map[string]*undoGroup{}
	ids := map[string]bool{}
	for _, s := range slices.Backward(steps) {
		base := itemNumbers.ReplaceAllString(s.key, "")
		names := sortedNames(s.result.Undo.With)
		texts := e.textArguments(s.result.Undo, names)
		kind := strings.Join(append([]string{base, s.result.Undo.Do, callHash("", texts)}, names...), "\n")
		g := open[kind]
		if g == nil || len(g.steps) >= maxItems {
			g = &undoGroup{id: freeID(base, ids), do: s.result.Undo.Do, names: names, texts: texts}
			groups = append(groups, g)
			open[kind] = g
		}
		g.steps = append(g.steps, s)
	}
	if len(groups) > maxSteps {
		return nil, fmt.Errorf("%d steps are too many to be taken back by one run, the limit is %d: take them back one by one, with --step", len(groups), maxSteps)
	}
	return groups, nil
}

// textArguments are the arguments of a call that its action does not take computed.
func (e *Engine) textArguments(call *Reversal, names []string) map[string]any {
	action := e.actions[call.Do]
	if action == nil {
		return nil // the text with it is refused
	}
	source := StepSource{At: registry.Position{Line: 1}, Dynamic: map[string]bool{}, Places: map[string]registry.Position{}}
	for i, name := range names {
		source.Dynamic[name], source.Places[name] = true, registry.Position{Line: 2 + i}
	}
	texts := map[string]any{}
	for _, p := range action.Check("", source) {
		if at := p.Line - 2; at >= 0 && at < len(names) {
			texts[names[at]] = call.With[names[at]]
		}
	}
	return texts
}

// freeID is a name for the step that takes a step back: as that is called, as far as a
// name can be.
func freeID(base string, taken map[string]bool) string {
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, base)
	if id == "" || id[0] < 'a' || id[0] > 'z' {
		id = "s" + id
	}
	const most = 34 // leaves room for a number
	id = id[:min(len(id), most)]
	for n, name := 2, id; ; n++ {
		if !taken[name] {
			taken[name] = true
			return name
		}
		name = id + "_" + strconv.Itoa(n)
	}
}

// undoText is the playbook of a run that takes something back, with what its expressions
// see as .input. The same steps make the same text, so that it is kept once.
func undoText(of string, groups []*undoGroup) (text []byte, input map[string]any, undone []UndoOf, err error) {
	const name = "undo-"
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by erbridge, to take back what a run of %s did. The arguments are in the first note of its run.\n", of)
	fmt.Fprintf(&b, "playbook: %s%s\non: manual\nsteps:\n", name, of[:min(len(of), 80-len(name))])
	input = map[string]any{}
	for _, g := range groups {
		list := make([]any, 0, len(g.steps))
		for n, s := range g.steps {
			key := g.id
			if len(g.steps) > 1 {
				key = itemKey(g.id, n)
			}
			list = append(list, s.result.Undo.With)
			undone = append(undone, UndoOf{
				Step: s.key, Key: key, Action: s.result.Action, Target: s.result.Target, Summary: cmp.Or(s.result.Summary, s.result.Error), Undo: *s.result.Undo,
			})
		}
		from := ".input." + g.id
		fmt.Fprintf(&b, "  - id: %s\n    do: %s\n", g.id, quoted(g.do))
		if len(list) == 1 {
			input[g.id] = list[0]
		} else {
			fmt.Fprintf(&b, "    for_each: .input.%s\n    max_parallel: %d\n", g.id, undoAtOnce)
			input[g.id], from = list, ".item"
		}
		fmt.Fprintf(&b, "    wait: 30d\n    on_error: continue\n")
		if len(g.names) > 0 {
			fmt.Fprintf(&b, "    with:\n")
		}
		for _, arg := range g.names {
			value := quoted("${{ " + from + "[" + quoted(arg) + "] }}")
			if text, written := g.texts[arg]; written {
				data, err := yaml.Marshal(valueOf(escaped(text)))
				if err != nil {
					return nil, nil, nil, fmt.Errorf("the argument %s of %s cannot be written down: %w", arg, g.do, err)
				}
				value = strings.TrimSpace(string(data))
			}
			fmt.Fprintf(&b, "      %s: %s\n", quoted(arg), value)
		}
	}
	return []byte(b.String()), input, undone, nil
}

// quoted is a text as JSON, which is YAML and jq as well.
func quoted(text string) string {
	data, _ := json.Marshal(text) // a text can be encoded
	return string(data)
}
