package sinks

import (
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// CompileWhen reads a condition as the setting `when` takes it: jq, and the
// function at_least that compares severities.
func CompileWhen(src string) (Condition, error) {
	program, err := jq.Compile(src, jq.WithFunction("at_least", 1, 1, atLeast))
	if err != nil {
		return nil, err // not program: a nil pointer in an interface is not nil
	}
	return program, nil
}

// compile reads the setting when.
func (c *Config) compile() (problem *registry.Problem) {
	c.when, problem = compileWhen(c.When)
	return problem
}

// compileWhen reads a condition of the configuration; an empty one is nil.
func compileWhen(text registry.Text) (Condition, *registry.Problem) {
	if text == (registry.Text{}) {
		return nil, nil
	}
	when, err := CompileWhen(text.Value)
	if err == nil {
		if program, ok := when.(*jq.Program); ok {
			if message, hint := unknownField(program); message != "" {
				return nil, &registry.Problem{Position: text.At, Code: "unknown-field", Message: "when: " + message, Hint: hint}
			}
		}
		return when, nil
	}
	p := registry.Problem{Position: text.At, Code: "jq", Message: "when: " + err.Error()}
	if bad, ok := errors.AsType[*jq.SyntaxError](err); ok {
		p.Hint = bad.Hint
		if bad.Offset > 0 {
			p.Message = fmt.Sprintf("when: at character %d: %s", bad.Offset+1, bad.Msg)
		}
	}
	return nil, &p
}

// atLeast is jq's at_least: .alert.severity | at_least("high").
func atLeast(in any, args []any) any {
	have, ok := in.(string)
	if !ok {
		return fmt.Errorf("at_least: expected a severity on its left, found %T", in)
	}
	want, ok := args[0].(string)
	severity, known := soar.ParseSeverity(want)
	if !ok || !known {
		return fmt.Errorf("at_least: %v is no severity; known are info, low, medium, high, critical", args[0])
	}
	severityOf, _ := soar.ParseSeverity(have)
	return severityOf.AtLeast(severity)
}
