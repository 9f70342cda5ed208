package lint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// outputs finds fields that the action behind a step or enrichment never returns.
func outputs(b *book) {
	types := b.outputTypes()
	for _, e := range b.expressions() {
		reads(b.query(e.src), func(path []string) {
			of, fields := output(path)
			t, known := types[of]
			if !known || len(fields) == 0 {
				return
			}
			depth, names := missingField(t, fields)
			if depth < 0 {
				return
			}
			hint := "known: " + strings.Join(names, ", ")
			if near := registry.Nearest(fields[depth], names); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			at := b.placeIn(e.node, e.offset+lastField(e.src, fields[depth]))
			b.addAt(at, "PB314", fmt.Sprintf("%s has no field .%s", of, strings.ReplaceAll(strings.Join(fields[:depth+1], "."), ".[]", "[]")), hint)
		})
	}
}

// outputTypes are the Go types of what steps and enrichments hold, by the paths that
// lead to them. Steps that call or go side by side have none.
func (b *book) outputTypes() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	note := func(path string, action playbooks.Action) {
		if action == nil {
			return
		}
		if t := reflect.TypeOf(action.Spec().Output); t != nil && t.Kind() == reflect.Struct {
			types[path] = t
		}
	}
	for _, s := range b.steps {
		note(".steps."+s.id+".output", b.action(s))
	}
	if enrich := get(b.root, "enrich"); enrich != nil && enrich.Kind == yaml.MappingNode {
		for key, e := range registry.Pairs(enrich) {
			note(".enrich."+key.Value, b.actions[value(get(e, "do"))])
		}
	}
	return types
}

// output splits a path into that of an output, and the fields below it.
func output(path []string) (of string, fields []string) {
	switch {
	case len(path) > 2 && path[0] == "enrich":
		return ".enrich." + path[1], path[2:]
	case len(path) > 3 && path[0] == "steps":
		rest := path[2:]
		if rest[0] == "[]" { // of a for_each
			rest = rest[1:]
		}
		if len(rest) > 1 && rest[0] == "output" {
			return ".steps." + path[1] + ".output", rest[1:]
		}
	}
	return "", nil
}

// missingField follows fields through a type's JSON; depth is the first that is not
// there, with the names that are, or -1.
func missingField(t reflect.Type, fields []string) (depth int, names []string) {
	for i, field := range fields {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case field == "[]" && t.Kind() == reflect.Slice:
			t = t.Elem()
			continue
		case field == "[]" || t.Kind() != reflect.Struct || t.PkgPath() == "time":
			return -1, nil
		}
		known := jsonFields(t)
		next, ok := known[field]
		if !ok {
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			return i, names
		}
		t = next
	}
	return -1, nil
}

func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = f.Type
	}
	return fields
}

// lastField is where a field stands in an expression, by its name.
func lastField(src, field string) int {
	return max(strings.LastIndex(src, "."+field), 0)
}
