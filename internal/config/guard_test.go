package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the pages on the guard show, can be written like that.
func TestGuardInTheDocs(t *testing.T) {
	server := "server: {url: \"https://er.example.org\", username: soc, password: {env: ER_PASSWORD}}\n"
	for name, least := range map[string]int{"guard.md": 5} {
		page, err := os.ReadFile(filepath.Join("../../docs/howto", name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for i, block := range strings.Split(string(page), "```yaml\n") {
			block, _, _ = strings.Cut(block, "```")
			if i == 0 || !strings.HasPrefix(block, "guard:") {
				continue
			}
			found++
			if _, err := Parse(name, []byte(server+block)); err != nil {
				t.Errorf("%s:\n%s%v", name, block, err)
			}
		}
		if found < least {
			t.Errorf("%s shows %d settings of the guard", name, found)
		}
	}
}

// Mistakes in lists of the guard are told at their places.
func TestGuardMistakes(t *testing.T) {
	_, err := Parse("c.yaml", []byte(`server: {url: "https://er.example.org", username: soc, password: {env: ER_PASSWORD}}
guard:
  limits:
    - {calls: 5, per: 1h}
    - {calls: 5}
  budgets:
    - {name: scripts, share: 200%}
  freezes:
    - {name: f, timezone: UTC, days: [mon, someday]}
`))
	if err == nil {
		t.Fatal("there are no mistakes")
	}
	for _, want := range []string{
		"c.yaml:5:7: a number of calls needs the time it is about [guard]; such as 1m or 1h, and at most 7d",
		`c.yaml:7:30: "200%" is not a share above 0% and up to 100% [guard]; such as 5% or 0.5%`,
		`c.yaml:9:44: "someday" is no day of the week [guard]`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing:\n%v", want, err)
		}
	}
}
