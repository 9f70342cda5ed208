package gendocs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// ofShape are the words of the loader for mistakes that a schema can see, because
// they are about the shape of one file.
var ofShape = []string{
	"unknown-key", "missing", "wrong-type", "name", "mode", "on", "on_error", "unknown-name", "technique", "condition", "step-kind", "effect",
	"unknown-action", "unknown-argument", "missing-argument", "argument-type",
}

// partly are the codes of lint for mistakes of which a schema sees some.
var partly = []string{"PB103", "PB207", "PB208", "PB405", "PB503", "PB504"}

// unsaid are broken playbooks whose mistake is one of shape and no schema sees it,
// each with the reason.
var unsaid = map[string]string{
	"a-number-for-a-text.yaml":     "the type of a field of the alert",
	"an-object-for-a-host.yaml":    "the type of a field of the alert",
	"merge-key-without-alias.yaml": "readers of YAML take << away",
	"severity-misspelt.yaml":       "a word inside of jq",
}

func sayable(code string) bool {
	return slices.ContainsFunc(ofShape, func(word string) bool {
		rule, ok := lint.Lookup(word)
		return ok && rule.Code == code
	})
}

// The schema refuses the broken playbooks whose mistake is one of shape, and none
// that is broken otherwise.
func TestBrokenPlaybooksAndTheSchema(t *testing.T) {
	schema := compile(t, PlaybookSchema(nil))
	known := actions.All(actions.Deps{})
	files, err := filepath.Glob(root + "/playbooks/testdata/broken/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if _, problems := registry.Parse(name, data); problems != nil {
			continue // no YAML
		}
		if yaml.Unmarshal(data, new(any)) != nil {
			continue // a repeated key
		}
		said, perhaps := false, false
		for _, f := range lint.Run([]lint.File{{Name: name, Data: data}}, nil, known) {
			said = said || sayable(f.Code)
			perhaps = perhaps || slices.Contains(partly, f.Code)
		}
		reason, cannot := unsaid[name]
		switch err := validate(t, schema, string(data)); {
		case err != nil && !said && !perhaps:
			t.Errorf("%s: the schema refuses what only the loader can tell: %v", name, err)
		case err != nil && cannot:
			t.Errorf("%s: the schema can tell it: %s", name, reason)
		case err == nil && said && !cannot:
			t.Errorf("%s: the schema takes it", name)
		case err != nil:
			refused[name] = true
		}
	}
	if len(refused) < 40 {
		t.Errorf("the schema refuses %d broken playbooks", len(refused))
	}
}

// wrong are values that stand in place of others.
var wrong = []string{"", "7", "true", "some words", "[]", "{}", "[7]", "{zzz: 1}"}

// mutants yields a document with one mistake after the other: a key left out, one too
// many, a value of another kind.
func mutants(doc, n *yaml.Node, path string, yield func(path string, text string)) {
	write := func(path string) {
		text, err := yaml.Marshal(doc)
		if err != nil {
			panic(err)
		}
		yield(path, string(text))
	}
	was := *n
	for _, text := range wrong {
		var other yaml.Node
		if err := yaml.Unmarshal([]byte("x: "+text), &other); err != nil {
			panic(err)
		}
		*n = *other.Content[0].Content[1]
		write(fmt.Sprintf("%s: %s", path, text))
	}
	*n = was
	switch n.Kind {
	case yaml.MappingNode:
		n.Content = append(slices.Clone(was.Content), &yaml.Node{Kind: yaml.ScalarNode, Value: "zzz"}, &yaml.Node{Kind: yaml.ScalarNode, Value: "1"})
		write(path + " with zzz")
		for i := 0; i < len(was.Content); i += 2 {
			n.Content = slices.Delete(slices.Clone(was.Content), i, i+2)
			write(path + " without " + was.Content[i].Value)
		}
		*n = was
		for key, value := range registry.Pairs(n) {
			// What stands under vars is free. An argument with an expression somewhere
			// inside is judged once that was computed.
			if key.Value != "vars" && (value.Kind == yaml.ScalarNode || !computed(value) || !strings.HasSuffix(path, ".with")) {
				mutants(doc, value, path+"."+key.Value, yield)
			}
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			mutants(doc, item, fmt.Sprintf("%s[%d]", path, i), yield)
		}
	}
}

func computed(n *yaml.Node) bool {
	return strings.Contains(n.Value, "${{") || slices.ContainsFunc(n.Content, computed)
}

// The schema and the loader are of one mind about every playbook that is one mistake
// away from a valid one: the schema takes what the loader takes, and refuses what has
// a mistake of shape.
func TestSchemaAndLoaderAgree(t *testing.T) {
	schema := compile(t, PlaybookSchema(nil))
	known := actions.All(actions.Deps{})
	tried := map[bool]int{}
	files, err := lint.Collect(os.DirFS(validPlaybooks), ".", func(name string) string { return name })
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		doc, problems := registry.Parse(file.Name, file.Data)
		if problems != nil {
			t.Fatal(problems)
		}
		mutants(doc, doc, file.Name, func(path, text string) { agree(t, schema, known, path, text, tried) })
	}
	if tried[true] < 300 || tried[false] < 3000 {
		t.Errorf("%d playbooks loaded and %d did not: are mistakes made everywhere?", tried[true], tried[false])
	}
}

func agree(t *testing.T, schema *jsonschema.Schema, known map[string]playbooks.Action, path, text string, tried map[bool]int) {
	t.Helper()
	_, problems := playbooks.Parse("p.yaml", []byte(text), known)
	tried[len(problems) == 0]++
	err := validate(t, schema, text)
	if len(problems) == 0 && err != nil {
		t.Errorf("%s: it loads, and the schema says %v", path, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if err == nil {
		for _, p := range problems {
			if slices.Contains(ofShape, p.Code) {
				t.Errorf("%s: the schema takes it, and the loader says %v", path, p)
			}
		}
	}
}
