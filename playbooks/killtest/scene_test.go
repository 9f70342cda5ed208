package killtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const (
	step          = "act"
	clientTimeout = 30 * time.Second
	callTimeout   = 40 * time.Second
	settleFor     = 5 * time.Minute // after which a call cannot be under way any more
	patience      = 12 * time.Hour  // after which a run that has not ended never will
	evil          = `C:\Users\Public\it's evil; --.exe`
)

// scene is a simulated server, and an alert about a process on one of its hosts. It
// outlives the processes that act on it.
type scene struct {
	*testing.T
	*subject
	sim        *ersim.Server
	net        *network
	host       ersim.HostState
	alert      soar.Alert
	alertID    int64
	dir        string         // of the store
	stragglers sync.WaitGroup // requests that are under way to the server
	base       int            // effects that the scene itself had
	processes  int            // that there were
}

// play sets a scene, and takes it down with the test.
func play(t *testing.T, a *subject) *scene {
	t.Helper()
	s := &scene{T: t, subject: a, net: newNetwork(), dir: t.TempDir()}
	var err error
	if s.sim, err = ersim.New(ersim.Options{Profile: a.profile, CommandDelay: 2 * time.Second, Hosts: 6}); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.sim}
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = server.Serve(s.net) }) // ends with Close below
	parts.Go(func() { s.sim.Work(ctx) })
	t.Cleanup(func() {
		s.stragglers.Wait()
		cancel()
		_ = server.Close()
		parts.Wait()
	})
	for _, h := range s.sim.Hosts() {
		if h.Platform == "windows" {
			s.host = h
			break
		}
	}
	s.raise()
	if a.scene != nil && a.profile == "" {
		a.scene(s)
	}
	if a.before != nil {
		a.before(s)
	}
	s.base = s.effects()
	return s
}

// raise makes a process with a file on the host, and the alert about it.
func (s *scene) raise() {
	s.Helper()
	s.alertID = s.sim.Raise(ersim.AlertSpec{Host: s.host.Identifier, Separate: true, Columns: map[string]string{
		"action": "PROC_CREATE", "pid": "7777", "path": evil, "cmdline": evil, "process_guid": "GUID-7777",
		"md5": "0123456789abcdef0123456789abcdef", "time": strconv.FormatInt(time.Now().Unix(), 10),
	}})
	client, end := s.client(nil)
	defer end()
	raised, err := client.Alerts.Get(s.Context(), s.alertID)
	if err != nil {
		s.Fatal(err)
	}
	host, err := client.Hosts.Get(s.Context(), s.host.Identifier)
	if err != nil {
		s.Fatal(err)
	}
	s.alert = connector.Normalize("er", "", raised, &host, nil)
}

// client is a client of the server, for a process or, with nil, for the scene itself.
func (s *scene) client(w *wire) (client *connector.Client, end func()) {
	s.Helper()
	pool := &http.Transport{DialContext: s.net.dial}
	options := connector.Options{
		URL: "http://127.0.0.1", Username: "admin", Password: soar.SecretValue("admin"), Retries: -1, Timeout: clientTimeout,
		Transport: pool, Dial: s.net.dial,
	}
	if w != nil {
		w.next, options.Transport = pool, w
		options.Dial = w.p.dial
	}
	client, err := connector.New(options)
	if err != nil {
		s.Fatal(err)
	}
	return client, pool.CloseIdleConnections
}

// do carries a call out that belongs to the scene, by no engine.
func (s *scene) do(action string, with object) playbooks.Outcome {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	a := actions.All(actions.Deps{Client: client, Server: "er", CarveDir: s.TempDir()})[action]
	call := playbooks.Call{Step: "scene", Mark: "0scene-" + strings.ReplaceAll(action, ".", "-"), Alert: s.alert, With: with}
	out, err := a.Do(s.Context(), call)
	for err == nil && out.State == soar.StepAccepted {
		time.Sleep(time.Second)
		out, err = a.Poll(s.Context(), call, out.Ref)
	}
	if err != nil || !out.State.OK() {
		s.Fatalf("scene: %s ended %+v: %v", action, out, err)
	}
	return out
}

// effects is how many effects of the action the server counts.
func (s *scene) effects() int {
	if s.count != nil {
		return s.count(s) - s.base
	}
	return s.sim.Calls()[s.endpoint] - s.base
}

// life is what one process does with the alert until the run has ended, or until it
// dies.
func (s *scene) life(at moment) (p *process) {
	s.Helper()
	s.processes++
	st, err := store.Open(s.Context(), s.dir, store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	writing, stop := context.WithCancel(s.Context())
	p = &process{Store: st, scene: s, at: at, first: s.processes == 1, ended: cancel}
	client, end := s.client(&wire{p: p})
	all := actions.All(actions.Deps{Client: client, Server: "er", CarveDir: filepath.Join(s.dir, "carves")})
	pb, problems := playbooks.Parse("act.yaml", []byte(s.playbook()), all)
	if problems != nil {
		s.Fatal(problems)
	}
	g, err := guard.New(guard.Settings{Everywhere: []string{s.action}})
	if err != nil {
		s.Fatal(err)
	}
	e, err := playbooks.NewEngine(p, all, playbooks.NewSet(pb), playbooks.EngineOptions{
		Guard:       g,
		CallTimeout: callTimeout, SettleFor: settleFor, ClockOffset: client.ClockOffset, Drain: time.Second,
	})
	if err != nil {
		s.Fatal(err)
	}
	var parts, writer sync.WaitGroup
	writer.Go(func() {
		if err := st.Run(writing); err != nil {
			s.Errorf("store: %v", err)
		}
	})
	s.other.meet(p)
	parts.Go(func() { _ = e.Run(ctx) }) // a dead one ends with errDead
	if s.people {
		parts.Go(func() { agree(ctx, e) })
	}
	if s.between != nil {
		s.between(s, e, st)
	} else {
		s.arrive(st)
	}
	s.wait(ctx, st)
	cancel()
	parts.Wait()
	end()
	if p.dead() {
		s.dir = s.leftBehind()
	}
	stop()
	writer.Wait()
	if err := st.Close(); err != nil {
		s.Errorf("store: %v", err)
	}
	return p
}

// leftBehind is a copy of what was on disk when the process died: nothing was written
// since, and nothing tidied up.
func (s *scene) leftBehind() string {
	s.Helper()
	to := s.TempDir()
	if err := os.CopyFS(to, os.DirFS(s.dir)); err != nil {
		s.Fatal(err)
	}
	return to
}

// arrive hands the alert to the store, as a source does, unless it has it.
func (s *scene) arrive(st *store.Store) {
	s.Helper()
	if _, err := st.AlertByRef(s.Context(), s.alert.Ref()); errors.Is(err, soar.ErrNotFound) {
		_, err = st.Commit(s.Context(), soar.Change{Alerts: []soar.Alert{s.alert}})
		if err != nil {
			s.Fatal(err)
		}
	}
}

// wait returns when the run has ended, or the process.
func (s *scene) wait(ctx context.Context, st *store.Store) {
	s.Helper()
	never := time.After(patience)
	for {
		changed := st.Changed(soar.SignalRuns)
		runs, err := st.Runs(s.Context(), store.RunFilter{})
		if err != nil {
			s.Fatal(err)
		}
		if len(runs) > 0 && (runs[0].State.Ended() || runs[0].State == soar.RunUnknown) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-never:
			s.Errorf("after %s, the runs are %+v", patience, runs)
			return
		}
	}
}

// agree lets a person agree to all that is asked.
func agree(ctx context.Context, e *playbooks.Engine) {
	for {
		list, err := e.Approvals(ctx)
		if err != nil {
			return
		}
		for _, a := range list {
			if a.State == soar.ApprovalWaiting {
				_, _ = e.Decide(ctx, a.ID, soar.Vote{By: "ann", Agree: true, Reason: "seen"}) // a dead process asks again
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Second):
		}
	}
}

func (s *scene) playbook() string {
	with, err := json.Marshal(s.with) // JSON is YAML
	if err != nil {
		s.Fatal(err)
	}
	text := strings.ReplaceAll(string(with), "ELSEWHERE", s.other.URL)
	return "playbook: act\nmode: " + string(cmp.Or(s.mode, soar.ModeEnforce)) + "\nsteps: [{id: " + step + ", do: " + s.action + ", timeout: 3h, with: " + text + "}]\n"
}

// ended is what is on disk of the run after all.
type ended struct {
	run    soar.Run
	intent playbooks.Intent // the last one
	result playbooks.Result
	events map[soar.EventType]int
}

func (s *scene) ended() (e ended) {
	s.Helper()
	r, err := store.OpenReader(s.Context(), s.dir)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	runs, err := r.Runs(s.Context(), store.RunFilter{})
	if err != nil || len(runs) != 1 {
		s.Fatalf("%d runs: %v", len(runs), err)
	}
	e.run = runs[0]
	entries, err := r.Entries(s.Context(), e.run.ID)
	if err != nil {
		s.Fatal(err)
	}
	results := 0
	for _, entry := range entries {
		if entry.Step != step {
			continue
		}
		switch entry.Kind {
		case soar.EntryIntent:
			err = json.Unmarshal(entry.Body, &e.intent)
		case soar.EntryResult:
			results++
			err = json.Unmarshal(entry.Body, &e.result)
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	if results != 1 {
		s.Errorf("the step has %d results", results)
	}
	feed, err := r.Feed(s.Context(), 0, 1000)
	if err != nil {
		s.Fatal(err)
	}
	e.events = map[soar.EventType]int{}
	ids := map[string]bool{}
	for _, event := range feed {
		if ids[event.ID] {
			s.Errorf("event %s is there twice", event.ID)
		}
		ids[event.ID] = true
		e.events[event.Type]++
	}
	if _, err := r.VerifyAudit(s.Context(), store.AuditCheck{}); err != nil {
		s.Errorf("audit record: %v", err)
	}
	return e
}
