package lint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// samples stand for values of a kind: an action that refuses the type of one refuses
// that of all. Texts are left out, since many types can be read from some text.
var samples = map[reflect.Kind]struct{ word, value string }{
	reflect.Map:     {"an object", `{"a": 1}`},
	reflect.Slice:   {"a list", `["a"]`},
	reflect.Float64: {"a number", `7`},
	reflect.Bool:    {"true or false", `true`},
}

var wholeExpression = regexp.MustCompile(`(?s)^\s*\$\{\{(.*)\}\}\s*$`)

// computed finds arguments that are a field of the alert as it is, and of a type that
// the action does not take.
func computed(b *book) {
	for _, s := range b.steps {
		b.computedArguments(b.action(s), s.with)
	}
	if enrich := get(b.root, "enrich"); enrich != nil && enrich.Kind == yaml.MappingNode {
		for _, e := range registry.Pairs(enrich) {
			b.computedArguments(b.actions[value(get(e, "do"))], arguments(get(e, "with")))
		}
	}
}

func (b *book) computedArguments(action playbooks.Action, with map[string]*yaml.Node) {
	if action == nil {
		return
	}
	for name, n := range with {
		m := wholeExpression.FindStringSubmatch(n.Value)
		if n.Kind != yaml.ScalarNode || m == nil {
			continue
		}
		path := pathOf(m[1])
		sample, known := samples[jsonKind(typeAt(path))]
		if !known || !refuses(action, with, name, sample.value) {
			continue
		}
		b.add(n, "PB404", fmt.Sprintf("%s: .%s is %s, which %s does not take here", name, strings.Join(path, "."), sample.word, action.Spec().Name),
			"name a field of it, or make a text of it: | tostring")
	}
}

// pathOf is the path that an expression is, but for a default; nil for any other.
func pathOf(src string) []string {
	q := query(src)
	if q == nil {
		return nil
	}
	return walker{func(comparison) {}, func([]string) {}}.query(q, origin{known: true}).path
}

// refuses asks the action about a value of an argument; the others are left open.
func refuses(action playbooks.Action, with map[string]*yaml.Node, name, sample string) bool {
	src := playbooks.StepSource{
		At: registry.Position{Line: 1, Column: 1}, With: map[string]json.RawMessage{name: json.RawMessage(sample)},
		Dynamic: map[string]bool{}, Places: map[string]registry.Position{name: {Line: 2, Column: 1}},
	}
	for other := range with {
		src.Dynamic[other] = other != name
	}
	delete(src.Dynamic, name)
	return slices.ContainsFunc(action.Check("", src), func(p registry.Problem) bool {
		return p.Line == 2 && (p.Code == "wrong-type" || p.Code == "wrong-host")
	})
}
