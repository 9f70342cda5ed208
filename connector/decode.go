package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is one value of a JSON text. The server's types wander: a number comes as
// text, an object as null, as {} or as the text "null", and one odd value must not
// cost the page around it. So nothing fails here: every method says what it makes
// of the wrong type. The zero value is null, and so is what is not there.
type value struct {
	v any // as encoding/json has it, numbers as json.Number
	// source is the whole text that the value is from.
	source []byte
}

// maxDepth bounds the nesting of what is handed on as JSON; the server's own stays
// far below. encoding/json alone would let through what it refuses to read again
// when it stands a few levels deeper, in a record of ours.
const maxDepth = 1000

// parse reads a JSON text. Of a key that stands twice the last counts. NaN and the
// infinities, which the encoder of a server in Python writes, count as null.
func parse(text []byte) (value, error) {
	v, err := decode(text)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		if plain := withoutNaN(text); plain != nil {
			text = plain
			v, err = decode(text)
		}
	}
	if err != nil {
		return value{}, err
	}
	return value{v, text}, nil
}

func decode(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // an id may be larger than a float64 can tell
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the end of the value")
	}
	return v, nil
}

// notJSON finds strings, in order to pass over them, and the words of Python's
// encoder that are not JSON.
var notJSON = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b`)

// withoutNaN puts null in the place of such words; nil if there are none.
func withoutNaN(text []byte) []byte {
	found := false
	plain := notJSON.ReplaceAllFunc(text, func(m []byte) []byte {
		if m[0] == '"' {
			return m
		}
		found = true
		return []byte("null")
	})
	if !found {
		return nil
	}
	return plain
}

// isObject reports whether the value is an object, if only an empty one.
func (v value) isObject() bool {
	_, ok := v.v.(map[string]any)
	return ok
}

// isArray reports whether the value is an array, if only an empty one.
func (v value) isArray() bool {
	_, ok := v.v.([]any)
	return ok
}

// at returns what an object has under the first of keys that is there and not
// null. Other values have nothing.
func (v value) at(keys ...string) value {
	object, _ := v.v.(map[string]any)
	for _, key := range keys {
		if inner := object[key]; inner != nil {
			return value{inner, v.source}
		}
	}
	return value{source: v.source}
}

// has reports whether an object has a key, if only with null.
func (v value) has(key string) bool {
	object, _ := v.v.(map[string]any)
	_, ok := object[key]
	return ok
}

// fields gives keys and values of an object, by key. Other values have none.
func (v value) fields() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		object, _ := v.v.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if !yield(key, value{object[key], v.source}) {
				return
			}
		}
	}
}

// items gives the elements of an array. Other values have none.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		array, _ := v.v.([]any)
		for _, inner := range array {
			if !yield(value{inner, v.source}) {
				return
			}
		}
	}
}

// raw returns the value as JSON, nil for the server's ways to say nothing and for
// absurd nesting. Spacing and order of keys are not the server's.
func (v value) raw() json.RawMessage {
	switch inner := v.v.(type) {
	case nil:
		return nil
	case string:
		if inner == "" || inner == "null" {
			return nil
		}
	case map[string]any:
		if len(inner) == 0 {
			return nil
		}
	case []any:
		if len(inner) == 0 {
			return nil
		}
	}
	return encode(v.v)
}

// encode writes what decode has read, nil if it is nested deeper than maxDepth;
// < and & stay as they are.
func encode(v any) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if deeper(v, maxDepth) || e.Encode(v) != nil {
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// deeper reports whether v has more levels of objects and arrays than levels.
func deeper(v any, levels int) bool {
	var inner iter.Seq[any]
	switch v := v.(type) {
	case map[string]any:
		inner = maps.Values(v)
	case []any:
		inner = slices.Values(v)
	default:
		return false
	}
	if levels == 0 {
		return true
	}
	for v := range inner {
		if deeper(v, levels-1) {
			return true
		}
	}
	return false
}

// text returns text; a number or boolean gives its digits or word, null gives
// "", an object or array its JSON.
func (v value) text() string {
	switch inner := v.v.(type) {
	case nil:
		return ""
	case string:
		return inner
	case json.Number:
		return inner.String()
	}
	return string(encode(v.v))
}

// integer returns a whole number, also one in quotes or with an empty fraction.
// The second result is false for everything else.
func (v value) integer() (int64, bool) {
	var digits string
	switch inner := v.v.(type) {
	case json.Number:
		digits = inner.String()
	case string:
		digits = strings.TrimSpace(inner)
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// id returns a whole number, 0 for anything else.
func (v value) id() int64 {
	n, _ := v.integer()
	return n
}

// count is id as an int.
func (v value) count() int { return int(v.id()) }

// boolean returns true and false in any spelling and 1 and 0; nil for anything else.
func (v value) boolean() *bool {
	switch strings.ToLower(strings.TrimSpace(v.text())) {
	case "true", "1":
		return new(true)
	case "false", "0":
		return new(false)
	}
	return nil
}

// truth is boolean with nil as false.
func (v value) truth() bool {
	b := v.boolean()
	return b != nil && *b
}

// time returns a time in any of the server's layouts; zero for anything else.
func (v value) time() time.Time {
	t, err := ParseTime(v.text())
	if err != nil {
		return time.Time{}
	}
	return t
}

// texts returns the texts of an array; a comma list in one string counts as well.
// Empty ones are left out.
func (v value) texts() []string {
	var list []string
	if text, ok := v.v.(string); ok {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	for item := range v.items() {
		if text := item.text(); text != "" {
			list = append(list, text)
		}
	}
	return list
}

// columns returns the columns of an event: an object of which every value becomes
// text; nil for anything else. Old releases put the object into a string; that is
// opened.
func (v value) columns() map[string]string {
	if text, ok := v.v.(string); ok {
		v, _ = parse([]byte(text))
	}
	object, ok := v.v.(map[string]any)
	if !ok {
		return nil
	}
	columns := make(map[string]string, len(object))
	for key, inner := range object {
		columns[key] = value{v: inner}.text()
	}
	return columns
}
