package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// records makes rows of a table of what a formatter makes.
func records(f format.Formatter) format.Formatter {
	return func(ev *soar.Event) ([]byte, error) {
		record, err := f(ev)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(record, []byte("{")) {
			return nil, errors.New("a row of a table has to be a JSON object")
		}
		return cutColumns(record, maxSentinelField)
	}
}

// cutColumns cuts the values of a record's columns to limit bytes, with "…" at the
// end of what was cut: Azure would cut them as well, and say nothing. Texts inside a
// dynamic column (an object or a list) are cut until the column fits.
func cutColumns(record []byte, limit int) ([]byte, error) {
	if len(record) <= limit { // so are its columns
		return record, nil
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(record, &columns); err != nil {
		return nil, fmt.Errorf("a record that is no JSON object: %w", err)
	}
	var out bytes.Buffer
	for i, name := range slices.Sorted(maps.Keys(columns)) {
		value := columns[name]
		var err error
		if len(value) > limit {
			if value, err = cutValue(value, limit); err != nil {
				return nil, err
			}
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out.WriteByte("{,"[min(i, 1)])
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// cutValue makes a value that is at most limit bytes of JSON.
func cutValue(value json.RawMessage, limit int) (json.RawMessage, error) {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	// A text is escaped by at most six bytes for one, so the second or third step fits.
	for longest := limit; longest > 8; longest /= 4 {
		short, err := plainJSON(cutTexts(v, longest-8)) // quotes and the mark
		if err != nil || len(short) <= limit {
			return short, err
		}
	}
	return json.RawMessage(`"…"`), nil // thousands of values; the alert is behind its URL
}

// cutTexts is a copy of a JSON value with its texts cut.
func cutTexts(v any, limit int) any {
	switch v := v.(type) {
	case string:
		return shorten(v, limit)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = cutTexts(v[i], limit)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[shorten(name, limit)] = cutTexts(inner, limit)
		}
		return out
	}
	return v
}

// plainJSON does not escape < > &, which would only make it longer.
func plainJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
