package library_test

import (
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// Every shipped playbook has tests, which pass and see every condition both ways,
// every step and every on_error.
func TestPlaybookTests(t *testing.T) {
	report, err := playtest.Run(t.Context(), []playtest.Place{{FS: library.FS}}, playtest.Options{
		Actions: func(now func() time.Time) map[string]playbooks.Action {
			return actions.All(actions.Deps{Sinks: sinks, Now: now})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Files {
		if f.File == "" || len(f.Results) == 0 {
			t.Errorf("%s has no tests", f.Playbook)
		}
		if percent := playtest.Percent(f.Coverage); percent < 100 {
			t.Errorf("the tests of %s cover %.1f%%", f.Playbook, percent)
		}
	}
	if set, _ := load(t, actions.Deps{Sinks: sinks}); len(report.Files) != len(set.Playbooks()) {
		t.Errorf("%d playbooks were tested, of %d", len(report.Files), len(set.Playbooks()))
	}
	var text strings.Builder
	if err := report.Write(&text, "human", true); err != nil {
		t.Fatal(err)
	}
	if _, failed := report.Counts(); failed > 0 || t.Failed() {
		t.Error(text.String())
	}
}
