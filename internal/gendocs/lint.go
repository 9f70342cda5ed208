package gendocs

import (
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// maxExample is the longest example that stands on the page; a few are long by
// nature.
const maxExample = 800

func lintPage() *page {
	example, _ := lint.Lookup("PB502")
	p := newPage("Codes of playbook lint", `What `+"`erbridge playbook lint`"+` finds, by code; `+"`erbridge docs CODE`"+` shows the same in a terminal. Codes do not change their
meaning between releases. What the engine refuses must be corrected. All else can be suppressed, with a reason, on its line or on
the line above what it is about:

`+"```yaml\n"+example.Good+"```"+`

Codes marked with "fix" are corrected by `+"`--fix`"+`, which keeps comments and formatting.`)
	for _, group := range lint.Groups() {
		p.head(2, group.Title)
		p.printf("| code | meaning | fix |\n|---|---|---|\n")
		for _, r := range lint.Rules() {
			if r.Group() != group {
				continue
			}
			fix := ""
			if r.Fixes {
				fix = "fix"
			}
			p.printf("| [`%s`](#%s) | %s | %s |\n", r.Code, strings.ToLower(r.Code), cell(r.Title), fix)
		}
		for _, r := range lint.Rules() {
			if r.Group() == group {
				p.rule(&r)
			}
		}
	}
	return p
}

func (p *page) rule(r *lint.Rule) {
	p.printf("\n<a id=\"%s\"></a>\n\n### %s: %s\n\n", strings.ToLower(r.Code), r.Code, r.Title)
	if r.Level == lint.Warning {
		p.printf("Warning. ")
	}
	p.printf("%s\n", r.Text)
	if words := r.Words(); len(words) > 0 {
		p.printf("\n`erbridge check` shows it as `[%s]`.\n", strings.Join(words, "]`, `["))
	}
	if r.Bad == "" || len(r.Bad) > maxExample || !utf8.ValidString(r.Bad) {
		return
	}
	if r.Beside != "" {
		p.printf("\nBeside this playbook\n\n")
		p.yaml(r.Beside)
	}
	p.printf("\nWith the mistake, and without:\n\n```text\n%s\n```\n\n", strings.TrimSpace(r.Bad))
	p.yaml(r.Good)
}
