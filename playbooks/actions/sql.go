package actions

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// bindSQL puts values in the place of :name parameters, quoted for SQL, and
// reports parameters without a value and values without a parameter. Text,
// quoted names and comments of the statement are left alone.
//
// Live queries have no parameters on the wire, so this is where the values of an
// alert, which an attacker chose, meet a statement.
func bindSQL(sql string, values map[string]any) (string, error) {
	var out strings.Builder
	used := map[string]bool{}
	err := scanSQL(sql, func(text string) { out.WriteString(text) }, func(name string) error {
		value, ok := values[name]
		if !ok {
			return fmt.Errorf("parameter :%s has no value", name)
		}
		used[name] = true
		literal, err := quoteSQL(value)
		if err != nil {
			return fmt.Errorf("parameter :%s: %w", name, err)
		}
		// Spaces keep the literal apart from its surroundings: "7-:n" with -1 would
		// start a comment, and ":a:b" with two texts would become one.
		out.WriteString(" " + literal + " ")
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !used[name] {
			return "", fmt.Errorf("value %q is not used: the statement has no parameter :%s", name, name)
		}
	}
	return out.String(), nil
}

// scanSQL walks a statement of SQLite's dialect, which is osquery's, and tells
// its parameters from everything else.
func scanSQL(sql string, text func(string), parameter func(name string) error) error {
	for i := 0; i < len(sql); {
		rest := sql[i:]
		var end int
		switch c := rest[0]; {
		case c == '\'' || c == '"' || c == '`':
			end = closing(rest, rest[:1])
		case c == '[':
			end = closing(rest, "]")
		case strings.HasPrefix(rest, "--"):
			if end = strings.IndexByte(rest, '\n'); end < 0 {
				end = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			// SQLite takes an unclosed comment as reaching to the end.
			if end = strings.Index(rest[2:], "*/"); end < 0 {
				end = len(rest)
			} else {
				end += len("/**/")
			}
		case c == ':' && len(rest) > 1 && nameByte(rest[1]):
			end = 1
			for end < len(rest) && nameByte(rest[end]) {
				end++
			}
			if err := parameter(rest[1:end]); err != nil {
				return err
			}
			i += end
			continue
		default:
			end = 1
		}
		if end < 0 {
			return fmt.Errorf("%s is not closed in the statement", rest[:1])
		}
		text(rest[:end])
		i += end
	}
	return nil
}

// closing finds the end of a quoted piece. A doubled quote inside needs no care:
// it reads as two pieces side by side.
func closing(s, quote string) int {
	if end := strings.Index(s[1:], quote); end >= 0 {
		return end + 2
	}
	return -1
}

func nameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// quoteSQL writes a plain JSON value as an SQL literal: null, whole and broken
// numbers, true and false as 1 and 0, text, and a list in parentheses for IN.
func quoteSQL(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "NULL", nil
	case bool:
		if v {
			return "1", nil
		}
		return "0", nil
	case json.Number:
		return v.String(), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", fmt.Errorf("%v is not a number of SQL", v)
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatFloat(v, 'f', 0, 64), nil
		}
		return strconv.FormatFloat(v, 'e', -1, 64), nil
	case string:
		return quoteSQLText(v)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			if _, nested := item.([]any); nested {
				return "", fmt.Errorf("a list within a list cannot be an SQL value")
			}
			var err error
			if items[i], err = quoteSQL(item); err != nil {
				return "", err
			}
		}
		return "(" + strings.Join(items, ", ") + ")", nil
	}
	return "", fmt.Errorf("%T cannot be an SQL value", value)
}

// quoteSQLText writes an SQL text literal. SQLite knows no backslash escapes:
// doubling the quote is all there is. A NUL would end the statement in the
// agent, so a text that holds one is refused, never cut.
func quoteSQLText(text string) (string, error) {
	switch {
	case strings.ContainsRune(text, 0):
		return "", fmt.Errorf("text with a NUL cannot be an SQL value")
	case !utf8.ValidString(text):
		return "", fmt.Errorf("text that is not UTF-8 cannot be an SQL value")
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'", nil
}
