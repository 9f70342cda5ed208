package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// run is the state of one Run. It travels through gojq as the value of a
// variable that programs cannot name.
type run struct {
	program *Program
	ctx     context.Context
	looked  time.Time // at the clock
	spent   time.Duration
	long    bool    // what was begun since may take long
	budget  int     // bytes left to build
	steps   float64 // left to search
	over    error   // the limit that the program ran into
}

// What takes so many steps or bytes in one piece is worth a look at the clock. Quick
// programs have no other.
const (
	longSearch  = 100_000
	largeCharge = 32 << 10
)

// search takes the steps of a search that nothing can interrupt.
func (r *run) search(steps float64) error {
	if r.steps -= steps; steps > maxSteps || r.steps < 0 {
		return fmt.Errorf("%w: too much to search through", ErrLimit)
	}
	if steps > longSearch {
		return r.lookBefore()
	}
	return nil
}

func (r *run) charge(bytes int) error {
	if r.budget -= bytes; r.budget < 0 {
		return fmt.Errorf("%w: the expression builds too much", ErrLimit)
	}
	if bytes > largeCharge {
		return r.lookBefore()
	}
	return nil
}

// nativeFunc is a Go function behind the rewriting; args[0] is the *run.
type nativeFunc struct {
	name string
	args int
	call func(in any, args []any) any
}

// note remembers that a limit was reached: it ends the program, whatever tries to
// catch it.
func (r *run) note(v any) any {
	if err, failed := v.(error); failed && errors.Is(err, ErrLimit) {
		r.over = err
	}
	return v
}

// with hands the run to a function of the input alone.
func with(f func(r *run, in any) any) func(any, []any) any {
	return func(in any, args []any) any { r := args[0].(*run); return r.note(f(r, in)) }
}

// with2 hands on the input and one argument, operands the two operands.
func with2(f func(r *run, in, arg any) any) func(any, []any) any {
	return func(in any, args []any) any { r := args[0].(*run); return r.note(f(r, in, args[1])) }
}

func operands(f func(r *run, left, right any) any) func(any, []any) any {
	return func(_ any, args []any) any { r := args[0].(*run); return r.note(f(r, args[1], args[2])) }
}

func comparing(ok func(c int) bool) func(any, []any) any {
	return operands(func(r *run, left, right any) any {
		c, err := r.compare(left, right)
		if err != nil {
			return err
		}
		return ok(c)
	})
}

var natives = []nativeFunc{
	{"_erb_plus", 3, operands((*run).plus)},
	{"_erb_minus", 3, operands((*run).minus)},
	{"_erb_times", 3, operands((*run).times)},
	{"_erb_eq", 3, comparing(func(c int) bool { return c == 0 })},
	{"_erb_ne", 3, comparing(func(c int) bool { return c != 0 })},
	{"_erb_lt", 3, comparing(func(c int) bool { return c < 0 })},
	{"_erb_le", 3, comparing(func(c int) bool { return c <= 0 })},
	{"_erb_gt", 3, comparing(func(c int) bool { return c > 0 })},
	{"_erb_ge", 3, comparing(func(c int) bool { return c >= 0 })},
	{"_erb_small", 1, with((*run).small)},
	{"_erb_check", 2, with2(func(r *run, in, arg any) any { return pass(in, r.small(arg)) })},
	{"_erb_product", 2, with2((*run).product)},
	{"_erb_places", 2, with2((*run).places)},
	{"_erb_sorted", 2, with2((*run).sorted)},
	{"_erb_rows", 1, with((*run).rows)},
	{"_erb_room", 2, with2((*run).room)},
	{"_erb_pieces", 2, with2((*run).pieces)},
	{"_erb_copies", 2, with2((*run).copies)},
	{"_erb_object", 1, with((*run).object)},
	{"_erb_made", 1, with((*run).made)},
	{"_erb_digits", 1, with(digits)},
	{"_erb_layout", 2, with2(layout)},
	{"_erb_decode", 1, with((*run).decode)},
	{"_erb_clock", 1, with(func(r *run, _ any) any { return float64(r.program.now().UnixMicro()) / 1e6 })},
	{"_erb_sum", 1, with((*run).sum)},
	{"_erb_joined", 2, with2((*run).join)},
	{"_erb_key", 1, with(key)},
	{"_erb_route", 1, with((*run).route)},
	{"_erb_regexp", 4, func(in any, args []any) any {
		r := args[0].(*run)
		return r.note(r.regexp(in, args[1], args[2], args[3] == true))
	}},
}

func pass(in, checked any) any {
	if err, failed := checked.(error); failed {
		return err
	}
	return in
}

// small passes on a value that can be walked in one piece: few values, not deep.
// Values share parts, so that one built in sixty steps can have 2^60 leaves.
func (r *run) small(v any) any {
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v
	case string:
		if err := r.charge(len(v)); err != nil {
			return err
		}
		return v
	}
	w := walker{}
	if err := w.walk(v, 0); err != nil {
		return err
	}
	if err := r.charge(w.bytes + 16*w.nodes); err != nil {
		return err
	}
	return v
}

type walker struct {
	nodes, bytes int
	convert      bool // something in it is not plain
}

func (w *walker) walk(v any, depth int) error {
	w.nodes++
	switch {
	case depth > maxDepth:
		return fmt.Errorf("%w: a value is nested deeper than %d levels", ErrLimit, maxDepth)
	case w.nodes > maxNodes:
		return fmt.Errorf("%w: a value has more than %d parts", ErrLimit, maxNodes)
	}
	switch v := v.(type) {
	case nil, bool:
	case float64:
		w.convert = w.convert || math.IsNaN(v) || math.IsInf(v, 0)
	case int, *big.Int:
		w.convert = true
	case json.Number:
		w.convert = true
		w.bytes += len(v)
		if len(v) > maxDigits {
			return fmt.Errorf("%w: a number has more than %d digits", ErrLimit, maxDigits)
		}
	case string:
		w.bytes += len(v)
	case []any:
		for _, item := range v {
			if err := w.walk(item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, item := range v {
			w.bytes += len(k)
			if err := w.walk(item, depth+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("not plain JSON: a value of Go type %T", v)
	}
	if w.bytes > 8*maxText {
		return fmt.Errorf("%w: a value has more than %d bytes", ErrLimit, 8*maxText)
	}
	return nil
}

// plain checks a result and brings numbers to float64, as JSON decoding does. NaN
// becomes null and infinities the largest number, as in jq's own output.
func plain(v any) (any, error) {
	switch v.(type) {
	case nil, bool, string:
		return v, nil
	}
	w := walker{}
	if err := w.walk(v, 0); err != nil {
		return nil, err
	}
	if !w.convert {
		return v, nil
	}
	return converted(v), nil
}

func converted(v any) any {
	switch v := v.(type) {
	case int, *big.Int, json.Number, float64:
		f, _ := gojq.ToFloat64(v)
		switch {
		case math.IsNaN(f):
			return nil
		case math.IsInf(f, 0):
			return math.Copysign(math.MaxFloat64, f)
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = converted(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = converted(item)
		}
		return out
	}
	return v
}

func (r *run) compare(left, right any) (int, error) {
	if l, ok := left.(string); ok {
		if x, ok := right.(string); ok {
			return strings.Compare(l, x), nil
		}
	}
	for _, v := range []any{left, right} {
		if err, failed := r.small(v).(error); failed {
			return 0, err
		}
	}
	return gojq.Compare(left, right), nil
}

func tooLong(n int) error {
	return fmt.Errorf("%w: a text would have %d bytes, the limit is %d", ErrLimit, n, maxText)
}

func operandError(verb string, left, right any) error {
	return fmt.Errorf("cannot %s: %s and %s", verb, preview(left), preview(right))
}

// number brings every number to int or float64. gojq's big integers do not come
// in here: repeated multiplication would make them arbitrarily long.
func number(v any) (any, bool) {
	switch v := v.(type) {
	case int, float64:
		return v, true
	case *big.Int, json.Number:
		f, ok := gojq.ToFloat64(v)
		return f, ok
	}
	return nil, false
}

// arithmetic works on two numbers: as int while that is exact, else as float64.
func arithmetic(left, right any, ints func(a, b int) (int, bool), floats func(a, b float64) float64) (any, bool) {
	l, ok := number(left)
	if !ok {
		return nil, false
	}
	x, ok := number(right)
	if !ok {
		return nil, false
	}
	if a, ok := l.(int); ok {
		if b, ok := x.(int); ok {
			if c, exact := ints(a, b); exact {
				return c, true
			}
		}
	}
	a, _ := gojq.ToFloat64(l)
	b, _ := gojq.ToFloat64(x)
	return floats(a, b), true
}

func (r *run) plus(left, right any) any {
	if left == nil {
		return right
	}
	if right == nil {
		return left
	}
	switch l := left.(type) {
	case string:
		x, ok := right.(string)
		if !ok {
			break
		}
		if n := len(l) + len(x); n > maxText {
			return tooLong(n)
		}
		if err := r.charge(len(l) + len(x)); err != nil {
			return err
		}
		return l + x
	case []any:
		x, ok := right.([]any)
		if !ok {
			break
		}
		if err := r.charge(16 * (len(l) + len(x))); err != nil {
			return err
		}
		return append(append(make([]any, 0, len(l)+len(x)), l...), x...)
	case map[string]any:
		x, ok := right.(map[string]any)
		if !ok {
			break
		}
		if err := r.charge(48 * (len(l) + len(x))); err != nil {
			return err
		}
		sum := make(map[string]any, len(l)+len(x))
		maps.Copy(sum, l)
		maps.Copy(sum, x)
		return sum
	default:
		sum, ok := arithmetic(left, right,
			func(a, b int) (int, bool) { c := a + b; return c, (c > a) == (b > 0) },
			func(a, b float64) float64 { return a + b })
		if ok {
			return sum
		}
	}
	return operandError("add", left, right)
}

func (r *run) minus(left, right any) any {
	if l, ok := left.([]any); ok {
		if x, ok := right.([]any); ok {
			if err, failed := r.product(left, right).(error); failed {
				return err
			}
			rest := make([]any, 0, len(l))
		next:
			for _, item := range l {
				for _, not := range x {
					if gojq.Compare(item, not) == 0 {
						continue next
					}
				}
				rest = append(rest, item)
			}
			return rest
		}
	}
	difference, ok := arithmetic(left, right,
		func(a, b int) (int, bool) { c := a - b; return c, (c < a) == (b > 0) },
		func(a, b float64) float64 { return a - b })
	if !ok {
		return operandError("subtract", left, right)
	}
	return difference
}

func (r *run) times(left, right any) any {
	if l, ok := left.(map[string]any); ok {
		if x, ok := right.(map[string]any); ok {
			for _, v := range []any{left, right} {
				if err, failed := r.small(v).(error); failed {
					return err
				}
			}
			return merged(l, x)
		}
	}
	text, count := left, right
	if _, ok := text.(string); !ok {
		text, count = right, left
	}
	if s, ok := text.(string); ok {
		if n, ok := number(count); ok {
			return r.repeat(s, n)
		}
	}
	product, ok := arithmetic(left, right,
		func(a, b int) (int, bool) {
			c := a * b
			return c, a == 0 || c/a == b && (a != -1 || b != math.MinInt)
		},
		func(a, b float64) float64 { return a * b })
	if !ok {
		return operandError("multiply", left, right)
	}
	return product
}

// repeat is jq's text * number: null below zero, the empty text below one.
func (r *run) repeat(s string, count any) any {
	f, _ := gojq.ToFloat64(count)
	if math.IsNaN(f) || f < 0 {
		return nil
	}
	if f*float64(len(s)) > maxText {
		return fmt.Errorf("%w: a text would have more than %d bytes", ErrLimit, maxText)
	}
	n := 0
	if len(s) > 0 {
		n = int(f)
	}
	if err := r.charge(n * len(s)); err != nil {
		return err
	}
	return strings.Repeat(s, n)
}

func merged(l, x map[string]any) map[string]any {
	out := make(map[string]any, len(l)+len(x))
	maps.Copy(out, l)
	for k, v := range x {
		if a, ok := out[k].(map[string]any); ok {
			if b, ok := v.(map[string]any); ok {
				v = merged(a, b)
			}
		}
		out[k] = v
	}
	return out
}

// sum is add: texts are collected in one buffer, arrays and objects in one value.
func (r *run) sum(v any) any {
	var items []any
	switch v := v.(type) {
	case []any:
		items = v
	case map[string]any:
		for _, k := range sortedKeys(v) {
			items = append(items, v[k])
		}
	default:
		return fmt.Errorf("add cannot be applied to: %s", preview(v))
	}
	var total any
	own := false // total is a fresh array or object that may be changed
	for i := 0; i < len(items); i++ {
		switch item := items[i].(type) {
		case nil:
			continue
		case string:
			if _, ok := total.(string); total == nil || ok {
				var b strings.Builder
				prefix, _ := total.(string)
				b.WriteString(prefix)
				for ; i < len(items); i++ {
					s, ok := items[i].(string)
					if !ok && items[i] != nil {
						break
					}
					if n := b.Len() + len(s); n > maxText {
						return tooLong(n)
					}
					b.WriteString(s)
				}
				i--
				total = b.String()
				if err := r.charge(b.Len()); err != nil {
					return err
				}
				continue
			}
		case []any:
			if t, ok := total.([]any); ok {
				if err := r.charge(16 * len(item)); err != nil {
					return err
				}
				if !own {
					t, own = slices.Clone(t), true
				}
				t = append(t, item...)
				total = t
				continue
			}
		case map[string]any:
			if t, ok := total.(map[string]any); ok {
				if err := r.charge(48 * len(item)); err != nil {
					return err
				}
				if !own {
					t, own = maps.Clone(t), true
				}
				maps.Copy(t, item)
				total = t
				continue
			}
		}
		total, own = r.plus(total, items[i]), false
		if err, failed := total.(error); failed {
			return err
		}
	}
	return total
}

func (r *run) join(v, separator any) any {
	items, ok := v.([]any)
	if !ok {
		return fmt.Errorf("join cannot be applied to: %s", preview(v))
	}
	sep, ok := separator.(string)
	if !ok && len(items) > 1 {
		return fmt.Errorf("join: expected a text between the parts but got: %s", preview(separator))
	}
	if err := r.charge(96 * len(items)); err != nil { // numbers become texts first
		return err
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		switch item := item.(type) {
		case nil:
		case string:
			b.WriteString(item)
		case bool, int, float64, *big.Int, json.Number:
			text, err := gojq.Marshal(item)
			if err != nil {
				return err
			}
			b.Write(text)
		default:
			return fmt.Errorf("join: cannot join %s", preview(item))
		}
		if b.Len() > maxText {
			return tooLong(b.Len())
		}
	}
	if err := r.charge(b.Len()); err != nil {
		return err
	}
	return b.String()
}

// product guards searches of one value in another, which take the product of
// their sizes. A text in a text is searched in linear time by contains and inside,
// but as arrays of characters by index, so that the bound holds for texts too.
func (r *run) product(v, x any) any {
	a, b := walker{}, walker{}
	if err := a.walk(v, 0); err != nil {
		return err
	}
	if err := b.walk(x, 0); err != nil {
		return err
	}
	if err := r.search(float64(a.nodes+a.bytes) * float64(b.nodes+b.bytes)); err != nil {
		return err
	}
	if err := r.charge(32 * (a.nodes + a.bytes + b.nodes + b.bytes)); err != nil {
		return err
	}
	return v
}

func (r *run) rows(v any) any {
	table, _ := v.([]any)
	widest := 0
	for _, row := range table {
		cells, _ := row.([]any)
		widest = max(widest, len(cells))
	}
	if widest > 0 && len(table) > maxNodes/widest {
		return fmt.Errorf("%w: transpose of %d rows", ErrLimit, len(table))
	}
	if err := r.charge(widest * (16*len(table) + 48)); err != nil {
		return err
	}
	return v
}

func digits(_ *run, v any) any {
	if s, ok := v.(string); ok && len(s) > maxDigits {
		return fmt.Errorf("%w: a number has more than %d digits", ErrLimit, maxDigits)
	}
	return v
}

// layout guards time formats: %1000d pads to a thousand characters.
func layout(_ *run, in, format any) any {
	if s, ok := format.(string); ok && len(s) > 256 {
		return fmt.Errorf("%w: a time format has more than 256 bytes", ErrLimit)
	}
	if s, ok := in.(string); ok && len(s) > 4096 {
		return fmt.Errorf("%w: a time has more than 4096 bytes", ErrLimit)
	}
	return in
}

func (r *run) decode(v any) any {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("fromjson cannot be applied to: %s", preview(v))
	}
	if err := r.charge(16*len(s) + objectBytes(0)*strings.Count(s, "{")); err != nil {
		return err
	}
	if deeper(s, maxDepth) { // the decoder calls itself for each level
		return fmt.Errorf("%w: a value is nested deeper than %d levels", ErrLimit, maxDepth)
	}
	var out any
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return fmt.Errorf("fromjson: %s", shorten(err.Error()))
	}
	return out
}

// deeper reports whether JSON text has more levels of nesting.
func deeper(text string, levels int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > levels {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

func key(_ *run, v any) any {
	if _, ok := v.([]any); ok {
		return errors.New("an array cannot be an index here; use indices(...)")
	}
	return v
}

// route guards paths made of values: a huge index would allocate as much.
func (r *run) route(v any) any {
	parts, ok := v.([]any)
	if !ok {
		return fmt.Errorf("expected a path (an array) but got: %s", preview(v))
	}
	if len(parts) > maxDepth {
		return fmt.Errorf("%w: a path has more than %d parts", ErrLimit, maxDepth)
	}
	if err := r.charge(16 * len(parts)); err != nil {
		return err
	}
	for _, part := range parts {
		switch part.(type) {
		case []any:
			return errors.New("an array cannot be part of a path")
		case int, float64, *big.Int, json.Number:
			if i, _ := gojq.ToInt(part); i > maxIndex {
				return fmt.Errorf("%w: index %d, the limit is %d", ErrLimit, i, maxIndex)
			}
		}
	}
	return v
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
