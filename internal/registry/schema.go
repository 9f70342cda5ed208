package registry

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// DocFunc tells the doc comment of a struct field, or of the type itself when
// field is empty.
type DocFunc func(t reflect.Type, field string) string

// SchemaMaker is a NodeDecoder that knows what it takes.
type SchemaMaker interface {
	JSONSchema(docs DocFunc) map[string]any
}

// schemaDialect is the JSON Schema release that Schema writes.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// durationPattern accepts what ParseDuration accepts, signs aside.
const durationPattern = `^(0|([0-9]{1,5}d)?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)$`

// Schema derives the JSON Schema of what Decode takes from the Go type, default
// values included. defaults is a pointer to the struct, holding them. docs may
// be nil. The schema says the same as the decoder on every point that JSON
// Schema can express; what depends on two settings at once is left to the decoder.
func Schema(defaults any, docs DocFunc) map[string]any {
	v := reflect.ValueOf(defaults).Elem()
	s := schemaWriter{docs: docs, defs: map[string]any{}}
	schema := s.value(v, "")
	schema["$schema"] = schemaDialect
	if len(s.defs) > 0 {
		schema["$defs"] = s.defs
	}
	return schema
}

type schemaWriter struct {
	docs DocFunc
	open []reflect.Type // the structs that are being described, outermost first
	defs map[string]any // structs that contain themselves
}

var schemaMakerType = reflect.TypeFor[SchemaMaker]()

func (s *schemaWriter) value(v reflect.Value, enum string) map[string]any {
	t := v.Type()
	if reflect.PointerTo(t).Implements(schemaMakerType) {
		return reflect.New(t).Interface().(SchemaMaker).JSONSchema(s.docs)
	}
	switch t {
	case durationType:
		return map[string]any{
			"anyOf": []any{
				map[string]any{
					"type": "string", "pattern": durationPattern, "minLength": 1,
					"patternErrorMessage": "expected a duration such as 30s, 5m, 4h or 7d",
				},
				map[string]any{"const": 0},
			},
			"examples": []any{"30s", "5m", "4h", "7d"},
		}
	case timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case secretType:
		return secretSchema()
	case nodeType:
		return map[string]any{}
	}
	if reflect.PointerTo(t).Implements(decoderType) {
		return map[string]any{} // reads its own YAML and says no more about it
	}
	switch v.Kind() {
	case reflect.Pointer:
		inner := fresh(t.Elem())
		if !v.IsNil() {
			inner = v.Elem()
		}
		return orNull(s.value(inner, enum))
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		return s.structure(v)
	case reflect.Map:
		return map[string]any{
			"type":                 []any{"object", "null"},
			"additionalProperties": s.value(fresh(t.Elem()), ""),
		}
	case reflect.Slice:
		return map[string]any{
			"type":  []any{"array", "null"},
			"items": s.value(fresh(t.Elem()), enum),
		}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		schema := map[string]any{"type": "string"}
		if enum != "" {
			words := []any{}
			for word := range strings.SplitSeq(enum, ",") {
				words = append(words, word)
			}
			schema["enum"] = words
		}
		return schema
	}
	return map[string]any{"type": "integer"}
}

func (s *schemaWriter) structure(v reflect.Value) map[string]any {
	t := v.Type()
	for _, outer := range s.open {
		if outer == t {
			return s.reference(t)
		}
	}
	s.open = append(s.open, t)
	defer func() { s.open = s.open[:len(s.open)-1] }()

	properties, required := map[string]any{}, []any{}
	s.fields(v, properties, &required)
	schema := map[string]any{
		"type":                 []any{"object", "null"},
		"properties":           properties,
		"additionalProperties": false,
	}
	if len(required) > 0 {
		schema["type"], schema["required"] = "object", required
	}
	if s.docs != nil {
		annotate(schema, s.docs(t, ""))
	}
	return schema
}

// annotate says what a value is for. Editors show Markdown where it is called that,
// and description as it stands.
func annotate(schema map[string]any, doc string) {
	if doc == "" {
		return
	}
	schema["description"] = doc
	if strings.Contains(doc, "`") {
		schema["markdownDescription"] = doc
	}
}

// reference describes a struct that contains itself once, under $defs.
func (s *schemaWriter) reference(t reflect.Type) map[string]any {
	name := strings.ReplaceAll(t.String(), ".", "_")
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = nil // ends the recursion
		outer := s.open
		s.open = nil
		s.defs[name] = s.value(fresh(t), "")
		s.open = outer
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (s *schemaWriter) fields(v reflect.Value, properties map[string]any, required *[]any) {
	for _, f := range Fields(v) {
		schema := s.value(f.Value, f.Enum)
		if f.Required {
			*required = append(*required, f.Name)
		}
		if d := Default(f.Value); d != nil {
			schema["default"] = d
		}
		if s.docs != nil {
			annotate(schema, s.docs(f.Owner, f.GoName))
		}
		if f.Example != "" {
			schema["examples"] = []any{f.Example}
		}
		properties[f.Name] = schema
	}
}

// Field is one setting of a settings struct, as Decode sees it.
type Field struct {
	Name     string // in YAML
	GoName   string
	Owner    reflect.Type // the struct that declares it: another one for inlined fields
	Value    reflect.Value
	Required bool
	Enum     string // words separated by commas, or empty
	Path     bool   // a path relative to the file
	Example  string // for editors
}

// Fields lists the settings of a struct in the order of its declaration.
func Fields(v reflect.Value) []Field {
	var fields []Field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			fields = append(fields, Fields(v.Field(i))...)
		case name == "" || name == "-":
		default:
			fields = append(fields, Field{
				Name: name, GoName: sf.Name, Owner: v.Type(), Value: v.Field(i),
				Required: sf.Tag.Get("required") == "true", Enum: sf.Tag.Get("enum"),
				Path: sf.Tag.Get("path") == "true", Example: sf.Tag.Get("example"),
			})
		}
	}
	return fields
}

// Default is the value of a setting that a user did not write, as plain JSON in
// the notation of the file; nil where nothing needs saying, such as an empty text.
func Default(v reflect.Value) any {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		return Default(v.Elem())
	}
	if v.Type() == durationType {
		if v.IsZero() {
			return nil
		}
		return FormatDuration(time.Duration(v.Int()))
	}
	switch v.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int64, reflect.Int32, reflect.Float64:
		if v.IsZero() {
			return nil
		}
	case reflect.Slice:
		if v.Len() == 0 || v.Type().Elem().Kind() == reflect.Struct {
			return nil
		}
	default:
		return nil
	}
	plain, err := soar.Plain(v.Interface())
	if err != nil {
		return nil
	}
	return plain
}

// FormatDuration writes a duration the way ParseDuration reads it: 7d, 1h30m, 15s.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d == 0 {
		return "0s"
	}
	text := ""
	if d >= day {
		text = strconv.FormatInt(int64(d/day), 10) + "d"
		d %= day
	}
	if d == 0 {
		return text
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return text + rest
}

func secretSchema() map[string]any {
	places := map[string]any{
		"env":        map[string]any{"type": "string", "minLength": 1, "description": "Name of an environment variable."},
		"file":       map[string]any{"type": "string", "minLength": 1, "description": "Path of a file; one newline at its end does not count."},
		"credential": map[string]any{"type": "string", "minLength": 1, "description": "Name of a systemd credential."},
	}
	return map[string]any{
		"type": "object", "properties": places, "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
	}
}

// orNull lets a schema take null too.
func orNull(schema map[string]any) map[string]any {
	switch t := schema["type"].(type) {
	case string:
		if _, ok := schema["enum"]; !ok {
			schema["type"] = []any{t, "null"}
			return schema
		}
	case []any:
		return schema // lists and mappings take null already
	case nil:
		if len(schema) == 0 {
			return schema
		}
	}
	return map[string]any{"anyOf": []any{schema, map[string]any{"type": "null"}}}
}

// JSONSchema says that a Text takes any scalar.
func (t *Text) JSONSchema(DocFunc) map[string]any {
	return map[string]any{"type": []any{"string", "number", "boolean", "null"}}
}
