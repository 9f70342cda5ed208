package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/console"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/internal/testenv"
)

const (
	noteEverything = `
playbook: note-everything
steps:
  - id: note
    do: alert.note
    with: {text: "seen on ${{ .alert.host.name }}"}
`
	killEverything = `
playbook: kill-everything
steps:
  - id: stop
    do: process.kill
    with: {host: "${{ .alert.host.identifier }}", pid: "${{ .alert.event.pid }}", name: "${{ .alert.event.path | split(\"\\\\\") | last }}"}
`
)

// site is a simulated server and the folder of a daemon that uses it.
type site struct {
	t      *testing.T
	sim    *ersim.Server
	dir    string
	server string // more settings of the server
}

func newSite(t *testing.T) *site { return newSiteOf(t, ersim.Options{}) }

func newSiteOf(t *testing.T, options ersim.Options) *site {
	t.Helper()
	options.CommandDelay, options.AggregationWindow = 5*time.Millisecond, -1
	sim, err := ersim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
	// The path of the control socket has to be short.
	dir, err := os.MkdirTemp("", "erb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t, sim: sim, dir: dir}
	s.write("ca.pem", string(sim.CAPEM()))
	s.write("pw", "admin\n")
	s.write("playbooks/note.yaml", noteEverything)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes the file; more is added to it, and replaces nothing.
func (s *site) configure(more string) {
	s.write("erbridge.yaml", fmt.Sprintf(`
server: {url: %q, username: admin, password: {file: pw}, ca_file: ca.pem%s}
playbooks: {dir: playbooks, mode: enforce, watch: 0s}
console: {listen: "127.0.0.1:0"}
store: {path: data}
limits: {shutdown: 30s}
%s`, s.sim.URL(), s.server, more))
}

// fileSink is a sink in the site's folder.
func (s *site) fileSink(name string) string {
	return fmt.Sprintf("  %s: {type: file, path: %q, from_start: true}\n", name, s.path(name+".ndjson"))
}

const quickPoll = "sources: {poll: {interval: 50ms}}\n"

// make builds the daemon without running it.
func (s *site) make() (*Daemon, error) {
	cfg, err := config.Load(s.path("erbridge.yaml"))
	if err != nil {
		return nil, err
	}
	return New(cfg, Options{Version: "1.2.3"})
}

// start runs a daemon until the returned function is called, which returns what
// Run did. The daemon has met the server: alerts from now on are acted on.
func (s *site) start() (*Daemon, func() error) {
	s.t.Helper()
	d, err := s.make()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	select {
	case <-d.Ready():
	case err := <-ended:
		cancel()
		s.t.Fatalf("the daemon ended: %v", err)
	}
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	s.t.Cleanup(func() {
		if err := stop(); err != nil {
			s.t.Errorf("stop: %v", err)
		}
	})
	s.until(func() bool { return d.Readiness(s.t.Context()).Ready })
	return d, stop
}

// until waits for what has no signal of its own.
func (s *site) until(yes func() bool) {
	s.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		case <-tick.C:
		}
	}
}

// awaitEvent returns the first event of the feed that fits.
func (s *site) awaitEvent(st *store.Store, fits func(soar.Event) bool) soar.Event {
	s.t.Helper()
	for after := int64(0); ; {
		grown := st.Changed(soar.SignalFeed)
		events, err := st.Feed(s.t.Context(), after, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, ev := range events {
			after = ev.Pos
			if fits(ev) {
				return ev
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-s.t.Context().Done():
			s.t.Fatal("the event never came")
		}
	}
}

func runFinished(ref string) func(soar.Event) bool {
	return func(ev soar.Event) bool {
		return ev.Type == soar.EventRunFinished && ev.Alert != nil && ev.Alert.Ref() == ref
	}
}

func TestFromAlertToReceiver(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/kill.yaml", killEverything)
	s.configure(quickPoll + "sinks:\n" + s.fileSink("archive"))
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	ref := fmt.Sprintf("er-%d", id)
	done := map[string]bool{}
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		if runFinished(ref)(ev) {
			done[ev.Run.Playbook] = ev.Run.State == soar.RunDone
		}
		return len(done) == 2
	})
	if !done["note-everything"] || !done["kill-everything"] {
		t.Errorf("runs done: %v", done)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if notes := s.sim.Notes(id); len(notes) != 1 || !strings.Contains(notes[0], "seen on WIN-FIN-01") {
		t.Errorf("notes on the server: %q", notes)
	}
	if commands := s.sim.Commands(); len(commands) != 1 || commands[0].Received != 1 {
		t.Errorf("commands on the server: %+v", commands)
	}
	delivered, err := os.ReadFile(s.path("archive.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(string(delivered)) {
		var ev soar.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatal(err)
		}
		kinds[string(ev.Type)]++
	}
	if kinds["alert.received"] != 1 || kinds["step.finished"] != 2 || kinds["run.finished"] != 2 {
		t.Errorf("delivered: %v", kinds)
	}
}

func TestPushLineMakesItLookAtOnce(t *testing.T) {
	s := newSite(t)
	s.configure("sources: {poll: {interval: 1h}, push: {listen: \"127.0.0.1:0\"}}\n")
	d, _ := s.start()
	s.sim.SetPushAddress(d.SourceAddress("push").String())
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH"})
	s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", id)))
}

func TestObserveModeSendsNothing(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/kill.yaml", killEverything)
	s.configure(quickPoll)
	text, err := os.ReadFile(s.path("erbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("erbridge.yaml", strings.Replace(string(text), "mode: enforce", "mode: observe", 1))
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "CRITICAL", Host: "WIN-FIN-01"})
	seen := 0
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		if runFinished(fmt.Sprintf("er-%d", id))(ev) {
			seen++
		}
		return seen == 2
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if commands, notes := s.sim.Commands(), s.sim.Notes(id); len(commands) != 0 || len(notes) != 0 {
		t.Errorf("sent in observe mode: %v %v", commands, notes)
	}
}

func TestWrongPasswordEndsTheStart(t *testing.T) {
	s := newSite(t)
	s.write("pw", "wrong\n")
	s.configure(quickPoll)
	d, err := s.make()
	if err != nil {
		t.Fatal(err)
	}
	err = d.Run(t.Context())
	if !errors.Is(err, connector.ErrBadCredentials) {
		t.Fatalf("Run = %v", err)
	}
	if text := err.Error(); !strings.Contains(text, `refuses user "admin" with this password`) || strings.Contains(text, "wrong\n") {
		t.Errorf("the sentence is: %s", text)
	}
}

// A password that is not there is no server out of reach: trying again is of no use.
func TestMissingPasswordStartsNothing(t *testing.T) {
	for name, secret := range map[string]string{"variable": "{env: ERBRIDGE_TEST_ABSENT}", "file": "{file: absent}"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.configure(quickPoll)
			text, err := os.ReadFile(s.path("erbridge.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("erbridge.yaml", strings.Replace(string(text), "{file: pw}", secret, 1))
			_, err = s.make()
			if !errors.Is(err, ErrConfig) || !errors.Is(err, ErrNoPassword) || !strings.Contains(err.Error(), "server.password") {
				t.Errorf("New = %v", err)
			}
			if _, err := os.Stat(s.path("data")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the store was made: %v", err)
			}
		})
	}
}

// receiver is an HTTP receiver that takes a request and never answers.
type receiver struct {
	url     string
	arrived <-chan struct{} // closed at the first request
}

func hangingReceiver(t *testing.T) receiver {
	t.Helper()
	arrived, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(arrived) })
		<-over
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(over) })
	return receiver{srv.URL, arrived}
}

// A receiver that hangs costs a delivery that comes again, and not the exit code.
func TestStopWithASinkThatHangs(t *testing.T) {
	s := newSite(t)
	hung := hangingReceiver(t)
	s.write("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	s.configure(fmt.Sprintf("sinks:\n  hook: {type: webhook, url: %q, secrets: [{file: key}], allow_private: true}\n", hung.url))
	d, stop := s.start()
	event := soar.Event{ID: "a", Type: soar.EventTrouble, At: time.Now(), Text: "a"}
	if _, err := d.Store().Commit(t.Context(), soar.Change{Events: []soar.Event{event}}); err != nil {
		t.Fatal(err)
	}
	<-hung.arrived
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestServerOutOfReachIsNotTheEnd(t *testing.T) {
	s := newSite(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.configure(quickPoll)
	text, err := os.ReadFile(s.path("erbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("erbridge.yaml", strings.Replace(strings.Replace(string(text), s.sim.URL(), "https://"+nobody, 1), "ca_file: ca.pem", "ca_file: ca.pem, retries: 0", 1))
	d, err := s.make()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-d.Ready()
	ready := readyz(t, d)
	if ready.Ready || !strings.Contains(ready.Missing["server"], "refused") {
		t.Errorf("readyz: %+v", ready)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func get(t *testing.T, d *Daemon, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.ConsoleAddress().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func readyz(t *testing.T, d *Daemon) (r console.Readiness) {
	t.Helper()
	if err := json.Unmarshal(get(t, d, "/readyz"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStartThatFailsLeavesNothingBehind(t *testing.T) {
	s := newSite(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.configure(fmt.Sprintf("sources: {push: {listen: %q}}\n", taken.Addr()))
	d, err := s.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "push listener") {
		t.Fatalf("Run = %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	s.start() // the store is free, and so is the port
}

func TestOnlyOneDaemonOnAStore(t *testing.T) {
	s := newSite(t)
	s.configure("")
	s.start()
	second, err := s.make()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, store.ErrInUse) {
		t.Errorf("the second daemon: %v", err)
	}
}

func TestMistakesStartNothing(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/wrong.yaml", "playbook: wrong\nsteps: [{do: host.contian}]\n")
	s.write("playbooks/also.yaml", "playbook: note-everything\nsteps: [{do: alert.note, with: {text: a}}]\n")
	s.configure("")
	_, err := s.make()
	problems, ok := errors.AsType[registry.Problems](err)
	if !ok || len(problems) != 2 {
		t.Fatalf("New = %v", err)
	}
	if _, err := os.Stat(s.path("data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store was made: %v", err)
	}
}

func TestMetricsAreDocumentedAndWellFormed(t *testing.T) {
	s := newSite(t)
	s.configure("sources: {poll: {interval: 50ms}, push: {listen: \"127.0.0.1:0\"}}\nsinks:\n" + s.fileSink("archive"))
	d, _ := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH"})
	s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", id)))
	metrics := get(t, d, "/metrics")
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(metrics)) {
		name, ok := strings.CutPrefix(line, "# TYPE erbridge_")
		if !ok {
			continue
		}
		name = "erbridge_" + strings.Fields(name)[0]
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("%s is not in docs/reference/metrics.md", name)
		}
	}
	for _, name := range []string{
		"erbridge_alerts_total", "erbridge_poll_lag_seconds", "erbridge_runs_total", "erbridge_step_seconds_bucket", "erbridge_sink_backlog_events",
		"erbridge_sink_oldest_seconds", "erbridge_store_commit_group_size_bucket", "erbridge_store_fsync_seconds_bucket", "go_goroutines", "erbridge_build_info",
	} {
		if !bytes.Contains(metrics, []byte("\n"+name)) {
			t.Errorf("%s is missing from /metrics", name)
		}
	}
	t.Run("promtool", func(t *testing.T) {
		promtool := testenv.Need(t, "promtool")[0]
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(metrics)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	})
}

// A part that is replaced leaves no metrics behind for the next one to trip over.
func TestScope(t *testing.T) {
	r := prometheus.NewRegistry()
	for range 2 {
		s := &scope{}
		s.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "erbridge_test_total", Help: "A test."}))
		if err := s.activate(r); err != nil {
			t.Fatal(err)
		}
		s.forget()
	}
}
