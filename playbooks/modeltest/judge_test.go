package modeltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// What is judged here is what the server and its hosts have seen. Of the journal, only
// what it says in the end is read: by which names runs go, and how they say that they
// ended.

// judge looks at the word of an action that something is verified, at that moment.
func (w *world) judge(call *sentCall, out playbooks.Outcome, err error) {
	if err != nil || out.State != soar.StepVerified {
		return
	}
	text := func(name string) string { return fmt.Sprint(call.with[name]) }
	id, _ := strconv.ParseInt(call.alert.ID, 10, 64) // ours
	var h ersim.HostState
	for _, one := range w.sim.Hosts() {
		if call.with["host"] != nil && strings.EqualFold(one.Identifier, text("host")) {
			h = one
		}
	}
	w.mu.Lock()
	changed := time.Since(w.touched[h.Name]) < time.Minute || time.Since(w.touched[call.alert.Host.Name]) < time.Minute
	w.mu.Unlock()
	so := true
	switch call.action {
	case "host.contain", "host.release":
		output, _ := json.Marshal(out.Output) // a struct of texts
		var left struct {
			Rule string `json:"rule"`
		}
		w.must(json.Unmarshal(output, &left))
		there := slices.ContainsFunc(h.Firewall, func(r ersim.FirewallRule) bool { return r.Name == left.Rule })
		so = there == (call.action == "host.contain")
	case "process.kill":
		so = !slices.ContainsFunc(h.Processes, func(p ersim.Process) bool { return fmt.Sprint(p.PID) == text("pid") && p.Path == text("name") })
	case "file.delete":
		so = !slices.Contains(h.Files, text("path"))
	case "host.tag":
		remove, _ := call.with["remove"].(bool)
		so = slices.Contains(h.Tags, text("tag")) != remove
	case "alert.note":
		so = slices.ContainsFunc(w.sim.Notes(id), func(note string) bool { return strings.HasPrefix(note, text("text")) })
	case "alert.resolve":
		// That of a host which was enrolled anew is not listed any more.
		so = !slices.ContainsFunc(w.sim.Alerts(), func(a ersim.AlertState) bool { return a.ID == id && a.Status != "RESOLVED" })
	}
	if !so && !changed {
		w.wrong("%s of run %s, step %s says %q, and the server knows better", call.action, call.run, call.step, out.Summary)
	}
}

// result is how a step of a run ended, as it says itself.
type result struct {
	playbooks.Result
	run   soar.Run
	step  string
	at    time.Time
	asked time.Time // when its call was cleared to go out; when it ended, where it never was
}

func (w *world) results(run soar.RunID) (list []result) {
	asked := map[string]time.Time{}
	for _, e := range w.entries(run) {
		if e.Kind == soar.EntryIntent {
			asked[e.Step] = e.At
		}
		if e.Kind != soar.EntryResult {
			continue
		}
		r := result{step: e.Step, at: e.At, asked: e.At}
		if at, ok := asked[e.Step]; ok {
			r.asked = at
		}
		w.must(json.Unmarshal(e.Body, &r.Result))
		list = slices.DeleteFunc(list, func(before result) bool { return before.step == r.step }) // it was unknown, and a person has settled it
		list = append(list, r)
	}
	return list
}

// judgeAll looks at everything when it is over.
func (w *world) judgeAll() {
	all := w.sim.Commands()
	for i := range w.received { // as they ended
		if n := slices.IndexFunc(all, func(c ersim.CommandRecord) bool { return c.CommandID == w.received[i].CommandID }); n >= 0 {
			w.received[i].CommandRecord = all[n]
		}
	}
	var results []result
	for _, run := range w.runs() {
		w.reach("run " + string(run.State))
		for _, r := range w.results(run.ID) {
			r.run = run
			results = append(results, r)
		}
	}
	undoing := w.undoing()
	w.judgeOnce()
	w.judgeHosts(undoing)
	w.judgeLifted(undoing)
	w.judgeFreeze(undoing)
	w.judgeResolved(results, undoing)
	w.judgeBudgets()
	w.judgeModes(results)
	w.judgeResults(results)
	w.judgeEntries()
	w.judgeContainment(results)
	w.judgeTimed(results, undoing)
}

// undoing are the runs that take something back.
func (w *world) undoing() map[soar.RunID]*playbooks.UndoNote {
	notes := map[soar.RunID]*playbooks.UndoNote{}
	for _, run := range w.runs() {
		if note, _ := playbooks.PendingUndo(w.entries(run.ID)); note != nil {
			notes[run.ID] = note
			w.reach("undo " + string(run.State))
		}
	}
	return notes
}

// judgeTimed: what was to last for a time is over, or the run that was to end it says why
// it is not.
func (w *world) judgeTimed(results []result, undoing map[soar.RunID]*playbooks.UndoNote) {
	ended := map[soar.RunID]soar.Run{}
	for _, run := range w.runs() {
		ended[run.ID] = run
	}
	for i := range results {
		r := &results[i]
		if r.Action != "host.contain" || r.State != soar.StepVerified || r.Undo == nil || r.Undo.After <= 0 {
			continue
		}
		w.reach("timed containment")
		rule := fmt.Sprint(r.Undo.With["rule"])
		stands := slices.ContainsFunc(w.sim.Hosts(), func(h ersim.HostState) bool {
			return slices.ContainsFunc(h.Firewall, func(f ersim.FirewallRule) bool { return f.Name == rule })
		})
		excused := false
		for id, note := range undoing {
			mine := note.Run == r.run.ID && slices.ContainsFunc(note.Steps, func(of playbooks.UndoOf) bool { return of.Step == r.step })
			excused = excused || mine && ended[id].State != soar.RunDone
		}
		if stands && !excused {
			w.wrong("step %s of run %s was to last %s, and the rule %s stands still; no run says why", r.step, r.run.ID, r.Undo.After, rule)
		}
	}
}

// judgeOnce: no call that must not happen twice was accepted twice.
func (w *world) judgeOnce() {
	count := map[runStep]int{}
	for i := range w.received {
		r := &w.received[i]
		if at := (runStep{r.run, r.step}); r.effect == playbooks.Once {
			if count[at]++; count[at] == 2 {
				w.wrong("%s of run %s, step %s was accepted twice", r.action, r.run, r.step)
			}
		}
	}
	notes := map[string]bool{}
	for _, a := range w.sim.Alerts() {
		for _, note := range a.Notes {
			line, _, _ := strings.Cut(note, "\n")
			if notes[line] {
				w.wrong("the note %q is there twice", line)
			}
			notes[line] = true
		}
	}
}

// settled is after how long a change at the server has become known to the guard, and
// all that was sent before has arrived or never will.
const settled = 6 * time.Minute

// judgeHosts: nothing was done to a host that is protected, or is another one than the
// alert was about.
func (w *world) judgeHosts(undoing map[soar.RunID]*playbooks.UndoNote) {
	for i := range w.received {
		r := &w.received[i]
		if undoing[r.run] != nil && r.Kind == ersim.KindRelease {
			continue // what was done before the host was protected may be taken back
		}
		since, protected := w.protected[r.HostName]
		if protectedNames[r.HostName] || protected && r.ReceivedAt.After(since.Add(settled)) {
			w.wrong("%s of run %s, step %s was accepted for %s, which is protected", r.action, r.run, r.step, r.HostName)
		}
		if at, ok := w.anew[r.HostName]; ok && r.ReceivedAt.After(at.Add(settled)) && r.alert.CreatedAt.Before(at) && r.alert.Host.Name == r.HostName {
			w.wrong("%s of run %s, step %s was accepted for %s, which was enrolled anew since the alert", r.action, r.run, r.step, r.HostName)
		}
	}
}

// judgeLifted: no playbook takes a host out of protection. A person may, who takes back
// what a playbook did.
func (w *world) judgeLifted(undoing map[soar.RunID]*playbooks.UndoNote) {
	for i := range w.lifted {
		if r := &w.lifted[i]; undoing[r.run] == nil {
			w.wrong("%s of run %s, step %s took %s out of protection", r.action, r.run, r.step, r.HostName)
		}
	}
}

// judgeFreeze: while changes are frozen, nothing is changed but what is taken back.
func (w *world) judgeFreeze(undoing map[soar.RunID]*playbooks.UndoNote) {
	if len(w.plan.settings.Freezes) == 0 {
		return
	}
	for i := range w.received {
		r := &w.received[i]
		day := r.ReceivedAt.Format(time.DateOnly)
		from, _ := time.Parse("2006-01-02 15:04", day+" "+frozenFrom) // both are well-formed
		to, _ := time.Parse("2006-01-02 15:04", day+" "+frozenTo)
		if undoing[r.run] == nil && r.ReceivedAt.After(from.Add(settled)) && r.ReceivedAt.Before(to) {
			w.wrong("%s of run %s, step %s was accepted at %s, while changes are frozen", r.action, r.run, r.step, r.ReceivedAt.Format(time.TimeOnly))
		}
	}
}

// judgeResolved: what waited while an analyst resolved its alert is not done.
func (w *world) judgeResolved(results []result, undoing map[soar.RunID]*playbooks.UndoNote) {
	own := map[soar.RunID]bool{}
	for i := range results {
		own[results[i].run.ID] = own[results[i].run.ID] || results[i].Action == "alert.resolve"
	}
	waited := map[runStep]time.Time{}
	for _, run := range w.runs() {
		for _, e := range w.entries(run.ID) {
			var d playbooks.Decision
			if at := (runStep{e.Run, e.Step}); e.Kind == soar.EntryDecision && waited[at].IsZero() && json.Unmarshal(e.Body, &d) == nil && d.Waits != nil {
				waited[at] = e.At
			}
		}
	}
	for i := range w.received {
		r := &w.received[i]
		at, resolved := w.resolved[r.alert.ID]
		since := waited[runStep{r.run, r.step}]
		if resolved && !own[r.run] && undoing[r.run] == nil && !since.IsZero() && since.Before(at) && r.ReceivedAt.After(at.Add(settled)) {
			w.wrong("%s of run %s, step %s was accepted %s after an analyst resolved alert %s, and had waited since before",
				r.action, r.run, r.step, r.ReceivedAt.Sub(at), r.alert.ID)
		}
	}
}

// underway is how much later than the guard counted it a call may arrive.
const underway = 15 * time.Minute

// judgeBudgets: the different hosts of any window are no more than the budget has. Since
// a call may arrive later than it was counted, the window is shorter by that, and begins
// as much after a budget was re-armed.
func (w *world) judgeBudgets() {
	acts := map[string]bool{ersim.KindContain: true, ersim.KindStopProcess: true, ersim.KindDeleteFile: true, ersim.KindScript: true}
	reach := w.plan.settings.Budgets[0]
	builtIn := guard.Budget{Name: guard.BuiltInBudget, Hosts: 10, Window: time.Hour}
	if w.plan.fleet > 0 {
		builtIn.Hosts = 3 // of nine, 5% are less than one, and three are allowed in any case
	}
	for _, b := range []guard.Budget{reach, builtIn} {
		for i := range w.received {
			from := w.received[i].ReceivedAt
			hosts := map[string]bool{}
			for j := range w.received[i:] {
				r := &w.received[i+j]
				rearmed := slices.ContainsFunc(w.rearms[b.Name], func(at time.Time) bool {
					return at.Add(underway).After(from) && at.Before(r.ReceivedAt.Add(time.Millisecond)) // which is rounded
				})
				if r.ReceivedAt.Sub(from) > b.Window-underway || rearmed {
					break
				}
				if acts[r.Kind] {
					hosts[r.HostName] = true
				}
			}
			if len(hosts) > b.Hosts {
				w.wrong("%d hosts were acted on within %s from %s on, and the budget %s has %d",
					len(hosts), b.Window, from.Format(time.TimeOnly), b.Name, b.Hosts)
				break
			}
		}
	}
}

// judgeModes: a playbook that observes does nothing, and one that asks does what enough
// people agreed to.
func (w *world) judgeModes(results []result) {
	modes := map[string]soar.Mode{}
	for _, set := range w.plan.books {
		for _, b := range set {
			modes[b.name] = b.mode
		}
	}
	names := map[soar.RunID]string{}
	for i := range results {
		names[results[i].run.ID] = results[i].run.Playbook
	}
	for i := range w.received {
		r := &w.received[i]
		name, known := names[r.run]
		if !known {
			continue
		}
		switch modes[name] {
		case soar.ModeObserve:
			w.wrong("%s of run %s, step %s was accepted, and %s only observes", r.action, r.run, r.step, name)
		case soar.ModeApprove:
			agreed := len(w.votes[runStep{r.run, r.step}])
			if _, eve := w.votes[runStep{r.run, r.step}]["eve"]; eve && w.plan.settings.Approval.From != nil {
				agreed-- // she has no say
			}
			if agreed < w.plan.settings.Approval.Count {
				w.wrong("%s of run %s, step %s was accepted, and %d people agreed of %d", r.action, r.run, r.step, agreed, w.plan.settings.Approval.Count)
			}
		}
	}
}

// verifiable are the actions after which somebody looks.
var verifiable = []string{
	"host.contain", "host.release", "process.kill", "file.delete", "defender.scan", "host.tag", "alert.note", "alert.resolve",
}

// judgeResults: a run is done when all of its steps are verified, and what did not happen
// has its reason.
func (w *world) judgeResults(results []result) {
	inParts := map[runStep]bool{} // steps that are done for each of a list
	for i := range results {
		if whole, _, part := strings.Cut(results[i].step, "["); part {
			inParts[runStep{results[i].run.ID, whole}] = true
		}
	}
	for i := range results {
		r := &results[i]
		w.reach(fmt.Sprintf("%s %s", r.Action, r.State))
		where := fmt.Sprintf("%s of run %s, step %s", r.Action, r.run.ID, r.step)
		trusting := strings.Contains(r.step, "_trusting")
		parted := inParts[runStep{r.run.ID, r.step}] // its parts are judged
		if r.State == soar.StepExecuted && slices.Contains(verifiable, r.Action) && !trusting && !parted && !strings.HasPrefix(r.Summary, "settled by ") {
			w.wrong("%s ended executed, and not verified; the run is %s", where, r.run.State)
		}
		if r.run.State == soar.RunDone && r.State == soar.StepUnknown {
			w.wrong("%s is unknown, and the run is done", where)
		}
		words := strings.TrimSpace(r.Error + " " + r.Summary)
		if r.State != soar.StepVerified && r.State != soar.StepExecuted && !parted && len(strings.Fields(words)) < 3 {
			w.wrong("%s ended %s, and the reason is %q", where, r.State, words)
		}
		accepted := 0
		var last *received
		done := true
		for j := range w.received {
			if one := &w.received[j]; one.run == r.run.ID && one.step == r.step {
				// A release of several rules has a command for each.
				done = (done || r.Action != "host.release") && one.Status == ersim.CommandSuccess
				accepted, last = accepted+1, one
			}
		}
		never := slices.Contains([]soar.StepState{soar.StepRefused, soar.StepSuppressed, soar.StepObserved, soar.StepSkipped}, r.State) ||
			r.State == soar.StepExpired && strings.HasPrefix(r.Error, "never sent")
		switch {
		case never && accepted > 0:
			w.wrong("%s ended %s (%s), and the server has accepted it", where, r.State, words)
		case r.State == soar.StepFailed && accepted > 0 && done && !admits(last.effect, r.Error):
			w.wrong("%s ended failed (%s), and the host did it", where, r.Error)
		case r.State == soar.StepVerified && slices.Contains(commanding, r.Action) && accepted == 0 && !parted:
			w.wrong("%s ended %s, and the server has accepted nothing", where, r.State)
		}
	}
}

// judgeEntries: every answer of the guard has its words, and no two steps took the same
// command for theirs.
func (w *world) judgeEntries() {
	owner := map[string]runStep{}
	for _, run := range w.runs() {
		for _, e := range w.entries(run.ID) {
			var d playbooks.Decision
			var sent playbooks.Sent
			if e.Kind == soar.EntrySent && json.Unmarshal(e.Body, &sent) == nil && sent.Found {
				w.reach("lost call found")
			}
			var intent playbooks.Intent
			if e.Kind == soar.EntryIntent && json.Unmarshal(e.Body, &intent) == nil && intent.Again {
				w.reach("lost call sent again")
			}
			switch {
			case e.Kind == soar.EntrySent && strings.HasPrefix(e.Ref, "cmd:"):
				one := runStep{e.Run, e.Step}
				if other, known := owner[e.Ref]; known && other != one {
					w.wrong("run %s, step %s and run %s, step %s take the command %s for theirs", e.Run, e.Step, other.run, other.step, e.Ref)
				}
				owner[e.Ref] = one
			case e.Kind == soar.EntryDecision && json.Unmarshal(e.Body, &d) == nil:
				for i, a := range d.Answers {
					if i == len(d.Answers)-1 && !a.OK {
						w.reach(fmt.Sprintf("guard: %s: %s", a.Check, cmp.Or(string(a.State), "waits")))
					}
					if len(strings.Fields(a.Words)) < 2 || a.Check == "" {
						w.wrong("run %s, step %s: the guard says %q by %q", e.Run, e.Step, a.Words, a.Check)
					}
				}
			}
		}
	}
}

// admits tells whether the words of a failure say that the host may have done it. What
// may happen twice is not looked up when its answer is lost.
func admits(effect playbooks.Effect, words string) bool {
	if effect == playbooks.Repeatable && strings.Contains(words, "the answer was lost") {
		return true
	}
	return slices.ContainsFunc([]string{"executed, not verified", "reports success, but", "settled by"}, func(s string) bool { return strings.Contains(words, s) })
}

// commanding are the actions that give hosts commands.
var commanding = []string{"host.contain", "host.release", "process.kill", "file.delete", "script.run", "defender.scan", "agent.restart"}

// judgeContainment: calls of this kind did not overlap on a host, and what stands in the
// firewalls is what the last of them asked for.
func (w *world) judgeContainment(results []result) {
	of := map[runStep]*result{}
	for i := range results {
		of[runStep{results[i].run.ID, results[i].step}] = &results[i]
	}
	for _, h := range w.sim.Hosts() {
		var calls []*received
		for i := range w.received {
			if r := &w.received[i]; r.Host == h.Identifier && (r.Kind == ersim.KindContain || r.Kind == ersim.KindRelease) {
				calls = append(calls, r)
			}
		}
		clear := w.judgeOverlap(calls, of)
		if _, anew := w.anew[h.Name]; !anew {
			w.judgeFirewall(&h, calls, of, clear)
		}
	}
}

// judgeOverlap reports whether no call was sent while another was under way. One that
// was given up may be carried out at any time.
func (w *world) judgeOverlap(calls []*received, of map[runStep]*result) (clear bool) {
	clear = true
	for i, a := range calls {
		over := of[runStep{a.run, a.step}]
		for _, b := range calls[i+1:] {
			if b.run == a.run && b.step == a.step || !a.EndedAt.IsZero() && !b.ReceivedAt.Before(a.EndedAt) {
				continue
			}
			clear = false
			if over != nil && b.ReceivedAt.Before(over.at) {
				w.wrong("%s of run %s, step %s was accepted while %s of run %s, step %s was under way on %s",
					b.action, b.run, b.step, a.action, a.run, a.step, a.HostName)
			}
		}
	}
	return clear
}

func (w *world) judgeFirewall(h *ersim.HostState, calls []*received, of map[runStep]*result, clear bool) {
	has := func(rule string) bool {
		return slices.ContainsFunc(h.Firewall, func(r ersim.FirewallRule) bool { return r.Name == rule })
	}
	// By what the server accepted, one after the other.
	idle := func(r *received) bool { return r.Status == ersim.CommandSuccess && r.run != 0 && w.plan.idles() }
	for i := len(calls) - 1; clear && i >= 0; i-- {
		last := calls[i]
		if idle(last) {
			break
		}
		if last.Status != ersim.CommandSuccess {
			continue
		}
		if rule := last.Parameters["rule_name"]; has(rule) != (last.Kind == ersim.KindContain) {
			w.wrong("the last that %s was asked for is %s of run %s, and of the rule %s it is %t that it stands", h.Name, last.action, last.run, rule, has(rule))
		}
		break
	}
	// By what the runs say.
	said := map[string]soar.StepState{}
	removed, doubtful := map[string]bool{}, map[string]bool{}
	var newest *result
	for _, r := range calls {
		rule, end := r.Parameters["rule_name"], of[runStep{r.run, r.step}]
		switch {
		case end == nil || end.State == soar.StepUnknown:
			doubtful[rule] = true
		case r.Kind == ersim.KindContain:
			said[rule] = end.State
		case end.State == soar.StepVerified:
			removed[rule] = true
		default:
			doubtful[rule] = true
		}
		if end != nil && end.State == soar.StepVerified && (newest == nil || end.asked.After(newest.asked)) {
			newest = end
		}
	}
	for rule, state := range said {
		switch {
		case doubtful[rule]:
		case removed[rule] && has(rule):
			w.wrong("the rule %s stands on %s, and a run says that it removed it", rule, h.Name)
		case !removed[rule] && state == soar.StepVerified && !has(rule):
			w.wrong("the rule %s does not stand on %s, and the run that made it says so", rule, h.Name)
		}
	}
	if newest != nil && clear && len(doubtful) == 0 && newest.Action == "host.contain" && len(h.Firewall) == 0 {
		w.wrong("%s was contained last, by run %s, and is not", h.Name, newest.run.ID)
	}
}
