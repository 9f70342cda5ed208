package sinks

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// FormatSettings choose the form of events at a receiver that takes any text. Settings of a
// sink embed them, and call checkFormat and formatter.
type FormatSettings struct {
	// Format is the form of an event: json (as playbooks see it), ecs (Elastic Common
	// Schema), ocsf, cef, leef, cim (Splunk), asim (Microsoft Sentinel), udm (Google
	// SecOps), text (one line for people) or template. erbridge format preview shows what
	// each makes of an alert.
	Format string `yaml:"format" enum:"json,ecs,ocsf,cef,leef,cim,asim,udm,text,template"`

	// Template is a jq program that makes what is sent, with format: template. Its input is
	// the event as JSON, as for when. A text becomes the line, with line ends and hidden
	// characters spelled out; an object becomes JSON on one line. formatted("ecs") is the event
	// in that format, so that 'formatted("ecs") | .labels.team = "soc"' adds a field. An event on
	// which the program fails is set aside as a dead letter.
	Template registry.Text `yaml:"template"`
}

// formatTemplate is the format whose form the user wrote.
const formatTemplate = "template"

// checkFormat reports what is wrong with the two settings together.
func (s *FormatSettings) checkFormat(report func(setting, hint, format string, args ...any)) {
	given := s.Template.Value != "" || s.Template.At != (registry.Position{})
	switch {
	case s.Format == formatTemplate && !given:
		report("format", `for example template: '.alert.host.name'`, "format: template needs a template")
		return
	case s.Format != formatTemplate && given:
		report("template", "set format: template", "the template is not used with format: %s", s.Format)
	}
	if !given {
		return
	}
	_, err := CompileTemplate(s.Template.Value, format.Options{})
	if err == nil {
		return
	}
	if bad, ok := errors.AsType[*jq.SyntaxError](err); ok && bad.Offset > 0 {
		report("template", bad.Hint, "at character %d: %s", bad.Offset+1, bad.Msg)
	} else if ok {
		report("template", bad.Hint, "%s", bad.Msg)
	} else {
		report("template", "", "%v", err)
	}
}

// formatter makes what the settings say. An error wraps ErrConfig.
func (s *FormatSettings) formatter(o format.Options) (format.Formatter, error) {
	f, err := NewFormatter(s.Format, s.Template.Value, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return f, nil
}

// NewFormatter makes the formatter of a name, json for none; template is the program of the name template.
func NewFormatter(name, template string, o format.Options) (format.Formatter, error) {
	if name == formatTemplate {
		return CompileTemplate(template, o)
	}
	return format.New(cmp.Or(name, "json"), o)
}

// formatEach formats the events of a batch. Those that have no form in the format are
// permanent failures, by index, and their line is nil.
func formatEach(f format.Formatter, events []soar.Event) (lines [][]byte, failed map[int]error) {
	lines = make([][]byte, len(events))
	for i := range events {
		line, err := f(&events[i])
		if err != nil {
			if failed == nil {
				failed = map[int]error{}
			}
			failed[i] = fmt.Errorf("%w: %w", ErrPermanent, err)
			continue
		}
		lines[i] = line
	}
	return lines, failed
}
