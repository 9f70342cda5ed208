package jq

import (
	"maps"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// Paths lists the fields of the input that the program surely reads, such as
// .alert.host.name, as far as they can be told without running it; [] stands for
// the items of an array. What cannot be told is left out.
func (p *Program) Paths() []string {
	out := make([]string, len(p.paths))
	for i, fields := range p.paths {
		out[i] = "." + strings.ReplaceAll(strings.Join(fields, "."), ".[]", "[]")
	}
	return out
}

// Fields is Paths as lists of names; "[]" stands for the items of an array.
func (p *Program) Fields() [][]string { return p.paths }

// plainPath tells whether a query is nothing but .a.b.c, or . alone.
func plainPath(q *gojq.Query) ([]string, bool) {
	t := q.Term
	if t == nil || len(q.FuncDefs) > 0 {
		return nil, false
	}
	var fields []string
	switch {
	case t.Type == gojq.TermTypeIdentity:
	case t.Type == gojq.TermTypeIndex && fieldName(t.Index) != "":
		fields = append(fields, fieldName(t.Index))
	default:
		return nil, false
	}
	for _, s := range t.SuffixList {
		if s.Index == nil || fieldName(s.Index) == "" {
			return nil, false
		}
		fields = append(fields, fieldName(s.Index))
	}
	return fields, true
}

// fieldName is the constant name that an index asks for, or "".
func fieldName(x *gojq.Index) string {
	switch {
	case x == nil || x.IsSlice:
		return ""
	case x.Name != "":
		return x.Name
	case x.Str != nil && x.Str.Queries == nil:
		return x.Str.Str
	case x.Start != nil && x.Start.Term != nil && x.Start.Term.Type == gojq.TermTypeString &&
		x.Start.Term.Str.Queries == nil && len(x.Start.Term.SuffixList) == 0:
		return x.Start.Term.Str.Str
	}
	return ""
}

// place is what is known of a value: where in the input it comes from.
type place struct {
	known  bool
	fields []string
}

func (p place) field(name string) place {
	if !p.known {
		return place{}
	}
	return place{true, append(slices.Clone(p.fields), name)}
}

// tracer follows places through a query without running it.
type tracer struct {
	found map[string][]string
	vars  map[string]place
	own   map[signature]bool // functions that the program defines
}

func fieldPaths(q *gojq.Query) [][]string {
	t := &tracer{found: map[string][]string{}, vars: map[string]place{}, own: map[signature]bool{}}
	t.query(q, place{known: true})
	var paths [][]string
	for _, key := range slices.Sorted(maps.Keys(t.found)) {
		paths = append(paths, t.found[key])
	}
	return paths
}

func (t *tracer) uses(p place) place {
	if p.known && len(p.fields) > 0 {
		t.found[strings.Join(p.fields, "\x00")] = p.fields
	}
	return p
}

func (t *tracer) query(q *gojq.Query, in place) place {
	if q == nil {
		return place{}
	}
	for _, def := range q.FuncDefs {
		t.own[signature{def.Name, len(def.Args)}] = true
		for _, arg := range def.Args {
			t.own[signature{arg, 0}] = true
		}
		t.query(def.Body, place{})
	}
	if q.Term != nil {
		return t.term(q.Term, in)
	}
	left := t.query(q.Left, in)
	switch q.Op {
	case gojq.OpPipe:
		if q.Patterns == nil {
			return t.query(q.Right, left)
		}
		saved := maps.Clone(t.vars)
		for _, p := range q.Patterns {
			t.pattern(p, left)
		}
		out := t.query(q.Right, in)
		t.vars = saved
		return out
	case gojq.OpModify:
		t.query(q.Right, left)
	default:
		t.query(q.Right, in)
	}
	return place{}
}

// pattern gives the variables of a destructuring their places.
func (t *tracer) pattern(p *gojq.Pattern, in place) {
	if p == nil {
		return
	}
	if p.Name != "" {
		t.vars[p.Name] = in
	}
	for _, item := range p.Array {
		t.pattern(item, t.uses(in.field("[]")))
	}
	for _, kv := range p.Object {
		name := kv.Key
		switch {
		case kv.KeyString != nil && kv.KeyString.Queries == nil:
			name = kv.KeyString.Str
		case kv.KeyString != nil || kv.KeyQuery != nil:
			name = ""
		}
		at := place{}
		switch {
		case strings.HasPrefix(name, "$"): // {$name} is {name: $name}
			at = t.uses(in.field(name[1:]))
			t.vars[name] = at
		case name != "":
			at = t.uses(in.field(name))
		default:
			t.uses(in)
		}
		t.pattern(kv.Val, at)
	}
}

func (t *tracer) term(term *gojq.Term, in place) place {
	p := t.head(term, in)
	for _, s := range term.SuffixList {
		switch {
		case s.Index != nil:
			if s.Index.Str != nil {
				t.text(s.Index.Str, in)
			}
			t.query(s.Index.Start, in)
			t.query(s.Index.End, in)
			p = t.step(p, s.Index)
		case s.Iter:
			p = p.field("[]")
		}
	}
	return t.uses(p)
}

// step goes to a field or an item. Where only the run tells which, all of it is read.
func (t *tracer) step(p place, x *gojq.Index) place {
	if name := fieldName(x); name != "" {
		return p.field(name)
	}
	if x.IsSlice {
		return p
	}
	if isNumber(x.Start) {
		return p.field("[]")
	}
	t.uses(p)
	return place{}
}

// isNumber reports whether an index is a number as it stands: 1 or -1.
func isNumber(q *gojq.Query) bool {
	if q == nil || q.Term == nil {
		return false
	}
	term := q.Term
	if term.Type == gojq.TermTypeUnary {
		term = term.Unary.Term
	}
	return term.Type == gojq.TermTypeNumber
}

func (t *tracer) text(s *gojq.String, in place) {
	for _, q := range s.Queries {
		t.query(q, in)
	}
}

func (t *tracer) head(term *gojq.Term, in place) place {
	switch term.Type {
	case gojq.TermTypeIdentity:
		return in
	case gojq.TermTypeIndex:
		if term.Index.Str != nil {
			t.text(term.Index.Str, in)
		}
		t.query(term.Index.Start, in)
		t.query(term.Index.End, in)
		return t.step(in, term.Index)
	case gojq.TermTypeFunc:
		return t.function(term.Func, in)
	case gojq.TermTypeObject:
		for _, kv := range term.Object.KeyVals {
			switch {
			case kv.KeyString != nil:
				t.text(kv.KeyString, in)
			case kv.KeyQuery != nil:
				t.query(kv.KeyQuery, in)
			case kv.Val == nil && !strings.HasPrefix(kv.Key, "$"):
				t.uses(in.field(kv.Key))
			}
			t.query(kv.Val, in)
		}
	case gojq.TermTypeArray:
		t.query(term.Array.Query, in)
	case gojq.TermTypeUnary:
		t.term(term.Unary.Term, in)
	case gojq.TermTypeString, gojq.TermTypeFormat:
		if term.Str != nil {
			t.text(term.Str, in)
		}
	case gojq.TermTypeIf:
		t.query(term.If.Cond, in)
		t.query(term.If.Then, in)
		for _, e := range term.If.Elif {
			t.query(e.Cond, in)
			t.query(e.Then, in)
		}
		t.query(term.If.Else, in)
	case gojq.TermTypeTry:
		out := t.query(term.Try.Body, in)
		t.query(term.Try.Catch, place{})
		return out
	case gojq.TermTypeReduce:
		t.query(term.Reduce.Query, in)
		t.query(term.Reduce.Start, in)
		t.query(term.Reduce.Update, place{})
	case gojq.TermTypeForeach:
		t.query(term.Foreach.Query, in)
		t.query(term.Foreach.Start, in)
		t.query(term.Foreach.Update, place{})
		t.query(term.Foreach.Extract, place{})
	case gojq.TermTypeLabel:
		return t.query(term.Label.Body, in)
	case gojq.TermTypeQuery:
		return t.query(term.Query, in)
	}
	return place{}
}

// functions whose arguments see the same input as the call, those that pass
// their input on, and those whose arguments see its items.
var (
	sameInput = strings.Fields(`test match capture scan split splits sub gsub startswith endswith ltrimstr rtrimstr trimstr
		contains inside has in index rindex indices join IN at_least in_list cidr age first last limit isempty path paths del
		getpath flatten range error strftime strptime pick delpaths
		nth skip add until while repeat recurse setpath bsearch combinations pow atan2 fmin fmax fmod ldexp`)
	passesInput = strings.Fields("select")
	itemsInput  = strings.Fields("map map_values any all sort_by group_by unique_by min_by max_by")
	narrowing   = strings.Fields("arrays objects iterables strings numbers booleans values nulls scalars")
)

func (t *tracer) function(f *gojq.Func, in place) place {
	if strings.HasPrefix(f.Name, "$") {
		return t.vars[f.Name]
	}
	args := place{}
	if !t.own[signature{f.Name, len(f.Args)}] {
		switch {
		case slices.Contains(narrowing, f.Name) && len(f.Args) == 0:
			return in
		case slices.Contains(passesInput, f.Name):
			t.query(f.Args[0], in)
			return in
		case (f.Name == "any" || f.Name == "all") && len(f.Args) == 2:
			t.query(f.Args[1], t.query(f.Args[0], in))
			return place{}
		case slices.Contains(sameInput, f.Name):
			args = in
		case slices.Contains(itemsInput, f.Name):
			args = in.field("[]")
		}
	}
	for _, a := range f.Args {
		t.query(a, args)
	}
	return place{}
}

// quickCalls are functions that yield one value in a time bounded by the size of
// their input and by the limits of native.go.
var quickCalls = func() map[string]bool {
	quick := map[string]bool{}
	for _, name := range strings.Fields(`not length test startswith endswith ltrimstr rtrimstr trimstr ltrim rtrim trim ascii_downcase ascii_upcase
		tostring tonumber tojson type has contains inside index rindex join split at_least in_list cidr age hash_kind defang now true false null
		floor ceil round abs first last add keys sort unique min max any all toboolean`) {
		quick[name] = true
	}
	return quick
}()

// quick reports whether a query surely ends at once: no loops, no generators, no
// functions but quickCalls. Watching the clock costs more than running it.
func quick(q *gojq.Query) bool {
	if q == nil {
		return true
	}
	if len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return false
	}
	if q.Term != nil {
		return quickTerm(q.Term)
	}
	switch q.Op {
	case gojq.OpPipe, gojq.OpAdd, gojq.OpSub, gojq.OpMul, gojq.OpDiv, gojq.OpMod, gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe,
		gojq.OpAnd, gojq.OpOr, gojq.OpAlt:
		return quick(q.Left) && quick(q.Right)
	}
	return false
}

func quickTerm(t *gojq.Term) bool {
	for _, s := range t.SuffixList {
		if s.Iter || s.Index != nil && !quickIndex(s.Index) {
			return false
		}
	}
	switch t.Type {
	case gojq.TermTypeIdentity, gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return true
	case gojq.TermTypeIndex:
		return quickIndex(t.Index)
	case gojq.TermTypeString:
		return quickText(t.Str)
	case gojq.TermTypeQuery:
		return quick(t.Query)
	case gojq.TermTypeFunc:
		// With an argument, any and all take a condition for each item, first and
		// last a generator, add too.
		if !quickCalls[t.Func.Name] || len(t.Func.Args) > 0 && slices.Contains([]string{"any", "all", "first", "last", "add"}, t.Func.Name) {
			return false
		}
		return !slices.ContainsFunc(t.Func.Args, func(q *gojq.Query) bool { return !quick(q) })
	}
	return false
}

func quickIndex(x *gojq.Index) bool {
	return quickText(x.Str) && quick(x.Start) && quick(x.End)
}

func quickText(s *gojq.String) bool {
	return s == nil || !slices.ContainsFunc(s.Queries, func(q *gojq.Query) bool { return !quick(q) })
}

// visitCalls calls f for every function call in a query.
func visitCalls(q *gojq.Query, f func(*gojq.Func)) {
	if q == nil {
		return
	}
	for _, def := range q.FuncDefs {
		visitCalls(def.Body, f)
	}
	visitCalls(q.Left, f)
	visitCalls(q.Right, f)
	if q.Term != nil {
		visitTerm(q.Term, f)
	}
}

func visitTerm(t *gojq.Term, f func(*gojq.Func)) {
	all := func(qs ...*gojq.Query) {
		for _, q := range qs {
			visitCalls(q, f)
		}
	}
	index := func(x *gojq.Index) {
		if x != nil {
			all(x.Start, x.End)
		}
	}
	index(t.Index)
	for _, s := range t.SuffixList {
		index(s.Index)
	}
	switch {
	case t.Func != nil:
		f(t.Func)
		all(t.Func.Args...)
	case t.Object != nil:
		for _, kv := range t.Object.KeyVals {
			all(kv.KeyQuery, kv.Val)
		}
	case t.Array != nil:
		all(t.Array.Query)
	case t.Unary != nil:
		visitTerm(t.Unary.Term, f)
	case t.If != nil:
		all(t.If.Cond, t.If.Then, t.If.Else)
		for _, e := range t.If.Elif {
			all(e.Cond, e.Then)
		}
	case t.Try != nil:
		all(t.Try.Body, t.Try.Catch)
	case t.Reduce != nil:
		all(t.Reduce.Query, t.Reduce.Start, t.Reduce.Update)
	case t.Foreach != nil:
		all(t.Foreach.Query, t.Foreach.Start, t.Foreach.Update, t.Foreach.Extract)
	case t.Label != nil:
		all(t.Label.Body)
	case t.Query != nil:
		all(t.Query)
	}
	if t.Str != nil {
		all(t.Str.Queries...)
	}
}
