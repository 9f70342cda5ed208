package lint_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

func lintOne(text string) []lint.Finding {
	return lint.Run([]lint.File{{Name: "books/p.yaml", Data: []byte(text)}}, nil, known())
}

func written(t *testing.T, format string, findings []lint.Finding, files ...string) string {
	t.Helper()
	var b strings.Builder
	if err := lint.Write(&b, format, findings, files, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHumanFormat(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"caret and hint", "playbook: p\nsteps:\n  - {do: alert.nte, with: {text: x}}\n", `books/p.yaml:3:10 PB401 unknown action "alert.nte"
    3 |   - {do: alert.nte, with: {text: x}}
      |          ^
  hint: did you mean "alert.note"?
`},
		{"wide characters before the place", "playbook: p\nsteps:\n  - {id: 警告, do: alert.nte}\n", `books/p.yaml:3:10 PB204 "警告" is no name for a step
    3 |   - {id: 警告, do: alert.nte}
      |          ^
  hint: small letters, digits and _, a letter first

books/p.yaml:3:18 PB401 unknown action "alert.nte"
    3 |   - {id: 警告, do: alert.nte}
      |                    ^
  hint: did you mean "alert.note"?
`},
		{"what steers a terminal", "playbook: p\ndescription: \"\u202e\"\nsteps: [{do: \"a\u202eb\", with: {text: x}}]\n", `books/p.yaml:3:14 PB401 unknown action "a\u202eb"
    3 | steps: [{do: "a·b", with: {text: x}}]
      |              ^
`},
		{"a secret is not repeated", "playbook: p\nvars: {token: 0123456789abcdef, x: 1}\nsteps: [{do: alert.nte}]\n", `books/p.yaml:2:15 PB504 a secret stands here in plain text, by the name token
    2 | vars: {token: [redacted]
      |               ^
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := written(t, "human", lintOne(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Of a long line, what stands around the place is shown.
func TestHumanFormatOfALongLine(t *testing.T) {
	got := written(t, "human", lintOne("playbook: p\nsteps: [{do: alert.note, with: {text: \""+strings.Repeat("long ", 200)+"${{ .alert.urll }} "+strings.Repeat("long ", 200)+"\"}}]\n"))
	lines := strings.Split(got, "\n")
	if len(lines) < 3 || len([]rune(lines[1])) > 140 {
		t.Fatalf("got\n%s", got)
	}
	caret := strings.IndexByte(lines[2], '^')
	if shown := []rune(lines[1]); string(shown[caret:caret+5]) != ".urll" {
		t.Errorf("the caret does not stand below the place:\n%s", got)
	}
}

func TestJSONFormat(t *testing.T) {
	var got []map[string]any
	if err := json.Unmarshal([]byte(written(t, "json", lintOne("playbook: p\nmode: enforced\nsteps: [{do: alert.note}]\n"))), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("findings %v", got)
	}
	for key, want := range map[string]any{
		"file": "books/p.yaml", "line": 2.0, "column": 7.0, "code": "PB206", "message": `unknown mode "enforced"`, "hint": `did you mean "enforce"?`,
	} {
		if got[0][key] != want {
			t.Errorf("%s is %v, want %v", key, got[0][key], want)
		}
	}
	if hint, there := got[1]["hint"]; !there || hint != "" {
		t.Errorf("a finding without a hint: %v", got[1])
	}
	if none := written(t, "json", nil); strings.TrimSpace(none) != "[]" {
		t.Errorf("no findings are %q", none)
	}
}

func TestSARIFFormat(t *testing.T) {
	findings := lintOne("playbook: p\nvars: {token: 0123456789abcdef}\nsteps: [{do: alert.nte}]\n")
	findings[0].File = "/abs/a b.yaml"
	text := written(t, "sarif", findings)
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, Version string
					Rules         []struct {
						ID string
					}
				}
			}
			ColumnKind string
			Results    []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct {
							StartLine, StartColumn int
							Snippet                struct{ Text string }
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 || len(log.Runs[0].Results) != len(findings) {
		t.Fatalf("log %s", text)
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name != "erbridge" || run.Tool.Driver.Version != "1.2.3" || run.ColumnKind != "unicodeCodePoints" {
		t.Errorf("tool %+v", run)
	}
	for i, r := range run.Results {
		f := findings[i]
		if r.RuleID != f.Code || run.Tool.Driver.Rules[r.RuleIndex].ID != f.Code || r.Level != string(f.Level) || !strings.HasPrefix(r.Message.Text, f.Message) {
			t.Errorf("result %+v of %v", r, f)
		}
		if at := r.Locations[0].PhysicalLocation.Region; at.StartLine != f.Line || at.StartColumn != f.Column {
			t.Errorf("place %+v of %v", at, f)
		}
	}
	for i, want := range []string{"file:///abs/a%20b.yaml", "books/p.yaml"} {
		if got := run.Results[i].Locations[0].PhysicalLocation.ArtifactLocation.URI; got != want {
			t.Errorf("URI %s, want %s", got, want)
		}
	}
	if strings.Contains(text, "0123456789abcdef") {
		t.Error("the secret travels on")
	}
}

func TestJUnitFormat(t *testing.T) {
	findings := lintOne("playbook: p\nsteps: [{do: \"a<\\u0001&\"}]\n")
	text := written(t, "junit", findings, "books/p.yaml", "books/good.yaml")
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	var suites struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name     string `xml:"name,attr"`
				Failures []struct {
					Type string `xml:"type,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text), &suites); err != nil {
		t.Fatal(err)
	}
	s := suites.Suites[0]
	if s.Tests != 2 || s.Failures != 1 || len(s.Cases) != 2 || len(s.Cases[0].Failures) != len(findings) || s.Cases[0].Failures[0].Type != "PB401" || len(s.Cases[1].Failures) != 0 {
		t.Errorf("suite %+v", s)
	}
}

func TestGitHubFormat(t *testing.T) {
	findings := lintOne("playbook: p\nsteps: [{do: alert.nte, with: {text: x}}]\n")
	findings[0].File, findings[0].Message = "a,b:c.yaml", "100%\nsure"
	want := "::error file=a%2Cb%3Ac.yaml,line=2,col=14,title=PB401::100%25%0Asure; did you mean \"alert.note\"?\n"
	if got := written(t, "github", findings); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := lint.Write(io.Discard, "xml", nil, nil, ""); err == nil || slices.Contains(lint.Formats(), "xml") {
		t.Errorf("xml: %v", err)
	}
}
