package jq

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/itchyny/gojq"
)

// Most conditions are of a few simple forms, and a playbook has five of them. Setting
// up the interpreter takes ten times as long as what they do, so that these forms are
// carried out by Go functions instead. They know a part of jq only, and a part of that
// only for some values: whenever one is not sure what jq would say, and for every
// error, the whole program is left to the interpreter, which begins anew. So there is
// one meaning and one text of each error; a test compares the two on generated
// programs.

// direct carries out a query that yields at most one value.
type direct func(r *directRun, in any) (any, outcome)

// outcome is how a direct query ended.
type outcome int

const (
	unsure outcome = iota // ask the interpreter
	one                   // a value
	none                  // nothing, as empty yields
	failed                // surely an error, which try and ? catch
)

// directRun is the state of one direct run. Its bounds are low: the interpreter, which
// takes over, has the real ones.
type directRun struct {
	run   run
	vars  []any
	items int // of arrays, left to look at
}

// directRuns are used again and again. What they held is let go before.
var directRuns = sync.Pool{New: func() any { return new(directRun) }}

const (
	directItems = 4096
	directSteps = 2e6      // of regular expressions
	directText  = 64 << 10 // bytes of a text that is worked on
)

// directly runs the program without the interpreter. The last result is false where
// that cannot tell.
func (p *Program) directly(ctx context.Context, input any, vars []any) (v any, sure bool) {
	if p.direct == nil || len(vars) != len(p.vars) || ctx.Err() != nil {
		return nil, false
	}
	r := directRuns.Get().(*directRun)
	r.run = run{program: p, ctx: ctx, budget: totalBudget, steps: directSteps}
	r.vars, r.items = append(r.vars, vars...), directItems
	defer func() {
		if recover() != nil {
			v, sure = nil, false // the interpreter tells what is wrong
		}
		clear(r.vars)
		*r = directRun{vars: r.vars[:0]}
		directRuns.Put(r)
	}()
	v, how := p.direct(r, input)
	if how != one {
		return nil, false
	}
	v, err := plain(v)
	return v, err == nil
}

// director makes direct queries. Its methods return nil for what they do not know.
type director struct {
	vars      []string
	functions []function
}

func (d *director) query(q *gojq.Query) direct {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return nil
	}
	if q.Term != nil {
		return d.term(q.Term)
	}
	left, right := d.query(q.Left), d.query(q.Right)
	if left == nil || right == nil {
		return nil
	}
	switch q.Op {
	case gojq.OpPipe:
		return func(r *directRun, in any) (any, outcome) {
			v, how := left(r, in)
			if how != one {
				return nil, how
			}
			return right(r, v)
		}
	case gojq.OpAlt:
		return func(r *directRun, in any) (any, outcome) {
			v, how := left(r, in)
			if how == one && truthy(v) || how == failed || how == unsure {
				return v, how
			}
			return right(r, in)
		}
	case gojq.OpAnd, gojq.OpOr:
		settles := q.Op == gojq.OpOr
		return func(r *directRun, in any) (any, outcome) {
			v, how := left(r, in)
			if how != one {
				return nil, how
			}
			if truthy(v) == settles {
				return settles, one
			}
			if v, how = right(r, in); how != one {
				return nil, how
			}
			return truthy(v), one
		}
	}
	if verdict := comparisons[q.Op]; verdict != nil {
		return func(r *directRun, in any) (any, outcome) {
			v, how := left(r, in)
			if how != one {
				return nil, unsure // what the other side does decides
			}
			x, how := right(r, in)
			if how != one {
				return nil, how
			}
			c, ok := compareScalars(v, x)
			if !ok {
				return nil, unsure
			}
			return verdict(c), one
		}
	}
	return nil
}

var comparisons = map[gojq.Operator]func(c int) bool{
	gojq.OpEq: func(c int) bool { return c == 0 }, gojq.OpNe: func(c int) bool { return c != 0 },
	gojq.OpLt: func(c int) bool { return c < 0 }, gojq.OpLe: func(c int) bool { return c <= 0 },
	gojq.OpGt: func(c int) bool { return c > 0 }, gojq.OpGe: func(c int) bool { return c >= 0 },
}

func compareScalars(left, right any) (int, bool) {
	if l, ok := left.(string); ok {
		if x, ok := right.(string); ok {
			return strings.Compare(l, x), true
		}
	}
	if !scalar(left) || !scalar(right) {
		return 0, false
	}
	return gojq.Compare(left, right), true
}

func scalar(v any) bool {
	switch v.(type) {
	case nil, bool, string, int, float64:
		return true
	}
	return false
}

func truthy(v any) bool { return v != nil && v != false }

func constant(v any) direct {
	return func(*directRun, any) (any, outcome) { return v, one }
}

// term is a term with what follows it: .a.b, .a?, .a["b"].
func (d *director) term(t *gojq.Term) direct {
	f := d.head(t)
	for i, s := range t.SuffixList {
		if f == nil {
			return nil
		}
		before, name := f, fieldName(s.Index)
		switch {
		case s.Optional && i > 0 && t.SuffixList[i-1].Index != nil:
			// Part of the step before it.
		case s.Optional:
			f = func(r *directRun, in any) (any, outcome) { return optional(before(r, in)) }
		case name != "":
			quiet := i+1 < len(t.SuffixList) && t.SuffixList[i+1].Optional
			f = func(r *directRun, in any) (any, outcome) {
				v, how := before(r, in)
				switch {
				case how != one:
					return nil, how
				case quiet: // .a.b? is .a | .b?
					return optional(field(v, name))
				}
				return field(v, name)
			}
		default:
			return nil
		}
	}
	return f
}

func optional(v any, how outcome) (any, outcome) {
	if how == failed {
		return nil, none
	}
	return v, how
}

func field(v any, name string) (any, outcome) {
	switch v := v.(type) {
	case map[string]any:
		return v[name], one
	case nil:
		return nil, one
	}
	return nil, failed
}

func (d *director) head(t *gojq.Term) direct {
	switch t.Type {
	case gojq.TermTypeIdentity:
		return func(_ *directRun, in any) (any, outcome) { return in, one }
	case gojq.TermTypeIndex:
		if name := fieldName(t.Index); name != "" {
			return func(_ *directRun, in any) (any, outcome) { return field(in, name) }
		}
	case gojq.TermTypeNull:
		return constant(nil)
	case gojq.TermTypeTrue:
		return constant(true)
	case gojq.TermTypeFalse:
		return constant(false)
	case gojq.TermTypeNumber:
		if v, ok := literal(t); ok {
			return constant(v)
		}
	case gojq.TermTypeString:
		return d.text(t.Str)
	case gojq.TermTypeQuery:
		return d.query(t.Query)
	case gojq.TermTypeArray:
		return d.array(t.Array)
	case gojq.TermTypeFunc:
		return d.function(t.Func)
	case gojq.TermTypeTry:
		return d.try(t.Try)
	case gojq.TermTypeIf:
		return d.condition(t.If)
	}
	return nil
}

// literal is the value of a number, a text without expressions, or a list of such.
func literal(t *gojq.Term) (any, bool) {
	if t == nil || len(t.SuffixList) > 0 {
		return nil, false
	}
	switch t.Type {
	case gojq.TermTypeNull:
		return nil, true
	case gojq.TermTypeString:
		if t.Str.Queries == nil {
			return t.Str.Str, true
		}
	case gojq.TermTypeNumber:
		v, _ := (&gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: t.Number}}).Run(nil).Next()
		switch v.(type) {
		case int, float64:
			return v, true
		}
	case gojq.TermTypeArray:
		list := []any{}
		for _, q := range listed(t.Array.Query) {
			v, ok := literal(q.Term)
			if !ok || len(q.FuncDefs) > 0 {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	}
	return nil, false
}

// literalText is the text that a query is, when it is nothing else.
func literalText(q *gojq.Query) (string, bool) {
	if q == nil || len(q.FuncDefs) > 0 {
		return "", false
	}
	if v, ok := literal(q.Term); ok {
		text, isText := v.(string)
		return text, isText
	}
	return "", false
}

// listed is a, b, c as a list.
func listed(q *gojq.Query) []*gojq.Query {
	switch {
	case q == nil:
		return nil
	case q.Term == nil && q.Op == gojq.OpComma && len(q.FuncDefs) == 0:
		return append(listed(q.Left), listed(q.Right)...)
	}
	return []*gojq.Query{q}
}

// text is a text with expressions, as long as those yield texts.
func (d *director) text(s *gojq.String) direct {
	if s.Queries == nil {
		return constant(s.Str)
	}
	parts := make([]direct, len(s.Queries))
	for i, q := range s.Queries {
		if parts[i] = d.query(q); parts[i] == nil {
			return nil
		}
	}
	return func(r *directRun, in any) (any, outcome) {
		var b strings.Builder
		for _, part := range parts {
			v, how := part(r, in)
			text, ok := v.(string)
			if how != one || !ok || b.Len()+len(text) > directText {
				return nil, unsure
			}
			b.WriteString(text)
		}
		return b.String(), one
	}
}

func (d *director) array(a *gojq.Array) direct {
	if v, ok := literal(&gojq.Term{Type: gojq.TermTypeArray, Array: a}); ok {
		return constant(v)
	}
	var items []direct
	for _, q := range listed(a.Query) {
		item := d.query(q)
		if item == nil {
			return nil
		}
		items = append(items, item)
	}
	return func(r *directRun, in any) (any, outcome) {
		list := make([]any, 0, len(items))
		for _, item := range items {
			switch v, how := item(r, in); how {
			case one:
				list = append(list, v)
			case failed, unsure:
				return nil, how
			}
		}
		return list, one
	}
}

// try catches errors, as long as what it does then does not depend on them.
func (d *director) try(t *gojq.Try) direct {
	body, how := d.query(t.Body), none
	var instead any
	if t.Catch != nil {
		v, ok := literal(t.Catch.Term)
		if !ok || len(t.Catch.FuncDefs) > 0 {
			return nil
		}
		instead, how = v, one
	}
	if body == nil {
		return nil
	}
	return func(r *directRun, in any) (any, outcome) {
		v, ended := body(r, in)
		if ended == failed {
			return instead, how
		}
		return v, ended
	}
}

func (d *director) condition(c *gojq.If) direct {
	if len(c.Elif) > 0 {
		return nil
	}
	cond, then, other := d.query(c.Cond), d.query(c.Then), direct(func(_ *directRun, in any) (any, outcome) { return in, one })
	if c.Else != nil {
		other = d.query(c.Else)
	}
	if cond == nil || then == nil || other == nil {
		return nil
	}
	return func(r *directRun, in any) (any, outcome) {
		v, how := cond(r, in)
		if how != one {
			return nil, how
		}
		if truthy(v) {
			return then(r, in)
		}
		return other(r, in)
	}
}

// function is a call of a function that is known here, or of one of the caller's.
func (d *director) function(f *gojq.Func) direct {
	if i := slices.Index(d.vars, f.Name); i >= 0 {
		return func(r *directRun, _ any) (any, outcome) { return r.vars[i], one }
	}
	if make := directFunctions[signature{f.Name, len(f.Args)}]; make != nil {
		return make(d, f.Args)
	}
	for _, own := range d.functions {
		if own.name == f.Name && own.min <= len(f.Args) && len(f.Args) <= own.max {
			return d.own(own.f, f.Args)
		}
	}
	return nil
}

// own calls a function of the caller's.
func (d *director) own(f func(in any, args []any) any, queries []*gojq.Query) direct {
	args, constants := make([]direct, len(queries)), make([]any, len(queries))
	fixed := true
	for i, q := range queries {
		if args[i] = d.query(q); args[i] == nil {
			return nil
		}
		v, ok := literal(q.Term)
		constants[i], fixed = v, fixed && ok && len(q.FuncDefs) == 0
	}
	return func(r *directRun, in any) (any, outcome) {
		values := constants
		if !fixed {
			values = make([]any, len(args))
			for i, arg := range args {
				v, how := arg(r, in)
				if how != one {
					return nil, unsure
				}
				values[i] = v
			}
		}
		v := f(in, values)
		if _, isErr := v.(error); isErr {
			return nil, failed
		}
		return v, one
	}
}
