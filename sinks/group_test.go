package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// keptFeed is a memoryFeed that keeps values too, and ends the process when it is told
// to: the commit with which it does may have happened or not.
type keptFeed struct {
	*memoryFeed
	now func() time.Time

	mu     sync.Mutex
	values map[string]soar.KV
	taken  []*soar.Alert // by their key, from 1
	others int           // events about them
	left   int           // commits until the crash; below 0: none
	dead   bool
	after  bool
	crash  func()
}

var errKilled = errors.New("killed")

func newKeptFeed(t *testing.T) *keptFeed {
	return &keptFeed{memoryFeed: newFeed(t, 0), now: time.Now, values: map[string]soar.KV{}, left: -1}
}

// crashIn ends the process in so many commits, with the last one done or not.
func (f *keptFeed) crashIn(commits int, after bool, crash func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.after, f.crash, f.dead = commits, after, crash, false
}

func (f *keptFeed) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return soar.Committed{}, errKilled
	}
	dying := f.left == 0
	if f.left > 0 {
		f.left--
	}
	if dying {
		f.dead = true
		f.crash()
		if !f.after {
			return soar.Committed{}, errKilled
		}
	}
	done, err := f.memoryFeed.Commit(ctx, c)
	if err == nil {
		for _, kv := range c.KV {
			if kv.Value == "" {
				delete(f.values, kv.Key)
			} else {
				f.values[kv.Key] = kv
			}
		}
	}
	if dying {
		return soar.Committed{}, errKilled
	}
	return done, err
}

func (f *keptFeed) KV(ctx context.Context, prefix string) ([]soar.KV, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []soar.KV
	for key, kv := range f.values {
		if strings.HasPrefix(key, prefix) && (kv.Expires.IsZero() || kv.Expires.After(f.now())) {
			out = append(out, kv)
		}
	}
	slices.SortFunc(out, func(a, b soar.KV) int { return strings.Compare(a.Key, b.Key) })
	return out, ctx.Err()
}

// alerts adds new alerts of a rule, on hosts by turns, and returns the key of the last.
func (f *keptFeed) alerts(rule string, n, hosts int) int64 {
	for range n {
		f.mu.Lock()
		key := int64(len(f.taken) + 1)
		a := &soar.Alert{
			Server: "er", ID: fmt.Sprint(key), Source: "rule", Severity: soar.SeverityHigh, Rule: &soar.Rule{Name: rule},
			Host: soar.Host{Name: fmt.Sprintf("pc-%d", key%int64(hosts))},
		}
		f.taken = append(f.taken, a)
		f.mu.Unlock()
		f.add(soar.Event{ID: "alert.received/" + a.Ref(), Type: soar.EventAlertReceived, At: time.Now(), Alert: a, AlertKey: key})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.taken))
}

// of adds an event about an alert that is there.
func (f *keptFeed) of(key int64, ev soar.Event) {
	f.mu.Lock()
	f.others++
	ev.At, ev.Alert, ev.AlertKey = time.Now(), f.taken[key-1], key
	ev.ID = fmt.Sprintf("%s-%d", ev.Type, f.others)
	f.mu.Unlock()
	f.add(ev)
}

// keeper is a sink that keeps what it gets, the last of each id.
type keeper struct {
	mu     sync.Mutex
	events []soar.Event
	fail   func(ev soar.Event) error
}

func (k *keeper) Send(_ context.Context, events []soar.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ev := range events {
		if k.fail != nil {
			if err := k.fail(ev); err != nil {
				return err
			}
		}
	}
	k.events = append(k.events, events...)
	return nil
}
func (k *keeper) Close() error { return nil }

// got are the events of some types, each id once.
func (k *keeper) got(types ...soar.EventType) []soar.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := map[string]bool{}
	var out []soar.Event
	for _, ev := range k.events {
		if slices.Contains(types, ev.Type) && !seen[ev.ID] {
			seen[ev.ID] = true
			out = append(out, ev)
		}
	}
	return out
}

func byRule(t *testing.T, window, update time.Duration) GroupOptions {
	t.Helper()
	s := GroupSettings{By: []string{"rule"}}
	by, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return GroupOptions{By: by, Window: window, Update: update}
}

func TestGroupTellsTheFirstAndCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		forward(t, feed, sink, ForwarderOptions{FromStart: true, MaxBatch: 10, Group: byRule(t, 10*time.Minute, 10*time.Second)})
		feed.alerts("A", 1, 3)
		synctest.Wait()
		feed.alerts("A", 6, 3)
		feed.alerts("B", 1, 1)
		synctest.Wait()
		heads := sink.got(soar.EventAlertReceived)
		if len(heads) != 2 || heads[0].Alert.ID != "1" || heads[0].Group == nil || heads[0].Group.Count != 1 || heads[0].Group.Head != "er-1" || heads[1].Alert.ID != "8" {
			t.Fatalf("heads %+v", heads)
		}
		if more := sink.got(soar.EventAlertGrouped); len(more) != 0 {
			t.Errorf("an update before its time: %+v", more)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		more := sink.got(soar.EventAlertGrouped)
		if len(more) != 1 || more[0].ID != "alert.received/er-1-group-1" || more[0].Group.Count != 7 || more[0].Group.Hosts != 3 || more[0].Group.Closed || more[0].AlertKey != 1 || more[0].To != "siem" {
			t.Fatalf("updates %+v", more)
		}
		// What becomes of a member goes to the head, and is delivered.
		feed.of(3, soar.Event{Type: soar.EventStepFinished, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified}})
		feed.of(1, soar.Event{Type: soar.EventRunFinished, Run: &soar.RunSummary{State: soar.RunDone}})
		feed.of(8, soar.Event{Type: soar.EventApprovalRequested, Approval: &soar.Approval{ID: "q"}})
		synctest.Wait()
		rest := sink.got(soar.EventStepFinished, soar.EventRunFinished, soar.EventApprovalRequested)
		if len(rest) != 3 || rest[0].Group == nil || rest[0].Group.Head != "er-1" || rest[1].Group != nil || rest[2].Group != nil {
			t.Errorf("what became of them: %+v", rest)
		}
		// The window ends: the last word, and the next one begins a new group.
		feed.alerts("A", 1, 1)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		more = sink.got(soar.EventAlertGrouped)
		if last := more[len(more)-1]; !last.Group.Closed || last.Group.Count != 8 || len(more) != 3 {
			t.Errorf("%d updates, the last %+v; want 3, the last one closed with 8", len(more), last.Group)
		}
		if !strings.HasPrefix(more[2].Text, "8 alerts like er-1 in all, on 3 hosts, from ") {
			t.Errorf("in words: %s", more[2].Text)
		}
		feed.alerts("A", 1, 1)
		synctest.Wait()
		if heads = sink.got(soar.EventAlertReceived); len(heads) != 3 || heads[2].Group.Count != 1 {
			t.Errorf("heads after the window: %+v", heads)
		}
	})
}

func TestGroupKeys(t *testing.T) {
	ev := soar.Event{Alert: &soar.Alert{Server: "er", Source: "ioc", Severity: soar.SeverityLow, Host: soar.Host{Identifier: "uuid"}, Event: map[string]string{"sha256": "abc", "n": "1"}}}
	for _, tt := range []struct {
		by   []string
		want string
	}{
		{[]string{"rule"}, "ioc match"},
		{[]string{"host", "severity", "source", "server"}, "uuid, low, ioc, er"},
		{[]string{".alert.event.sha256"}, "abc"},
		{[]string{".alert.event | [.sha256, .none]"}, `["abc",null]`},
	} {
		s := GroupSettings{By: tt.by}
		keys, err := s.Compile()
		if err != nil {
			t.Fatal(err)
		}
		g := newGrouper("s", GroupOptions{By: keys}, nil, slog.New(slog.DiscardHandler))
		_, ok := g.kinOf(t.Context(), &ev)
		if shown := g.keyOf(t.Context(), &ev); !ok || shown != tt.want {
			t.Errorf("by %v: %q, %t; want %q", tt.by, shown, ok, tt.want)
		}
	}
	bad := GroupSettings{By: []string{"hosts", ".a |", "rule"}}
	if _, err := bad.Compile(); err == nil || !strings.Contains(err.Error(), `"hosts" is none of rule`) || !strings.Contains(err.Error(), ".a |") {
		t.Errorf("mistakes: %v", err)
	}
	// An expression that fails on an alert leaves that one alone.
	s := GroupSettings{By: []string{".alert.id + 1"}}
	keys, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := newGrouper("s", GroupOptions{By: keys}, nil, slog.New(slog.DiscardHandler)).kinOf(t.Context(), &ev); ok {
		t.Error("a failing expression groups")
	}
}

// A thousand like alerts in a minute, with a playbook acting on each: two messages,
// a few updates, and everything is counted.
func TestStorm(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause time.Duration // between two alerts
	}{{"in a row", 60 * time.Millisecond}, {"at once", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed, sink := newKeptFeed(t), &keeper{}
				forward(t, feed, sink, ForwarderOptions{FromStart: true, Group: GroupOptions{Storm: 20, StormUpdate: 10 * time.Second}})
				var keys []int64
				for i := range 1000 {
					key := feed.alerts("A", 1, 40)
					keys = append(keys, key)
					state := soar.StepVerified
					if i%100 == 99 {
						state = soar.StepFailed
					}
					feed.of(key, soar.Event{Type: soar.EventStepFinished, Outcome: &soar.Outcome{Action: "host.contain", State: state}})
					feed.of(key, soar.Event{Type: soar.EventRunFinished, Run: &soar.RunSummary{State: soar.RunDone}})
					time.Sleep(tt.pause)
				}
				feed.of(keys[500], soar.Event{Type: soar.EventApprovalRequested, Approval: &soar.Approval{ID: "q"}})
				feed.of(keys[500], soar.Event{Type: soar.EventApprovalDecided, Approval: &soar.Approval{ID: "q"}})
				feed.of(keys[501], soar.Event{Type: soar.EventTrouble, Text: "a person is needed"})
				time.Sleep(10 * time.Minute)
				synctest.Wait()

				alone := sink.got(soar.EventAlertReceived)
				updates := sink.got(soar.EventAlertGrouped)
				if len(alone) > stormFirst || len(updates) > 6 || len(updates) == 0 {
					t.Fatalf("%d messages and %d updates", len(alone), len(updates))
				}
				last := updates[len(updates)-1].Group
				if last.Count != 1000 || last.Hosts != 40 || !last.Closed || last.Head != alone[0].Alert.Ref() || len(last.Names) != maxNames {
					t.Errorf("the last update: %+v", last)
				}
				own := len(alone)
				if got := last.Runs["done"]; got != 1000-own {
					t.Errorf("%d runs counted, want %d", got, 1000-own)
				}
				if ok, bad := last.Steps["host.contain verified"], last.Steps["host.contain failed"]; ok != 990-own || bad != 10 {
					t.Errorf("steps %v, want %d verified and 10 failed", last.Steps, 990-own)
				}
				if steps := sink.got(soar.EventStepFinished); len(steps) != own+maxShownFailures {
					t.Errorf("%d steps were delivered, want those of %d alerts and %d failures", len(steps), own, maxShownFailures)
				}
				if asked := sink.got(soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventTrouble); len(asked) != 3 || asked[0].Group == nil || asked[0].Group.Head != last.Head {
					t.Errorf("what needs a person: %+v", asked)
				}
			})
		})
	}
}

func TestStormBoundsWhatAsksPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		forward(t, feed, sink, ForwarderOptions{FromStart: true, Group: GroupOptions{Storm: 20, StormUpdate: 10 * time.Second}})
		feed.alerts("A", 100, 1)
		synctest.Wait()
		time.Sleep(time.Second)
		for key := int64(4); key <= 100; key++ {
			feed.of(key, soar.Event{Type: soar.EventApprovalRequested, Approval: &soar.Approval{ID: fmt.Sprint(key)}})
			feed.of(key, soar.Event{Type: soar.EventUndoSoon, Undo: &soar.Undo{}})
			feed.of(key, soar.Event{Type: soar.EventNotification, Text: "hello", To: "siem"})
		}
		feed.of(50, soar.Event{Type: soar.EventApprovalDecided, Approval: &soar.Approval{ID: "50"}})
		feed.of(4, soar.Event{Type: soar.EventApprovalDecided, Approval: &soar.Approval{ID: "4"}})
		time.Sleep(time.Minute)
		synctest.Wait()
		for kind, want := range map[soar.EventType]int{
			soar.EventApprovalRequested: maxShownApprovals, soar.EventUndoSoon: maxShownUndos, soar.EventNotification: maxShownNotes, soar.EventApprovalDecided: 1,
		} {
			if got := sink.got(kind); len(got) != want {
				t.Errorf("%d of %s, want %d", len(got), kind, want)
			}
		}
		updates := sink.got(soar.EventAlertGrouped)
		if got := updates[len(updates)-1].Group.Steps; got["approval requested"] != 97-maxShownApprovals || got["message held back"] != 97-maxShownNotes || got["undo soon"] != 97-maxShownUndos {
			t.Errorf("counted %v", got)
		}
	})
}

// What comes slower than a storm is delivered as it was, if a little later.
func TestLowRateIsNotChanged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		n, burst int
		pause    time.Duration
	}{{"twenty at once", 20, 20, time.Minute}, {"twenty a minute", 200, 1, 3 * time.Second}, {"three a second, of different rules", 100, 3, time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed, sink := newKeptFeed(t), &keeper{}
				forward(t, feed, sink, ForwarderOptions{FromStart: true, Group: GroupOptions{Storm: 20, StormUpdate: 10 * time.Second}})
				for i := 0; i < tt.n; i += tt.burst {
					for j := range tt.burst {
						rule := "A"
						if tt.burst == 3 {
							rule = fmt.Sprint(i + j)
						}
						feed.alerts(rule, 1, 5)
					}
					time.Sleep(tt.pause)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				got := sink.got(soar.EventAlertReceived, soar.EventAlertGrouped)
				var want []string
				for _, ev := range feed.memoryFeed.events {
					want = append(want, ev.ID)
				}
				var ids []string
				for _, ev := range got {
					ids = append(ids, ev.ID)
					if ev.Group != nil {
						t.Fatalf("%s has a group", ev.ID)
					}
				}
				wantIDs(t, "delivered", ids, want)
			})
		})
	}
}

func TestStormEndsWhenItIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		forward(t, feed, sink, ForwarderOptions{FromStart: true, Group: GroupOptions{Storm: 20, StormUpdate: 10 * time.Second}})
		feed.alerts("A", 50, 1)
		time.Sleep(stormQuiet + time.Second)
		feed.alerts("A", 1, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		alone, updates := sink.got(soar.EventAlertReceived), sink.got(soar.EventAlertGrouped)
		if len(alone) != stormFirst+1 || alone[stormFirst].Alert.ID != "51" || alone[stormFirst].Group != nil {
			t.Errorf("delivered %d alerts", len(alone))
		}
		if last := updates[len(updates)-1].Group; !last.Closed || last.Count != 50 {
			t.Errorf("the last update: %+v", last)
		}
	})
}

// The process ends between any two commits, with the commit done or not; afterwards the
// counts are those of one that never ended.
func TestGroupCountsSurviveACrashAnywhere(t *testing.T) {
	for _, o := range []struct {
		name string
		of   func(*testing.T) GroupOptions
	}{
		{"by rule", func(t *testing.T) GroupOptions { return byRule(t, 5*time.Minute, 10*time.Second) }},
		{"storm", func(*testing.T) GroupOptions { return GroupOptions{Storm: 20, StormUpdate: 10 * time.Second} }},
	} {
		for at := range 12 {
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%t", o.name, at, done), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						feed, sink := newKeptFeed(t), &keeper{}
						options := ForwarderOptions{FromStart: true, MaxBatch: 4, Group: o.of(t)}
						crashed := make(chan struct{})
						_, stop := forward(t, feed, sink, options)
						synctest.Wait()
						feed.crashIn(at, done, sync.OnceFunc(func() { close(crashed) }))
						for range 8 {
							last := feed.alerts("A", 15, 6)
							for key := last - 14; key <= last; key++ {
								feed.of(key, soar.Event{Type: soar.EventRunFinished, Run: &soar.RunSummary{State: soar.RunDone}})
							}
							time.Sleep(3 * time.Second)
							select {
							case <-crashed:
								// Nothing more is kept of it, whatever it does while it ends.
								stop()
								feed.crashIn(-1, false, nil)
								_, stop = forward(t, feed, sink, options)
								crashed = make(chan struct{})
							default:
							}
						}
						feed.crashIn(-1, false, nil)
						time.Sleep(10 * time.Minute)
						synctest.Wait()
						checkCounts(t, feed, sink, map[string]int{"A": 120})
						if storms := checkRuns(t, feed); storms == 0 && o.name == "storm" {
							t.Error("there was no storm")
						}
					})
				})
			}
		}
	}
}

// checkRuns compares the runs that a storm has counted with those of its members: each
// alert has one.
func checkRuns(t *testing.T, feed *keptFeed) (storms int) {
	t.Helper()
	feed.mu.Lock()
	defer feed.mu.Unlock()
	for _, kv := range feed.values {
		g := decodeGroup(kv.Value)
		if g == nil || !g.Storm {
			continue
		}
		if storms++; int64(g.Runs["done"]) != g.To-g.From+1 {
			t.Errorf("group of %s has counted %d runs of its members %d to %d", g.Head, g.Runs["done"], g.From, g.To)
		}
	}
	return storms
}

// checkCounts adds up what the sink was told: every alert was delivered or counted, and
// none twice.
func checkCounts(t *testing.T, feed *keptFeed, sink *keeper, truth map[string]int) {
	t.Helper()
	told := map[string]int{}
	last := map[string]*soar.Group{}
	for _, ev := range sink.got(soar.EventAlertGrouped) {
		head, _, _ := strings.Cut(ev.ID, "-group-")
		last[head] = ev.Group
	}
	delivered := map[string]*soar.Alert{}
	for _, ev := range sink.got(soar.EventAlertReceived) {
		told[ev.Alert.Title()]++
		delivered[ev.ID] = ev.Alert
	}
	for head, g := range last {
		a := delivered[head]
		if a == nil {
			t.Errorf("group of %s, which was not delivered", head)
			continue
		}
		if !g.Closed {
			t.Errorf("group of %s is still open: %+v", head, g)
		}
		told[a.Title()] += g.Count - ownOf(feed, sink, head)
	}
	for rule, want := range truth {
		if told[rule] != want {
			t.Errorf("%s: %d alerts were told of, there were %d", rule, told[rule], want)
		}
	}
}

// ownOf is how many alerts of a group had a message of their own: the head; in a storm
// those before it was noticed; and one whose delivery was not recorded before the crash,
// after which it was counted.
func ownOf(feed *keptFeed, sink *keeper, head string) (n int) {
	feed.mu.Lock()
	defer feed.mu.Unlock()
	for _, kv := range feed.values {
		if g := decodeGroup(kv.Value); g != nil && g.HeadEvent == head {
			for _, ev := range sink.got(soar.EventAlertReceived) {
				if ev.AlertKey >= g.HeadKey && ev.AlertKey <= g.To && ev.Alert.Title() == feed.taken[g.HeadKey-1].Title() {
					n++
				}
			}
		}
	}
	return n
}

func decodeGroup(value string) *gathered {
	s := newGroups()
	if err := s.load("siem", []soar.KV{{Key: statePrefix("siem") + groupPlace + "x", Value: value}}); err != nil {
		return nil
	}
	for _, g := range s.all {
		return g
	}
	return nil
}

// Random streams of alerts with restarts at random commits, checked against the truth.
func TestGroupModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 6))
				feed, sink := newKeptFeed(t), &keeper{}
				faults := rand.New(rand.NewPCG(seed, 7))
				sink.fail = func(soar.Event) error {
					if faults.IntN(20) == 0 {
						return errDown
					}
					return nil
				}
				options := ForwarderOptions{FromStart: true, MaxBatch: 1 + random.IntN(8), Group: GroupOptions{Storm: 5 + random.IntN(20), StormUpdate: 5 * time.Second}}
				if seed%2 == 0 {
					options.Group.By, options.Group.Window, options.Group.Update = byRule(t, time.Duration(1+random.IntN(300))*time.Second, 0).By, time.Minute, 3*time.Second
				}
				crashed := make(chan struct{})
				_, stop := forward(t, feed, sink, options)
				truth := map[string]int{}
				for range 30 {
					rule := string(rune('A' + random.IntN(4)))
					n := random.IntN(40)
					feed.alerts(rule, n, 7)
					truth[rule] += n
					if random.IntN(3) == 0 {
						feed.crashIn(random.IntN(6), random.IntN(2) == 0, sync.OnceFunc(func() { close(crashed) }))
					}
					time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
					select {
					case <-crashed:
						stop()
						feed.crashIn(-1, false, nil)
						crashed = make(chan struct{})
						_, stop = forward(t, feed, sink, options)
					default:
						feed.crashIn(-1, false, nil)
					}
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				checkCounts(t, feed, sink, truth)
			})
		})
	}
}

// While the receiver is down, no updates pile up.
func TestGroupUpdatesDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		down := false
		sink.fail = func(soar.Event) error {
			if down {
				return errDown
			}
			return nil
		}
		forward(t, feed, sink, ForwarderOptions{FromStart: true, Group: byRule(t, time.Hour, 10*time.Second)})
		feed.alerts("A", 2, 1)
		synctest.Wait()
		sink.mu.Lock()
		down = true
		sink.mu.Unlock()
		for range 60 {
			time.Sleep(30 * time.Second)
			feed.alerts("A", 1, 1)
		}
		sink.mu.Lock()
		down = false
		sink.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		updates := sink.got(soar.EventAlertGrouped)
		if n := len(updates); n > 3 || updates[n-1].Group.Count != 62 {
			t.Errorf("%d updates, the last %+v", n, updates[n-1].Group)
		}
	})
}

func TestSilencedAlertsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		silences := NewSilences(feed, nil)
		options := ForwarderOptions{FromStart: true, Group: GroupOptions{Silences: silences}}
		_, stop := forward(t, feed, sink, options)
		kept, err := silences.Add(t.Context(), Silence{Sink: "siem", Rule: "A", Until: time.Now().Add(time.Hour), By: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		feed.alerts("A", 40, 1)
		feed.alerts("B", 1, 1)
		feed.of(3, soar.Event{Type: soar.EventStepFinished, Outcome: &soar.Outcome{}})
		feed.of(3, soar.Event{Type: soar.EventApprovalRequested, Approval: &soar.Approval{ID: "q"}})
		feed.of(3, soar.Event{Type: soar.EventUndoSoon, Undo: &soar.Undo{}})
		synctest.Wait()
		time.Sleep(2 * time.Second)
		stop()
		feed.alerts("A", 6, 1)
		_, stop = forward(t, feed, sink, options)
		synctest.Wait()
		var got []soar.EventType
		for _, ev := range sink.events {
			got = append(got, ev.Type)
		}
		if want := []soar.EventType{soar.EventAlertReceived, soar.EventApprovalRequested, soar.EventUndoSoon}; !slices.Equal(got, want) {
			t.Errorf("delivered while silenced\n got %v\nwant %v", got, want)
		}
		// A person ends it and another begins the same: each is told of by itself.
		if _, err := silences.End(t.Context(), kept.ID, "bob", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := silences.Add(t.Context(), Silence{Rule: "A", Sink: "siem", Until: time.Now().Add(time.Minute), By: "carol"}); err != nil {
			t.Fatal(err)
		}
		feed.alerts("A", 1, 1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		lines := sink.got(soar.EventNotification)
		if len(lines) != 2 || !strings.HasPrefix(lines[0].Text, `46 alerts were silenced: "A", in siem, since `) || !strings.HasPrefix(lines[1].Text, "1 alert was silenced: ") {
			t.Errorf("told %+v", lines)
		}
		feed.alerts("A", 1, 1)
		synctest.Wait()
		if all := sink.got(soar.EventAlertReceived); len(all) != 2 {
			t.Errorf("%d alerts, want the one of B and the last of A", len(all))
		}
		stop()
	})
}

func TestHostSetInTheStore(t *testing.T) {
	var set, back hostSet
	for i := range maxHosts + 10 {
		set.add(fmt.Sprint(i))
	}
	if set.add("1") || len(set) != maxHosts {
		t.Fatalf("%d hosts", len(set))
	}
	text, err := set.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := back.UnmarshalText(text); err != nil || len(back) != maxHosts || back.add("7") {
		t.Errorf("%d hosts came back: %v", len(back), err)
	}
	if err := back.UnmarshalText([]byte("AAAA")); err == nil {
		t.Error("half a hash was read")
	}
}
