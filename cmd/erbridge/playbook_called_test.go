package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestExplainFindsWhatAFileCalls(t *testing.T) {
	const other = "playbook: other\nmatch: {all: [{high: '.alert.severity == \"high\"'}]}\nsteps: [{id: say, do: alert.note, with: {text: hello}}]"
	for _, tt := range []struct{ name, text, steps, err string }{
		{"beside it", "steps: [{id: sub, call: other}]", "sub sub/say", ""},
		{"nowhere", "steps: [{id: sub, call: another}]", "sub", ""},
		{"itself", "steps: [{id: sub, call: p}]", "", "playbook p calls itself: p → p"},
		{"none", "steps: [{id: say, do: alert.note, with: {text: hello}}]", "say", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"other.yaml": other, "p.yaml": "playbook: p\n" + tt.text, "broken.yaml": "playbook: [", "p_test.yaml": "no playbook"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			pb, err := findPlaybook(filepath.Join(dir, "p.yaml"), &configFlag{})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("found %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			x, err := playbooks.Explain(t.Context(), pb, soar.Alert{Server: "er", ID: "1"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var steps []string
			for _, s := range x.Steps {
				steps = append(steps, s.ID)
			}
			if got := strings.Join(steps, " "); got != tt.steps {
				t.Errorf("steps %s, want %s", got, tt.steps)
			}
		})
	}
}
