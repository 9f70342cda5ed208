package lint_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/lint"
)

func known() map[string]playbooks.Action { return actions.All(actions.Deps{}) }

func codes(findings []lint.Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Code)
	}
	return all
}

// What the page of a code shows is true: the one example has the finding, the
// other has none, and --fix does what it says.
func TestExamplesOfTheCodes(t *testing.T) {
	form := regexp.MustCompile(`^PB[1-7]\d\d$`)
	last := ""
	for _, rule := range lint.Rules() {
		t.Run(rule.Code, func(t *testing.T) {
			if !form.MatchString(rule.Code) || rule.Code <= last || rule.Title == "" || rule.Text == "" || rule.Level == "" {
				t.Errorf("rule %+v", rule)
			}
			last = rule.Code
			if rule.Bad == "" {
				if rule.Code != "PB109" && rule.Code != "PB200" { // no text of a playbook gives these
					t.Error("no example")
				}
				return
			}
			files := []lint.File{{Name: "bad.yaml", Data: []byte(rule.Bad)}}
			if rule.Beside != "" {
				files = append([]lint.File{{Name: "a.yaml", Data: []byte(rule.Beside)}}, files...)
			}
			findings := lint.Run(files, nil, known())
			if got := slices.Compact(codes(findings)); !slices.Equal(got, []string{rule.Code}) {
				t.Errorf("the bad example gives %v: %v", got, findings)
			}
			if len(findings) > 0 && lint.Failed(findings) != (rule.Level == lint.Error) {
				t.Errorf("level %s, failed %v", rule.Level, lint.Failed(findings))
			}
			files[len(files)-1].Data = []byte(rule.Good)
			if findings := lint.Run(files, nil, known()); len(findings) > 0 {
				t.Errorf("the good example gives %v", findings)
			}
			files[len(files)-1].Data = []byte(rule.Bad)
			if fixed := lint.Fix(files, nil, known()); (len(fixed) > 0) != rule.Fixes {
				t.Errorf("fix changed %q", fixed)
			}
		})
	}
}
