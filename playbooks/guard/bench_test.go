package guard

import (
	"fmt"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const (
	benchHosts   = 100_000
	benchIntents = 10_000
	benchRules   = 20
)

// BenchmarkGuard measures one decision in a fleet of 100,000 hosts of which all were acted
// on within the window of a budget, with 10,000 calls under way, as many steps that wait
// for a limit, and 20 rules of each kind. It must stay under 50 µs.
func BenchmarkGuard(b *testing.B) {
	g, at := crowded(b)
	runs := 1 << 20
	call := func(n int) *Request {
		runs++
		at = at.Add(time.Millisecond)
		r := benchCall(runs, fmt.Sprint("host-", n%benchHosts), at)
		r.Action, r.Kind = "process.kill", "process"
		return r
	}
	b.Run("ask", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if d := g.Ask(call(n)); !d.OK {
				b.Fatal(d.Words)
			}
		}
	})
	b.Run("take", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			r := call(n)
			d := g.Take(r)
			if !d.OK {
				b.Fatal(d.Words)
			}
			d.Settle(true)
			b.StopTimer()
			_, _, settle := g.End(r.Run, r.Step, soar.StepExecuted, at)
			settle(true)
			b.StartTimer()
		}
	})
	b.Run("end", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			b.StopTimer()
			r := call(n)
			d := g.Take(r)
			d.Settle(true)
			b.StartTimer()
			_, _, settle := g.End(r.Run, r.Step, soar.StepExecuted, at)
			settle(true)
		}
	})
	b.Run("wait", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			r := benchCall(1<<42+n, fmt.Sprint("host-", n%benchHosts), at)
			r.Action, r.Kind = "defender.scan", "scan"
			d := g.Ask(r)
			if d.OK {
				b.Fatal("it does not wait")
			}
			g.Wait(r, d.Answers)
			b.StopTimer()
			_, _, settle := g.End(r.Run, r.Step, soar.StepExpired, at)
			settle(true)
			b.StartTimer()
		}
	})
}

// benchCall is a call of a run of its own.
func benchCall(run int, host string, at time.Time) *Request {
	r := contain(plain(host))
	r.Run, r.At, r.Since, r.Attempt, r.Call = soar.RunID(run+1), at, at, 1, fmt.Sprint("call ", run)
	r.Chain = []string{"p"}
	return r
}

// crowded is a guard in the middle of a bad day.
func crowded(b *testing.B) (*Guard, time.Time) {
	b.Helper()
	s := Settings{Everywhere: []string{"ioc.*"}, Budgets: []Budget{{Name: BuiltInBudget, Share: "100%", Hosts: 2 * benchHosts, Window: 24 * time.Hour}}}
	for n := range benchRules {
		name := fmt.Sprint("rule-", n)
		s.Protected = append(s.Protected, Protection{Name: name, Match: Match{Tags: []string{"crown-" + name}, Names: []string{name + "*"}}})
		s.Limits = append(s.Limits, Limit{Name: name, Calls: Calls{Actions: []string{"host.*", "process.*"}}, Rate: maxRate, Per: time.Hour, Concurrent: 10 * benchIntents})
		s.Budgets = append(s.Budgets, Budget{Name: name, Calls: Calls{Actions: []string{"process.*"}}, Hosts: 2 * benchHosts, Window: 24 * time.Hour})
		s.Freezes = append(s.Freezes, Freeze{Name: name, Days: []string{"mon-thu"}, From: "22:00", To: "06:00", Timezone: "Europe/Berlin"})
	}
	s.Limits = append(s.Limits, Limit{Calls: Calls{Kinds: []string{"scan"}}, Rate: 1, Per: time.Hour})
	g := newGuard(b, s)
	g.SetFleet(benchHosts)
	take := func(r *Request) {
		d := g.Take(r)
		if !d.OK {
			b.Fatal(d.Words)
		}
		d.Settle(true)
	}
	at := now
	for n := range benchHosts { // the calls of a day, on hosts one after the other
		at = at.Add(20 * time.Hour / benchHosts)
		r := benchCall(n, fmt.Sprint("host-", n), at)
		r.Action, r.Kind, r.Sense = "process.kill", "process", "kill"
		take(r)
		if n >= benchIntents { // the first ones are still under way
			_, _, settle := g.End(r.Run, r.Step, soar.StepExecuted, at)
			settle(true)
		}
		if n == benchHosts-1 {
			scan := benchCall(1<<40, "host-0", at)
			scan.Action, scan.Kind = "defender.scan", "scan"
			take(scan)
		}
	}
	for n := range benchIntents {
		r := benchCall(1<<41+n, "host-0", at.Add(time.Duration(n)))
		r.Action, r.Kind = "defender.scan", "scan"
		g.Wait(r, g.Ask(r).Answers)
	}
	return g, at
}
