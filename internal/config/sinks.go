package config

import (
	"encoding/json"
	"maps"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// Sinks are the destinations, in the order of the file.
type Sinks []sinks.Config

// DecodeYAML reads a mapping of names to sinks. What a sink may hold depends on
// its type.
func (s *Sinks) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	var problems registry.Problems
	if n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		problems.Addf(registry.At(file, n), "wrong-type", "such as soc-slack: {type: slack, channel: \"#soc\"}", "expected a mapping of names to sinks")
		return problems
	}
	seen := map[string]bool{}
	for key, value := range registry.Pairs(n) {
		at := registry.At(file, key)
		switch {
		case seen[key.Value]:
			problems.Addf(at, "repeated-key", "", "%q stands here twice", key.Value)
			continue
		case !namePattern.MatchString(key.Value):
			problems.Addf(at, "bad-name", nameHint, "sink name %q cannot be used", key.Value)
		}
		seen[key.Value] = true
		cfg, more := sinks.ReadConfig(file, key.Value, value)
		problems = append(problems, more...)
		*s = append(*s, cfg)
	}
	return problems
}

// JSONSchema says which settings go with which type.
func (s *Sinks) JSONSchema(docs registry.DocFunc) map[string]any {
	var forms []any
	for _, name := range sinks.Types.Names() {
		kind, _ := sinks.Types.Get(name)
		form := registry.Schema(kind.Settings, docs)
		delete(form, "$schema")
		common := registry.Schema(new(sinks.CommonSettings), docs)
		properties := form["properties"].(map[string]any)
		maps.Copy(properties, common["properties"].(map[string]any))
		properties["type"] = map[string]any{"const": name, "description": "The kind of sink."}
		required, _ := form["required"].([]any)
		form["required"] = append([]any{"type"}, required...)
		form["type"], form["description"] = "object", kind.Summary
		forms = append(forms, form)
	}
	return map[string]any{
		"type":                 []any{"object", "null"},
		"propertyNames":        map[string]any{"pattern": namePattern.String()},
		"additionalProperties": map[string]any{"oneOf": forms},
	}
}

// Names lists the sinks.
func (s Sinks) Names() []string {
	names := make([]string, len(s))
	for i := range s {
		names[i] = s[i].Name
	}
	return names
}

func (c *checker) checkRoutes() {
	report := func(route int, setting, hint, format string, args ...any) {
		c.addf([]string{"routes", strconv.Itoa(route), setting}, "invalid", hint, format, args...)
	}
	c.problems = append(c.problems, c.cfg.Routes.Check(c.cfg.Sinks.Names(), report)...)
}

// Section is what a part of the file says, in a form in which two files can be
// compared: comments, order of keys and notation make no difference. It is empty
// where the file says nothing.
func (c *Config) Section(path ...string) string {
	n := find(c.root, path...)
	if n == nil {
		return ""
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return ""
	}
	plain, err := soar.Plain(value)
	if err != nil {
		return ""
	}
	data, err := json.Marshal(plain)
	if err != nil {
		return ""
	}
	return string(data)
}
