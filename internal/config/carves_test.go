package config

import (
	"os"
	"strings"
	"testing"
)

// What the page on carves shows, can be written like that.
func TestCarvesInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/carves.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, block := range strings.Split(string(page), "```yaml\n") {
		block, _, _ = strings.Cut(block, "```")
		if !strings.HasPrefix(block, "carves:") {
			continue
		}
		found++
		if _, err := Parse("carves.md", []byte("server: {url: \"https://er.example.org\", username: soc, password: {env: ER_PASSWORD}}\n"+block)); err != nil {
			t.Errorf("%s%v", block, err)
		}
	}
	if found != 2 {
		t.Errorf("the page shows %d settings", found)
	}
}

func TestCarveSettings(t *testing.T) {
	const server = "server: {url: \"https://er.example.org\", username: soc, password: {env: ER_PASSWORD}}\n"
	const key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"all of it", "carves: {stall: 20m, recipients: [" + key + "], keep: 90d, max_total: 50000000000}", ""},
		{"no recipient", "carves:\n  recipients:\n    - " + key + "\n    - age1x", `c.yaml:5:7: recipient "age1x": expected a public key of age`},
		{"no patience", "carves: {stall: 0s}", "c.yaml:2:17: stall must be longer than nothing"},
		{"less than nothing", "carves: {keep: -1h}", "c.yaml:2:16: expected a duration"},
		{"less than no bytes", "carves: {max_total: -1}", "c.yaml:2:21: max_total must not be below 0"},
		{"less than one", "carves: {max_total: 1000}", "one carve alone may have 2147483648 bytes"},
		{"misspelt", "carves: {recipient: x}", `unknown setting "recipient"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(server+tt.text))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
