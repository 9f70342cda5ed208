package playbooks

import "reflect"

// DocumentTypes are the types that the loader decodes the parts of a playbook into.
var DocumentTypes = map[string]reflect.Type{
	"playbook":   reflect.TypeFor[document](),
	"cooldown":   reflect.TypeOf(document{}.Cooldown).Elem(),
	"enrichment": reflect.TypeFor[enrichDocument](),
	"step":       reflect.TypeFor[stepDocument](),
	"retry":      reflect.TypeOf(stepDocument{}.Retry).Elem(),
}
