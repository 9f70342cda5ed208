package guard

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

var (
	modelSeed  = flag.Uint64("guard.seed", 0, "play only the sequence of this seed")
	modelGames = flag.Int("guard.games", 300, "how many sequences are played")
)

// A model of limits and budgets that remembers all calls and counts anew each time. Random
// calls, steps of time, ends, commits that fail and restarts must keep these: no rate, no
// number of calls at the same time and no budget is ever exceeded; what is refused or
// waits does so for a reason; and a guard that has just read the journal says the same as
// one that has not.
func TestModelOfLimitsAndBudgets(t *testing.T) {
	seeds := make([]uint64, *modelGames)
	for i := range seeds {
		seeds[i] = uint64(i) + 1
	}
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	reached := map[string]int{}
	for _, seed := range seeds {
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { newGame(t, seed, reached).play() }) {
			t.Fatalf("go test ./playbooks/guard -run TestModelOfLimitsAndBudgets -guard.seed=%d", seed)
		}
	}
	if *modelSeed != 0 {
		return
	}
	for _, what := range []string{"sent", "held", "refused", "latched", "not kept", "restarted", "re-armed", "ended", "everywhere"} {
		if reached[what] == 0 {
			t.Errorf("no sequence reached: %s", what)
		}
	}
}

// game is one sequence.
type game struct {
	*testing.T
	rnd      *rand.Rand
	reached  map[string]int
	settings Settings
	g        *Guard
	disk     disk
	now      time.Time
	fleet    int
	runs     int

	sent    []*sentOne
	waiting []*Request
	pending []*pendingOne
	latched map[account]bool
	rearmed map[account]int // how many calls had been sent by then
}

// sentOne is a call that the guard let out.
type sentOne struct {
	*Request
	at    time.Time
	ended bool
	gone  bool // its commit failed: it was not sent
}

// pendingOne is a call whose commit has not ended.
type pendingOne struct {
	one   *sentOne
	taken Decision
}

func newGame(t *testing.T, seed uint64, reached map[string]int) *game {
	rnd := rand.New(rand.NewPCG(seed, 1))
	some := func(names ...string) []string {
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		return names[:rnd.IntN(len(names)+1)]
	}
	calls := func() Calls {
		return Calls{Actions: some("host.tag", "host.*", "defender.scan"), Kinds: some("scan"), Playbooks: some("one", "two")}
	}
	s := Settings{Everywhere: []string{"*"}, Budgets: []Budget{{Name: BuiltInBudget, Hosts: 2 + rnd.IntN(4)}}}
	for range rnd.IntN(4) {
		l := Limit{Calls: calls(), Concurrent: rnd.IntN(4)}
		if l.Concurrent == 0 || rnd.IntN(2) == 0 {
			l.Rate, l.Per = 1+rnd.IntN(4), time.Duration(1+rnd.IntN(30))*time.Minute
		}
		s.Limits = append(s.Limits, l)
	}
	for n := range rnd.IntN(3) {
		b := Budget{Name: fmt.Sprint("b", n), Calls: calls(), Per: []string{"", perPlaybook, perAction}[rnd.IntN(3)], Window: time.Duration(1+rnd.IntN(60)) * time.Minute}
		if b.Hosts = rnd.IntN(6); b.Hosts == 0 || rnd.IntN(3) == 0 {
			b.Share = fmt.Sprint(1+rnd.IntN(100), "%")
		}
		s.Budgets = append(s.Budgets, b)
	}
	return &game{
		T: t, rnd: rnd, reached: reached, settings: s, g: newGuard(t, s), disk: disk{}, now: now, latched: map[account]bool{}, rearmed: map[account]int{},
	}
}

func (g *game) play() {
	for range 150 {
		switch g.rnd.IntN(12) {
		case 0, 1, 2:
			g.ask(g.call())
		case 3, 4:
			g.now = g.now.Add(time.Duration(g.rnd.IntN(600)) * time.Second)
			g.wakeDue()
		case 5, 6:
			if len(g.pending) > 0 {
				g.settle(g.rnd.IntN(len(g.pending)), g.rnd.IntN(4) > 0)
			}
		case 7, 8:
			g.endOne()
		case 9:
			g.restart()
		case 10:
			g.rearm()
		case 11:
			g.fleet = 1 + g.rnd.IntN(20)
			g.disk.put(g.g.SetFleet(g.fleet)...)
		}
		if g.Failed() {
			return
		}
	}
	g.drain()
}

func (g *game) call() *Request {
	g.runs++
	action := []string{"host.tag", "defender.scan", "host.contain", "process.kill"}[g.rnd.IntN(4)]
	r := call(g.runs, action, g.now)
	if action == "defender.scan" {
		r.Kind = "scan" // without a sense, and another call each time: the rail before lets it go
	}
	r.Call = fmt.Sprint("call ", g.runs)
	r.Chain = [][]string{{"one"}, {"two"}, {"one", "two"}}[g.rnd.IntN(3)]
	r.Playbook = r.Chain[len(r.Chain)-1]
	for range 1 + g.rnd.IntN(2) {
		r.Hosts = append(r.Hosts, plain(fmt.Sprint("host-", g.rnd.IntN(8))))
	}
	if g.rnd.IntN(25) == 0 {
		r.Everywhere, r.Hosts = true, nil
	}
	return r
}

// ask does what the engine does with a call.
func (g *game) ask(r *Request) {
	r.At = g.now
	d := g.g.Take(r)
	roomy, over := g.room(r), g.over(r)
	switch {
	case d.OK:
		g.reached["sent"]++
		if r.Everywhere {
			g.reached["everywhere"]++
		}
		if words := g.room(r); words != "" {
			g.Errorf("run %d went out although %s", r.Run, words)
		}
		if over != nil {
			g.Errorf("run %d went out beyond %v", r.Run, over)
		}
		one := &sentOne{Request: r, at: g.now}
		g.sent = append(g.sent, one)
		g.pending = append(g.pending, &pendingOne{one, d})
		g.waiting = slices.DeleteFunc(g.waiting, func(w *Request) bool { return w.Run == r.Run })
	case !d.Until.IsZero():
		g.reached["held"]++
		if roomy == "" && !g.othersWait(r) {
			g.Errorf("run %d waits and there is room: %s", r.Run, d.Words)
		}
		if !d.Until.After(g.now) {
			g.Errorf("run %d waits until %s, and it is %s", r.Run, d.Until, g.now)
		}
		d.Settle(true)
		kvs, _, settle := g.g.Wait(r, d.Answers)
		g.disk.put(kvs...)
		settle(true)
		g.waiting = slices.DeleteFunc(g.waiting, func(w *Request) bool { return w.Run == r.Run })
		g.waiting = append(g.waiting, r)
	default:
		g.reached["refused"]++
		if over == nil {
			g.Errorf("run %d was refused for nothing: %s", r.Run, d.Words)
		}
		d.Settle(true)
		for _, a := range over {
			g.latched[a] = true
		}
		if events := g.disk.refuse(g.g, r, d.Answers); len(events) > 0 {
			g.reached["latched"] += len(events)
		}
		g.disk.end(g.g, r, g.now)
		g.waiting = slices.DeleteFunc(g.waiting, func(w *Request) bool { return w.Run == r.Run })
	}
}

// counts are the calls that count for a rule.
func (g *game) counts(c Calls, since time.Time) (list []*sentOne) {
	for _, one := range g.sent {
		if !one.gone && one.at.After(since) && means(c, one.Request) {
			list = append(list, one)
		}
	}
	return list
}

// means is which.holds, written another time.
func means(c Calls, r *Request) bool {
	one := func(patterns []string, names ...string) bool {
		for _, p := range patterns {
			for _, name := range names {
				if p == name || strings.HasSuffix(p, "*") && strings.HasPrefix(name, strings.TrimSuffix(p, "*")) {
					return true
				}
			}
		}
		return false
	}
	named := len(c.Actions) == 0 && len(c.Kinds) == 0 || one(c.Actions, r.Action) || r.Kind != "" && one(c.Kinds, r.Kind)
	return named && (len(c.Playbooks) == 0 || one(c.Playbooks, r.Chain...))
}

// room says which limit a call would exceed; empty: none.
func (g *game) room(r *Request) string {
	for i, l := range g.settings.Limits {
		if !means(l.Calls, r) {
			continue
		}
		if l.Rate > 0 && len(g.counts(l.Calls, g.now.Add(-l.Per))) >= l.Rate {
			return fmt.Sprintf("limit %d lets %d go within %s", i, l.Rate, l.Per)
		}
		open := 0
		for _, one := range g.counts(l.Calls, time.Time{}) {
			if !one.ended {
				open++
			}
		}
		if l.Concurrent > 0 && open >= l.Concurrent {
			return fmt.Sprintf("limit %d lets %d go at the same time", i, l.Concurrent)
		}
	}
	return ""
}

// othersWait reports whether somebody asked before who waits for a limit that the call
// needs too.
func (g *game) othersWait(r *Request) bool {
	for _, l := range g.settings.Limits {
		for _, w := range g.waiting {
			if means(l.Calls, r) && means(l.Calls, w) && w.Run != r.Run && !w.Since.After(r.Since) {
				return true
			}
		}
	}
	return false
}

// over lists what a call goes beyond: the accounts that have latched, or would.
func (g *game) over(r *Request) (list []account) {
	all := slices.Clone(g.settings.Budgets)
	builtIn := builtIn()
	builtIn.Hosts = all[0].Hosts
	all[0] = builtIn
	for _, b := range all {
		if !means(b.Calls, r) {
			continue
		}
		a := account{budget: b.Name}
		switch b.Per {
		case perPlaybook:
			a.of = r.Chain[0]
		case perAction:
			a.of = r.Action
		}
		most := b.Hosts
		if share, err := readShare(b.Share); err == nil && (g.fleet > 0 || b.Hosts == 0) {
			most = max(1, b.AtLeast, int(share*float64(g.fleet)+1e-6))
			if b.Hosts > 0 {
				most = min(most, b.Hosts)
			}
		}
		hosts, all := map[string]bool{}, false
		for i, one := range g.sent {
			if i < g.rearmed[a] || one.gone || !one.at.After(g.now.Add(-b.Window)) || !means(b.Calls, one.Request) ||
				b.Per == perPlaybook && one.Chain[0] != a.of || b.Per == perAction && one.Action != a.of {
				continue
			}
			all = all || one.Everywhere
			for _, h := range one.Hosts {
				hosts[h.ID] = true
			}
		}
		before := len(hosts)
		for _, h := range r.Hosts {
			hosts[h.ID] = true
		}
		beyond := !all && len(hosts) > before && len(hosts) > most
		if r.Everywhere && !all {
			beyond = g.fleet == 0 || max(g.fleet, len(hosts)) > most
		}
		if g.latched[a] || beyond {
			list = append(list, a)
		}
	}
	return list
}

func (g *game) settle(i int, kept bool) {
	p := g.pending[i]
	g.pending = slices.Delete(g.pending, i, i+1)
	if kept {
		kvs, _ := p.taken.Keep()
		g.disk.put(kvs...)
	} else {
		g.reached["not kept"]++
		p.one.gone = true
	}
	p.taken.Settle(kept)
}

func (g *game) endOne() {
	var open []*sentOne
	for _, one := range g.sent {
		if !one.ended && !one.gone && !slices.ContainsFunc(g.pending, func(p *pendingOne) bool { return p.one == one }) {
			open = append(open, one)
		}
	}
	if len(open) > 0 {
		one := open[g.rnd.IntN(len(open))]
		g.disk.end(g.g, one.Request, g.now)
		one.ended = true
		g.reached["ended"]++
	}
}

// wakeDue lets those ask again whose time has come, and those that were told to.
func (g *game) wakeDue() {
	for _, r := range slices.Clone(g.waiting) {
		g.ask(r)
	}
}

// restart is a kill -9: what was not committed never was. The guard that comes back says
// the same as the one before.
func (g *game) restart() {
	g.reached["restarted"]++
	for len(g.pending) > 0 {
		g.settle(0, g.rnd.IntN(2) == 0)
	}
	for n := len(g.sent) - 1; n != len(g.sent); { // who can go out now keeps a place, and a restart forgets places
		n = len(g.sent)
		g.wakeDue()
		for len(g.pending) > 0 {
			g.settle(0, true)
		}
	}
	next := g.disk.restart(g.T, g.settings, g.now)
	for _, guard := range []*Guard{g.g, next} { // those who wait come back
		for _, r := range g.waiting {
			r.At = g.now
			if d := guard.Ask(r); !d.OK && !d.Until.IsZero() {
				guard.Wait(r, d.Answers)
			}
		}
	}
	for range 10 {
		r := g.call()
		before, after := g.g.Ask(r), next.Ask(r)
		if before.OK != after.OK || before.State != after.State || !before.Until.Equal(after.Until) || before.Words != after.Words {
			g.Errorf("before the restart: %t %s %s %s\nafterwards: %t %s %s %s", before.OK, before.State, before.Until, before.Words, after.OK, after.State, after.Until, after.Words)
		}
	}
	g.g = next
}

func (g *game) rearm() {
	for _, b := range g.g.Budgets(g.now) {
		if b.Latched == nil {
			continue
		}
		kvs, done, err := g.g.Rearm(b.Name, Rearmed{By: "ann", Reason: "it was right", At: g.now})
		if err != nil {
			g.Errorf("re-arm %s: %v", b.Name, err)
			return
		}
		// What is being committed would count for what was before.
		for len(g.pending) > 0 {
			g.settle(0, true)
		}
		g.disk.put(kvs...)
		done()
		g.reached["re-armed"]++
		for a := range g.latched {
			if a.budget == b.Name {
				delete(g.latched, a)
				g.rearmed[a] = len(g.sent)
			}
		}
		return
	}
}

// drain lets everything end: who waits goes out, or is refused, within the time that the
// limits take for so many.
func (g *game) drain() {
	for range 2 * (len(g.waiting) + 1) {
		for len(g.pending) > 0 {
			g.settle(0, true)
		}
		for _, one := range g.sent {
			if !one.ended && !one.gone {
				g.disk.end(g.g, one.Request, g.now)
				one.ended = true
			}
		}
		g.wakeDue()
		if len(g.waiting) == 0 && len(g.pending) == 0 {
			break
		}
		g.now = g.now.Add(31 * time.Minute)
	}
	if len(g.waiting) > 0 {
		g.Errorf("%d calls wait for ever, the first of run %d", len(g.waiting), g.waiting[0].Run)
	}
	for key := range g.disk {
		if strings.HasPrefix(key, callPrefix) && g.disk[key].Expires.IsZero() {
			g.Errorf("left behind: %s", key)
		}
	}
}

// Many goroutines at once get no more than there is.
func TestLimitsAndBudgetsUnderLoad(t *testing.T) {
	const most, hosts, atOnce = 7, 5, 3
	s := Settings{
		Limits:  []Limit{{Calls: Calls{Actions: []string{"host.tag"}}, Rate: most, Per: time.Hour}, {Calls: Calls{Actions: []string{"defender.scan"}}, Concurrent: atOnce}},
		Budgets: []Budget{{Name: "scans", Calls: Calls{Actions: []string{"defender.scan"}}, Hosts: hosts, Window: time.Hour}},
	}
	g := newGuard(t, s)
	var tagged, open, worst atomic.Int64
	var mu sync.Mutex
	scanned := map[string]bool{}
	var wg sync.WaitGroup
	for worker := range 32 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 2))
			for n := range 200 {
				kept := rnd.IntN(3) > 0
				r := call(worker*1000+n+1, "host.tag", now, fmt.Sprint("host-", rnd.IntN(20)))
				if n%2 == 0 {
					r.Action = "defender.scan"
				}
				d := g.Take(r)
				switch {
				case !d.OK:
					d.Settle(true)
					if !d.Until.IsZero() {
						g.Wait(r, d.Answers)
					}
				case !kept:
					d.Settle(false)
				default:
					if r.Action == "host.tag" {
						tagged.Add(1)
					} else {
						mu.Lock()
						scanned[r.Hosts[0].ID] = true
						mu.Unlock()
						if n := open.Add(1); n > worst.Load() {
							worst.Store(n)
						}
					}
					d.Settle(true)
				}
				if d.OK && kept && r.Action == "defender.scan" {
					open.Add(-1)
				}
				_, _, settle := g.End(r.Run, r.Step, soar.StepExecuted, now)
				settle(true)
				g.Budgets(now)
			}
		})
	}
	wg.Wait()
	if n := tagged.Load(); n != most {
		t.Errorf("%d calls within an hour, and %d may be", n, most)
	}
	if len(scanned) > hosts || worst.Load() > atOnce {
		t.Errorf("%d hosts scanned of %d, %d at the same time of %d", len(scanned), hosts, worst.Load(), atOnce)
	}
}
