package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

func (d *Daemon) sinkParts() map[string]*sinkPart {
	d.mu.Lock()
	defer d.mu.Unlock()
	parts := map[string]*sinkPart{}
	for _, s := range d.sinks {
		parts[s.name] = s
	}
	return parts
}

func TestReloadReplacesWhatChanged(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + "sinks:\n" + s.fileSink("stays") + s.fileSink("changes") + s.fileSink("goes"))
	d, _ := s.start()
	before := d.sinkParts()

	s.write("playbooks/kill.yaml", killEverything)
	s.configure("sources: {poll: {interval: 40ms}, push: {listen: \"127.0.0.1:0\"}}\nsinks:\n" + s.fileSink("stays") +
		strings.Replace(s.fileSink("changes"), "type: file", "type: file, keep: 3", 1) + s.fileSink("comes"))
	result, err := d.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(result.Started)
	if want := []string{"sink changes", "sink comes", "source poll", "source push"}; !slices.Equal(result.Started, want) {
		t.Errorf("started %q, want %q", result.Started, want)
	}
	if want := []string{"sink goes"}; !slices.Equal(result.Stopped, want) {
		t.Errorf("stopped %q, want %q", result.Stopped, want)
	}
	after := d.sinkParts()
	if after["stays"] != before["stays"] || after["changes"] == before["changes"] || after["goes"] != nil || result.Playbooks != 2 {
		t.Errorf("after the reload: %v, %d playbooks", after, result.Playbooks)
	}

	// The new poller, the new playbook and the new sinks work together.
	s.until(func() bool { return d.Readiness(t.Context()).Ready })
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		return runFinished(fmt.Sprintf("er-%d", id))(ev) && ev.Run.Playbook == "kill-everything"
	})
	s.until(func() bool {
		data, err := os.ReadFile(s.path("comes.ndjson"))
		return err == nil && strings.Contains(string(data), "kill-everything")
	})
}

func TestReloadIsAllOrNothing(t *testing.T) {
	s := newSite(t)
	good := quickPoll + "sinks:\n" + s.fileSink("archive")
	s.configure(good)
	d, _ := s.start()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before, set := d.sinkParts(), d.engine.Set()

	for _, tt := range []struct {
		name   string
		change func()
		want   string
	}{
		{"mistake in the configuration", func() { s.configure(good + "lgo: {}\n") }, `unknown setting "lgo"`},
		{"mistake in a playbook", func() {
			s.configure(good + s.fileSink("more"))
			s.write("playbooks/wrong.yaml", "playbook: wrong\nsteps: [{do: nothing.at.all}]\n")
		}, `unknown action "nothing.at.all"`},
		{"port that is taken", func() {
			s.configure(fmt.Sprintf("sources: {poll: {interval: 50ms}, push: {listen: %q}}\nsinks:\n", taken.Addr()) + s.fileSink("archive") + s.fileSink("more"))
		}, "push listener"},
		{"what needs a restart", func() { s.configure(good + s.fileSink("more") + "log: {level: warn}\n") }, "log changed, which needs a restart"},
		{"no file", func() {
			if err := os.Remove(s.path("erbridge.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change()
			_, err := d.Reload(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Reload = %v, want %s", err, tt.want)
			}
			if err := os.Remove(s.path("playbooks/wrong.yaml")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if after := d.sinkParts(); len(after) != len(before) || after["archive"] != before["archive"] || d.engine.Set() != set {
				t.Errorf("something was replaced: %v", after)
			}
		})
	}
	if _, ok := errors.AsType[registry.Problems](err); ok {
		t.Error(err)
	}
	// And it still works.
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH"})
	s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", id)))
}

func TestReloadWithoutChangeTouchesNothing(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + "sinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	before := d.sinkParts()
	result, err := d.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Started)+len(result.Stopped) != 0 || d.sinkParts()["archive"] != before["archive"] {
		t.Errorf("replaced: %+v", result)
	}
}

func TestReloadWhileStopping(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	d, stop := s.start()
	d.reloading.Lock() // a reload is under way
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	s.until(d.stopping.Load)
	if _, err := d.Reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("Reload while stopping = %v", err)
	}
	d.reloading.Unlock()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := d.Reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("Reload after the stop = %v", err)
	}
}

// closeCounter counts how often a sink is closed.
type closeCounter struct {
	sinks.Sink
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return c.Sink.Close() }

// Two forwarders of one name would deliver the same events twice.
func TestReloadDoesNotReplaceASinkThatStillDelivers(t *testing.T) {
	s := newSite(t)
	first := quickPoll + "sinks:\n" + s.fileSink("archive")
	second := strings.Replace(first, "type: file", "type: file, keep: 3", 1)
	s.configure(first)
	d, _ := s.start()
	whole := d.first.Limits.Shutdown
	d.first.Limits.Shutdown = 90 * time.Millisecond // the time that a stop may take
	defer func() { d.first.Limits.Shutdown = whole }()

	old := d.sinkParts()["archive"]
	if err := stop(time.Minute, old.part); err != nil {
		t.Fatal(err)
	}
	release, counter := make(chan struct{}), &closeCounter{Sink: old.sink}
	old.sink = counter
	old.part = d.group.start("sink archive", func(context.Context) error { <-release; return nil })

	for _, text := range []string{second, first, quickPoll} { // other settings, those it had, and none
		s.configure(text)
		result, err := d.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), "sink archive was stopped and not replaced: its last delivery has not ended") {
			t.Errorf("Reload = %v", err)
		}
		if len(result.Started)+len(result.Stopped) != 0 || d.sinkParts()["archive"] != old || counter.closed != 0 {
			t.Errorf("%+v, closed %d times", result, counter.closed)
		}
		if warning := d.Readiness(t.Context()).Warnings["sink archive"]; !strings.Contains(warning, "reload again") {
			t.Errorf("readiness says %q", warning)
		}
		status, err := d.SinkStatus(t.Context())
		if err != nil || len(status) != 1 || status[0].State != StateNotRunning {
			t.Errorf("status %+v, %v", status, err)
		}
	}

	close(release)
	<-old.part.done
	s.configure(first)
	result, err := d.Reload(t.Context())
	if err != nil || !slices.Equal(result.Started, []string{"sink archive"}) || counter.closed != 1 || d.sinkParts()["archive"] == old {
		t.Errorf("Reload = %+v, %v; closed %d times", result, err, counter.closed)
	}
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH"})
	s.until(func() bool {
		data, err := os.ReadFile(s.path("archive.ndjson"))
		return err == nil && strings.Contains(string(data), fmt.Sprintf("er-%d", id))
	})
}
