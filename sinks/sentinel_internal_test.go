package sinks

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzCutColumns: whatever a record holds, what is sent is a JSON object with the
// same columns, none of which Azure would cut, and what fits is as it was.
func FuzzCutColumns(f *testing.F) {
	for _, seed := range []string{
		`{"a":"` + strings.Repeat("ü", 80) + `","b":1}`, `{"a":{"x":["` + strings.Repeat("\\u0000", 90) + `",{"y":"z"}]}}`,
		`{"a":"` + strings.Repeat("\\ud800", 40) + `"}`, `{"":"","b":[` + strings.Repeat("1,", 90) + `1],"c":null}`,
	} {
		f.Add([]byte(seed))
	}
	const limit = 100
	f.Fuzz(func(t *testing.T, record []byte) {
		var before map[string]json.RawMessage
		if json.Unmarshal(record, &before) != nil || before == nil {
			return
		}
		cut, err := cutColumns(record, limit)
		if err != nil {
			t.Fatalf("%q: %v", record, err)
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(cut, &after); err != nil {
			t.Fatalf("%q became %q: %v", record, cut, err)
		}
		if len(after) != len(before) {
			t.Errorf("%d columns became %d", len(before), len(after))
		}
		for name, value := range after {
			if len(value) > limit {
				t.Errorf("column %q has %d bytes", name, len(value))
			}
			if was := before[name]; len(was) <= limit && string(was) != string(value) {
				t.Errorf("column %q was %q and is %q", name, was, value)
			}
			if was := before[name]; len(was) > limit && len(withoutSpare(t, was)) > limit && !strings.Contains(string(value), "…") {
				t.Errorf("column %q was cut without a mark: %q", name, value)
			}
		}
	})
}

// withoutSpare is a value without spaces and escapes that it does not need.
func withoutSpare(t *testing.T, value json.RawMessage) []byte {
	t.Helper()
	var v any
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := plainJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
