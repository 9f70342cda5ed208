package playbooks

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// jobStep is the id of the one step of a job's playbook.
const jobStep = "host"

// writeJob writes the playbook of a job. The same order has the same text, and so the same
// version. The arguments stand in it as values, which no expression reads.
func (e *Engine) writeJob(o *JobOrder) (*Playbook, error) {
	if o.AtOnce == 0 {
		o.AtOnce = DefaultAtOnce
	}
	argument, spec, err := o.check(e.actions)
	if err != nil {
		return nil, err
	}
	with := map[string]any{}
	for name, value := range o.With {
		with[name] = escaped(value)
	}
	with[argument.name] = argument.value("${{ .item.id }}")
	step := yaml.Node{Kind: yaml.MappingNode}
	put := func(to *yaml.Node, name string, value any) {
		to.Content = append(to.Content, valueOf(name), valueOf(value))
	}
	put(&step, "id", jobStep)
	put(&step, "for_each", ".input.hosts")
	put(&step, "max_parallel", float64(jobPart)) // the guard lets fewer go out
	put(&step, "on_error", "continue")
	if o.Wait > 0 {
		put(&step, "wait", registry.FormatDuration(o.Wait))
	}
	if o.Timeout > 0 {
		put(&step, "timeout", registry.FormatDuration(o.Timeout))
	}
	put(&step, "do", spec.Name)
	put(&step, "with", with)
	book := yaml.Node{Kind: yaml.MappingNode}
	put(&book, "playbook", jobName(spec.Name))
	put(&book, "description", "Written for a job: "+spec.Name+" on many hosts.")
	put(&book, "on", onManual)
	book.Content = append(book.Content, valueOf("steps"), &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{&step}})
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := enc.Encode(&book); err != nil {
		return nil, badJob("its arguments cannot be written down: %v", err)
	}
	pb, err := e.write(jobName(spec.Name), text.Bytes())
	if problems, ok := err.(registry.Problems); ok { //nolint:errorlint // it is not wrapped
		return nil, badJob("%s", argument.mistakes(problems, o))
	}
	return pb, err
}

// mistakes says what is wrong with an order, without the places in a text that nobody
// wrote. Where an argument is none of the action's, it says what the action takes.
func (h hostArgument) mistakes(problems registry.Problems, o *JobOrder) string {
	takes := ""
	for name := range o.With {
		if !slices.Contains(h.others, name) {
			takes = fmt.Sprintf("; %s takes %s", o.Action, cmp.Or(strings.Join(h.others, ", "), "nothing but the host"))
		}
	}
	var words []string
	for _, p := range problems {
		word := p.Message
		if p.Hint != "" && (takes == "" || p.Instead != "") { // else it lists the same
			word += " (" + p.Hint + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, "; ") + takes
}

// jobName is the name of the playbook of jobs that do an action, by which limits, budgets
// and freezes of the guard may speak of them: job-script-run.
func jobName(action string) string { return "job-" + strings.ReplaceAll(action, ".", "-") }

// escaped is a value in which nothing is an expression.
func escaped(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "${{", "$${{")
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = escaped(item)
		}
		return list
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, item := range v {
			fields[name] = escaped(item)
		}
		return fields
	}
	return value
}

// valueOf is a plain JSON value as YAML that can be read in one way only.
func valueOf(value any) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	switch v := value.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return scalar("!!int", strconv.FormatFloat(v, 'f', -1, 64))
		}
		return scalar("!!float", strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			n.Content = append(n.Content, valueOf(item))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, valueOf(name), valueOf(v[name]))
		}
		return n
	}
	text := scalar("!!str", fmt.Sprint(value))
	text.Style = yaml.DoubleQuotedStyle
	return text
}
