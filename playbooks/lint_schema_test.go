package playbooks_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/erbridge/erbridge/internal/gendocs"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// The schema that editors get has the keys that the loader decodes into its Go
// types, no more and no less, and those that are required.
func TestSchemaHasTheKeysOfTheTypes(t *testing.T) {
	schema := gendocs.PlaybookSchema(nil)
	defs := schema["$defs"].(map[string]any)
	property := func(of any, name string) any { return of.(map[string]any)["properties"].(map[string]any)[name] }
	for name, part := range map[string]any{
		"playbook": schema, "cooldown": property(schema, "cooldown"),
		"enrichment": defs["enrichment"], "step": defs["step"], "retry": property(defs["step"], "retry"),
	} {
		form := part.(map[string]any)
		var keys, required []string
		for _, f := range registry.Fields(reflect.New(playbooks.DocumentTypes[name]).Elem()) {
			keys = append(keys, f.Name)
			if f.Required {
				required = append(required, f.Name)
			}
		}
		slices.Sort(keys)
		slices.Sort(required)
		if got := slices.Sorted(maps.Keys(form["properties"].(map[string]any))); !slices.Equal(got, keys) {
			t.Errorf("%s: the schema has %v, the types have %v", name, got, keys)
		}
		var got []string
		list, _ := form["required"].([]any)
		for _, key := range list {
			got = append(got, key.(string))
		}
		slices.Sort(got)
		if !slices.Equal(got, required) {
			t.Errorf("%s: the schema requires %v, the types %v", name, got, required)
		}
	}
}
