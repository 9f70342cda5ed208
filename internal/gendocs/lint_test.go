package gendocs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/soar"
)

// schemaWalk goes through a schema along with a value, or without one through all
// of it, and notes the properties that it meets, by their place in the schema.
type schemaWalk struct {
	defs object
	met  map[string]bool
}

func (w *schemaWalk) walk(schema object, value any, all bool, place string) {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		if all && w.met["$"+name] {
			return
		}
		w.met["$"+name] = true
		w.walk(w.defs[name].(object), value, all, name)
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		list, _ := schema[word].([]any)
		for _, form := range list {
			w.walk(form.(object), value, all, place)
		}
	}
	fields, _ := value.(map[string]any)
	if then, ok := schema["then"].(object); ok {
		do, _ := schema["if"].(object)["properties"].(object)["do"].(object)["const"].(string)
		if do != "" && (all || fields["do"] == do) {
			w.walk(then, value, all, do)
		}
	}
	properties, _ := schema["properties"].(object)
	for name, inner := range properties {
		if _, there := fields[name]; all || there {
			w.met[place+"."+name] = true
			w.walk(inner.(object), fields[name], all, place+"."+name)
		}
	}
	if items, ok := schema["items"].(object); ok {
		list, _ := value.([]any)
		if all {
			list = []any{nil}
		}
		for _, item := range list {
			w.walk(items, item, all, place)
		}
	}
	if additional, ok := schema["additionalProperties"].(object); ok {
		if all {
			w.walk(additional, nil, all, place)
		}
		for name, item := range fields {
			if _, known := properties[name]; !known {
				w.walk(additional, item, all, place)
			}
		}
	}
}

type object = map[string]any

const validPlaybooks = root + "/playbooks/testdata/valid"

func readValid(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob(validPlaybooks + "/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(validPlaybooks + "/*/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, below...)
	values := map[string]any{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := yaml.Unmarshal(data, &value); err != nil {
			t.Fatal(err)
		}
		if values[filepath.Base(file)], err = soar.Plain(value); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

// The valid playbooks use every key of the language, and every argument of every
// action; and the schema takes them.
func TestValidPlaybooksUseEveryKey(t *testing.T) {
	schema := PlaybookSchema(nil)
	compiled := compile(t, schema)
	defs := schema["$defs"].(object)
	language := schemaWalk{defs: defs, met: map[string]bool{}}
	language.walk(schema, nil, true, "playbook")
	used := schemaWalk{defs: defs, met: map[string]bool{}}
	for name, value := range readValid(t) {
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		used.walk(schema, value, false, "playbook")
	}
	if len(language.met) < 80 {
		t.Errorf("the language has %d keys; does the walk see all of the schema?", len(language.met))
	}
	for _, key := range slices.Sorted(maps.Keys(language.met)) {
		if !used.met[key] {
			t.Errorf("no valid playbook uses %s", key)
		}
	}
}
