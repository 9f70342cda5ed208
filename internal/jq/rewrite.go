package jq

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/itchyny/gojq"
)

// The names that rewriting brings in. Users cannot write a name that starts
// with an underscore, so these never clash with theirs.
const (
	internalPrefix = "_erb_"
	runVariable    = "$_erb"  // holds the *run
	tempVariable   = "$_erb2" // operand of +=, -=, ...
)

//go:embed prelude.jq
var preludeSource string

type signature struct {
	name string
	args int
}

// prelude holds the definitions of prelude.jq, by name without prefix and arity.
var prelude, preludeOrder = readPrelude()

func readPrelude() (map[signature]*gojq.FuncDef, []signature) {
	query, err := gojq.Parse(preludeSource + "\n.")
	if err != nil {
		panic("jq: prelude: " + err.Error())
	}
	defs, order := map[signature]*gojq.FuncDef{}, []signature(nil)
	for _, def := range query.FuncDefs {
		sig := signature{strings.TrimPrefix(def.Name, internalPrefix), len(def.Args)}
		defs[sig] = def
		order = append(order, sig)
	}
	return defs, order
}

// operators that become calls of Go functions, because gojq's own are unbounded.
var operators = map[gojq.Operator]string{
	gojq.OpAdd: "plus", gojq.OpSub: "minus", gojq.OpMul: "times",
	gojq.OpEq: "eq", gojq.OpNe: "ne", gojq.OpLt: "lt", gojq.OpLe: "le", gojq.OpGt: "gt", gojq.OpGe: "ge",
}

var updates = map[gojq.Operator]gojq.Operator{
	gojq.OpUpdateAdd: gojq.OpAdd, gojq.OpUpdateSub: gojq.OpSub, gojq.OpUpdateMul: gojq.OpMul,
	gojq.OpUpdateDiv: gojq.OpDiv, gojq.OpUpdateMod: gojq.OpMod, gojq.OpUpdateAlt: gojq.OpAlt,
}

// forbidden are functions that programs here do not get, and why.
var forbidden = map[string]string{
	"env": "there is no environment", "$ENV": "there is no environment",
	"input": "there is no input but .", "inputs": "there is no input but .",
	"input_filename": "there is no input file", "input_line_number": "there is no input file",
	"debug": "there is nowhere to print to", "stderr": "there is nowhere to print to",
	"halt": "use error(...)", "halt_error": "use error(...)",
	"builtins": "the manual of jq lists them", "modulemeta": "there are no modules", "get_search_list": "there are no modules",
	"fromstream": "it cannot be bounded", "truncate_stream": "it cannot be bounded", "JOIN": "it cannot be bounded",
	"jn": "it cannot be bounded", "yn": "it cannot be bounded",
}

type rewriter struct {
	src     string
	used    map[signature]bool
	depth   int
	defines bool // the program defines functions
	failure *SyntaxError
}

// rewrite replaces, in place, everything that gojq would carry out without bound,
// and puts the definitions that are needed in front. It tells whether the program
// defines functions of its own.
func rewrite(src string, q *gojq.Query) (_ *gojq.Query, defines bool, _ error) {
	r := &rewriter{src: src, used: map[signature]bool{}}
	if len(q.Imports) > 0 || q.Meta != nil {
		return nil, false, &SyntaxError{Msg: "modules cannot be imported"}
	}
	r.query(q)
	if r.failure != nil {
		return nil, false, r.failure
	}
	var defs []*gojq.FuncDef
	for _, sig := range preludeOrder {
		if r.used[sig] {
			defs = append(defs, prelude[sig])
		}
	}
	if len(defs) == 0 {
		return q, r.defines, nil
	}
	q.FuncDefs = append(defs, q.FuncDefs...)
	return q, r.defines, nil
}

// need marks a definition and those it calls.
func (r *rewriter) need(sig signature) {
	if r.used[sig] {
		return
	}
	r.used[sig] = true
	for _, dep := range preludeNeeds[sig] {
		r.need(dep)
	}
}

// preludeNeeds tells which definitions of the prelude call which.
var preludeNeeds = func() map[signature][]signature {
	needs := map[signature][]signature{}
	for sig, def := range prelude {
		visitCalls(def.Body, func(f *gojq.Func) {
			dep := signature{strings.TrimPrefix(f.Name, internalPrefix), len(f.Args)}
			if strings.HasPrefix(f.Name, internalPrefix) && prelude[dep] != nil && dep != sig {
				needs[sig] = append(needs[sig], dep)
			}
		})
	}
	return needs
}()

func (r *rewriter) fail(name, format string, args ...any) {
	if r.failure == nil {
		r.failure = &SyntaxError{Offset: nameOffset(r.src, name), Msg: fmt.Sprintf(format, args...)}
	}
}

func call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

func pipe(left, right *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: left, Op: gojq.OpPipe, Right: right}
}

// native calls a Go function with the run as its first argument.
func native(name string, args ...*gojq.Query) *gojq.Query {
	return call(internalPrefix+name, append([]*gojq.Query{call(runVariable)}, args...)...)
}

func (r *rewriter) defined(name string, args ...*gojq.Query) *gojq.Query {
	r.need(signature{name, len(args)})
	return call(internalPrefix+name, args...)
}

func (r *rewriter) queries(qs ...*gojq.Query) {
	for _, q := range qs {
		if q != nil {
			r.query(q)
		}
	}
}

func (r *rewriter) query(q *gojq.Query) {
	r.depth++
	defer func() { r.depth-- }()
	if r.depth > maxNesting {
		r.fail("", "the expression is nested deeper than %d levels", maxNesting)
		return
	}
	for _, def := range q.FuncDefs {
		r.defines = true
		r.declares(def.Name, len(def.Args))
		for _, arg := range def.Args {
			r.declares(arg, 0)
		}
		r.query(def.Body)
	}
	r.patterns(q.Patterns)
	if q.Term != nil {
		r.term(q.Term)
		return
	}
	r.queries(q.Left, q.Right)
	if q.Left == nil || q.Right == nil {
		return
	}
	switch {
	case operators[q.Op] != "":
		*q = gojq.Query{FuncDefs: q.FuncDefs, Term: native(operators[q.Op], q.Left, q.Right).Term}
	case q.Op == gojq.OpAssign:
		*q = gojq.Query{FuncDefs: q.FuncDefs, Term: r.defined("assign", q.Left, q.Right).Term}
	case q.Op == gojq.OpModify:
		*q = gojq.Query{FuncDefs: q.FuncDefs, Term: r.defined("modify", q.Left, q.Right).Term}
	case updates[q.Op] != 0:
		// .a += f is f as $x | .a |= . + $x.
		var value gojq.Query
		identity := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}}
		if name := operators[updates[q.Op]]; name != "" {
			value = *native(name, identity, call(tempVariable))
		} else {
			value = gojq.Query{Left: identity, Op: updates[q.Op], Right: call(tempVariable)}
		}
		*q = gojq.Query{
			FuncDefs: q.FuncDefs, Left: q.Right, Op: gojq.OpPipe, Patterns: []*gojq.Pattern{{Name: tempVariable}},
			Right: r.defined("modify", q.Left, &value),
		}
	}
}

// declares refuses definitions that would hide a function which the rewriting
// gives another meaning.
func (r *rewriter) declares(name string, args int) {
	plainName := strings.TrimPrefix(name, "$")
	if strings.HasPrefix(plainName, "_") {
		r.fail(name, "names that start with an underscore are reserved: %s", name)
	}
	if prelude[signature{name, args}] != nil || forbidden[name] != "" {
		r.fail(name, "%s cannot be defined anew", name)
	}
}

func (r *rewriter) patterns(patterns []*gojq.Pattern) {
	for _, p := range patterns {
		if strings.HasPrefix(p.Name, "$_") {
			r.fail(p.Name, "names that start with an underscore are reserved: %s", p.Name)
		}
		r.patterns(p.Array)
		for _, o := range p.Object {
			if o.KeyString != nil && o.KeyString.Queries != nil {
				o.KeyQuery, o.KeyString = r.interpolate(o.KeyString, nil), nil
			} else if o.KeyQuery != nil {
				r.query(o.KeyQuery)
				o.KeyQuery = pipe(o.KeyQuery, native("key"))
			}
			if strings.HasPrefix(o.Key, "$_") {
				r.fail(o.Key, "names that start with an underscore are reserved: %s", o.Key)
			}
			if o.Val != nil {
				r.patterns([]*gojq.Pattern{o.Val})
			}
		}
	}
}

func (r *rewriter) term(t *gojq.Term) {
	for _, s := range t.SuffixList {
		r.index(s.Index)
	}
	switch t.Type {
	case gojq.TermTypeIndex:
		r.index(t.Index)
	case gojq.TermTypeFunc:
		r.function(t)
	case gojq.TermTypeObject:
		if r.object(t.Object); len(t.Object.KeyVals) > 0 {
			made := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeObject, Object: t.Object}}
			become(t, pipe(made, native("object")))
		}
	case gojq.TermTypeArray:
		r.queries(t.Array.Query)
	case gojq.TermTypeUnary:
		r.term(t.Unary.Term)
	case gojq.TermTypeString:
		if t.Str.Queries != nil {
			become(t, r.interpolate(t.Str, nil))
		}
	case gojq.TermTypeFormat:
		plainFormat := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFormat, Format: t.Format}}
		switch {
		case t.Str == nil:
			become(t, pipe(roomForFormat(), plainFormat))
		case t.Str.Queries == nil:
			*t = gojq.Term{Type: gojq.TermTypeString, Str: t.Str, SuffixList: t.SuffixList}
		default:
			become(t, r.interpolate(t.Str, pipe(roomForFormat(), plainFormat)))
		}
	case gojq.TermTypeIf:
		r.queries(t.If.Cond, t.If.Then, t.If.Else)
		for _, e := range t.If.Elif {
			r.queries(e.Cond, e.Then)
		}
	case gojq.TermTypeTry:
		r.queries(t.Try.Body, t.Try.Catch)
	case gojq.TermTypeReduce:
		r.patterns(t.Reduce.Patterns)
		r.queries(t.Reduce.Query, t.Reduce.Start, t.Reduce.Update)
	case gojq.TermTypeForeach:
		r.patterns(t.Foreach.Patterns)
		r.queries(t.Foreach.Query, t.Foreach.Start, t.Foreach.Update, t.Foreach.Extract)
	case gojq.TermTypeLabel:
		r.queries(t.Label.Body)
	case gojq.TermTypeQuery:
		r.query(t.Query)
	}
}

// roomForFormat charges for what @html and others make of a value: "\u0000" is six
// times as long as JSON, and is written to a buffer that grows.
func roomForFormat() *gojq.Query {
	return native("room", &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: "10"}})
}

// become turns a term into a query in parentheses; its suffixes stay.
func become(t *gojq.Term, q *gojq.Query) {
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: q, SuffixList: t.SuffixList}
}

func (r *rewriter) function(t *gojq.Term) {
	f := t.Func
	if why := forbidden[f.Name]; why != "" {
		r.fail(f.Name, "%s is not available here: %s", f.Name, why)
		return
	}
	if strings.HasPrefix(strings.TrimPrefix(f.Name, "$"), "_") && f.Name != "$__loc__" {
		r.fail(f.Name, "unknown name %s", f.Name)
		return
	}
	r.queries(f.Args...)
	if sig := (signature{f.Name, len(f.Args)}); prelude[sig] != nil {
		r.need(sig)
		f.Name = internalPrefix + f.Name
	}
}

func (r *rewriter) object(o *gojq.Object) {
	for _, kv := range o.KeyVals {
		if kv.KeyString != nil && kv.KeyString.Queries != nil {
			key := r.interpolate(kv.KeyString, nil)
			if kv.Val == nil { // {"a\(.b)"} is {"a\(.b)": .["a\(.b)"]}
				kv.Val = &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIndex, Index: &gojq.Index{Start: key}}}
			} else {
				r.query(kv.Val)
			}
			kv.KeyQuery, kv.KeyString = key, nil
			continue
		}
		if strings.HasPrefix(kv.Key, "$") {
			if forbidden[kv.Key] != "" || strings.HasPrefix(kv.Key, "$_") && kv.Key != "$__loc__" {
				r.fail(kv.Key, "unknown name %s", kv.Key)
			}
		}
		r.queries(kv.KeyQuery, kv.Val)
	}
}

// index guards computed indexes: an array as index would search in one piece.
func (r *rewriter) index(x *gojq.Index) {
	switch {
	case x == nil:
	case x.Str != nil && x.Str.Queries != nil:
		x.Start, x.Str = r.interpolate(x.Str, nil), nil
	case x.IsSlice:
		r.queries(x.Start, x.End)
	case x.Start != nil:
		constant := x.Start.Term != nil && len(x.Start.Term.SuffixList) == 0 &&
			(x.Start.Term.Type == gojq.TermTypeNumber || x.Start.Term.Type == gojq.TermTypeString && x.Start.Term.Str.Queries == nil)
		r.query(x.Start)
		if !constant {
			x.Start = pipe(x.Start, native("key"))
		}
	}
}

// interpolate is "a\(q)b" as a sum: "a" + (q | format) + "b".
func (r *rewriter) interpolate(s *gojq.String, format *gojq.Query) *gojq.Query {
	if format == nil {
		format = r.defined("tostring")
	}
	var sum *gojq.Query
	for _, part := range s.Queries {
		if part.Term == nil || part.Term.Str == nil {
			r.query(part)
			part = pipe(part, format)
		}
		if sum == nil {
			sum = part
		} else {
			sum = native("plus", sum, part)
		}
	}
	return sum
}
