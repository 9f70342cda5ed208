package lint_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// Whatever stands in a file: lint ends, its findings stand inside of the file, every
// format can be written, and what Fix makes of it can be read when it could before.
func FuzzLint(f *testing.F) {
	for _, rule := range lint.Rules() {
		if len(rule.Bad) < 2000 {
			f.Add([]byte(rule.Bad))
			f.Add([]byte(rule.Good))
		}
	}
	f.Add([]byte("playbook: p\nsteps:\n  - do: alert.note # lint:ignore PB502 'x\n    with:\n      text: |\n        ${{ .alert.x == 4 }} # lint:ignore\n  - parallel: [[{do: x}], {call: p}]\n"))
	actions := known()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := lint.File{Name: "p.yaml", Data: data}
		findings := lint.Run([]lint.File{file}, nil, actions)
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, lineBreak := range []string{"\r", "\u0085", "\u2028", "\u2029"} { // all that YAML counts
			lines += bytes.Count(data, []byte(lineBreak))
		}
		for _, finding := range findings {
			if finding.Line < 1 || finding.Line > lines+1 || finding.Column < 1 || finding.Column > utf8.RuneCount(data)+2 {
				t.Fatalf("a finding outside of the file: %v", finding)
			}
			if _, ok := lint.Lookup(finding.Code); !ok || finding.Message == "" || strings.Contains(finding.Message, "%!") {
				t.Fatalf("finding %v", finding)
			}
		}
		for _, format := range lint.Formats() {
			if err := lint.Write(io.Discard, format, findings, []string{"p.yaml"}, ""); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
		for _, fixed := range lint.Fix([]lint.File{file}, nil, actions) {
			if again := lint.Fix([]lint.File{fixed}, nil, actions); len(again) > 0 && bytes.Equal(again[0].Data, data) {
				t.Fatalf("it goes back and forth:\n%s\n%s", data, fixed.Data)
			}
		}
	})
}
