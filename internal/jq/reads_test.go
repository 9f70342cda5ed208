package jq

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func readsOf(t *testing.T, src string) string {
	t.Helper()
	p, err := Compile(src, directOptions()...)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	fields, everything := p.Reads()
	if everything {
		return "everything"
	}
	var words []string
	for _, names := range fields {
		words = append(words, "."+strings.Join(names, "."))
	}
	return strings.Join(words, " ")
}

func TestReads(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{`.host.name == "x"`, ".host.name"},
		{`.alert.event.pid > 4 and (.host.tags // [] | any(. == "x"))`, ".alert.event .host.tags"},
		{`. as $x | $x.enrich.tree.n`, ".enrich.tree"},
		{`. as {enrich: {$tree}, count: $n} | $n > 2 and $tree`, ".count .enrich.tree"},
		{`.alert as $a | .enrich | keys | length`, ".enrich"},
		{`getpath(["enrich", "tree", "n"])`, ".enrich.tree"},
		{`getpath(["enrich"] + ["tree"])`, "everything"},
		{`def bad: .enrich.tree.bad; bad`, "everything"},
		{`def bad: .bad; .enrich.tree | bad`, ".enrich.tree"},
		{`.enrich as $e | def bad: $e.tree.bad; .alert.rule.id | bad`, ".alert.rule .enrich.tree"},
		{`def select(f): .; select(.alert.x).count`, "everything"},
		{`[..] | length`, "everything"},
		{`any(.[]; . == null)`, "everything"},
		{`to_entries | length`, "everything"},
		{`paths | length`, "everything"},
		{`tojson | test("x")`, "everything"},
		{`"\(.)"`, "everything"},
		{`@json`, "everything"},
		{`.["en" + "rich"]`, "everything"},
		{`has("enrich")`, "everything"},
		{`$vars == null`, ""},
		{`now - 5 > .count`, ".count"},
		{`true or .host`, ".host"},
		{`reduce .alert.tags[] as $t (0; . + $t)`, ".alert.tags"},
		{`reduce .[] as $t (0; . + 1)`, "everything"},
		{`foreach range(3) as $i (.; .; .enrich)`, "everything"},
		{`if .alert.x then .enrich else .host end | .tree`, ".alert.x .enrich.tree .host.tree"},
		{`if .alert.x then .alert else . end | .y`, ".alert.x .alert.y .y"},
		{`first(.alert.tags[], .count)`, ".alert.tags .count"},
		{`any(.enrich; .tree.n > 1)`, ".enrich.tree"},
		{`try error("x") catch .enrich`, ""},
		{`{alert, "n": .count} | .alert.x`, ".alert .count"},
		{`.alert.x = 5`, "everything"},
		{`(.enrich, .host) | .tree`, ".enrich.tree .host.tree"},
		{`.enrich.tree.n as [$a] ?// {b: $a} | $a`, ".enrich.tree"},
		{`. as {(.alert.x): $v} | $v`, "everything"},
	} {
		if got := readsOf(t, tt.src); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.src, got, tt.want)
		}
	}
}

// wholePrograms are programs over an object whose fields are all alike.
type wholePrograms struct{ *rand.Rand }

func (g wholePrograms) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g wholePrograms) program(depth int) string {
	if depth <= 0 {
		return g.pick(`.`, `.a`, `.b`, `.c`, `.d`, `.a.p`, `.b.q`, `.c.p?`, `.a["q"]`, `."b"`, `$x`, `$x.a`, `$y`, `$y.p?`, `null`, `1`, `"a"`, `true`, `empty`, `..`, `.[]?`,
			`f`, `f`, `g(.a)`, `now|1`, `keys?`, `$vars`, `.a[]?`, `.d[0]?`, `.d[1:]?`, `not`, `error("e")`, `error?`, `@json`, `{a}`, `{"b"}`, `{$x}`)
	}
	sub := func() string { return g.program(depth - 1 - g.IntN(2)) }
	switch g.IntN(30) {
	case 0, 1, 2, 3, 4:
		return sub() + " | " + sub()
	case 5:
		return "(" + sub() + ") // (" + sub() + ")"
	case 6:
		return "(" + sub() + ") " + g.pick("==", "and", "or", "<", "+", "-", ",", ",") + " (" + sub() + ")"
	case 7, 8:
		return "(" + sub() + ") as " + g.pick("$x", "$y", "{a: $x}", "{$a, b: {p: $x}}", "[$x, $y]", `{"b": $y}`, "{(\"a\", \"b\"): $x}", "[$x] ?// $x", "{$b: {p: $y}}") + " | " + sub()
	case 9, 10:
		return "(" + sub() + ")" + g.pick("?", ".a", ".p?", ".q", `["a"]?`, "[]?", `[("p", "q")]?`)
	case 11:
		return "[" + sub() + "]"
	case 12:
		return "{a: (" + sub() + "), b: 1}"
	case 13:
		return "{(" + sub() + " | tostring): 1}"
	case 14:
		return "(try (" + sub() + ") catch (" + sub() + "))"
	case 15:
		return "if " + sub() + " then " + sub() + g.pick("", " elif .b then "+sub()) + g.pick("", " else "+sub()) + " end"
	case 16:
		return "(reduce (" + sub() + ") as $x (" + sub() + "; " + sub() + "))"
	case 17:
		return "[foreach (" + sub() + ") as $y (" + sub() + "; " + sub() + "; " + sub() + ")]"
	case 18, 19:
		return "(def f: " + sub() + "; " + sub() + ")"
	case 20:
		return "(def g(f): " + sub() + "; g(" + sub() + "))"
	case 21:
		return "(def g($x): " + sub() + "; g(" + sub() + "))"
	case 22:
		return "getpath(" + g.pick(`["a"]`, `["a", "p"]`, `["b", "q", "z"]`, `[]`, `["d", 0]`, "["+sub()+"]") + ")?"
	case 23:
		return g.pick("select", "first", "last", "isempty", "map", "path", "del", "any", "all", "add", "with_entries", "map_values", "to_entries | map", "recurse | select", "[paths] | map") + "(" + sub() + ")"
	case 24:
		return g.pick("any", "all", "IN", "limit", "nth", "range") + "(" + g.pick("1", sub()) + "; " + sub() + ")"
	case 25:
		return "(" + sub() + ") | pair(" + sub() + "; " + sub() + ")"
	case 26:
		return `"<\(` + sub() + `)>"`
	case 27:
		return "(label $out | " + sub() + ", break $out)"
	case 28:
		return "(" + g.pick(".a", ".a.p", ".b", ".[]?") + g.pick(" |= ", " = ", " += ", " //= ") + "(" + sub() + "))"
	}
	return "(" + sub() + ") | " + g.pick("length", "type", "tojson", "keys", "to_entries", "tostream", "paths", "has(\"a\")", "-(.)", "not", "tostring", "first", "select(.a?)")
}

func (g wholePrograms) value(depth int) any {
	switch g.IntN(7 + min(depth, 1)*3) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return float64(g.IntN(3))
	case 3:
		return g.pick("a", "b", "p", "x")
	case 4:
		return []any{}
	case 5, 6:
		return []any{g.pick("a", "p"), float64(g.IntN(2))}
	}
	object := map[string]any{}
	for _, name := range []string{"p", "q", "a"} {
		if g.IntN(3) > 0 {
			object[name] = g.value(depth - 1)
		}
	}
	return object
}

// another is an input that differs from in, in nothing that fields tell.
func (g wholePrograms) another(in map[string]any, fields [][]string) map[string]any {
	out := map[string]any{}
	for _, name := range []string{"a", "b", "c", "d"} {
		inside := []string{}
		for _, f := range fields {
			if f[0] == name && len(f) == 1 {
				inside = nil
				break
			}
			if f[0] == name {
				inside = append(inside, f[1])
			}
		}
		old, there := in[name]
		object, isObject := old.(map[string]any)
		switch {
		case inside == nil || len(inside) > 0 && !isObject:
			if there {
				out[name] = old
			}
		case len(inside) == 0:
			if g.IntN(3) > 0 {
				out[name] = g.value(2)
			}
		default:
			fresh, _ := g.value(1).(map[string]any)
			if fresh == nil {
				fresh = map[string]any{"new": "x"}
			}
			for _, field := range []string{"p", "q", "a"} {
				if slices.Contains(inside, field) {
					delete(fresh, field)
					if v, ok := object[field]; ok {
						fresh[field] = v
					}
				}
			}
			out[name] = fresh
		}
	}
	return out
}

// What Reads leaves out makes no difference to what a program says.
func TestReadsAreAll(t *testing.T) {
	seed := rand.Uint64()
	g := wholePrograms{rand.New(rand.NewPCG(seed, 3))}
	compiled, told := 0, 0
	for range 10_000 {
		src := ". as $y | null as $x | def f: .b; def g(h): h; " + g.program(1+g.IntN(4))
		if g.IntN(2) == 0 {
			src = g.program(1 + g.IntN(4))
		}
		p, err := Compile(src, directOptions()...)
		if err != nil {
			continue
		}
		compiled++
		fields, everything := p.Reads()
		if everything {
			continue
		}
		told++
		for range 6 {
			in := map[string]any{}
			for _, name := range []string{"a", "b", "c", "d"} {
				in[name] = g.value(2)
			}
			other := g.another(in, fields)
			want, wantErr := p.Run(t.Context(), in, nil)
			got, gotErr := p.Run(t.Context(), other, nil)
			if errors.Is(wantErr, ErrLimit) || errors.Is(gotErr, ErrLimit) {
				continue // which limit is met first, and when, depends on the machine
			}
			if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("seed %d: %s\nreads %v only, and yet\n%v gives %v, %v\n%v gives %v, %v", seed, src, fields, in, want, wantErr, other, got, gotErr)
			}
		}
	}
	if told < compiled/10 {
		t.Errorf("of %d programs, only %d were told", compiled, told)
	}
}
