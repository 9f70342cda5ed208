package playbooks

import (
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// Wherever a word stands in a scalar, it is found in the file, however the scalar is
// written.
func TestPlaces(t *testing.T) {
	for name, in := range map[string]string{
		"plain":                     "a: x HERE",
		"plain over lines":          "a: x\n   y\n\n\n     z HERE\nb: 1\n",
		"plain with a comment":      "a: x HERE # HERE\n",
		"single quotes":             "a: 'it''s ''x'' HERE'",
		"single quotes over lines":  "a: 'it''s  \n\n   \n  ''x''\n\t\tHERE'",
		"double quotes":             `a: "\"é\u00e9\x41\U0001F600\t\\ 日 HERE"`,
		"double quotes over lines":  "a: \"x\n\n  y  \n  HERE\"",
		"escaped ends of lines":     "a: \"x \\\n  y\\\n  \\  z\\\n\n  HERE\"",
		"literal":                   "a: |\n  x\n    y\n\n  z HERE\n",
		"literal with blanks first": "a: |\n\n\n  x\n   HERE\n",
		"literal with given indent": "a: |2-\n    x\n   HERE\n",
		"literal in a list":         "a:\n- |+\n  x\n\n  HERE\n\n",
		"literal with a comment":    "a: | # HERE\n  x\n  HERE\n",
		"literal in a tagged text":  "a: !!str |\n  x\n  HERE\n",
		"folded":                    "a: >\n  x\n  y\n  HERE\n",
		"folded with empty lines":   "a: >-\n\n  x\n\n\n  y HERE\n",
		"folded with an indent":     "a: >\n  x\n\n  y\n    z\n      HERE\n  b\n",
		"folded behind an indent":   "a: >\n  x\n    z\n\n  y HERE\n",
		"folded with given indent":  "a: >1\n   x\n  y\n HERE\n",
		"folded with blanks at end": "a: >\n  x \n  y  \n  HERE\n",
	} {
		for ends, text := range map[string]string{"": in, ", CR LF": strings.ReplaceAll(in, "\n", "\r\n")} {
			t.Run(name+ends, func(t *testing.T) {
				var doc yaml.Node
				if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
					t.Fatal(err)
				}
				n := doc.Content[0].Content[1]
				if n.Kind == yaml.SequenceNode {
					n = n.Content[0]
				}
				at := strings.LastIndex(text, "HERE")
				if name == "plain with a comment" {
					at = strings.Index(text, "HERE")
				}
				before := text[:at]
				want := registry.Position{
					File: "f", Line: strings.Count(before, "\n") + 1, Column: utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1,
				}
				if got := Places("f", []byte(text))(n, strings.Index(n.Value, "HERE")); got != want {
					t.Errorf("HERE in %q stands at %v, want %v", text, got, want)
				}
			})
		}
	}
}

// A field that stands deeper is found by the two names that lead to it.
func TestHintsOfDeeperFields(t *testing.T) {
	for field, want := range map[string]string{
		"hostname": "did you mean .alert.host.name?", "rule_name": "did you mean .alert.rule.name?", "hostIP": "did you mean .alert.host.ip?",
		"sevrity": `did you mean "severity"?`,
	} {
		_, problems := Parse("p.yaml", []byte("playbook: p\nmatch: {all: [{c: .alert."+field+"}]}\nsteps: [{do: fake.read}]\n"), new(fakeServer).actions())
		if len(problems) != 1 || problems[0].Hint != want {
			t.Errorf("%s: %v, want the hint %s", field, problems, want)
		}
	}
}

// A name is looked for behind those that lead to it.
func TestPlacesOfFields(t *testing.T) {
	for expr, want := range map[string]int{
		`.alert.host.name | .alert.hots`:          19, // .alert of the name, a text
		`.alert | .host | .nmae`:                  17,
		`("nmae" == (.alert.host | .nmae))`:       26,
		`.alert.nmae == 1`:                        6,
		`.alert["nmae"] == 1`:                     8,
		`(.alert.host.name == "a") and .hots.ip`:  30,
		`.alert.hostname == "a" or .alert.host.x`: 6,
	} {
		_, problems := Parse("p.yaml", []byte("playbook: p\nmatch:\n  all:\n    - c: "+expr+"\nsteps: [{do: fake.read}]\n"), new(fakeServer).actions())
		if len(problems) == 0 || problems[0].Line != 4 || problems[0].Column != want+10 {
			t.Errorf("%s: %v, want column %d", expr, problems, want+10)
		}
	}
}
