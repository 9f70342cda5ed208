package cacao

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// mapping is a playbook of ours or one of its steps, by the keys of its YAML.
type mapping = map[string]any

// The order in which keys are written; all others follow by the alphabet.
var (
	bookKeys = []string{"playbook", "description", "attack", "mode", "on", "match", "count", "enrich", "vars", "lists", "group", "cooldown", "steps", "finally"}
	stepKeys = []string{"id", "if", "for_each", "max_parallel", "do", "call", "parallel", "with", "timeout", "retry", "on_error"}
)

// render writes a playbook as YAML.
func render(book mapping) ([]byte, error) {
	node, err := toNode(book, bookKeys)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return b.Bytes(), nil
}

func toNode(v any, order []string) (*yaml.Node, error) {
	switch v := v.(type) {
	case mapping:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range keysOf(v, order) {
			name := &yaml.Node{}
			if err := name.Encode(key); err != nil {
				return nil, err
			}
			if key == "on" {
				name.Style = 0 // a word for true in YAML 1.1 only
			}
			inside := []string(nil)
			if slices.Contains([]string{"steps", "finally", "parallel", "on_error"}, key) {
				inside = stepKeys
			}
			value, err := toNode(v[key], inside)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, name, value)
		}
		return node, nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			value, err := toNode(item, order)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, value)
		}
		return node, nil
	}
	node := &yaml.Node{}
	if err := node.Encode(v); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return node, nil
}

func keysOf(m mapping, order []string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	place := func(key string) int {
		if i := slices.Index(order, key); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		if a < b {
			return -1
		}
		return 1
	})
	return keys
}

// decodeMapping reads a JSON object and keeps whole numbers whole.
func decodeMapping(raw json.RawMessage) (mapping, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m mapping
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	return wholeNumbers(m).(mapping), nil
}

func wholeNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case mapping:
		for key := range v {
			v[key] = wholeNumbers(v[key])
		}
	}
	return v
}

// list is a value that may be a list.
func list(v any) []any {
	items, _ := v.([]any)
	return items
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
