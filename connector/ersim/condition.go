package ersim

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// matcher says whether an event fits. A nil one is a condition that the server
// leaves out.
type matcher func(columns map[string]string) bool

// conditionParser reads a tree of conditions the way one of the server's parsers
// does, its complaints included (public source of releases 2.1.2 and 4.0,
// blueprints/v1/utils.py, rules.py and search_rules.py).
type conditionParser struct {
	operators []string
	columns   []string // nil for all
	needValue bool     // refuses an empty value
	v4        bool

	foreign bool // something compares with the table of another feature, which is empty
	broken  bool // a comparison of numbers met an event, as the matchers ran
}

var (
	searchOperators = []string{
		"equal", "not_equal", "begins_with", "not_begins_with", "contains", "not_contains", "ends_with", "not_ends_with",
		"is_empty", "is_not_empty", "less", "less_or_equal", "greater", "greater_or_equal",
	}
	ruleOperators = append([]string{
		"matches_regex", "not_matches_regex", "is_ascii", "matches_phish_tank", "matches_wildcard", "not_matches_wildcard",
	}, searchOperators...)

	// indexedColumns are the ones of activity searches and hunts.
	indexedColumns = []string{
		"md5", "sha256", "domain_name", "ja3_md5", "process_guid", "parent_process_guid", "target_path", "target_name",
		"process_name", "remote_address",
	}
)

// complaint is a text of the server's.
type complaint string

func (c complaint) Error() string { return string(c) }

// keyError is Python's complaint about a key that is not there.
func keyError(key string) complaint { return complaint("'" + key + "'") }

// group reads a group; the root is always one.
func (p *conditionParser) group(o obj) (matcher, error) {
	rules, ok := o["rules"]
	if !ok {
		return nil, keyError("rules")
	}
	list, ok := rules.([]any)
	if !ok {
		return nil, fmt.Errorf("'%s' object is not iterable", pyType(rules))
	}
	if len(list) == 0 {
		return nil, complaint("A group contains no rules")
	}
	var parts []matcher
	for _, one := range list {
		inner, ok := one.(obj)
		if !ok {
			return nil, fmt.Errorf("argument of type '%s' is not iterable", pyType(one))
		}
		part, err := p.either(inner)
		if err != nil {
			return nil, err
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	condition, ok := o["condition"]
	if !ok {
		return nil, keyError("condition")
	}
	switch condition {
	case "AND", "and":
		return every(parts), nil
	case "OR", "or":
		return some(parts), nil
	}
	return nil, fmt.Errorf("Unknown condition: %v", condition)
}

func (p *conditionParser) either(o obj) (matcher, error) {
	if _, isGroup := o["condition"]; isGroup {
		return p.group(o)
	}
	return p.comparison(o)
}

func every(parts []matcher) matcher {
	if len(parts) == 0 {
		return nil
	}
	return func(columns map[string]string) bool {
		return !slices.ContainsFunc(parts, func(m matcher) bool { return !m(columns) })
	}
}

func some(parts []matcher) matcher {
	if len(parts) == 0 {
		return nil
	}
	return func(columns map[string]string) bool {
		return slices.ContainsFunc(parts, func(m matcher) bool { return m(columns) })
	}
}

func (p *conditionParser) comparison(o obj) (matcher, error) {
	for _, name := range []string{"operator", "value", "field"} {
		if !hasKey(o, name) {
			return nil, keyError(name)
		}
	}
	value, column := o["value"], pyText(o["field"])
	if p.needValue && value == "" {
		return nil, complaint("Value should be provided!")
	}
	operator := pyText(o["operator"])
	if column == "column" {
		operator = strings.TrimPrefix(operator, "column_")
		switch v := value.(type) {
		case string:
			column = v
		case []any:
			if len(v) != 2 {
				return nil, fmt.Errorf("not enough values to unpack (expected 2, got %d)", len(v))
			}
			column, value = pyText(v[0]), v[1]
		default:
			return nil, fmt.Errorf("cannot unpack non-iterable %s object", pyType(value))
		}
	}
	if !slices.Contains(p.operators, operator) {
		return nil, fmt.Errorf("Unsupported operator: %s", operator)
	}
	if p.columns != nil && !slices.Contains(p.columns, column) {
		return nil, fmt.Errorf("Unsupported column '%s'", column)
	}
	return p.search(column, operator, pyNumber(pyText(value))), nil
}

// search is a comparison of a search. A column that an event lacks is NULL in the
// database, and so fits nothing but is_empty.
func (p *conditionParser) search(column, operator, expected string) matcher {
	present := func(test func(text string) bool) matcher {
		return func(columns map[string]string) bool {
			text, ok := columns[column]
			return ok && test(text)
		}
	}
	switch operator {
	case "equal":
		return present(func(text string) bool { return text == expected })
	case "not_equal":
		return present(func(text string) bool { return text != expected })
	case "contains":
		return present(ilike("%" + expected + "%"))
	case "not_contains":
		fits := ilike("%" + expected + "%")
		return present(func(text string) bool { return !fits(text) })
	case "is_not_empty":
		return present(func(string) bool { return true })
	case "is_empty":
		return func(columns map[string]string) bool {
			_, ok := columns[column]
			return !ok
		}
	case "less", "less_or_equal", "greater", "greater_or_equal":
		// Columns are texts, which the database does not cast to a whole number.
		return present(func(string) bool {
			p.broken = true
			return false
		})
	}
	if p.v4 {
		return nil // begins_with and the like add nothing to the query
	}
	p.foreign = true
	return func(map[string]string) bool { return false }
}

// ilike is a pattern of PostgreSQL's ILIKE: % stands for any text, _ for any
// character, and a backslash takes the meaning from what follows.
func ilike(pattern string) func(text string) bool {
	var b strings.Builder
	b.WriteString("(?is)^")
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == '%':
			b.WriteString(".*")
		case !escaped && r == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		escaped = false
	}
	fits, err := regexp.Compile(b.String() + "$")
	return func(text string) bool { return err == nil && fits.MatchString(text) }
}

// pyNumber is what is left of a text that looks like a number after Python has made
// one of it and printed it again.
func pyNumber(text string) string {
	whole, fraction, point := strings.Cut(text, ".")
	if whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return text
	}
	if !point {
		if whole = strings.TrimLeft(whole, "0"); whole == "" {
			return "0"
		}
		return whole
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	written := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(written, ".") {
		written += ".0"
	}
	return written
}

// pyText is str() of a JSON value.
func pyText(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	}
	return fmt.Sprint(v)
}

// pyType is the name of the type that Python makes of a JSON value.
func pyType(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case string:
		return "str"
	case bool:
		return "bool"
	case []any:
		return "list"
	case obj:
		return "dict"
	case json.Number:
		return "int"
	}
	return "object"
}

// hasKey reports whether an object has a key, if only with null.
func hasKey(o obj, key string) bool {
	_, ok := o[key]
	return ok
}

// sortedKeys are the keys of an object.
func sortedKeys(o obj) []string { return slices.Sorted(maps.Keys(o)) }
