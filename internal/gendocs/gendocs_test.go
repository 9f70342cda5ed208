package gendocs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/connector/catalogue"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

const root = "../.."

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := Generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not up to date: run make generate", name)
		}
	}
}

// Every setting, argument and metric on the pages is explained.
func TestNothingIsUndocumented(t *testing.T) {
	files, err := Generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "| `") && strings.HasSuffix(strings.TrimSpace(line), "|  |") {
				t.Errorf("%s: %s has no explanation: its field has no comment", name, strings.TrimSpace(line))
			}
		}
	}
}

func compile(t *testing.T, schema map[string]any) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	plain, err := soar.Plain(doc)
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(plain)
}

func TestExampleConfiguration(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse(filepath.Join(root, "config.example.yaml"), data); err != nil {
		t.Errorf("the decoder: %v", err)
	}
	if err := validate(t, compile(t, ConfigSchema(nil)), string(data)); err != nil {
		t.Errorf("the schema: %v", err)
	}
}

// What is commented out in the example works when it is switched on.
func TestExampleConfigurationWithEverythingOn(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^( *)# ((?:ca_file|push|webhook|  listen|  senders|    proxy|qradar|splunk|retention)\b.*)$`).ReplaceAllString(string(data), "$1$2")
	text = strings.Replace(text, "ca_file: er-ca.pem", "ca_file: "+filepath.Join(root, "go.mod"), 1)
	cfg, err := config.Parse("example.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if cfg.Sources.Push == nil || cfg.Sources.Webhook == nil || len(cfg.Sinks) != 4 {
		t.Errorf("switched on: push %v, webhook %v, %d sinks", cfg.Sources.Push, cfg.Sources.Webhook, len(cfg.Sinks))
	}
	if err := validate(t, compile(t, ConfigSchema(nil)), text); err != nil {
		t.Error(err)
	}
}

const server = `server: {url: "https://er.example.org", username: a, password: {env: B}}` + "\n"

func TestConfigSchemaAgreesWithTheDecoder(t *testing.T) {
	schema := compile(t, ConfigSchema(nil))
	for _, tt := range []struct {
		name, in string
		good     bool
	}{
		{"least", server, true},
		{"empty sections", server + "sources:\nsinks:\nplaybooks:\n", true},
		{"push", server + `sources: {push: {listen: ":514"}}`, true},
		{"push without address", server + `sources: {push: {}}`, false},
		{"every kind of sink", server + `
sinks:
  a: {type: stdout, format: json}
  b: {type: file, path: x}
  c: {type: slack, token: {env: T}, channel: "#soc"}
  d: {type: syslog, address: "a:514", transport: tcp}
  e: {type: splunk, url: "https://a:8088", token: {env: T}}
  f: {type: elastic, url: "https://a:9200", api_key: {env: T}}
  g: {type: webhook, url: "https://a/x", secrets: [{env: T}]}
`, true},
		{"unknown section", server + `sink: {}`, false},
		{"unknown kind of sink", server + `sinks: {a: {type: slakc}}`, false},
		{"sink without kind", server + `sinks: {a: {path: x}}`, false},
		{"setting of another kind", server + `sinks: {a: {type: stdout, path: x}}`, false},
		{"sink without what it needs", server + `sinks: {a: {type: file}}`, false},
		{"wrong word in a sink", server + `sinks: {a: {type: stdout, format: xml}}`, false},
		{"bad sink name", server + `sinks: {"A b": {type: stdout}}`, false},
		{"plain secret", `server: {url: "https://a", username: b, password: c}`, false},
		{"no server", `log: {level: info}`, false},
		{"duration as a number", server + `sources: {poll: {interval: 15}}`, false},
		{"mode", server + `playbooks: {mode: ask}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("c.yaml", []byte(tt.in))
			if (err == nil) != tt.good {
				t.Errorf("the decoder says %v", err)
			}
			if err := validate(t, schema, tt.in); (err == nil) != tt.good {
				t.Errorf("the schema says %v", err)
			}
		})
	}
}

func TestPlaybookSchemaAgreesWithLint(t *testing.T) {
	schema := compile(t, PlaybookSchema(nil))
	known := actions.All(actions.Deps{})
	const head = "playbook: p\nsteps:\n"
	const note = "  - {do: alert.note, with: {text: a}}\n"
	for _, tt := range []struct {
		name, in string
		good     bool
	}{
		{"least", head + note, true},
		{"example of the page", playbookExample, true},
		{"everything", `
playbook: p
description: d
attack: [T1490, T1059.001]
mode: observe
on: [alert, alert.updated]
match:
  all: [{it is high: .alert.severity == "high"}, {it is on: .vars.on}]
  any: [{a: .enrich.known.os == "x"}]
  none: [{never: "false"}]
enrich: {known: {do: host.get, with: {host: "${{ .alert.host.identifier }}"}, ttl: 1m}}
vars: {on: true}
cooldown: {key: .alert.host.identifier, for: 1h}
steps:
  - id: stop
    if: .alert.status == "open"
    do: host.tag
    with: {host: "${{ .alert.host.identifier }}", tag: "${{ .alert.severity }}"}
    timeout: 5m
    retry: {attempts: 3, delay: 10s, on: failed}
    on_error:
      - do: alert.note
        with: {text: "${{ .steps.stop.error }}"}
  - do: alert.note
    with: {text: b}
    on_error: continue
  - id: tags
    for_each: .alert.host.tags
    max_parallel: 3
    do: host.tag
    with: {host: "${{ .alert.host.identifier }}", tag: "${{ .item }}"}
  - id: both
    if: .steps.tags | length > 0
    parallel:
      - {do: alert.note, with: {text: c}}
      - - {do: alert.note, with: {text: d}}
        - {call: other, with: {limit: 3}}
finally:
  - {for_each: "[1, 2]", call: other}
`, true},
		{"no name", "steps:\n" + note, false},
		{"no steps", "playbook: p\n", false},
		{"name with a blank", "playbook: a b\nsteps:\n" + note, false},
		{"unknown key", head + note + "step: []\n", false},
		{"unknown key of a step", head + "  - {do: alert.note, with: {text: a}, wiht: {}}\n", false},
		{"unknown action", head + "  - {do: alert.nte, with: {text: a}}\n", false},
		{"unknown argument", head + "  - {do: alert.note, with: {txt: a}}\n", false},
		{"missing argument", head + "  - {do: alert.note, with: {}}\n", false},
		{"missing with", head + "  - {do: alert.note}\n", false},
		{"wrong word as an argument", head + "  - {do: alert.resolve, with: {verdict: maybe}}\n", false},
		{"technique", "attack: [1490]\n" + head + note, false},
		{"mode", "mode: ask\n" + head + note, false},
		{"on", "on: schedule\n" + head + note, false},
		{"enrichment that acts", "enrich: {a: {do: alert.note, with: {text: a}}}\n" + head + note, false},
		{"condition without a name", "match: {all: [true]}\n" + head + note, false},
		{"empty block", "match: {all: []}\n" + head + note, false},
		{"block of match", "match: {some: []}\n" + head + note, false},
		{"cool-down without key", "cooldown: {for: 1h}\n" + head + note, false},
		{"retry without attempts", head + "  - {do: alert.note, with: {text: a}, retry: {delay: 1s}}\n", false},
		{"two kinds", head + "  - {do: alert.note, with: {text: a}, call: q}\n", false},
		{"no kind", head + "  - {id: a}\n", false},
		{"name of a call", head + "  - {call: A B}\n", false},
		{"time-out of a call", head + "  - {call: q, timeout: 1m}\n", false},
		{"arguments of a group", head + "  - {parallel: [{call: q}], with: {}}\n", false},
		{"items of a group", head + "  - {parallel: [{call: q}], for_each: .alert.host.tags}\n", false},
		{"empty group", head + "  - {parallel: []}\n", false},
		{"max_parallel alone", head + "  - {do: alert.note, with: {text: a}, max_parallel: 2}\n", false},
		{"max_parallel too large", head + "  - {call: q, for_each: .alert.host.tags, max_parallel: 101}\n", false},
		{"finally", "finally: {call: q}\n" + head + note, false},
		{"on_error", head + "  - {do: alert.note, with: {text: a}, on_error: ignore}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := playbooks.Parse("p.yaml", []byte(tt.in), known)
			if (problems.Err() == nil) != tt.good {
				t.Errorf("lint says %v", problems)
			}
			if err := validate(t, schema, tt.in); (err == nil) != tt.good {
				t.Errorf("the schema says %v", err)
			}
		})
	}
}

func TestLibraryFitsTheSchema(t *testing.T) {
	schema := compile(t, PlaybookSchema(nil))
	names := config.LibraryNames()
	if len(names) < 5 {
		t.Fatalf("the library has %d playbooks", len(names))
	}
	for _, name := range names {
		data, err := fs.ReadFile(library.FS, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schema, string(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^ *```yaml\n(.*?)^ *```")

// YAML that people copy out of the documentation is right.
func TestYAMLInTheDocumentation(t *testing.T) {
	blocks := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "tools" || entry.Name() == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".md") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, m := range yamlBlock.FindAllStringSubmatch(string(data), -1) {
			blocks++
			t.Run(fmt.Sprintf("%s-%d", strings.TrimPrefix(filepath.ToSlash(path), root+"/"), i+1), func(t *testing.T) {
				lintBlock(t, unindent(m[1]))
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if blocks < 20 {
		t.Errorf("%d blocks found; is the test looking in the right place?", blocks)
	}
}

// lintBlock completes a part of a file to a whole one.
func lintBlock(t *testing.T, text string) {
	root, problems := registry.Parse("block.yaml", []byte(text))
	if problems != nil {
		t.Fatal(problems)
	}
	keys := map[string]bool{}
	if root.Kind == yaml.MappingNode {
		for key := range registry.Pairs(root) {
			keys[key.Value] = true
		}
	}
	known := actions.All(actions.Deps{})
	switch {
	case keys["tests"]:
		if err := validate(t, compile(t, PlaybookTestSchema(nil)), text); err != nil {
			t.Error(err)
		}
	case keys["playbook"]:
		_, problems = playbooks.Parse("block.yaml", []byte(text), known)
	case keys["do"]:
		// An example may build on a step that is not part of it.
		before := ""
		if strings.Contains(text, ".steps.contain.") {
			before = "  - {id: contain, do: host.contain, with: {host: h}}\n"
		}
		step := before + "  - " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
		_, problems = playbooks.Parse("block.yaml", []byte("playbook: block\nsteps:\n"+step+"\n"), known)
	case keys["sha256"] && keys["file"]:
		problems = registry.Decode("block.yaml", root, new(scripts.Script))
	case root.Kind == yaml.SequenceNode && strings.Contains(text, "method: "): // of the catalogue
		call := "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
		if _, err := catalogue.Parse([]byte("section: block\ntitle: Block\ncalls:\n" + call + "\n")); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	case root.Kind == yaml.SequenceNode:
		steps := "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
		_, problems = playbooks.Parse("block.yaml", []byte("playbook: block\nsteps:\n"+steps+"\n"), known)
	default:
		if !keys["server"] {
			text = server + text
		}
		if _, err := config.Parse("block.yaml", []byte(text)); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if len(problems) > 0 {
		t.Errorf("%v in\n%s", problems, text)
	}
}

func unindent(text string) string {
	indent := len(text) - len(strings.TrimLeft(text, " "))
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], strings.Repeat(" ", indent))
	}
	return strings.Join(lines, "\n")
}
