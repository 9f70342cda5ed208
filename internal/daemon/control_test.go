package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
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

// letter puts a dead letter into a store.
func letter(t *testing.T, st letters, origin string, payload []byte) {
	t.Helper()
	_, err := st.Commit(t.Context(), soar.Change{DeadLetters: []soar.DeadLetter{{Origin: origin, Reason: "test", EventID: "x/1", Payload: payload}}})
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
	if err := c.ResumeSink(ctx, "archive"); err != nil {
		t.Errorf("ResumeSink: %v", err)
	}
	if err := c.TestSink(ctx, "archvie"); !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), `did you mean "archive"?`) {
		t.Errorf("test of an unknown sink: %v", err)
	}

	letter(t, d.Store(), "sink:archive", event(t))
	letter(t, d.Store(), "source:push", []byte("garbage"))
	if err := c.Replay(ctx, []int64{1, 99}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("replay of one that is not there: %v", err)
	}
	if _, err := d.Store().DeadLetter(ctx, 1); err != nil {
		t.Errorf("all or none: the other one is gone: %v", err)
	}
	if err := c.Replay(ctx, []int64{2}); err == nil || !strings.Contains(err.Error(), `source "push" is not in the configuration`) {
		t.Errorf("replay of input of a source that is gone: %v", err)
	}
	letter(t, d.Store(), "source:poll", []byte(`{"id": 4711, "severity": "LOW", "created_at": "22-11-2026 03:22:30"}`))
	letter(t, d.Store(), "source:poll", []byte(`{"id": null}`))
	if err := c.Replay(ctx, []int64{3, 4}); err == nil || !strings.Contains(err.Error(), "dead letter 4 is input of source:poll, and stays") {
		t.Errorf("replay of rows, one of them still malformed: %v", err)
	}
	if _, err := d.Store().AlertByRef(ctx, "er-4711"); err != nil {
		t.Errorf("the row was not taken in: %v", err)
	}
	if err := c.Drop(ctx, []int64{4}); err != nil {
		t.Errorf("Drop: %v", err)
	}
	if err := c.Replay(ctx, []int64{1}); err != nil {
		t.Errorf("Replay: %v", err)
	}
	s.until(func() bool {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		return err == nil && strings.Contains(string(data), "replayed")
	})
	if err := c.Drop(ctx, []int64{2}); err != nil {
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
	if err := c.Replay(ctx, []int64{2}); err == nil || !strings.Contains(err.Error(), `sink "gone", which is not in the configuration`) {
		t.Errorf("replay for a sink that is gone: %v", err)
	}
	if err := c.Replay(ctx, []int64{1}); err != nil {
		t.Errorf("Replay: %v", err)
	}
	if err := c.TestSink(ctx, "archive"); err != nil {
		t.Errorf("TestSink: %v", err)
	}
	if err := c.ResumeSink(ctx, "archive"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("resume without daemon: %v", err)
	}
	if _, err := c.Reload(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("reload without daemon: %v", err)
	}
	if err := c.Settle(ctx, Settlement{Run: 1, Step: "a", By: "me", Reason: "saw it"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("settle of no run: %v", err)
	}
	if status, err := c.SinkStatus(ctx); err != nil || len(status) != 1 || status[0].State != "not running" {
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

func TestStorePathThatDoesNotFitASocket(t *testing.T) {
	if _, err := listenControl(t.Context(), "/tmp/"+strings.Repeat("x", 120), nil, discardLog()); !errors.Is(err, ErrConfig) {
		t.Errorf("listenControl = %v", err)
	}
}
