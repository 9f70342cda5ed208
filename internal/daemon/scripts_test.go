package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/config"
)

// A playbook runs a reviewed script by its name, and a script that is not the one that
// was reviewed lets nothing be loaded.
func TestReviewedScripts(t *testing.T) {
	dir := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const text = "echo reviewed\n"
	sum := sha256.Sum256([]byte(text))
	write("scripts/look.sh", text)
	write("scripts/look.yaml", "description: Looks.\nplatform: linux\nkind: shell\nfile: look.sh\nsha256: "+hex.EncodeToString(sum[:])+"\narguments: {path: {required: true}}\n")
	playbook := func(with string) {
		write("playbooks/look.yaml", "playbook: look\nsteps: [{do: script.run, with: {host: '${{ .alert.host.identifier }}', "+with+"}}]\n")
	}
	load := func() error {
		t.Helper()
		cfg, err := config.Parse(filepath.Join(dir, "erbridge.yaml"), []byte(`
server: {name: er, url: "https://er.example.org", username: u, password: {env: HOME}}
playbooks: {dir: playbooks}
actions: {scripts_dir: scripts}
store: {path: data}
`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = LoadPlaybooks(cfg, LintActions(cfg))
		return err
	}
	playbook(`script: look, arguments: {path: "${{ .alert.event.path }}"}`)
	if err := load(); err != nil {
		t.Error(err)
	}
	for with, want := range map[string]string{
		`script: look`: "path: the script look needs it", `script: lock, arguments: {path: a}`: `did you mean "look"?`,
		`script: look, arguments: {path: "a\nb"}`: "holds the character U+000A",
	} {
		playbook(with)
		if err := load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", with, err)
		}
	}
	playbook(`script: look, arguments: {path: a}`)
	write("scripts/look.sh", "echo something else\n")
	if err := load(); err == nil || !strings.Contains(err.Error(), "look.yaml:1:1") || !strings.Contains(err.Error(), "review it, and write down its hash when it is good") {
		t.Errorf("a script that was changed: %v", err)
	}
}
