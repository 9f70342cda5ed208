package connector

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Condition is a tree of comparisons of what a host reported, for Search and for
// rules. And, Or, Where and WhereField make one:
//
//	And(Where("process_name", OpContains, "powershell"), Or(
//		Where("cmdline", OpContains, "-enc"), Where("cmdline", OpContains, "-nop")))
type Condition struct {
	// Group is AND or OR for a group, empty for a comparison.
	Group string
	// Of are the conditions of a group; at least one.
	Of []Condition

	// Column is the event column that is compared.
	Column string
	// Field is what a rule compares in place of a column: FieldQuery, FieldAction or
	// FieldHost.
	Field    string
	Operator Operator
	// Value is what the column is compared with; empty for OpIsEmpty and
	// OpIsNotEmpty.
	Value string
}

// What a rule may compare besides event columns.
const (
	FieldQuery  = "query_name"      // name of the query that reported the event
	FieldAction = "action"          // added, removed or snapshot; the event's own column action is a column
	FieldHost   = "host_identifier" // of the host
)

// Operator compares a column with a value. Which of them exist depends on the
// place: a search knows fewer than a rule.
type Operator string

// The operators. Rules compare without regard to case, searches do so only for
// OpContains and OpNotContains.
const (
	OpEqual       Operator = "equal"
	OpNotEqual    Operator = "not_equal"
	OpContains    Operator = "contains"
	OpNotContains Operator = "not_contains"
	// OpIsEmpty holds in a search where the event lacks the column, and in a rule
	// where the column is there and empty; OpIsNotEmpty is the opposite.
	OpIsEmpty    Operator = "is_empty"
	OpIsNotEmpty Operator = "is_not_empty"

	// For rules only. Release 4.0 takes these in a search too and leaves them out, so
	// that too much is found; release 2.1.2 compares another table.
	OpBeginsWith    Operator = "begins_with"
	OpNotBeginsWith Operator = "not_begins_with"
	OpEndsWith      Operator = "ends_with"
	OpNotEndsWith   Operator = "not_ends_with"

	// For rules only, with a number. A search makes the server fail, because event
	// columns are texts in its database.
	OpLess           Operator = "less"
	OpLessOrEqual    Operator = "less_or_equal"
	OpGreater        Operator = "greater"
	OpGreaterOrEqual Operator = "greater_or_equal"

	// For rules only. A regular expression (Python) must fit from the start of the
	// text; the two of wildcards mean the opposite of their name in the public source
	// of releases 2.1.2 to 4.0, and so does OpIsASCII.
	OpMatchesRegex       Operator = "matches_regex"
	OpNotMatchesRegex    Operator = "not_matches_regex"
	OpMatchesWildcard    Operator = "matches_wildcard"
	OpNotMatchesWildcard Operator = "not_matches_wildcard"
	OpIsASCII            Operator = "is_ascii"
	OpMatchesPhishTank   Operator = "matches_phish_tank"
)

var (
	searchOperators = []Operator{OpEqual, OpNotEqual, OpContains, OpNotContains, OpIsEmpty, OpIsNotEmpty}
	ruleOperators   = []Operator{
		OpEqual, OpNotEqual, OpContains, OpNotContains, OpIsEmpty, OpIsNotEmpty, OpBeginsWith, OpNotBeginsWith, OpEndsWith,
		OpNotEndsWith, OpLess, OpLessOrEqual, OpGreater, OpGreaterOrEqual, OpMatchesRegex, OpNotMatchesRegex,
		OpMatchesWildcard, OpNotMatchesWildcard, OpIsASCII, OpMatchesPhishTank,
	}
	// numberOperators are the ones of rules that work on numbers; all others never
	// hold for a number.
	numberOperators = []Operator{OpLess, OpLessOrEqual, OpGreater, OpGreaterOrEqual}
	// bareOperators take no value.
	bareOperators = []Operator{OpIsEmpty, OpIsNotEmpty, OpIsASCII, OpMatchesPhishTank}

	ruleFields = []string{FieldQuery, FieldAction, FieldHost}

	// IndicatorColumns are the columns with an index in the server's database: the only
	// ones of Search.Activity and of hunts.
	IndicatorColumns = []string{
		"md5", "sha256", "domain_name", "ja3_md5", "process_guid", "parent_process_guid", "target_path", "target_name",
		"process_name", "remote_address",
	}
)

const (
	groupAnd = "AND"
	groupOr  = "OR"

	// The server takes a tree apart by recursion; its own pages make a few levels.
	maxConditionDepth = 20
	maxConditions     = 1000
)

// And holds where all of the conditions hold.
func And(conditions ...Condition) Condition { return Condition{Group: groupAnd, Of: conditions} }

// Or holds where one of the conditions holds.
func Or(conditions ...Condition) Condition { return Condition{Group: groupOr, Of: conditions} }

// Where compares an event column.
func Where(column string, op Operator, value string) Condition {
	return Condition{Column: column, Operator: op, Value: value}
}

// WhereField compares one of FieldQuery, FieldAction and FieldHost, in a rule.
func WhereField(field string, op Operator, value string) Condition {
	return Condition{Field: field, Operator: op, Value: value}
}

// equal reports whether two trees say the same.
func (c Condition) equal(other Condition) bool { return reflect.DeepEqual(c, other) }

// clone is a tree that shares nothing with c.
func (c Condition) clone() Condition {
	c.Of = slices.Clone(c.Of)
	for i := range c.Of {
		c.Of[i] = c.Of[i].clone()
	}
	return c
}

// forSearch checks the tree and writes it as a search wants it. columns are the
// ones that may be compared; nil for all.
// API: POST /search, POST /activity/search (REST guide 4.0.0, section Search; what
// the operators do: public source of release 4.0, search_rules.py).
func (c Condition) forSearch(columns []string) (map[string]any, error) {
	left := maxConditions
	return c.root().write(maxConditionDepth, &left, func(c Condition) (map[string]any, error) {
		switch {
		case c.Field != "":
			return nil, fmt.Errorf("%w: a search compares event columns only, not %q", ErrInvalid, c.Field)
		case c.Column == "" || c.Column == "column":
			return nil, fmt.Errorf("%w: a comparison needs the name of a column", ErrInvalid)
		case columns != nil && !slices.Contains(columns, c.Column):
			return nil, fmt.Errorf("%w: column %q is none of %s", ErrInvalid, clip(c.Column, 80), strings.Join(columns, ", "))
		}
		value, err := searchValue(c)
		if err != nil {
			return nil, err
		}
		return comparison(c.Column, c.Operator, value), nil
	})
}

// searchValue checks operator and value.
func searchValue(c Condition) (any, error) {
	if err := knownOperator(c.Operator, searchOperators, "a search"); err != nil {
		return nil, err
	}
	if slices.Contains(bareOperators, c.Operator) {
		return nil, c.noValue()
	}
	if c.Value == "" {
		return nil, fmt.Errorf("%w: %s of column %q needs a value", ErrInvalid, c.Operator, c.Column)
	}
	if c.Operator != OpContains {
		// What looks like a number goes through one: 0042 is compared as 42.
		if number, ok := asPythonNumber(c.Value); ok && number != c.Value {
			return nil, fmt.Errorf("%w: the server would compare %q as %s; search with %s and pick from what is found",
				ErrInvalid, c.Value, number, OpContains)
		}
	}
	if c.Operator == OpEqual || c.Operator == OpNotEqual {
		return c.Value, nil
	}
	// The text becomes part of a pattern of SQL (PostgreSQL, ILIKE).
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(c.Value), nil
}

// forRule checks the tree and writes it as a rule wants it.
// API: POST /rules/add (REST guide 4.0.0, section Rules; what the operators do:
// public source of releases 2.1.2 and 3.5, rules.py).
func (c Condition) forRule() (map[string]any, error) {
	left := maxConditions
	return c.root().write(maxConditionDepth, &left, func(c Condition) (map[string]any, error) {
		if err := c.checkRule(); err != nil {
			return nil, err
		}
		if c.Field != "" {
			return comparison(c.Field, c.Operator, c.Value), nil
		}
		// The rule engine takes seven letters off the operator of a column, whatever
		// they are, so they must be there.
		return comparison("column", "column_"+c.Operator, []string{c.Column, c.Value}), nil
	})
}

func (c Condition) checkRule() error {
	if (c.Field == "") == (c.Column == "") {
		return fmt.Errorf("%w: a comparison needs either a column or a field", ErrInvalid)
	}
	if c.Field != "" && !slices.Contains(ruleFields, c.Field) {
		return fmt.Errorf("%w: field %q is none of %s", ErrInvalid, clip(c.Field, 80), strings.Join(ruleFields, ", "))
	}
	if err := knownOperator(c.Operator, ruleOperators, "a rule"); err != nil {
		return err
	}
	_, isNumber := asPythonNumber(c.Value)
	switch {
	case slices.Contains(bareOperators, c.Operator):
		if c.Field != "" {
			return fmt.Errorf("%w: %s works on columns only", ErrInvalid, c.Operator)
		}
		return c.noValue()
	case c.Value == "":
		return fmt.Errorf("%w: %s of %q needs a value", ErrInvalid, c.Operator, c.Column+c.Field)
	case slices.Contains(numberOperators, c.Operator) && !isNumber:
		return fmt.Errorf("%w: %s needs a number without a sign, not %q", ErrInvalid, c.Operator, clip(c.Value, 80))
	case !slices.Contains(numberOperators, c.Operator) && isNumber:
		return fmt.Errorf("%w: the rule would never fire: %s does not hold for numbers, and %q is one; use %s with %s",
			ErrInvalid, c.Operator, c.Value, OpGreaterOrEqual, OpLessOrEqual)
	}
	return nil
}

func (c Condition) noValue() error {
	if c.Value != "" {
		return fmt.Errorf("%w: %s takes no value", ErrInvalid, c.Operator)
	}
	return nil
}

// root makes a group of a lone comparison, because the root must be one.
func (c Condition) root() Condition {
	if c.Group == "" && len(c.Of) == 0 {
		return And(c)
	}
	return c
}

// write writes a group; leaf writes its comparisons. left is how many are allowed.
func (c Condition) write(depth int, left *int, leaf func(Condition) (map[string]any, error)) (map[string]any, error) {
	if c.Group == "" && len(c.Of) == 0 {
		if *left--; *left < 0 {
			return nil, fmt.Errorf("condition: %w: more than %d comparisons", ErrInvalid, maxConditions)
		}
		out, err := leaf(c)
		if err != nil {
			return nil, fmt.Errorf("condition: %w", err)
		}
		return out, nil
	}
	switch {
	case c.Group != groupAnd && c.Group != groupOr:
		return nil, fmt.Errorf("condition: %w: group %q is none of AND, OR", ErrInvalid, clip(c.Group, 16))
	case len(c.Of) == 0:
		return nil, fmt.Errorf("condition: %w: a group is empty", ErrInvalid)
	case c.Column+c.Field+string(c.Operator)+c.Value != "":
		return nil, fmt.Errorf("condition: %w: a group is no comparison", ErrInvalid)
	case depth == 0:
		return nil, fmt.Errorf("condition: %w: groups are nested deeper than %d", ErrInvalid, maxConditionDepth)
	}
	rules := make([]map[string]any, 0, len(c.Of))
	for _, inner := range c.Of {
		out, err := inner.write(depth-1, left, leaf)
		if err != nil {
			return nil, err
		}
		rules = append(rules, out)
	}
	return map[string]any{"condition": c.Group, "rules": rules, "valid": true}, nil
}

func comparison(field string, op Operator, value any) map[string]any {
	return map[string]any{"id": field, "field": field, "type": "string", "input": "text", "operator": op, "value": value}
}

func knownOperator(op Operator, known []Operator, where string) error {
	if slices.Contains(known, op) {
		return nil
	}
	names := make([]string, len(known))
	for i, name := range known {
		names[i] = string(name)
	}
	why := ""
	if slices.Contains(ruleOperators, op) {
		why = ", which works in rules only"
	}
	return fmt.Errorf("%w: operator %q%s: %s knows %s", ErrInvalid, clip(string(op), 40), why, where, strings.Join(names, ", "))
}

// asPythonNumber returns what the server makes of a value that looks like a
// number to it: digits, with at most one point.
func asPythonNumber(text string) (string, bool) {
	whole, fraction, point := strings.Cut(text, ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if !digits(whole) || !digits(fraction) || whole+fraction == "" {
		return "", false
	}
	if !point {
		whole = strings.TrimLeft(whole, "0")
		return max(whole, "0"), true // "" sorts before every digit
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false
	}
	written := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(written, ".") {
		written += ".0"
	}
	return written, true
}

var errNoCondition = errors.New("not a tree of conditions")

// readCondition reads the tree of a rule. Operators and fields that are not known
// here stay as they are.
func readCondition(v value) (Condition, error) { return readConditionWithin(v, maxConditionDepth) }

func readConditionWithin(v value, depth int) (Condition, error) {
	if !v.isObject() || depth < 0 {
		return Condition{}, errNoCondition
	}
	if !v.has("condition") {
		return readComparison(v)
	}
	group := Condition{Group: strings.ToUpper(v.at("condition").text())}
	if group.Group != groupAnd && group.Group != groupOr {
		return Condition{}, fmt.Errorf("%w: group %q", errNoCondition, clip(group.Group, 16))
	}
	for item := range v.at("rules").items() {
		inner, err := readConditionWithin(item, depth-1)
		if err != nil {
			return Condition{}, err
		}
		group.Of = append(group.Of, inner)
	}
	if len(group.Of) == 0 {
		return Condition{}, fmt.Errorf("%w: a group is empty", errNoCondition)
	}
	return group, nil
}

func readComparison(v value) (Condition, error) {
	c := Condition{Field: v.at("field").text(), Operator: Operator(v.at("operator").text()), Value: v.at("value").text()}
	if c.Field == "column" {
		c.Field = ""
		c.Operator = Operator(strings.TrimPrefix(string(c.Operator), "column_"))
		// [column, value], or the column alone where there is no value.
		parts, ok := v.at("value").v.([]any)
		switch {
		case !ok:
			c.Column, c.Value = c.Value, ""
		case len(parts) == 2:
			c.Column, c.Value = value{v: parts[0]}.text(), value{v: parts[1]}.text()
		}
	}
	if c.Operator == "" || c.Field == "" && c.Column == "" {
		return Condition{}, fmt.Errorf("%w: a comparison lacks its column or operator", errNoCondition)
	}
	return c, nil
}
