package modeltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// move draws what happens next.
func (d *draft) move() move {
	var m move
	switch n := d.IntN(100); {
	case n < 35:
	case n < 60:
		m.wait = time.Duration(1+d.IntN(5000)) * time.Millisecond
	case n < 80:
		m.wait = time.Duration(5+d.IntN(60)) * time.Second
	case n < 95:
		m.wait = time.Duration(1+d.IntN(10)) * time.Minute
	default:
		m.wait = time.Duration(20+d.IntN(60)) * time.Minute
	}
	draws := []struct {
		weight int
		draw   func() (string, func(*world))
	}{
		{24, d.alert}, {8, d.burst}, {9, d.host}, {12, d.fault}, {4, d.late}, {12, d.crash}, {14, d.answer}, {4, d.pause}, {6, d.rearm}, {4, d.cancel}, {3, d.reload}, {6, d.undo}, {5, d.extend},
		{4, d.analyst}, {3, d.withdraw}, {3, d.protect}, {3, d.reuse}, {1, d.enrol}, {2, d.disk}, {3, d.settle},
	}
	sum := 0
	for _, one := range draws {
		sum += one.weight
	}
	n := d.IntN(sum)
	for _, one := range draws {
		if n -= one.weight; n < 0 {
			m.what, m.do = one.draw()
			break
		}
	}
	return m
}

func (d *draft) target() ersim.HostState {
	if d.chance(85) {
		return pick(d, d.focus...)
	}
	return pick(d, d.hosts...)
}

func (d *draft) alert() (string, func(*world)) {
	return d.alertOn(d.target())
}

func (d *draft) alertOn(h ersim.HostState) (string, func(*world)) {
	kind, n := pick(d, kinds...), d.alerts
	d.alerts++
	path := fmt.Sprintf(`C:\Temp\bad%d.exe`, n)
	if h.Platform != "windows" {
		path = fmt.Sprintf("/tmp/bad%d", n)
	}
	severity := pick(d, soar.SeverityHigh, soar.SeverityMedium)
	return fmt.Sprintf("alert of the %s kind on %s, pid %d", kind, h.Name, 5000+n), func(w *world) {
		w.raise(h.Name, kind, path, strconv.Itoa(5000+n), severity)
	}
}

// burst lets several alerts of a host come at the same moment.
func (d *draft) burst() (string, func(*world)) {
	h := pick(d, d.focus...)
	var whats []string
	var all []func(*world)
	for range 2 + d.IntN(2) {
		what, do := d.alertOn(h)
		whats, all = append(whats, what), append(all, do)
	}
	return strings.Join(whats, "; "), func(w *world) {
		for _, do := range all {
			do(w)
		}
	}
}

func (d *draft) host() (string, func(*world)) {
	h := d.target()
	switch d.IntN(5) {
	case 0:
		return h.Name + " comes back", func(w *world) { w.touch(h.Name); w.sim.SetOnline(h.Name, true) }
	case 1:
		enabled := d.chance(50)
		return fmt.Sprintf("response on %s: %t", h.Name, enabled), func(w *world) { w.touch(h.Name); w.sim.SetResponseEnabled(h.Name, enabled) }
	case 2:
		away := time.Duration(1+d.IntN(40)) * time.Minute
		return fmt.Sprintf("%s goes away for %s", h.Name, away), func(w *world) {
			w.reach("host away")
			w.sim.Inject(ersim.Fault{Kind: ersim.HostOffline, Host: h.Name, Delay: away})
		}
	default:
		return h.Name + " goes away", func(w *world) { w.reach("host away"); w.sim.SetOnline(h.Name, false) }
	}
}

// effectCalls are what faults of the server hit.
var effectCalls = []string{"response-add", "response-add", "response-custom-action", "defender-scan-now", "alerts-notes-add", "alerts-update", "hosts-tags-add"}

func (d *draft) fault() (string, func(*world)) {
	f := ersim.Fault{Count: 1 + d.IntN(3), Delay: time.Duration(1+d.IntN(20)) * time.Second}
	switch d.IntN(3) {
	case 0: // of calls with an effect
		f.Call = pick(d, effectCalls...)
		f.Kind = pick(d, ersim.DropBefore, ersim.DropAfter, ersim.DropAfter, ersim.Truncate, ersim.ServerError, ersim.Unavailable, ersim.RateLimit, ersim.HTMLAnswer)
	case 1: // of any
		f.Call = pick(d, "", "response-*", "hosts-*", "distributed-add", "ws-distributed-result", "response-view", "response-get")
		f.Count += d.IntN(10)
		f.Kind = pick(d, ersim.DropBefore, ersim.ServerError, ersim.Unavailable, ersim.RateLimit, ersim.ExpireToken, ersim.Truncate)
	default: // of hosts
		h := d.target()
		f.Host = h.Name
		f.Kind = pick(d, ersim.CommandFails, ersim.CommandStuck, ersim.CommandIdle)
	}
	return fmt.Sprintf("fault %s %s%s, %d times", f.Kind, f.Call, f.Host, f.Count), func(w *world) {
		w.reach("fault " + string(f.Kind))
		if f.Host != "" {
			w.touch(f.Host)
		}
		w.sim.Inject(f)
	}
}

func (d *draft) late() (string, func(*world)) {
	one := late{call: pick(d, effectCalls...), by: time.Duration(5+d.IntN(240)) * time.Second, count: 1 + d.IntN(2)}
	return fmt.Sprintf("the next %d calls of %s take %s to arrive", one.count, one.call, one.by), func(w *world) { w.slow(one) }
}

func (d *draft) crash() (string, func(*world)) {
	moment, n := pick(d, moments...), 1+d.IntN(8)
	if d.chance(20) {
		return "crash", func(w *world) { w.reach("crash at once"); w.life.die() }
	}
	return fmt.Sprintf("crash: %s, the %d. from now on", moment, n), func(w *world) { w.life.doom(moment, n) }
}

func (d *draft) answer() (string, func(*world)) {
	by, agree, n := pick(d, "ann", "ben", "eve"), d.chance(75), d.IntN(4)
	return fmt.Sprintf("%s answers the %d. question: %t", by, n+1, agree), func(w *world) { w.decide(by, agree, n) }
}

func (d *draft) pause() (string, func(*world)) {
	if d.chance(60) {
		return "pause", func(w *world) { w.pause() }
	}
	return "resume", func(w *world) { w.resume() }
}

func (d *draft) rearm() (string, func(*world)) {
	name := pick(d, "reach", "reach", guard.BuiltInBudget)
	return "re-arm the budget " + name, func(w *world) { w.rearm(name) }
}

func (d *draft) cancel() (string, func(*world)) {
	n, whole := d.IntN(4), d.chance(70)
	return fmt.Sprintf("cancel the %d. open run, the whole of it: %t", n+1, whole), func(w *world) { w.cancel(n, whole) }
}

func (d *draft) undo() (string, func(*world)) {
	n, whole := d.IntN(3), d.chance(50)
	return fmt.Sprintf("undo the %d. containment from the end, and the whole run: %t", n+1, whole), func(w *world) { w.undo(n, whole) }
}

func (d *draft) extend() (string, func(*world)) {
	n, by := d.IntN(3), time.Duration(1+d.IntN(30))*time.Minute
	return fmt.Sprintf("the %d. containment from the end lasts %s longer", n+1, by), func(w *world) { w.extend(n, by) }
}

func (d *draft) reload() (string, func(*world)) {
	set := d.IntN(len(d.books))
	return fmt.Sprintf("load set %d", set), func(w *world) {
		w.set = set
		if !w.life.gone() {
			w.life.engine.Reload(w.read(w.actions))
		}
	}
}

func (d *draft) analyst() (string, func(*world)) {
	n := d.IntN(4)
	return fmt.Sprintf("an analyst resolves the %d. alert from the end", n+1), func(w *world) { w.resolve(n) }
}

func (d *draft) withdraw() (string, func(*world)) {
	return "an analyst cancels the newest command", func(w *world) { w.withdraw() }
}

func (d *draft) protect() (string, func(*world)) {
	h := d.target()
	return h.Name + " becomes a domain controller", func(w *world) {
		w.sim.SetTags(h.Name, "server", "domain-controller")
		w.protect(h.Name)
	}
}

func (d *draft) reuse() (string, func(*world)) {
	n := d.IntN(d.alerts + 1)
	return fmt.Sprintf("pid %d belongs to another process", 5000+n), func(w *world) {
		for _, h := range w.sim.Hosts() {
			for _, p := range h.Processes {
				if p.PID == int64(5000+n) {
					w.touch(h.Name)
					w.sim.StartProcess(h.Identifier, ersim.Process{PID: p.PID, Path: `C:\Windows\notepad.exe`})
				}
			}
		}
	}
}

func (d *draft) enrol() (string, func(*world)) {
	h, again := d.target(), d.chance(50)
	identifier := ""
	if !again {
		identifier = fmt.Sprintf("EC2ANEW%d", d.IntN(1e6))
	}
	return fmt.Sprintf("%s is enrolled anew, under the same identifier: %t", h.Name, again), func(w *world) { w.enrol(h.Name, identifier) }
}

func (d *draft) disk() (string, func(*world)) {
	trouble := time.Duration(1+d.IntN(30)) * time.Second
	return fmt.Sprintf("the disk is full for %s", trouble), func(w *world) { w.fill(trouble) }
}

func (d *draft) settle() (string, func(*world)) {
	return "a person settles an unknown run", func(w *world) { w.settle() }
}

// patience bounds what people do.
const patience = 2 * time.Minute

func (w *world) people() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(w.t.Context()), patience)
}

func (w *world) raise(host, kind, path, pid string, severity soar.Severity) {
	h := w.host(host)
	w.touch(host)
	id := w.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: kind, Separate: true, Columns: map[string]string{
		"action": "PROC_CREATE", "pid": pid, "path": path, "cmdline": path + " --evil", "process_guid": "GUID-" + pid,
	}})
	if id == 0 {
		return
	}
	now := time.Now().UTC()
	online := h.Online
	w.take(soar.Alert{
		Server: "er", ID: strconv.FormatInt(id, 10), Source: "rule", Severity: severity, Status: soar.StatusOpen, CreatedAt: now, EventTime: now, EventCount: 1,
		Host:  soar.Host{ID: h.ID, Identifier: h.Identifier, Name: h.Name, Platform: h.Platform, Tags: h.Tags, Online: &online},
		Rule:  &soar.Rule{ID: 1, Name: kind},
		Event: map[string]string{"pid": pid, "path": path},
	})
}

// take brings an alert in, as sources do.
func (w *world) take(a soar.Alert) {
	if _, err := w.disk.Commit(w.t.Context(), soar.Change{Alerts: []soar.Alert{a}}); err != nil {
		w.wrong("an alert cannot be kept: %v", err)
	}
	for i := range w.alerts {
		if w.alerts[i].ID == a.ID {
			w.alerts[i] = a
			return
		}
	}
	w.alerts = append(w.alerts, a)
}

func (w *world) decide(by string, agree bool, n int) {
	ctx, cancel := w.people()
	defer cancel()
	all, err := w.life.engine.Approvals(ctx)
	if err != nil {
		return
	}
	for _, a := range all {
		if a.State != soar.ApprovalWaiting {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		w.voted(a.Run, a.Step, by, agree) // it may count also when nobody hears so
		if _, err := w.life.engine.Decide(ctx, a.ID, soar.Vote{By: by, Agree: agree, Reason: "because"}); err == nil {
			w.reach(fmt.Sprintf("approval answered %t", agree))
		}
		return
	}
}

func (w *world) pause() {
	ctx, cancel := w.people()
	defer cancel()
	if _, err := w.life.engine.Pause(ctx, "ann", "to be sure"); err == nil {
		w.reach("paused")
		w.setPaused(!w.life.gone())
	}
}

func (w *world) resume() {
	ctx, cancel := w.people()
	defer cancel()
	kept := w.setPaused(false)
	if err := w.life.engine.Resume(ctx, "ann"); err != nil && !w.life.gone() {
		// One that could not be written down is told to end with the process.
		w.setPaused(kept && w.life.engine.Guard().Paused() != nil)
	}
}

func (w *world) rearm(name string) {
	ctx, cancel := w.people()
	defer cancel()
	w.rearmed(name) // it may count also when nobody hears so
	if err := w.life.engine.RearmBudget(ctx, name, "ann", "looked at"); err == nil {
		w.reach("budget re-armed")
	}
}

func (w *world) cancel(n int, whole bool) {
	ctx, cancel := w.people()
	defer cancel()
	for _, run := range w.runs() {
		if run.State.Ended() {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		c := playbooks.Cancellation{Run: run.ID, By: "ann", Reason: "not wanted"}
		if held := playbooks.HeldSteps(w.entries(run.ID)); !whole && len(held) > 0 {
			c.Step = held[0].Step
		}
		if _, err := w.life.engine.Cancel(ctx, c); err == nil {
			w.reach("run cancelled by a person")
		}
		return
	}
}

// containment finds the nth step from the end that contained a host.
func (w *world) containment(n int) (run soar.RunID, step string) {
	for _, run := range slices.Backward(w.runs()) {
		for _, r := range slices.Backward(w.results(run.ID)) {
			if r.Action != "host.contain" || r.State != soar.StepVerified {
				continue
			}
			if n--; n < 0 {
				return run.ID, r.step
			}
		}
	}
	return 0, ""
}

func (w *world) undo(n int, whole bool) {
	run, step := w.containment(n)
	if run == 0 {
		return
	}
	ctx, cancel := w.people()
	defer cancel()
	if whole {
		step = ""
	}
	if _, err := w.life.engine.Undo(ctx, playbooks.UndoOrder{Run: run, Step: step, By: "ann", Reason: "it was wrong"}); err == nil {
		w.reach("undone")
	} else if errors.Is(err, playbooks.ErrNotUndone) && len(strings.Fields(err.Error())) < 5 {
		w.wrong("nothing is undone, and the reason is %q", err)
	}
}

func (w *world) extend(n int, by time.Duration) {
	run, step := w.containment(n)
	if run == 0 {
		return
	}
	ctx, cancel := w.people()
	defer cancel()
	if _, err := w.life.engine.Extend(ctx, playbooks.Extension{Run: run, Step: step, For: by, By: "ann", Reason: "not yet"}); err == nil {
		w.reach("extended")
	} else if errors.Is(err, playbooks.ErrNotExtended) && len(strings.Fields(err.Error())) < 5 {
		w.wrong("nothing is extended, and the reason is %q", err)
	}
}

// settle says of a step that is unknown what is so at the server.
func (w *world) settle() {
	ctx, cancel := w.people()
	defer cancel()
	for _, run := range w.runs() {
		if run.State != soar.RunUnknown {
			continue
		}
		for _, r := range w.results(run.ID) {
			if r.State == soar.StepUnknown {
				if err := w.life.engine.Settle(ctx, run.ID, r.step, w.accepted(run.ID, r.step) > 0, "ann", "looked at it"); err == nil {
					w.reach("settled")
				}
				return
			}
		}
	}
}

func (w *world) resolve(n int) {
	if n >= len(w.alerts) {
		return
	}
	a := w.alerts[len(w.alerts)-1-n]
	id, _ := strconv.ParseInt(a.ID, 10, 64) // ours
	ctx, cancel := w.people()
	defer cancel()
	if err := w.analyst.Alerts.Resolve(ctx, []int64{id}, true, "seen"); err != nil {
		return
	}
	w.reach("alert resolved by an analyst")
	if _, before := w.resolved[a.ID]; !before {
		w.resolved[a.ID] = time.Now()
	}
	a.Status, a.Verdict, a.Comment, a.UpdatedAt = soar.StatusResolved, "true_positive", "seen", time.Now().UTC()
	w.take(a)
}

func (w *world) withdraw() {
	all := w.sim.Commands()
	if len(all) == 0 || !all[len(all)-1].EndedAt.IsZero() {
		return
	}
	ctx, cancel := w.people()
	defer cancel()
	if err := w.analyst.Responses.Cancel(ctx, all[len(all)-1].CommandID); err == nil {
		w.reach("command cancelled by an analyst")
	} else if !errors.Is(err, connector.ErrRefused) {
		w.reach("command not cancelled")
	}
}
