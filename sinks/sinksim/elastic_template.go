package sinksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Template is the index template of that name as it was put, or nil.
func (e *Elastic) Template(name string) json.RawMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.templates[name]
}

// serveOther is what the server has besides bulk.
func (e *Elastic) serveOther(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	n := len(parts)
	switch {
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		version := map[string]any{"number": "8.17.0", "build_flavor": "default"}
		tagline := "You Know, for Search"
		if e.OpenSearch {
			version, tagline = map[string]any{"number": "2.19.0", "distribution": "opensearch"}, "The OpenSearch Project: https://opensearch.org/"
		}
		e.answer(w, map[string]any{"version": version, "tagline": tagline})
	case n >= 2 && parts[n-2] == "_index_template":
		e.serveTemplate(w, r, parts[n-1])
	case n >= 3 && parts[n-2] == "_doc" && r.Method == http.MethodGet:
		index, id := parts[n-3], parts[n-1]
		doc := e.Document(index, id)
		if doc == nil {
			w.WriteHeader(http.StatusNotFound)
		}
		e.answer(w, map[string]any{"_index": index, "_id": id, "found": doc != nil, "_source": doc})
	default:
		e.refuse(w, http.StatusMethodNotAllowed, "illegal_argument_exception", "no handler found")
	}
}

func (e *Elastic) answer(w http.ResponseWriter, body any) {
	_ = json.NewEncoder(w).Encode(body) // the sender's loss
}

func (e *Elastic) serveTemplate(w http.ResponseWriter, r *http.Request, name string) {
	switch r.Method {
	case http.MethodGet:
		template := e.Template(name)
		if template == nil {
			e.refuse(w, http.StatusNotFound, "resource_not_found_exception", "index template matching ["+name+"] not found")
			return
		}
		e.answer(w, map[string]any{"index_templates": []any{map[string]any{"name": name, "index_template": template}}})
	case http.MethodPut, http.MethodPost:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = e.checkTemplate(body)
		}
		if err != nil {
			e.refuse(w, http.StatusBadRequest, "mapper_parsing_exception", err.Error())
			return
		}
		e.mu.Lock()
		if e.templates == nil {
			e.templates = map[string]json.RawMessage{}
		}
		e.templates[name] = body
		e.mu.Unlock()
		if e.answers.give(w, true) {
			return
		}
		e.answer(w, map[string]any{"acknowledged": true})
	default:
		e.refuse(w, http.StatusMethodNotAllowed, "illegal_argument_exception", "no handler found")
	}
}

// The types that only one of the products has, and some that both have.
var (
	elasticTypes    = []string{"flattened", "wildcard", "match_only_text", "constant_keyword"}
	openSearchTypes = []string{"flat_object"}
	commonTypes     = []string{"date", "ip", "long", "float", "boolean", "keyword", "text"}
)

// checkTemplate refuses keys and types that the product does not know.
func (e *Elastic) checkTemplate(body []byte) error {
	type field struct {
		Type       string           `json:"type"`
		Properties map[string]field `json:"properties"`
	}
	var template struct {
		Patterns   []string  `json:"index_patterns"`
		ComposedOf []string  `json:"composed_of"`
		Ignore     *[]string `json:"ignore_missing_component_templates"`
		Template   struct {
			Mappings field `json:"mappings"`
		} `json:"template"`
	}
	if err := json.Unmarshal(body, &template); err != nil {
		return err
	}
	if len(template.Patterns) == 0 {
		return errors.New("index patterns are missing")
	}
	if e.OpenSearch && template.Ignore != nil {
		return errors.New("[index_template] unknown field [ignore_missing_component_templates]")
	}
	if len(template.ComposedOf) > 0 && template.Ignore == nil {
		return fmt.Errorf("index_template specifies component templates %v that do not exist", template.ComposedOf)
	}
	known := append(slices.Clone(commonTypes), elasticTypes...)
	if e.OpenSearch {
		known = append(slices.Clone(commonTypes), openSearchTypes...)
	}
	var walk func(path string, f field) error
	walk = func(path string, f field) error {
		if f.Type != "" && !slices.Contains(known, f.Type) {
			return fmt.Errorf("No handler for type [%s] declared on field [%s]", f.Type, path)
		}
		for name, inner := range f.Properties {
			if err := walk(path+"."+name, inner); err != nil {
				return err
			}
		}
		return nil
	}
	return walk("", template.Template.Mappings)
}
