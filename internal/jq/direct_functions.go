package jq

import (
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// directFunctions are the functions that direct queries may call.
var directFunctions map[signature]func(d *director, args []*gojq.Query) direct

func init() {
	directFunctions = map[signature]func(*director, []*gojq.Query) direct{
		{"not", 0}:            plainly(func(_ *directRun, in any) (any, outcome) { return !truthy(in), one }),
		{"length", 0}:         plainly(directLength),
		{"last", 0}:           plainly(func(_ *directRun, in any) (any, outcome) { return end(in, true) }),
		{"first", 0}:          plainly(func(_ *directRun, in any) (any, outcome) { return end(in, false) }),
		{"ascii_downcase", 0}: plainly(func(_ *directRun, in any) (any, outcome) { return shift(in, 'A', 'Z', 'a'-'A') }),
		{"ascii_upcase", 0}:   plainly(func(_ *directRun, in any) (any, outcome) { return shift(in, 'a', 'z', -('a' - 'A')) }),
		{"tostring", 0}:       plainly(func(_ *directRun, in any) (any, outcome) { return sameIf[string](in) }),
		{"tonumber", 0}:       plainly(func(_ *directRun, in any) (any, outcome) { return sameIf[float64](in) }),
		{"fromjson", 0}:       plainly(directDecode),
		{"startswith", 1}:     withText(strings.HasPrefix),
		{"endswith", 1}:       withText(strings.HasSuffix),
		{"contains", 1}:       (*director).contains,
		{"any", 0}:            func(*director, []*gojq.Query) direct { return some(itself, true) },
		{"all", 0}:            func(*director, []*gojq.Query) direct { return some(itself, false) },
		{"any", 1}:            func(d *director, args []*gojq.Query) direct { return some(d.query(args[0]), true) },
		{"all", 1}:            func(d *director, args []*gojq.Query) direct { return some(d.query(args[0]), false) },
		{"test", 1}:           withPattern(false, directTest),
		{"test", 2}:           withPattern(false, directTest),
		{"capture", 1}:        withPattern(false, directCapture),
		{"capture", 2}:        withPattern(false, directCapture),
		{"split", 2}:          withPattern(true, directSplit),
		{"gsub", 2}:           (*director).gsub,
	}
}

func plainly(f direct) func(*director, []*gojq.Query) direct {
	return func(*director, []*gojq.Query) direct { return f }
}

func itself(_ *directRun, in any) (any, outcome) { return in, one }

func sameIf[T any](in any) (any, outcome) {
	if _, ok := in.(T); ok {
		return in, one
	}
	return nil, unsure
}

func directLength(_ *directRun, in any) (any, outcome) {
	switch v := in.(type) {
	case nil:
		return 0, one
	case string:
		return utf8.RuneCountInString(v), one
	case []any:
		return len(v), one
	case map[string]any:
		return len(v), one
	}
	return nil, unsure
}

func end(in any, last bool) (any, outcome) {
	list, ok := in.([]any)
	switch {
	case in == nil || ok && len(list) == 0:
		return nil, one
	case !ok:
		return nil, unsure
	case last:
		return list[len(list)-1], one
	}
	return list[0], one
}

// shift moves the letters from lo to hi.
func shift(in any, lo, hi byte, by int) (any, outcome) {
	text, ok := in.(string)
	if !ok {
		return nil, failed
	}
	if len(text) > directText || !utf8.ValidString(text) {
		return nil, unsure
	}
	at := strings.IndexFunc(text, func(c rune) bool { return rune(lo) <= c && c <= rune(hi) })
	if at < 0 {
		return text, one
	}
	letters := []byte(text)
	for i := at; i < len(letters); i++ {
		if lo <= letters[i] && letters[i] <= hi {
			letters[i] = byte(int(letters[i]) + by)
		}
	}
	return string(letters), one
}

func directDecode(r *directRun, in any) (any, outcome) {
	v := r.run.decode(in)
	if err, isErr := v.(error); isErr {
		if errors.Is(err, ErrLimit) {
			return nil, unsure
		}
		return nil, failed
	}
	return v, one
}

// withText is a function of two texts, of which the second is written down.
func withText(f func(text, part string) bool) func(*director, []*gojq.Query) direct {
	return func(_ *director, args []*gojq.Query) direct {
		part, ok := literalText(args[0])
		if !ok {
			return nil
		}
		return func(_ *directRun, in any) (any, outcome) {
			text, ok := in.(string)
			if !ok {
				return nil, failed
			}
			return f(text, part), one
		}
	}
}

// contains is for texts only; of a long one, the interpreter may say that it is too long.
func (d *director) contains(args []*gojq.Query) direct {
	part, ok := literalText(args[0])
	if !ok {
		return nil
	}
	return func(_ *directRun, in any) (any, outcome) {
		text, ok := in.(string)
		if !ok || len(text)*len(part) > directSteps {
			return nil, unsure
		}
		return strings.Contains(text, part), one
	}
}

// some is any and all: it looks at items until one settles it.
func some(cond direct, settles bool) direct {
	if cond == nil {
		return nil
	}
	return func(r *directRun, in any) (any, outcome) {
		list, ok := in.([]any)
		if !ok {
			return nil, unsure
		}
		for _, item := range list {
			if r.items--; r.items < 0 {
				return nil, unsure
			}
			switch v, how := cond(r, item); {
			case how == failed || how == unsure:
				return nil, how
			case how == one && truthy(v) == settles:
				return settles, one
			}
		}
		return !settles, one
	}
}

// pattern is a regular expression that is written down in a program.
type pattern struct {
	source, flags string
	compiled      atomic.Pointer[sizedRegexp]
}

// get returns the regular expression for a text, or nil where the interpreter is to
// say what is wrong.
func (p *pattern) get(r *directRun, text string) *sizedRegexp {
	re := p.compiled.Load()
	if re == nil {
		var err error
		if re, err = r.run.compile(p.source, p.flags); err != nil {
			return nil
		}
		p.compiled.Store(re)
	}
	steps := float64(re.size) * float64(len(text))
	if len(text) > directText || r.run.search(2*steps) != nil {
		return nil
	}
	return re
}

// withPattern is a function of a text, a regular expression and perhaps flags. Without
// global, g among the flags is left to the interpreter.
func withPattern(global bool, f func(re *sizedRegexp, text string) (any, outcome)) func(*director, []*gojq.Query) direct {
	return func(_ *director, args []*gojq.Query) direct {
		p := new(pattern)
		var ok bool
		if p.source, ok = literalText(args[0]); !ok {
			return nil
		}
		if len(args) > 1 {
			v, known := literal(args[1].Term)
			if p.flags, ok = v.(string); !known || len(args[1].FuncDefs) > 0 || !ok && v != nil {
				return nil
			}
		}
		if !global && strings.Contains(p.flags, "g") {
			return nil
		}
		return func(r *directRun, in any) (any, outcome) {
			text, ok := in.(string)
			if !ok {
				return nil, failed
			}
			re := p.get(r, text)
			if re == nil {
				return nil, unsure
			}
			return f(re, text)
		}
	}
}

func directTest(re *sizedRegexp, text string) (any, outcome) { return re.MatchString(text), one }

func directCapture(re *sizedRegexp, text string) (any, outcome) {
	found := re.FindStringSubmatchIndex(text)
	if found == nil {
		return nil, none
	}
	captures := map[string]any{}
	for i, name := range re.SubexpNames() {
		switch {
		case name == "":
		case found[2*i] < 0:
			captures[name] = nil
		default:
			captures[name] = text[found[2*i]:found[2*i+1]]
		}
	}
	return captures, one
}

func directSplit(re *sizedRegexp, text string) (any, outcome) {
	pieces, ok := apart(re.Regexp, text)
	if !ok {
		return nil, unsure
	}
	list := make([]any, len(pieces))
	for i, piece := range pieces {
		list[i] = piece
	}
	return list, one
}

// apart is a text without what a regular expression matches.
func apart(re *regexp.Regexp, text string) ([]string, bool) {
	if !utf8.ValidString(text) {
		return nil, false // jq cuts at characters
	}
	found := re.FindAllStringIndex(text, directItems+1)
	if len(found) > directItems {
		return nil, false
	}
	pieces, next := make([]string, 0, len(found)+1), 0
	for _, at := range found {
		pieces = append(pieces, text[next:at[0]])
		next = at[1]
	}
	return append(pieces, text[next:]), true
}

// gsub puts one text for another; what refers to captures is left to the interpreter.
func (d *director) gsub(args []*gojq.Query) direct {
	with, ok := literalText(args[1])
	if !ok {
		return nil
	}
	return withPattern(true, func(re *sizedRegexp, text string) (any, outcome) {
		pieces, ok := apart(re.Regexp, text)
		if !ok || len(text)+len(with)*len(pieces) > directText {
			return nil, unsure
		}
		return strings.Join(pieces, with), one
	})(d, args[:1])
}
