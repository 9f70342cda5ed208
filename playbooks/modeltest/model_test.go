package modeltest

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
)

// Random sequences of alerts, playbooks, answers of people, releases, crashes, hosts that
// go away and faults of the server keep what the guard promises: no call that must not
// happen twice is sent twice; nothing is done to a protected host; no budget is exceeded;
// after quiet, each host is contained or not as was asked for last; no run is done of
// which a step is not verified; and every refusal has its reason.
//
//	MODEL_SEQUENCES=10000   how many are played; 300 by default, 40 with -short
//	MODEL_SEED=7            by which they are drawn; 1 by default
//	MODEL_SEQUENCE=123      plays this one alone, again and again until it fails
//	MODEL_LOG=1             shows what the engine has to say meanwhile
func TestModelActions(t *testing.T) {
	seed, count, only := uint64(number(t, "MODEL_SEED", 1)), number(t, "MODEL_SEQUENCES", 300), number(t, "MODEL_SEQUENCE", -1)
	if testing.Short() && os.Getenv("MODEL_SEQUENCES") == "" {
		count = 40
	}
	fmt.Printf("model: seed %d, %d sequences\n", seed, count)
	sim, err := ersim.New(fleetOptions())
	if err != nil {
		t.Fatal(err)
	}
	fleet := sim.Hosts()
	numbers := make(chan int)
	go func() { // ends when all are taken
		defer close(numbers)
		if only >= 0 {
			for range 50 {
				numbers <- only
			}
			return
		}
		for n := range count {
			numbers <- n
		}
	}()
	var mu sync.Mutex
	reached, failed := map[string]int{}, map[int]bool{}
	t.Run("sequences", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for n := range numbers {
					mu.Lock()
					enough := len(failed) >= 3 || failed[n]
					mu.Unlock()
					if enough {
						continue // the first few tell enough
					}
					p := newPlan(seed, n, fleet)
					out := play(t, p)
					mu.Lock()
					out.add(reached)
					failed[n] = failed[n] || len(out.broken) > 0
					if !failed[n] {
						delete(failed, n)
					}
					mu.Unlock()
					if len(out.broken) > 0 {
						t.Errorf("sequence %d of seed %d (MODEL_SEED=%d MODEL_SEQUENCE=%d go test ./playbooks/modeltest -run TestModelActions)\n%s",
							n, seed, seed, n, shrink(t, p, out))
					}
				}
			})
		}
	})
	if testing.Verbose() {
		for _, what := range slices.Sorted(maps.Keys(reached)) {
			t.Logf("%6d %s", reached[what], what)
		}
	}
	if only < 0 && count >= 300 && !t.Failed() {
		for _, what := range mustReach {
			if reached[what] == 0 {
				t.Errorf("no sequence reached: %s", what)
			}
		}
	}
}

// mustReach is what a few hundred sequences come to, or the test tests too little.
var mustReach = []string{
	"crash at once", "crash before a commit", "crash after a commit", "crash before a call arrives", "crash before the answer of a call arrives",
	"lost call found", "lost call sent again", "call on its way for long", "disk full", "host away", "host enrolled anew",
	"guard: kill switch: waits", "guard: mode: observed", "guard: alert still open: refused", "guard: protected hosts: refused",
	"guard: open call: waits", "guard: open call: suppressed", "guard: limits: waits", "guard: budget: refused", "budget re-armed",
	"guard: change freeze: waits", "guard: change freeze: refused", "guard: approval: waits", "guard: approval: refused",
	"guard: ready: waits", "guard: ready: refused", "guard: ready: suppressed", "approval answered true", "approval answered false",
	"alert resolved by an analyst", "command cancelled by an analyst", "run cancelled by a person", "timed containment", "undone", "undo done",
	"host.contain verified", "host.contain failed", "host.contain expired", "host.release verified", "process.kill verified", "file.delete verified",
	"script.run executed", "defender.scan verified", "agent.restart verified", "host.tag verified", "alert.note verified", "alert.resolve verified",
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s is %q, and has to be a number", name, text)
	}
	return n
}

// maxShrinks bounds how often a sequence is played to make it shorter.
const maxShrinks = 400

// shrink leaves out moves as long as something goes wrong still, and tells what is left.
// What happens at the same moment happens in any order, so each try has a few chances.
func shrink(t *testing.T, p *plan, out played) string {
	t.Helper()
	plays := 0
	fails := func(moves []move) bool {
		for range 3 {
			if plays++; plays > maxShrinks {
				return false
			}
			smaller := *p
			smaller.moves = moves
			if again := play(t, &smaller); len(again.broken) > 0 {
				out = again
				return true
			}
		}
		return false
	}
	moves := p.moves
	for size := len(moves) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(moves); {
			if fewer := slices.Concat(moves[:at], moves[at+size:]); fails(fewer) {
				moves = fewer
			} else {
				at += size
			}
		}
	}
	var b strings.Builder
	for _, words := range out.broken {
		fmt.Fprintf(&b, "broken: %s\n", words)
	}
	p.tell(&b, moves)
	return b.String()
}

// tell writes a sequence down for people.
func (p *plan) tell(b *strings.Builder, moves []move) {
	s := &p.settings
	fmt.Fprintf(b, "steps wait %s at most; the engine is told of %d hosts; budget %d hosts within %s; limits %+v; approval %+v\n",
		p.hold, p.fleet, s.Budgets[0].Hosts, s.Budgets[0].Window, s.Limits, s.Approval)
	for n, set := range p.books {
		if load := fmt.Sprint("load set ", n); n > 0 && !slices.ContainsFunc(moves, func(m move) bool { return m.what == load }) {
			continue
		}
		for _, book := range set {
			fmt.Fprintf(b, "# set %d\n%s", n, book.text)
		}
	}
	for _, m := range moves {
		fmt.Fprintf(b, "+%-10s %s\n", m.wait, m.what)
	}
}
