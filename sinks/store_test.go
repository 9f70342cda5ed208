package sinks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// openStore runs a real store; close ends it as a stop of the daemon does.
func openStore(t *testing.T, dir string) (s *store.Store, shut func()) {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		_ = s.Run(ctx) // however it ends: what was committed is what counts
		close(done)
	}()
	shut = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	t.Cleanup(shut)
	return s, shut
}

// counted tells when a sink has taken so many events.
type counted struct {
	sinks.Sink
	left    int
	reached chan struct{}
}

func (c *counted) Send(ctx context.Context, events []soar.Event) error {
	err := c.Sink.Send(ctx, events)
	if err == nil && c.left > 0 {
		if c.left -= len(events); c.left <= 0 {
			close(c.reached)
		}
	}
	return err
}

// forgetfulStore loses every n-th cursor move and then everything: a crash
// between delivery and commit.
type forgetfulStore struct {
	*store.Store
	moves int // until the crash
	crash context.CancelFunc
}

func (f *forgetfulStore) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	if len(c.Sinks) > 0 {
		if f.moves--; f.moves < 0 {
			f.crash()
			return soar.Committed{}, errors.New("killed")
		}
	}
	return f.Store.Commit(ctx, c)
}

// A forwarder over the real store is killed after ever more cursor moves, always
// between delivery and commit, while alerts come in. Every event arrives, in
// order, and a repeat has the id of the first.
func TestForwarderKilledAgainAndAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.ndjson")
	storeDir := filepath.Join(dir, "store")
	next := 1
	addAlerts := func(s *store.Store, n int) {
		var c soar.Change
		for range n {
			c.Alerts = append(c.Alerts, *sinktest.Event(next).Alert)
			next++
		}
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	run := func(s *store.Store, feed sinks.Feed, ctx context.Context, reached chan struct{}, expect int) {
		file := openFile(t, &sinks.FileSettings{Path: path}, sinks.Env{State: sinks.NewState(s, "archive", nil)})
		defer func() { _ = file.Close() }()
		f, err := sinks.NewForwarder("archive", &counted{file, expect, reached}, feed, sinks.ForwarderOptions{MaxBatch: 7, FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 8 {
		s, shut := openStore(t, storeDir)
		addAlerts(s, 25)
		ctx, crash := context.WithCancel(t.Context())
		run(s, &forgetfulStore{s, round, crash}, ctx, nil, 0)
		crash()
		shut()
	}
	s, _ := openStore(t, storeDir)
	addAlerts(s, 25)
	head, err := s.FeedHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pos, known, err := s.SinkCursor(t.Context(), "archive")
	if err != nil || !known {
		t.Fatalf("cursor known %t: %v", known, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	reached := make(chan struct{})
	go func() {
		<-reached
		stop()
	}()
	run(s, s, ctx, reached, int(head-pos))

	got := readIDs(t, path)
	var firsts []string
	for _, id := range got {
		if !slices.Contains(firsts, id) {
			firsts = append(firsts, id)
		}
	}
	events, err := s.Feed(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, ev := range events {
		want = append(want, ev.ID)
	}
	if !slices.Equal(firsts, want) {
		t.Errorf("arrived\n got %v\nwant %v", firsts, want)
	}
	// Each of the eight kills repeats one batch at most.
	if repeats := len(got) - len(firsts); repeats < 1 || repeats > 8*7 {
		t.Errorf("%d repeats, want 1 to 56", repeats)
	}
	if pos, _, err := s.SinkCursor(t.Context(), "archive"); err != nil || pos != head {
		t.Errorf("cursor %d, head %d: %v", pos, head, err)
	}
}

// refusing refuses one event for good, once.
type refusing struct {
	mu   sync.Mutex
	id   string
	took []string
	more chan struct{}
}

func (r *refusing) Send(_ context.Context, events []soar.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		if ev.ID == r.id {
			return fmt.Errorf("%w: not today", sinks.ErrPermanent)
		}
	}
	for _, ev := range events {
		r.took = append(r.took, ev.ID)
	}
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}
func (r *refusing) Close() error { return nil }

// A dead letter in the real store holds the whole event, and replaying it
// delivers it.
func TestDeadLetterIsReplayed(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	sink := &refusing{id: "note-2", more: make(chan struct{}, 1)}
	f, err := sinks.NewForwarder("siem", sink, s, sinks.ForwarderOptions{MaxBatch: 10, FromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), soar.Change{Events: []soar.Event{
		{ID: "note-1", Type: soar.EventNotification, At: time.Now(), Text: "one"},
		{ID: "note-2", Type: soar.EventNotification, At: time.Now(), Text: "two"},
		{ID: "note-3", Type: soar.EventNotification, At: time.Now(), Text: "three"},
	}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	waitFor := func(want ...string) {
		t.Helper()
		for {
			sink.mu.Lock()
			got := slices.Clone(sink.took)
			sink.mu.Unlock()
			if slices.Equal(got, want) {
				return
			}
			select {
			case <-sink.more:
			case <-t.Context().Done():
				t.Fatalf("delivered %v, want %v", got, want)
			}
		}
	}
	waitFor("note-1", "note-3")
	dead, err := s.DeadLetters(t.Context(), store.DeadLetterFilter{Origin: "sink:siem", Limit: 10})
	if err != nil || len(dead) != 1 || dead[0].EventID != "note-2" {
		t.Fatalf("dead letters %+v: %v", dead, err)
	}
	var ev soar.Event
	if err := json.Unmarshal(dead[0].Payload, &ev); err != nil {
		t.Fatal(err)
	}
	sink.mu.Lock()
	sink.id = ""
	sink.mu.Unlock()
	if _, err := s.Commit(t.Context(), soar.Change{
		Redeliver: []soar.Redelivery{{Sink: "siem", Event: ev}}, DropDeadLetters: []int64{dead[0].ID},
	}); err != nil {
		t.Fatal(err)
	}
	waitFor("note-1", "note-3", "note-2")
}

func TestStateInTheStore(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	s, shut := openStore(t, dir)
	state := sinks.NewState(s, "so/c%", clock)
	for key, value := range map[string]string{"alert/er-1": "one", "alert/er-10": "ten", "alert/er-1|": "odd", "brief": "x"} {
		keep := time.Duration(0)
		if key == "brief" {
			keep = time.Minute
		}
		if err := state.Set(t.Context(), key, value, keep); err != nil {
			t.Fatal(err)
		}
	}
	if err := sinks.NewState(s, "so", clock).Set(t.Context(), "c%/alert/er-1", "another sink", 0); err != nil {
		t.Fatal(err)
	}
	shut()
	s, _ = openStore(t, dir)
	state = sinks.NewState(s, "so/c%", clock)
	check := func(key, want string) {
		t.Helper()
		got, err := state.Get(t.Context(), key)
		if want == "" && !errors.Is(err, soar.ErrNotFound) || want != "" && (err != nil || got != want) {
			t.Errorf("Get(%q) = %q, %v; want %q", key, got, err, want)
		}
	}
	check("alert/er-1", "one")
	check("alert/er-10", "ten")
	check("alert/er-1|", "odd")
	check("alert/er-", "")
	check("brief", "x")
	now = now.Add(2 * time.Minute)
	check("brief", "")
	if err := state.Set(t.Context(), "alert/er-1", "", 0); err != nil {
		t.Fatal(err)
	}
	check("alert/er-1", "")
}

// A Slack thread survives a restart of the daemon.
func TestSlackThreadInTheStore(t *testing.T) {
	dir := t.TempDir()
	s, shut := openStore(t, dir)
	state := &switchable{sinks.NewState(s, "soc", nil)}
	sim, sink := workspace(t, sinksim.SlackOptions{}, state)
	sendAll(t, sink, sinktest.Event(1))
	shut()
	s, _ = openStore(t, dir)
	state.State = sinks.NewState(s, "soc", nil)
	sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepVerified))
	if m := sim.Messages(); len(m) != 2 || m[1].ThreadTS != m[0].TS {
		t.Errorf("messages %+v: want a head and a reply", m)
	}
}

type switchable struct{ sinks.State }

// Benchmark of the path of an event from the store to a sink that takes all.
func BenchmarkForwarderFromStore(b *testing.B) {
	s, err := store.Open(b.Context(), b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			b.Error(err)
		}
	}()
	const batch = 1000
	n := 0
	for n < b.N {
		var c soar.Change
		for range min(batch, b.N-n) {
			n++
			c.Alerts = append(c.Alerts, *sinktest.Event(n).Alert)
		}
		if _, err := s.Commit(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
	reached := make(chan struct{})
	f, err := sinks.NewForwarder("bench", &counted{nothing{}, b.N, reached}, s, sinks.ForwarderOptions{MaxBatch: 500, FromStart: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	running, halt := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(running) }()
	<-reached
	halt()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

type nothing struct{}

func (nothing) Send(context.Context, []soar.Event) error { return nil }
func (nothing) Close() error                             { return nil }
