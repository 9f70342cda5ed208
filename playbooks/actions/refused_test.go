package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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
)

// scene is a playbook that acts on the alert of a host, by the engine, the store and
// the simulated server.
type scene struct {
	*bench
	host   ersim.HostState
	alert  soar.Alert
	store  *store.Store
	engine *playbooks.Engine
}

// stage raises an alert about a process on a Windows host.
func stage(t *testing.T, o ersim.Options) *scene {
	t.Helper()
	s := &scene{bench: newBench(t, o)}
	s.host = s.windows()
	id := s.sim.Raise(ersim.AlertSpec{Host: s.host.Identifier, Separate: true, Columns: map[string]string{
		"action": "PROC_CREATE", "pid": "7777", "path": evil, "cmdline": evil, "md5": "0123456789abcdef0123456789abcdef",
		"time": strconv.FormatInt(time.Now().Unix(), 10),
	}})
	raised, err := s.deps.Client.Alerts.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	host, err := s.deps.Client.Hosts.Get(t.Context(), s.host.Identifier)
	if err != nil {
		t.Fatal(err)
	}
	s.alert = connector.Normalize("er", "", raised, &host, nil)
	return s
}

const (
	killStep    = "{id: act, do: process.kill, with: {host: '${{ .alert.host.identifier }}', pid: '${{ .alert.event.pid }}', name: '${{ .alert.event.path }}'}}"
	containStep = "{id: act, do: host.contain, with: {host: '${{ .alert.host.identifier }}'}}"
	deleteStep  = "{id: act, do: file.delete, with: {host: '${{ .alert.host.identifier }}', path: '${{ .alert.event.path }}', md5: '${{ .alert.event.md5 }}'}}"
)

// begin lets the engine work on the alert with a playbook of one step.
func (s *scene) begin(step string) {
	s.Helper()
	var err error
	if s.store, err = store.Open(s.Context(), s.TempDir(), store.Options{}); err != nil {
		s.Fatal(err)
	}
	s.actions = All(s.deps)
	pb, problems := playbooks.Parse("act.yaml", []byte("playbook: act\nsteps: ["+step+"]"), s.actions)
	if problems != nil {
		s.Fatal(problems)
	}
	if s.engine, err = playbooks.NewEngine(s.store, s.actions, playbooks.NewSet(pb), playbooks.EngineOptions{}); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := s.store.Run(ctx); err != nil {
			s.Errorf("store: %v", err)
		}
	})
	engineCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.engine.Run(engineCtx) }()
	s.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.Errorf("engine: %v", err)
		}
		cancel()
		parts.Wait()
		if err := s.store.Close(); err != nil {
			s.Errorf("store: %v", err)
		}
	})
}

// put hands the alert to the engine, as a source does.
func (s *scene) put() {
	s.Helper()
	if _, err := s.store.Commit(s.Context(), soar.Change{Alerts: []soar.Alert{s.alert}}); err != nil {
		s.Fatal(err)
	}
}

// until waits for an entry about the step.
func (s *scene) until(kind soar.EntryKind) (run soar.Run, entries []soar.Entry) {
	s.Helper()
	for {
		changed := s.store.Changed(soar.SignalRuns)
		runs, err := s.store.Runs(s.Context(), store.RunFilter{})
		if err != nil {
			s.Fatal(err)
		}
		if len(runs) > 0 {
			if entries, err = s.store.Entries(s.Context(), runs[0].ID); err != nil {
				s.Fatal(err)
			}
			if slices.ContainsFunc(entries, func(e soar.Entry) bool { return e.Kind == kind && e.Step == "act" }) {
				return runs[0], entries
			}
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			s.Fatal(context.Cause(s.Context()))
		}
	}
}

// refused sees to it that the step was refused for that reason, and that nothing was
// written down as about to be sent, nor sent.
func (s *scene) refused(words ...string) {
	s.Helper()
	s.notSent(soar.StepRefused, words...)
}

// notSent waits for the end of the step, which is another one without a call.
func (s *scene) notSent(state soar.StepState, words ...string) {
	s.Helper()
	_, entries := s.until(soar.EntryResult)
	var result playbooks.Result
	for _, e := range entries {
		switch e.Kind {
		case soar.EntryIntent:
			s.Errorf("an intent was written: %s", e.Body)
		case soar.EntryResult:
			if err := json.Unmarshal(e.Body, &result); err != nil {
				s.Fatal(err)
			}
		}
	}
	if result.State != state || (result.Error == "") != state.OK() {
		s.Errorf("the step ended %s: %s", result.State, result.Error)
	}
	for _, w := range words {
		if !strings.Contains(result.Summary, w) {
			s.Errorf("%s because %q, and %q is not in it", state, result.Summary, w)
		}
	}
	if sent := s.sim.Commands(); len(sent) != 0 {
		s.Errorf("sent %+v", sent)
	}
}

// Without anything in its way, the step goes through and is verified.
func TestNothingRefused(t *testing.T) {
	for name, step := range map[string]string{"kill": killStep, "delete": deleteStep, "contain": containStep} {
		t.Run(name, func(t *testing.T) {
			s := stage(t, ersim.Options{})
			s.begin(step)
			s.put()
			_, entries := s.until(soar.EntryResult)
			var result playbooks.Result
			if err := json.Unmarshal(entries[len(entries)-1].Body, &result); err != nil || result.State != soar.StepVerified {
				t.Errorf("ended %+v: %v", result, err)
			}
		})
	}
}

func TestRefusedPIDReused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		process ersim.Process
		words   string
	}{
		{"by another program", ersim.Process{PID: 7777, Path: `C:\Windows\explorer.exe`}, `is C:\Windows\explorer.exe now and not it's evil; --.exe`},
		{"by a program of that name elsewhere", ersim.Process{PID: 7777, Path: `C:\Program Files\it's evil; --.exe`}, `and not ` + evil},
		{"by the same program, started later", ersim.Process{PID: 7777, Path: evil, StartTime: time.Now().Add(10 * time.Minute)}, "after the event of the alert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stage(t, ersim.Options{})
			s.sim.StartProcess(s.host.Identifier, tt.process)
			s.begin(killStep)
			s.put()
			s.refused("pid 7777 on "+s.host.Name, tt.words, "the pid was given to another process")
		})
	}
}

// A start that the playbook names is compared, and a pid that nobody has is refused.
func TestRefusedPIDStart(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	b.sim.StartProcess(h.Identifier, ersim.Process{PID: 99, Path: evil, StartTime: start})
	for _, tt := range []struct {
		pid     float64
		started any
		words   string
	}{
		{99, float64(start.Unix()), ""},
		{99, start.Format(time.RFC3339), ""},
		{99, strconv.FormatInt(start.Unix()+1, 10), ""},
		{99, "", ""},
		{99, float64(start.Unix() - 60), "the pid was given to another process"},
		{98, "", "no process has pid 98"},
	} {
		err := b.ready("process.kill", call("kill", soar.Alert{}, object{"host": h.Identifier, "pid": tt.pid, "name": evil, "started": tt.started}))
		if (err == nil) != (tt.words == "") || err != nil && !strings.Contains(err.Error(), tt.words) {
			t.Errorf("pid %v, started %v: %v", tt.pid, tt.started, err)
		}
	}
}

func TestRefusedOtherFile(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.begin(strings.Replace(deleteStep, "${{ .alert.event.md5 }}", "ffffffffffffffffffffffffffffffff", 1))
	s.put()
	s.refused("has the MD5 0123456789abcdef0123456789abcdef and not ffffffffffffffffffffffffffffffff", "it is another file by now")
}

func TestRefusedFileGone(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.begin(strings.Replace(deleteStep, "${{ .alert.event.path }}", `C:\no\such.exe`, 1))
	s.put()
	s.refused(`there is no file C:\no\such.exe on ` + s.host.Name)
}

func TestRefusedHostRenamed(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.Rename(s.host.Identifier, "MAIL-01")
	s.begin(containStep)
	s.put()
	s.refused("was renamed: it was called "+s.host.Name, "is called MAIL-01 now")
}

func TestRefusedHostEnrolledAnew(t *testing.T) {
	s := stage(t, ersim.Options{})
	id := s.sim.Enrol(s.host.Identifier, "")
	s.begin(containStep)
	s.put()
	s.refused("was enrolled anew", fmt.Sprintf("it was host %d", s.host.ID), fmt.Sprintf("is host %d now", id))
}

func TestRefusedHostEnrolledUnderAnotherIdentifier(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.Enrol(s.host.Identifier, "EC2FFFFF-0000")
	s.begin(containStep)
	s.put()
	s.refused(s.host.Identifier, "") // the guard knows already that there is no such host
	if err := s.ready("host.contain", call("contain", s.alert, object{"host": s.host.Identifier})); err == nil ||
		!strings.Contains(err.Error(), "the server has no host "+s.host.Identifier+" any more") || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("ready: %v", err)
	}
}

func TestRefusedHostRemoved(t *testing.T) {
	s := stage(t, ersim.Options{})
	if err := s.deps.Client.Hosts.Deactivate(t.Context(), s.host.Identifier); err != nil {
		t.Fatal(err)
	}
	s.sim.SetOnline(s.host.Identifier, false) // its agent is turned away
	s.begin(containStep)
	s.put()
	s.refused(s.host.Name + " was removed from the server")
}

func TestRefusedResponseDisabled(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.SetResponseEnabled(s.host.Identifier, false)
	s.begin(killStep)
	s.put()
	s.refused(s.host.Name + ": response actions are switched off on the host")
}

func TestRefusedCommunityEdition(t *testing.T) {
	for _, profile := range []string{"4.0-community", "2.1.2"} {
		s := stage(t, ersim.Options{Profile: profile})
		s.begin(containStep)
		s.put()
		s.refused("it is the Community Edition, or its license has none")
	}
}

func TestNothingToReleaseOfAFreeHost(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.begin(strings.Replace(containStep, "host.contain", "host.release", 1))
	s.put()
	s.notSent(soar.StepSuppressed, "release "+s.host.Name, "the host has no firewall rule of erbridge to remove")
}

func TestRefusedPlatform(t *testing.T) {
	s := stage(t, ersim.Options{})
	linux := s.other()
	s.begin(strings.Replace(containStep, "${{ .alert.host.identifier }}", linux.Identifier, 1))
	s.put()
	s.refused(linux.Name, "runs ubuntu; only Windows hosts can do this")
}

// While a step waits, an analyst resolves the alert; when it can go on, it does not.
func TestRefusedAlertResolved(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.begin(containStep)
	if _, err := s.engine.Pause(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	s.put()
	s.until(soar.EntryDecision)
	id, err := strconv.ParseInt(s.alert.ID, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.deps.Client.Alerts.Resolve(t.Context(), []int64{id}, false, "the weekly scan"); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.deps.Client.Alerts.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	host := s.alert.Host
	s.alert = connector.Normalize("er", "", resolved, nil, nil)
	s.alert.Host = host
	s.put() // as the sweep of the source does
	if err := s.engine.Resume(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	s.refused("was resolved as false_positive", "while this step waited")
}

// A host is compared by its number and its name, in every form that the server has.
func TestSameName(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"WIN-1", "win-1", true},
		{"WIN-1", "win-1.acme.example", true},
		{"win-1.acme.example", "WIN-1.ACME.example", true},
		{"win-1.acme.example", "win-1.other.example", false},
		{"WIN-1", "WIN-10", false},
	} {
		if sameName(tt.a, tt.b) != tt.same || sameName(tt.b, tt.a) != tt.same {
			t.Errorf("%s and %s: want %t", tt.a, tt.b, tt.same)
		}
	}
}

// A path is known again in every way in which Windows writes it.
func TestSamePath(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{`C:\Temp\a.exe`, `c:\temp\A.EXE`, true},
		{`C:\Temp\a.exe`, `C:/Temp/a.exe`, true},
		{`C:\Temp\a.exe`, `\Device\HarddiskVolume3\Temp\a.exe`, true},
		{`C:\Temp\a.exe`, `\??\C:\Temp\a.exe`, true},
		{`C:\Temp\a.exe`, `\\?\C:\Temp\a.exe`, true},
		{`C:\Temp\a.exe`, `D:\Temp\a.exe`, false},
		{`C:\Temp\a.exe`, `\Device\HarddiskVolume3\Users\a.exe`, false},
		{`C:\Temp\a.exe`, `C:\a.exe`, false},
		{`C:\Temp\a.exe`, `\`, false},
		{`/tmp/a`, `/tmp/a`, true},
		{`/tmp/a`, `/tmp/A`, false},
	} {
		if samePath(tt.a, tt.b) != tt.same || samePath(tt.b, tt.a) != tt.same {
			t.Errorf("%s and %s: want %t", tt.a, tt.b, tt.same)
		}
	}
}

// However many steps wait, the server is asked once for all of them at each look, and
// again for those hosts only that are back.
func TestManyWaitingStepsAskOnce(t *testing.T) {
	const hosts = 1000
	b := newBench(t, ersim.Options{Hosts: hosts})
	now := time.Now()
	b.deps.Now = func() time.Time { return now }
	b.actions = All(b.deps)
	fleet := b.sim.Hosts()
	for _, h := range fleet {
		b.sim.SetOnline(h.Identifier, false)
	}
	look := func(action string) (ready, calls int) {
		before := total(b.sim.Calls())
		var mu sync.Mutex
		var workers sync.WaitGroup
		for part := range slices.Chunk(fleet, hosts/20) {
			workers.Go(func() {
				for _, h := range part {
					err := b.ready(action, call("look", soar.Alert{}, object{"host": h.Identifier, "path": `C:\a`, "kind": "bat", "content": "echo"}))
					switch {
					case err == nil:
						mu.Lock()
						ready++
						mu.Unlock()
					case !errors.Is(err, playbooks.ErrNotNow):
						t.Errorf("%s on %s: %v", action, h.Name, err)
					}
				}
			})
		}
		workers.Wait()
		return ready, total(b.sim.Calls()) - before
	}
	for _, action := range []string{"quiet.script", "quiet.carve"} {
		if action == "quiet.carve" { // no response channel is needed, and so another list is read
			fleet = fleet[:100]
		}
		real := map[string]string{"quiet.script": "script.run", "quiet.carve": "carve.file"}[action]
		b.actions[action] = only(b.actions[real], map[string][]string{"script.run": {"host", "kind", "content"}, "carve.file": {"host", "path"}}[real])
		if ready, _ := look(action); ready != 0 {
			t.Errorf("%d hosts are ready", ready)
		}
		for minute := range 5 {
			for range 2 {
				now = now.Add(30 * time.Second)
				if ready, calls := look(action); ready != 0 || calls > 2 {
					t.Errorf("%s, minute %d: %d hosts are ready, after %d calls", action, minute, ready, calls)
				}
			}
		}
		for _, h := range fleet[:3] {
			b.sim.SetOnline(h.Identifier, true)
		}
		now = now.Add(30 * time.Second)
		if ready, calls := look(action); ready != 3 || calls > 1+3*3 {
			t.Errorf("%s: %d hosts are ready, after %d calls", action, ready, calls)
		}
		for _, h := range fleet[:3] {
			b.sim.SetOnline(h.Identifier, false)
		}
	}
}

// only is an action that is called with some of the arguments.
func only(a playbooks.Action, keys []string) playbooks.Action { return narrowed{a, keys} }

type narrowed struct {
	playbooks.Action
	keys []string
}

func (n narrowed) Ready(ctx context.Context, call playbooks.Call) error {
	with := object{}
	for _, key := range n.keys {
		with[key] = call.With[key]
	}
	call.With = with
	return n.Action.(playbooks.Readier).Ready(ctx, call)
}

func total(calls map[string]int) (n int) {
	for _, count := range calls {
		n += count
	}
	return n
}

// A host is known again when it is back, in whatever case a playbook writes it.
func TestBackInAnotherCase(t *testing.T) {
	b := newBench(t, ersim.Options{})
	now := time.Now()
	b.deps.Now = func() time.Time { return now }
	b.actions = All(b.deps)
	h := b.windows()
	for _, action := range []string{"script.run", "carve.file"} {
		c := effects(h, soar.Alert{})[action]
		c.With["host"] = strings.ToLower(h.Identifier)
		b.sim.SetOnline(h.Identifier, false)
		for range 2 {
			now = now.Add(time.Minute)
			if err := b.ready(action, c); !errors.Is(err, playbooks.ErrNotNow) {
				t.Errorf("%s: %v", action, err)
			}
		}
		b.sim.SetOnline(h.Identifier, true)
		now = now.Add(time.Minute)
		if err := b.ready(action, c); err != nil {
			t.Errorf("%s, back: %v", action, err)
		}
	}
}

// A list of hosts that cannot be read says nothing about them, and is not read again
// by every step that waits.
func TestListOfHostsCannotBeRead(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	kill := call("kill", b.raise(h, evil), object{"host": h.Identifier, "pid": 7777.0, "name": evil})
	b.sim.SetOnline(h.Identifier, false)
	if err := b.ready("process.kill", kill); !errors.Is(err, playbooks.ErrNotNow) {
		t.Fatal(err)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "response-status-all"})
	for range 3 {
		if err := b.ready("process.kill", kill); !errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrNotNow) {
			t.Errorf("without the list: %v", err)
		}
	}
	if n := b.sim.Calls()["response-status-all"]; n != 1 {
		t.Errorf("the list was read %d times", n)
	}
}

// Every action that changes something on a host looks at the host first.
func TestEveryHostActionLooksFirst(t *testing.T) {
	for name, action := range All(Deps{}) {
		spec := action.Spec()
		input := reflect.TypeOf(spec.Input).Elem()
		onHost := false
		for i := range input.NumField() {
			onHost = onHost || input.Field(i).Tag.Get("yaml") == "host"
		}
		if _, looks := action.(playbooks.Readier); onHost && spec.Effect != playbooks.Reads && !looks {
			t.Errorf("%s writes down an intent without a look at its host", name)
		}
	}
}

// ended is the result of the step.
func (s *scene) ended() (result playbooks.Result) {
	s.Helper()
	_, entries := s.until(soar.EntryResult)
	for _, e := range entries {
		if e.Kind == soar.EntryResult && e.Step == "act" {
			if err := json.Unmarshal(e.Body, &result); err != nil {
				s.Fatal(err)
			}
		}
	}
	return result
}

// A success that nobody can look at is none, and its evidence is kept.
func TestExecutedNotVerified(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "distributed-add", Count: -1})
	s.begin(strings.Replace(containStep, "id: act,", "id: act, timeout: 2s,", 1))
	s.put()
	got := s.ended()
	if got.State != soar.StepFailed || !strings.HasPrefix(got.Error, "executed, not verified: ") || !strings.Contains(got.Summary, "blocked incoming connections") {
		t.Errorf("ended %+v", got)
	}
	if output, ok := got.Output.(map[string]any); !ok || output["command"] == "" || output["rule"] == "" {
		t.Errorf("the evidence is %v", got.Output)
	}
	if sent := s.sim.Commands(); len(sent) != 1 || sent[0].Status != ersim.CommandSuccess {
		t.Errorf("sent %+v", sent)
	}
}

// What was accepted and never executed ends expired, and is taken back.
func TestAcceptedNeverExecuted(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: s.host.Identifier})
	s.begin(strings.Replace(containStep, "id: act,", "id: act, timeout: 2s,", 1))
	s.put()
	got := s.ended()
	if got.State != soar.StepExpired || got.Error != "accepted, and not executed within 2s; it was withdrawn from the server" ||
		!strings.Contains(got.Summary, `the server says "running"`) {
		t.Errorf("ended %+v", got)
	}
	if sent := s.sim.Commands(); len(sent) != 1 || sent[0].Status != ersim.CommandCancelled {
		t.Errorf("sent %+v", sent)
	}
}
