package playtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// What is proposed loads, its tests pass and cover all of it, whatever an attacker
// has written into the alert.
func TestDraft(t *testing.T) {
	hostile := personal()
	hostile.Rule = &soar.Rule{ID: 1, Name: "a \"b\" \\(.x) ${{ .y }}: # c\n- d", Techniques: []string{"T1490", "nonsense"}}
	hostile.Host.Platform = "w: \"#'"
	hostile.Event = map[string]string{"path": "C:\\a\\\"Ünï\u202e}}.exe", "cmdline": "\"C:\\x y\" ]}\" \\(1) \x1b[31m ${{ }} ÄÖ 'z'"}
	for name, alert := range map[string]soar.Alert{
		"rich": personal(), "hostile": hostile,
		"bare":  {Server: "er", ID: "1", Source: "ioc", Status: soar.StatusOpen, Severity: soar.SeverityInfo},
		"weird": {Server: "er", ID: "1", Source: "", Status: soar.StatusOpen, Severity: "odd", Event: map[string]string{"cmdline": " ", "path": `C:\`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data, err := json.Marshal(alert)
			if err != nil {
				t.Fatal(err)
			}
			draft := playtest.NewDraft("p", &alert, "alert.json")
			for file, data := range map[string][]byte{"alert.json": data, "p.yaml": draft.Playbook, "p_test.yaml": draft.Tests} {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			report, err := playtest.Run(t.Context(), []playtest.Place{{Dir: dir}}, playtest.Options{Actions: all})
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, draft.Playbook, draft.Tests)
			}
			if passed, failed := report.Counts(); passed < 3 || failed != 0 || report.Percent() != 100 {
				t.Errorf("%s\n%s", draft.Playbook, text(t, report, "human"))
			}
		})
	}
}

// So is what is proposed for runs that no alert starts.
func TestDraftOn(t *testing.T) {
	for _, on := range playtest.DraftTriggers() {
		dir := t.TempDir()
		draft := playtest.NewDraftOn("p", on)
		for file, data := range map[string][]byte{"p.yaml": draft.Playbook, "p_test.yaml": draft.Tests} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		report := run(t, playtest.Options{}, playtest.Place{Dir: dir})
		if passed, failed := report.Counts(); passed != 2 || failed != 0 || report.Percent() != 100 {
			t.Errorf("%s\n%s\n%s", draft.Playbook, draft.Tests, text(t, report, "human"))
		}
	}
}

// A captured alert reaches a playbook that only people or failures start, too.
func TestSkeletonOfTriggers(t *testing.T) {
	for _, on := range []string{"manual", "run.failed", "[run.failed, alert.updated]", "[{schedule: {every: 1h}}, manual]"} {
		dir := t.TempDir()
		text := "playbook: p\non: " + on + "\nsteps: [{id: note, do: alert.note, with: {text: '${{ .alert.id }}'}}]\n"
		pb, problems := playbooks.Parse("p.yaml", []byte(text), all(nil))
		if problems != nil {
			t.Fatal(problems)
		}
		for file, data := range map[string]string{
			"p.yaml": text, "alert.json": `{"id": "7"}`, "p_test.yaml": string(playtest.Skeleton(pb, "alert.json", "as captured")),
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := run(t, playtest.Options{}, playtest.Place{Dir: dir}).Complete(); err != nil {
			t.Fatal(err)
		}
		report := run(t, playtest.Options{}, playtest.Place{Dir: dir})
		data, err := os.ReadFile(filepath.Join(dir, "p_test.yaml"))
		if passed, failed := report.Counts(); passed != 1 || failed != 0 || err != nil || !strings.Contains(string(data), `text: "7"`) {
			t.Errorf("on %s: %d passed, %d failed, %v\n%s", on, passed, failed, err, data)
		}
	}
}

// The tests that are written for a playbook say what happens in them.
func TestSkeleton(t *testing.T) {
	dir := copied(t)
	data, err := os.ReadFile(filepath.Join(dir, "tests", "miner.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pb, problems := playbooks.Parse("miner.yaml", data, all(nil))
	if problems != nil {
		t.Fatal(problems)
	}
	test := filepath.Join(dir, "tests", "miner_test.yaml")
	if err := os.WriteFile(test, playtest.Skeleton(pb, "../alerts/miner.json", "as captured"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := playtest.Place{Dir: filepath.Join(dir, "tests"), Names: []string{"miner.yaml"}}
	if err := run(t, playtest.Options{}, place).Complete(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(test)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "skeleton.yaml", string(got))
	if passed, failed := run(t, playtest.Options{}, place).Counts(); passed != 1 || failed != 0 {
		t.Errorf("%d passed, %d failed", passed, failed)
	}
}
