package cacao_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/cacao"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/lint"
)

var update = flag.Bool("update", false, "write what imports become to testdata")

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// everyKey has what the playbooks of the library do not.
const everyKey = `
playbook: every-key
description: Has all kinds of steps.
attack: [T1490, T1059.001]
mode: enforce
on: [alert, alert.updated]
match:
  all:
    - it is bad: .alert.severity | at_least("high")
  none:
    - it is a server: (.alert.host.tags // []) | any(. == "server")
vars: {names: [a, b], "odd name": 1, _hidden: a, count: 3, share: 0.5, deep: {x: null}, yes_or_no: true}
enrich:
  tree: {do: process.tree, with: {guid: "${{ .alert.event.process_guid }}"}, ttl: 1m}
  who: {do: host.get, with: {host: "${{ .alert.host.identifier }}"}}
cooldown: {key: .alert.host.identifier, for: 1h}
steps:
  - id: both
    if: .alert.host.name != "x"
    parallel:
      - {id: left, do: host.get, with: {host: "${{ .alert.host.identifier }}"}, on_error: continue}
      - - {id: right, do: host.get, with: {host: "${{ .alert.host.identifier }}"}, timeout: 90s}
        - id: inner
          if: .steps.right.output.online
          do: alert.note
          with: {text: "\"quoted\" <b> ${{ .steps.right.output.name }} $${{ literal }}"}
          on_error:
            - {id: handled, do: alert.note, with: {text: "it went wrong"}}
  - id: each
    if: .vars.yes_or_no
    for_each: .vars.names
    max_parallel: 2
    do: carve.file
    with: {host: "${{ .alert.host.identifier }}", path: "${{ .item }}"}
    retry: {attempts: 3, delay: 10s}
    on_error: continue
  - id: sub
    call: triage-note
    on_error:
      - {id: told, do: notify.send, with: {sink: soc, text: "no"}}
      - {if: .alert.id != null, do: alert.note, with: {text: "told"}}
  - {id: by_the_action, do: playbook.call, with: {playbook: triage-note, vars: {names: [c]}}}
  - {id: alone, parallel: [{do: alert.note, with: {text: alone}}]}
  - {do: alert.note, with: {text: last}, on_error: stop}
finally:
  - {do: alert.note, with: {text: "end"}, on_error: continue}
  - {id: very_last, do: alert.note, with: {text: "very end"}}
`

func sources(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"every-key": []byte(everyKey)}
	names, err := fs.Glob(library.FS, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.yaml") {
			continue
		}
		if all[name], err = fs.ReadFile(library.FS, name); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 7 {
		t.Fatalf("only %d playbooks", len(all))
	}
	return all
}

func export(t *testing.T, source []byte) []byte {
	t.Helper()
	out, err := cacao.Export(source, at)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What was exported comes back as it was, but for the mode.
func TestRoundTrip(t *testing.T) {
	for name, source := range sources(t) {
		t.Run(name, func(t *testing.T) {
			exported := export(t, source)
			imported, err := cacao.Import(exported)
			if err != nil {
				t.Fatal(err)
			}
			want, got := plain(t, source), plain(t, imported.YAML)
			want["mode"] = "observe"
			if !reflect.DeepEqual(got, want) {
				t.Errorf("came back as\n%s\nthe file between is\n%s", imported.YAML, exported)
			}
			for _, n := range imported.Notes {
				if n.Kind == cacao.NotConverted {
					t.Errorf("%s: %s: %s", n.Step, n.Kind, n.What)
				}
			}
			if again := export(t, source); !bytes.Equal(again, exported) {
				t.Error("a second export differs")
			}
		})
	}
}

func plain(t *testing.T, source []byte) map[string]any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(source, &v); err != nil {
		t.Fatalf("%v in\n%s", err, source)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The schema in testdata has the properties, forms and required properties of
// CACAO 2.0 for what we write; nothing else is allowed.
func TestExportIsValid(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "cacao-2.0.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range sources(t) {
		t.Run(name, func(t *testing.T) {
			exported := export(t, source)
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(exported))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); err != nil {
				t.Errorf("%v\n%s", err, exported)
			}
			var p cacao.Playbook
			if err := json.Unmarshal(exported, &p); err != nil {
				t.Fatal(err)
			}
			connected(t, &p)
		})
	}
}

// connected checks that all references lead to a step, and the start to every step.
func connected(t *testing.T, p *cacao.Playbook) {
	t.Helper()
	seen := map[string]bool{}
	var walk func(from, id string)
	walk = func(from, id string) {
		if id == "" || seen[id] {
			return
		}
		seen[id] = true
		s := p.Workflow[id]
		if s == nil {
			t.Errorf("%s refers to %s, which is not there", from, id)
			return
		}
		for _, next := range append([]string{s.OnCompletion, s.OnSuccess, s.OnFailure, s.OnTrue, s.OnFalse}, s.NextSteps...) {
			walk(id, next)
		}
		if s.OnCompletion != "" && (s.OnSuccess != "" || s.OnFailure != "") {
			t.Errorf("%s has on_completion beside on_success or on_failure", id)
		}
		if s.Agent != "" && p.AgentDefinitions[s.Agent].Type == "" {
			t.Errorf("%s has an agent that is not defined", id)
		}
	}
	walk("workflow_start", p.WorkflowStart)
	if len(seen) != len(p.Workflow) {
		t.Errorf("%d of %d steps are reached", len(seen), len(p.Workflow))
	}
}

// Playbooks of others, with the YAML and the report that they become: run with
// -update to write these, and read them.
func TestImportOfOthers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.cacao.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			imported, err := cacao.Import(data)
			if err != nil {
				t.Fatal(err)
			}
			var report strings.Builder
			for _, n := range imported.Notes {
				fmt.Fprintf(&report, "# %s | %s | %s | %s\n", n.Kind, n.Step, n.Name, n.What)
			}
			got := string(imported.YAML) + "\n" + report.String()
			golden := strings.TrimSuffix(file, ".cacao.json") + ".yaml.golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			for _, f := range findings(imported) {
				t.Errorf("lint: %s", f)
			}
		})
	}
}

func findings(imported *cacao.Imported) (found []lint.Finding) {
	known := map[string]playbooks.Action{}
	for name, action := range actions.All(actions.Deps{}) {
		known[name] = action
	}
	for _, f := range lint.Run([]lint.File{{Name: imported.Name + ".yaml", Data: imported.YAML}}, nil, known) {
		if f.Level == lint.Error {
			found = append(found, f)
		}
	}
	return found
}

func TestHostileFiles(t *testing.T) {
	const head = `"type":"playbook","spec_version":"cacao-2.0","id":"playbook--00000000-0000-4000-8000-000000000000","name":"n","created_by":"identity--00000000-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","workflow_start":"start--00000000-0000-4000-8000-000000000000"`
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	start := func(next string) string {
		return fmt.Sprintf(`"%s":{"type":"start","on_completion":"%s"}`, id("start", 0), next)
	}
	many := start(id("action", 0))
	for n := range 450 {
		many += fmt.Sprintf(`,"%s":{"type":"action","commands":[{"type":"manual","command":"x"}],"on_completion":"%s"}`, id("action", n), id("action", n+1))
	}
	fans := start(id("action", 0))
	for n := range 60 { // each failure goes through all that follow
		fans += fmt.Sprintf(`,"%s":{"type":"parallel","next_steps":["%s","%s"]}`, id("parallel", n), id("parallel", n+1), id("parallel", n+1))
	}
	fans = strings.Replace(fans, id("action", 0), id("parallel", 0), 1)
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "JSON"},
		{"a list", `[]`, "the file is of the wrong type (array)"},
		{"deep", strings.Repeat("[", 500000), "nested deeper than 64"},
		{"large", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, "more than 1048576 bytes"},
		{"another type", `{"type":"bundle"}`, `type is "bundle"`},
		{"another version", `{"type":"playbook","spec_version":"cacao-1.1"}`, `spec_version is "cacao-1.1"`},
		{"id with more behind", `{"type":"playbook","spec_version":"cacao-2.0","id":"playbook--00000000-0000-4000-8000-000000000000\n- x"}`, "is not of the form"},
		{"no start", `{` + head + `,"workflow":{}}`, "is no step of the workflow"},
		{"text for a number", `{` + head + `,"workflow":{` + start(id("action", 1)) + `,"` + id("action", 1) + `":{"type":"action","delay":"5"}}}`, "workflow.delay is of the wrong type (string)"},
		{"null step", `{` + head + `,"workflow":{` + start(id("action", 1)) + `,"` + id("action", 1) + `":null}}`, "is null"},
		{"nothing to do", `{` + head + `,"workflow":{` + start(id("end", 1)) + `,"` + id("end", 1) + `":{"type":"end"}}}`, "no step that does anything"},
		{"to itself", `{` + head + `,"workflow":{` + start(id("start", 0)) + `}}`, "no step that does anything"},
		{"fans", `{` + head + `,"workflow":{` + fans + `}}`, "branches too often"},
		{"many", `{` + head + `,"workflow":{` + many + `}}`, "more than 100 steps"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := cacao.Import([]byte(tt.in))
			if !errors.Is(err, cacao.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// What a file says of the playbook as a whole is not dropped in silence, and what
// nobody can tell is not taken for false.
func TestImportTells(t *testing.T) {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-A000-%012d", kind, n) } // capitals
	action := func(words, next string) *cacao.Step {
		return &cacao.Step{Type: "action", Name: words, Commands: []cacao.Command{{Type: "manual", Command: words}}, OnCompletion: next}
	}
	p := cacao.Playbook{
		Type: "playbook", SpecVersion: "cacao-2.0", ID: id("playbook", 0), Name: "told", WorkflowStart: id("start", 0),
		Revoked: true, ValidUntil: "2026-01-01T00:00:00Z", Markings: []string{"marking-tlp--x"}, Signatures: []json.RawMessage{[]byte("{}")},
		PlaybookVariables: map[string]cacao.Variable{"__d__": {Type: "dictionary", Value: map[string]any{"a": 1}}, "__n__": {Type: "string"}, "__API_Key__": {Type: "string", Value: "hunter2"}},
		Workflow: map[string]*cacao.Step{
			id("start", 0):            {Type: "start", OnCompletion: id("if-condition", 0)},
			id("if-condition", 0):     {Type: "if-condition", Condition: "[file:name = 'x']", OnTrue: id("action", 0), OnFalse: id("action", 1), OnCompletion: id("switch-condition", 0)},
			id("action", 0):           action("then", id("end", 0)),
			id("action", 1):           action("else", id("end", 0)),
			id("switch-condition", 0): {Type: "switch-condition", Switch: "__gone__:value", Cases: map[string]string{"a": id("action", 2), "default": id("action", 3)}},
			id("action", 2):           action("a", id("end", 0)),
			id("action", 3):           action("other", id("end", 0)),
			id("end", 0):              {Type: "end"},
		},
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := cacao.Import(append([]byte("\uFEFF"), data...))
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	for _, n := range imported.Notes {
		fmt.Fprintf(&told, "%s: %s\n", n.Kind, n.What)
	}
	for _, want := range []string{"revoked: ", "valid_until 2026-01-01T00:00:00Z", "markings: ", "signatures: ", "the variable __n__ has no value", "the value of __API_Key__", "before vars.condition_1 is true or false", "before vars.condition_2 has a value"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is not told:\n%s", want, &told)
		}
	}
	book := plain(t, imported.YAML)
	if vars := book["vars"]; !reflect.DeepEqual(vars, map[string]any{"d": map[string]any{"a": 1.0}, "n": nil, "api_key": nil, "condition_1": nil, "condition_2": nil}) {
		t.Errorf("vars are %v", vars)
	}
	var ifs []string
	for _, step := range book["steps"].([]any) {
		ifs = append(ifs, step.(map[string]any)["if"].(string))
	}
	want := []string{
		".vars.condition_1 == true", ".vars.condition_1 == false", `(.vars.condition_2 != null) and ((.vars.condition_2 | tostring) == "a")`,
		`(.vars.condition_2 != null) and (((.vars.condition_2 | tostring) == "a") | not)`,
	}
	if !reflect.DeepEqual(ifs, want) {
		t.Errorf("the conditions are %q", ifs)
	}
	for _, f := range findings(imported) {
		t.Errorf("lint: %s", f)
	}
}

// A playbook is not taken for the tests of another.
func TestImportOfATestName(t *testing.T) {
	imported, err := cacao.Import(export(t, []byte("playbook: noise_test\non: manual\nsteps: [{do: alert.note, with: {text: a}}]")))
	if err != nil || imported.Name != "noise-test" {
		t.Errorf("%+v, %v", imported, err)
	}
}

// A hundred ifs whose branches meet again have 2^100 ways through, and one each here.
func TestBranchesMeet(t *testing.T) {
	id := func(kind string, n int) string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", kind, n) }
	p := cacao.Playbook{
		Type: "playbook", SpecVersion: "cacao-2.0", ID: id("playbook", 0), Name: "diamonds", WorkflowStart: id("start", 0),
		Workflow: map[string]*cacao.Step{
			id("start", 0):  {Type: "start", OnCompletion: id("if-condition", 0)},
			id("action", 0): {Type: "action", Name: "last", Commands: []cacao.Command{{Type: "manual", Command: "x"}}},
		},
	}
	for n := range 100 {
		next := id("if-condition", n+1)
		if n == 99 {
			next = id("action", 0)
		}
		p.Workflow[id("if-condition", n)] = &cacao.Step{Type: "if-condition", Condition: "x", OnTrue: id("parallel", 2*n), OnFalse: id("parallel", 2*n+1)}
		p.Workflow[id("parallel", 2*n)] = &cacao.Step{Type: "parallel", OnCompletion: next}
		p.Workflow[id("parallel", 2*n+1)] = &cacao.Step{Type: "parallel", OnCompletion: next}
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := cacao.Import(data)
	if err != nil {
		t.Fatal(err)
	}
	if steps, _ := plain(t, imported.YAML)["steps"].([]any); len(steps) != 1 {
		t.Errorf("%d steps:\n%s", len(steps), imported.YAML)
	}
}

// Whatever comes in, what comes out observes, and is YAML.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.cacao.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	exported, err := cacao.Export([]byte(everyKey), at)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(exported)
	f.Fuzz(func(t *testing.T, data []byte) {
		imported, err := cacao.Import(data)
		if err != nil {
			if !errors.Is(err, cacao.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if got := plain(t, imported.YAML); got["mode"] != "observe" {
			t.Fatalf("mode is %v", got["mode"])
		}
	})
}

// Lists that stand in files are written out: who gets the export does not have them.
func TestExportOfListFiles(t *testing.T) {
	folder := fstest.MapFS{"hosts.txt": {Data: []byte("pc-1 # the first\n0815\n")}}
	text := "playbook: p\nlists: {hosts: {file: hosts.txt}, ids: [7, x]}\nmatch: {all: [{listed: '.alert.host.name | in_list(\"hosts\")'}]}\nsteps: [{do: alert.note, with: {text: x}}]\n"
	pb, problems := playbooks.ParseIn(folder, "p.yaml", []byte(text), actions.All(actions.Deps{}))
	if problems != nil {
		t.Fatal(problems)
	}
	imported, err := cacao.Import(export(t, pb.Source))
	if err != nil {
		t.Fatal(err)
	}
	back, problems := playbooks.Parse("p.yaml", imported.YAML, actions.All(actions.Deps{}))
	if problems != nil {
		t.Fatalf("%v\n%s", problems, imported.YAML)
	}
	if got := fmt.Sprint(back.List("hosts"), back.List("ids")); got != "[pc-1 0815] [7 x]" {
		t.Errorf("the lists come back as %s\n%s", got, imported.YAML)
	}
}
