package format

import (
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// Formatter puts one event into the words of a receiver, without a line end.
type Formatter func(ev *soar.Event) ([]byte, error)

// formatters are the formats that settings may name.
var formatters = map[string]func(o Options) Formatter{
	"json": func(Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return JSON(ev, true), nil }
	},
	"ecs": func(o Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return ECS(ev, ECSOptions{Options: o}), nil }
	},
	"cef": func(o Options) Formatter {
		return func(ev *soar.Event) ([]byte, error) { return CEF(ev, o), nil }
	},
}

// Names are the formats that New knows.
func Names() []string {
	var names []string
	for name := range formatters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New makes the formatter of a name.
func New(name string, o Options) (Formatter, error) {
	kind, ok := formatters[name]
	if !ok {
		return nil, fmt.Errorf("format %q: unknown; known are %v", name, Names())
	}
	return kind(o), nil
}
