package actions

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// effects are calls with an effect of every kind, all valid for a Windows host.
func effects(h ersim.HostState, alert soar.Alert) map[string]playbooks.Call {
	host := h.Identifier
	with := map[string]object{
		"process.kill":               {"host": host, "pid": "7777", "name": "it's evil; --.exe"},
		"file.delete":                {"host": host, "path": evil},
		"host.contain":               {"host": host},
		"host.release":               {"host": host, "rule": "erbridge-x"},
		"script.run":                 {"host": host, "kind": "bat", "content": "echo it's\r\necho \"done\""},
		"agent.restart":              {"host": host},
		"defender.scan":              {"host": host, "kind": "custom", "path": evil},
		"live.response":              {"host": host, "kind": "shell", "content": "echo 'it is \"done\"'"},
		"defender.schedule":          {"host": host, "at": "02:30"},
		"defender.check_update":      {"host": host},
		"defender.refresh":           {"host": host},
		"defender.exclusions_add":    {"host": host, "path": `C:\Build`},
		"defender.exclusions_remove": {"host": host, "process": "build.exe"},
		"host.tag":                   {"host": host, "tag": "seen"},
		"alert.note":                 {"text": "it's\nbad"},
		"alert.resolve":              {"verdict": "true_positive"},
		"carve.file":                 {"host": host, "path": evil},
	}
	calls := map[string]playbooks.Call{}
	for name, arguments := range with {
		calls[name] = call(name, alert, arguments)
	}
	return calls
}

// endpoints are the calls of the server that have the effect.
var endpoints = map[string]string{
	"process.kill": "response-add", "file.delete": "response-add", "host.contain": "response-add", "host.release": "response-add",
	"script.run": "response-custom-action", "agent.restart": "response-restart-agent", "defender.scan": "defender-scan-now",
	"live.response": "response-live", "defender.schedule": "defender-schedule-scan", "defender.check_update": "defender-check-update",
	"defender.refresh": "defender-status-refresh", "defender.exclusions_add": "defender-configure", "defender.exclusions_remove": "defender-configure",
	"host.tag": "hosts-tags-add", "alert.note": "alerts-notes-add", "alert.resolve": "alerts-update", "carve.file": "distributed-add",
}

// What a broken call means must be told apart: a call that may have happened is
// never called certain, and one that did not happen is never called uncertain.
func TestBrokenCalls(t *testing.T) {
	for _, tt := range []struct {
		fault ersim.FaultKind
		err   error
	}{
		{ersim.RateLimit, playbooks.ErrTransient},
		{ersim.Unavailable, playbooks.ErrTransient},
		{ersim.DropAfter, playbooks.ErrUncertain},
		{ersim.DropBefore, playbooks.ErrUncertain}, // from here they look alike
		{ersim.Truncate, playbooks.ErrUncertain},
		{ersim.HTMLAnswer, playbooks.ErrUncertain},
		{ersim.ServerError, playbooks.ErrUncertain},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			b := newBench(t, ersim.Options{})
			h := b.windows()
			alert := b.raise(h, evil)
			calls := effects(h, alert)
			names := slices.DeleteFunc(slices.Sorted(maps.Keys(calls)), func(name string) bool {
				return name == "agent.restart" || name == "alert.resolve" // that one looks for itself: see TestChangesAreReadBack
			})
			// The host is away after its agent was restarted.
			for _, name := range append(names, "agent.restart") {
				c := calls[name]
				b.sim.Inject(ersim.Fault{Kind: tt.fault, Call: endpoints[name]})
				_, err := b.actions[name].Do(t.Context(), c)
				if !errors.Is(err, tt.err) || errors.Is(err, playbooks.ErrTransient) == errors.Is(err, playbooks.ErrUncertain) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// A lost answer is looked up in the server's list: the command is found there if
// it was taken, and nothing is found if it was not.
func TestLostAnswersAreFound(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	for name, fault := range map[string]ersim.FaultKind{"taken": ersim.DropAfter, "not taken": ersim.DropBefore} {
		alert := b.raise(h, evil)
		for _, action := range []string{"process.kill", "file.delete", "host.contain", "script.run", "defender.scan", "alert.note", "carve.file"} {
			c := effects(h, alert)[action]
			c.Mark += "/" + name
			if name == "not taken" {
				// Otherwise it would find the like call of the other round.
				for key, value := range map[string]any{"pid": "6666", "path": `C:\other.exe`} {
					if _, ok := c.With[key]; ok {
						c.With[key] = value
					}
				}
			}
			since := time.Now().Add(-time.Minute)
			before, err := b.actions[action].Find(t.Context(), c, since)
			if err != nil || action != "carve.file" && len(before) != 0 {
				t.Errorf("%s, %s: found %+v before it was sent: %v", action, name, before, err)
			}
			b.sim.Inject(ersim.Fault{Kind: fault, Call: endpoints[action]})
			if _, err := b.actions[action].Do(t.Context(), c); !errors.Is(err, playbooks.ErrUncertain) {
				t.Errorf("%s, %s: %v", action, name, err)
			}
			if action == "carve.file" {
				continue // the carve begins later; see TestLostCarve
			}
			found, err := b.actions[action].Find(t.Context(), c, since)
			if err != nil || (name == "taken") != (len(found) == 1) {
				t.Fatalf("%s, %s: found %+v: %v", action, name, found, err)
			}
			if name != "taken" {
				continue
			}
			out, err := b.actions[action].Poll(t.Context(), c, found[0].Ref)
			if err != nil {
				t.Fatalf("%s: poll what was found: %v", action, err)
			}
			if out = b.finish(action, c, out); !out.State.OK() {
				t.Errorf("%s: found, and then %+v", action, out)
			}
		}
	}
	for _, c := range b.sim.Commands() {
		if c.Received != 1 {
			t.Errorf("%s %v was received %d times", c.Kind, c.Parameters, c.Received)
		}
	}
}

func TestLostCarve(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	c := effects(h, alert)["carve.file"]
	b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: "distributed-add"})
	if _, err := b.actions["carve.file"].Do(t.Context(), c); !errors.Is(err, playbooks.ErrUncertain) {
		t.Fatal(err)
	}
	var found []playbooks.Found
	for len(found) == 0 && t.Context().Err() == nil {
		var err error
		if found, err = b.actions["carve.file"].Find(t.Context(), c, time.Now().Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	// Another file's step must not take it for its own.
	other := effects(h, alert)["carve.file"]
	other.With["path"] = `C:\another.exe`
	wrong, err := b.actions["carve.file"].Poll(t.Context(), other, found[0].Ref)
	if err != nil {
		t.Fatal(err)
	}
	if wrong = b.finish("carve.file", other, wrong); wrong.State != soar.StepFailed || !strings.Contains(wrong.Error, "evil") {
		t.Errorf("the carve of another file: %+v", wrong)
	}
	out, err := b.actions["carve.file"].Poll(t.Context(), c, found[0].Ref)
	if err != nil {
		t.Fatal(err)
	}
	want(t, b.finish("carve.file", c, out), soar.StepVerified, "carved "+evil)
}

func TestHostsThatCannot(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)

	b.sim.SetOnline(h.Identifier, false)
	for name, c := range effects(h, alert) {
		if strings.HasPrefix(name, "alert.") || name == "host.tag" {
			continue
		}
		_, err := b.actions[name].Do(t.Context(), c)
		if !errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "host is offline") {
			t.Errorf("%s on a host that is offline: %v", name, err)
		}
	}
	query := call("query", alert, object{"hosts": []any{h.Identifier}, "sql": "select pid from processes"})
	if _, err := b.actions["live.query"].Do(t.Context(), query); !errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("live query on a host that is offline: %v", err)
	}
	b.sim.SetOnline(h.Identifier, true)

	b.sim.SetResponseEnabled(h.Identifier, false)
	_, err := b.actions["process.kill"].Do(t.Context(), effects(h, alert)["process.kill"])
	if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "stop it's evil; --.exe (pid 7777) on "+h.Name+": response actions are switched off") {
		t.Errorf("response disabled: %v", err)
	}
	b.sim.SetResponseEnabled(h.Identifier, true)
	if sent := b.sim.Commands(); len(sent) != 0 {
		t.Errorf("%d commands were sent", len(sent))
	}

	linux := b.other()
	err = b.ready("host.contain", call("contain", alert, object{"host": linux.Identifier}))
	if err == nil || !strings.Contains(err.Error(), "runs ubuntu; only Windows hosts can do this") {
		t.Errorf("contain a Linux host: %v", err)
	}
	_, err = b.actions["live.query"].Do(t.Context(), call("query", alert, object{"hosts": []any{h.Identifier}, "sql": "select nonsense from processes"}))
	if err == nil || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("wrong statement: %v", err)
	}
}

func TestFailuresOfHosts(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	for _, tt := range []struct{ message, want string }{
		{"FILE_NOT_FOUND", "there is no such file on the host (FILE_NOT_FOUND)"},
		{"RESP SERVER DISABLED", "response actions are switched off on the host (RESP_SERVER_DISABLED)"},
		{"ACCESS_DENIED", "ACCESS_DENIED"},
	} {
		b.sim.Inject(ersim.Fault{Kind: ersim.CommandFails, Host: h.Identifier, Message: tt.message})
		out := b.run("file.delete", call("delete", alert, object{"host": h.Identifier, "path": evil}))
		if out.State != soar.StepFailed || out.Summary != "could not delete "+evil+" on "+h.Name || out.Error != tt.want || out.Output.(CommandOutput).Message != tt.message {
			t.Errorf("%s: %+v", tt.message, out)
		}
	}

	// A command that somebody cancels on the server.
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: h.Identifier})
	c := call("stuck", alert, object{"host": h.Identifier, "path": evil})
	out, err := b.actions["file.delete"].Do(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.actions["file.delete"].Poll(t.Context(), c, out.Ref); err != nil || again.State != soar.StepAccepted || again.Ref != out.Ref ||
		!strings.HasPrefix(again.Summary, "asked to delete ") {
		t.Errorf("a command that is under way: %+v, %v", again, err)
	}
	if err := b.deps.Client.Responses.Cancel(t.Context(), strings.TrimPrefix(out.Ref, "cmd:")); err != nil {
		t.Fatal(err)
	}
	if out = b.finish("file.delete", c, out); out.State != soar.StepCancelled {
		t.Errorf("a cancelled command: %+v", out)
	}
	for _, ref := range []string{"", "cmd:", "openc2:x", "else:1"} {
		if _, err := b.actions["file.delete"].Poll(t.Context(), c, ref); err == nil {
			t.Errorf("reference %q was taken", ref)
		}
	}
}

// The server says success, and the host shows otherwise.
func TestVerificationContradicts(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	rows := []map[string]string{{"name": "EVIL.exe", "path": `C:\evil.exe`}}
	in := ProcessKill{Name: `C:\other\evil.exe`, PID: 7}
	if in.stillRuns(rows) == "" || in.stillRuns([]map[string]string{{"name": "other.exe", "path": `C:\other.exe`}}) != "" {
		t.Error("a process that still runs is not told from one that has got its pid")
	}

	if in.maybeRuns([]map[string]string{{"name": "", "path": ""}}) == "" || in.maybeRuns(rows) != "" {
		t.Error("a process without name and path is not told from one that has them")
	}

	d := b.actions["process.kill"].(readied[ProcessKill]).deps
	bare := probe{
		task: task{"stop", "stopped", "it"}, sql: "select '' as name, '' as path from processes limit 1", wrong: in.stillRuns, unclear: in.maybeRuns,
	}
	if out := d.verify(t.Context(), Host(h.Identifier), bare); out.State != soar.StepAccepted || !strings.Contains(out.Unverified, "pid 7 is still there") {
		t.Errorf("a process that tells nothing of itself: %+v", out)
	}
	still := probe{
		task: task{"delete", "deleted", "it"}, sql: "select pid from processes", wrong: func([]map[string]string) string { return "it is still there" },
	}
	out := d.verify(t.Context(), Host(h.Identifier), still)
	if out.State != soar.StepFailed || out.Error != "the host reports success, but it is still there" {
		t.Errorf("contradicted: %+v", out)
	}
	b.sim.SetOnline(h.Identifier, false)
	out = d.verify(t.Context(), Host(h.Identifier), still)
	if out.State != soar.StepAccepted || out.Summary != "deleted it" || out.Unverified == "" {
		t.Errorf("a host that does not answer: %+v", out)
	}
}

func TestCommunityServer(t *testing.T) {
	for _, profile := range []string{"4.0-community", "2.1.2"} {
		b := newBench(t, ersim.Options{Profile: profile})
		h := b.windows()
		alert := b.raise(h, evil)
		for name, c := range effects(h, alert) {
			_, err := b.actions[name].Do(t.Context(), c)
			enterprise := !slices.Contains([]string{"host.tag", "alert.resolve", "carve.file"}, name)
			if enterprise && (err == nil || errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrUncertain) ||
				!strings.Contains(err.Error(), "not available on this server (Enterprise only)")) {
				t.Errorf("%s: %s: %v", profile, name, err)
			}
			if !enterprise && err != nil {
				t.Errorf("%s: %s: %v", profile, name, err)
			}
		}
		out := b.run("host.get", call("get", alert, object{"host": h.Identifier}))
		if got := out.Output.(soar.Host); got.Online == nil || !*got.Online || got.Platform != "windows" {
			t.Errorf("%s: host %+v", profile, got)
		}
		_, err := b.actions["alert.note"].Find(t.Context(), effects(h, alert)["alert.note"], time.Now())
		if !errors.Is(err, playbooks.ErrCannotTell) {
			t.Errorf("%s: look up a note: %v", profile, err)
		}
	}
}

// A note is found by its mark, and not by the mark of another step that begins
// alike.
func TestNoteMarks(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.raise(b.windows(), evil)
	ten := call("step10", alert, object{"text": "ten"})
	want(t, b.run("alert.note", ten), soar.StepVerified, "noted")
	one := call("step1", alert, object{"text": "one"})
	if found, err := b.actions["alert.note"].Find(t.Context(), one, time.Now()); err != nil || len(found) != 0 {
		t.Errorf("found %+v: %v", found, err)
	}
	found, err := b.actions["alert.note"].Find(t.Context(), ten, time.Now())
	if err != nil || len(found) != 1 || found[0].Mark != ten.Mark {
		t.Fatalf("found %+v: %v", found, err)
	}
	out, err := b.actions["alert.note"].Poll(t.Context(), ten, found[0].Ref)
	if err != nil || out.State != soar.StepVerified {
		t.Errorf("%+v: %v", out, err)
	}
}

func TestRestart(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	b.deps.ProbeTimeout = time.Second
	b.actions = All(b.deps)
	restart := call("restart", alert, object{"host": h.Identifier})
	for _, told := range []bool{true, false} {
		if !told { // an agent that hangs does not tell when it started
			b.sim.Inject(ersim.Fault{Kind: ersim.ServerError, Call: "distributed-add"})
		}
		out, err := b.actions["agent.restart"].Do(t.Context(), restart)
		if err != nil || out.State != soar.StepAccepted || strings.HasPrefix(out.Ref, "started:") != told {
			t.Fatalf("restart: %+v: %v", out, err)
		}
		ref := out.Ref
		for (err != nil || out.State == soar.StepAccepted) && t.Context().Err() == nil {
			out, err = b.actions["agent.restart"].Poll(t.Context(), restart, ref) // fails while the agent is away
		}
		want(t, out, soar.StepVerified, "restarted the agent of "+h.Name)
	}
	if _, err := b.actions["agent.restart"].Find(t.Context(), call("restart", alert, object{"host": h.Identifier}), time.Now()); !errors.Is(err, playbooks.ErrCannotTell) {
		t.Errorf("look up a restart: %v", err)
	}
}

// Two carves of one host: the second after a reference is not taken for the first.
func TestQuarantineCarveTakesTheNext(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	b.run("carve.file", call("first", alert, object{"host": h.Identifier, "path": evil}))
	page, err := b.deps.Client.Carves.Page(t.Context(), carvesOf(h))
	if err != nil || len(page.Results) != 1 {
		t.Fatalf("%+v: %v", page, err)
	}
	d := b.actions["carve.file"].(readied[CarveFile]).deps
	q := call("quarantined", alert, object{"host": h.Identifier, "path": evil})
	_, started, err := d.quarantineCarve(t.Context(), q, Host(h.Identifier), "after:"+strconv.FormatInt(page.Results[0].ID, 10))
	if err != nil || started {
		t.Errorf("an older carve was taken: %v", err)
	}
	if _, started, err = d.quarantineCarve(t.Context(), q, Host(h.Identifier), "after:0"); err != nil || started {
		t.Errorf("a carve that another call has fetched was taken: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(b.deps.CarveDir, page.Results[0].SessionID)); err != nil {
		t.Fatal(err)
	}
	carve, started, err := d.quarantineCarve(t.Context(), q, Host(h.Identifier), "after:0")
	if err != nil || !started || carve.SessionID != page.Results[0].SessionID {
		t.Errorf("carve %+v: %v", carve, err)
	}

	// One that another call has asked for, and not fetched yet.
	q.With["path"] = `C:\Users\Public\dropper.exe`
	out, err := b.actions["carve.quarantined"].Poll(t.Context(), q, "after:0")
	if err != nil || out.State != soar.StepFailed || !strings.Contains(out.Error, "holds") {
		t.Errorf("the carve of another file: %+v: %v", out, err)
	}
	if _, started, err = d.quarantineCarve(t.Context(), call("third", alert, nil), Host(h.Identifier), "after:0"); err != nil || !started {
		t.Errorf("a carve that was fetched by mistake is taken for claimed: %v", err)
	}
}

// What is in an archive that cannot be read nobody has seen.
func TestUnreadableArchiveIsNotVerified(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	c := effects(h, b.raise(h, evil))["carve.file"]
	if out := b.run("carve.file", c); out.State != soar.StepVerified {
		t.Fatalf("%+v", out)
	}
	page, err := b.deps.Client.Carves.Page(t.Context(), carvesOf(h))
	if err != nil || len(page.Results) != 1 {
		t.Fatalf("%+v: %v", page, err)
	}
	carve := page.Results[0]
	broken := make([]byte, 1024) // the magic number of zstd, and nothing that follows from it
	copy(broken, "\x28\xb5\x2f\xfd\xff\xff\xff")
	if err := os.RemoveAll(filepath.Join(b.deps.CarveDir, carve.SessionID)); err != nil {
		t.Fatal(err)
	}
	actions := b.answering("/carves/download/"+carve.SessionID, string(broken))
	out, err := actions["carve.file"].Poll(t.Context(), c, "session:"+carve.SessionID)
	if err != nil || out.State != soar.StepExecuted || !strings.Contains(out.Summary, "not verified") {
		t.Errorf("%+v: %v", out, err)
	}
}

// Without the list of carves nobody knows which one comes next.
func TestQuarantineCarveNeedsTheList(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	actions := b.answering("/v1/carves", `{"status": "success", "message": "", "data": null}`)
	_, err := actions["carve.quarantined"].Do(t.Context(), call("q", b.raise(h, evil), object{"host": h.Identifier, "path": evil}))
	if !errors.Is(err, playbooks.ErrTransient) || len(b.sim.Commands()) != 0 {
		t.Errorf("sent %d commands: %v", len(b.sim.Commands()), err)
	}
}

// A command that waits at the server is taken back, by its own id or by that of the
// action; one that is over is not, and there are some that the server cannot take back.
func TestWithdraw(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	calls := effects(h, alert)
	withdraw := func(action, ref string) error {
		return b.actions[action].(playbooks.Withdrawer).Withdraw(t.Context(), calls[action], ref)
	}
	for _, action := range []string{"file.delete", "script.run"} {
		b.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: h.Identifier})
		out, err := b.actions[action].Do(t.Context(), calls[action])
		if err != nil {
			t.Fatal(err)
		}
		if err := withdraw(action, out.Ref); err != nil {
			t.Errorf("%s: %v", action, err)
		}
		if out = b.finish(action, calls[action], out); out.State != soar.StepCancelled {
			t.Errorf("%s: %+v", action, out)
		}
		if err := withdraw(action, out.Ref); err == nil {
			t.Errorf("%s was withdrawn after its end", action)
		}
	}
	if err := withdraw("carve.file", "query:1"); !errors.Is(err, errNoWithdrawing) {
		t.Errorf("carve: %v", err)
	}
	if err := withdraw("script.run", "openc2:99"); err == nil {
		t.Error("a command that is not there was withdrawn")
	}
}
