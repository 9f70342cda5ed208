package jq

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// directInputs hold values of every kind under few names, so that generated programs
// find each of them where they do and where they do not expect it.
var directInputs = []string{
	`{"a": "Hello Wörld.exe", "b": {"a": "C:\\Windows\\cmd.EXE", "b": null, "c": ["x", "Y", 3]}, "c": [], "d": 5}`,
	`{"a": null, "b": [1, 2.5, "x", null, {"a": "q"}], "c": ["build", "Hello"], "d": "12"}`,
	`{"a": "{\"a\": {\"b\": \"x\"}}", "b": {"a": {"a": "deep"}, "c": [[], {}, ["x"]]}, "c": {"a": true}, "d": -1.5}`,
	`{"a": "", "b": {"a": false}, "c": [true, false, null], "d": 1e300}`,
	`{"a": "aXbXc\u0000\n", "b": "text", "c": ["x", "x", "y"], "d": 0}`,
	`[1, "a"]`, `null`, `"x"`, `7`, `{}`,
}

// directOptions give the programs a variable and functions, one of which fails.
func directOptions() []Option {
	return []Option{
		WithVariables("$vars"),
		WithFunction("of", 1, 1, func(in any, args []any) any {
			list, ok := args[0].([]any)
			if !ok {
				return fmt.Errorf("of: no list: %v", args[0])
			}
			for _, item := range list {
				if item == in {
					return true
				}
			}
			return false
		}),
		WithFunction("pair", 2, 2, func(in any, args []any) any { return []any{in, args[0], args[1]} }),
	}
}

// programs makes programs of the forms that run directly, mixed with some that do not.
type programs struct{ *rand.Rand }

func (g programs) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g programs) text() string {
	return g.pick(`"x"`, `"a"`, `"Hello"`, `""`, `"ö"`, `"\\\\"`, `"build"`, `"12"`)
}

func (g programs) pattern() string {
	return g.pick(`"x"`, `"[a-z]+"`, `"(?<a>l+)(?<b>z)?"`, `"[\\\\/]"`, `""`, `"^(H|C:)"`, `"\\.exe$"`, `"("`, `"ö|X"`, `"(?<a>.)"`)
}

func (g programs) flags() string { return g.pick(`"i"`, `null`, `""`, `"g"`, `"im"`, `"z"`, `.a`) }

func (g programs) leaf() string {
	return g.pick(`.`, `.a`, `.b`, `.c`, `.d`, `.b.a`, `.b.c`, `.b.a.a`, `.nope.a`, `."a"`, `.["b"]`, `.a?`, `.b.a?`, `null`, `true`, `false`, `0`, `5`, `-1.5`, `1.0`, `[]`,
		`["x", "Hello"]`, `[1, "x"]`, `$vars`, `$vars.list`, `empty`, `error("e")`, `.c[]`, `.c[0]`, `"v=\(.a)"`, `"\(.a)\(.d)"`, `{a: .a}`) // the last are not known
}

func (g programs) program(depth int) string {
	if depth <= 0 {
		if g.IntN(3) == 0 {
			return g.text()
		}
		return g.leaf()
	}
	sub := func() string { return g.program(depth - 1 - g.IntN(2)) }
	switch g.IntN(24) {
	case 0, 1, 2, 3:
		return sub() + " | " + sub()
	case 4, 5:
		return "(" + sub() + ") // " + g.pick(`""`, `[]`, `null`, "("+sub()+")")
	case 6:
		return "(" + sub() + ") and (" + sub() + ")"
	case 7:
		return "(" + sub() + ") or (" + sub() + ")"
	case 8, 9:
		return "(" + sub() + ") " + g.pick("==", "!=", "<", "<=", ">", ">=") + " (" + sub() + ")"
	case 10:
		return "(" + sub() + ")" + g.pick("?", ".a", `.a?`, `["b"]`)
	case 11:
		return "[" + sub() + ", (" + sub() + ")?]"
	case 12:
		return "(try (" + sub() + ") catch " + g.pick("null", `"bad"`, ".") + ")"
	case 13:
		return "if " + sub() + " then " + sub() + " else " + sub() + " end"
	case 14:
		return "any(" + sub() + ")"
	case 15:
		return "all(" + sub() + ")"
	case 16:
		return "(" + sub() + ") | " + g.pick("not", "length", "last", "first", "ascii_downcase", "ascii_upcase", "tostring", "tonumber", "fromjson", "any", "all")
	case 17:
		return "(" + sub() + ") | " + g.pick("startswith", "endswith", "contains") + "(" + g.pick(g.text(), g.leaf()) + ")"
	case 18, 19:
		return "(" + sub() + ") | " + g.pick("test", "capture", "test") + "(" + g.pattern() + g.pick("", "; "+g.flags()) + ")"
	case 20:
		return "(" + sub() + ") | split(" + g.pattern() + "; " + g.flags() + ")"
	case 21:
		return "(" + sub() + ") | gsub(" + g.pattern() + "; " + g.pick(g.text(), `.a`) + ")"
	case 22:
		return "(" + sub() + ") | of(" + g.pick(`["x", 3]`, `$vars.list`, sub()) + ")"
	}
	return "(" + sub() + ") | pair(" + sub() + "; " + g.leaf() + ")"
}

// agree holds what a program yields directly against the interpreter. It tells whether
// it could be run directly.
func agree(t *testing.T, src string, input any, vars ...any) bool {
	t.Helper()
	p, err := Compile(src, directOptions()...)
	if err != nil {
		return false
	}
	got, sure := p.directly(t.Context(), input, vars)
	if !sure {
		return false
	}
	interpreted, err := Compile(src, directOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	interpreted.direct, interpreted.isPath = nil, false
	want, err := interpreted.Value(t.Context(), input, vars...)
	if err != nil {
		t.Fatalf("%s on %v yields %v directly, and jq says %v", src, input, got, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s on %v yields %#v directly, and %#v in jq", src, input, got, want)
	}
	return true
}

// What runs directly yields what the interpreter does, whatever it is given.
func TestDirectly(t *testing.T) {
	g := programs{rand.New(rand.NewPCG(1, 2))}
	var inputs []any
	for _, text := range directInputs {
		inputs = append(inputs, decode(t, text))
	}
	vars := map[string]any{"list": []any{"x", 3.0, nil}, "a": "Hello"}
	sure, all := 0, 0
	for range 8000 {
		src := g.program(1 + g.IntN(4))
		for range 3 {
			all++
			if agree(t, src, inputs[g.IntN(len(inputs))], vars) {
				sure++
			}
		}
	}
	if sure < all/5 {
		t.Errorf("only %d of %d ran directly", sure, all)
	}
	if !reflect.DeepEqual(inputs[0], decode(t, directInputs[0])) {
		t.Error("an input was changed")
	}
}

// The forms that playbooks have run directly, so that they stay as quick as they are.
func TestRunsDirectly(t *testing.T) {
	input := decode(t, `{"alert": {"severity": "high", "event_count": 7, "event": {"path": "C:\\a\\Cmd.exe", "cmdline": "vssadmin delete shadows", "data": "{\"EventData\": {\"Ip\": \"10.0.0.1\"}}"}, "host": {"tags": ["x"]}}}`)
	vars := map[string]any{"list": []any{"cmd.exe"}, "many": 5.0}
	for _, src := range []string{
		`.alert.severity == "high"`, `.alert.severity | of(["high"])`, `.alert.event.cmdline // "" | test("vssadmin.*delete"; "i")`, `(.alert.host.tags // []) | any(of(["x", "y"]))`,
		`.alert.event.path // "" | split("[\\\\/]"; "") | last // "" | ascii_downcase | of($vars.list)`, `.alert.event_count >= $vars.many`, `(.alert.event.nope // "") != ""`,
		`(try (.alert.event.data | fromjson | .EventData.Ip) catch null) // "" | of($vars.list)`, `.alert.event.nope // "" | test("[.:]") and (of($vars.list) | not)`,
		`[(try (.alert.event.data | fromjson | .EventData.Ip) catch null), (.alert.event.cmdline // "" | capture("(?<it>delete)"; "i")?.it)] | any(. // "" | test("delete"))`,
		`"\(.alert.event.path // "") \(.alert.event.cmdline // "")" | gsub("\\\\\\\\"; "\\") | test("delete"; "i")`,
	} {
		if !agree(t, src, input, vars) {
			t.Errorf("does not run directly: %s", src)
		}
	}
}

// What takes long is left to the interpreter, which has the bounds.
func TestLongIsNotRunDirectly(t *testing.T) {
	long := map[string]any{"text": strings.Repeat("x", 1<<20), "list": make([]any, 100_000)}
	for _, src := range []string{
		`.text | test("(x+x+)+y")`, `.text | ascii_downcase`, `.text | split("x"; null)`, `.text | gsub("x"; "yy")`, `.list | any(. == 1)`, `.list | all(. == null)`,
		`.text | test("((a{100}){100}){100}")`, `"\(.text)\(.text)"`, `.text | contains("abcdef")`,
	} {
		p, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		if v, sure := p.directly(t.Context(), long, nil); sure {
			t.Errorf("%s yields %v", src, v)
		}
	}
}

func FuzzDirectly(f *testing.F) {
	f.Add(uint64(1), uint64(2), directInputs[0])
	f.Fuzz(func(t *testing.T, a, b uint64, text string) {
		g := programs{rand.New(rand.NewPCG(a, b))}
		var input any
		if json.Unmarshal([]byte(text), &input) != nil {
			return
		}
		agree(t, g.program(1+g.IntN(5)), input, map[string]any{"list": []any{"x", nil}, "a": text})
	})
}
