package playtest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// modeline lets editors know what a file is; docs/howto/editor.md tells more.
const modeline = "# yaml-language-server: $schema=.erbridge/%s.schema.json\n"

// Skeleton is a test file with one test, in which every action succeeds and the
// alert is expected to match. Report.Update makes it say what happens.
func Skeleton(pb *playbooks.Playbook, fixture, name string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, modeline, "playbook-test")
	fmt.Fprintf(&b, "alert: %s\n", scalar(fixture))
	if given := answers(pb); given != "" {
		b.WriteString("# What actions answer; nothing leaves the process. Write the output that your expressions read.\ngiven:\n" + given)
	}
	fmt.Fprintf(&b, "tests:\n  - name: %s\n%s    expect:\n      verdict: match\n", scalar(name), startOf(pb))
	return []byte(b.String())
}

// startOf are the keys of a test that bring an alert to a playbook.
func startOf(pb *playbooks.Playbook) string {
	switch {
	case pb.Takes(onAlert), pb.Takes(onUpdated):
		return ""
	case pb.Takes(onManual):
		return "    on: manual\n"
	case pb.Takes(onFailed):
		return "    on: run.failed\n    failed: {playbook: another, error: \"step x: it failed\"}\n"
	}
	return ""
}

func answers(pb *playbooks.Playbook) string {
	var b strings.Builder
	asked := func(e playbooks.EnrichInfo) bool { return e.Action == "host.get" }
	if pb.ReadsHost() && !slices.ContainsFunc(pb.Enrichments(), asked) {
		b.WriteString("  - {do: host.get, output: {tags: []}} # the host record\n")
	}
	for _, e := range pb.Enrichments() {
		fmt.Fprintf(&b, "  - {do: %s, output: {}} # enrichment %s\n", e.Action, e.Name)
	}
	for _, step := range pb.Steps() {
		switch {
		case step.Action == "":
		case step.Effect == playbooks.Reads:
			fmt.Fprintf(&b, "  - {step: %s, output: {}} # %s\n", step.ID, step.Action)
		default:
			fmt.Fprintf(&b, "  - {step: %s, state: verified} # %s\n", step.ID, step.Action)
		}
	}
	return b.String()
}

// Draft is a playbook and its tests, made after an alert.
type Draft struct {
	Playbook []byte
	Tests    []byte
}

// proposal is a condition that an alert meets, and a patch with which it does not.
type proposal struct {
	name, expr, patch string
	comment           string
}

// NewDraft proposes a playbook for alerts such as this one, and tests of it. The
// playbook only observes. fixture is where the tests find the alert.
func NewDraft(name string, alert *soar.Alert, fixture string) *Draft {
	all := propose(alert)
	none := proposal{
		name: "it is a test machine", expr: `.alert.host.tags // [] | any(in_list(["test"]))`, patch: `{host: {tags: [test]}}`,
	}
	var b, t strings.Builder
	fmt.Fprintf(&b, modeline, "playbook")
	fmt.Fprintf(&b, "playbook: %s\n", scalar(name))
	fmt.Fprintf(&b, "description: %s\n", scalar("Notes what is known about: "+short(alert.Title())))
	if alert.Rule != nil {
		if attack := techniques(alert.Rule.Techniques); attack != "" {
			fmt.Fprintf(&b, "attack: [%s]\n", attack)
		}
	}
	b.WriteString(`# Nothing is done before this says enforce. Test first: erbridge playbook test
mode: observe
match:
  # One fact each, named as you would say it. Drop what is only true of this one alert.
  all:
`)
	for _, p := range all {
		if p.comment != "" {
			fmt.Fprintf(&b, "    # %s\n", p.comment)
		}
		fmt.Fprintf(&b, "    - %s: %s\n", scalar(p.name), scalar(p.expr))
	}
	b.WriteString("  # Where it should keep out of the way.\n  none:\n")
	fmt.Fprintf(&b, "    - %s: %s\n", scalar(none.name), scalar(none.expr))
	if alert.Host.Identifier != "" {
		b.WriteString("# One run for a host in that time, however many alerts there are.\ncooldown: {key: .alert.host.identifier, for: 30m}\n")
	}
	b.WriteString(`steps:
  # docs/reference/actions.md lists what a step can do.
  - id: note
    do: alert.note
    with:
      text: |-
        ${{ .alert.rule.name // .alert.source }} (${{ .alert.severity }}) on ${{ .alert.host.name }}
        ${{ .alert.event.cmdline // .alert.event.path // "no process is known" }}
`)

	fmt.Fprintf(&t, modeline, "playbook-test")
	fmt.Fprintf(&t, `alert: %s
given:
  - {step: note, state: verified}
tests:
  - name: the alert that it was made after
    expect:
      verdict: match
      actions: [{do: alert.note, step: note}]
      outcome: done
      steps: {note: observed}
`, scalar(fixture))
	for _, p := range all {
		t.WriteString(p.test("only when "))
	}
	t.WriteString(none.test("not when "))
	return &Draft{[]byte(b.String()), []byte(t.String())}
}

// test is a test that the condition counts.
func (p *proposal) test(when string) string {
	return fmt.Sprintf("  - name: %s\n    patch: %s\n    expect:\n      verdict: no match\n      reason: %s\n", scalar(when+p.name), p.patch, scalar(p.name))
}

// propose finds what is worth a condition in an alert.
func propose(alert *soar.Alert) (all []proposal) {
	severity, _ := soar.ParseSeverity(string(alert.Severity))
	if known := []soar.Severity{soar.SeverityLow, soar.SeverityMedium, soar.SeverityHigh, soar.SeverityCritical}; slices.Contains(known, severity) {
		all = append(all, proposal{
			name: fmt.Sprintf("severity is %s or worse", severity), expr: fmt.Sprintf(".alert.severity | at_least(%q)", severity), patch: "{severity: info}",
		})
	}
	if alert.Rule != nil && alert.Rule.Name != "" {
		all = append(all, proposal{
			name: "the rule is " + short(alert.Rule.Name), expr: ".alert.rule.name == " + quoted(alert.Rule.Name), patch: "{rule: null}",
			comment: "The name of a rule is set on the server, and may change there.",
		})
	} else {
		all = append(all, proposal{name: "it comes from " + short(alert.Source), expr: ".alert.source == " + quoted(alert.Source), patch: "{source: another}"})
	}
	if platform := alert.Host.Platform; platform != "" {
		all = append(all, proposal{name: "the host runs " + short(platform), expr: ".alert.host.platform == " + quoted(platform), patch: "{host: {platform: another}}"})
	}
	path := alert.Event["path"]
	program := path[strings.LastIndexAny(path, `\/`)+1:]
	if program != "" {
		all = append(all, proposal{
			name: "the program is " + short(program), expr: `.alert.event.path // "" | split("[\\\\/]"; "") | last // "" | in_list([` + quoted(program) + "])",
			patch: "{event: {path: null}}", comment: "Names of programs are easily changed; what one does is harder to hide.",
		})
	}
	if cmdline := alert.Event["cmdline"]; cmdline != "" {
		all = append(all, proposal{
			name: "it is called with these words", expr: `.alert.event.cmdline // "" | ascii_downcase | contains(` + quoted(words(cmdline)) + ")",
			patch: "{event: {cmdline: null}}", comment: "Take the part that matters: test(\"delete.*shadows\"; \"i\") looks for a pattern.",
		})
	}
	return all
}

// words is a command line in small letters, without the program at its start.
func words(cmdline string) string {
	text := cmdline
	if rest, ok := strings.CutPrefix(text, `"`); ok {
		if _, after, found := strings.Cut(rest, `"`); found {
			text = after
		}
	} else if _, after, found := strings.Cut(text, " "); found {
		text = after
	}
	if text = strings.TrimSpace(text); text == "" {
		text = cmdline
	}
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200])
	}
	return asciiLower(text)
}

// asciiLower is jq's ascii_downcase.
func asciiLower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// techniqueName is what lint takes as an ATT&CK technique.
var techniqueName = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

func techniques(all []string) string {
	var good []string
	for _, t := range all {
		if techniqueName.MatchString(t) {
			good = append(good, t)
		}
	}
	return strings.Join(good, ", ")
}

// short is a text of an alert as a part of a name: one line, no longer than fits.
func short(text string) string {
	text = strings.Join(strings.Fields(soar.Visible(text)), " ")
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:59]) + "…"
	}
	return text
}

// quoted is a text in jq. What JSON escapes, jq reads as that; \( too is escaped.
func quoted(text string) string {
	data, err := json.Marshal(strings.ToValidUTF8(text, "\uFFFD"))
	if err != nil { // texts have a form in JSON
		return `""`
	}
	return string(data)
}

// scalar is a text in YAML, on one line.
func scalar(text string) string {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.ContainsAny(text, "\n\r") {
		n.Style = yaml.DoubleQuotedStyle
	}
	data, err := yaml.Marshal(n)
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSuffix(string(data), "\n")
}
