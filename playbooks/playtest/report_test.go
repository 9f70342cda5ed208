package playtest_test

import (
	"encoding/xml"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"github.com/erbridge/erbridge/playbooks/playtest"
)

// Names and alerts hold what an attacker chose. No format obeys it, and each says it.
func TestHostileNames(t *testing.T) {
	const name = "a\rb\tc\nnot ok 7 # TODO \\ \x1b[2J <\"&> ]]> \u202egpj.exe \x00"
	fsys := fstest.MapFS{
		"p.yaml": {Data: []byte(`playbook: p
match: {any: [{"odd \e[2J": .alert.host.name == "x"}, {b: .alert.event.cmdline == "y"}]}
steps: [{id: note, do: alert.note, with: {text: hello}}]`)},
		"p_test.yaml": {Data: []byte(`alert: {id: "1\e[2J", host: {name: "evil\u202egpj.exe \e]0;t\a"}, event: {cmdline: "a -> b <c> \r\n\u202e"}}
tests: [{name: "a\rb\tc\nnot ok 7 # TODO \\ \e[2J <\"&> ]]> \u202egpj.exe \0", expect: {verdict: match}}]`)},
	}
	report := run(t, playtest.Options{}, playtest.Place{FS: fsys})
	for _, format := range []string{"human", "tap", "junit"} {
		got := text(t, report, format)
		if i := strings.IndexFunc(got, func(r rune) bool {
			return r != '\n' && (unicode.IsControl(r) || r == '\u202e' || r == unicode.ReplacementChar)
		}); i >= 0 {
			t.Errorf("%s: %q at %d:\n%s", format, got[i:min(len(got), i+10)], i, got)
		}
		if format != "junit" && !strings.Contains(got, `.alert.event.cmdline is "a -> b <c> \r\nU+202E"`) {
			t.Errorf("%s:\n%s", format, got)
		}
	}
	const shown = `a\x0db\tc\nnot ok 7 # TODO \ \x1b[2J <"&> ]]> U+202Egpj.exe \x00`
	tap := strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(shown)
	if got := text(t, report, "tap"); !strings.HasPrefix(got, "TAP version 14\n1..1\nnot ok 1 - p: "+tap+"\n  ---\n") {
		t.Errorf("tap:\n%s", got)
	}
	var junit struct {
		Suites []struct {
			Cases []struct {
				Name string `xml:"name,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text(t, report, "junit")), &junit); err != nil || junit.Suites[0].Cases[0].Name != shown {
		t.Errorf("junit: %v %+v", err, junit)
	}
	if got := report.Files[0].Results[0].Name; got != name {
		t.Errorf("the name is %q", got)
	}
}
