package sinks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// CompileTemplate makes a formatter of a user's jq program. Its input is the event as plain
// JSON, as the condition when sees it, and it yields one value: a text, which becomes the
// line with control characters spelled out, or an object, which becomes compact JSON. It
// has the functions at_least, which compares severities, and formatted, which gives the
// event in one of the shipped formats. The error is a *jq.SyntaxError.
func CompileTemplate(src string, o format.Options) (format.Formatter, error) {
	as := func(in any, args []any) any { return asFormat(in, args[0], o) }
	program, err := jq.Compile(src, jq.WithFunction("at_least", 1, 1, atLeast), jq.WithFunction("formatted", 1, 1, as))
	if err != nil {
		return nil, err
	}
	if message, hint := unknownField(program); message != "" {
		return nil, &jq.SyntaxError{Msg: message, Hint: hint}
	}
	return func(ev *soar.Event) ([]byte, error) {
		input, err := soar.Plain(ev)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		// The program bounds its own time.
		v, err := program.Value(context.Background(), input)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		line, err := templateLine(v)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		return line, nil
	}, nil
}

func templateLine(v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		line := format.Line(v)
		if strings.TrimSpace(line) == "" {
			return nil, fmt.Errorf("it made an empty line; which events a sink gets is what when and events say")
		}
		return []byte(line), nil
	case map[string]any:
		return format.Compact(v), nil
	case nil:
		return nil, fmt.Errorf("it made null, expected a text or an object")
	}
	return nil, fmt.Errorf("it made %s, expected a text or an object", jqType(v))
}

func jqType(v any) string {
	switch v.(type) {
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	}
	return "a number"
}

// asFormat is jq's formatted: formatted("ecs") is the event on its left in that format, an
// object where the format is JSON and a text where it is not.
func asFormat(in, name any, o format.Options) any {
	text, _ := name.(string)
	formatter, err := format.New(text, o)
	if err != nil {
		return fmt.Errorf("formatted: %w", err)
	}
	data, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("formatted: %w", err)
	}
	var ev soar.Event
	if err := json.Unmarshal(data, &ev); err != nil || ev.Type == "" {
		return fmt.Errorf("formatted(%q): expected the whole event on its left, as in: formatted(%q)", text, text)
	}
	line, err := formatter(&ev)
	if err != nil {
		return fmt.Errorf("formatted: %w", err)
	}
	var object map[string]any
	if line[0] != '{' || json.Unmarshal(line, &object) != nil {
		return string(line)
	}
	return object
}
