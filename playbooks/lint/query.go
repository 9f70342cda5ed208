package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

// comparison is a path of the input held against a constant, somewhere in an
// expression.
type comparison struct {
	path     []string
	op       gojq.Operator // of path op constant
	constant any           // text, number, true, false or nil
	anyCase  bool          // texts are compared without regard to case
}

// query is a parsed expression; nil when it does not parse, which the loader says.
func query(src string) *gojq.Query {
	q, err := gojq.Parse(src)
	if err != nil {
		return nil
	}
	return q
}

// query is query, parsed once for each text.
func (b *book) query(src string) *gojq.Query {
	q, known := b.queries[src]
	if !known {
		q = query(src)
		b.queries[src] = q
	}
	return q
}

// origin is where a value comes from: a path of the input, as far as it is known.
type origin struct {
	known bool
	path  []string
}

func (o origin) field(name string) origin {
	if !o.known || name == "" {
		return origin{}
	}
	return origin{true, append(o.path[:len(o.path):len(o.path)], name)}
}

// compares calls found for each comparison of a path with a constant.
func compares(q *gojq.Query, found func(comparison)) {
	walker{found, func([]string) {}}.query(q, origin{known: true})
}

// reads calls found for each path of the input that an expression surely reads.
func reads(q *gojq.Query, found func(path []string)) {
	walker{func(comparison) {}, found}.query(q, origin{known: true})
}

type walker struct {
	found func(comparison)
	reads func(path []string)
}

func (w walker) query(q *gojq.Query, in origin) origin {
	if q == nil {
		return origin{}
	}
	for _, def := range q.FuncDefs {
		w.query(def.Body, origin{})
	}
	if q.Term != nil {
		return w.term(q.Term, in)
	}
	if q.Op == gojq.OpPipe {
		if q.Patterns != nil {
			w.query(q.Left, in)
			return w.query(q.Right, in)
		}
		return w.query(q.Right, w.query(q.Left, in))
	}
	left, right := w.query(q.Left, in), w.query(q.Right, in)
	switch q.Op {
	case gojq.OpAlt:
		if _, constant := constantOf(q.Right); constant {
			return left
		}
	case gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe:
		if c, ok := constantOf(q.Right); ok && left.known {
			w.found(comparison{left.path, q.Op, c, false})
		}
		if c, ok := constantOf(q.Left); ok && right.known {
			w.found(comparison{right.path, mirrored(q.Op), c, false})
		}
	}
	return origin{}
}

func mirrored(op gojq.Operator) gojq.Operator {
	switch op {
	case gojq.OpGt:
		return gojq.OpLt
	case gojq.OpLt:
		return gojq.OpGt
	case gojq.OpGe:
		return gojq.OpLe
	case gojq.OpLe:
		return gojq.OpGe
	}
	return op
}

func (w walker) term(t *gojq.Term, in origin) origin {
	var at origin
	switch t.Type {
	case gojq.TermTypeIdentity:
		at = in
	case gojq.TermTypeIndex:
		at = in.field(indexName(t.Index))
	case gojq.TermTypeQuery:
		at = w.query(t.Query, in)
	case gojq.TermTypeFunc:
		w.function(t.Func, in)
	case gojq.TermTypeIf:
		w.query(t.If.Cond, in)
		w.query(t.If.Then, in)
		for _, e := range t.If.Elif {
			w.query(e.Cond, in)
			w.query(e.Then, in)
		}
		w.query(t.If.Else, in)
	case gojq.TermTypeArray:
		w.query(t.Array.Query, in)
	case gojq.TermTypeTry:
		at = w.query(t.Try.Body, in)
	}
	for _, s := range t.SuffixList {
		switch {
		case s.Index != nil:
			at = at.field(indexName(s.Index))
		case s.Iter:
			at = at.field("[]")
		}
	}
	if at.known && len(at.path) > 0 {
		w.reads(at.path)
	}
	return at
}

func (w walker) function(f *gojq.Func, in origin) {
	switch {
	case f.Name == "in_list" && len(f.Args) == 1:
		if list, ok := constantOf(f.Args[0]); ok && in.known {
			items, _ := list.([]any)
			for _, item := range items {
				w.found(comparison{in.path, gojq.OpEq, item, true})
			}
		}
	case f.Name == "select" && len(f.Args) == 1:
		w.query(f.Args[0], in)
	default:
		for _, arg := range f.Args {
			w.query(arg, origin{})
		}
	}
}

// indexName is the constant name that an index asks for, or "".
func indexName(x *gojq.Index) string {
	switch {
	case x == nil || x.IsSlice:
		return ""
	case x.Name != "":
		return x.Name
	case x.Str != nil && x.Str.Queries == nil:
		return x.Str.Str
	case x.Start != nil:
		name, _ := constantOf(x.Start)
		text, _ := name.(string)
		return text
	}
	return ""
}

// constantOf is the value of an expression that reads nothing: a literal, a list of
// them, or what logic makes of them.
func constantOf(q *gojq.Query) (any, bool) {
	if q == nil || len(q.FuncDefs) > 0 {
		return nil, false
	}
	if q.Term != nil {
		return constantTerm(q.Term)
	}
	left, ok := constantOf(q.Left)
	if !ok {
		return nil, false
	}
	if q.Op == gojq.OpPipe {
		if f := q.Right.Term; f != nil && f.Type == gojq.TermTypeFunc && f.Func.Name == "not" {
			return !truth(left), true
		}
		return nil, false
	}
	right, ok := constantOf(q.Right)
	if !ok {
		return nil, false
	}
	switch q.Op {
	case gojq.OpAnd:
		return truth(left) && truth(right), true
	case gojq.OpOr:
		return truth(left) || truth(right), true
	case gojq.OpEq:
		return gojq.Compare(left, right) == 0, true
	case gojq.OpNe:
		return gojq.Compare(left, right) != 0, true
	}
	return nil, false
}

func constantTerm(t *gojq.Term) (any, bool) {
	if len(t.SuffixList) > 0 {
		return nil, false
	}
	switch t.Type {
	case gojq.TermTypeNull:
		return nil, true
	case gojq.TermTypeTrue:
		return true, true
	case gojq.TermTypeFalse:
		return false, true
	case gojq.TermTypeNumber:
		f, err := strconv.ParseFloat(t.Number, 64)
		return f, err == nil
	case gojq.TermTypeString:
		return t.Str.Str, t.Str.Queries == nil
	case gojq.TermTypeQuery:
		return constantOf(t.Query)
	case gojq.TermTypeArray:
		return constantList(t.Array.Query)
	}
	return nil, false
}

func constantList(q *gojq.Query) (any, bool) {
	if q == nil {
		return []any{}, true
	}
	if q.Op != gojq.OpComma {
		item, ok := constantOf(q)
		return []any{item}, ok
	}
	left, ok := constantList(q.Left)
	if !ok {
		return nil, false
	}
	right, ok := constantList(q.Right)
	if !ok {
		return nil, false
	}
	return append(left.([]any), right.([]any)...), true
}

func truth(v any) bool { return v != nil && v != false }

// conjuncts are the parts of an expression that must all be true for it to be true.
func conjuncts(q *gojq.Query) []*gojq.Query {
	switch {
	case q == nil || len(q.FuncDefs) > 0:
		return nil
	case q.Term != nil && q.Term.Type == gojq.TermTypeQuery && len(q.Term.SuffixList) == 0:
		return conjuncts(q.Term.Query)
	case q.Term == nil && q.Op == gojq.OpAnd:
		return append(conjuncts(q.Left), conjuncts(q.Right)...)
	}
	return []*gojq.Query{q}
}

// allowed is what an expression demands of one path: that it is one of some texts.
type allowed struct {
	path  string
	texts []string
}

// demands are the paths of which an expression, to be true, allows some texts only:
// .a == "x", or .a | in_list(["x", "y"]).
func demands(q *gojq.Query) []allowed {
	var all []allowed
	for _, part := range conjuncts(q) {
		if part.Term != nil || part.Op != gojq.OpEq && part.Op != gojq.OpPipe {
			continue
		}
		var one allowed
		only := part.Op == gojq.OpEq || isCall(part.Right, "in_list")
		compares(part, func(c comparison) {
			text, isText := c.constant.(string)
			path := strings.Join(c.path, ".")
			only = only && isText && c.op == gojq.OpEq && !slices.Contains(c.path, "[]") && (one.path == "" || one.path == path)
			one = allowed{path, append(one.texts, text)}
		})
		if only && one.path != "" {
			all = append(all, one)
		}
	}
	return all
}

// slip is a part of a condition that is true whatever the alert holds, because an
// operator does something else than it seems to do.
type slip struct{ code, message, hint string }

// slips finds assignments where a comparison is meant, comparisons that // takes for
// its default, and not before what it is to negate.
func slips(q *gojq.Query) []slip {
	switch {
	case q == nil || len(q.FuncDefs) > 0:
		return nil
	case q.Term != nil:
		switch t := q.Term; {
		case t.Type == gojq.TermTypeQuery && len(t.SuffixList) == 0:
			return slips(t.Query)
		case t.Type == gojq.TermTypeFunc && t.Func.Name == "not" && len(t.SuffixList) > 0:
			what := strings.TrimPrefix(t.String(), "not")
			return []slip{{"PB317", "not negates what comes before it, and a truth value has no fields: the condition always ends with an error", "write (" + what + " | not)"}}
		}
		return nil
	}
	switch q.Op {
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod, gojq.OpUpdateAlt:
		return []slip{{"PB315", q.Op.String() + " sets a value and compares nothing: the condition is always true", "write =="}}
	case gojq.OpAnd, gojq.OpOr:
		return append(slips(q.Left), slips(q.Right)...)
	case gojq.OpEq, gojq.OpNe:
		return slips(q.Left) // not .a == "x"
	case gojq.OpPipe:
		return slips(q.Right)
	case gojq.OpAlt:
		first := q.Right
		for first.Op == gojq.OpAnd || first.Op == gojq.OpOr {
			first = first.Left
		}
		if _, constant := constantOf(first.Left); constant && isComparison(first.Op) {
			return []slip{{"PB316", "// takes all of " + short(q.Right.String()) + " for its default: only that is compared",
				"write (" + q.Left.String() + " // " + first.Left.String() + ") " + first.Op.String() + " " + first.Right.String()}}
		}
	}
	return nil
}

func isComparison(op gojq.Operator) bool {
	return slices.Contains([]gojq.Operator{gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe}, op)
}

func isCall(q *gojq.Query, name string) bool {
	return q != nil && q.Term != nil && q.Term.Type == gojq.TermTypeFunc && len(q.Term.SuffixList) == 0 && q.Term.Func.Name == name
}
