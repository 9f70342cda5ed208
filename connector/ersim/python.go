package ersim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pairs is an object whose keys keep their order, as a Python dict does.
type pairs []pair

type pair struct {
	key   string
	value any
}

// pyRepr is how Python prints a value inside of another: what stands in the cells of
// a CSV file for objects.
func pyRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return pyQuote(v)
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = pyRepr(v[i])
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case pairs:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = pyQuote(v[i].key) + ": " + pyRepr(v[i].value)
		}
		return "{" + strings.Join(texts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// pyQuote is a text as Python's repr has it: in single quotes, unless only the
// others spare an escape.
func pyQuote(text string) string {
	quote := "'"
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = `"`
	}
	var b strings.Builder
	b.WriteString(quote)
	for _, r := range text {
		switch {
		case r == '\\' || string(r) == quote:
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString(quote)
	return b.String()
}

// fromJSONB reads JSON as it comes out of the server's database, which keeps the keys
// of an object by length, then by letter (PostgreSQL, type jsonb).
func fromJSONB(encoded []byte) any {
	var v any
	dec := json.NewDecoder(bytes.NewReader(encoded))
	dec.UseNumber()
	_ = dec.Decode(&v) // encoded by us
	return inOrder(v)
}

func inOrder(v any) any {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		out := make(pairs, 0, len(keys))
		for _, key := range keys {
			out = append(out, pair{key, inOrder(v[key])})
		}
		return out
	case []any:
		for i := range v {
			v[i] = inOrder(v[i])
		}
	}
	return v
}

// get is the value of a key; false if it is not there.
func (p pairs) get(key string) (any, bool) {
	for _, one := range p {
		if one.key == key {
			return one.value, true
		}
	}
	return nil, false
}

// cell is a value as str() prints it for a CSV file: None is an empty cell.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return pyRepr(v)
}
