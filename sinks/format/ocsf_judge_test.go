package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	// The module has the JSON Schemas of schema.ocsf.io among its files; this keeps it in go.mod.
	_ "github.com/valllabh/ocsf-schema-golang/ocsfjson"

	"github.com/erbridge/erbridge/internal/soar"
)

// ocsfSchemas are the JSON Schemas of OCSF 1.2.0 by class_uid.
var ocsfSchemas = map[int]string{
	0: "base_event", 2004: "detection_finding", 1001: "file_activity", 1005: "module_activity", 1007: "process_activity",
	4001: "network_activity", 4003: "dns_activity",
}

var ocsfFolder = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/valllabh/ocsf-schema-golang").Output()
	return strings.TrimSpace(string(out)), err
})

// readOCSF reads a schema and makes it strict: an attribute that it does not name is a
// mistake. The published schemas have all profiles switched on, so that what only a
// profile requires which the document does not declare is taken out.
func readOCSF(t testing.TB, name string) map[string]any {
	t.Helper()
	folder, err := ocsfFolder()
	if err != nil {
		t.Fatalf("where is the schema: %v", err)
	}
	packed, err := os.ReadFile(filepath.Join(folder, "ocsfvalidate", "1.2", "jsonschema", "classes_"+name+".json.zst"))
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	v, err := jsonschema.UnmarshalJSON(decoder)
	if err != nil {
		t.Fatal(err)
	}
	schema := v.(map[string]any)
	strict(schema)
	for _, def := range schema["$defs"].(map[string]any) {
		strict(def.(map[string]any))
	}
	schema["required"] = slices.DeleteFunc(schema["required"].([]any), func(name any) bool { return name == "cloud" })
	return schema
}

func strict(schema map[string]any) {
	if schema["additionalProperties"] == nil && schema["properties"] != nil {
		schema["additionalProperties"] = false
	}
}

// remedySchema is the schema of the remediation classes, which came with 1.3.0 and are not
// in the module. It is written from their definition (github.com/ocsf/ocsf-schema,
// events/remediation), on top of the base event and the objects of 1.2.0.
func remedySchema(t testing.TB, class int) map[string]any {
	t.Helper()
	schema := readOCSF(t, "process_activity")
	objects, base := schema["$defs"], readOCSF(t, "base_event")
	properties := base["properties"].(map[string]any)
	base["$defs"] = objects
	properties["class_uid"] = map[string]any{"const": json.Number(fmt.Sprint(class))}
	properties["category_uid"] = map[string]any{"const": json.Number("7")}
	properties["activity_id"] = map[string]any{"enum": numbers(0, 1, 2, 3, 4, 99)}
	properties["status_id"] = map[string]any{"enum": numbers(0, 1, 2, 3, 4, 5, 6, 99)}
	properties["type_uid"] = map[string]any{"enum": numbers(class*100, class*100+1, class*100+2, class*100+3, class*100+4, class*100+99)}
	properties["command_uid"] = map[string]any{"type": "string", "minLength": json.Number("1")}
	for _, object := range []string{"device", "process", "file"} {
		properties[object] = map[string]any{"$ref": "#/$defs/" + object}
	}
	properties["remediation"] = map[string]any{"type": "object", "required": []any{"desc"}}
	required := append(base["required"].([]any), "command_uid")
	switch class {
	case 7002:
		required = append(required, "file")
	case 7003:
		required = append(required, "process")
	}
	base["required"] = required
	return base
}

// registrySchema is the schema of the classes of the Windows extension, which the module
// names and does not have: process activity with a registry object instead of a process
// (the same module, schema/v1.2-schema.json).
func registrySchema(t testing.TB, class int) map[string]any {
	t.Helper()
	schema := readOCSF(t, "process_activity")
	properties := schema["properties"].(map[string]any)
	properties["class_uid"] = map[string]any{"const": json.Number(fmt.Sprint(class))}
	properties["activity_id"] = map[string]any{"enum": numbers(0, 1, 2, 3, 4, 99)}
	properties["type_uid"] = map[string]any{"enum": numbers(class*100, class*100+1, class*100+2, class*100+3, class*100+4, class*100+99)}
	text := map[string]any{"type": "string", "minLength": json.Number("1")}
	object, attributes := "reg_key", map[string]any{"path": text}
	required := []any{"path"}
	if class == 201002 {
		object, attributes, required = "reg_value", map[string]any{"path": text, "name": text, "type": text, "data": true}, []any{"path", "name"}
	}
	delete(properties, "process")
	properties[object] = map[string]any{"type": "object", "properties": attributes, "required": required, "additionalProperties": false}
	schema["required"] = append(slices.DeleteFunc(schema["required"].([]any), func(name any) bool { return name == "process" }), object)
	return schema
}

func numbers(ns ...int) []any {
	var list []any
	for _, n := range ns {
		list = append(list, json.Number(fmt.Sprint(n)))
	}
	return list
}

var ocsfCompiled sync.Map // class_uid to *jsonschema.Schema

func ocsfSchema(t testing.TB, class int) *jsonschema.Schema {
	t.Helper()
	if s, ok := ocsfCompiled.Load(class); ok {
		return s.(*jsonschema.Schema)
	}
	var doc map[string]any
	switch name := ocsfSchemas[class]; {
	case name != "" || class == 0:
		doc = readOCSF(t, name)
	case class == 201001, class == 201002:
		doc = registrySchema(t, class)
	case class >= 7001 && class <= 7003:
		doc = remedySchema(t, class)
	default:
		t.Fatalf("class_uid %d is of no schema", class)
	}
	c := jsonschema.NewCompiler()
	address := fmt.Sprintf("https://schema.ocsf.io/class/%d", class)
	doc["$id"] = address
	if err := c.AddResource(address, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(address)
	if err != nil {
		t.Fatal(err)
	}
	ocsfCompiled.Store(class, s)
	return s
}

// checkOCSF holds a document against the schema of its class, and against what the schema
// says in words: the sums of the uids, and objects that must not be empty.
func checkOCSF(t testing.TB, data []byte) map[string]any {
	t.Helper()
	if bytes.ContainsAny(data, "\r\n") || bytes.ContainsFunc(data, soar.IsHidden) {
		t.Fatalf("not one plain line: %q", data)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	doc := v.(map[string]any)
	whole := func(name string) int {
		n, err := doc[name].(json.Number).Int64()
		if err != nil {
			t.Fatalf("%s is no whole number in %s", name, data)
		}
		return int(n)
	}
	class, activity := whole("class_uid"), whole("activity_id")
	if whole("type_uid") != class*100+activity {
		t.Fatalf("type_uid %v of class %d, activity %d", doc["type_uid"], class, activity)
	}
	if err := ocsfSchema(t, class).Validate(doc); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	whole("time")
	readObject(t, data)
	noEmpty(t, doc, "")
	constraints(t, doc, "")
	return doc
}

// atLeastOne are the objects of 1.2.0 that must have one of some attributes.
var atLeastOne = map[string][]string{
	"actor":        {"process", "user", "invoked_by", "session", "app_name", "app_uid"},
	"evidences":    {"actor", "api", "connection_info", "data", "database", "databucket", "dst_endpoint", "file", "process", "query", "src_endpoint"},
	"attacks":      {"tactic", "technique", "sub_technique"},
	"device":       {"ip", "uid", "name", "hostname", "instance_uid", "interface_uid", "interface_name"},
	"resources":    {"name", "uid"},
	"process":      {"pid", "uid"},
	"user":         {"account", "name", "uid"},
	"src_endpoint": {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain"},
	"dst_endpoint": {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain"},
}

func constraints(t testing.TB, v any, path string) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			constraints(t, item, path)
		}
	case map[string]any:
		name := path[strings.LastIndexByte(path, '.')+1:]
		if one := atLeastOne[name]; one != nil && !strings.HasPrefix(path, ".unmapped") && !strings.Contains(path, ".data") {
			if !slices.ContainsFunc(one, func(key string) bool { return v[key] != nil }) {
				t.Fatalf("%s has none of %v: %v", path, one, v)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if unmapped := strings.HasPrefix(path, ".unmapped"); !unmapped && (key == "time" || strings.HasSuffix(key, "_time") && key != "original_time") {
				readTime(t, path+"."+key, v[key])
			} else if !unmapped && key == "pid" {
				readPID(t, path+"."+key, v[key])
			}
			constraints(t, v[key], path+"."+key)
		}
	}
}

func TestOCSFOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkOCSF(t, OCSF(&ev, options)) })
	}
}
