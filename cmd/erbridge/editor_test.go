package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The lines that docs/howto/editor.md says to put on top of files.
const (
	playbookModeline = "# yaml-language-server: $schema=.erbridge/playbook.schema.json\n"
	testModeline     = "# yaml-language-server: $schema=.erbridge/playbook-test.schema.json\n"
	configModeline   = "# yaml-language-server: $schema=.erbridge/config.schema.json\n"
)

// editor follows the guide in an empty folder: it has the schemas written there, and
// opens files that name them.
func editor(t *testing.T) (s *languageServer, dir string) {
	t.Helper()
	s = startLanguageServer(t)
	dir = t.TempDir()
	if _, stderr, code := erbridge(t, "", "playbook", "schema", "--write", dir); code != exitOK {
		t.Fatal(stderr)
	}
	return s, dir
}

// open writes a file and opens it, with the cursor where ¦ stands.
func (s *languageServer) openAtCursor(dir, name, text string) (uri string, line, character int) {
	s.Helper()
	before, after, found := strings.Cut(text, "¦")
	if !found {
		s.Fatalf("%s: no cursor", name)
	}
	text = before + after
	uri, _ = s.open(write(s.T, dir, name, text), text)
	lines := strings.Split(before, "\n")
	return uri, len(lines) - 1, len(lines[len(lines)-1])
}

func TestEditorMarksMistakes(t *testing.T) {
	s, dir := editor(t)
	const head = playbookModeline + "playbook: a\n"
	const note = head + "steps:\n  - do: alert.note\n"
	for _, tt := range []struct {
		name, text string
		line       int    // of the mistake, from 0
		want       string // a pattern of the message; empty when there is no mistake
	}{
		{"good.yaml", playbookModeline + strings.TrimPrefix(goodPlaybook, "\n"), 0, ""},
		{"key.yaml", head + "mtach: {}\nsteps: [{do: alert.note, with: {text: a}}]\n", 2, "mtach is not allowed"},
		{"key-of-a-step.yaml", note + "    wiht: {text: a}\n", 4, "wiht is not allowed"},
		{"key-of-a-retry.yaml", note + "    with: {text: a}\n    retry:\n      attempts: 2\n      dealy: 1s\n", 7, "dealy is not allowed"},
		{"mode.yaml", head + "mode: sometimes\nsteps: [{do: alert.note, with: {text: a}}]\n", 2, `not accepted.*"observe", "approve", "enforce"`},
		{"trigger.yaml", head + "on: alerts\nsteps: [{do: alert.note, with: {text: a}}]\n", 2, `not accepted.*"alert.updated"`},
		{"action.yaml", head + "steps:\n  - do: alert.nte\n    with: {text: a}\n", 3, `not accepted.*"alert.note"`},
		{"enrichment-that-acts.yaml", head + "enrich:\n  a:\n    do: alert.note\n    with: {text: a}\nsteps: [{do: alert.note, with: {text: a}}]\n", 4, `not accepted.*"host.get"`},
		{"argument.yaml", note + "    with: {txt: a}\n", 4, "txt is not allowed"},
		{"type-of-an-argument.yaml", note + "    with:\n      text: 7\n", 5, `Incorrect type.*string`},
		{"truth-for-a-number.yaml", head + "steps:\n  - do: process.kill\n    with:\n      host: h\n      pid: true\n      name: x\n", 6, `Incorrect type`},
		{"word-of-an-argument.yaml", head + "steps:\n  - do: alert.resolve\n    with:\n      verdict: maybe\n", 5, `not accepted.*"true_positive"`},
		{"no-steps.yaml", head, 1, `Missing property "steps"`},
		{"no-argument.yaml", note + "    with: {}\n", 4, `Missing property "text"`},
		{"no-key.yaml", head + "cooldown: {for: 1h}\nsteps: [{do: alert.note, with: {text: a}}]\n", 2, `Missing property "key"`},
		{"number.yaml", note + "    with: {text: a}\n    retry: {attempts: 0}\n", 5, "minimum"},
		{"for-each-alone.yaml", note + "    with: {text: a}\n    max_parallel: 2\n", 3, "for_each"},
		{"duration.yaml", note + "    with: {text: a}\n    timeout: soon\n", 5, "expected a duration"},
		{"conditions.yaml", head + "match:\n  all: .alert.status == \"open\"\nsteps: [{do: alert.note, with: {text: a}}]\n", 3, "Incorrect type.*array"},

		{"good_test.yaml", testModeline + strings.TrimPrefix(goodTest, "\n"), 0, ""},
		{"key_test.yaml", testModeline + "alert: {}\ntest: []\ntests: [{name: a, expect: {verdict: match}}]\n", 2, "test is not allowed"},
		{"verdict_test.yaml", testModeline + "alert: {}\ntests:\n  - name: a\n    expect:\n      verdict: mtch\n", 5, `not accepted.*"no match"`},
		{"name_test.yaml", testModeline + "alert: {}\ntests:\n  - expect: {verdict: match}\n", 3, `Missing property "name"`},

		{"good-config.yaml", configModeline + "server: {url: \"https://er.example.org\", username: a, password: {env: B}}\n", 0, ""},
		{"config.yaml", configModeline + "server: {url: \"https://er.example.org\", username: a, password: b}\n", 1, "Incorrect type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, found := s.open(write(t, dir, tt.name, tt.text), tt.text)
			if tt.want == "" {
				if len(found) > 0 {
					t.Errorf("said %+v", found)
				}
				return
			}
			pattern := regexp.MustCompile(tt.want)
			if !slices.ContainsFunc(found, func(d diagnostic) bool { return d.Range.Start.Line == tt.line && pattern.MatchString(d.Message) }) {
				t.Errorf("said %+v, want %q in line %d", found, tt.want, tt.line)
			}
		})
	}
}

func TestEditorCompletes(t *testing.T) {
	s, dir := editor(t)
	const head = playbookModeline + "playbook: a\n"
	const body = "steps:\n  - do: alert.note\n    with: {text: a}\n"
	for _, tt := range []struct {
		name, text string
		want       []string
		not        string
	}{
		{"keys.yaml", head + "¦\n" + body, []string{"match", "enrich", "cooldown", "group", "finally", "mode"}, "playbook"},
		{"modes.yaml", head + "mode: ¦\n" + body, []string{"observe", "approve", "enforce"}, "manual"},
		{"triggers.yaml", head + "on: ¦\n" + body, []string{"alert", "alert.updated", "run.failed", "manual"}, "schedule"},
		{"blocks.yaml", head + "match:\n  ¦\n" + body, []string{"all", "any", "none"}, "steps"},
		{"condition.yaml", head + "match:\n  all:\n    - ¦\n" + body, []string{"condition"}, "do"},
		{"keys-of-a-step.yaml", head + "steps:\n  - do: alert.note\n    ¦\n", []string{"with", "if", "for_each", "retry", "on_error"}, "do"},
		{"actions.yaml", head + "steps:\n  - do: ¦\n", []string{"host.contain", "alert.note", "process.kill"}, "text"},
		{"look-ups.yaml", head + "enrich:\n  a:\n    do: ¦\n" + body, []string{"host.get", "live.query"}, "host.contain"},
		{"arguments.yaml", head + "steps:\n  - do: process.kill\n    with:\n      ¦\n", []string{"host", "pid", "name"}, "text"},
		{"word-of-an-argument.yaml", head + "steps:\n  - do: alert.resolve\n    with:\n      verdict: ¦\n", []string{"true_positive", "false_positive"}, "observe"},
		{"in-a-branch.yaml", head + "steps:\n  - parallel:\n      - do: host.tag\n        with:\n          ¦\n", []string{"host", "tag", "remove"}, "text"},
		{"on-error.yaml", head + "steps:\n  - do: alert.note\n    with: {text: a}\n    on_error: ¦\n", []string{"stop", "continue"}, "transient"},

		{"keys_test.yaml", testModeline + "tests:\n  - name: a\n    ¦\n", []string{"expect", "patch", "given"}, "steps"},
		{"verdicts_test.yaml", testModeline + "tests:\n  - name: a\n    expect:\n      verdict: ¦\n", []string{"match", "no match", "suppressed"}, "done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uri, line, character := s.openAtCursor(dir, tt.name, tt.text)
			var labels []string
			for _, p := range s.complete(uri, line, character) {
				labels = append(labels, p.Label)
			}
			for _, want := range tt.want {
				if !slices.Contains(labels, want) {
					t.Errorf("%q is not among what is proposed: %q", want, labels)
				}
			}
			if slices.Contains(labels, tt.not) {
				t.Errorf("%q is among what is proposed: %q", tt.not, labels)
			}
		})
	}
}

func TestEditorExplains(t *testing.T) {
	s, dir := editor(t)
	for _, tt := range []struct{ name, text, want string }{
		{"key.yaml", playbookModeline + "play¦book: a\nsteps: [{do: alert.note, with: {text: a}}]\n", "what runs, metrics and cool-downs go by"},
		{"action.yaml", playbookModeline + "playbook: a\nsteps:\n  - do: host.cont¦ain\n    with: {host: h}\n", "`host.contain`: Blocks the traffic"},
		{"argument.yaml", playbookModeline + "playbook: a\nsteps:\n  - do: alert.note\n    with:\n      te¦xt: a\n", "The note. A line that names the run"},
		{"jq.yaml", playbookModeline + "playbook: a\nsteps:\n  - do: alert.note\n    i¦f: .alert.status == \"open\"\n    with: {text: a}\n", "jq expression"},
		{"text.yaml", playbookModeline + "playbook: a\nsteps:\n  - do: alert.note\n    with:\n      text: ${{ .alert.st¦atus }}\n", "jq"},
		{"verdict_test.yaml", testModeline + "tests:\n  - name: a\n    expect:\n      ver¦dict: match\n", "cool-down holds it back"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			uri, line, character := s.openAtCursor(dir, tt.name, tt.text)
			got := strings.ReplaceAll(s.hover(uri, line, character), "\\", "") // Markdown
			if !strings.Contains(got, tt.want) {
				t.Errorf("said %q, want %q", got, tt.want)
			}
		})
	}
}

// The lines of this test are those of the guide.
func TestEditorGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "howto", "editor.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{playbookModeline, testModeline, configModeline, "erbridge playbook schema --write playbooks"} {
		if !strings.Contains(string(guide), strings.TrimSpace(line)) {
			t.Errorf("the guide does not say %q", line)
		}
	}
}
