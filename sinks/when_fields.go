package sinks

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// unknownField finds a field that a program on events reads and that no event can have,
// which jq itself takes for null: a condition with a slip in it would deliver nothing, and
// say nothing. The message is empty when there is none.
func unknownField(program *jq.Program) (message, hint string) {
	for _, path := range program.Fields() {
		if message, hint = missingField(reflect.TypeFor[soar.Event](), path); message != "" {
			return message, hint
		}
	}
	return "", ""
}

// missingField follows a path of jq, in which [] stands for the items of a list, as far as
// the types tell what is there.
func missingField(t reflect.Type, path []string) (message, hint string) {
	for i, name := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if ownJSON(t) {
			return "", ""
		}
		switch t.Kind() {
		case reflect.Struct:
			field, names := jsonField(t, name)
			if field == nil {
				hint = "there are " + strings.Join(names, ", ")
				if near := registry.Nearest(name, names); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				return "there is no field ." + strings.ReplaceAll(strings.Join(path[:i+1], "."), ".[]", "[]"), hint
			}
			t = field
		case reflect.Map, reflect.Slice:
			t = t.Elem()
		default:
			return "", ""
		}
	}
	return "", ""
}

// ownJSON reports whether a type decides itself what its JSON looks like.
func ownJSON(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// jsonField is the type of the field that has a name in JSON, and nil with the names that
// there are when there is none.
func jsonField(t reflect.Type, name string) (field reflect.Type, names []string) {
	for _, f := range reflect.VisibleFields(t) {
		known, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || known == "-" || f.Anonymous && known == "":
			continue
		case known == "":
			known = f.Name
		}
		if known == name {
			return f.Type, nil
		}
		names = append(names, known)
	}
	return nil, names
}
