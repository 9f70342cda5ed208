package daemon

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// tell puts notifications into the feed.
func (s *site) tell(d *Daemon, ids ...string) {
	s.t.Helper()
	var change soar.Change
	for _, id := range ids {
		change.Events = append(change.Events, soar.Event{ID: id, Type: soar.EventNotification, At: time.Now().UTC(), Text: "told " + id})
	}
	if _, err := d.Store().Commit(s.t.Context(), change); err != nil {
		s.t.Fatal(err)
	}
}

// arrivals counts how often an event is in the file of a sink.
func (s *site) arrivals(sink, id string) int {
	data, err := os.ReadFile(s.path(sink + ".ndjson"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "told "+id) {
			n++
		}
	}
	return n
}

func (s *site) sinkStatus(c Control, name string) SinkStatus {
	s.t.Helper()
	all, err := c.SinkStatus(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(status SinkStatus) bool { return status.Name == name })
	if i < 0 {
		s.t.Fatalf("no status of %s in %+v", name, all)
	}
	return all[i]
}

func TestSinkIsPausedOverARestartAndResumed(t *testing.T) {
	s := newSite(t)
	s.configure("sinks:\n" + s.fileSink("archive") + s.fileSink("other"))
	d, stop := s.start()
	c, release := s.control()
	ctx := t.Context()
	if err := c.HoldSink(ctx, SinkOrder{Sink: "archvie", By: "ada"}); !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), `did you mean "archive"?`) {
		t.Errorf("an unknown sink: %v", err)
	}
	if err := c.HoldSink(ctx, SinkOrder{Sink: "archive", By: "ada", Reason: "it moves"}); err != nil {
		t.Fatal(err)
	}
	if err := c.HoldSink(ctx, SinkOrder{Sink: "archive", By: "bob"}); err != nil { // says nothing new
		t.Fatal(err)
	}
	s.tell(d, "n1")
	s.until(func() bool { return s.arrivals("other", "n1") == 1 })
	if status := s.sinkStatus(c, "archive"); status.State != sinks.StateHeld || status.Circuit != sinks.CircuitOpen || status.Held.Reason != "it moves" {
		t.Errorf("status %+v", status)
	}
	if warning := d.Readiness(ctx).Warnings["sink archive"]; !strings.Contains(warning, "paused by ada") || !strings.Contains(warning, "it moves") {
		t.Errorf("warning %q", warning)
	}
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	d, _ = s.start()
	c, release = s.control()
	defer release()
	s.tell(d, "n2")
	s.until(func() bool { return s.arrivals("other", "n2") == 1 })
	if n := s.arrivals("archive", "n1"); n != 0 || s.sinkStatus(c, "archive").State != sinks.StateHeld {
		t.Errorf("after a restart: %d arrived, %+v", n, s.sinkStatus(c, "archive"))
	}
	if state, err := c.ResumeSink(ctx, SinkOrder{Sink: "archive", By: "bob"}); err != nil || state != sinks.StateHeld {
		t.Errorf("resume: %s, %v", state, err)
	}
	s.until(func() bool { return s.arrivals("archive", "n1") == 1 && s.arrivals("archive", "n2") == 1 })
	// Whose hand it was: the name that was given, and the user of the socket.
	if acts := s.actsOf(d.Store(), "bob"); len(acts) != 1 || !strings.Contains(acts[0], "sink archive resumed") {
		t.Errorf("acts %q", acts)
	}
}

func TestSinkReplayOverTheSocket(t *testing.T) {
	s := newSite(t)
	s.configure("sinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	c, release := s.control()
	defer release()
	ctx := t.Context()
	since := time.Now().Add(-time.Minute)
	if _, err := c.ReplaySink(ctx, ReplayOrder{Sink: "archive", By: "ada", Since: time.Now().Add(time.Hour)}); err == nil || !strings.Contains(err.Error(), "nothing to deliver again") {
		t.Errorf("nothing is passed yet: %v", err)
	}
	s.tell(d, "n1", "n2", "n3")
	s.until(func() bool { return s.sinkStatus(c, "archive").Backlog == 0 && s.arrivals("archive", "n3") == 1 })
	plan, err := PlanReplay(ctx, d.cfg, d.Store(), ReplayOrder{Sink: "archive", Since: since})
	if err != nil || plan.Types[soar.EventNotification] != 3 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if _, err := c.ReplaySink(ctx, ReplayOrder{Sink: "archive", By: "ada", Since: since, Types: []soar.EventType{soar.EventNotification}}); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool {
		return s.arrivals("archive", "n1") == 2 && s.arrivals("archive", "n2") == 2 && s.arrivals("archive", "n3") == 2 && s.sinkStatus(c, "archive").Replay == nil
	})
	if _, err := c.ReplaySink(ctx, ReplayOrder{Sink: "archive", By: "ada", Cancel: true}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("there is none any more: %v", err)
	}
}

func TestDeadLetterIsEditedMeasuredAndReplayed(t *testing.T) {
	s := newSite(t)
	s.configure("sinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	c, release := s.control()
	defer release()
	ctx := t.Context()
	letter(t, d.Store(), "sink:archive", event(t))
	metrics := func() (depth, age float64) {
		families, err := d.o.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if len(m.GetLabel()) != 1 || m.GetLabel()[0].GetValue() != "sink:archive" {
					continue
				}
				switch family.GetName() {
				case "erbridge_dead_letters":
					depth = m.GetGauge().GetValue()
				case "erbridge_dead_letter_oldest_seconds":
					age = m.GetGauge().GetValue()
				}
			}
		}
		return depth, age
	}
	if depth, age := metrics(); depth != 1 || age < 2*3600 || age > 24*3600 {
		t.Errorf("%v dead letters, the oldest %vs old", depth, age)
	}

	was := event(t)
	corrected := []byte(strings.Replace(string(was), "replayed", "corrected by hand", 1))
	if err := c.EditDeadLetter(ctx, LetterEdit{ID: 1, Payload: []byte(`{"id":"x/2","type":"trouble"}`), Was: was, By: "ada"}); !errors.Is(err, ErrBadEdit) {
		t.Errorf("another id: %v", err)
	}
	if err := c.EditDeadLetter(ctx, LetterEdit{ID: 1, Payload: corrected, Was: corrected, By: "ada"}); !errors.Is(err, ErrBadEdit) || !strings.Contains(err.Error(), "has changed since you read it") {
		t.Errorf("an edit of what is not there any more: %v", err)
	}
	large := append(slices.Clone(was), make([]byte, 1<<20)...)
	if err := c.EditDeadLetter(ctx, LetterEdit{ID: 1, Payload: large, Was: was, By: "ada"}); err == nil {
		t.Error("a payload larger than what is kept was taken")
	}
	if err := c.EditDeadLetter(ctx, LetterEdit{ID: 1, Payload: corrected, Was: was, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	if acts := s.actsOf(d.Store(), "ada"); len(acts) != 1 || !strings.Contains(acts[0], "dead letter 1 of sink:archive edited (event x/1)") {
		t.Errorf("acts %q", acts)
	}
	if err := c.Replay(ctx, LetterOrder{IDs: []int64{1}, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		return err == nil && strings.Contains(string(data), "corrected by hand") && strings.Contains(string(data), "x/1")
	})
	if depth, age := metrics(); depth != 0 || age != 0 {
		t.Errorf("afterwards %v dead letters, the oldest %vs old", depth, age)
	}
}

func TestReloadTakesRoutes(t *testing.T) {
	s := newSite(t)
	both := "sinks:\n" + s.fileSink("archive") + s.fileSink("other")
	s.configure(both)
	d, _ := s.start()
	before := d.sinkParts()
	s.configure(both + "routes: [{name: all, to: [other]}]\n")
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := d.sinkParts(); after["archive"] == before["archive"] || after["other"] == before["other"] {
		t.Error("a sink goes by the old routes")
	}
	s.configure(both + "routes: [{name: all, to: [nosuch]}]\n")
	if _, err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `no sink "nosuch"`) {
		t.Errorf("a route to no sink: %v", err)
	}
}

// A receiver that says 410 is not asked again, until a person reloads.
func TestReloadTriesAGoneSinkAgain(t *testing.T) {
	s := newSite(t)
	var gone atomic.Bool
	var requests atomic.Int32
	gone.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		if gone.Load() {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer srv.Close()
	s.write("key", "whsec_"+strings.Repeat("QUJD", 8))
	s.configure("sinks:\n  hook: {type: webhook, url: \"" + srv.URL + "\", secrets: [{file: " + s.path("key") + "}], allow_private: true}\n")
	d, _ := s.start()
	c, release := s.control()
	defer release()
	s.tell(d, "n1")
	s.until(func() bool { return s.sinkStatus(c, "hook").State == sinks.StateGone })
	if warning := d.Readiness(t.Context()).Warnings["sink hook"]; !strings.HasPrefix(warning, "gone, ") || !strings.Contains(warning, "410") {
		t.Errorf("warning %q", warning)
	}
	gone.Store(false)
	before := requests.Load()
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool { return requests.Load() > before && s.sinkStatus(c, "hook").State == sinks.StateOK })
}
