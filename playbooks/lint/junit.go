package lint

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The XML that CI servers know as JUnit's: one case for each file.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name     string         `xml:"name,attr"`
		Class    string         `xml:"classname,attr"`
		File     string         `xml:"file,attr"`
		Failures []junitFailure `xml:"failure"`
		Output   string         `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, findings []Finding, files []string) error {
	suite := junitSuite{Name: "erbridge playbook lint", Tests: len(files)}
	for _, file := range files {
		c := junitCase{Name: file, Class: "playbook.lint", File: file}
		for _, f := range findings {
			if f.File != file {
				continue
			}
			text := strings.TrimSpace(fmt.Sprintf("%s\n%s", f, f.Hint))
			if f.Level == Error {
				c.Failures = append(c.Failures, junitFailure{f.Code, f.Message, text})
			} else {
				c.Output += text + "\n" // a warning fails nothing
			}
		}
		if len(c.Failures) > 0 {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
