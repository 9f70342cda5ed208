package sinks

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// until lets virtual time go on to a moment.
func until(t *testing.T, at time.Time) {
	t.Helper()
	time.Sleep(time.Until(at))
	synctest.Wait()
}

func day(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// report runs reports until the returned function is called.
func report(t *testing.T, feed *keptFeed, o ReportOptions) (stop func()) {
	t.Helper()
	r := NewReports("siem", feed, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// told are the events of a type in the feed.
func (f *keptFeed) told(kind soar.EventType) (out []soar.Event) {
	f.memoryFeed.mu.Lock()
	defer f.memoryFeed.mu.Unlock()
	for _, ev := range f.memoryFeed.events {
		if ev.Type == kind {
			out = append(out, ev)
		}
	}
	return out
}

func digestTimes(t *testing.T, s DigestSettings) ReportOptions {
	t.Helper()
	times, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return ReportOptions{Digest: times, Version: "1.2"}
}

func TestDigestCountsWhatCameIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z, a Saturday
		feed := newKeptFeed(t)
		feed.alerts("before the first start", 5, 1)
		stop := report(t, feed, digestTimes(t, DigestSettings{At: []string{"08:00", "20:00"}}))
		synctest.Wait()
		feed.alerts("Odd\nshell", 3, 2)
		feed.alerts("Other", 1, 1)
		feed.of(6, soar.Event{Type: soar.EventRunFinished, Run: &soar.RunSummary{State: soar.RunDone}})
		feed.of(6, soar.Event{Type: soar.EventStepFinished, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified}})
		until(t, day(t, "2000-01-01T08:00:30Z"))
		got := feed.told(soar.EventDigest)
		if len(got) != 1 {
			t.Fatalf("%d digests", len(got))
		}
		want := "From 2000-01-01 00:00 to 2000-01-01 08:00 UTC: 4 alerts came in, from 2 hosts.\n" +
			"Severity: 4 high.\nRules: 3 Odd shell, 1 Other.\nHosts: 3 pc-0, 1 pc-1.\nBy now: 4 open.\nRuns: 1 done.\nSteps: 1 host.contain verified."
		if got[0].Text != want || got[0].To != "siem" || got[0].ID != "digest/siem/2000-01-01T08:00:00Z" {
			t.Errorf("digest %s to %s\n got %s\nwant %s", got[0].ID, got[0].To, got[0].Text, want)
		}
		// Stopped over three times: one digest makes up for them, with everything in it.
		stop()
		feed.alerts("A", 2, 1)
		until(t, day(t, "2000-01-02T21:00:00Z"))
		stop = report(t, feed, digestTimes(t, DigestSettings{At: []string{"08:00", "20:00"}}))
		synctest.Wait()
		got = feed.told(soar.EventDigest)
		if len(got) != 2 || !strings.Contains(got[1].Text, ": 2 alerts came in.") || !strings.Contains(got[1].Text, "makes up for 2 that came due") {
			t.Fatalf("digests %+v", got)
		}
		// Started again and again, a time has one digest.
		for range 3 {
			stop()
			stop = report(t, feed, digestTimes(t, DigestSettings{At: []string{"08:00", "20:00"}}))
			synctest.Wait()
		}
		until(t, day(t, "2000-01-03T08:00:30Z"))
		if got = feed.told(soar.EventDigest); len(got) != 3 || !strings.Contains(got[2].Text, "no alert came in") {
			t.Errorf("digests %+v", got)
		}
	})
}

func TestDigestOfACrash(t *testing.T) {
	for _, done := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			feed := newKeptFeed(t)
			o := digestTimes(t, DigestSettings{Cron: "0 8 * * *"})
			stop := report(t, feed, o)
			synctest.Wait()
			feed.alerts("A", 4, 1)
			feed.crashIn(0, done, func() {})
			until(t, day(t, "2000-01-01T08:00:01Z"))
			stop()
			feed.crashIn(-1, false, nil)
			report(t, feed, o)
			until(t, day(t, "2000-01-01T09:00:00Z"))
			if got := feed.told(soar.EventDigest); len(got) != 1 || !strings.Contains(got[0].Text, "4 alerts came in") {
				t.Errorf("with the commit done %t: %+v", done, got)
			}
		})
	}
}

// Clocks are put back and forward; every day has one digest at its time.
func TestDigestOverClockChanges(t *testing.T) {
	for _, tt := range []struct{ name, from, to, at string }{
		{"left out", "2026-03-27T12:00:00Z", "2026-03-31T12:00:00Z", "02:30"},
		{"twice", "2026-10-23T12:00:00Z", "2026-10-27T12:00:00Z", "02:30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newKeptFeed(t)
				until(t, day(t, tt.from))
				report(t, feed, digestTimes(t, DigestSettings{At: []string{tt.at}, Timezone: "Europe/Berlin"}))
				until(t, day(t, tt.to))
				berlin, err := time.LoadLocation("Europe/Berlin")
				if err != nil {
					t.Fatal(err)
				}
				days := map[string]int{}
				for _, ev := range feed.told(soar.EventDigest) {
					days[ev.At.In(berlin).Format(time.DateOnly)]++
				}
				if len(days) != 4 {
					t.Errorf("digests %v", days)
				}
				for day, n := range days {
					if n != 1 {
						t.Errorf("%d digests on %s", n, day)
					}
				}
			})
		})
	}
}

func TestDigestCountsWhatTheSinkMayKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		o := digestTimes(t, DigestSettings{At: []string{"08:00"}})
		when, err := CompileWhen(`.alert.rule.name == "A"`)
		if err != nil {
			t.Fatal(err)
		}
		o.When = when
		o.Redact = func(ev soar.Event) soar.Event {
			a := *ev.Alert
			a.Host.Name, ev.Alert = "[redacted]", &a
			return ev
		}
		report(t, feed, o)
		synctest.Wait()
		feed.alerts("A", 3, 3)
		feed.alerts("B", 5, 3)
		until(t, day(t, "2000-01-01T08:00:30Z"))
		got := feed.told(soar.EventDigest)
		if len(got) != 1 || !strings.Contains(got[0].Text, "3 alerts came in.") || !strings.Contains(got[0].Text, "Hosts: 3 [redacted].") || strings.Contains(got[0].Text, "5 B") {
			t.Errorf("digests %+v", got)
		}
	})
}

func TestDigestMistakes(t *testing.T) {
	for _, tt := range []struct {
		s    DigestSettings
		want string
	}{
		{DigestSettings{}, "either at or cron"},
		{DigestSettings{At: []string{"8"}}, `"8" is no time of a day`},
		{DigestSettings{At: []string{"08:00"}, Cron: "* * * * *"}, "either at or cron"},
		{DigestSettings{Cron: "* * *"}, "expected five fields"},
		{DigestSettings{Cron: "0 8 * * *", Days: []string{"mon"}}, "days goes with at"},
		{DigestSettings{At: []string{"08:00"}, Timezone: "Berlin"}, `"Berlin" is no time zone`},
		{DigestSettings{At: []string{"08:00"}, Timezone: "Local"}, "is no time zone"},
	} {
		if _, err := tt.s.Compile(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.s, err, tt.want)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		down := false
		sink.fail = func(soar.Event) error {
			if down {
				return errDown
			}
			return nil
		}
		began := time.Now()
		forward(t, feed, sink, ForwarderOptions{})
		synctest.Wait()
		o := ReportOptions{Heartbeat: time.Hour, Version: "1.2"}
		stop := report(t, feed, o)
		synctest.Wait()
		feed.alerts("A", 3, 1)
		until(t, began.Add(time.Hour+time.Second))
		beats := sink.got(soar.EventHeartbeat)
		if len(beats) != 2 || beats[1].Text != "erbridge 1.2 is alive: 3 alerts came in since the last heartbeat, 0 events wait for this sink." {
			t.Fatalf("heartbeats %+v", beats)
		}
		// A restart neither repeats nor skips one.
		stop()
		stop = report(t, feed, o)
		until(t, began.Add(2*time.Hour+time.Second))
		if beats = sink.got(soar.EventHeartbeat); len(beats) != 3 {
			t.Fatalf("%d heartbeats after two hours", len(beats))
		}
		// A sink that is down for a day has one waiting.
		sink.mu.Lock()
		down = true
		sink.mu.Unlock()
		until(t, began.Add(26*time.Hour))
		if n := len(feed.told(soar.EventHeartbeat)); n != 4 {
			t.Errorf("%d heartbeats in the feed while the sink was down, want 4", n)
		}
		sink.mu.Lock()
		down = false
		sink.mu.Unlock()
		until(t, began.Add(28*time.Hour+time.Second))
		beats = sink.got(soar.EventHeartbeat)
		if n := len(beats); n < 5 || n > 6 {
			t.Errorf("%d heartbeats delivered", n)
		}
		stop()
	})
}

func TestSilenceAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		watch := func() (stop func()) {
			a := NewSilenceAlarm(feed, AlarmSettings{NoAlertsFor: 6 * time.Hour, NoAlertsFrom: map[string]time.Duration{"hook": 24 * time.Hour}}, nil, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		texts := func() (out []string) {
			for _, ev := range feed.told(soar.EventTrouble) {
				word, _, _ := strings.Cut(ev.Text, " ")
				out = append(out, ev.ID[:strings.LastIndex(ev.ID, "/")]+" "+word)
			}
			return out
		}
		want := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := texts(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		began := time.Now()
		stop := watch()
		until(t, began.Add(5*time.Hour))
		feed.alerts("A", 1, 1)
		until(t, began.Add(10*time.Hour))
		want()
		until(t, began.Add(11*time.Hour+time.Minute))
		want("no-alerts/ No")
		// It is told once, over restarts too.
		stop()
		stop = watch()
		until(t, began.Add(20*time.Hour))
		want("no-alerts/ No")
		feed.alerts("A", 5, 1)
		until(t, began.Add(20*time.Hour+time.Minute))
		want("no-alerts/ No", "alerts-again/ Alerts")
		until(t, began.Add(24*time.Hour+time.Minute))
		want("no-alerts/ No", "alerts-again/ Alerts", "no-alerts/hook No")
		// What came in while it did not run is read before an alarm is raised; the time
		// that it did not run counts.
		stop()
		until(t, began.Add(25*time.Hour))
		feed.alerts("A", 1, 1)
		until(t, began.Add(30*time.Hour+55*time.Minute))
		stop = watch()
		until(t, began.Add(30*time.Hour+59*time.Minute))
		want("no-alerts/ No", "alerts-again/ Alerts", "no-alerts/hook No")
		until(t, began.Add(31*time.Hour+6*time.Minute))
		want("no-alerts/ No", "alerts-again/ Alerts", "no-alerts/hook No", "no-alerts/ No")
		stop()
	})
}

func TestNothingToTell(t *testing.T) {
	if NewReports("s", newKeptFeed(t), ReportOptions{}) != nil || NewSilenceAlarm(newKeptFeed(t), AlarmSettings{}, nil, nil) != nil {
		t.Error("something runs for nothing")
	}
}

// Rows of telemetry, of which there may be millions between two digests, keep no alert
// from being counted.
func TestDigestCountsBesideTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		rows := make([]soar.Event, maxCounted+1)
		for i := range rows {
			rows[i] = soar.Event{ID: fmt.Sprintf("row-%d", i), Type: soar.EventTelemetry, At: time.Now(), Row: &soar.Row{Query: "dns"}}
		}
		report(t, feed, digestTimes(t, DigestSettings{At: []string{"08:00"}}))
		synctest.Wait()
		if _, err := feed.Commit(t.Context(), soar.Change{Events: rows}); err != nil {
			t.Fatal(err)
		}
		feed.alerts("A", 3, 1)
		until(t, day(t, "2000-01-01T08:00:30Z"))
		got := feed.told(soar.EventDigest)
		if len(got) != 1 || !strings.Contains(got[0].Text, "3 alerts came in") || strings.Contains(got[0].Text, "More has happened") {
			t.Errorf("digests %+v", got)
		}
	})
}

// failingFeed cannot be read behind a place, for a while.
type failingFeed struct {
	*keptFeed
	behind atomic.Int64 // 0: all can be read
}

func (f *failingFeed) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	if behind := f.behind.Load(); behind > 0 && after >= behind {
		return nil, errDown
	}
	return f.keptFeed.Feed(ctx, after, limit)
}

// The end of a silence is told also when the store fails just after the alert that ends it.
func TestSilenceAlarmWhenTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &failingFeed{keptFeed: newKeptFeed(t)}
		a := NewSilenceAlarm(feed, AlarmSettings{NoAlertsFor: time.Hour}, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		feed.behind.Store(2) // the alarm is the first event, the alert the second
		feed.alerts("A", 1, 1)
		time.Sleep(time.Minute)
		feed.behind.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		var ids []string
		for _, ev := range feed.told(soar.EventTrouble) {
			ids = append(ids, ev.ID[:strings.LastIndex(ev.ID, "/")])
		}
		if fmt.Sprint(ids) != "[no-alerts/ alerts-again/]" {
			t.Errorf("told %v", ids)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A sink that is forgotten and comes back is told nothing of the time in between.
func TestDigestOfAForgottenSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		o := digestTimes(t, DigestSettings{At: []string{"08:00"}})
		o.Heartbeat = time.Hour
		stop := report(t, feed, o)
		synctest.Wait()
		stop()
		feed.alerts("A", 3, 1)
		if _, err := feed.Commit(t.Context(), soar.Change{KV: Forget("siem")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		report(t, feed, o)
		synctest.Wait()
		beats := feed.told(soar.EventHeartbeat)
		if n := len(feed.told(soar.EventDigest)); n != 0 || len(beats) != 2 || !strings.Contains(beats[1].Text, "first heartbeat") {
			t.Errorf("%d digests, heartbeats %+v", n, beats)
		}
	})
}
