package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// ofJob is a call of a job, in a run of its own.
func ofJob(job soar.RunID, atOnce, run int, at time.Time) *Request {
	r := call(run, "script.run", at, fmt.Sprint("host-", run))
	r.Job = &Job{ID: job, AtOnce: atOnce}
	return r
}

// Calls of a job above its bound wait, whatever runs they are in, also after a restart,
// and go out one by one as others end.
func TestJobsAreBounded(t *testing.T) {
	s := Settings{Budgets: []Budget{{Name: BuiltInBudget, Hosts: 1000}}}
	g, d := newGuard(t, s), disk{}
	var all []*Request
	for n := 1; n <= 5; n++ {
		all = append(all, ofJob(7, 2, n, now.Add(time.Duration(n)*time.Millisecond)))
	}
	for _, r := range all[:2] {
		if got := d.send(t, g, r); !got.OK {
			t.Fatalf("run %s: %+v", r.Run, got)
		}
	}
	for _, r := range all[2:] {
		got := g.Ask(r)
		if got.OK || got.Until.IsZero() || !strings.Contains(got.Words, `limit "job `+soar.RunID(7).String()+`": at most 2 at the same time`) {
			t.Fatalf("run %s: %+v", r.Run, got)
		}
		_, _, settle := g.Wait(r, got.Answers)
		settle(true)
		if _, waits := g.Turn(r.Run, r.Step, r.At); !waits {
			t.Errorf("run %s does not know that it waits", r.Run)
		}
	}
	if other := g.Ask(ofJob(8, 2, 9, now)); !other.OK {
		t.Errorf("another job: %+v", other)
	}
	g = d.restart(t, s, now)
	third := all[2]
	got := g.Ask(third)
	if got.OK {
		t.Fatalf("a restart forgot what is under way: %+v", got)
	}
	g.Wait(third, got.Answers)
	version, _ := g.Changed()
	d.end(g, all[0], now.Add(time.Second))
	if news, _ := g.News(); !news(third.Run, version) {
		t.Error("the next one is not called when one has ended")
	}
	if _, waits := g.Turn(third.Run, third.Step, now.Add(time.Second)); waits {
		t.Error("the one that was called goes on waiting")
	}
	if got := d.send(t, g, third); !got.OK {
		t.Errorf("the next one: %+v", got)
	}
	for _, r := range all[1:3] {
		d.end(g, r, now.Add(2*time.Second))
	}
	if len(d) != 0 && !onlyHits(d) {
		t.Errorf("left behind: %v", d)
	}
	for _, l := range g.caps.limits {
		if l.which.job != 0 {
			t.Errorf("the limit of a job that is over is still there: %s", l)
		}
	}
}

func onlyHits(d disk) bool {
	for key := range d {
		if !strings.HasPrefix(key, budgetPrefix) {
			return false
		}
	}
	return true
}

// The limit called jobs counts all jobs together, and what its settings name beside them.
func TestLimitOfJobs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits []Limit
		change func(r *Request) // of what is no part of a job
		sent   int              // of 60 of a job
		alike  bool             // the other call waits as well
	}{
		{name: "built in", sent: 50},
		{name: "another number", limits: []Limit{{Name: "jobs", Concurrent: 3}}, sent: 3},
		{name: "with playbooks", limits: []Limit{{Name: "jobs", Concurrent: 3, Calls: Calls{Playbooks: []string{"sweep"}}}},
			change: func(r *Request) { r.Playbook, r.Chain = "sweep", []string{"sweep"} }, sent: 3, alike: true},
		{name: "reads of playbooks unasked", limits: []Limit{{Name: "jobs", Concurrent: 3, Calls: Calls{Playbooks: []string{"sweep"}}}},
			change: func(r *Request) { r.Reads, r.Playbook, r.Chain = true, "sweep", []string{"sweep"} }, sent: 3},
		{name: "reads of playbooks", limits: []Limit{{Name: "jobs", Concurrent: 3, Reads: true, Calls: Calls{Playbooks: []string{"sweep"}}}},
			change: func(r *Request) { r.Reads, r.Playbook, r.Chain = true, "sweep", []string{"sweep"} }, sent: 3, alike: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, d := newGuard(t, Settings{Limits: tt.limits, Budgets: []Budget{{Name: BuiltInBudget, Hosts: 1000}}}), disk{}
			sent := 0
			for n := 1; n <= 60; n++ {
				r := ofJob(soar.RunID(n%2+1), 100, n, now.Add(time.Duration(n)))
				r.Reads = n%3 == 0
				if d.send(t, g, r).OK {
					sent++
				}
			}
			if sent != tt.sent {
				t.Errorf("%d calls of jobs were sent, want %d", sent, tt.sent)
			}
			other := call(99, "script.run", now.Add(time.Second), "a")
			if tt.change != nil {
				tt.change(other)
			}
			if got := g.Ask(other); got.OK == tt.alike {
				t.Errorf("a call of a playbook: %+v", got)
			}
		})
	}
}

// What only reads is asked about by the kill switch and the limits, and by nothing else.
func TestReadsOfJobs(t *testing.T) {
	s := Settings{Protected: []Protection{{Name: "all", Match: Match{Names: []string{"*"}}}}}
	g := newGuard(t, s)
	r := ofJob(7, 2, 1, now)
	r.Reads, r.Modes = true, []Voice{{Mode: soar.ModeObserve, Words: "the playbook only observes"}}
	if got := g.Ask(r); !got.OK || len(got.Answers) != 2 {
		t.Errorf("a reading call: %+v", got)
	}
	g.Pause(Thrown{By: "ann", Reason: "stop", At: now})
	if got := g.Ask(r); got.OK || got.Until.IsZero() || !strings.Contains(got.Words, "ann") {
		t.Errorf("while everything is paused: %+v", got)
	}
}

// A rehearsal knows what the guard knows, and leaves nothing with it.
func TestRehearsal(t *testing.T) {
	s := Settings{Budgets: []Budget{{Name: BuiltInBudget, Hosts: 3}}}
	g, d := newGuard(t, s), disk{}
	d.send(t, g, ofJob(7, 2, 1, now))
	rehearsal, err := g.Rehearsal(func(prefix string) (kvs []soar.KV, err error) {
		for key, kv := range d {
			if strings.HasPrefix(key, prefix) {
				kvs = append(kvs, kv)
			}
		}
		return kvs, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	let := 0
	for n := 2; n <= 6; n++ {
		r := ofJob(8, 100, n, now.Add(time.Second))
		r.Kind = "script"
		taken := rehearsal.Take(r)
		taken.Settle(true)
		if taken.OK {
			let++
		}
	}
	if let != 2 {
		t.Errorf("%d more hosts within a budget of 3 of which 1 is used", let)
	}
	if got := g.Budgets(now.Add(time.Second)); got[0].Used != 1 || got[0].Latched != nil {
		t.Errorf("the rehearsal was for real: %+v", got[0])
	}
}

// A step that is kept by its own job stands in nobody's way at the limit of all jobs, and
// what waits for a job that has room is called when another job's call ends.
func TestJobsDoNotBlockEachOther(t *testing.T) {
	s := Settings{Limits: []Limit{{Name: "jobs", Concurrent: 3}}, Budgets: []Budget{{Name: BuiltInBudget, Hosts: 1000}}}
	g, d := newGuard(t, s), disk{}
	at := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	wait := func(r *Request) {
		t.Helper()
		got := g.Ask(r)
		if got.OK {
			t.Fatalf("run %s does not wait", r.Run)
		}
		_, _, settle := g.Wait(r, got.Answers)
		settle(true)
	}
	one := ofJob(7, 2, 1, at(1))
	other := []*Request{ofJob(8, 3, 11, at(2)), ofJob(8, 3, 12, at(3))}
	d.send(t, g, one)
	d.send(t, g, other[0])
	d.send(t, g, other[1])
	two, three := ofJob(7, 2, 2, at(4)), ofJob(7, 2, 3, at(5)) // their job has room for one, and all jobs have none
	wait(two)
	wait(three)
	late := ofJob(8, 3, 13, at(6))
	wait(late)
	version, _ := g.Changed()
	d.end(g, other[0], at(7))
	if news, _ := g.News(); !news(two.Run, version) || news(late.Run, version) {
		t.Error("the first one that waits is not called, or another one is")
	}
	if got := d.send(t, g, two); !got.OK {
		t.Fatalf("the first one: %+v", got)
	}
	// Now the third of the first job waits in front of the late one, and its own job keeps it.
	version, _ = g.Changed()
	d.end(g, other[1], at(8))
	if news, _ := g.News(); !news(late.Run, version) {
		t.Error("the one that could go out is not called")
	}
	if got := g.Ask(three); got.OK {
		t.Errorf("a third call of a job of two: %+v", got)
	}
	if got := d.send(t, g, late); !got.OK {
		t.Errorf("it waits behind one that its own job keeps: %+v", got)
	}
}
