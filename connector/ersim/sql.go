package ersim

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// statement is what the simulator understands of SQL: one table, a condition of
// comparisons joined by and, or, not and parentheses, order by one column, limit;
// columns, count(*), coalesce(column, constant), * or constants. Joins, other
// functions and subqueries are refused as invalid, though a real server would take them.
type statement struct {
	columns []column
	table   string // empty: select 1
	where   condition
	orderBy string
	desc    bool
	limit   int // -1: none
	write   bool
}

// column is one result column: a name, a constant, *, count(*) or coalesce.
type column struct {
	name, as string
	constant bool
	fallback string // in place of null
}

type row = map[string]string

// condition decides about one row; nil takes all.
type condition interface{ holds(row) bool }

type (
	andCondition [2]condition
	orCondition  [2]condition
	notCondition [1]condition
	comparison   struct {
		column, op string
		values     []string
	}
)

func (c andCondition) holds(r row) bool { return c[0].holds(r) && c[1].holds(r) }
func (c orCondition) holds(r row) bool  { return c[0].holds(r) || c[1].holds(r) }
func (c notCondition) holds(r row) bool { return !c[0].holds(r) }

func (c comparison) holds(r row) bool {
	have := r[c.column]
	switch c.op {
	case "like":
		return like(have, c.values[0])
	case "in":
		return slices.ContainsFunc(c.values, func(v string) bool { return order(have, v) == 0 })
	}
	by := order(have, c.values[0])
	switch c.op {
	case "=":
		return by == 0
	case "!=":
		return by != 0
	case "<":
		return by < 0
	case "<=":
		return by <= 0
	case ">":
		return by > 0
	}
	return by >= 0
}

// order compares as numbers when both are, as SQLite does with numeric columns.
func order(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// like is SQL's LIKE: % is any text, _ any character, case does not matter.
func like(text, pattern string) bool {
	var b strings.Builder
	b.WriteString("(?is)^")
	for _, r := range pattern {
		switch r {
		case '%':
			b.WriteString(".*")
		case '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	matched, err := regexp.MatchString(b.String()+"$", text)
	return err == nil && matched
}

var (
	errSQL   = errors.New("not understood")
	sqlToken = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_.]*|\d+|'(?:[^']|'')*'|"[^"]*"|<>|!=|<=|>=|==|[=<>(),*;])`)
)

// parser reads a statement from its tokens.
type parser struct {
	tokens []string
	at     int
}

func parseSQL(text string) (*statement, error) {
	p := &parser{}
	for rest := text; strings.TrimSpace(rest) != ""; {
		m := sqlToken.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("%w at %q", errSQL, rest)
		}
		p.tokens = append(p.tokens, m[1])
		rest = rest[len(m[0]):]
	}
	st := &statement{limit: -1}
	var err error
	switch {
	case p.word("select"):
		p.word("distinct")
		err = p.selection(st)
	case p.word("delete") && p.word("from"):
		st.write = true
		st.table = p.name()
		err = p.tail(st)
	default:
		err = errSQL
	}
	if err != nil {
		return nil, err
	}
	p.word(";")
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("%w at %q", errSQL, p.tokens[p.at])
	}
	return st, nil
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

// word takes the next token if it is that one.
func (p *parser) word(want string) bool {
	if !strings.EqualFold(p.peek(), want) || want == "" {
		return false
	}
	p.at++
	return true
}

var keywords = []string{"select", "from", "where", "and", "or", "not", "order", "limit", "in", "like", "as", "join", "group", "union"}

// name takes an identifier, without the table's name in front; empty when there is none.
func (p *parser) name() string {
	token := p.peek()
	if token == "" || !isLetter(token[0]) || slices.Contains(keywords, strings.ToLower(token)) {
		return ""
	}
	p.at++
	return strings.ToLower(token[strings.LastIndexByte(token, '.')+1:])
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// value takes a constant.
func (p *parser) value() (string, bool) {
	token := p.peek()
	switch {
	case token == "":
		return "", false
	case token[0] == '\'' || token[0] == '"':
		p.at++
		quote := token[:1]
		return strings.ReplaceAll(token[1:len(token)-1], quote+quote, quote), true
	case token[0] >= '0' && token[0] <= '9':
		p.at++
		return token, true
	}
	return "", false
}

func (p *parser) selection(st *statement) error {
	for {
		c, ok := p.column()
		if !ok {
			return errSQL
		}
		if p.word("as") {
			if c.as = p.name(); c.as == "" {
				return errSQL
			}
		}
		st.columns = append(st.columns, c)
		if !p.word(",") {
			break
		}
	}
	if !p.word("from") {
		for _, c := range st.columns {
			if !c.constant {
				return errSQL
			}
		}
		return nil
	}
	if st.table = p.name(); st.table == "" {
		return errSQL
	}
	return p.tail(st)
}

// column takes one result column, but for its other name.
func (p *parser) column() (c column, ok bool) {
	if value, ok := p.value(); ok {
		return column{name: value, as: value, constant: true}, true
	}
	if p.word("*") {
		return column{name: "*"}, true
	}
	name := p.name()
	switch {
	case name == "count" && p.word("("):
		return column{name: "count(*)", as: "count(*)"}, p.word("*") && p.word(")")
	case name == "coalesce" && p.word("("):
		return p.coalesce()
	}
	return column{name: name, as: name}, name != ""
}

// coalesce takes what stands between the parentheses, and the closing one.
func (p *parser) coalesce() (c column, ok bool) {
	c.name = p.name()
	if c.name == "" || !p.word(",") {
		return c, false
	}
	c.as = "coalesce(" + c.name + ")"
	if c.fallback, ok = p.value(); !ok {
		return c, false
	}
	return c, p.word(")")
}

func (p *parser) tail(st *statement) (err error) {
	if p.word("where") {
		if st.where, err = p.either(); err != nil {
			return err
		}
	}
	if p.word("order") {
		if !p.word("by") {
			return errSQL
		}
		if st.orderBy = p.name(); st.orderBy == "" {
			return errSQL
		}
		st.desc = p.word("desc")
		p.word("asc")
	}
	if p.word("limit") {
		text, ok := p.value()
		if st.limit, err = strconv.Atoi(text); !ok || err != nil {
			return errSQL
		}
	}
	return nil
}

func (p *parser) either() (condition, error) {
	left, err := p.both()
	for err == nil && p.word("or") {
		var right condition
		right, err = p.both()
		left = orCondition{left, right}
	}
	return left, err
}

func (p *parser) both() (condition, error) {
	left, err := p.single()
	for err == nil && p.word("and") {
		var right condition
		right, err = p.single()
		left = andCondition{left, right}
	}
	return left, err
}

// maxTokens bounds a statement, and with it the nesting of parentheses and nots.
const maxTokens = 10_000

func (p *parser) single() (condition, error) {
	if len(p.tokens) > maxTokens {
		return nil, errSQL
	}
	if p.word("not") {
		c, err := p.single()
		return notCondition{c}, err
	}
	if p.word("(") {
		c, err := p.either()
		if err == nil && !p.word(")") {
			err = errSQL
		}
		return c, err
	}
	name := p.name()
	if name == "" {
		return nil, errSQL
	}
	negate := p.word("not")
	c := comparison{column: name}
	for _, op := range []string{"=", "==", "!=", "<>", "<", "<=", ">", ">=", "like", "in"} {
		if p.word(op) {
			c.op = op
			break
		}
	}
	switch c.op {
	case "==":
		c.op = "="
	case "<>":
		c.op = "!="
	case "":
		return nil, errSQL
	}
	if negate && c.op != "like" && c.op != "in" {
		return nil, errSQL
	}
	if err := p.operands(&c); err != nil {
		return nil, err
	}
	if negate {
		return notCondition{c}, nil
	}
	return c, nil
}

func (p *parser) operands(c *comparison) error {
	list := c.op == "in"
	if list && !p.word("(") {
		return errSQL
	}
	for {
		value, ok := p.value()
		if !ok {
			return errSQL
		}
		c.values = append(c.values, value)
		if !list {
			return nil
		}
		if !p.word(",") {
			break
		}
	}
	if !p.word(")") {
		return errSQL
	}
	return nil
}

// run selects from rows.
func (st *statement) run(rows []row, known []string) []row {
	var found []row
	for _, r := range rows {
		if st.where == nil || st.where.holds(r) {
			found = append(found, r)
		}
	}
	if st.orderBy != "" {
		slices.SortStableFunc(found, func(a, b row) int {
			by := order(a[st.orderBy], b[st.orderBy])
			if st.desc {
				by = -by
			}
			return by
		})
	}
	if slices.ContainsFunc(st.columns, func(c column) bool { return c.name == "count(*)" }) {
		found = []row{{"count(*)": strconv.Itoa(len(found))}}
	}
	if st.limit >= 0 && len(found) > st.limit {
		found = found[:st.limit]
	}
	out := make([]row, 0, len(found))
	for _, r := range found {
		out = append(out, st.project(r, known))
	}
	return out
}

func (st *statement) project(r row, known []string) row {
	out := row{}
	for _, c := range st.columns {
		switch {
		case c.name == "*":
			for _, name := range known {
				out[name] = r[name]
			}
		case c.constant:
			out[c.as] = c.name
		default:
			value, there := r[c.name]
			if !there {
				value = c.fallback
			}
			out[c.as] = value
		}
	}
	return out
}

// valid reports whether the table has every column that the statement names.
func (st *statement) valid(known []string) bool {
	names := []string{}
	for _, c := range st.columns {
		if !c.constant && c.name != "*" && c.name != "count(*)" {
			names = append(names, c.name)
		}
	}
	if st.orderBy != "" {
		names = append(names, st.orderBy)
	}
	walk(st.where, func(c comparison) { names = append(names, c.column) })
	for _, name := range names {
		if !slices.Contains(known, name) {
			return false
		}
	}
	return true
}

// walk visits the comparisons of a condition.
func walk(c condition, visit func(comparison)) {
	switch c := c.(type) {
	case andCondition:
		walk(c[0], visit)
		walk(c[1], visit)
	case orCondition:
		walk(c[0], visit)
		walk(c[1], visit)
	case notCondition:
		walk(c[0], visit)
	case comparison:
		visit(c)
	}
}
