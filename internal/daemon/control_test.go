package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
)

func (s *site) control() (Control, func()) {
	s.t.Helper()
	cfg, err := config.Load(s.path("erbridge.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	c, release, err := OpenControl(s.t.Context(), cfg, Options{Version: "1.2.3"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c, func() {
		if err := release(); err != nil {
			s.t.Error(err)
		}
	}
}

// letter puts a dead letter of two hours ago into a store.
func letter(t *testing.T, st letters, origin string, payload []byte) {
	t.Helper()
	_, err := st.Commit(t.Context(), soar.Change{DeadLetters: []soar.DeadLetter{{Origin: origin, At: time.Now().Add(-2 * time.Hour), Reason: "test", EventID: "x/1", Payload: payload}}})
	if err != nil {
		t.Fatal(err)
	}
}

func event(t *testing.T) []byte {
	t.Helper()
	data, err := json.Marshal(soar.Event{ID: "x/1", Type: soar.EventTrouble, Text: "replayed"})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestControlOverTheSocket(t *testing.T) {
	s := newSite(t)
	s.configure("sinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	info, err := os.Stat(s.path("data/" + socketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v", info.Mode(), err)
	}
	c, release := s.control()
	defer release()
	if _, ok := c.(*controlClient); !ok {
		t.Fatalf("a running daemon is not reached: %T", c)
	}
	ctx := t.Context()

	status, err := c.SinkStatus(ctx)
	if err != nil || len(status) != 1 || status[0].Name != "archive" {
		t.Errorf("SinkStatus = %+v, %v", status, err)
	}
	if err := c.TestSink(ctx, "archive"); err != nil {
		t.Errorf("TestSink: %v", err)
	}
	if data, err := os.ReadFile(s.path("archive.ndjson")); err != nil || !strings.Contains(string(data), "This is a test") {
		t.Errorf("the test event did not arrive: %s, %v", data, err)
	}
	if state, err := c.ResumeSink(ctx, SinkOrder{Sink: "archive", By: "ada"}); err != nil || state != sinks.StateOK {
		t.Errorf("ResumeSink: %q, %v", state, err)
	}
	if _, err := c.ResumeSink(ctx, SinkOrder{Sink: "archvie", By: "ada"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("resume of an unknown sink: %v", err)
	}
	if err := c.TestSink(ctx, "archvie"); !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), `did you mean "archive"?`) {
		t.Errorf("test of an unknown sink: %v", err)
	}

	letter(t, d.Store(), "sink:archive", event(t))
	letter(t, d.Store(), "source:push", []byte("garbage"))
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{1, 99}, By: "ada"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("replay of one that is not there: %v", err)
	}
	if _, err := d.Store().DeadLetter(ctx, 1); err != nil {
		t.Errorf("all or none: the other one is gone: %v", err)
	}
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{2}, By: "ada"}); err == nil || !strings.Contains(err.Error(), `source "push" is not in the configuration`) {
		t.Errorf("replay of input of a source that is gone: %v", err)
	}
	letter(t, d.Store(), "source:poll", []byte(`{"id": 4711, "severity": "LOW", "created_at": "22-11-2026 03:22:30"}`))
	letter(t, d.Store(), "source:poll", []byte(`{"id": null}`))
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{3, 4}, By: "ada"}); err == nil || !strings.Contains(err.Error(), "dead letter 4 is input of source:poll, and stays") {
		t.Errorf("replay of rows, one of them still malformed: %v", err)
	}
	if _, err := d.Store().AlertByRef(ctx, "er-4711"); err != nil {
		t.Errorf("the row was not taken in: %v", err)
	}
	if err := c.Drop(ctx, LetterOrder{IDs: []int64{4}, By: "ada"}); err != nil {
		t.Errorf("Drop: %v", err)
	}
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{1}, By: "ada"}); err != nil {
		t.Errorf("Replay: %v", err)
	}
	s.until(func() bool {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		return err == nil && strings.Contains(string(data), "replayed")
	})
	if err := c.Drop(ctx, LetterOrder{IDs: []int64{2}, By: "ada"}); err != nil {
		t.Errorf("Drop: %v", err)
	}
	if left, err := d.Store().DeadLetters(ctx, store.DeadLetterFilter{}); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := c.Settle(ctx, Settlement{Run: 1, Step: "a", By: "me", Reason: "saw it"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("settle of no run: %v", err)
	}

	s.write("playbooks/wrong.yaml", "playbook: wrong\n")
	_, err = c.Reload(ctx)
	if problems, ok := errors.AsType[registry.Problems](err); !ok || problems[0].Line != 1 {
		t.Errorf("mistakes do not come through the socket: %v", err)
	}
}

func TestControlWithoutDaemon(t *testing.T) {
	s := newSite(t)
	s.configure("sinks:\n" + s.fileSink("archive"))
	d, stop := s.start()
	letter(t, d.Store(), "sink:archive", event(t))
	letter(t, d.Store(), "sink:gone", event(t))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c, release := s.control()
	if _, ok := c.(*offline); !ok {
		t.Fatalf("nobody runs, and yet: %T", c)
	}
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{2}, By: "ada"}); err == nil || !strings.Contains(err.Error(), `sink "gone", which is not in the configuration`) {
		t.Errorf("replay for a sink that is gone: %v", err)
	}
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{1}, By: "ada"}); err != nil {
		t.Errorf("Replay: %v", err)
	}
	if err := c.TestSink(ctx, "archive"); err != nil {
		t.Errorf("TestSink: %v", err)
	}
	if _, err := c.ResumeSink(ctx, SinkOrder{Sink: "archive", By: "ada"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("resume without daemon: %v", err)
	}
	if _, err := c.Reload(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("reload without daemon: %v", err)
	}
	if err := c.Settle(ctx, Settlement{Run: 1, Step: "a", By: "me", Reason: "saw it"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("settle of no run: %v", err)
	}
	if status, err := c.SinkStatus(ctx); err != nil || len(status) != 1 || status[0].State != StateNotRunning || status[0].Delivered != nil {
		t.Errorf("SinkStatus = %+v, %v", status, err)
	}
	release()

	// What was queued without a daemon is delivered by the next one.
	s.start()
	s.until(func() bool {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		return err == nil && strings.Contains(string(data), "replayed")
	})
}

// Where sinks stand is known with and without a daemon, and the same.
func TestSinkStatusComesFromTheStore(t *testing.T) {
	s := newSite(t)
	hung := hangingReceiver(t)
	s.write("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	s.configure(fmt.Sprintf("sinks:\n%s  hook: {type: webhook, url: %q, secrets: [{file: key}], allow_private: true}\n", s.fileSink("archive"), hung.url))
	d, stop := s.start()
	for range 130 { // more than one page
		letter(t, d.Store(), "sink:hook", event(t))
	}
	letter(t, d.Store(), "source:push", []byte("garbage"))
	at := time.Date(2026, 11, 22, 5, 30, 33, 0, time.UTC)
	events := []soar.Event{{ID: "a", Type: soar.EventTrouble, At: at, Text: "a"}, {ID: "b", Type: soar.EventTrouble, At: at.Add(time.Hour), Text: "b"}}
	if _, err := d.Store().Commit(t.Context(), soar.Change{Events: events}); err != nil {
		t.Fatal(err)
	}
	<-hung.arrived
	check := func(running bool) {
		t.Helper()
		c, release := s.control()
		defer release()
		s.until(func() bool {
			status, err := c.SinkStatus(t.Context())
			if err != nil || len(status) != 2 {
				t.Fatalf("SinkStatus = %+v, %v", status, err)
			}
			if status[0].Backlog != 0 { // the file is written at any moment
				return false
			}
			if !status[0].Oldest.IsZero() || status[0].DeadLetters != 0 {
				t.Errorf("archive: %+v", status[0])
			}
			hook := status[1]
			if hook.Backlog < 2 || !hook.Oldest.Equal(at) || hook.DeadLetters != 130 || (hook.Delivered != nil) != running {
				t.Errorf("hook, running %v: %+v", running, hook)
			}
			return true
		})
	}
	check(true)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	check(false)
}

func TestStorePathThatDoesNotFitASocket(t *testing.T) {
	if _, err := listenControl(t.Context(), "/tmp/"+strings.Repeat("x", 120), nil, discardLog()); !errors.Is(err, ErrConfig) {
		t.Errorf("listenControl = %v", err)
	}
}

func TestReplayTwiceQueuesOnce(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + "sinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	for range 2 {
		letter(t, d.Store(), "sink:archive", event(t))
	}
	dead, err := d.Store().DeadLetters(t.Context(), store.DeadLetterFilter{Limit: 10})
	if err != nil || len(dead) != 2 {
		t.Fatalf("%d letters, %v", len(dead), err)
	}
	lines := func() int {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "\n")
	}

	// One id twice in one call.
	if err := d.Replay(t.Context(), LetterOrder{IDs: []int64{dead[0].ID, dead[0].ID}, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	// One id in several calls at once: all but one find the letter gone.
	const calls = 8
	results := make(chan error, calls)
	for range calls {
		go func() { results <- d.Replay(t.Context(), LetterOrder{IDs: []int64{dead[1].ID}, By: "ada"}) }()
	}
	done := 0
	for range calls {
		if err := <-results; err == nil {
			done++
		} else if !errors.Is(err, soar.ErrNotFound) {
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("%d replays of one letter went through", done)
	}
	s.until(func() bool {
		left, err := d.Store().Redeliveries(t.Context(), "archive", 10)
		return err == nil && len(left) == 0
	})
	if n := lines(); n != 2 {
		t.Errorf("delivered %d times, want 2", n)
	}
}
