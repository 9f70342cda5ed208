package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// hostInput are the arguments of actions that jobs do in tests.
type hostInput struct {
	Host string         `yaml:"host"`
	Text string         `yaml:"text"`
	More map[string]any `yaml:"more"`
}

// fleetAction is an action on a host whose command is under way until it was polled.
type fleetAction struct {
	*fakeAction
	mu           sync.Mutex
	open, most   int
	once         map[string]int // by host
	polls        map[string]int
	ready        func(host string) error
	executeAfter int
}

func newFleetAction(server *fakeServer, effect Effect) *fleetAction {
	a := &fleetAction{once: map[string]int{}, polls: map[string]int{}, executeAfter: 1}
	a.fakeAction = &fakeAction{server: server, spec: Spec{Name: "fleet.act", Effect: effect, Input: &hostInput{}, Timeout: time.Hour}}
	return a
}

func (a *fleetAction) Ready(_ context.Context, call Call) error {
	if a.ready == nil {
		return nil
	}
	return a.ready(call.With["host"].(string))
}

func (a *fleetAction) Do(_ context.Context, call Call) (Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host := call.With["host"].(string)
	a.once[host]++
	a.open++
	a.most = max(a.most, a.open)
	return Outcome{State: soar.StepAccepted, Ref: "c-" + host, Target: host, PollAfter: time.Millisecond}, nil
}

func (a *fleetAction) Poll(_ context.Context, _ Call, ref string) (Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.polls[ref]++; a.polls[ref] <= a.executeAfter {
		return Outcome{State: soar.StepAccepted, PollAfter: time.Millisecond}, nil
	}
	a.open--
	return Outcome{State: soar.StepExecuted, Summary: "did it", Output: map[string]any{"host": ref}}, nil
}

func (a *fleetAction) sent() (hosts, calls, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.once {
		calls += n
	}
	return len(a.once), calls, a.most
}

func jobGuard(t testing.TB, s guard.Settings) *guard.Guard {
	t.Helper()
	g, err := guard.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func hostsOfJob(n int) (hosts []JobHost) {
	for i := range n {
		hosts = append(hosts, JobHost{ID: fmt.Sprintf("h-%d", i), Name: fmt.Sprintf("pc-%d", i)})
	}
	return hosts
}

// linesOf are the lines of a job, and whether all of its runs have ended.
func linesOf(t testing.TB, j Journal, job Job) (lines []JobLine, over bool) {
	t.Helper()
	over = true
	for _, id := range job.Runs {
		run, err := j.GetRun(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := j.Entries(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		part, err := JobLines(run, entries)
		if err != nil {
			t.Fatal(err)
		}
		lines, over = append(lines, part...), over && run.State.Ended()
	}
	return lines, over
}

// awaitRuns waits until all runs of a job have ended.
func awaitRuns(t testing.TB, s *store.Store, job Job) {
	t.Helper()
	for _, id := range job.Runs {
		for {
			changed := s.Changed(soar.SignalRuns)
			run, err := s.GetRun(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if run.State.Ended() {
				break
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatal(context.Cause(t.Context()))
			}
		}
	}
}

// Two jobs side by side keep their own bounds and the one of all jobs, with effects and
// without.
func TestJobsSideBySide(t *testing.T) {
	for _, effect := range []Effect{Reads, Repeatable, Once} {
		t.Run(string(effect), func(t *testing.T) {
			s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), effect)
			g := jobGuard(t, guard.Settings{Limits: []guard.Limit{{Name: "jobs", Concurrent: 12}}})
			e, stop := running(t, s, map[string]Action{"fleet.act": act}, nil, EngineOptions{Guard: g, Hosts: anyHost})
			var jobs []Job
			for n := range 2 {
				hosts := hostsOfJob(120)
				for i := range hosts {
					hosts[i].ID = fmt.Sprintf("%d-%s", n, hosts[i].ID)
				}
				job, err := e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hosts, AtOnce: 9, By: "ann", Reason: "to see"})
				if err != nil {
					t.Fatal(err)
				}
				jobs = append(jobs, job)
			}
			for _, job := range jobs {
				awaitRuns(t, s, job)
				lines, _ := linesOf(t, s, job)
				for i, l := range lines {
					if l.State != string(soar.StepExecuted) || l.Words != "did it" || !strings.HasSuffix(l.Host, fmt.Sprintf("-h-%d", i)) || l.StartedAt.IsZero() {
						t.Errorf("line %d: %+v", i, l)
					}
				}
			}
			stop()
			if hosts, calls, most := act.sent(); hosts != 240 || calls != 240 || most > 12 || most < 10 {
				t.Errorf("%d calls to %d hosts, %d at the same time", calls, hosts, most)
			}
			if kvs, err := s.KV(t.Context(), "guard/call/"); err != nil || len(kvs) != 0 {
				t.Errorf("the limits still count: %v, %v", kvs, err)
			}
		})
	}
}

// Hosts that are away take no place of those that are there.
func TestAwayHostsTakeNoPlace(t *testing.T) {
	s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), Once)
	act.ready = func(host string) error {
		if len(host) == len("h-1") { // the first ten
			return fmt.Errorf("%s is offline: %w", host, ErrNotNow)
		}
		return nil
	}
	e, stop := running(t, s, map[string]Action{"fleet.act": act}, nil, EngineOptions{Hosts: anyHost})
	job, err := e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(60), AtOnce: 2, Wait: time.Hour, By: "ann", Reason: "to see"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		changed := s.Changed(soar.SignalRuns)
		lines, _ := linesOf(t, s, job)
		held, done := 0, 0
		for _, l := range lines {
			if l.State == lineHeld && strings.Contains(l.Words, "offline") {
				held++
			}
			if l.State == string(soar.StepExecuted) {
				done++
			}
		}
		if held == 10 && done == 50 {
			break
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("%d wait and %d are done", held, done)
		}
	}
	stop()
}

// What stands in the arguments arrives as it is, and the same order has the same version.
func TestArgumentsOfJobs(t *testing.T) {
	e, err := NewEngine(newMemJournal(), map[string]Action{"fleet.act": newFleetAction(newFakeServer(), Once)}, nil, EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", " ", "yes", "1", "null", "~", "a: b", "- a", "# x", "${{ .alert }}", "$${{ .alert }}", "$$${{", "}}", "'; drop", "\"\\", "a\nb\n", "\n\n a", "\r\n", "\t",
		"\x00\x01\x7f", "\u0085\u2028\ufeff", "é😀", "&a *a !!int |", strings.Repeat("long ", 5000),
	} {
		with := map[string]any{"text": text, "more": map[string]any{text: []any{text, 1.0, 1e6, 0.5, -3.0, 1e300, true, nil, map[string]any{}}, "${{": "x"}}
		order := JobOrder{Action: "fleet.act", With: with, Hosts: hostsOfJob(1), By: "ann", Reason: "to see"}
		pb, err := e.writeJob(&order)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if again, err := e.writeJob(&order); err != nil || again.Hash != pb.Hash {
			t.Errorf("%q: another version: %v", text, err)
		}
		in := &input{object: map[string]any{"item": map[string]any{"id": "h-1"}}}
		got, err := pb.program[0].with.object(t.Context(), in)
		want := map[string]any{"text": text, "more": with["more"], "host": "h-1"}
		if a, b := encoded(t, got), encoded(t, want); err != nil || a != b {
			t.Errorf("%q arrived as %s, %v", text, a, err)
		}
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A step of a playbook that is done for each of many hosts waits for the same limit as
// jobs, where that is told to count it.
func TestForEachCountsAsJobs(t *testing.T) {
	for _, effect := range []Effect{Reads, Once} {
		t.Run(string(effect), func(t *testing.T) {
			s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), effect)
			actions := map[string]Action{"fleet.act": act}
			g := jobGuard(t, guard.Settings{Limits: []guard.Limit{{Name: "jobs", Concurrent: 5, Reads: true, Calls: guard.Calls{Playbooks: []string{"sweep"}}}}})
			set := loadText(t, actions, `
playbook: sweep
on: manual
steps:
  - {id: each, for_each: "[range(80) | \"h-\\(.)\"]", max_parallel: 40, do: fleet.act, with: {host: "${{ .item }}"}}
`)
			e, stop := running(t, s, actions, set, EngineOptions{Guard: g, Hosts: anyHost})
			run, err := e.Start(t.Context(), Manual{Playbook: "sweep", By: "ann", Enforce: true})
			if err != nil {
				t.Fatal(err)
			}
			awaitRuns(t, s, Job{Runs: []soar.RunID{run.ID}})
			stop()
			if hosts, calls, most := act.sent(); hosts != 80 || calls != 80 || most > 5 || most < 4 {
				t.Errorf("%d calls to %d hosts, %d at the same time", calls, hosts, most)
			}
		})
	}
}

// Jobs are forgotten with the last of their runs.
func TestJobsAreForgotten(t *testing.T) {
	s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), Reads)
	gone := Job{ID: 1, Action: "fleet.act", Runs: []soar.RunID{2}}
	value, err := json.Marshal(gone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), soar.Change{KV: []soar.KV{{Key: jobPrefix + gone.ID.String(), Value: string(value)}}}); err != nil {
		t.Fatal(err)
	}
	e, stop := running(t, s, map[string]Action{"fleet.act": act}, nil, EngineOptions{Hosts: anyHost})
	var last Job
	for range 2 {
		if last, err = e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(1), By: "ann", Reason: "to see"}); err != nil {
			t.Fatal(err)
		}
		awaitRuns(t, s, last)
	}
	stop()
	jobs, err := ReadJobs(func(prefix string) ([]soar.KV, error) { return s.KV(t.Context(), prefix) })
	if err != nil || len(jobs) != 2 || jobs[0].ID != last.ID {
		t.Errorf("%+v, %v", jobs, err)
	}
}

// Find tells what the server knows of a host.
func (a *fleetAction) Find(_ context.Context, call Call, since time.Time) ([]Found, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host := call.With["host"].(string)
	if a.once[host] == 0 {
		return nil, nil
	}
	return []Found{{Ref: "c-" + host, At: since.Add(clockSkew), Mark: call.Mark}}, nil
}

// A job that is stopped again and again in the middle loses nothing, does nothing twice,
// and never has more under way than it may.
func TestJobStoppedAgainAndAgain(t *testing.T) {
	s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), Once)
	act.executeAfter = 3
	actions := map[string]Action{"fleet.act": act}
	options := EngineOptions{Hosts: anyHost, CallTimeout: time.Second, SettleFor: time.Second, Drain: time.Millisecond}
	const hosts = 160
	var job Job
	done := func() int {
		lines, _ := linesOf(t, s, job)
		n := 0
		for _, l := range lines {
			n += b2i(l.State == string(soar.StepExecuted))
		}
		return n
	}
	rounds := 0
	for finished := 0; finished < hosts; rounds++ {
		e, stop := running(t, s, actions, nil, options)
		if rounds == 0 {
			var err error
			if job, err = e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(hosts), AtOnce: 8, By: "ann", Reason: "to see"}); err != nil {
				t.Fatal(err)
			}
		}
		for enough := finished + 25; finished < min(enough, hosts); {
			changed := s.Changed(soar.SignalRuns)
			if finished = done(); finished < min(enough, hosts) {
				<-changed
			}
		}
		stop()
	}
	if got, calls, most := act.sent(); got != hosts || calls != hosts || most > 8 || rounds < 3 {
		t.Errorf("%d calls to %d hosts, %d at the same time, in %d rounds", calls, got, most, rounds)
	}
	if kvs, err := s.KV(t.Context(), "guard/call/"); err != nil || len(kvs) != 0 {
		t.Errorf("the limits still count: %v, %v", kvs, err)
	}
}

// A reading call that stopping cuts short is made again by the next start: it did not
// fail.
func TestReadsThatStoppingCutsShort(t *testing.T) {
	s, act := openStore(t, t.TempDir()), newFleetAction(newFakeServer(), Reads)
	begun, first := make(chan struct{}), true
	cut := &cutShort{fleetAction: act, do: func(ctx context.Context) error {
		if !first {
			return nil
		}
		first = false
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	actions := map[string]Action{"fleet.act": cut}
	e, stop := running(t, s, actions, nil, EngineOptions{Hosts: anyHost, Drain: time.Millisecond})
	job, err := e.StartJob(t.Context(), JobOrder{Action: "fleet.act", Hosts: hostsOfJob(1), By: "ann", Reason: "to see"})
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	if lines, over := linesOf(t, s, job); over || lines[0].State != string(soar.StepSent) {
		t.Errorf("after the stop: %+v", lines)
	}
	_, stop = running(t, s, actions, nil, EngineOptions{Hosts: anyHost})
	awaitRuns(t, s, job)
	stop()
	if lines, _ := linesOf(t, s, job); lines[0].State != string(soar.StepExecuted) {
		t.Errorf("after the next start: %+v", lines)
	}
}

// cutShort is an action whose first call ends when it is cut short.
type cutShort struct {
	*fleetAction
	do func(ctx context.Context) error
}

func (a *cutShort) Do(ctx context.Context, call Call) (Outcome, error) {
	if err := a.do(ctx); err != nil {
		return Outcome{}, err
	}
	return a.fleetAction.Do(ctx, call)
}

// BenchmarkJob does jobs over many hosts of which 50 are under way at the same time: alone,
// and three of them that keep each other waiting. What a host costs must not grow with
// their number.
func BenchmarkJob(b *testing.B) {
	for _, bb := range []struct{ jobs, hosts int }{{1, 100}, {1, 1000}, {3, 300}} {
		b.Run(fmt.Sprint(bb.jobs, "x", bb.hosts), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s, act := openStore(b, b.TempDir()), newFleetAction(newFakeServer(), Once)
				e, stop := running(b, s, map[string]Action{"fleet.act": act}, nil, EngineOptions{Hosts: anyHost})
				b.StartTimer()
				var jobs []Job
				for n := range bb.jobs {
					hosts := hostsOfJob(bb.hosts)
					for i := range hosts {
						hosts[i].ID = fmt.Sprintf("%d-%s", n, hosts[i].ID)
					}
					job, err := e.StartJob(b.Context(), JobOrder{Action: "fleet.act", Hosts: hosts, AtOnce: 50 - 15*(bb.jobs-1), By: "ann", Reason: "to see"})
					if err != nil {
						b.Fatal(err)
					}
					jobs = append(jobs, job)
				}
				for _, job := range jobs {
					awaitRuns(b, s, job)
				}
				b.StopTimer()
				stop()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*bb.jobs*bb.hosts), "µs/host")
		})
	}
}
