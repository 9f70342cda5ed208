package gendocs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

func TestPlaybookTestSchemaTakesTheTestsThereAre(t *testing.T) {
	schema := compile(t, PlaybookTestSchema(nil))
	seen := 0
	for _, fsys := range []fs.FS{library.FS, os.DirFS(filepath.Join(root, "playbooks", "playtest", "testdata"))} {
		err := fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, "_test.yaml") {
				return err
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			if err := validate(t, schema, string(data)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			seen++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 8 {
		t.Errorf("%d files; is the test looking in the right place?", seen)
	}
}

// What the schema says of a test, the decoder says too.
func TestPlaybookTestSchemaAgreesWithTheDecoder(t *testing.T) {
	schema := compile(t, PlaybookTestSchema(nil))
	const playbook = "playbook: p\nsteps: [{id: note, do: alert.note, with: {text: a}}]\n"
	for _, tt := range []struct {
		name, in string
		good     bool
	}{
		{"least", "alert: {}\ntests: [{name: a, expect: {verdict: match}}]", true},
		{"everything", `
playbook: p.yaml
alert: {severity: high}
given: [{do: host.get, with: {host: h}, output: {os: x}}]
tests:
  - name: a
    alert: {severity: low}
    patch: {host: {name: n}, rule: null}
    on: alert
    now: 2026-11-22T03:22:30Z
    ceiling: observe
    before: [{alert: {id: "9"}, patch: {severity: low}, ago: 5m}]
    after: [{alert: {id: "10"}, patch: {severity: low}, in: 5m}]
    given: [{step: note, do: alert.note, with: {text: a}, state: verified, output: [1], error: e, summary: s, target: t, after: 1m, times: 1}]
    expect: {verdict: match, error: e, actions: [{do: alert.note, step: note, with: {text: a}}], outcome: done, steps: {note: verified}}
`, true},
		{"no tests", "alert: {}", false},
		{"test without a name", "alert: {}\ntests: [{expect: {verdict: match}}]", false},
		{"test without an expectation", "alert: {}\ntests: [{name: a}]", false},
		{"expectation without a verdict", "alert: {}\ntests: [{name: a, expect: {}}]", false},
		{"unknown verdict", "alert: {}\ntests: [{name: a, expect: {verdict: nope}}]", false},
		{"unknown outcome", "alert: {}\ntests: [{name: a, expect: {verdict: match, outcome: nope}}]", false},
		{"unknown state", "alert: {}\ngiven: [{do: host.get, state: nope}]\ntests: [{name: a, expect: {verdict: match}}]", false},
		{"unknown key", "alert: {}\ntest: []\ntests: [{name: a, expect: {verdict: match}}]", false},
		{"alert as a list", "alert: []\ntests: [{name: a, expect: {verdict: match}}]", false},
		{"ago as a number", "alert: {}\ntests: [{name: a, before: [{ago: 5}], expect: {verdict: match}}]", false},
		{"action without a name", "alert: {}\ntests: [{name: a, expect: {verdict: match, actions: [{with: {}}]}}]", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{"p.yaml": {Data: []byte(playbook)}, "p_test.yaml": {Data: []byte(tt.in)}}
			_, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, playtest.Options{
				Actions: func(now func() time.Time) map[string]playbooks.Action { return actions.All(actions.Deps{Now: now}) },
			})
			if _, mistakes := errors.AsType[registry.Problems](err); mistakes == tt.good || err != nil && !mistakes {
				t.Errorf("the decoder says %v", err)
			}
			if err := validate(t, schema, tt.in); (err == nil) != tt.good {
				t.Errorf("the schema says %v", err)
			}
		})
	}
}
