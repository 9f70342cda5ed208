package guard

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// budgets are the budgets, what counts for them, and which of them have latched. What a
// call counts for is committed with its intent.
type budgets struct {
	list    []*budget
	tallies map[account]*tally
	hosts   hostBook // of all tallies
	latches map[account]*Latch
	rearmed map[string]Rearmed // by the name of the budget
	trips   map[string]int     // as above
	granted map[caller]int     // the attempts that count and have not ended
	fleet   int                // how many hosts there are; 0: nobody knows
	clock   clock
}

// account is what a budget counts: all calls it is about, or those of one playbook or
// action.
type account struct{ budget, of string }

const (
	budgetPrefix = "guard/budget/"
	hitPrefix    = budgetPrefix + "host/"
	latchPrefix  = budgetPrefix + "latch/"
	rearmPrefix  = budgetPrefix + "rearmed/"
	fleetKey     = budgetPrefix + "fleet"
	// grantPrefix starts the keys of calls that count and have not ended: what follows is
	// run and step, and the value is the attempt.
	grantPrefix = budgetPrefix + "granted/"
)

// hitKey starts the keys of the hosts that count for an account; what follows is the host
// and a slot. Their values are the times of the calls.
func (a account) hitKey() string {
	return hitPrefix + url.PathEscape(a.budget) + "/" + url.PathEscape(a.of) + "/"
}

// readHit reads a host that counts.
func readHit(kv soar.KV) (a account, host string, at time.Time, slot int, err error) {
	parts := strings.Split(strings.TrimPrefix(kv.Key, hitPrefix), "/")
	if len(parts) != 4 {
		return a, "", at, 0, errors.New("not the key of a host")
	}
	for i, part := range parts {
		if parts[i], err = url.PathUnescape(part); err != nil {
			return a, "", at, 0, err
		}
	}
	slot, slotErr := strconv.Atoi(parts[3])
	nanos, timeErr := strconv.ParseInt(kv.Value, 10, 64)
	return account{parts[0], parts[1]}, parts[2], time.Unix(0, nanos).UTC(), slot, errors.Join(slotErr, timeErr)
}

func (a account) latchKey() string {
	return latchPrefix + url.PathEscape(a.budget) + "/" + url.PathEscape(a.of)
}

func newBudgets() *budgets {
	return &budgets{
		tallies: map[account]*tally{}, hosts: hostBook{}, latches: map[account]*Latch{}, rearmed: map[string]Rearmed{}, trips: map[string]int{},
		granted: map[caller]int{},
	}
}

func (*budgets) name() string   { return "budget" }
func (*budgets) prefix() string { return budgetPrefix }

// load lets a latch that cannot be read count all the same: somebody has to look.
func (b *budgets) load(kvs []soar.KV) error {
	b.tallies, b.hosts, b.latches, b.rearmed = map[account]*tally{}, hostBook{}, map[account]*Latch{}, map[string]Rearmed{}
	b.granted = map[caller]int{}
	var broken error
	for _, kv := range kvs {
		if kv.Value == "" {
			continue
		}
		if err := b.loadOne(kv); err != nil {
			broken = fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	return broken
}

func (b *budgets) loadOne(kv soar.KV) error {
	switch {
	case kv.Key == fleetKey:
		n, err := strconv.Atoi(kv.Value)
		if err != nil || n < 1 {
			return fmt.Errorf("a fleet of %q hosts", kv.Value)
		}
		b.fleet = n
	case strings.HasPrefix(kv.Key, hitPrefix):
		a, host, at, slot, err := readHit(kv)
		if err != nil {
			return err
		}
		t := b.tally(a)
		t.slots = max(t.slots, slot)
		t.keep(t.add(host, b.hosts.host(host), at))
		b.clock.seen(at)
	case strings.HasPrefix(kv.Key, latchPrefix):
		name, of, _ := strings.Cut(strings.TrimPrefix(kv.Key, latchPrefix), "/")
		name, _ = url.PathUnescape(name)
		of, _ = url.PathUnescape(of)
		latch := &Latch{}
		if err := json.Unmarshal([]byte(kv.Value), latch); err != nil {
			latch = &Latch{Words: "what tripped it cannot be read: " + err.Error()}
		}
		latch.Budget, latch.For, latch.kept = name, of, true
		b.latches[account{name, of}] = latch
	case strings.HasPrefix(kv.Key, grantPrefix):
		run, step, _ := strings.Cut(strings.TrimPrefix(kv.Key, grantPrefix), "/")
		id, err := soar.ParseRunID(run)
		attempt, bad := strconv.Atoi(kv.Value)
		if err := errors.Join(err, bad); err != nil {
			return err
		}
		b.granted[caller{id, step}] = attempt
	case strings.HasPrefix(kv.Key, rearmPrefix):
		var who Rearmed
		if err := json.Unmarshal([]byte(kv.Value), &who); err != nil {
			return err
		}
		name, _ := url.PathUnescape(strings.TrimPrefix(kv.Key, rearmPrefix))
		b.rearmed[name] = who
	}
	return nil
}

func (b *budgets) tally(a account) *tally {
	t := b.tallies[a]
	if t == nil {
		t = &tally{key: a.hitKey(), hosts: b.hosts}
		b.tallies[a] = t
	}
	return t
}

// latch is what keeps the calls of an account from being sent. A budget that counts by
// something else now stays latched.
func (b *budgets) latch(rule *budget, a account) *Latch {
	if l := b.latches[a]; l != nil || len(b.latches) == 0 {
		return l
	}
	for other, l := range b.latches {
		if other.budget == a.budget && (rule.Per == perAll || other.of == "") {
			return l
		}
	}
	return nil
}

func (b *budgets) ask(r *Request) Answer {
	if len(r.Hosts) == 0 && !r.Everywhere {
		return Pass("%s acts on no host", r.Action)
	}
	if attempt, ok := b.granted[caller{r.Run, r.Step}]; ok && attempt == r.Attempt { // it was within the budget when it was taken
		return Pass("it counts already")
	}
	about := r.subject()
	words, least := "no budget is about "+r.Action, -1 // of the one with the least left
	for _, rule := range b.list {
		if !rule.holds(about) {
			continue
		}
		a := account{rule.Name, rule.of(about)}
		if l := b.latch(rule, a); l != nil {
			return Refuse("%s", l.refusal())
		}
		used, would := b.would(rule, a, r)
		most := rule.limit(b.fleet)
		if would > most {
			return Refuse("%s", b.over(rule, a, r, would))
		}
		if left := most - max(used, would); least < 0 || left < least {
			words, least = fmt.Sprintf("%s: this makes it %d of %d hosts within %s", a, max(used, would), most, registry.FormatDuration(rule.Window)), max(left, 0)
		}
	}
	return Pass("%s", words)
}

func (a account) String() string {
	if a.of != "" {
		return fmt.Sprintf("budget %q for %s", a.budget, a.of)
	}
	return fmt.Sprintf("budget %q", a.budget)
}

func (l *Latch) refusal() string {
	return fmt.Sprintf("%s has latched at %s: %s", account{l.Budget, l.For}, l.At.UTC().Format(time.RFC3339), l.Words)
}

// would is how many hosts count now, and how many would if the call were sent. A call on
// hosts that count already never goes beyond a budget: would is 0.
func (b *budgets) would(rule *budget, a account, r *Request) (used, would int) {
	now := b.clock.now(r.At)
	t := b.tallies[a]
	if t == nil {
		t = &tally{}
	}
	used = t.live(now, rule.Window)
	if b.hosts[everyHost].in(t).live(now, rule.Window) {
		return max(used-1, b.fleet), 0 // the mark for all is no host of its own
	}
	if r.Everywhere {
		if b.fleet == 0 {
			return used, maxHosts + 1
		}
		return used, max(used, b.fleet)
	}
	for i := range r.Hosts {
		id := r.Hosts[i].ID
		same := func(h Host) bool { return h.ID == id }
		if !b.hosts[id].in(t).live(now, rule.Window) && !slices.ContainsFunc(r.Hosts[:i], same) {
			would++
		}
	}
	if would > 0 {
		would += used
	}
	return used, would
}

// over says why a call goes beyond a budget, and what a person has to do then.
func (b *budgets) over(rule *budget, a account, r *Request, would int) string {
	what := r.Action + " of run " + r.Run.String()
	switch {
	case r.Everywhere && b.fleet == 0:
		what += " acts on all hosts, and nobody knows how many there are"
	case r.Everywhere:
		what += fmt.Sprintf(" acts on all %d hosts", b.fleet)
	case len(r.Hosts) == 1:
		what += fmt.Sprintf(" on %s would make it %d hosts", r.Hosts[0].Label(), would)
	default:
		what += fmt.Sprintf(" on %d hosts would make it %d", len(r.Hosts), would)
	}
	return fmt.Sprintf("%s is used up: %s; allowed are %s. See what the playbooks did (erbridge budget show, erbridge runs list); when it was right, go on with erbridge budget rearm %s --reason WHY",
		a, what, rule.numbers(b.fleet), rule.Name)
}

func (b *budgets) take(r *Request, c *claim) {
	if len(r.Hosts) == 0 && !r.Everywhere {
		return
	}
	about, now := r.subject(), b.clock.seen(r.At)
	hosts := sortedHosts(r)
	if r.Everywhere {
		hosts = append(hosts, everyHost)
	}
	at := strconv.FormatInt(now.UnixNano(), 10)
	type touched struct {
		t   *tally
		one *touch
	}
	var counted []touched
	for _, host := range hosts {
		all, name := b.hosts.host(host), url.PathEscape(host)+"/"
		for _, rule := range b.list {
			if !rule.holds(about) {
				continue
			}
			t := b.tally(account{rule.Name, rule.of(about)})
			one := t.add(host, all, now)
			t.expire(now, rule.Window)
			counted = append(counted, touched{t, one})
			c.put(soar.KV{Key: t.key + name + strconv.Itoa(one.slot), Value: at, Expires: now.Add(rule.Window)})
		}
		if len(all.of) == 0 {
			delete(b.hosts, host)
		}
	}
	if len(counted) == 0 {
		return
	}
	me := caller{r.Run, r.Step}
	b.granted[me] = r.Attempt
	c.put(soar.KV{Key: me.grantKey(), Value: strconv.Itoa(r.Attempt), Expires: now.Add(keepGrants)})
	c.ifNotKept(func() {
		delete(b.granted, me)
		for _, one := range counted {
			one.t.remove(one.one)
		}
	})
	c.noteKept(func() {
		for _, one := range counted {
			one.t.keep(one.one)
		}
	})
}

// keepGrants is longer than any step takes. Its end removes the grant; this is for runs
// of which nobody hears again.
const keepGrants = 30 * 24 * time.Hour

func (c caller) grantKey() string { return grantPrefix + c.run.String() + "/" + c.step }

func (b *budgets) end(by caller, _ soar.StepState, _ time.Time, c *claim) {
	if _, ok := b.granted[by]; ok {
		c.put(soar.KV{Key: by.grantKey()})
		c.noteKept(func() { delete(b.granted, by) })
	}
}

// refused latches the budgets beyond which a refused call would have gone.
func (b *budgets) refused(r *Request, c *claim) {
	about := r.subject()
	for _, rule := range b.list {
		if !rule.holds(about) {
			continue
		}
		a := account{rule.Name, rule.of(about)}
		l := b.latch(rule, a)
		if l == nil {
			used, would := b.would(rule, a, r)
			most := rule.limit(b.fleet)
			if would <= most {
				continue
			}
			l = &Latch{
				Budget: a.budget, For: a.of, At: r.At.UTC(), Run: r.Run, Step: r.Step, Playbook: r.Playbook, Action: r.Action,
				Hosts: sortedHosts(r), Used: used, Limit: most, Words: b.over(rule, a, r, would),
			}
			b.latches[a] = l
			b.trips[a.budget]++
		}
		if l.kept || l.held {
			continue
		}
		// Should this commit fail, the budget is latched all the same, and the next
		// call that is refused brings it into the journal.
		l.held = true
		value, _ := json.Marshal(l) // texts, numbers and a time
		c.put(soar.KV{Key: account{l.Budget, l.For}.latchKey(), Value: string(value)})
		c.event(soar.Event{
			ID: fmt.Sprintf("budget/%s/%s/%d", url.PathEscape(l.Budget), url.PathEscape(l.For), l.At.UnixNano()), Type: soar.EventTrouble, At: l.At,
			Text: "Nothing more is sent that this budget is about, until a person has re-armed it. " + l.Words,
		})
		c.noteKept(func() { l.kept, l.held = true, false })
		c.ifNotKept(func() { l.held = false })
	}
}

// refuser is a rail that remembers what it refused.
type refuser interface {
	// refused notes that it refused a call.
	refused(r *Request, c *claim)
}

// Refused is told that a step ends because of what the guard had answered. What it
// returns is committed with the result of the step; settle tells whether it was.
func (g *Guard) Refused(r *Request, answers []Answer) (kv []soar.KV, events []soar.Event, settle func(kept bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &claim{g: g}
	for _, rail := range g.rails {
		if one, ok := rail.(refuser); ok && len(answers) > 0 && answers[len(answers)-1].Check == rail.name() {
			one.refused(r, c)
		}
	}
	return c.kv, c.events, c.settle
}

// SetFleet tells how many hosts there are. What it returns is to be committed, so that
// the number is known after a restart. A number below 1 changes nothing.
func (g *Guard) SetFleet(hosts int) []soar.KV {
	g.mu.Lock()
	defer g.mu.Unlock()
	if hosts < 1 || hosts == g.budgets.fleet {
		return nil
	}
	g.budgets.fleet = hosts
	return []soar.KV{{Key: fleetKey, Value: strconv.Itoa(hosts)}}
}

// Rearm lets calls go out again that a latched budget refused, and has it count anew,
// from when done is called; before, what it returns is to be committed. An error wraps
// soar.ErrNotFound when there is no such budget, ErrNotLatched, and soar.ErrBusy while
// the journal does not know yet that it has latched.
func (g *Guard) Rearm(name string, who Rearmed) (kvs []soar.KV, done func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.budgets
	latched := map[account]*Latch{}
	for a, l := range b.latches {
		if a.budget != name {
			continue
		}
		if l.held {
			return nil, nil, fmt.Errorf("%s has latched this moment: %w", a, soar.ErrBusy)
		}
		latched[a] = l
		kvs = append(kvs, soar.KV{Key: a.latchKey()})
		if t := b.tallies[a]; t != nil {
			for one := t.first; one != nil; one = one.next {
				for slot := range t.slots + 1 {
					kvs = append(kvs, soar.KV{Key: t.key + url.PathEscape(one.host) + "/" + strconv.Itoa(slot)})
				}
			}
		}
	}
	if len(latched) == 0 {
		return nil, nil, b.unlatched(name)
	}
	value, _ := json.Marshal(who) // texts and a time
	return append(kvs, soar.KV{Key: rearmPrefix + url.PathEscape(name), Value: string(value)}), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for a, l := range latched {
			if b.latches[a] == l {
				delete(b.latches, a)
				if t := b.tallies[a]; t != nil {
					t.clear()
				}
				delete(b.tallies, a)
			}
		}
		b.rearmed[name] = who
		g.wake()
	}, nil
}

func (b *budgets) unlatched(name string) error {
	var names []string
	for _, rule := range b.list {
		if rule.Name == name {
			return fmt.Errorf("budget %q: %w", name, ErrNotLatched)
		}
		names = append(names, rule.Name)
	}
	return fmt.Errorf("no budget %q; there are %s: %w", name, strings.Join(names, ", "), soar.ErrNotFound)
}

// Budgets tells how far each budget is used at a time.
func (g *Guard) Budgets(at time.Time) []BudgetStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.budgets
	var all []BudgetStatus
	for _, rule := range b.list {
		of := map[string]bool{}
		for a := range b.tallies {
			of[a.of] = of[a.of] || a.budget == rule.Name
		}
		for a := range b.latches {
			of[a.of] = of[a.of] || a.budget == rule.Name
		}
		maps.DeleteFunc(of, func(_ string, about bool) bool { return !about })
		if rule.Per == perAll || len(of) == 0 {
			of = map[string]bool{"": true}
		}
		for _, name := range slices.Sorted(maps.Keys(of)) {
			all = append(all, b.status(rule, account{rule.Name, name}, at))
		}
	}
	return all
}

func (b *budgets) status(rule *budget, a account, at time.Time) BudgetStatus {
	now := b.clock.now(at)
	s := BudgetStatus{
		Name: rule.Name, For: a.of, BuiltIn: rule.builtIn, About: rule.which.String(), Limit: rule.limit(b.fleet),
		Window: registry.FormatDuration(rule.Window), Fleet: b.fleet, Share: rule.Share, Hosts: []string{}, Trips: b.trips[rule.Name],
	}
	if l := b.latch(rule, a); l != nil {
		latched := *l
		s.Latched = &latched
	}
	if who, ok := b.rearmed[rule.Name]; ok {
		s.Rearmed = &who
	}
	t := b.tallies[a]
	if t == nil {
		return s
	}
	s.Used, _ = b.would(rule, a, &Request{At: at})
	for one := t.last; one != nil && now.Before(one.at.Add(rule.Window)); one = one.prev {
		if mine := one.all.in(t); mine.list[len(mine.list)-1] == one { // each host once, by its latest
			s.Hosts, s.Free = append(s.Hosts, cmp.Or(one.host, "*")), one.at.Add(rule.Window)
		}
	}
	slices.Reverse(s.Hosts)
	return s
}
