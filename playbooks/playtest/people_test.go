package playtest_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// Tests say what people answer, and how long it takes them.
func TestApprovals(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/approvals"})
	if passed, failed := report.Counts(); passed != 7 || failed != 0 || report.Percent() != 100 {
		t.Errorf("%d passed, %d failed, coverage %g\n%s", passed, failed, report.Percent(), text(t, report, "human"))
	}
}

const asking = `playbook: p
mode: approve
steps: [{id: note, do: alert.note, with: {text: hello}}]
`

// A test that forgets the people is told what to write.
func TestApprovalsWithoutAnswers(t *testing.T) {
	fsys := fstest.MapFS{
		"p.yaml":      {Data: []byte(asking)},
		"p_test.yaml": {Data: []byte("tests: [{name: a, alert: {id: '1'}, given: [{step: note}], expect: {verdict: match}}]")},
	}
	report := run(t, playtest.Options{}, playtest.Place{FS: fsys})
	shown := text(t, report, "human")
	for _, want := range []string{"step note asks for approval, and the test does not say what people answer: May playbook p do alert.note?", "{step: note, approval: granted}"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the report has no %q:\n%s", want, shown)
		}
	}
}

func TestMistakesOfApprovals(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"{step: note, by: ann}", "by and reason say who answers, and there is no answer"},
		{"{step: note, approval: granted, output: 1}", "an answer of people has by, reason and after, and nothing of what the action returns"},
		{"{step: note, approval: yes}", `unknown value "yes"`},
	} {
		fsys := fstest.MapFS{
			"p.yaml":      {Data: []byte(asking)},
			"p_test.yaml": {Data: []byte("tests: [{name: a, alert: {id: '1'}, given: [" + tt.given + "], expect: {verdict: match}}]")},
		}
		_, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, playtest.Options{Actions: all})
		if problems, ok := errors.AsType[registry.Problems](err); !ok || !strings.Contains(problems.Error(), tt.want) {
			t.Errorf("%s gives %v, want %s", tt.given, err, tt.want)
		}
	}
}
