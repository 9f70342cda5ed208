package jq

import (
	"maps"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// Reads lists the fields of the input on which anything that the program does may
// depend, down to the second level: [host], [enrich tree]. Unlike Fields, it leaves
// nothing out: with everything, that cannot be told, and the whole input counts. The
// input has to be an object.
func (p *Program) Reads() (fields [][]string, everything bool) { return p.reads, p.readsAll }

// sources is what is known of a value: which parts of the input it may be, or hold,
// that do not count as read yet. The zero value depends on nothing but what counts.
type sources struct {
	input  bool     // the input itself
	fields []string // first fields of it
}

func (s sources) or(other sources) sources {
	return sources{s.input || other.input, append(slices.Clone(s.fields), other.fields...)}
}

// readTracer follows sources through a query without running it. A field counts as
// read when a value that may hold it goes anywhere but into a further field, a
// variable or a result. What is not known here reads its input as a whole.
type readTracer struct {
	found map[string][]string
	all   bool
	vars  map[string]sources
	own   map[signature]bool // functions that the program defines, and their parameters
}

func readFields(q *gojq.Query) (fields [][]string, everything bool) {
	t := &readTracer{found: map[string][]string{}, vars: map[string]sources{}, own: map[signature]bool{}}
	t.ask(q, sources{input: true})
	for _, key := range slices.Sorted(maps.Keys(t.found)) {
		fields = append(fields, t.found[key])
	}
	return fields, t.all
}

func (t *readTracer) read(fields ...string) { t.found[strings.Join(fields, "\x00")] = fields }

// use counts all that a value may hold.
func (t *readTracer) use(s sources) {
	t.all = t.all || s.input
	for _, name := range s.fields {
		t.read(name)
	}
}

// ask is query for a value that is used.
func (t *readTracer) ask(q *gojq.Query, in sources) { t.use(t.query(q, in)) }

func (t *readTracer) asks(in sources, qs ...*gojq.Query) {
	for _, q := range qs {
		t.ask(q, in)
	}
}

func (t *readTracer) query(q *gojq.Query, in sources) sources {
	if q == nil {
		return sources{}
	}
	for _, def := range q.FuncDefs {
		t.own[signature{def.Name, len(def.Args)}] = true
		for _, arg := range def.Args {
			t.own[signature{strings.TrimPrefix(arg, "$"), 0}] = true
		}
	}
	for _, def := range q.FuncDefs { // whoever calls it has used its input
		t.ask(def.Body, sources{})
	}
	switch {
	case q.Term != nil:
		return t.term(q.Term, in)
	case q.Op == gojq.OpPipe && q.Patterns == nil:
		return t.query(q.Right, t.query(q.Left, in))
	case q.Op == gojq.OpPipe:
		saved := maps.Clone(t.vars)
		t.bind(q.Patterns, t.query(q.Left, in), in)
		out := t.query(q.Right, in)
		t.vars = saved
		return out
	case q.Op == gojq.OpComma:
		return t.query(q.Left, in).or(t.query(q.Right, in))
	case q.Op == gojq.OpAlt:
		t.ask(q.Left, in) // whether it is null decides
		return t.query(q.Right, in)
	case q.Op == gojq.OpAssign || q.Op == gojq.OpModify || updates[q.Op] != 0:
		t.use(in)
	}
	t.asks(in, q.Left, q.Right)
	return sources{}
}

// bind gives the variables of a destructuring their sources.
func (t *readTracer) bind(patterns []*gojq.Pattern, value, in sources) {
	for _, p := range patterns {
		if len(patterns) > 1 || p.Array != nil { // alternatives, of which errors decide
			t.use(value)
			value = sources{}
		}
		if p.Name != "" {
			t.vars[p.Name] = value
		}
		for _, item := range p.Array {
			t.bind([]*gojq.Pattern{item}, value, in)
		}
		for _, kv := range p.Object {
			part := sources{}
			switch name := strings.TrimPrefix(kv.Key, "$"); {
			case name != "":
				part = t.field(value, name)
				if name != kv.Key { // {$name} is {name: $name}
					t.vars[kv.Key] = part
				}
			case kv.KeyString != nil && kv.KeyString.Queries == nil && kv.KeyString.Str != "":
				part = t.field(value, kv.KeyString.Str)
			default:
				t.use(value.or(in))
				t.ask(kv.KeyQuery, sources{})
				t.text(kv.KeyString, sources{})
			}
			if kv.Val != nil {
				t.bind([]*gojq.Pattern{kv.Val}, part, in)
			}
		}
	}
}

// field is a field of a value. The second level counts at once: whether it is there
// to have fields of its own is something that a program can tell.
func (t *readTracer) field(s sources, name string) sources {
	for _, first := range s.fields {
		t.read(first, name)
	}
	if s.input {
		return sources{fields: []string{name}}
	}
	return sources{}
}

func (t *readTracer) text(s *gojq.String, in sources) {
	if s != nil {
		t.asks(in, s.Queries...)
	}
}

func (t *readTracer) term(term *gojq.Term, in sources) sources {
	s := t.head(term, in)
	for _, suffix := range term.SuffixList {
		switch {
		case suffix.Index != nil:
			s = t.index(s, suffix.Index, in)
		case suffix.Iter:
			t.use(s)
			s = sources{}
		}
	}
	return s
}

func (t *readTracer) index(s sources, x *gojq.Index, in sources) sources {
	if name := fieldName(x); name != "" {
		return t.field(s, name)
	}
	t.text(x.Str, in)
	t.asks(in, x.Start, x.End)
	t.use(s)
	return sources{}
}

func (t *readTracer) head(term *gojq.Term, in sources) sources {
	switch term.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber, gojq.TermTypeBreak:
	case gojq.TermTypeIdentity:
		return in
	case gojq.TermTypeIndex:
		return t.index(in, term.Index, in)
	case gojq.TermTypeFunc:
		return t.function(term.Func, in)
	case gojq.TermTypeObject:
		t.object(term.Object, in)
	case gojq.TermTypeArray:
		t.ask(term.Array.Query, in)
	case gojq.TermTypeUnary:
		t.use(t.term(term.Unary.Term, in))
	case gojq.TermTypeString:
		t.text(term.Str, in)
	case gojq.TermTypeFormat:
		if term.Str == nil {
			t.use(in)
		}
		t.text(term.Str, in)
	case gojq.TermTypeIf:
		return t.choice(term.If, in)
	case gojq.TermTypeTry:
		return t.query(term.Try.Body, in).or(t.query(term.Try.Catch, sources{}))
	case gojq.TermTypeReduce:
		saved := maps.Clone(t.vars)
		t.bind(term.Reduce.Patterns, t.query(term.Reduce.Query, in), in)
		t.ask(term.Reduce.Update, sources{})
		t.vars = saved
		t.ask(term.Reduce.Start, in)
	case gojq.TermTypeForeach:
		saved := maps.Clone(t.vars)
		t.bind(term.Foreach.Patterns, t.query(term.Foreach.Query, in), in)
		t.asks(sources{}, term.Foreach.Update, term.Foreach.Extract)
		t.vars = saved
		t.ask(term.Foreach.Start, in)
	case gojq.TermTypeLabel:
		return t.query(term.Label.Body, in)
	case gojq.TermTypeQuery:
		return t.query(term.Query, in)
	default: // .. and what a later jq may have
		t.use(in)
	}
	return sources{}
}

func (t *readTracer) object(o *gojq.Object, in sources) {
	for _, kv := range o.KeyVals {
		switch {
		case kv.KeyString != nil && kv.Val == nil: // {"a"} is {a: .a}
			t.use(t.index(in, &gojq.Index{Str: kv.KeyString}, in))
		case kv.Val == nil && strings.HasPrefix(kv.Key, "$"):
			t.use(t.vars[kv.Key])
		case kv.Val == nil && kv.Key != "":
			t.use(t.field(in, kv.Key))
		}
		t.text(kv.KeyString, in)
		t.asks(in, kv.KeyQuery, kv.Val)
	}
}

func (t *readTracer) choice(c *gojq.If, in sources) sources {
	t.ask(c.Cond, in)
	out := t.query(c.Then, in)
	for _, e := range c.Elif {
		t.ask(e.Cond, in)
		out = out.or(t.query(e.Then, in))
	}
	if c.Else == nil {
		return out.or(in)
	}
	return out.or(t.query(c.Else, in))
}

// argumentsOnly are functions that look at their input only through their arguments,
// each of which sees that same input.
var argumentsOnly = map[signature]bool{
	{"empty", 0}: true, {"now", 0}: true, {"true", 0}: true, {"false", 0}: true, {"null", 0}: true, {"infinite", 0}: true, {"nan", 0}: true,
	{"error", 1}: true, {"first", 1}: true, {"last", 1}: true, {"limit", 2}: true, {"skip", 2}: true, {"nth", 2}: true, {"isempty", 1}: true,
	{"add", 1}: true, {"range", 1}: true, {"range", 2}: true, {"range", 3}: true, {"IN", 2}: true,
}

func (t *readTracer) function(f *gojq.Func, in sources) sources {
	sig := signature{f.Name, len(f.Args)}
	switch {
	case strings.HasPrefix(f.Name, "$"):
		return t.vars[f.Name]
	case t.own[sig]:
	case argumentsOnly[sig]:
		t.asks(in, f.Args...)
		return sources{}
	case sig == signature{"select", 1}:
		t.ask(f.Args[0], in)
		return in
	case sig == signature{"any", 2} || sig == signature{"all", 2}:
		t.ask(f.Args[1], t.query(f.Args[0], in))
		return sources{}
	case sig == signature{"getpath", 1}:
		if names := literalPath(f.Args[0]); names != nil {
			for _, name := range names {
				in = t.field(in, name)
			}
			return in
		}
	}
	// All that the arguments can see comes from the input, which counts, or from what
	// counts already.
	t.use(in)
	t.asks(sources{}, f.Args...)
	return sources{}
}

// literalPath is a path that stands in the program: ["enrich", "tree"].
func literalPath(q *gojq.Query) (names []string) {
	if len(q.FuncDefs) > 0 {
		return nil
	}
	v, _ := literal(q.Term)
	list, _ := v.([]any)
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil
		}
		names = append(names, name)
	}
	return names
}
