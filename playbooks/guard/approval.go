package guard

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Errors of Decide.
var (
	// ErrMayNot means that somebody else has to decide.
	ErrMayNot = errors.New("not allowed to decide")
	// ErrDecided means that there is nothing to decide any more: somebody was faster, the
	// time is over, or the call is not what it was.
	ErrDecided = errors.New("nothing to decide")
)

// Question is what a playbook asks people by itself.
type Question struct {
	Text         string
	From         []string
	NotRequester bool
	Count        int
	Expires      time.Duration
	Silence      bool // no answer is an agreement
}

// approvals holds calls until people have agreed to exactly them. The question is
// kept with the note that the step waits; its id follows from run, step and call, so that
// a step that asks again after a restart asks the same question.
type approvals struct {
	settings *Settings
	byID     map[string]*approval
	of       map[caller]*approval // the last of each step
	swept    time.Time
}

// approval is a question as the guard knows it.
type approval struct {
	soar.Approval
	kept   bool // it is on disk
	moving bool // a change of it is being written down
}

const (
	approvalPrefix = "approval/"
	// keepApprovals is how long an approval can be looked at after it was decided. The
	// journal of the run has the decision for as long as the run.
	keepApprovals = 30 * 24 * time.Hour
	// maxRounds bounds how often a step asks anew because its call has changed. A call that
	// depends on the time changes whenever one looks.
	maxRounds = 5
)

func newApprovals(s *Settings) *approvals {
	return &approvals{settings: s, byID: map[string]*approval{}, of: map[caller]*approval{}}
}

func (*approvals) name() string   { return "approval" }
func (*approvals) prefix() string { return approvalPrefix }

func (t *approvals) load(kvs []soar.KV) error {
	*t = *newApprovals(t.settings)
	for _, kv := range kvs {
		if kv.Value == "" {
			continue
		}
		a := &approval{kept: true}
		if err := json.Unmarshal([]byte(kv.Value), &a.Approval); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		t.add(a)
	}
	return nil
}

func (t *approvals) add(a *approval) {
	t.byID[a.ID] = a
	if last := t.of[a.by()]; last == nil || last.Round <= a.Round {
		t.of[a.by()] = a
	}
}

func (a *approval) by() caller { return caller{a.Run, a.Step} }

// seen is the approval at a time: one that nobody answered has expired.
func (a *approval) seen(now time.Time) soar.Approval {
	v := a.Approval
	v.Votes = slices.Clone(v.Votes)
	if v.State != soar.ApprovalWaiting || now.Before(v.Expires) || a.moving {
		return v
	}
	v.DecidedAt = v.Expires
	if v.Silence {
		v.State, v.Why = soar.ApprovalApproved, "nobody objected in time, which counts as an agreement"
	} else {
		v.State, v.Why = soar.ApprovalExpired, "nobody decided in time"
	}
	return v
}

func (t *approvals) ask(r *Request) Answer {
	if r.Question == nil {
		if mode := r.judged.voice.Mode; mode != soar.ModeApprove {
			return Pass("nobody is asked in mode %s", mode)
		}
		if r.Always || r.Inside {
			return Pass("nobody is asked about %s", r.Action)
		}
	}
	a := t.of[caller{r.Run, r.Step}]
	if a == nil || a.State == soar.ApprovalVoid && !a.moving {
		return t.holdFor(r, t.draft(r))
	}
	if a.moving {
		return Hold(r.At.Add(lookAgain), "approval %s: an answer is being written down", a.ID)
	}
	now := a.seen(r.At)
	verdict := Verdict(&now)
	switch {
	case now.State == soar.ApprovalDenied || now.State == soar.ApprovalExpired:
		if r.Question != nil {
			return Pass("%s", verdict) // its answer is what the step is for
		}
		return Refuse("%s", verdict)
	case now.Call != callOf(r) && now.Round >= maxRounds:
		return Refuse("the call has changed %d times while people were asked; let its arguments not depend on the time", maxRounds)
	case now.Call != callOf(r):
		next := t.draft(r)
		answer := t.holdFor(r, next)
		answer.Words = fmt.Sprintf("the call is no longer that of approval %s: %s", now.ID, answer.Words)
		return answer
	case now.State == soar.ApprovalApproved:
		return Pass("%s", verdict)
	}
	return t.holdFor(r, &now)
}

// holdFor lets a step wait for an approval.
func (t *approvals) holdFor(r *Request, a *soar.Approval) Answer {
	words := fmt.Sprintf("asks for approval %s until %s: %s", a.ID, a.Expires.UTC().Format(time.RFC3339), need(a))
	if a.Count > 1 {
		words += fmt.Sprintf(", %d of %d have agreed", a.Agreed(), a.Count)
	}
	until := a.Expires
	if !until.After(r.At) {
		until = r.At.Add(lookAgain)
	}
	return Hold(until, "%s", words)
}

// need says who has to agree.
func need(a *soar.Approval) string {
	who := "anybody"
	if len(a.From) > 0 {
		who = strings.Join(a.From, ", ")
	}
	if a.Count > 1 {
		who = fmt.Sprintf("%d of %s", a.Count, who)
	}
	if a.NotRequester && a.Requester != "" {
		who += ", but not " + a.Requester
	}
	return who + " may agree"
}

// Verdict says in words what became of an approval.
func Verdict(a *soar.Approval) string {
	var last *soar.Vote
	var names []string
	for i := range a.Votes {
		v := &a.Votes[i]
		if last = v; v.Agree {
			names = append(names, v.By)
		}
	}
	switch {
	case a.State == soar.ApprovalDenied && last != nil:
		return phrase(fmt.Sprintf("%s denied it at %s (approval %s)", last.By, last.At.UTC().Format(time.RFC3339), a.ID), last.Reason)
	case a.State == soar.ApprovalApproved && last != nil && a.Why == "":
		var reasons []string
		for _, v := range a.Votes {
			if v.Reason != "" && !slices.Contains(reasons, v.Reason) {
				reasons = append(reasons, v.Reason)
			}
		}
		return phrase(fmt.Sprintf("%s agreed at %s (approval %s)", strings.Join(names, " and "), a.DecidedAt.UTC().Format(time.RFC3339), a.ID), strings.Join(reasons, "; "))
	case a.State == soar.ApprovalWaiting:
		return fmt.Sprintf("approval %s waits until %s: %s", a.ID, a.Expires.UTC().Format(time.RFC3339), need(a))
	case a.Count > 1 && len(names) > 0:
		return fmt.Sprintf("%s: %d of %d agreed until %s (approval %s)", a.Why, len(names), a.Count, a.Expires.UTC().Format(time.RFC3339), a.ID)
	}
	return fmt.Sprintf("%s (approval %s, asked at %s)", a.Why, a.ID, a.AskedAt.UTC().Format(time.RFC3339))
}

func phrase(words, reason string) string {
	if reason == "" {
		return words
	}
	return words + ": " + reason
}

// draft is the question that a step asks now.
func (t *approvals) draft(r *Request) *soar.Approval {
	s, q := &t.settings.Approval, r.Question
	if q == nil {
		q = &Question{
			From: s.From, NotRequester: s.Not == requesterWord, Count: s.Count, Expires: s.Expires,
			Silence: s.OnExpiry == approveWord && (r.Undoable || r.Harmless),
		}
	}
	a := &soar.Approval{
		State: soar.ApprovalWaiting, Run: r.Run, Step: r.Step, Playbook: r.Playbook, Call: callOf(r), Requester: r.By,
		From: q.From, NotRequester: q.NotRequester, Count: max(q.Count, 1), Silence: q.Silence,
		AskedAt: r.At.UTC(), Expires: r.At.Add(cmp.Or(q.Expires, defaultExpires)).UTC(), Round: 1,
	}
	if len(a.From) == 0 {
		a.From = s.From
	}
	if last := t.of[caller{a.Run, a.Step}]; last != nil {
		a.Round = last.Round + 1
	}
	for i := range r.Hosts {
		a.Hosts = append(a.Hosts, shown(r.Hosts[i].Label()))
	}
	if r.Alert != nil && r.Alert.ID != "" {
		a.Alert = r.Alert.Ref()
	}
	if r.Question != nil {
		a.Text = shown(q.Text)
	} else {
		a.Action, a.With = r.Action, shownArguments(r.With)
		a.Text = "May playbook " + r.Playbook + " do " + r.Action
		switch {
		case r.Everywhere:
			a.Text += " on all hosts"
		case len(a.Hosts) > 0:
			a.Text += " on " + strings.Join(a.Hosts, ", ")
		}
		a.Text += "?"
	}
	sum := sha256.Sum256([]byte(a.Run.String() + "\n" + a.Step + "\n" + a.Call + "\n" + strconv.Itoa(a.Round)))
	a.ID = hex.EncodeToString(sum[:5])
	return a
}

// callOf names a call with the hosts as they are called now: whoever agreed to act on
// pc-1 did not agree to act on what has become of it.
func callOf(r *Request) string {
	names := make([]string, 0, len(r.Hosts))
	for i := range r.Hosts {
		names = append(names, r.Hosts[i].ID+"\x00"+r.Hosts[i].Name)
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(r.Call + "\n" + strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:16])
}

// hold keeps the question of a step that waits for its answer.
func (t *approvals) hold(r *Request, decided bool, c *claim) {
	if !decided {
		return
	}
	t.sweep(r.At)
	me := caller{r.Run, r.Step}
	old := t.of[me]
	if old != nil && (old.moving || old.State != soar.ApprovalVoid && old.Call == callOf(r)) {
		return
	}
	next := &approval{Approval: *t.draft(r)}
	t.of[me], t.byID[next.ID] = next, next
	c.put(t.kv(&next.Approval))
	c.event(asked(&next.Approval, t.settings.whom(next.From)))
	c.ifNotKept(func() {
		delete(t.byID, next.ID)
		if t.of[me] = old; old == nil {
			delete(t.of, me)
		}
	})
	c.noteKept(func() { next.kept = true })
	if old != nil && old.State != soar.ApprovalVoid {
		t.move(old, c, func(a *soar.Approval) {
			a.State, a.DecidedAt, a.EndedAt = soar.ApprovalVoid, r.At.UTC(), r.At.UTC()
			a.Why = "the call has changed since it was asked; it is asked again as " + next.ID
		})
	}
}

// move changes an approval when the change is on disk, and lets nothing else change it
// meanwhile.
func (t *approvals) move(a *approval, c *claim, change func(*soar.Approval)) soar.Approval {
	next := a.Approval
	next.Votes = slices.Clone(next.Votes)
	change(&next)
	a.moving = true
	c.put(t.kv(&next))
	if next.State != a.State && next.State != soar.ApprovalWaiting {
		c.event(decided(&next))
	}
	c.ifNotKept(func() { a.moving = false })
	c.noteKept(func() { a.Approval, a.moving = next, false })
	return next
}

func (t *approvals) kv(a *soar.Approval) soar.KV {
	value, _ := json.Marshal(a) // texts, times and plain values
	last := a.Expires
	if a.DecidedAt.After(last) {
		last = a.DecidedAt
	}
	return soar.KV{Key: approvalPrefix + a.ID, Value: string(value), Expires: last.Add(keepApprovals)}
}

// sweep forgets, now and then, what nobody has to look at any more.
func (t *approvals) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Hour {
		return
	}
	t.swept = now
	for id, a := range t.byID {
		if last := a.Expires; !a.moving && now.After(last.Add(keepApprovals)) {
			delete(t.byID, id)
			if t.of[a.by()] == a {
				delete(t.of, a.by())
			}
		}
	}
}

// end notes that the step is over, and that nobody has to answer any more.
func (t *approvals) end(by caller, state soar.StepState, at time.Time, c *claim) {
	a := t.of[by]
	if a == nil || a.moving || !a.EndedAt.IsZero() {
		return
	}
	t.move(a, c, func(next *soar.Approval) {
		*next = a.seen(at)
		if next.State == soar.ApprovalWaiting {
			next.State, next.DecidedAt = soar.ApprovalVoid, at.UTC()
			next.Why = "the step has ended without an answer: " + string(state)
		}
		next.EndedAt = at.UTC()
	})
}

// Decided is an answer that was taken, to be committed.
type Decided struct {
	Approval soar.Approval // as it is then
	KV       []soar.KV
	Events   []soar.Event
	// Settle tells whether it was. It must be called once.
	Settle func(kept bool)
}

// Decide takes a person's answer to an approval. Errors wrap soar.ErrNotFound when there
// is none, ErrMayNot when the person may not decide, ErrDecided when nobody can any
// more, and soar.ErrBusy while the question, or another answer, is being written down.
func (g *Guard) Decide(id string, v soar.Vote) (*Decided, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, _, _ := soar.ParseSigned(shown(v.By)) // who vouches for it, is in User
	v.By, v.Reason, v.Via = name, shown(v.Reason), shown(v.Via)
	t := g.approvals
	a := t.byID[id]
	if a == nil {
		return nil, fmt.Errorf("approval %q: %w", id, soar.ErrNotFound)
	}
	if !a.kept { // who reads the feed can know of it before whoever asks is told that it is on disk
		return nil, fmt.Errorf("approval %s: the question is being written down: %w", id, soar.ErrBusy)
	}
	if a.moving {
		return nil, fmt.Errorf("approval %s: another answer is being written down: %w", id, soar.ErrBusy)
	}
	now := a.seen(v.At)
	if now.State != soar.ApprovalWaiting {
		return nil, fmt.Errorf("%w: approval %s is %s: %s", ErrDecided, id, now.State, Verdict(&now))
	}
	if err := t.settings.mayDecide(&now, &v); err != nil {
		return nil, fmt.Errorf("approval %s: %w", id, err)
	}
	twice := func(o soar.Vote) bool { return o.Agree && (strings.EqualFold(o.By, v.By) || sameUser(o.User, v.User)) }
	if i := slices.IndexFunc(now.Votes, twice); v.Agree && i >= 0 {
		before := now.Votes[i].By
		if strings.EqualFold(before, v.By) {
			before = v.By
		} else {
			before = fmt.Sprintf("%s, who is %s like %s,", before, v.User, v.By)
		}
		return nil, fmt.Errorf("approval %s: %w: %s has agreed already, and %d people have to", id, ErrMayNot, before, now.Count)
	}
	c := &claim{g: g}
	next := t.move(a, c, func(next *soar.Approval) {
		next.Votes = append(next.Votes, v)
		switch {
		case !v.Agree:
			next.State, next.DecidedAt = soar.ApprovalDenied, v.At
		case next.Agreed() >= next.Count:
			next.State, next.DecidedAt = soar.ApprovalApproved, v.At
		}
	})
	c.noteKept(func() { g.call(next.Run) }) // which waits for the answer
	return &Decided{next, c.kv, c.events, c.settle}, nil
}

// Approvals lists what was asked, the oldest first, as it is at a time.
func (g *Guard) Approvals(now time.Time) []soar.Approval {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]soar.Approval, 0, len(g.approvals.byID))
	for _, a := range g.approvals.byID {
		if a.kept {
			list = append(list, a.seen(now))
		}
	}
	slices.SortFunc(list, func(a, b soar.Approval) int { return cmp.Or(a.AskedAt.Compare(b.AskedAt), cmp.Compare(a.ID, b.ID)) })
	return list
}

// ApprovalsWaiting counts those that can be decided.
func (g *Guard) ApprovalsWaiting(now time.Time) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.approvals.byID {
		if a.kept && a.State == soar.ApprovalWaiting && now.Before(a.Expires) {
			n++
		}
	}
	return n
}

// ApprovalOf is the last approval of a step; false when it has asked nobody.
func (g *Guard) ApprovalOf(run soar.RunID, step string, now time.Time) (soar.Approval, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.approvals.of[caller{run, step}]
	if a == nil {
		return soar.Approval{}, false
	}
	return a.seen(now), true
}

// AsksPeople reports whether it is people for whom a call waits that got these answers.
func AsksPeople(answers []Answer) bool {
	return len(answers) > 0 && answers[len(answers)-1].Check == (*approvals)(nil).name()
}

// ReadApprovals is Approvals for values that were read from a journal, for those who
// look at it without a guard.
func ReadApprovals(kv func(prefix string) ([]soar.KV, error), now time.Time) ([]soar.Approval, error) {
	g := &Guard{approvals: newApprovals(&Settings{})}
	kvs, err := kv(approvalPrefix)
	if err == nil {
		err = g.approvals.load(kvs)
	}
	if err != nil {
		return nil, fmt.Errorf("approvals: %w", err)
	}
	return g.Approvals(now), nil
}

// WhoAgrees says in words who would have to agree to a call, and how long they had.
func (g *Guard) WhoAgrees(r *Request) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.approvals.draft(r)
	words := fmt.Sprintf("%s, within %s", need(a), registry.FormatDuration(a.Expires.Sub(a.AskedAt)))
	if a.Silence {
		words += "; silence is an agreement"
	}
	return words
}
