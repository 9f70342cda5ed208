package guard

import (
	"strings"
	"testing"
	"time"
)

// A call above the rate waits until the moment at which the oldest one no longer counts.
func TestRateHoldsUntilItFrees(t *testing.T) {
	s := Settings{Limits: []Limit{{Calls: Calls{Actions: []string{"defender.*"}}, Rate: 2, Per: time.Hour}}}
	g, d := newGuard(t, s), disk{}
	d.send(t, g, call(1, "defender.scan", now, "a"))
	d.send(t, g, call(2, "defender.scan", now.Add(10*time.Minute), "b"))
	third := call(3, "defender.scan", now.Add(20*time.Minute), "c")
	got := g.Ask(third)
	if got.OK || !got.Until.Equal(now.Add(time.Hour)) || !strings.Contains(got.Words, "at most 2 within 1h") {
		t.Fatalf("the third call: %+v", got)
	}
	if other := g.Ask(call(3, "host.tag", now.Add(20*time.Minute), "c")); !other.OK {
		t.Errorf("another action: %+v", other)
	}
	// What waits in front of it takes the place that frees first.
	g.Wait(third, got.Answers)
	fourth := call(4, "defender.scan", now.Add(21*time.Minute), "d")
	if got := g.Ask(fourth); got.OK || !got.Until.Equal(now.Add(70*time.Minute)) {
		t.Errorf("the fourth call: %+v", got)
	}
	fourth.At = now.Add(time.Hour)
	if got := g.Ask(fourth); got.OK {
		t.Errorf("the fourth call went in front of the third: %+v", got)
	}
	third.At = now.Add(time.Hour)
	if got := d.send(t, g, third); !got.OK {
		t.Errorf("the third call at its time: %+v", got)
	}
}

// Of many that wait, each is told its own moment: they do not all come back at once.
func TestRateGivesTurns(t *testing.T) {
	s := Settings{Limits: []Limit{{Rate: 2, Per: time.Minute}}}
	g, d := newGuard(t, s), disk{}
	at := now
	for n := 1; n <= 2; n++ {
		d.send(t, g, call(n, "host.tag", at, "a"))
	}
	for n := 3; n <= 9; n++ {
		r := call(n, "host.tag", at.Add(time.Duration(n)*time.Millisecond), "a")
		got := g.Ask(r)
		want := at.Add(time.Duration((n-1)/2) * time.Minute)
		if got.OK || !got.Until.Equal(want) {
			t.Errorf("call %d waits until %s, want %s", n, got.Until, want)
		}
		g.Wait(r, got.Answers)
	}
}

// One that was given up does not keep the others waiting.
func TestTurnsLapse(t *testing.T) {
	s := Settings{Limits: []Limit{{Rate: 1, Per: time.Minute, Concurrent: 1}}}
	g, d := newGuard(t, s), disk{}
	first := call(1, "host.tag", now, "a")
	d.send(t, g, first)
	d.end(g, first, now)
	for n := 2; n <= 3; n++ {
		r := call(n, "host.tag", now.Add(time.Duration(n)), "a")
		g.Wait(r, g.Ask(r).Answers)
	}
	late := call(3, "host.tag", now.Add(3), "a")
	late.At = now.Add(2 * time.Minute)
	if got := g.Ask(late); got.OK {
		t.Fatalf("it went in front of one that may still come: %+v", got)
	}
	late.At = now.Add(2*time.Minute + time.Second)
	if got := d.send(t, g, late); !got.OK {
		t.Errorf("the one before it never came back: %+v", got)
	}
}

func TestConcurrent(t *testing.T) {
	s := Settings{Limits: []Limit{{Name: "scans", Calls: Calls{Kinds: []string{"scan"}}, Concurrent: 2}}}
	g, d := newGuard(t, s), disk{}
	scan := func(run int, at time.Time, host string) *Request {
		r := call(run, "defender.scan", at, host)
		r.Kind = "scan"
		return r
	}
	one, two, three := scan(1, now, "a"), scan(2, now, "b"), scan(3, now.Add(time.Second), "c")
	d.send(t, g, one)
	d.send(t, g, two)
	got := g.Ask(three)
	if got.OK || got.Until.IsZero() || !strings.Contains(got.Words, `limit "scans": at most 2 at the same time`) {
		t.Fatalf("the third scan: %+v", got)
	}
	g.Wait(three, got.Answers)
	if again := g.Ask(one); !again.OK {
		t.Errorf("a call that is under way stands in its own way: %+v", again)
	}
	g = d.restart(t, s, now)
	if got := g.Ask(three); got.OK {
		t.Errorf("a restart forgot two calls that are under way: %+v", got)
	}
	g.Wait(three, got.Answers)
	_, changed := g.Changed()
	d.end(g, one, now.Add(2*time.Second))
	select {
	case <-changed:
	default:
		t.Error("nobody is told that a call has ended")
	}
	if newer := g.Ask(scan(4, now.Add(3*time.Second), "d")); newer.OK {
		t.Errorf("one that came later goes first: %+v", newer)
	}
	if got := d.send(t, g, three); !got.OK {
		t.Errorf("the third scan after one has ended: %+v", got)
	}
	d.end(g, two, now)
	d.end(g, three, now)
	if len(d) != 0 {
		t.Errorf("left behind: %v", d)
	}
}

// Each attempt of a step is a call; asking twice about one attempt is not.
func TestAttemptsCount(t *testing.T) {
	s := Settings{Limits: []Limit{{Rate: 2, Per: time.Hour, Concurrent: 1}}}
	g, d := newGuard(t, s), disk{}
	r := call(1, "host.tag", now, "a")
	for range 3 {
		if got := d.send(t, g, r); !got.OK {
			t.Fatalf("the first attempt: %+v", got)
		}
	}
	r.Attempt = 2
	if got := d.send(t, g, r); !got.OK {
		t.Fatalf("the second attempt: %+v", got)
	}
	r.Attempt = 3
	for _, g := range []*Guard{g, d.restart(t, s, now)} {
		if got := g.Ask(r); got.OK || !got.Until.Equal(now.Add(time.Hour)) {
			t.Errorf("the third attempt: %+v", got)
		}
	}
}

// A call whose intent was not kept never was.
func TestLimitsForgetWhatWasNotKept(t *testing.T) {
	s := Settings{Limits: []Limit{{Rate: 1, Per: time.Hour, Concurrent: 1}}}
	g := newGuard(t, s)
	taken := g.Take(call(1, "host.tag", now, "a"))
	if got := g.Ask(call(2, "host.tag", now, "a")); !taken.OK || got.OK {
		t.Fatalf("%+v, and then %+v", taken, got)
	}
	taken.Settle(false)
	if got := g.Ask(call(2, "host.tag", now, "a")); !got.OK {
		t.Errorf("after the first one was not kept: %+v", got)
	}
}

// Other settings count what was sent before.
func TestLimitsAreReplaced(t *testing.T) {
	g, d := newGuard(t, Settings{Limits: []Limit{{Rate: 10, Per: time.Hour}}}), disk{}
	for n := range 3 {
		d.send(t, g, call(n+1, "host.tag", now.Add(time.Duration(n)*time.Minute), "a"))
	}
	if err := g.Configure(Settings{Limits: []Limit{{Rate: 3, Per: time.Hour}}}); err != nil {
		t.Fatal(err)
	}
	if got := g.Ask(call(9, "host.tag", now.Add(5*time.Minute), "a")); got.OK || !got.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("under the lower limit: %+v", got)
	}
	if err := g.Configure(Settings{}); err != nil {
		t.Fatal(err)
	}
	if got := g.Ask(call(9, "host.tag", now.Add(5*time.Minute), "a")); !got.OK {
		t.Errorf("without a limit: %+v", got)
	}
}

// Messages to people are not held up, unless a rule names them.
func TestMessagesAreNoChanges(t *testing.T) {
	s := Settings{
		Limits:  []Limit{{Rate: 1, Per: time.Hour}},
		Freezes: []Freeze{{Name: "always", Days: []string{"mon-sun"}, Timezone: "UTC"}},
	}
	g := newGuard(t, s)
	r := call(1, "notify.send", now)
	r.Always = true
	for range 3 {
		if got := g.Take(r); !got.OK {
			t.Fatalf("a message: %+v", got)
		}
		r.Run++
	}
}

func TestLimitSettings(t *testing.T) {
	for _, tt := range []struct {
		limit Limit
		want  string
	}{
		{Limit{}, "limits: 0: the limit limits nothing"},
		{Limit{Rate: 5}, "limits: 0: per: a number of calls needs the time it is about"},
		{Limit{Concurrent: 5, Per: time.Hour}, "limits: 0: per: per says nothing without calls"},
		{Limit{Rate: -1, Per: time.Hour}, "limits: 0: calls: calls is -1, and must be from 1 to 100000"},
		{Limit{Concurrent: -1}, "limits: 0: concurrent: concurrent is -1, and must be above 0"},
		{Limit{Concurrent: 1, Calls: Calls{Actions: []string{" "}}}, "limits: 0: actions: 0: an empty name fits nothing"},
	} {
		err := (&Settings{Limits: []Limit{tt.limit}}).Check()
		if err == nil || err.Error() != tt.want {
			t.Errorf("%+v:\n got %v\nwant %s", tt.limit, err, tt.want)
		}
	}
}
