package playbooks

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/soar"
)

// expr is one compiled jq expression of a playbook.
type expr struct {
	*jq.Program
	// reads are the fields that it may read, whatever it does with them, and roots the
	// first of each: alert, steps, ...
	reads [][]string
	roots map[string]bool
	whole bool // nobody can tell what it reads: reads are all fields that there are
	lists *namedLists
}

// world is what the functions of an expression know beside their input.
type world struct {
	now   func() time.Time
	lists *namedLists
}

// compileExpr compiles an expression with the functions of playbooks.
func compileExpr(src string, w world) (*expr, error) {
	options := []jq.Option{jq.WithNow(w.now), jq.WithVariables("$vars", "$lists")}
	for _, f := range functions {
		options = append(options, jq.WithFunction(f.Name, f.Args, f.Args, func(in any, args []any) any { return f.call(w, in, args) }))
	}
	program, err := jq.Compile(src, options...)
	if err != nil {
		return nil, err
	}
	e := &expr{Program: program, roots: map[string]bool{}, lists: w.lists}
	if e.reads, e.whole = program.Reads(); e.whole {
		e.reads = wholeInput
	}
	for _, fields := range e.reads {
		e.roots[fields[0]] = true
	}
	return e, nil
}

// wholeInput are the fields that an input may have.
var wholeInput = [][]string{
	{"alert"}, {"host"}, {"enrich"}, {"enrich_errors"}, {statusName}, {"vars"}, {"lists"}, {countName}, {changeName}, {"run"}, {"schedule"}, {"input"},
	{"steps"}, {"item"}, {"alerts"}, {"group"},
}

// asksFor reports whether the expression looks at how something was looked up. All
// look-ups together have the name "".
func (e *expr) asksFor(name string) bool {
	return slices.ContainsFunc(e.reads, func(fields []string) bool {
		return (fields[0] == "enrich_errors" || fields[0] == statusName) && strings.Join(fields[1:], "") == name
	})
}

func (e *expr) value(ctx context.Context, in *input) (any, error) {
	return e.Value(ctx, in.object, in.vars, e.lists.values)
}

func (e *expr) isTrue(ctx context.Context, in *input) (bool, error) {
	return e.True(ctx, in.object, in.vars, e.lists.values)
}

// input is what expressions see: one object, and its vars once more as $vars. Lists are
// the same for every input: expressions know them by themselves, as $lists.
type input struct {
	object map[string]any
	vars   any
}

// Function documents a function that playbooks have beside jq's own.
type Function struct {
	Name    string
	Args    int
	Summary string
	// Example is an expression that yields Result, as JSON.
	Example, Result string

	call func(w world, in any, args []any) any
}

// Functions lists the functions that playbooks have beside jq's own.
func Functions() []Function { return slices.Clone(functions) }

var functions = []Function{
	{
		Name: "at_least", Args: 1,
		Summary: "Whether a severity is as bad as the one named, or worse: info, low, medium, high, critical.",
		Example: `"critical" | at_least("high")`, Result: `true`,
		call: func(_ world, in any, args []any) any {
			word, ok := args[0].(string)
			want, known := soar.ParseSeverity(word)
			if !ok || word == "" || !known {
				return fmt.Errorf("at_least: expected info, low, medium, high or critical, found %s", gojq.Preview(args[0]))
			}
			have, ok := in.(string)
			if !ok {
				return fmt.Errorf("at_least: the input is no severity: %s", gojq.Preview(in))
			}
			severity, _ := soar.ParseSeverity(have)
			return severity.AtLeast(want)
		},
	},
	{
		Name: "age", Args: 0,
		Summary: "How many seconds ago a time was: RFC 3339 text, or seconds since 1970 as number or text.",
		Example: `(now - 90) | age | round`, Result: `90`,
		call: age,
	},
	{
		Name: "cidr", Args: 1,
		Summary: "Whether an IP address lies in a network, or in one of a list of networks. Text that is no address is in none.",
		Example: `"10.1.2.3" | cidr(["192.168.0.0/16", "10.0.0.0/8"])`, Result: `true`,
		call: cidr,
	},
	{
		Name: "in_list", Args: 1,
		Summary: "Whether a value is in a list: one of `lists`, by its name, or the items themselves. Texts are compared as a whole and without regard to case; a network is no more than its text: see `cidr`.",
		Example: `"PowerShell.exe" | in_list(["cmd.exe", "powershell.exe"])`, Result: `true`,
		call: inList,
	},
	{
		Name: "hash_kind", Args: 0,
		Summary: "The kind of a file hash by its form: md5, sha1, sha256, sha512, or null.",
		Example: `"d41d8cd98f00b204e9800998ecf8427e" | hash_kind`, Result: `"md5"`,
		call: func(_ world, in any, _ []any) any {
			text, _ := in.(string)
			if _, err := hex.DecodeString(text); err != nil {
				return nil
			}
			kind, ok := map[int]string{32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}[len(text)]
			if !ok {
				return nil
			}
			return kind
		},
	},
	{
		Name: "defang", Args: 0,
		Summary: "Makes links, addresses and host names in a text harmless to click; null stays null.",
		Example: `"see http://evil.example/a?b=1 or 10.0.0.1" | defang`, Result: `"see hxxp://evil[.]example/a?b=1 or 10[.]0[.]0[.]1"`,
		call: func(_ world, in any, _ []any) any {
			text, ok := in.(string)
			if in == nil {
				return nil
			} else if !ok {
				return fmt.Errorf("defang: the input is no text: %s", gojq.Preview(in))
			}
			if len(text) > 1<<18 {
				return errors.New("defang: the text is too long")
			}
			return defang(text)
		},
	},
}

func age(w world, in any, _ []any) any {
	now := w.now
	if seconds, ok := gojq.ToFloat64(in); ok {
		return float64(now().UnixMicro())/1e6 - seconds
	}
	text, ok := in.(string)
	if !ok {
		return fmt.Errorf("age: the input is no time: %s", gojq.Preview(in))
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return now().Sub(t).Seconds()
	}
	var seconds json.Number
	if err := json.Unmarshal([]byte(text), &seconds); err == nil {
		if f, err := seconds.Float64(); err == nil { // osquery gives times as text
			return float64(now().UnixMicro())/1e6 - f
		}
	}
	return fmt.Errorf("age: the input is no time: %s", gojq.Preview(in))
}

func cidr(_ world, in any, args []any) any {
	networks, ok := args[0].([]any)
	if !ok {
		networks = []any{args[0]}
	}
	text, _ := in.(string)
	addr, err := netip.ParseAddr(text)
	inside := false
	for _, n := range networks {
		word, _ := n.(string)
		prefix, perr := netip.ParsePrefix(word)
		if perr != nil {
			return fmt.Errorf("cidr: expected a network such as 10.0.0.0/8, found %s", gojq.Preview(n))
		}
		inside = inside || err == nil && prefix.Contains(addr.Unmap().WithZone(""))
	}
	return inside
}

func inList(w world, in any, args []any) any {
	if name, ok := args[0].(string); ok {
		list, err := w.lists.find(name)
		if err != nil {
			return err
		}
		return list.has(in)
	}
	list, ok := args[0].([]any)
	if !ok {
		return fmt.Errorf("in_list: expected a list or the name of one, found %s", gojq.Preview(args[0]))
	}
	text, isText := in.(string)
	for _, item := range list {
		switch item := item.(type) {
		case string:
			if isText && strings.EqualFold(item, text) {
				return true
			}
		case []any, map[string]any:
			return errors.New("in_list: the list may hold texts, numbers, true, false and null only")
		default:
			if !isText && gojq.Compare(item, in) == 0 {
				return true
			}
		}
	}
	return false
}

var defangSchemes = strings.NewReplacer("http://", "hxxp://", "https://", "hxxps://", "HTTP://", "hxxp://", "HTTPS://", "hxxps://", "ftp://", "fxp://", "@", "[@]")

// defang puts brackets around dots between word characters, outside of paths, and
// breaks the schemes of links.
func defang(text string) string {
	text = defangSchemes.Replace(text)
	var b strings.Builder
	inPath := false // after the host of a link
	for i := range len(text) {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '"' || c == '\'' || c == '<' || c == '>' || c == ',':
			inPath = false
		case c == '/' && i > 0 && text[i-1] != '/' && text[i-1] != ':':
			inPath = true
		}
		if c == '.' && !inPath && i > 0 && i+1 < len(text) && hostByte(text[i-1]) && hostByte(text[i+1]) {
			b.WriteString("[.]")
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func hostByte(c byte) bool {
	return c == '-' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// template is a value of a with block: a literal, a text with ${{ jq }} in it, one
// whole expression, or a list or mapping of such values.
type template struct {
	literal any    // when nothing below is set
	whole   *expr  // ${{ jq }} alone: keeps its type
	parts   []part // text with expressions in it
	list    []*template
	fields  map[string]*template
	dynamic bool // an expression stands somewhere in it
}

// part is a piece of text, or an expression whose value joins it.
type part struct {
	text string
	expr *expr
}

// eval makes a fresh value. What an expression yields is data: it is not looked
// through for further expressions.
func (t *template) eval(ctx context.Context, in *input) (any, error) {
	switch {
	case t == nil:
		return nil, nil
	case !t.dynamic:
		return t.literal, nil
	case t.whole != nil:
		return t.whole.value(ctx, in)
	case t.parts != nil:
		var b strings.Builder
		for _, p := range t.parts {
			if p.expr == nil {
				b.WriteString(p.text)
				continue
			}
			v, err := p.expr.value(ctx, in)
			if err != nil {
				return nil, fmt.Errorf("${{ %s }}: %w", p.expr, err)
			}
			text, err := asText(v)
			if err != nil {
				return nil, err
			}
			b.WriteString(text)
		}
		return b.String(), nil
	case t.fields != nil:
		out := make(map[string]any, len(t.fields))
		for name, field := range t.fields {
			v, err := field.eval(ctx, in)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out[name] = v
		}
		return out, nil
	}
	out := make([]any, len(t.list))
	for i, item := range t.list {
		v, err := item.eval(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		out[i] = v
	}
	return out, nil
}

// object evaluates a with block.
func (t *template) object(ctx context.Context, in *input) (map[string]any, error) {
	v, err := t.eval(ctx, in)
	if err != nil {
		return nil, err
	}
	object, _ := v.(map[string]any)
	if object == nil {
		object = map[string]any{}
	}
	return object, nil
}

// asText is how a value stands in text: texts as they are, null as nothing, all
// else as JSON.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	data, err := gojq.Marshal(v)
	return string(data), err
}

// exprs calls f for every expression in the template.
func (t *template) exprs(f func(*expr)) {
	if t == nil {
		return
	}
	if t.whole != nil {
		f(t.whole)
	}
	for _, p := range t.parts {
		if p.expr != nil {
			f(p.expr)
		}
	}
	for _, item := range t.list {
		item.exprs(f)
	}
	for _, field := range t.fields {
		field.exprs(f)
	}
}

// reads reports whether an expression of the template reads a first field.
func (t *template) reads(root string) (found bool) {
	t.exprs(func(e *expr) { found = found || e.roots[root] })
	return found
}
