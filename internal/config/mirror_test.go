package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

const leastServer = "server: {url: \"https://er.example.org\", username: soc, password: {env: ER_PASSWORD}}\n"

// What the page on the mirror shows, can be written like that.
func TestMirrorInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/mirror.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "```yaml\nsources:")
	if !found {
		t.Fatal("the page shows no settings")
	}
	block, _, _ = strings.Cut(block, "```")
	cfg, err := Parse("mirror.md", []byte(leastServer+"sources:"+block))
	if err != nil {
		t.Fatal(err)
	}
	m := cfg.Sources.Poll.Mirror
	if len(m.Accounts) != 2 || !m.Enabled || m.Interval != 30*time.Second || m.Window != 7*24*time.Hour || m.Notes != 10 || m.NotesFor != 24*time.Hour {
		t.Errorf("%+v: the page tells other defaults", m)
	}
}

func TestMirrorMistakes(t *testing.T) {
	for _, tt := range []struct{ settings, want string }{
		{"{interval: 0s}", "interval"},
		{"{notes: 5000}", "notes"},
		{"{notes: -1}", "notes"},
		{"{acounts: [a]}", "accounts"},
	} {
		if _, err := Parse("c.yaml", []byte(leastServer+"sources: {poll: {mirror: "+tt.settings+"}}\n")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.settings, err)
		}
	}
	if _, err := Parse("c.yaml", []byte(leastServer+"sources: {poll: {mirror: {enabled: false, interval: 0s}}}\n")); err != nil {
		t.Errorf("it is off: %v", err)
	}
}
