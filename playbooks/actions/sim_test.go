package actions

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// bench is a simulated server with actions bound to it.
type bench struct {
	*testing.T
	sim     *ersim.Server
	deps    Deps
	actions map[string]playbooks.Action
}

func newBench(t *testing.T, o ersim.Options) *bench {
	t.Helper()
	if o.CommandDelay == 0 {
		o.CommandDelay = 20 * time.Millisecond
	}
	sim, err := ersim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
	b := &bench{T: t, sim: sim}
	b.deps = Deps{Client: b.login("admin"), Server: "er", CarveDir: t.TempDir()}
	b.actions = All(b.deps)
	return b
}

// login is a client with an account of the simulator: admin or analyst.
func (b *bench) login(username string) *connector.Client {
	b.Helper()
	ca := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, b.sim.CAPEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	client, err := connector.New(connector.Options{
		URL: b.sim.URL(), Username: username, Password: soar.SecretValue("admin"), CAFile: ca, Retries: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// windows is a Windows host of the fleet, other a host that is none.
func (b *bench) windows() ersim.HostState {
	return b.host(func(p string) bool { return p == "windows" })
}
func (b *bench) other() ersim.HostState { return b.host(func(p string) bool { return p == "ubuntu" }) }

func (b *bench) host(want func(platform string) bool) ersim.HostState {
	b.Helper()
	for _, h := range b.sim.Hosts() {
		if want(h.Platform) {
			return h
		}
	}
	b.Fatal("the fleet has no such host")
	return ersim.HostState{}
}

// raise makes a process with a file on a host, and the alert about it.
func (b *bench) raise(h ersim.HostState, path string) soar.Alert {
	b.Helper()
	id := b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Separate: true, Columns: map[string]string{
		"action": "PROC_CREATE", "pid": "7777", "path": path, "cmdline": path + " --evil", "process_guid": "GUID-7777",
	}})
	return soar.Alert{Server: "er", ID: strconv.FormatInt(id, 10), Host: soar.Host{ID: h.ID, Identifier: h.Identifier, Name: h.Name}}
}

// finish polls a call until it is over.
func (b *bench) finish(action string, call playbooks.Call, out playbooks.Outcome) playbooks.Outcome {
	b.Helper()
	var err error
	for out.State == soar.StepAccepted && out.Unverified == "" {
		if out.Ref == "" {
			b.Fatalf("%s: accepted without a reference: %+v", action, out)
		}
		if b.Context().Err() != nil {
			b.Fatalf("%s: %v", action, context.Cause(b.Context()))
		}
		if out, err = b.actions[action].Poll(b.Context(), call, out.Ref); err != nil {
			b.Fatalf("%s: poll: %v", action, err)
		}
	}
	return out
}

// ready asks whether a call makes sense now.
func (b *bench) ready(action string, call playbooks.Call) error {
	b.Helper()
	a, ok := b.actions[action].(playbooks.Readier)
	if !ok {
		b.Fatalf("%s looks at nothing before it is sent", action)
	}
	return a.Ready(b.Context(), call)
}

// run carries a call out to its end.
func (b *bench) run(action string, call playbooks.Call) playbooks.Outcome {
	b.Helper()
	out, err := b.actions[action].Do(b.Context(), call)
	if err != nil {
		b.Fatalf("%s: %v", action, err)
	}
	return b.finish(action, call, out)
}

func call(mark string, alert soar.Alert, with object) playbooks.Call {
	return playbooks.Call{Step: "s", Mark: "0run/" + mark, Alert: alert, With: with}
}

func want(t *testing.T, out playbooks.Outcome, state soar.StepState, summary string) {
	t.Helper()
	if out.State != state || !strings.Contains(out.Summary, summary) {
		t.Errorf("got %s: %q (%s), want %s: ...%s...", out.State, out.Summary, out.Error, state, summary)
	}
}

const evil = `C:\Users\Public\it's evil; --.exe`

func TestResponseActionsSucceed(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)

	out := b.run("process.kill", call("kill", alert, object{"host": h.Identifier, "pid": "7777", "name": "it's evil; --.exe"}))
	want(t, out, soar.StepVerified, "stopped it's evil; --.exe (pid 7777) on "+h.Name+"; verified on the host")
	if out.Target != h.Identifier || out.Output.(CommandOutput).Command == "" {
		t.Errorf("outcome %+v", out)
	}

	out = b.run("file.delete", call("delete", alert, object{"host": h.Identifier, "path": evil}))
	want(t, out, soar.StepVerified, "deleted "+evil)

	contain := call("contain", alert, object{"host": h.Identifier})
	out = b.run("host.contain", contain)
	want(t, out, soar.StepVerified, "blocked incoming connections on "+h.Name)
	rule := out.Output.(HostContainOutput).Rule
	if rule != "erbridge-"+h.Identifier+"-0run-contain" {
		t.Errorf("rule %q", rule)
	}
	narrow := call("contain2", alert, object{"host": h.Identifier, "direction": "out", "remote_port": "445", "protocol": "tcp"})
	want(t, b.run("host.contain", narrow), soar.StepVerified, "blocked tcp outgoing connections remote port 445")

	// Without a name, all rules go; what is not there any more is not removed again.
	free := call("release", alert, object{"host": h.Identifier})
	out = b.run("host.release", free)
	want(t, out, soar.StepVerified, "released "+h.Name+"; verified on the host")
	if rules := out.Output.(HostReleaseOutput).Rules; len(rules) != 2 || !slices.Contains(rules, rule) {
		t.Errorf("removed %q", rules)
	}
	if err := b.ready("host.release", free); !errors.Is(err, playbooks.ErrNothingToDo) || !strings.Contains(err.Error(), "it was released already, by the command that was sent at ") {
		t.Errorf("release of a host that is free: %v", err)
	}

	out = b.run("script.run", call("script", alert, object{"host": h.Identifier, "kind": "powershell", "content": "Write-Output 'a; b'\nWrite-Output c"}))
	want(t, out, soar.StepExecuted, "ran a powershell script")
	if text := out.Output.(ScriptRunOutput).Text; text != "a; b\nc" {
		t.Errorf("script printed %q", text)
	}

	out = b.run("defender.scan", call("scan", alert, object{"host": h.Identifier}))
	want(t, out, soar.StepVerified, "ran a quick scan")
	out = b.run("defender.status", call("status", alert, object{"host": h.Identifier}))
	want(t, out, soar.StepExecuted, "read the state of Defender")
	if status, ok := out.Output.(DefenderStatusOutput).Status.(map[string]any); !ok || status["AntivirusEnabled"] != true {
		t.Errorf("status %+v", out.Output)
	}
	for _, c := range b.sim.Commands() {
		if c.Received != 1 && c.Kind != "defender/computer-status" { // scans ask for it, too
			t.Errorf("%s was sent %d times", c.Kind, c.Received)
		}
	}
}

func TestHostsAlertsAndQueries(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)

	out := b.run("host.get", call("get", alert, object{"host": h.Identifier}))
	got := out.Output.(soar.Host)
	if got.Name != h.Name || got.Platform != "windows" || got.Online == nil || !*got.Online || !slices.Equal(slices.Sorted(slices.Values(got.Tags)), slices.Sorted(slices.Values(h.Tags))) {
		t.Errorf("host %+v, want %+v", got, h)
	}
	if byID := b.run("host.get", call("get", alert, object{"host": float64(h.ID)})); byID.Output.(soar.Host).Identifier != h.Identifier {
		t.Errorf("host by id %+v", byID)
	}
	_, err := b.actions["host.get"].Do(t.Context(), call("get", alert, object{"host": "NOBODY"}))
	if err == nil || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("unknown host: %v", err)
	}

	out = b.run("host.tag", call("tag", alert, object{"host": h.Identifier, "tag": "seen"}))
	want(t, out, soar.StepVerified, `tagged `)
	if !slices.Contains(out.Output.(HostTagOutput).Tags, "seen") {
		t.Errorf("tags %v", out.Output)
	}
	out = b.run("host.tag", call("untag", alert, object{"host": h.Identifier, "tag": "seen", "remove": true}))
	want(t, out, soar.StepVerified, `took the tag "seen"`)

	id, _ := strconv.ParseInt(alert.ID, 10, 64)
	text := "line 1\n\"quotes\" 'and' <b>tags</b> \u2028 日本"
	out = b.run("alert.note", call("note", alert, object{"text": text}))
	want(t, out, soar.StepVerified, "noted on alert "+alert.ID)
	if notes := b.sim.Notes(id); len(notes) != 1 || notes[0] != text+"\n\n[erbridge 0run/note]" {
		t.Errorf("notes %q", notes)
	}
	foreign := alert
	foreign.Server = "webhook"
	if _, err := b.actions["alert.note"].Do(t.Context(), call("note", foreign, object{"text": "x"})); err == nil {
		t.Error("a note went to the alert of another server")
	}

	out = b.run("alert.resolve", call("resolve", alert, object{"verdict": "false_positive", "comment": "it's fine"}))
	want(t, out, soar.StepVerified, "as false_positive")
	missing := call("resolve", alert, object{"verdict": "false_positive", "alert": 99999.0})
	if _, err := b.actions["alert.resolve"].Do(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "has no alert 99999") {
		t.Errorf("an alert that does not exist: %v", err)
	}

	out = b.run("live.query", call("query", alert, object{
		"hosts": []any{h.Identifier}, "sql": "select name, path from processes where path = :p", "params": object{"p": evil},
	}))
	want(t, out, soar.StepExecuted, "1 of 1 hosts answered with 1 rows")
	result := out.Output.(LiveQueryOutput)
	if result.Partial || len(result.Rows) != 1 || result.Rows[0]["path"] != evil || result.Hosts[0].Host != h.Identifier {
		t.Errorf("result %+v", result)
	}
	out = b.run("live.query", call("query", alert, object{"all_hosts": true, "sql": "select hostname from system_info"}))
	if result = out.Output.(LiveQueryOutput); len(result.Hosts) != len(b.sim.Hosts()) || result.Partial {
		t.Errorf("%d hosts answered, partial %t", len(result.Hosts), result.Partial)
	}
	if _, err := b.actions["live.query"].Do(t.Context(), call("query", alert, object{"hosts": []any{}, "sql": "select 1"})); err == nil {
		t.Error("a query without a target was sent")
	}

	out = b.run("process.tree", call("tree", alert, object{"guid": b.playTree(h)}))
	tree := out.Output.(ProcessTreeOutput)
	if len(tree.Files) != 30 || tree.Files[0] != `C:\f0` || len(tree.Processes) != 1 || tree.Counts["FILE_WRITE"] != 30 || tree.Partial {
		t.Errorf("tree %+v", tree)
	}
}

// playTree makes a process that starts another and writes 30 files, which are
// more than one answer of the server holds.
func (b *bench) playTree(h ersim.HostState) (guid string) {
	start := time.Now().Add(-time.Minute)
	for i := range 30 {
		at := start.Add(time.Duration(i) * time.Second)
		b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "writes", Separate: true, CreatedAt: at, Columns: map[string]string{
			"action": "FILE_WRITE", "process_guid": "ROOT", "process_name": `C:\a.exe`, "target_path": `C:\f` + strconv.Itoa(i), "eid": strconv.Itoa(i),
		}})
	}
	b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "starts", Separate: true, Columns: map[string]string{
		"action": "PROC_CREATE", "process_guid": "CHILD", "pid": "5000", "path": `C:\b.exe`, "cmdline": "b", "parent_process_guid": "ROOT", "parent_path": `C:\a.exe`,
	}})
	return "ROOT"
}

func TestCarves(t *testing.T) {
	b := newBench(t, ersim.Options{})
	for _, h := range []ersim.HostState{b.windows(), b.other()} {
		path := evil
		if h.Platform != "windows" {
			path = "/tmp/it's evil; --"
		}
		alert := b.raise(h, path)
		c := call("carve", alert, object{"host": h.Identifier, "path": path})
		out := b.run("carve.file", c)
		want(t, out, soar.StepVerified, "carved "+path)
		carve := out.Output.(CarveOutput)
		data, err := os.ReadFile(carve.File)
		if err != nil || int64(len(data)) != carve.Bytes || carve.SHA256 == "" || !strings.Contains(string(data), "evil") {
			t.Errorf("archive of %d bytes, %+v: %v", len(data), carve, err)
		}
		if len(carve.Files) != 1 || !strings.HasSuffix(carve.Files[0], "evil; --.exe") && !strings.HasSuffix(carve.Files[0], "evil; --") {
			t.Errorf("archive holds %q", carve.Files)
		}
		entries, err := os.ReadDir(filepath.Dir(carve.File))
		if err != nil || len(entries) != 4 { // archive, manifest, record of custody and lock
			t.Errorf("carve folder holds %v: %v", entries, err)
		}
	}

	// A quarantined file.
	h := b.windows()
	id := b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Threat: "Trojan:Sim", Separate: true, Columns: map[string]string{
		"action": "FILE_WRITE", "pid": "8", "target_path": `C:\bad.exe`,
	}})
	alert := soar.Alert{Server: "er", ID: strconv.FormatInt(id, 10)}
	out := b.run("defender.scan", call("scan", alert, object{"host": h.Identifier, "kind": "custom", "path": `C:\bad.exe`}))
	want(t, out, soar.StepVerified, `scanned C:\bad.exe`)
	quarantined := call("quarantined", alert, object{"host": h.Identifier, "path": `C:\bad.exe`})
	out = b.run("carve.quarantined", quarantined)
	want(t, out, soar.StepVerified, `carved C:\bad.exe`)

	// A carve that is too large, and one that stays on the server.
	b.deps.MaxCarveBytes = 100
	b.actions = All(b.deps)
	alert = b.raise(h, evil)
	out = b.run("carve.file", call("large", alert, object{"host": h.Identifier, "path": evil}))
	if out.State != soar.StepFailed || !strings.Contains(out.Error, "larger than the configured limit") {
		t.Errorf("large carve: %+v", out)
	}
	b.deps.CarveDir = ""
	b.actions = All(b.deps)
	out = b.run("carve.file", call("stay", alert, object{"host": h.Identifier, "path": evil}))
	want(t, out, soar.StepExecuted, "kept on the server")
}

func carvesOf(h ersim.HostState) connector.CarveQuery {
	return connector.CarveQuery{Host: h.Identifier}
}
