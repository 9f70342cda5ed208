package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// arguments reads a with block into a settings struct, strictly. At lint time
// some values are not known yet (dynamic): they count as given, and nothing is
// said about them.
type arguments struct {
	values  map[string]any
	dynamic map[string]bool
	parts   map[string]map[string]json.RawMessage // items of dynamic mappings; nil for those that are dynamic
	// evaluated are those of a call, none of which is dynamic.
	evaluated bool
	problems  []argumentProblem
}

// argumentProblem is a mistake in one argument, or in the block when key is "".
type argumentProblem struct {
	key string
	registry.Problem
}

func literalArguments(step playbooks.StepSource) *arguments {
	a := &arguments{values: map[string]any{}, dynamic: step.Dynamic, parts: step.Parts}
	for key, raw := range step.With {
		value, err := plainValue(raw)
		if err != nil {
			a.refuse(key, "", "not a plain value")
			continue
		}
		a.values[key] = value
	}
	return a
}

func plainValue(raw json.RawMessage) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

// given reports whether an argument stands in the with block.
func (a *arguments) given(key string) bool {
	_, given := a.values[key]
	return given || a.dynamic[key]
}

// items are those of an argument that is a mapping, and the names of those that are
// computed; known is false where all of it is.
func (a *arguments) items(key string) (values map[string]any, computed []string, known bool) {
	if a.known(key) {
		values, _ = a.values[key].(map[string]any)
		return values, nil, true
	}
	parts, known := a.parts[key]
	values = map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if value, err := plainValue(parts[name]); parts[name] != nil && err == nil {
			values[name] = value
		} else {
			computed = append(computed, name)
		}
	}
	return values, computed, known
}

func evaluatedArguments(with map[string]any) *arguments {
	return &arguments{values: with, evaluated: true}
}

// known reports whether the value of an argument can be judged: it stands in
// the file, or it is absent and the default holds.
func (a *arguments) known(key string) bool { return !a.dynamic[key] }

// refuse adds a problem with an argument.
func (a *arguments) refuse(key, hint, format string, args ...any) {
	a.problems = append(a.problems, argumentProblem{key, registry.Problem{Code: "argument", Message: fmt.Sprintf(format, args...), Hint: hint}})
}

// decode reads the values into dst, a pointer to a settings struct.
//
// It hands them to the decoder of configuration files, one line per argument, so
// that playbooks and configuration follow the same rules; the line of a problem
// then tells which argument it is about.
func (a *arguments) decode(dst any) {
	keys := slices.Sorted(maps.Keys(a.values))
	for key := range a.dynamic {
		if _, both := a.values[key]; !both {
			keys = append(keys, key)
		}
	}
	const firstLine = 2 // line 1 is the block itself
	block := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	for i, key := range keys {
		line := firstLine + i
		block.Content = append(block.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key, Line: line, Column: 1}, valueNode(a.values[key], line))
	}
	for _, p := range registry.Decode("", block, dst) {
		key := ""
		if p.Line >= firstLine {
			key = keys[p.Line-firstLine]
		}
		if key != "" && a.dynamic[key] && p.Code != "unknown-key" {
			continue
		}
		a.problems = append(a.problems, argumentProblem{key, p})
	}
	a.refuseEmpty(reflect.ValueOf(dst).Elem())
}

// refuseEmpty says so when a text or list is given and empty that is required, or that
// narrows down what a call is about (`filled:"true"`): a jq path that leads nowhere must
// not become a call without a target, or one about everything.
func (a *arguments) refuseEmpty(v reflect.Value) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("yaml"), ",")
		if options == "inline" {
			a.refuseEmpty(v.Field(i))
			continue
		}
		narrows := tag.Get("filled") == "true"
		if _, given := a.values[name]; !given || a.dynamic[name] || tag.Get("required") != "true" && !narrows || a.wrong(name) {
			continue
		}
		hint := ""
		if narrows {
			hint = "leave it out, or see to it that there is a value"
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			if strings.TrimSpace(f.String()) == "" {
				a.refuse(name, hint, "is empty")
			}
		case reflect.Slice:
			if f.Len() == 0 {
				a.refuse(name, hint, "is empty")
			}
		}
	}
}

func (a *arguments) wrong(key string) bool {
	return slices.ContainsFunc(a.problems, func(p argumentProblem) bool { return p.key == key })
}

// at gives the problems their places in the playbook.
func (a *arguments) at(file string, step playbooks.StepSource) registry.Problems {
	var problems registry.Problems
	for _, p := range a.problems {
		place, ok := step.Places[p.key]
		if !ok {
			place = step.At
		}
		if place.File == "" {
			place.File = file
		}
		p.Problem.Position = place
		p.Problem.Message = p.text()
		problems = append(problems, p.Problem)
	}
	return problems
}

// err puts the problems of a call into words; such a call is never sent.
func (a *arguments) err() error {
	var errs []error
	for _, p := range a.problems {
		errs = append(errs, errors.New(p.text()))
	}
	return errors.Join(errs...)
}

func (p argumentProblem) text() string {
	if p.key == "" || p.Code == "unknown-key" {
		return strings.Replace(p.Message, "setting", "argument", 1)
	}
	return p.key + ": " + p.Message
}

// valueNode is a plain JSON value as a YAML node, all of it on one line.
func valueNode(value any, line int) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text, Line: line, Column: 1}
	}
	switch v := value.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case string:
		return scalar("!!str", v)
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return scalar("!!float", v.String())
		}
		return scalar("!!int", v.String())
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return scalar("!!int", strconv.FormatFloat(v, 'f', -1, 64))
		}
		return scalar("!!float", strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: line, Column: 1}
		for _, item := range v {
			n.Content = append(n.Content, valueNode(item, line))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line, Column: 1}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, scalar("!!str", key), valueNode(v[key], line))
		}
		return n
	}
	if plain, err := soar.Plain(value); err == nil && reflect.TypeOf(plain) != reflect.TypeOf(value) {
		return valueNode(plain, line)
	}
	return scalar("!!unknown", fmt.Sprintf("%T", value))
}

// Host is a host identifier. It takes part in comma lists on the wire, so one
// that contains a comma would address two hosts.
type Host string

// DecodeYAML reads and checks an identifier.
func (h *Host) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	var text string
	if problems := registry.Decode(file, n, &text); len(problems) > 0 {
		return problems
	}
	if text == "" { // it would be no host, or every one
		var problems registry.Problems
		problems.Addf(registry.At(file, n), "wrong-host", "name one host by its host identifier", "is empty")
		return problems
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == ',' || r == '/' || soar.IsHidden(r) }) {
		var problems registry.Problems
		problems.Addf(registry.At(file, n), "wrong-host", "name one host by its host identifier", "%q is not a host identifier", text)
		return problems
	}
	*h = Host(text)
	return nil
}

// JSONSchema says the same to editors.
func (*Host) JSONSchema(registry.DocFunc) map[string]any {
	return map[string]any{"type": "string", "minLength": 1, "pattern": `^[^\s,/]+$`}
}

// HostRef is a host identifier or the server's number of the host.
type HostRef string

// DecodeYAML reads a text or a number.
func (h *HostRef) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		*h = HostRef(n.Value)
		return nil
	}
	return (*Host)(h).DecodeYAML(file, n)
}

// JSONSchema says the same to editors.
func (*HostRef) JSONSchema(docs registry.DocFunc) map[string]any {
	return map[string]any{"anyOf": []any{new(Host).JSONSchema(docs), map[string]any{"type": "integer"}}}
}

// Moment is a point in time. Event columns are texts, so digits in a text are as good
// as a number.
type Moment time.Time

// IsZero reports whether none is given.
func (m Moment) IsZero() bool { return time.Time(m).IsZero() }

// DecodeYAML reads seconds since 1970, or RFC 3339; nothing at all is the zero moment.
func (m *Moment) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	var problems registry.Problems
	if n.Kind == yaml.ScalarNode {
		if n.Value == "" || n.Tag == "!!null" {
			return nil
		}
		if seconds, err := strconv.ParseInt(n.Value, 10, 64); err == nil && seconds > 0 {
			*m = Moment(time.Unix(seconds, 0).UTC())
			return nil
		}
		if t, err := time.Parse(time.RFC3339, n.Value); err == nil {
			*m = Moment(t.UTC())
			return nil
		}
	}
	problems.Addf(registry.At(file, n), "wrong-type", "", "expected seconds since 1970 or a time such as 2026-05-04T10:00:00Z, found %.40q", n.Value)
	return problems
}

// JSONSchema says the same to editors.
func (*Moment) JSONSchema(registry.DocFunc) map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 1},
		map[string]any{"type": "string", "pattern": `^$|^[0-9]+$|^[0-9]{4}-[0-9]{2}-[0-9]{2}T`},
	}}
}

// Number is a whole number above zero. Event columns are texts, so digits in a
// text are as good.
type Number int64

// DecodeYAML reads a number or a text of digits.
func (v *Number) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	var problems registry.Problems
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!str") {
		if parsed, err := strconv.ParseInt(n.Value, 10, 64); err == nil && parsed > 0 {
			*v = Number(parsed)
			return nil
		}
	}
	found := n.Value
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		found = "something else"
	}
	problems.Addf(registry.At(file, n), "wrong-type", "", "expected a whole number above 0, found %.40q", found)
	return problems
}

// JSONSchema says the same to editors.
func (*Number) JSONSchema(registry.DocFunc) map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 1},
		map[string]any{"type": "string", "pattern": `^0*[1-9][0-9]*$`},
	}}
}
