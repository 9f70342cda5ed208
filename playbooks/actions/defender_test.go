package actions

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestDefenderQuestions(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	quarantined := b.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Threat: "Trojan:Sim", Separate: true, Columns: map[string]string{
		"action": "FILE_WRITE", "pid": "8", "target_path": `C:\bad.exe`,
	}})
	if quarantined == 0 {
		t.Fatal("no alert")
	}
	ask := func(action string) any {
		out := b.run(action, call(action, alert, object{"host": h.Identifier}))
		if out.State != soar.StepExecuted || out.Target != h.Identifier || !strings.Contains(out.Summary, "of Defender on "+h.Name) {
			t.Errorf("%s: %+v", action, out)
		}
		return out.Output
	}
	if q := ask("defender.quarantine").(DefenderQuarantineOutput); !q.FoundNothing() || q.Message != "[]" || q.Command == "" {
		t.Errorf("nothing in quarantine: %+v", q)
	}
	b.run("defender.scan", call("scan", alert, object{"host": h.Identifier, "kind": "custom", "path": `C:\bad.exe`}))
	if q := ask("defender.quarantine").(DefenderQuarantineOutput); q.FoundNothing() || len(q.Threats) != 1 || q.Threats[0].(map[string]any)["Path"] != `C:\bad.exe` {
		t.Errorf("quarantine %+v", q)
	}
	if s, ok := ask("defender.settings").(DefenderSettingsOutput).Settings.(map[string]any); !ok || s["ScanScheduleDay"] == nil {
		t.Errorf("settings %+v", s)
	}
	if s, ok := ask("defender.status").(DefenderStatusOutput).Status.(map[string]any); !ok || s["AntivirusEnabled"] != true {
		t.Errorf("status %+v", s)
	}
	if u, ok := ask("defender.check_update").(DefenderCheckUpdateOutput).Update.(map[string]any); !ok || u["AntivirusSignatureVersion"] == nil {
		t.Errorf("update %+v", u)
	}
	if s, ok := ask("defender.refresh").(DefenderRefreshOutput).State.(map[string]any); !ok || s["Antivirus"] == nil {
		t.Errorf("state %+v", s)
	}
}

// What is no JSON is handed on as it came, and is not taken for an empty list.
func TestDefenderAnswersInWords(t *testing.T) {
	for message, want := range map[string]any{
		`{"a": 1}`: map[string]any{"a": 1.0}, `[]`: []any{}, "ThreatName : Trojan": nil, "": nil, `{"a": `: nil,
	} {
		if got := jsonOrNil(message); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", message, got, want)
		}
	}
	if (DefenderQuarantineOutput{}).FoundNothing() {
		t.Error("an answer that cannot be read says that nothing is quarantined")
	}
}

var defenderActions = map[string]object{
	"defender.status": {}, "defender.settings": {}, "defender.quarantine": {}, "defender.check_update": {}, "defender.refresh": {},
	"defender.scan": {}, "defender.schedule": {"at": "02:30"},
	"defender.exclusions_add": {"path": `C:\Build`}, "defender.exclusions_remove": {"path": `C:\Build`},
}

func TestHostsWithoutDefender(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h, linux := b.windows(), b.other()
	alert := b.raise(h, evil)
	on := func(action string, host ersim.HostState) playbooks.Call {
		with := object{"host": host.Identifier}
		for name, value := range defenderActions[action] {
			with[name] = value
		}
		return call(action, alert, with)
	}
	refused := func(action string, host ersim.HostState, want error, words string) {
		t.Helper()
		_, err := b.actions[action].Do(t.Context(), on(action, host))
		if err == nil || want != nil && !errors.Is(err, want) || want == nil && errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", action, err)
		}
		if ready, ok := b.actions[action].(playbooks.Readier); ok {
			if err := ready.Ready(t.Context(), on(action, host)); err == nil {
				t.Errorf("%s is ready", action)
			}
		}
	}
	for action := range defenderActions {
		refused(action, linux, nil, "windows hosts only")
	}
	b.sim.SetResponseEnabled(h.Identifier, false)
	for action := range defenderActions {
		refused(action, h, nil, "response actions are switched off on the host")
	}
	b.sim.SetResponseEnabled(h.Identifier, true)
	b.sim.SetOnline(h.Identifier, false)
	for action := range defenderActions {
		refused(action, h, playbooks.ErrTransient, "host is offline")
	}
	if n := len(b.sim.Commands()); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	community := newBench(t, ersim.Options{Profile: "4.0-community"})
	h = community.windows()
	for action := range defenderActions {
		c := on(action, h)
		if _, err := community.actions[action].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "Enterprise only") {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestDefenderSchedule(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	for _, tt := range []struct {
		with    object
		summary string
	}{
		{object{"at": "23:05"}, "scheduled a quick scan of Defender on " + h.Name + " for 23:05; verified with Defender"},
		{object{"at": "00:00", "kind": "full"}, "scheduled a full scan of Defender on " + h.Name + " for 00:00, every day; verified"},
		{object{"at": "02:30", "kind": "full", "day": "saturday"}, "for 02:30, saturday; verified"},
		{object{"at": "02:30", "kind": "full", "day": "never"}, "for 02:30, never; verified"},
	} {
		tt.with["host"] = h.Identifier
		want(t, b.run("defender.schedule", call("schedule", alert, tt.with)), soar.StepVerified, tt.summary)
	}
	for _, tt := range []struct{ with, want string }{
		{"24:00", "at: expected hours and minutes"}, {"2:30", "at: expected hours and minutes"}, {"02:30:00", "at: expected hours and minutes"},
		{"02:30; calc", "at: expected hours and minutes"}, {"", "at: is empty"},
	} {
		_, err := b.actions["defender.schedule"].Do(t.Context(), call("x", alert, object{"host": h.Identifier, "at": tt.with}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.with, err)
		}
	}
	_, err := b.actions["defender.schedule"].Do(t.Context(), call("x", alert, object{"host": h.Identifier, "at": "02:30", "day": "monday"}))
	if err == nil || !strings.Contains(err.Error(), "only a full scan has a day") {
		t.Errorf("a quick scan of Mondays: %v", err)
	}
}

// What Defender says of its schedule may confirm, contradict, or say nothing.
func TestDefenderScheduleIsReadBack(t *testing.T) {
	quick, full := DefenderSchedule{Kind: "quick", At: "02:30"}, DefenderSchedule{Kind: "full", At: "02:30", Day: "monday"}
	span := func(hours, minutes float64) map[string]any {
		return map[string]any{"Hours": hours, "Minutes": minutes, "Ticks": 9e10}
	}
	for _, tt := range []struct {
		name     string
		in       DefenderSchedule
		settings map[string]any
		wrong    string
		told     bool
	}{
		{"a text", quick, map[string]any{"ScanScheduleQuickScanTime": "02:30:00"}, "", true},
		{"a span", quick, map[string]any{"ScanScheduleQuickScanTime": span(2, 30)}, "", true},
		{"another time", quick, map[string]any{"ScanScheduleQuickScanTime": span(3, 30)}, "Defender has the time 03:30", true},
		{"no answer", quick, nil, "", false},
		{"no time", quick, map[string]any{"ScanScheduleQuickScanTime": "soon"}, "", false},
		{"the day", full, map[string]any{"ScanScheduleTime": "02:30:00", "ScanScheduleDay": 2.0}, "", true},
		{"another day", full, map[string]any{"ScanScheduleTime": "02:30:00", "ScanScheduleDay": 3.0}, "Defender has the day 3 and not 2", true},
		{"no day", full, map[string]any{"ScanScheduleTime": "02:30:00"}, "", false},
	} {
		if wrong, told := tt.in.wrong(tt.settings); wrong != tt.wrong || told != tt.told {
			t.Errorf("%s: %q, told %t", tt.name, wrong, told)
		}
	}
}

func TestDefenderExclusions(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	alert := b.raise(h, evil)
	for _, tt := range []struct{ key, value, words string }{
		{"path", `C:\Program Files (x86)\it and that`, `path C:\Program Files (x86)\it and that`},
		{"process", "build.exe", "process build.exe"},
		{"file_type", ".log", "file type .log"},
	} {
		c := call("exclude", alert, object{"host": h.Identifier, tt.key: tt.value})
		if err := b.ready("defender.exclusions_remove", c); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("%s: remove what is not there: %v", tt.key, err)
		}
		if err := b.ready("defender.exclusions_add", c); err != nil {
			t.Errorf("%s: %v", tt.key, err)
		}
		out := b.run("defender.exclusions_add", c)
		want(t, out, soar.StepVerified, "excluded "+tt.words+" from scans of Defender on "+h.Name+"; verified with Defender")
		if got := out.Output.(DefenderExclusionOutput); got.Exclusion != tt.words || got.Command == "" {
			t.Errorf("output %+v", got)
		}
		if err := b.ready("defender.exclusions_add", c); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("%s: add it again: %v", tt.key, err)
		}
		back := b.actions["defender.exclusions_add"].(playbooks.Reverser).Reverse(c, nil)
		if back == nil || back.Do != "defender.exclusions_remove" || !reflect.DeepEqual(back.With, c.With) {
			t.Fatalf("%s: reversal %+v", tt.key, back)
		}
		want(t, b.run(back.Do, call("include", alert, back.With)), soar.StepVerified, "included "+tt.words+" in scans of Defender on "+h.Name)
	}
	// What Defender left out before, it may leave out again; what nobody knows of, not.
	for _, tt := range []struct {
		with   object
		output any
		back   bool
	}{
		{object{"host": "h", "path": `C:\a`}, object{"verified": true}, true},
		{object{"host": "h", "path": `C:\a`}, object{"verified": false}, false},
		{object{"host": "h", "path": `C:\a`}, nil, false},
		{object{"host": "h", "path": `C:\a`, "for": "1h"}, nil, true},
	} {
		back := b.actions["defender.exclusions_remove"].(playbooks.Reverser).Reverse(call("x", alert, tt.with), tt.output)
		if (back != nil) != tt.back || back != nil && back.Do != "defender.exclusions_add" {
			t.Errorf("%v, %v: reversal %+v", tt.with, tt.output, back)
		}
	}
}

// A report of the host is not taken for the settings, and settings that cannot be read
// confirm nothing.
func TestDefenderExclusionsAreReadBack(t *testing.T) {
	in := DefenderExclusion{Path: `C:\Build\`}
	for _, tt := range []struct {
		name        string
		settings    map[string]any
		there, told bool
	}{
		{"a list", map[string]any{"ExclusionPath": []any{`C:\a`, `c:\build`}}, true, true},
		{"a single one", map[string]any{"ExclusionPath": `C:\Build`}, true, true},
		{"another", map[string]any{"ExclusionPath": []any{`C:\Build\b`}}, false, true},
		{"none", map[string]any{"ExclusionPath": nil}, false, true},
		{"not shown", map[string]any{"ExclusionPath": []any{"N/A: Must be an administrator to view exclusions"}}, false, false},
		{"another shape", map[string]any{"ExclusionPath": 7.0}, false, false},
		{"not told", map[string]any{}, false, false},
		{"no JSON", nil, false, false},
	} {
		if there, told := in.within(tt.settings); there != tt.there || told != tt.told {
			t.Errorf("%s: there %t, told %t", tt.name, there, told)
		}
	}

	b := newBench(t, ersim.Options{})
	b.deps.ProbeTimeout = time.Second
	b.actions = All(b.deps)
	h := b.windows()
	d := b.actions["defender.scan"].(readied[DefenderScan]).deps
	words := task{"exclude", "excluded", "it"}
	for state, wrong := range map[soar.StepState]func(map[string]any) (string, bool){
		soar.StepVerified: func(map[string]any) (string, bool) { return "", true },
		soar.StepFailed:   func(map[string]any) (string, bool) { return "Defender does not leave it out", true },
		soar.StepExecuted: func(map[string]any) (string, bool) { return "", false },
	} {
		if out := d.settled(t.Context(), Host(h.Identifier), words, wrong); out.State != state {
			t.Errorf("%s: %+v", state, out)
		}
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandStuck, Host: h.Identifier})
	out := d.settled(t.Context(), Host(h.Identifier), words, nil)
	if out.State != soar.StepAccepted || out.Unverified == "" {
		t.Errorf("Defender does not answer: %+v", out)
	}
	b.sim.Inject(ersim.Fault{Kind: ersim.CommandFails, Host: h.Identifier, Message: "broken"})
	err := b.ready("defender.exclusions_add", call("x", soar.Alert{}, object{"host": h.Identifier, "path": `C:\Build`}))
	if !errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("Defender cannot answer: %v", err)
	}
}

// The values of an alert are not to become commands, and none is to switch Defender off.
func TestDefenderExclusionsRefuse(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	for _, tt := range []struct {
		with object
		want string
	}{
		{object{}, "expected exactly one of"},
		{object{"path": `C:\a`, "process": "b.exe"}, "expected exactly one of"},
		{object{"path": `C:\a'; calc; '`}, `holds '\''`},
		{object{"path": "C:\\a\u2019; calc"}, "may mean something to the shell"},
		{object{"path": `C:\$(calc)`}, "may mean something to the shell"},
		{object{"path": "C:\\a`b"}, "may mean something to the shell"},
		{object{"path": `C:\a,C:\`}, `holds ','`},
		{object{"path": "C:\\a\nRemove-Item C:\\"}, "may mean something to the shell"},
		{object{"path": "C:\\cod\u202efdp.exe"}, "may mean something to the shell"},
		{object{"path": `C:\`}, `Defender would be blind on all of C:\`},
		{object{"path": `C:`}, "Defender would be blind"},
		{object{"path": `C:\*`}, "Defender would be blind"},
		{object{"path": `%SystemDrive%\`}, "Defender would be blind"},
		{object{"path": `\\server\share\`}, "Defender would be blind"},
		{object{"path": `C:\Users\..`}, `holds ".."`},
		{object{"path": `Users`}, "expected a full path"},
		{object{"path": `-ExclusionExtension exe`}, "expected a full path"},
		{object{"process": "*"}, "without * and ?"},
		{object{"process": " a.exe"}, "begins or ends with a blank"},
		{object{"process": "-Force"}, `begins with '-'`},
		{object{"process": "\u2013Force"}, "begins with '\u2013'"},
		{object{"process": "\u2014Force"}, "begins with '\u2014'"},
		{object{"process": "\u2015Force"}, "begins with '\u2015'"},
		{object{"process": "--%"}, `begins with '-'`},
		{object{"process": "@args"}, `begins with '@'`},
		{object{"process": "#a.exe"}, `begins with '#'`},
		{object{"process": "(calc)"}, `begins with '('`},
		{object{"process": "a\u201b.exe"}, "may mean something to the shell"},
		{object{"file_type": "-Force"}, `begins with '-'`},
		{object{"file_type": ".*"}, "expected an ending"},
		{object{"file_type": "exe -Force"}, "expected an ending"},
	} {
		tt.with["host"] = h.Identifier
		_, err := b.actions["defender.exclusions_add"].Do(t.Context(), call("x", soar.Alert{}, tt.with))
		if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.with, err)
		}
	}
	if n := len(b.sim.Commands()); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	// Whoever has excluded all of a volume is free to take that back.
	want(t, b.run("defender.exclusions_remove", call("x", soar.Alert{}, object{"host": h.Identifier, "path": `C:\`})), soar.StepVerified, "included path C:\\ in scans")
}

// An answer that was lost: all of it may be sent again, and what is so already is known.
func TestDefenderCallsThatWereLost(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	for action, endpoint := range map[string]string{
		"defender.schedule": "defender-schedule-scan", "defender.exclusions_add": "defender-configure", "defender.check_update": "defender-check-update",
		"defender.refresh": "defender-status-refresh",
	} {
		with := object{"host": h.Identifier}
		for name, value := range defenderActions[action] {
			with[name] = value
		}
		c := call(action, soar.Alert{}, with)
		b.sim.Inject(ersim.Fault{Kind: ersim.DropAfter, Call: endpoint})
		if _, err := b.actions[action].Do(t.Context(), c); !errors.Is(err, playbooks.ErrUncertain) {
			t.Errorf("%s: %v", action, err)
		}
		if effect := b.actions[action].Spec().Effect; effect != playbooks.Repeatable {
			t.Errorf("%s is %s", action, effect)
		}
		if out := b.run(action, c); !out.State.OK() {
			t.Errorf("%s again: %+v", action, out)
		}
	}
}
