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

// Every shipped playbook to which alerts come has tests, which pass and see every
// condition both ways, every step and every on_error.
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
		switch percent := playtest.Percent(f.Coverage); {
		case f.Playbook == "release-expired-containments": // no alert comes to it: TestReleaseExpiredContainments
			if f.File != "" {
				t.Errorf("%s can be tested now, so it must be covered, too", f.Playbook)
			}
		case percent < 100:
			t.Errorf("the tests of %s cover %.1f%%", f.Playbook, percent)
		}
	}
	var text strings.Builder
	if err := report.Write(&text, "human", true); err != nil {
		t.Fatal(err)
	}
	if _, failed := report.Counts(); failed > 0 || t.Failed() {
		t.Error(text.String())
	}
}
