package playbooks

import "github.com/erbridge/erbridge/internal/registry"

// JSONSchema takes lists by name.
func (*listsByName) JSONSchema(docs registry.DocFunc) map[string]any {
	items := object{"type": "array", "items": object{"type": []any{"string", "number", "boolean", "null"}}}
	return object{
		"type": []any{"object", "null"}, "maxProperties": maxLists, "propertyNames": object{"pattern": stepName.String()},
		"additionalProperties": object{"anyOf": []any{items, fragment(new(listDocument), docs)}},
	}
}

// TypeName is the word for it.
func (*listsByName) TypeName() string { return "mapping of names to lists, or to `{file: name}`" }

// TypeName is the word for it.
func (*listFileName) TypeName() string { return "name of a file" }

// Holds is what stands inside.
func (*listsByName) Holds() any { return new(listDocument) }
