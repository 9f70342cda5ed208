package playtest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Report is what came of a run of tests.
type Report struct {
	Files []*FileReport
}

// FileReport is about one playbook.
type FileReport struct {
	Playbook string // its name
	Source   string // its file
	File     string // the test file; empty when it has none
	Results  []*Result
	Coverage *Coverage

	suite *suite
}

// Counts tells how many tests passed and failed.
func (r *Report) Counts() (passed, failed int) {
	for _, f := range r.Files {
		for _, one := range f.Results {
			if len(one.Failures) > 0 {
				failed++
			} else {
				passed++
			}
		}
	}
	return passed, failed
}

// Percent is the coverage of all playbooks together.
func (r *Report) Percent() float64 {
	return Percent(r.coverages()...)
}

// coverages are those of the playbooks. Several test files may be about one.
func (r *Report) coverages() (all []*Coverage) {
	for _, f := range r.Files {
		if !slices.Contains(all, f.Coverage) {
			all = append(all, f.Coverage)
		}
	}
	return all
}

// Formats are the words for Write.
var Formats = []string{"human", "junit", "tap", "json"}

// Write writes the report in one of Formats. Coverage is a part of human and json,
// when it is asked for.
func (r *Report) Write(w io.Writer, format string, coverage bool) error {
	switch format {
	case "human":
		return r.human(w, coverage)
	case "junit":
		return r.junit(w)
	case "tap":
		return r.tap(w)
	case "json":
		return r.json(w, coverage)
	}
	return fmt.Errorf("format %q: there are %s", format, strings.Join(Formats, ", "))
}

// text of a failure, line by line.
func (f *Failure) lines() []string {
	lines := []string{fmt.Sprintf("%s: %s", f.Position, soar.Visible(f.Message))}
	for _, d := range f.Fields {
		lines = append(lines, "    "+d.Field)
		for _, line := range d.lines() {
			lines = append(lines, "      "+line)
		}
	}
	if f.Hint != "" {
		lines = append(lines, "    "+soar.Visible(f.Hint))
	}
	return lines
}

func oneLine(text string) string {
	if text == "" {
		return "(nothing)"
	}
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(soar.Visible(text))
}

// details are the failures of a test and the tree of its conditions.
func (r *Result) details() string {
	var b strings.Builder
	for i := range r.Failures {
		b.WriteString(strings.Join(r.Failures[i].lines(), "\n") + "\n")
	}
	b.WriteString(r.Explanation.Text())
	return b.String()
}

func (r *Report) human(w io.Writer, coverage bool) error {
	var b strings.Builder
	for _, f := range r.Files {
		for _, one := range f.Results {
			if len(one.Failures) == 0 {
				continue
			}
			fmt.Fprintf(&b, "FAIL %s: %s\n", f.Playbook, oneLine(one.Name))
			for line := range strings.Lines(one.details()) {
				b.WriteString("  " + line)
			}
		}
	}
	for _, f := range r.Files {
		switch passed, failed := f.counts(); {
		case f.File == "":
			fmt.Fprintf(&b, "none %s: there is no %s\n", f.Playbook, TestName(f.Source))
		case passed+failed == 0:
		case failed > 0:
			fmt.Fprintf(&b, "FAIL %s: %d of %d\n", f.Playbook, failed, passed+failed)
		default:
			fmt.Fprintf(&b, "ok   %s: %d\n", f.Playbook, passed)
		}
	}
	if coverage {
		fmt.Fprintf(&b, "\ncoverage %.1f%%\n", r.Percent())
		for _, c := range r.coverages() {
			for _, missed := range c.Missed() {
				fmt.Fprintf(&b, "  %s: never: %s\n", missed.Position, soar.Visible(missed.What))
			}
		}
	}
	passed, failed := r.Counts()
	fmt.Fprintf(&b, "%d passed, %d failed\n", passed, failed)
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *FileReport) counts() (passed, failed int) {
	return (&Report{Files: []*FileReport{f}}).Counts()
}

// tap writes the Test Anything Protocol, version 14.
func (r *Report) tap(w io.Writer) error {
	var b strings.Builder
	passed, failed := r.Counts()
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", passed+failed)
	n := 0
	for _, f := range r.Files {
		for _, one := range f.Results {
			n++
			// # and \ have a meaning in a description (TAP 14, "Escaping").
			name := strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(f.Playbook + ": " + oneLine(one.Name))
			if len(one.Failures) == 0 {
				fmt.Fprintf(&b, "ok %d - %s\n", n, name)
				continue
			}
			fmt.Fprintf(&b, "not ok %d - %s\n  ---\n  message: |\n", n, name)
			for line := range strings.Lines(one.details()) {
				b.WriteString("    " + line)
			}
			b.WriteString("  ...\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	File     string      `xml:"file,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit writes the form that build servers read.
func (r *Report) junit(w io.Writer) error {
	var all junitSuites
	all.Tests, all.Failures = r.Counts()
	all.Tests += all.Failures
	for _, f := range r.Files {
		passed, failed := f.counts()
		if passed+failed == 0 {
			continue
		}
		s := junitSuite{Name: f.Playbook, File: f.File, Tests: passed + failed, Failures: failed}
		var took time.Duration
		for _, one := range f.Results {
			took += one.Took
			c := junitCase{Name: oneLine(one.Name), Class: f.Playbook, File: one.File, Line: one.Line, Time: seconds(one.Took)}
			if len(one.Failures) > 0 {
				c.Failure = &junitFailure{oneLine(one.Failures[0].Message), one.details()}
			}
			s.Cases = append(s.Cases, c)
		}
		s.Time = seconds(took)
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

type jsonReport struct {
	Passed   int        `json:"passed"`
	Failed   int        `json:"failed"`
	Coverage *float64   `json:"coverage_percent,omitempty"`
	Files    []jsonFile `json:"files"`
}

type jsonFile struct {
	Playbook string         `json:"playbook"`
	File     string         `json:"file,omitempty"`
	Tests    []jsonTest     `json:"tests"`
	Missed   []CoverageItem `json:"missed,omitempty"`
}

type jsonTest struct {
	Name     string    `json:"name"`
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Passed   bool      `json:"passed"`
	Seconds  float64   `json:"seconds"`
	Failures []Failure `json:"failures,omitempty"`
	Explain  any       `json:"explain,omitempty"` // of a test that failed
}

func (r *Report) json(w io.Writer, coverage bool) error {
	out := jsonReport{Files: []jsonFile{}}
	out.Passed, out.Failed = r.Counts()
	if coverage {
		percent := r.Percent()
		out.Coverage = &percent
	}
	told := map[*Coverage]bool{}
	for _, f := range r.Files {
		file := jsonFile{Playbook: f.Playbook, File: f.File, Tests: []jsonTest{}}
		for _, one := range f.Results {
			t := jsonTest{Name: one.Name, File: one.File, Line: one.Line, Passed: len(one.Failures) == 0, Seconds: one.Took.Seconds(), Failures: one.Failures}
			if !t.Passed {
				t.Explain = one.Explanation
			}
			file.Tests = append(file.Tests, t)
		}
		if coverage && !told[f.Coverage] {
			told[f.Coverage] = true
			file.Missed = f.Coverage.Missed()
		}
		out.Files = append(out.Files, file)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
