package config

import (
	"os"
	"strings"
	"testing"
)

func TestPeople(t *testing.T) {
	cfg, problems := parse(t, least+"people: {ann: {slack: U0ANN}, Ben Li: {slack: W0BEN}}\n")
	if problems != "" {
		t.Fatal(problems)
	}
	for account, want := range map[string]string{"U0ANN": "ann", "W0BEN": "Ben Li", "U0EVE": "", "": "", "ann": ""} {
		if got, ok := cfg.People.Named("slack", account); got != want || ok != (want != "") {
			t.Errorf("%q belongs to %q, want %q", account, got, want)
		}
	}
	if _, ok := cfg.People.Named("teams", "U0ANN"); ok {
		t.Error("an account of another chat counts")
	}
	for in, want := range map[string]string{
		"ann: {slack: ann@example.org}":            `"ann@example.org" is no member id of Slack`,
		"ann: {slack: '@ann'}":                     "Copy member ID",
		"ann: {}":                                  "ann has no account",
		"ann: {slack: U0123}, ben: {slack: U0123}": "U0123 is the account of ann already",
		"'ann (uid 0 root)': {slack: U0123}":       "cannot be the name of a person",
		"ann: {slak: U0123}":                       `unknown setting "slak"`,
	} {
		if _, problems := parse(t, least+"people: {"+in+"}\n"); !strings.Contains(problems, want) {
			t.Errorf("%s: %q, want %q", in, problems, want)
		}
	}
}

// What the page on Slack shows, can be written like that.
func TestSlackInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/slack.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of settings", len(blocks))
	}
	for _, block := range blocks {
		settings, _, _ := strings.Cut(block, "```")
		if _, problems := parse(t, least+settings); problems != "" {
			t.Errorf("%s\n%s", settings, problems)
		}
	}
}
