package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Formatter puts one event into the words of a receiver, without a line end. An error
// means that this event has no form in the format, now or later.
type Formatter func(ev *soar.Event) ([]byte, error)

// ErrUnsupported is wrapped where a format has no words for a type of event.
var ErrUnsupported = errors.New("not supported")

// kindOfFormat is a format that settings may name.
type kindOfFormat struct {
	about string
	make  func(o Options) Formatter
}

var formats = map[string]kindOfFormat{
	"json": {"the event as playbooks see it, plus a summary", func(Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return JSON(ev, true), nil }
	}},
	"ecs": {"Elastic Common Schema 8.17, as JSON", func(o Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return ECS(ev, ECSOptions{Options: o}), nil }
	}},
	"ocsf": {"Open Cybersecurity Schema Framework 1.2 (remediations 1.3), as JSON", plain(OCSF)},
	"cef":  {"ArcSight Common Event Format, version 0", plain(CEF)},
	"leef": {"QRadar Log Event Extended Format 2.0, with tabs", plain(LEEF)},
	"cim":  {"Splunk Common Information Model 8.5, as flat JSON", plain(CIM)},
	"asim": {"Microsoft Sentinel ASIM (AlertEvent, AuditEvent), as flat JSON; not for telemetry", func(o Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return ASIM(ev, o) }
	}},
	"udm": {"Google SecOps Unified Data Model, as JSON", plain(UDM)},
	"text": {"one line for people", func(Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return []byte(Summary(ev)), nil }
	}},
}

func plain(f func(*soar.Event, Options) []byte) func(Options) Formatter {
	return func(o Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return f(ev, o), nil }
	}
}

// Names are the formats that New knows, in alphabetical order.
func Names() []string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// About says in a few words what a format is; empty for an unknown one.
func About(name string) string { return formats[name].about }

// New makes the formatter of a name.
func New(name string, o Options) (Formatter, error) {
	kind, ok := formats[name]
	if !ok {
		return nil, fmt.Errorf("format %q: unknown; known are %s", name, strings.Join(Names(), ", "))
	}
	return kind.make(o), nil
}
