package lint

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// tokens are the forms of secrets that give themselves away.
var tokens = regexp.MustCompile(strings.Join([]string{
	`-----BEGIN [A-Z ]*PRIVATE KEY-----`,
	`\bxox[abeprs]-[A-Za-z0-9-]{10,}`,                                       // Slack
	`\bgh[pousr]_[A-Za-z0-9]{30,}`,                                          // GitHub
	`\bglpat-[A-Za-z0-9_-]{20,}`,                                            // GitLab
	`\bAKIA[0-9A-Z]{16}\b`,                                                  // AWS
	`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`,    // RFC 7519
	`[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@`,                               // RFC 3986, section 3.2.1
	`https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+`, // Slack
	`(?i)[?&](api_?key|token|access_token|secret)=[^&\s$]{8,}`,
}, "|"))

// credentials are what stands in the header Authorization (RFC 9110, section 11.4).
// Words of plain text follow "basic" too, so there must be a digit in it.
var credentials = regexp.MustCompile(`(?i)\b(?:bearer|basic|splunk)\s+([a-z+/=_.-]*[0-9][a-z0-9+/=_.-]*)`)

// minCredential is how long credentials are at least.
const minCredential = 16

// findSecret is where a secret begins in a text, or -1.
func findSecret(text string) int {
	if m := tokens.FindStringIndex(text); m != nil {
		return m[0]
	}
	for _, m := range credentials.FindAllStringSubmatchIndex(text, -1) {
		if m[3]-m[2] >= minCredential {
			return m[0]
		}
	}
	return -1
}

// secretName is what keys are called that hold secrets.
var secretName = regexp.MustCompile(`(?i)^(.*[_-])?(password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|authorization|credentials?)$`)

const conditionsKey = "match"

// secrets finds passwords and tokens that stand in the file.
func secrets(b *book) {
	for _, key := range []string{"vars", "enrich", "steps", "finally", conditionsKey} {
		b.secretsIn(get(b.root, key), key)
	}
}

func (b *book) secretsIn(n *yaml.Node, key string) {
	switch {
	case n == nil:
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			b.secretsIn(item, key)
		}
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && slices.Contains([]string{"env", "file", "credential"}, n.Content[0].Value):
		// It says where the secret is.
	case n.Kind == yaml.MappingNode:
		for name, item := range registry.Pairs(n) {
			if key == conditionsKey {
				b.secretsIn(item, key) // the keys below it are what conditions are called
			} else {
				b.secretsIn(item, name.Value)
			}
		}
	case n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!int"):
		at := registry.At(b.file, n)
		if slices.ContainsFunc(b.found, func(f Finding) bool { return f.Code == "PB504" && f.Position == at }) {
			return // the decoder has refused it
		}
		const hint = "put it into a file or the environment; http.request takes auth: {env: NAME} or {file: path}"
		if offset := findSecret(n.Value); offset >= 0 {
			b.addAt(b.placeIn(n, offset), "PB504", "a secret stands here in plain text", hint)
		} else if secretName.MatchString(key) && len(n.Value) >= 4 && !strings.Contains(n.Value, "${{") {
			b.add(n, "PB504", "a secret stands here in plain text, by the name "+key, hint)
		}
	}
}

func (b *book) placeIn(n *yaml.Node, offset int) registry.Position {
	return b.places(n, offset)
}
