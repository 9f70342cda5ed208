package playtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/erbridge/erbridge/playbooks/playtest"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

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
