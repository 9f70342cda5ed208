// Package jq compiles and runs jq programs that users write, with bounds: no
// environment, no input, no modules, a time limit that really ends a program,
// and limits on what a program may build. It is gojq with the calls rewritten
// that gojq carries out in one uninterruptible piece.
package jq

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/itchyny/gojq"

	"github.com/erbridge/erbridge/internal/registry"
)

// Bounds of every program.
const (
	// DefaultTimeout bounds one Run, not counting the time in which others have the
	// processor. Together with what a call under way may still take, a program has
	// ended after 250 ms.
	DefaultTimeout = 125 * time.Millisecond

	maxSource   = 64 << 10 // bytes of program text
	maxNesting  = 500      // levels of nesting in the program text
	maxOutputs  = 10_000   // values one Run may return
	maxText     = 1 << 20  // bytes of one text that a program builds
	maxNodes    = 250_000  // values within one value that is walked in one piece
	maxDepth    = 256      // levels of nesting of such a value
	maxIndex    = 65_536   // highest array index that an assignment may create
	maxDigits   = 400      // digits of a number in text
	maxSteps    = 16e6     // of one search: the product of two sizes, or a regular expression's instructions times bytes of text
	totalSteps  = 40e6     // of all searches of one Run
	maxMatches  = 20_000   // matches of one regular expression
	maxRegexp   = 20_000   // instructions of one regular expression, and of all that one program keeps
	regexpBytes = 256      // bytes of the budget for one of them
	totalBudget = 36 << 20 // bytes that one Run may build in all, roughly; the process grows by less than 64 MB
	instruction = 32       // bytes of it for every instruction of the interpreter: its stacks, small values
	recursive   = 160      // the same where functions are defined, which may call themselves
)

// slots are taken by programs while they run, as many as there are processors. More
// would get no further in a burst of alerts, and would need the memory of all of them
// at the same moment.
var slots = make(chan struct{}, runtime.GOMAXPROCS(0))

// ErrLimit is wrapped by errors of programs that ran into a bound.
var ErrLimit = errors.New("jq limit reached")

// ErrOutputs is wrapped when a program had to return one value and did not.
var ErrOutputs = errors.New("expected exactly one value")

// SyntaxError is a program that does not compile. Offset is the place in the
// source, in bytes from 0.
type SyntaxError struct {
	Offset int
	Msg    string
	Hint   string
}

func (e *SyntaxError) Error() string { return e.Msg }

// Program is a compiled program. It is safe for concurrent use.
type Program struct {
	source  string
	code    *gojq.Code
	timeout time.Duration
	now     func() time.Time
	vars    []string
	plain   []string   // the fields, when the program is nothing but .a.b.c
	isPath  bool       // plain is set, possibly to no fields at all: .
	paths   [][]string // see Fields
	reads   [][]string // see Reads
	quick   bool       // it needs no clock to end
	direct  direct     // a way around the interpreter, where there is one
	price   int        // bytes of the budget for one instruction
	regexps regexpCache

	readsAll bool // see Reads
}

// Option changes how a program is compiled or run.
type Option func(*settings)

type settings struct {
	vars      []string
	timeout   time.Duration
	now       func() time.Time
	functions []function
}

type function struct {
	name     string
	min, max int
	f        func(in any, args []any) any
}

// WithFunction adds a function. It gets its input and arguments, which may hold
// any of gojq's number types, and returns a plain value or an error.
func WithFunction(name string, minArgs, maxArgs int, f func(in any, args []any) any) Option {
	return func(s *settings) { s.functions = append(s.functions, function{name, minArgs, maxArgs, f}) }
}

// WithVariables names variables, with their $, whose values Run takes in the
// same order.
func WithVariables(names ...string) Option {
	return func(s *settings) { s.vars = append(s.vars, names...) }
}

// WithTimeout bounds one Run in time.
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithNow sets the clock behind jq's now.
func WithNow(now func() time.Time) Option { return func(s *settings) { s.now = now } }

// Compile reads a program. The error is always a *SyntaxError.
func Compile(src string, opts ...Option) (p *Program, err error) {
	s := settings{timeout: DefaultTimeout, now: time.Now}
	for _, opt := range opts {
		opt(&s)
	}
	if len(src) > maxSource {
		return nil, &SyntaxError{Msg: fmt.Sprintf("the expression has %d bytes, the limit is %d", len(src), maxSource)}
	}
	if strings.TrimSpace(src) == "" {
		return nil, &SyntaxError{Msg: "the expression is empty", Hint: "write . for the whole input"}
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, &SyntaxError{Msg: fmt.Sprintf("cannot compile: %v", r)}
		}
	}()
	query, err := gojq.Parse(src)
	if err != nil {
		return nil, parseError(src, err)
	}
	p = &Program{source: src, timeout: s.timeout, now: s.now, vars: s.vars}
	p.plain, p.isPath = plainPath(query)
	p.paths, p.quick = fieldPaths(query), quick(query)
	p.reads, p.readsAll = readFields(query)
	p.direct = (&director{s.vars, s.functions}).query(query)
	rewritten, defines, err := rewrite(src, query)
	if err != nil {
		return nil, err
	}
	if p.price = instruction; defines {
		p.price = recursive
	}
	options := []gojq.CompilerOption{gojq.WithVariables(append(slices.Clone(s.vars), runVariable))}
	for _, f := range natives {
		options = append(options, gojq.WithFunction(f.name, f.args, f.args, f.call))
	}
	for _, f := range s.functions {
		options = append(options, gojq.WithFunction(f.name, f.min, f.max, f.f))
	}
	if p.code, err = gojq.Compile(rewritten, options...); err != nil {
		return nil, compileError(src, err, s)
	}
	return p, nil
}

// String is the source of the program.
func (p *Program) String() string { return p.source }

// Run runs the program on plain JSON values (nil, bool, float64, string, []any,
// map[string]any) and returns what it yields, plain as well. Results may share
// memory with the input: neither may be changed afterwards. Whatever goes wrong
// inside, panics of gojq included, is an error.
func (p *Program) Run(ctx context.Context, input any, vars ...any) ([]any, error) {
	return p.run(ctx, maxOutputs, input, vars)
}

// Value runs a program that yields exactly one value. An error wrapping
// ErrOutputs means that it yielded none or several.
func (p *Program) Value(ctx context.Context, input any, vars ...any) (any, error) {
	if p.isPath {
		return p.follow(input)
	}
	if v, sure := p.directly(ctx, input, vars); sure {
		return v, nil
	}
	out, err := p.run(ctx, 1, input, vars)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// True runs a condition: a program that yields exactly one value, where null and
// false are false and everything else is true, as in jq's if.
func (p *Program) True(ctx context.Context, input any, vars ...any) (bool, error) {
	v, err := p.Value(ctx, input, vars...)
	if err != nil {
		return false, err
	}
	return v != nil && v != false, nil
}

// follow is the short way for .a.b.c, which is most of what playbooks ask for.
func (p *Program) follow(v any) (any, error) {
	for _, field := range p.plain {
		switch m := v.(type) {
		case nil:
			return nil, nil
		case map[string]any:
			v = m[field]
		default:
			return nil, fmt.Errorf("expected an object but got: %s", preview(v))
		}
	}
	return plain(v)
}

// run collects up to limit values; with limit 1, anything but one is an error.
func (p *Program) run(ctx context.Context, limit int, input any, vars []any) (out []any, err error) {
	if len(vars) != len(p.vars) {
		return nil, fmt.Errorf("jq: %d values for %d variables", len(vars), len(p.vars))
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				r = preview(r)
			}
			out, err = nil, fmt.Errorf("jq: not plain JSON, or a fault of the interpreter: %v", r)
		}
	}()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	state := &run{program: p, ctx: ctx, budget: totalBudget, steps: totalSteps}
	values := append(append(make([]any, 0, len(vars)+1), vars...), state)
	var iter gojq.Iter
	if p.quick {
		iter = p.code.Run(input, values...)
	} else {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		iter = p.code.RunWithContext(&meter{Context: ctx, run: state}, input, values...)
	}
	for {
		v, ok := iter.Next()
		if !ok {
			break
		}
		if err, isErr := v.(error); isErr {
			return nil, runError(ctx, err)
		}
		if limit == 1 && len(out) == 1 {
			return nil, fmt.Errorf("%w, got several; wrap the expression in any(...), first(...) or [...]", ErrOutputs)
		}
		if len(out) >= limit {
			return nil, fmt.Errorf("%w: more than %d values", ErrLimit, limit)
		}
		if v, err = state.result(v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if state.over != nil {
		return nil, state.over // a quick program has caught it
	}
	if limit == 1 && len(out) == 0 {
		return nil, fmt.Errorf("%w, got none; add // and a default", ErrOutputs)
	}
	return out, nil
}

// runError makes an error whose text is computed here, under run's recover, and
// is short: the text of gojq's own errors can be as large as their values.
func runError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrLimit):
		return err
	}
	return errors.New(shorten(err.Error()))
}

func shorten(text string) string {
	const longest = 300
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// preview shows the start of a value of any type.
func preview(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a value of Go type %T", v)
		}
	}()
	return gojq.TypeOf(v) + " (" + gojq.Preview(v) + ")"
}

func parseError(src string, err error) *SyntaxError {
	perr, ok := errors.AsType[*gojq.ParseError](err)
	if !ok {
		return &SyntaxError{Msg: err.Error()}
	}
	offset := min(max(perr.Offset-len(perr.Token), 0), len(src))
	e := &SyntaxError{Offset: offset, Msg: "jq syntax: " + perr.Error()}
	if perr.Error() == "unexpected EOF" {
		e.Msg = "jq syntax: the expression ends too early"
	}
	if i := strings.IndexByte(src, '\''); i >= 0 && i <= offset+1 {
		e.Hint = "texts in jq stand in double quotes"
	}
	return e
}

// gojq's compile errors are unexported types; their text is the only place that
// tells which name is missing.
var missingName = regexp.MustCompile(`^(function|variable) not defined: (\$?[\w:]+)(?:/(\d+))?`)

func compileError(src string, err error, s settings) *SyntaxError {
	m := missingName.FindStringSubmatch(err.Error())
	if m == nil {
		return &SyntaxError{Msg: err.Error()}
	}
	name := strings.TrimPrefix(m[2], internalPrefix)
	e := &SyntaxError{Offset: nameOffset(src, name)}
	if m[1] == "variable" {
		e.Msg = fmt.Sprintf("unknown variable %s", name)
		if near := registry.Nearest(name, s.vars); near != "" {
			e.Hint = fmt.Sprintf("did you mean %s?", near)
		}
		return e
	}
	known := slices.Clone(builtinNames())
	for _, f := range s.functions {
		known = append(known, f.name)
	}
	if slices.Contains(known, name) {
		e.Msg = fmt.Sprintf("function %s does not take %s arguments", name, m[3])
		return e
	}
	e.Msg = fmt.Sprintf("unknown function %s", name)
	if near := registry.Nearest(name, known); near != "" {
		e.Hint = fmt.Sprintf("did you mean %s?", near)
	}
	return e
}

// nameOffset finds where a word stands by itself.
func nameOffset(src, name string) int {
	for from := 0; ; {
		i := strings.Index(src[from:], name)
		if i < 0 {
			return 0
		}
		i += from
		if end := i + len(name); (i == 0 || !wordByte(src[i-1])) && (end == len(src) || !wordByte(src[end])) {
			return i
		}
		from = i + 1
	}
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// builtinNames lists the functions a program may call, without their arity.
var builtinNames = sync.OnceValue(func() []string {
	query, err := gojq.Parse("builtins")
	if err != nil {
		return nil
	}
	v, _ := query.Run(nil).Next()
	list, _ := v.([]any)
	names := []string{"empty", "not", "path"}
	for _, item := range list {
		text, _ := item.(string)
		name, _, _ := strings.Cut(text, "/")
		if _, no := forbidden[name]; !no {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
})
