package scripts

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	one, ten, four := int64(1), int64(10), int64(4)
	s := &Script{Name: "s", Kind: Shell, Arguments: map[string]Argument{
		"path": {Type: typeText, Required: true, Pattern: `/tmp/.*|x`, Max: &ten},
		"mode": {Type: typeText, Enum: []string{"fast", "full"}},
		"n":    {Type: typeInteger, Min: &one, Max: &four},
		"deep": {Type: typeBoolean},
	}}
	for _, tt := range []struct {
		name     string
		values   map[string]any
		computed []string
		want     string // empty: nothing is wrong
	}{
		{"what is needed", map[string]any{"path": "/tmp/a"}, nil, ""},
		{"all", map[string]any{"path": "x", "mode": "full", "n": 4.0, "deep": false}, nil, ""},
		{"numbers as texts", map[string]any{"path": "x", "n": "3", "deep": "true"}, nil, ""},
		{"numbers of JSON", map[string]any{"path": "x", "n": json.Number("2")}, nil, ""},
		{"null is not given", map[string]any{"path": "x", "mode": nil}, nil, ""},
		{"not known yet", map[string]any{"mode": "fast"}, []string{"path"}, ""},
		{"needed", map[string]any{}, nil, "path: the script s needs it"},
		{"needed and null", map[string]any{"path": nil}, nil, "path: the script s needs it"},
		{"empty", map[string]any{"path": " "}, nil, "path: is empty"},
		{"unknown", map[string]any{"path": "x", "mod": "fast"}, nil, "mod: the script s has no such argument; did you mean mode?"},
		{"unknown and not known yet", map[string]any{"path": "x"}, []string{"other"}, "other: the script s has no such argument"},
		{"a part of the pattern", map[string]any{"path": "y/tmp/"}, nil, `path: "y/tmp/" does not fit the pattern`},
		{"behind the pattern", map[string]any{"path": "xy"}, nil, "does not fit the pattern"},
		{"a line behind the pattern", map[string]any{"path": "x\n"}, nil, "holds the character U+000A"},
		{"too long", map[string]any{"path": "/tmp/ääääää"}, nil, "has 11 characters, the limit is 10"},
		{"none of enum", map[string]any{"path": "x", "mode": "FAST"}, nil, `mode: "FAST" is none of fast, full`},
		{"a list", map[string]any{"path": []any{"x"}}, nil, "path: expected a text"},
		{"a number for a text", map[string]any{"path": 7.0}, nil, "path: expected a text"},
		{"broken", map[string]any{"path": "x", "n": 2.5}, nil, "n: expected a whole number"},
		{"below", map[string]any{"path": "x", "n": 0.0}, nil, "n: 0 is below 1"},
		{"above", map[string]any{"path": "x", "n": "5"}, nil, "n: 5 is above 4"},
		{"digits and more", map[string]any{"path": "x", "n": "1; id"}, nil, "n: expected a whole number"},
		{"too many digits", map[string]any{"path": "x", "n": "99999999999999999999"}, nil, "n: expected a whole number"},
		{"neither true nor false", map[string]any{"path": "x", "deep": "yes"}, nil, "deep: expected true or false"},
		{"NUL", map[string]any{"path": "x\x00"}, nil, "holds the character U+0000"},
		{"DEL", map[string]any{"path": "x\x7f"}, nil, "holds the character U+007F"},
		{"a line separator", map[string]any{"path": "x\u2028"}, nil, "holds the character U+2028"},
		{"a turn of the writing direction", map[string]any{"path": "x\u202e"}, nil, "holds the character U+202E"},
		{"no UTF-8", map[string]any{"path": "x\xff"}, nil, "is not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, m := range s.Check(tt.values, tt.computed) {
				got = append(got, m.Error())
			}
			switch {
			case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(tt.computed) > 0 {
				return
			}
			if _, err := s.Text(tt.values); (err == nil) != (tt.want == "") {
				t.Errorf("text: %v", err)
			}
		})
	}
}
