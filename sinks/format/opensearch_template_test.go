package format

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestTemplatesNameTheTypes: what is no text in a document has its type in the
// templates, so that the first document does not decide it for all that follow.
func TestTemplatesNameTheTypes(t *testing.T) {
	for name, data := range map[string][]byte{"Elasticsearch": ECSTemplate, "OpenSearch": OpenSearchTemplate} {
		t.Run(name, func(t *testing.T) {
			types := templateTypes(t, data)
			if want := map[string]string{"Elasticsearch": "flattened", "OpenSearch": "flat_object"}[name]; types["eclecticiq.er.columns"] != want {
				t.Errorf("columns are %q, want %q: any administrator of a host can invent their names", types["eclecticiq.er.columns"], want)
			}
			for event, ev := range cases() {
				var doc map[string]any
				if err := json.Unmarshal(ECS(&ev, ECSOptions{Namespace: "default"}), &doc); err != nil {
					t.Fatal(err)
				}
				checkTypes(t, event, "", doc, types)
			}
		})
	}
}

// templateTypes are the fields that a template names, with their types.
func templateTypes(t *testing.T, data []byte) map[string]string {
	t.Helper()
	type field struct {
		Type       string           `json:"type"`
		Properties map[string]field `json:"properties"`
	}
	var template struct {
		Template struct {
			Mappings field `json:"mappings"`
		} `json:"template"`
	}
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	var walk func(path string, f field)
	walk = func(path string, f field) {
		if f.Type != "" {
			types[path] = f.Type
		}
		for name, inner := range f.Properties {
			walk(strings.TrimPrefix(path+"."+name, "."), inner)
		}
	}
	walk("", template.Template.Mappings)
	return types
}

func checkTypes(t *testing.T, event, path string, value any, types map[string]string) {
	t.Helper()
	got, want := types[path], ""
	switch value := value.(type) {
	case map[string]any:
		if got == "flattened" || got == "flat_object" {
			return
		}
		for name, inner := range value {
			checkTypes(t, event, strings.TrimPrefix(path+"."+name, "."), inner, types)
		}
		return
	case []any:
		for _, inner := range value {
			checkTypes(t, event, path, inner, types)
		}
		return
	case bool:
		want = "boolean"
	case float64:
		if want = "long"; got == "float" {
			want = "float"
		}
	case string:
		if _, err := time.Parse(ecsTime, value); err == nil {
			want = "date"
		} else if _, err := netip.ParseAddr(value); err == nil && strings.HasSuffix(path, "ip") {
			want = "ip"
		} else if got == "date" || got == "ip" || got == "long" {
			t.Errorf("%s: %s is of type %s and has the value %q", event, path, got, value)
		}
	}
	if want != "" && got != want {
		t.Errorf("%s: %s has the value %v and the type %q, want %q", event, path, value, got, want)
	}
}
