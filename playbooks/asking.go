package playbooks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// A call with an effect goes out in this order: what is known of its hosts is read;
// the guard is asked; the action looks whether the host is ready for it; the guard is
// asked again and remembers the call; the intent and what the guard remembers are
// committed; and right before it is sent, the guard is asked a last time. Wherever the
// answer is "not now", the step waits, and all of it begins anew.

// Readier is an action that can tell before the intent is written down whether a call
// makes sense now. It changes nothing.
type Readier interface {
	// Ready returns nil when the call may be sent. An error that wraps ErrNotNow lets
	// the step wait, such as for a host that is offline; one that wraps ErrTransient means
	// that nobody could tell, and is asked again; one that wraps ErrNothingToDo ends the
	// step suppressed, and any other refused.
	Ready(ctx context.Context, call Call) error
}

// Foreseer is a Readier whose calls can only be taken back by who knows how it was
// before them.
type Foreseer interface {
	Readier
	// Foresee is Ready, and returns what the call leaves as its output if it is carried out
	// now: any JSON-encodable value, or nil. The intent holds it, because once the call may
	// have been carried out and its answer is lost, nobody can find out any more. Of such a
	// call, it takes the place of the output.
	Foresee(ctx context.Context, call Call) (leaves any, err error)
}

var (
	// ErrNotNow wraps errors of calls that make sense later, as they are.
	ErrNotNow = errors.New("not now")
	// ErrNothingToDo wraps errors of calls that would change nothing: it is so already.
	ErrNothingToDo = errors.New("nothing to do")
)

const (
	// readyFor is how long the word of an action holds that a host is ready.
	readyFor = 10 * time.Second
	// unreadyPause is how soon a host is looked at again that was not. All steps that
	// wait look at the same moments, so that one look at the server does for all.
	unreadyPause = 30 * time.Second
	readyCheck   = "ready"
)

// asked is what a step and the guard have to do with each other.
type asked struct {
	hosts   []guard.Host // those of the call; nil: not read yet
	hostsAt time.Time    // when they were read, or taken from what was read before
	looks   bool         // hosts, or whether they are ready, are to be read
	readyAt time.Time    // when the action last said that the call makes sense
	since   time.Time    // when the guard was asked first
	held    string       // what it waits for, as the journal has it
	heldAt  time.Time    // when that was written down
	check   string       // which check has it wait
	version uint64       // how often the guard had changed its mind when it was asked
	away    bool         // the action has it wait, not the guard
	taken   bool         // the guard remembers the call

	question *guard.Question // what the step asks people; nil for a call
	alertWas string          // the status of the alert when the guard was asked first
}

// ask asks the guard about a step whose arguments are known. It reports false when the
// step has ended; otherwise it is planned, waits, or has something to be read first.
func (r *runner) ask(ctx context.Context, i *instance, p *progress) bool {
	if p.since.IsZero() {
		p.since, p.alertWas = r.now(), r.alertNow().Status
	} else if p.held != "" {
		r.readAlert(ctx)
	}
	if asks := i.step.spec.Asks; asks != nil {
		question, err := asks(p.with)
		if err != nil {
			r.finish(i, p, Result{State: soar.StepFailed, Error: "with: " + err.Error()}, nil)
			return false
		}
		p.question = question
	}
	_, canLook := i.step.action.(Readier)
	if p.away = p.away && canLook; p.away { // before all that takes longer: nothing changes while the host is not there
		p.looks = true
		return true
	}
	if p.hosts == nil || r.outdated(p) {
		hosts, known := r.e.reader.knownHosts(r.alert, p.with)
		if !known {
			p.looks, p.hosts = true, nil
			return true
		}
		p.hosts, p.hostsAt = hosts, r.now()
	}
	d := r.e.guard.Ask(r.request(i, p))
	switch {
	case !d.OK:
		return r.heed(i, p, &d)
	case p.question != nil:
		r.answered(i, p, &d)
		return false
	}
	if canLook && r.now().Sub(p.readyAt) > readyFor {
		p.looks = true
		return true
	}
	p.planned = true
	if !r.workUnderWay() { // it has the worker's own place, and goes out with this commit
		return r.take(i, p)
	}
	return true
}

// outdated reports whether what is known of the hosts of a call was read too long ago.
func (r *runner) outdated(p *progress) bool { return r.now().Sub(p.hostsAt) > factsLife.found }

// workUnderWay reports whether another step of the run is planned or being done.
func (r *runner) workUnderWay() bool {
	n := 0
	for _, o := range r.ready {
		if p := r.open[o.key]; p != nil && (p.planned || p.busy) {
			n++
		}
	}
	return n > 1 || r.calling > 0
}

// take lets the guard remember the call and writes its intent down. It reports false
// when the step has ended.
func (r *runner) take(i *instance, p *progress) bool {
	d := r.e.guard.Take(r.request(i, p))
	kv, events := d.Keep()
	r.keep(kv, events, d.Settle)
	if !d.OK {
		return r.heed(i, p, &d)
	}
	p.taken = true
	r.entry(i.key, soar.EntryDecision, "", r.decision(i, d))
	r.intend(i, p, false)
	return true
}

// keep adds what the guard remembers to the next commit.
func (r *runner) keep(kv []soar.KV, events []soar.Event, settle func(kept bool)) {
	for _, event := range events {
		if event.AlertKey == 0 && event.Alert == nil {
			event.AlertKey = r.run.AlertKey
		}
		if event.Run == nil {
			event.Run = r.summary()
		}
		r.change.Events = append(r.change.Events, event)
	}
	r.change.KV, r.settles = append(r.change.KV, kv...), append(r.settles, settle)
	r.urgent = r.urgent || len(events) > 0 // people are told
}

// confirm asks the guard right before a call is sent, and sees to it that its intent is
// of now. It reports false when the call is not sent now.
func (r *runner) confirm(i *instance, p *progress) bool {
	fresh := r.now().Sub(p.intentAt) <= staleIntent
	if r.outdated(p) { // it has waited for a worker
		p.planned, p.hosts, p.wake = false, nil, r.now()
		return false
	}
	if !p.taken {
		return r.take(i, p) && p.planned
	}
	if d := r.e.guard.Ask(r.request(i, p)); !d.OK {
		r.heed(i, p, &d)
		return false
	}
	if !fresh {
		r.intend(i, p, false)
	}
	return true
}

// halted is send for a call that the kill switch has caught.
func (r *runner) halted(i *instance, p *progress) {
	p.tried = p.again
	d := r.e.guard.Ask(r.request(i, p))
	if d.OK { // it was taken back meanwhile
		p.planned, p.wake = true, r.now().Add(busyPause)
		return
	}
	r.heed(i, p, &d)
}

// heed does what the guard says of a call that may not go out now. It reports false
// when the step has ended.
func (r *runner) heed(i *instance, p *progress, d *guard.Decision) bool {
	now := r.now()
	if p.since.IsZero() { // an attempt before this one was sent
		p.since, p.alertWas = now, r.alertNow().Status
	}
	if !d.Until.IsZero() {
		wait := r.patience(i)
		limit := p.since.Add(wait)
		if guard.AsksPeople(d.Answers) {
			limit = now.Add(r.e.options.MaxHold) // the approval has an end of its own
		}
		if !now.Before(limit) {
			d.State, d.Words = soar.StepExpired, fmt.Sprintf("never sent; waited for %s: %s", registry.FormatDuration(wait), d.Words)
		} else {
			r.hold(i, p, d, minTime(d.Until, limit))
			return true
		}
	}
	if d.Asked != nil {
		r.keep(r.e.guard.Refused(d.Asked, d.Answers))
	}
	r.entry(i.key, soar.EntryDecision, "", r.decision(i, *d))
	result := Result{State: d.State, Summary: d.Words, With: p.with}
	if !d.State.OK() {
		result.Error = d.Words
	}
	if p.tried && i.step.spec.Effect == Repeatable { // nobody knows what became of the call before
		p.lost = true
		result.State, result.Error = soar.StepFailed, "the answer was lost, and it is not sent again: "+d.Words
	}
	if p.question != nil {
		result.Granted = new(bool)
	}
	r.finish(i, p, result, nil)
	return false
}

// patience is how long a step waits for the guard or for a host.
func (r *runner) patience(i *instance) time.Duration {
	if i.step.wait != nil {
		return *i.step.wait
	}
	return r.e.options.MaxHold
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// hold lets a step wait. What it waits for is written down once.
func (r *runner) hold(i *instance, p *progress, d *guard.Decision, until time.Time) {
	if d.Words != p.held && !r.saidLately(p, d) {
		p.held, p.heldAt = d.Words, r.now()
		r.entry(i.key, soar.EntryDecision, "", Decision{Answers: d.Answers, Since: p.since, AlertWas: p.alertWas, Waits: r.waits(i, p)})
		r.urgent = true
	}
	request := d.Asked
	if request == nil {
		request = r.request(i, p)
	}
	r.keep(r.e.guard.Wait(request, d.Answers))
	p.planned, p.hosts, p.wake, p.version = false, nil, until, d.Version
	p.check = ""
	if n := len(d.Answers); n > 0 {
		p.check = d.Answers[n-1].Check
	}
	p.away = p.check == readyCheck
	r.e.holds.add(r.run.ID, held{version: d.Version, severity: r.alert.Severity, since: p.since, away: p.away, steps: map[string]string{i.key: p.check}})
}

// sayAgain is how often it is written down what keeps a host from being looked at: such
// errors are worded in another way each time.
const sayAgain = 10 * time.Minute

// saidLately reports whether the journal has that a step waits for a host, in other words.
func (r *runner) saidLately(p *progress, d *guard.Decision) bool {
	n := len(d.Answers)
	return p.check == readyCheck && n > 0 && d.Answers[n-1].Check == readyCheck && p.held != "" && r.now().Sub(p.heldAt) < sayAgain
}

// unsent lets a step wait whose call the action did not send after all: the host was
// ready, and is not any more.
func (r *runner) unsent(i *instance, p *progress, why error) {
	p.tried = p.again
	r.heed(i, p, r.notReady(why))
}

// notReady is the answer of an action whose host is not ready.
func (r *runner) notReady(why error) *guard.Decision {
	version, _ := r.e.guard.Changed()
	until := r.now().Truncate(unreadyPause).Add(unreadyPause)
	answer := guard.Hold(until, "%v", why)
	answer.Check = readyCheck
	return &guard.Decision{Version: version, Until: until, Words: answer.Words, Answers: []Answer{answer}}
}

// request is what the guard is asked.
func (r *runner) request(i *instance, p *progress) *guard.Request {
	q := newRequest(r.e.options.Ceiling, &r.run, i.key, i.step, i.frame.chain, r.alertNow(), p.with, p.hosts, p.since, r.now())
	q.Attempt, q.Deadline = p.attempt, q.At.Add(r.patience(i))
	if !p.since.IsZero() { // else it is asked for the first time
		q.Deadline = p.since.Add(r.patience(i))
	}
	q.Job, q.Reads = r.job, i.step.spec.Effect == Reads
	q.By, q.Question, q.AlertWas, q.OwnResolve = r.by, p.question, p.alertWas, r.resolvedIt()
	if r.undo != nil {
		q.TakesBack, q.Modes = r.undo.Run, voices(nil, r.e.options.Ceiling, nil)
	}
	return q
}

func newRequest(
	ceiling soar.Mode, run *soar.Run, key string, s *step, chain []*Playbook, alert *soar.Alert, with map[string]any, hosts []guard.Host, since, now time.Time,
) *guard.Request {
	voices := voices(chain, ceiling, alert)
	if run.Mode == soar.ModeObserve {
		voices = append(voices, guard.Voice{Mode: soar.ModeObserve, Words: "the run began in observe mode"})
	}
	spec := &s.spec
	names := make([]string, len(chain))
	for i, pb := range chain {
		names[i] = pb.Name
	}
	return &guard.Request{
		Run: run.ID, Step: key, Playbook: chain[len(chain)-1].Name, Chain: names,
		Action: s.do, Kind: spec.Kind, Sense: spec.Sense, Everywhere: spec.Everywhere,
		Always: spec.Always, Harmless: spec.Harmless, Inside: spec.Inside, Undoable: spec.Inverse != "",
		Modes: voices, Hosts: hosts, Call: callHash(s.do, with), With: with, Alert: alert, AlertWas: alertStatus(alert), At: now, Since: since,
	}
}

// callHash names a call exactly.
func callHash(action string, with map[string]any) string {
	arguments, err := json.Marshal(with) // sorts keys
	if err != nil {                      // with holds plain values only
		arguments = []byte(err.Error())
	}
	sum := sha256.Sum256(append([]byte(action+"\n"), arguments...))
	return hex.EncodeToString(sum[:16])
}

// look makes ready to read what the guard has to know of the hosts of a call, or
// whether they are ready.
func (r *runner) look(ctx context.Context, i *instance, p *progress) func() func() {
	if p.hosts == nil && !p.away {
		return func() func() {
			hosts := r.e.reader.readHosts(ctx, r.alert, p.with)
			return func() { p.looks, p.hosts, p.hostsAt = false, hosts, r.now() }
		}
	}
	call := r.call(i, p)
	return func() func() {
		callCtx, cancel := context.WithTimeout(ctx, r.e.options.CallTimeout)
		defer cancel()
		leaves, err := foresee(callCtx, i.step.action.(Readier), call)
		return func() { r.looked(ctx, i, p, leaves, err) }
	}
}

// foresee asks an action whether a call makes sense now, and what it would leave: plain
// JSON, or nil when the action need not know or there is too much of it to be kept.
func foresee(ctx context.Context, action Readier, call Call) (leaves any, err error) {
	_, err = safely(func() (Outcome, error) {
		if foreseer, can := action.(Foreseer); can {
			leaves, err = foreseer.Foresee(ctx, call)
			return Outcome{}, err
		}
		return Outcome{}, action.Ready(ctx, call)
	})
	if err != nil || leaves == nil {
		return nil, err
	}
	if leaves, err = plainOutput(leaves); err != nil {
		return nil, nil // the call can be made all the same
	}
	return leaves, nil
}

func (r *runner) looked(ctx context.Context, i *instance, p *progress, leaves any, err error) {
	p.looks = false
	now := r.now()
	if err == nil && !p.firm {
		p.foreseen = leaves
	}
	switch {
	case err == nil && p.away: // it is back: all is asked anew, by what is known now
		p.away = false
	case err == nil:
		p.readyAt = now
	case ctx.Err() != nil:
		p.wake = now // stopping: the next start looks again
	case errors.Is(err, ErrNotNow), errors.Is(err, ErrTransient):
		r.heed(i, p, r.notReady(err))
	case errors.Is(err, ErrNothingToDo) && (p.tried || p.attempt > 1): // by what was sent before, as far as a look can tell
		r.finish(i, p, Result{State: soar.StepVerified, Summary: "what was sent before did it: " + err.Error(), Output: p.foreseen}, nil)
	default:
		answer := guard.Refuse("%v", err)
		if answer.Check = readyCheck; errors.Is(err, ErrNothingToDo) {
			answer.State = soar.StepSuppressed
		}
		r.heed(i, p, &guard.Decision{State: answer.State, Words: answer.Words, Answers: []Answer{answer}})
	}
}
