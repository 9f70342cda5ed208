package jq

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// regexpCache keeps the compiled regular expressions of one program.
type regexpCache struct {
	mu    sync.Mutex
	known map[[2]string]*sizedRegexp // guarded by mu
	size  int                        // instructions of all of them; guarded by mu
}

type sizedRegexp struct {
	*regexp.Regexp
	size int // instructions
}

func (c *regexpCache) get(r *run, pattern, flags string) (*sizedRegexp, error) {
	id := [2]string{pattern, flags}
	c.mu.Lock()
	re := c.known[id]
	c.mu.Unlock()
	if re != nil {
		return re, nil
	}
	re, err := r.compile(pattern, flags)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Patterns made from data would fill it for ever.
	if c.size += re.size; c.known == nil || len(c.known) >= 64 || c.size > maxRegexp {
		c.known, c.size = map[[2]string]*sizedRegexp{}, re.size
	}
	c.known[id] = re
	return re, nil
}

// compile compiles a regular expression and charges for it.
func (r *run) compile(pattern, flags string) (*sizedRegexp, error) {
	full, err := withFlags(pattern, flags)
	if err != nil {
		return nil, err
	}
	if err := r.charge(regexpBytes * len(full)); err != nil {
		return nil, err
	}
	parsed, size, err := parsePattern(pattern, full)
	if err != nil {
		return nil, err
	}
	if err := r.charge(int(regexpBytes * size)); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(full)
	if err != nil {
		return nil, fmt.Errorf("regular expression %s: %s", gojq.Preview(pattern), shorten(err.Error()))
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	return &sizedRegexp{re, len(prog.Inst)}, nil
}

// CheckPattern says why a regular expression, or its flags, cannot be used; nil when
// they can.
func CheckPattern(pattern, flags string) error {
	full, err := withFlags(pattern, flags)
	if err == nil {
		_, _, err = parsePattern(pattern, full)
	}
	return err
}

// withFlags writes jq's flags into a regular expression.
func withFlags(pattern, flags string) (full string, err error) {
	if i := strings.IndexFunc(flags, func(f rune) bool { return !strings.ContainsRune("gim", f) }); i >= 0 {
		return "", fmt.Errorf("regular expression flags %q: only g, i and m are known", shorten(flags))
	}
	full = pattern
	if strings.ContainsRune(flags, 'i') {
		full = "(?i)" + full
	}
	if strings.ContainsRune(flags, 'm') {
		full = "(?s)" + full
	}
	if len(full) > 8192 {
		return "", fmt.Errorf("%w: a regular expression has more than 8192 bytes", ErrLimit)
	}
	return full, nil
}

// parsePattern reads a regular expression, whose flags are in full, and tells how many
// instructions it comes to.
func parsePattern(pattern, full string) (parsed *syntax.Regexp, size float64, err error) {
	if parsed, err = syntax.Parse(full, syntax.Perl); err != nil {
		return nil, 0, fmt.Errorf("regular expression %s: %s", gojq.Preview(pattern), shorten(err.Error()))
	}
	if size = instructions(parsed); size > maxRegexp {
		return nil, 0, fmt.Errorf("%w: the repetitions of a regular expression multiply to more than %d parts", ErrLimit, maxRegexp)
	}
	return parsed, size, nil
}

// instructions tells roughly how many a regular expression compiles to, before it
// is compiled: ((a{100}){100}){100} is short, and has a million.
func instructions(re *syntax.Regexp) float64 {
	sum := 1.0
	for _, sub := range re.Sub {
		sum += instructions(sub)
	}
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		sum += float64(len(re.Rune))
	case syntax.OpRepeat:
		sum *= float64(max(re.Min, re.Max, 1))
	}
	return sum
}

// regexp is match and test. gojq's own counts characters from the start of the
// text for every match, which takes minutes on a long text.
func (r *run) regexp(in, pattern, flags any, testing bool) any {
	text, ok := in.(string)
	if !ok {
		return fmt.Errorf("a regular expression cannot be applied to: %s", preview(in))
	}
	source, ok := pattern.(string)
	if !ok {
		return fmt.Errorf("expected a regular expression but got: %s", preview(pattern))
	}
	letters, ok := flags.(string)
	if !ok && flags != nil {
		return fmt.Errorf("expected regular expression flags but got: %s", preview(flags))
	}
	re, err := r.program.regexps.get(r, source, letters)
	if err != nil {
		return err
	}
	steps := float64(re.size) * float64(len(text))
	if !testing {
		steps *= 1.5 // what is captured is copied along
	}
	if err := r.search(steps); err != nil {
		return fmt.Errorf("a text of %d bytes is too long for regular expressions of this size: %w", len(text), err)
	}
	if testing {
		return re.MatchString(text)
	}
	n := 1
	if strings.ContainsRune(letters, 'g') {
		n = maxMatches + 1
	}
	found := re.FindAllStringSubmatchIndex(text, n)
	if len(found) > maxMatches {
		return fmt.Errorf("%w: a regular expression has more than %d matches", ErrLimit, maxMatches)
	}
	if err := r.charge(len(found) * 512 * (re.NumSubexp() + 1)); err != nil {
		return err
	}
	names, counter := re.SubexpNames(), runeCounter{text: text}
	out := make([]any, len(found))
	for i, at := range found {
		match := counter.capture(at[0], at[1])
		captures := make([]any, 0, len(names)-1)
		for j := 1; j < len(names); j++ {
			capture := map[string]any{"offset": -1, "length": 0, "string": nil}
			if at[2*j] >= 0 {
				capture = counter.capture(at[2*j], at[2*j+1])
			}
			capture["name"] = nil
			if names[j] != "" {
				capture["name"] = names[j]
			}
			captures = append(captures, capture)
		}
		match["captures"] = captures
		out[i] = match
	}
	return out
}

// runeCounter turns byte offsets into character offsets, going on from the last
// match instead of from the start.
type runeCounter struct {
	text         string
	bytes, runes int
}

func (c *runeCounter) at(offset int) int {
	if offset >= c.bytes {
		c.runes += utf8.RuneCountInString(c.text[c.bytes:offset])
	} else {
		c.runes -= utf8.RuneCountInString(c.text[offset:c.bytes])
	}
	c.bytes = offset
	return c.runes
}

func (c *runeCounter) capture(from, to int) map[string]any {
	start := c.at(from)
	return map[string]any{"offset": start, "length": utf8.RuneCountInString(c.text[from:to]), "string": c.text[from:to]}
}
