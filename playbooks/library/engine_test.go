package library_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

// scene is a scenario that was played, with the real engine, store and client.
type scene struct {
	*testing.T
	sim    *ersim.Server
	client *connector.Client
	store  *store.Store
	done   chan struct{} // filled by each commit of the engine; read by wait
	engine *playbooks.Engine
	carves string
}

// start runs a part until the test is over.
func (s *scene) start(what string, run func(context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			s.Errorf("%s: %v", what, err)
		}
	})
}

func newScene(t *testing.T) *scene {
	t.Helper()
	sim, err := ersim.New(ersim.Options{Seed: 7, CommandDelay: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	s := &scene{T: t, sim: sim, carves: t.TempDir()}
	s.start("simulator", sim.Run)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.client, err = connector.New(connector.Options{URL: sim.URL(), Username: "admin", Password: soar.SecretValue("admin"), CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alerts reads what the simulator has raised, as the sources would.
func (s *scene) alerts() []soar.Alert {
	s.Helper()
	var alerts []soar.Alert
	for row, err := range s.client.Alerts.List(s.Context(), connector.AlertQuery{}) {
		if err != nil {
			s.Fatal(err)
		}
		host, err := s.client.Hosts.Get(s.Context(), strconv.FormatInt(row.NodeID, 10))
		if err != nil {
			s.Fatal(err)
		}
		var rule *connector.Rule
		if row.RuleID != 0 {
			r, err := s.client.Rules.Get(s.Context(), row.RuleID)
			if err != nil {
				s.Fatal(err)
			}
			rule = &r
		}
		alerts = append(alerts, connector.Normalize("er", "", row, &host, rule))
	}
	return alerts
}

// play performs a scenario to its end.
func (s *scene) play(scenario string) []soar.Alert {
	s.Helper()
	if err := s.sim.Play(s.Context(), scenario); err != nil {
		s.Fatal(err)
	}
	return s.alerts()
}

// patient are the playbooks that wait before they begin; pass lets the time pass.
var patient = []string{"daily-digest", "host-silent"}

// respond lets the engine work with the library until nothing is left to do, and
// returns the runs.
func (s *scene) respond(alerts []soar.Alert) []soar.Run {
	s.Helper()
	set, all := load(s.T, s.deps())
	prompt := slices.DeleteFunc(set.Playbooks(), func(pb *playbooks.Playbook) bool { return slices.Contains(patient, pb.Name) })
	return s.respondWith(alerts, playbooks.NewSet(prompt...), all)
}

func (s *scene) deps() actions.Deps {
	return actions.Deps{Client: s.client, Server: "er", CarveDir: s.carves, Sinks: sinks}
}

// respondWith does the same with other playbooks.
func (s *scene) respondWith(alerts []soar.Alert, set *playbooks.Set, all map[string]playbooks.Action) []soar.Run {
	s.Helper()
	var err error
	if s.store, err = store.Open(s.Context(), s.TempDir(), store.Options{}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			s.Error(err)
		}
	})
	s.start("store", s.store.Run)
	if _, err := s.store.Commit(s.Context(), soar.Change{Alerts: alerts}); err != nil {
		s.Fatal(err)
	}
	s.done = make(chan struct{}, 1)
	s.engine, err = playbooks.NewEngine(watched{s.store, s.done}, all, set, playbooks.EngineOptions{Ceiling: soar.ModeEnforce})
	if err != nil {
		s.Fatal(err)
	}
	s.start("engine", s.engine.Run)
	return s.wait()
}

// watched is a store that tells of each commit: that an alert matched nothing is no
// signal of the store.
type watched struct {
	*store.Store
	done chan<- struct{}
}

func (w watched) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	committed, err := w.Store.Commit(ctx, c)
	select {
	case w.done <- struct{}{}:
	default: // wait has not looked since the last one, and will
	}
	return committed, err
}

// wait is over when nothing is left to do; it returns all runs.
func (s *scene) wait() []soar.Run {
	s.Helper()
	for {
		pending, err := s.store.Pending(s.Context(), 0, 1)
		if err != nil {
			s.Fatal(err)
		}
		runs, err := s.store.Runs(s.Context(), store.RunFilter{Limit: 1000})
		if err != nil {
			s.Fatal(err)
		}
		if len(pending) == 0 && !slices.ContainsFunc(runs, s.underWay) {
			s.checkVerdicts()
			return runs
		}
		select {
		case <-s.done:
		case <-s.Context().Done():
			s.Fatal(context.Cause(s.Context()))
		}
	}
}

// underWay reports whether a run has something to do yet, and does not only wait for the
// time at which it takes something back.
func (s *scene) underWay(r soar.Run) bool {
	s.Helper()
	if r.State.Ended() {
		return false
	}
	entries, err := s.store.Entries(s.Context(), r.ID)
	if err != nil {
		s.Fatal(err)
	}
	_, pending := playbooks.PendingUndo(entries)
	return !pending
}

// checkVerdicts fails the test when an expression of the library could not be
// evaluated on an alert.
func (s *scene) checkVerdicts() {
	s.Helper()
	alerts, err := s.store.Alerts(s.Context(), store.AlertFilter{Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	for _, a := range alerts {
		for playbook, verdict := range a.Verdicts {
			if strings.HasPrefix(verdict, "error") {
				s.Errorf("%s on alert %s: %s", playbook, a.Alert.Title(), verdict)
			}
		}
	}
}

// results are the steps of a run by id.
func (s *scene) results(run soar.Run) map[string]playbooks.Result {
	s.Helper()
	entries, err := s.store.Entries(s.Context(), run.ID)
	if err != nil {
		s.Fatal(err)
	}
	results := map[string]playbooks.Result{}
	for _, e := range entries {
		if e.Kind != soar.EntryResult {
			continue
		}
		var r playbooks.Result
		if err := json.Unmarshal(e.Body, &r); err != nil {
			s.Fatal(err)
		}
		results[e.Step] = r
	}
	return results
}

// of picks the runs of one playbook, which must all have succeeded.
func (s *scene) of(runs []soar.Run, playbook string) []soar.Run {
	s.Helper()
	var found []soar.Run
	for _, r := range runs {
		if r.Playbook != playbook {
			continue
		}
		found = append(found, r)
		if r.State != soar.RunDone {
			s.Errorf("run %s of %s is %s: %s", r.ID, playbook, r.State, r.Error)
		}
	}
	if len(found) == 0 {
		s.Errorf("no run of %s", playbook)
	}
	for _, c := range s.sim.Commands() {
		if c.Received != 1 {
			s.Errorf("%s %v was received %d times", c.Kind, c.Parameters, c.Received)
		}
	}
	return found
}

func (s *scene) host(identifier string) ersim.HostState {
	s.Helper()
	for _, h := range s.sim.Hosts() {
		if h.Identifier == identifier {
			return h
		}
	}
	s.Fatalf("no host %s", identifier)
	return ersim.HostState{}
}

func TestRansomware(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	alerts := s.play("ransomware")
	runs := s.respond(alerts)
	for _, run := range s.of(runs, "contain-shadow-copy-deletion") {
		steps := s.results(run)
		for _, id := range []string{"stop", "stop_parent", "close", "keep_from_shares", "note"} {
			if steps[id].State != soar.StepVerified {
				t.Errorf("step %s: %+v", id, steps[id])
			}
		}
		h := s.host(steps["close"].Target)
		if len(h.Firewall) != 2 {
			t.Errorf("host %s has the rules %+v", h.Name, h.Firewall)
		}
		for _, p := range h.Processes {
			if p.Name == "simlock.exe" || p.Name == "vssadmin.exe" {
				t.Errorf("%s still runs", p.Name)
			}
		}
	}
	if n := len(s.of(runs, "triage-note")); n < 3 {
		t.Errorf("%d triage notes", n)
	}
	events, err := s.store.Feed(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e soar.Event) bool {
		return e.Type == soar.EventNotification && e.To == "soc-slack" && e.Alert != nil && strings.HasPrefix(e.Text, "Contained WIN-")
	}) {
		t.Error("nobody was told")
	}
}

func TestLivingOffTheLand(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	runs := s.respond(s.play("lotl"))
	for _, run := range s.of(runs, "lotl-download-carve") {
		if tree := s.results(run)["tree"]; tree.State != soar.StepExecuted {
			t.Errorf("tree: %+v", tree)
		}
	}
	collected := 0 // what settles for the next logon is collected, too
	for _, run := range slices.Concat(s.of(runs, "lotl-download-carve"), s.of(runs, "persistence-run-key")) {
		if s.results(run)["collect"].State == soar.StepVerified {
			collected++
		}
	}
	manifests, err := filepath.Glob(filepath.Join(s.carves, "*", "manifest.json"))
	if err != nil || collected == 0 || len(manifests) != collected {
		t.Errorf("%d files collected, manifests %v: %v", collected, manifests, err)
	}
}

func TestIndicators(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, run := range s.of(s.respond(s.play("ioc")), "scan-ioc-hit") {
		steps := s.results(run)
		if state := steps["mark"].State; state != soar.StepVerified {
			t.Errorf("mark: %+v", steps["mark"])
		}
		if state := steps["scan"].State; state != soar.StepExecuted && state != soar.StepSkipped {
			t.Errorf("scan: %+v", steps["scan"])
		}
		if !slices.Contains(s.host(steps["mark"].Target).Tags, "ioc-hit") {
			t.Errorf("host %s is not marked", steps["mark"].Target)
		}
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	alerts := s.play("noise")
	if runs := s.of(s.respond(alerts), "close-known-noise"); len(runs) != len(alerts) {
		t.Errorf("%d runs for %d alerts", len(runs), len(alerts))
	}
	for _, a := range s.sim.Alerts() {
		if a.Status != "RESOLVED" || !strings.HasPrefix(a.Comment, "Known noise: ") {
			t.Errorf("alert %d is %s: %q", a.ID, a.Status, a.Comment)
		}
	}
}

// Credential dumping on hosts that work as they should; the scenario failures has
// the others.
func TestCredentialDumping(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var h ersim.HostState
	for _, one := range s.sim.Hosts() {
		if one.Platform == "windows" {
			h = one
		}
	}
	s.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "Credential dumping", Columns: map[string]string{
		"action": "PROC_CREATE", "pid": "6000", "path": `C:\Users\Public\m.exe`, "cmdline": `m.exe "sekurlsa::logonpasswords" exit`, "owner_uid": `ACME\eve`,
	}})
	for _, run := range s.of(s.respond(s.alerts()), "kill-credential-dumping") {
		steps := s.results(run)
		if steps["stop"].State != soar.StepVerified || steps["mark"].State != soar.StepVerified {
			t.Errorf("steps %+v", steps)
		}
	}
	if !slices.Contains(s.host(h.Identifier).Tags, "credentials-exposed") {
		t.Error("the host is not marked")
	}
}

// The documented example of process.kill stops a process on hosts of every kind,
// by the path that the event tells.
func TestKillByTheDocumentedExample(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := actions.All(s.deps())
	text := "playbook: example\nmode: enforce\nmatch: {all: [it is evil: .alert.event.cmdline == \"evil\"]}\nsteps:\n  - id: stop\n    " +
		strings.ReplaceAll(strings.TrimSpace(all["process.kill"].Spec().Example), "\n", "\n    ")
	set, problems := playbooks.LoadFS(fstest.MapFS{"example.yaml": {Data: []byte(text)}}, ".", all)
	if err := problems.Err(); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	paths := map[string]string{"windows": `C:\Users\Public\evil tool.exe`, "ubuntu": "/tmp/.hidden/evil", "darwin": "/Users/carol/evil"}
	names := map[string]string{}
	for _, h := range s.sim.Hosts() {
		if path := paths[h.Platform]; path != "" && names[h.Platform] == "" {
			names[h.Platform] = h.Name
			s.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Columns: map[string]string{
				"action": "PROC_CREATE", "pid": "6000", "path": path, "cmdline": "evil",
			}})
		}
	}
	stopped := map[string]bool{}
	for _, run := range s.of(s.respondWith(s.alerts(), set, all), "example") {
		stop := s.results(run)["stop"]
		if stop.State != soar.StepVerified {
			t.Errorf("stop: %+v", stop)
		}
		h := s.host(stop.Target)
		stopped[h.Platform] = true
		if !strings.HasSuffix(stop.Summary, " (pid 6000) on "+h.Name+"; verified on the host") {
			t.Errorf("summary %q", stop.Summary)
		}
		if slices.ContainsFunc(h.Processes, func(p ersim.Process) bool { return p.PID == 6000 }) {
			t.Errorf("the process still runs on %s", h.Name)
		}
	}
	if len(stopped) != len(paths) {
		t.Errorf("stopped on %v, want all of %v", stopped, paths)
	}
}

// A playbook that never matches fails a scenario at once; nobody waits for its runs.
func TestNeverMatching(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := actions.All(s.deps())
	text := "playbook: never\nmatch: {all: [it never is: .alert.id == \"\"]}\nsteps: [{do: alert.note, with: {text: never}}]\n"
	set, problems := playbooks.LoadFS(fstest.MapFS{"never.yaml": {Data: []byte(text)}}, ".", all)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s.sim.Raise(ersim.AlertSpec{Host: s.sim.Hosts()[0].Identifier, Columns: map[string]string{"action": "PROC_CREATE"}})
	if runs := s.respondWith(s.alerts(), set, all); len(runs) != 0 {
		t.Errorf("runs %+v", runs)
	}
}

// Alerts that lack what a playbook looks at are no match, and no error.
func TestBareAlerts(t *testing.T) {
	set, all := load(t, actions.Deps{})
	for _, alert := range []soar.Alert{
		{Server: "er", ID: "1", Severity: soar.SeverityCritical, Status: soar.StatusOpen},
		{Server: "er", ID: "2", Severity: "odd", Source: "virustotal", Intel: json.RawMessage(`[1]`), Event: map[string]string{"cmdline": "", "pid": ""}},
		{Server: "er", ID: "3", Severity: soar.SeverityHigh, Source: "virustotal", Intel: json.RawMessage(`{"positives": "60"}`), Rule: &soar.Rule{}},
	} {
		for _, pb := range set.Playbooks() {
			x, err := playbooks.Explain(t.Context(), pb, alert, all)
			if err != nil || x.Verdict == playbooks.Failed {
				t.Errorf("%s on alert %s: %+v, %v", pb.Name, alert.ID, x, err)
			}
		}
	}
}

// So are the alerts of the tests when nothing is known of their host.
func TestAlertsWithoutHost(t *testing.T) {
	set, _ := load(t, actions.Deps{})
	for _, pb := range set.Playbooks() {
		data, err := library.FS.ReadFile(strings.TrimSuffix(pb.File, ".yaml") + "_test.yaml")
		if err != nil {
			t.Fatal(err)
		}
		var tests struct {
			Alert struct {
				Source   string            `yaml:"source"`
				Severity soar.Severity     `yaml:"severity"`
				Event    map[string]string `yaml:"event"`
				Rule     *soar.Rule        `yaml:"rule"`
			} `yaml:"alert"`
		}
		if err := yaml.Unmarshal(data, &tests); err != nil {
			t.Fatal(err)
		}
		alert := soar.Alert{
			Server: "er", ID: "1", Status: soar.StatusOpen, EventCount: 1000,
			Source: tests.Alert.Source, Severity: tests.Alert.Severity, Event: tests.Alert.Event, Rule: tests.Alert.Rule,
		}
		x, err := playbooks.Explain(t.Context(), pb, alert, nil)
		if err != nil || x.Verdict == playbooks.Failed {
			t.Errorf("%s: %s, %s, %v", pb.Name, x.Verdict, x.Error, err)
		}
	}
}
