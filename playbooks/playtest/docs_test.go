package playtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/playtest"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// So are those of a playbook that no new alert starts.
func TestGuideOfTriggers(t *testing.T) {
	dir := t.TempDir()
	for page, file := range map[string][2]string{
		"write-a-playbook.md": {"playbook: report-failures\n", "report-failures.yaml"}, "test-a-playbook.md": {"given:\n  - {do: http.request}\n", "report-failures_test.yaml"},
	} {
		data, err := os.ReadFile(filepath.Join("..", "..", "docs", "howto", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllSubmatch(data, -1) {
			if !strings.HasPrefix(string(block[1]), file[0]) {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file[1]), block[1], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := run(t, playtest.Options{}, playtest.Place{Dir: dir})
	if passed, failed := report.Counts(); passed != 2 || failed != 0 || report.Percent() != 100 {
		t.Error(text(t, report, "human"))
	}
}

// The tests of the guide are those of the playbook in the other guide. They pass, and
// nothing is left out.
func TestGuide(t *testing.T) {
	dir := t.TempDir()
	for page, name := range map[string]string{"write-a-playbook.md": "kill-miner.yaml", "test-a-playbook.md": "kill-miner_test.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "docs", "howto", page))
		if err != nil {
			t.Fatal(err)
		}
		block := yamlBlock.FindSubmatch(data)
		if block == nil {
			t.Fatalf("%s has no YAML", page)
		}
		if err := os.WriteFile(filepath.Join(dir, name), block[1], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report := run(t, playtest.Options{}, playtest.Place{Dir: dir})
	if passed, failed := report.Counts(); passed != 5 || failed != 0 || report.Percent() != 100 {
		t.Error(text(t, report, "human"))
	}
}
