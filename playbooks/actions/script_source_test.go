package actions

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

const greetText = "Write-Output hello\n"

// reviewedScripts are those of the tests: greet, in PowerShell for Windows, and list, for
// Linux.
func reviewedScripts(t *testing.T) (set *scripts.Set, greetHash string) {
	t.Helper()
	dir := t.TempDir()
	hashes := map[string]string{}
	for file, text := range map[string]string{"greet.ps1": greetText, "list.sh": "echo list\n"} {
		sum := sha256.Sum256([]byte(text))
		hashes[file] = hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, said := range map[string]string{
		"greet.yaml": "description: Greets.\nplatform: windows\nkind: powershell\nfile: greet.ps1\nsha256: " + hashes["greet.ps1"] +
			"\narguments:\n  who: {required: true, max: 100}\n  times: {type: integer, min: 1, max: 9}\n",
		"list.yaml":   "description: Lists.\nplatform: linux\nkind: shell\nfile: list.sh\nsha256: " + hashes["list.sh"] + "\n",
		"broken.yaml": "description: Broken.\nplatform: linux\nkind: shell\nfile: list.sh\nsha256: " + hashes["greet.ps1"] + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, problems := scripts.Load(dir)
	if len(problems) != 1 {
		t.Fatalf("problems %v", problems)
	}
	return set, hashes["greet.ps1"]
}

func TestReviewedScript(t *testing.T) {
	b := newBench(t, ersim.Options{})
	set, hash := reviewedScripts(t)
	b.deps.Scripts = set
	b.actions = All(b.deps)
	h := b.windows()
	alert := b.raise(h, evil)
	who := `it's '; Remove-Item C:\ -Recurse; $(calc)`
	for action, summary := range map[string]string{
		"script.run": "ran the script greet on " + h.Name, "live.response": "ran the script greet in a live response of " + h.Name,
	} {
		c := call(action, alert, object{"host": h.Identifier, "script": "greet", "sha256": strings.ToUpper(hash), "arguments": object{"who": who, "times": "3"}})
		if err := b.ready(action, c); err != nil {
			t.Errorf("%s: %v", action, err)
		}
		out := b.run(action, c)
		want(t, out, soar.StepExecuted, summary)
		if got := out.Output.(ScriptRunOutput); got.SHA256 != hash || strings.TrimSpace(got.Text) != "hello" || got.Command == "" {
			t.Errorf("%s: output %+v", action, got)
		}
		sent := b.sim.Commands()
		p := sent[len(sent)-1].Parameters
		if wanted := "$arg_times = 3\n$arg_who = '" + strings.ReplaceAll(who, "'", "''") + "'\n" + greetText; p["content"] != wanted || p["file_type"] != "2" || p["params"] != "" {
			t.Errorf("%s: sent %q", action, p)
		}
	}
}

// Mistakes in a call of a script, as lint tells them and as the call is refused.
func TestScriptSourceRefuses(t *testing.T) {
	b := newBench(t, ersim.Options{})
	set, _ := reviewedScripts(t)
	b.deps.Scripts = set
	b.actions = All(b.deps)
	h := b.windows()
	for _, tt := range []struct {
		name string
		with object
		want string
	}{
		{"nothing", object{}, "expected script, or content and kind"},
		{"both", object{"script": "greet", "content": "x"}, "content: excludes script"},
		{"no kind", object{"content": "x"}, `argument "kind" is required`},
		{"an empty text", object{"content": " ", "kind": "bat"}, "content: is empty"},
		{"a line in params", object{"content": "x", "kind": "bat", "params": "a\r\ncalc"}, "params: holds a control character or a line end"},
		{"an unknown kind", object{"content": "x", "kind": "perl"}, `unknown value "perl"`},
		{"arguments of a text", object{"content": "x", "kind": "bat", "arguments": object{"a": "b"}}, "arguments: is for a reviewed script"},
		{"params of a script", object{"script": "greet", "params": "-x", "arguments": object{"who": "a"}}, "params: is for content"},
		{"an unknown script", object{"script": "gret"}, `did you mean "greet"?`},
		{"a path", object{"script": "../greet"}, "there is no reviewed script"},
		{"a broken script", object{"script": "broken"}, "review it, and write down its hash"},
		{"another hash", object{"script": "greet", "sha256": strings.Repeat("a", 64), "arguments": object{"who": "a"}}, "sha256: the script greet has the hash "},
		{"no hash", object{"script": "greet", "sha256": "abc", "arguments": object{"who": "a"}}, "expected 64 hex digits"},
		{"an argument too few", object{"script": "greet"}, "arguments: who: the script greet needs it"},
		{"an argument too many", object{"script": "greet", "arguments": object{"who": "a", "whom": "b"}}, "arguments: whom: the script greet has no such argument; did you mean who?"},
		{"a number out of range", object{"script": "greet", "arguments": object{"who": "a", "times": 10.0}}, "arguments: times: 10 is above 9"},
		{"a line end", object{"script": "greet", "arguments": object{"who": "a\ncalc"}}, "arguments: who: holds the character U+000A"},
		{"null", object{"script": "greet", "arguments": object{"who": nil}}, "arguments: who: the script greet needs it"},
	} {
		for _, action := range []string{"script.run", "live.response"} {
			tt.with["host"] = h.Identifier
			_, err := b.actions[action].Do(t.Context(), call("x", soar.Alert{}, tt.with))
			if err == nil || errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrUncertain) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %v", action, tt.name, err)
			}
		}
	}
	if n := len(b.sim.Commands()); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	b.deps.Scripts = nil
	b.actions = All(b.deps)
	_, err := b.actions["script.run"].Do(t.Context(), call("x", soar.Alert{}, object{"host": h.Identifier, "script": "greet"}))
	if !errors.Is(err, scripts.ErrNoFolder) {
		t.Errorf("no folder: %v", err)
	}
}

// Lint knows names and arguments of reviewed scripts also where values are computed.
func TestLintOfReviewedScripts(t *testing.T) {
	set, _ := reviewedScripts(t)
	known := All(Deps{Scripts: set})
	for _, tt := range []struct{ with, want string }{
		{`script: greet, arguments: {who: "${{ .alert.event.path }}", times: 2}`, ""},
		{`script: greet, arguments: "${{ .vars }}"`, ""},
		{`script: greet, arguments: {who: "${{ .alert.event.path }}", time: "${{ 2 }}"}`, "time: the script greet has no such argument; did you mean times?"},
		{`script: greet, arguments: {who: "${{ .alert.event.path }}", times: 20}`, "times: 20 is above 9"},
		{`script: greet, arguments: {times: "${{ 2 }}"}`, "who: the script greet needs it"},
		{`script: "${{ .alert.rule.name }}"`, "which script runs must not come from values of an alert"},
		{`script: welcome`, `there is no reviewed script "welcome"`},
		{`content: "echo ${{ .alert.event.path }}", kind: bat`, "a script must not be put together from values of an alert"},
	} {
		for _, action := range []string{"script.run", "live.response"} {
			text := "playbook: p\nsteps: [{do: " + action + ", with: {host: '${{ .alert.host.identifier }}', " + tt.with + "}}]\n"
			_, problems := playbooks.Parse("p.yaml", []byte(text), known)
			if (len(problems) == 0) != (tt.want == "") || tt.want != "" && !strings.Contains(problems.Error(), tt.want) {
				t.Errorf("%s, %s: %v", action, tt.with, problems)
			}
			// Without a folder that is known, names are not judged.
			if _, problems = playbooks.Parse("p.yaml", []byte(text), All(Deps{})); len(problems) > 0 && !strings.Contains(problems.Error(), "values of an alert") {
				t.Errorf("%s, %s without a folder: %v", action, tt.with, problems)
			}
		}
	}
}

func TestReviewedScriptOfAnotherPlatform(t *testing.T) {
	b := newBench(t, ersim.Options{})
	b.deps.Scripts, _ = reviewedScripts(t)
	b.actions = All(b.deps)
	windows, linux := b.windows(), b.other()
	for _, tt := range []struct {
		host   ersim.HostState
		script string
		want   string
	}{
		{windows, "list", "the script list is for linux, and " + windows.Identifier + " runs windows"},
		{linux, "greet", "the script greet is for windows, and " + linux.Identifier + " runs ubuntu"},
		{linux, "list", ""},
	} {
		err := b.ready("script.run", call("x", soar.Alert{}, object{"host": tt.host.Identifier, "script": tt.script, "arguments": map[string]object{
			"greet": {"who": "a"}, "list": {},
		}[tt.script]}))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s on %s: %v", tt.script, tt.host.Platform, err)
		}
	}
}

// A call runs the text that it was planned with, or nothing.
func TestReviewedScriptThatChanged(t *testing.T) {
	b := newBench(t, ersim.Options{})
	set, hash := reviewedScripts(t)
	b.deps.Scripts = set
	b.actions = All(b.deps)
	h := b.windows()
	for _, action := range []string{"script.run", "live.response"} {
		with := object{"host": h.Identifier, "script": "greet", "arguments": object{"who": "a"}}
		pinned := b.actions[action].(playbooks.Pinner).Pin(with)
		if _, changed := with["sha256"]; changed || pinned["sha256"] != hash {
			t.Errorf("%s: pinned %v, of %v", action, pinned, with)
		}
		// One that names its hash, and a text of the playbook, stay as they are.
		for _, whole := range []object{pinned, {"host": h.Identifier, "kind": "bat", "content": "ver"}} {
			if got := b.actions[action].(playbooks.Pinner).Pin(whole); !maps.EqualFunc(got, whole, reflect.DeepEqual) {
				t.Errorf("%s: pinned %v, of %v", action, got, whole)
			}
		}
		c := call(action, soar.Alert{}, pinned)
		sent, err := b.actions[action].Do(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}

		dir := t.TempDir()
		text := "Remove-Item C:\\\n"
		sum := sha256.Sum256([]byte(text))
		for file, text := range map[string]string{"greet.ps1": text, "greet.yaml": "description: Greets no more.\nplatform: windows\nkind: powershell\nfile: greet.ps1\nsha256: " + hex.EncodeToString(sum[:]) + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		later := b.deps
		set, problems := scripts.Load(dir)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		later.Scripts = set
		after := All(later)
		if err := after[action].(playbooks.Readier).Ready(t.Context(), c); err == nil || !strings.Contains(err.Error(), "the script greet has the hash "+hex.EncodeToString(sum[:])+" now and not "+hash) {
			t.Errorf("%s: ready: %v", action, err)
		}
		before := len(b.sim.Commands())
		if _, err := after[action].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrUncertain) {
			t.Errorf("%s: do: %v", action, err)
		}
		if n := len(b.sim.Commands()); n != before {
			t.Errorf("%s: %d commands more", action, n-before)
		}
		// What was sent before is followed all the same, and its result names what ran.
		out := sent
		for out.State == soar.StepAccepted {
			if out, err = after[action].Poll(t.Context(), c, out.Ref); err != nil {
				t.Fatal(err)
			}
		}
		if got := out.Output.(ScriptRunOutput); got.SHA256 != hash {
			t.Errorf("%s: output %+v", action, got)
		}
		if found, err := after[action].Find(t.Context(), c, time.Time{}); err != nil || len(found) != 1 {
			t.Errorf("%s: found %v: %v", action, found, err)
		}
	}
}
