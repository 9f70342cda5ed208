package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/itchyny/gojq"

	"github.com/erbridge/erbridge/internal/soar"
)

const sample = `{
	"a": 1, "b": [3, 1, 2], "s": "Hello Wörld, hello", "n": null, "t": true,
	"o": {"x": {"y": "z"}, "list": [{"k": 1, "v": "p"}, {"k": 2, "v": "q"}, {"k": 1, "v": "r"}]}
}`

func decode(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The rewritten program must mean what gojq means by it.
func TestSameAsGojq(t *testing.T) {
	input := decode(t, sample)
	for _, src := range []string{
		`.`, `.a`, `.o.x.y`, `.o["x"]["y"]`, `.b[0]`, `.b[1:]`, `.b[-1]`, `.["s"]`, `.b[]`, `..`, `.nothing.at.all`, `.a.b`, `.n.x`,
		`.a + 1`, `.a - 2 * 3 / 4 % 5`, `1 - 1, 7 * 6, 2 - 9`, `"a" + "b"`, `.s + null`, `null + 1`, `[1] + [2]`, `[1,2,3,2] - [2]`, `{a:1} + {b:2}`,
		`{a:{b:1}} * {a:{c:2}}`, `"ab" * 3`, `3 * "ab"`, `"ab" * 0`, `"ab" * 0.5`, `"" * 5`, `"x" * -1`, `9007199254740993 + 0`,
		`.a == 1, .a != 1, .a < 2, .a <= 1, .a > 1, .a >= 1`, `.b == [3,1,2]`, `{} == {}`, `"a" < "b"`,
		`.s | test("hello"; "i")`, `.s | test("w.rld"; "i")`, `.s | test(["HELLO","i"])`, `[.s | match("l+"; "g")]`, `.s | match("(?<first>H)(e)(x)?")`,
		`.s | capture("(?<a>\\w+) (?<b>.)")`, `[.s | scan("[a-z]+")]`, `[.s | scan("(l)(.)")]`, `[.s | splits(", *")]`, `.s | split(", *"; null)`, `.s | split(" ")`,
		`.s | sub("hello"; "bye")`, `.s | gsub("l"; "L")`, `.s | gsub("(?<c>[lo])"; "<\(.c)>")`, `.s | gsub("(?<c>o)"; .c + "0", .c + "1")`, `.s | gsub(""; "-")`,
		`.s | sub("(?<x>ö)"; "oe"; "g")`, `"aXbX" | gsub("x"; ""; "i")`, `"" | gsub("x";"y")`, `"abc" | gsub("b"; empty)`,
		`"v=\(.a) \(.o.x)"`, `"\(1,2)-\(3,4)"`, `@json "x\(.o.x)"`, `@base64 "\(.s)"`, `.s | @base64 | @base64d`, `.b | @csv, @tsv, @sh`, `.s | @html, @uri, @text, @json`, `@html "<\("<")>"`, `@json "plain"`,
		`.b | sort, unique, min, max, add, length, reverse`, `.b | add / length`, `[.o.list[].v] | add`, `["a", null, "b", "c"] | add`, `[[1],[2],null,[3]] | add`, `[{a:1},{b:2},{a:3}] | add`, `{a:1,b:2} | add`, `[] | add`, `add(.b[])`, `["a",1] | try add catch "no"`,
		`.b | join(",")`, `["a",1,null,true] | join("-")`, `[] | join(",")`, `["a"] | join(",")`,
		`.o.list | sort_by(.v)`, `.o.list | group_by(.k)`, `.o.list | unique_by(.k)`, `.o.list | min_by(.k), max_by(.v)`, `.o.list | map(.k) | add`, `.o.list | sort_by(.k, .v)`,
		`.o.list | map(select(.k == 1)) | length`, `[.o.list[] | .k] | index(2)`, `.s | index("l"), rindex("l"), indices("l")`, `[1,2,1] | indices(1)`, `[1,2,1,2] | indices([1,2])`,
		`.b | contains([3])`, `[3] | inside([1,3])`, `.s | contains("Wör")`, `.o | has("x")`, `.b | bsearch(1)`, `[[1,2],[3]] | transpose`, `[[1,[2]],3] | flatten, flatten(1)`,
		`.a = 5`, `.o.x.y |= "q"`, `.a += 2`, `.a -= 2`, `.a *= 3`, `.a /= 2`, `.b[1] %= 1`, `.n //= 4`, `.b[] |= . + 1`, `.b |= map(. * 2)`, `.b[5] = 1`, `.o.list[0].k |= empty`, `(.b[] | select(. > 1)) |= empty`, `.b[1:] = [9]`, `(.a, .n) = 7`, `.a += (1,2)`, `.a = (1,2)`,
		`del(.a, .b[0])`, `delpaths([["a"]])`, `to_entries`, `with_entries(.value |= tostring)`, `.o | map_values(length)`, `.b | map_values(. + 1)`, `.b | map_values(empty)`, `walk(if type == "number" then . + 1 else . end)`,
		`getpath(["o","x","y"])`, `setpath(["o","x"]; 1)`, `[paths]`, `[paths(type == "number")]`, `pick(.o.x.y)`, `pick(.b[1])`, `path(.o.x[])`, `[path(..)] | length`,
		`1 as $x | 2 as $y | [$x, $y, $x + $y]`, `. as {a: $q, b: [$f]} | [$q, $f]`, `. as {("a","s"): $q} | $q`, `reduce .b[] as $i (0; . + $i)`, `[foreach .b[] as $i (0; . + $i; [$i, .])]`,
		`if .t then "y" elif .n then "m" else "z" end`, `try error("x") catch .`, `try error({a: 1}) catch .a`, `.a? // "d"`, `[.[]?]`, `"a" | try tonumber catch "bad"`, `"12.5" | tonumber`, `[limit(3; range(10))]`, `first(range(5)), last(range(5)), nth(2; range(5))`,
		`[range(0; 10; 3)]`, `[recurse(if . < 3 then . + 1 else empty end; true)?]`, `def f(x): x * 2; f(.a)`, `def f: def g: 3; g; f`, `[.b[] as $x | $x * 2]`, `label $out | 1, break $out, 2`, `isempty(empty)`, `[.[] | numbers, strings]`,
		`any(.b[]; . == 2), all(.b[]; . > 0)`, `.b | any, all`, `IN(.b[]; 3)`, `.a | IN(1, 2)`, `INDEX(.o.list[]; .k)`, `.o.list | INDEX(.v)`, `ltrimstr("x")`, `.s | ltrimstr("He") | rtrimstr("lo") | ascii_downcase | ascii_upcase | explode | implode`,
		`.a | tostring, tojson`, `.o | tojson | fromjson`, `"2026-11-22T03:22:30Z" | fromdate | todate`, `1e3 | gmtime | mktime`, `0 | strftime("%Y")`, `"10 Mar 2026" | strptime("%d %b %Y") | mktime`, `[splits("a")?]`, `input_line? // 1`, `{"a\(1)": 2}`, `{"s"}`, `{(.s): 1}`, `{a, "b": 2, "x\(1)": 3}`, `{$__loc__}`, `."s"`, `."s\("")"`, `.["s\("")"]`, `.o["x"]."y"`, `-.a`, `-(1,2)`, `[.a, -1] | map(-.)`, `infinite, -infinite, nan | isnan`, `[.b, .b] | combinations`, `tojson | length`, `ascii?`, `@text "a\(null)"`, `.b as [$p] ?// $p | $p`, `.o | to_entries | from_entries`, `getpath(["a","b"])?`, `limit(0; 1)`, `splits("x"; null)?`, `env.PATH? // "none"`, `100000000000000000000 * 1`, `.s | test("a";"x")`, `error`, `error(null)`, `.s[2:4]`, `.s | .[1:]`, `tostream`, `[1,[2]] | getpath([1,0])`, `[.[] | tojson]`, `with_entries(select(.key == "a"))`, `.. |= .`, `(.. | numbers) |= . + 1`, `first(.b[] | select(. > 5)) // "none"`, `.b | .[1:] |= map(. + 1)`, `.b | to_entries | map(.key)`,
	} {
		t.Run(src, func(t *testing.T) {
			want, wantErr := reference(src, input)
			p, err := Compile(src)
			if err != nil {
				if wantErr == nil && !strings.Contains(src, "env") {
					t.Fatalf("does not compile: %v; gojq says %v", err, want)
				}
				return
			}
			got, err := p.Run(t.Context(), input)
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("error %v, gojq has %v", err, wantErr)
			}
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("\n got %v\nwant %v", got, want)
			}
			if !reflect.DeepEqual(input, decode(t, sample)) {
				t.Fatal("the input was changed")
			}
		})
	}
}

func reference(src string, input any) (out []any, err error) {
	q, err := gojq.Parse(src)
	if err != nil {
		return nil, err
	}
	for iter := q.Run(input); ; {
		v, ok := iter.Next()
		if !ok {
			return out, nil
		}
		if err, isErr := v.(error); isErr {
			return nil, err
		}
		out = append(out, converted(v))
	}
}

// Every program here would take minutes or gigabytes in plain gojq.
var bombs = []string{
	`"x" * 1000000000`, `"xxxxxxxxxx" * 100000000`, `reduce range(100) as $i ("x"; . + .)`, `reduce range(100) as $i ("x"; "\(.)\(.)")`, `reduce range(100) as $i ("x"; @json "\(.)\(.)")`,
	`reduce range(100) as $i ("x"; [., .] | add)`, `reduce range(100) as $i ("x"; [., .] | join(","))`, `reduce range(100) as $i ("&"; @html)`, `reduce range(100) as $i ("x"; @base64)`, `reduce range(100) as $i ("\u0000"; tojson)`,
	`reduce range(100) as $i ("x"; . *= 2)`, `reduce range(100) as $i ("x"; . += .)`, `"x" | until(false; . + .)`, `[limit(100000; repeat("x" * 1000000))] | add`, `[range(100000) | "x" * 1000000] | length`,
	`reduce range(100) as $i (1; [., .]) | tojson`, `reduce range(100) as $i (1; [., .])`, `reduce range(100) as $i (1; [., .]) | flatten`, `(reduce range(100) as $i (1; [., .])) as $x | $x == $x`, `reduce range(100) as $i (1; {a: ., b: .}) | tostring`,
	`reduce range(100) as $i (1; [., .]) | [., .] | sort`, `reduce range(100) as $i (1; [., .]) | error`, `reduce range(100) as $i (1; [., .]) | del(.[0])`, `reduce range(100) as $i (1; [., .]) as $x (1; .) `, `reduce range(100) as $i (1; [., .]) | [..] | length`,
	`reduce range(100) as $i (1; [., .]) | [.[]] | group_by(.)`, `reduce range(100) as $i (1; [., .]) | contains([1])`, `reduce range(100) as $i (1; [., .]) | IN(1)`, `reduce range(100) as $i (1; [., .]) | walk(.)`, `reduce range(60) as $i (1; [., .]) | . - [.]`,
	`.[536870910] = 1`, `setpath([536870910]; 1)`, `[] | .[536870910] |= 1`, `null | .[536870910] += 1`, `pick(.[536870910])`, `.a[536870910] //= 1`, `[1] | .[100000000:] = [1]`, `getpath([536870910]) = 1`, `reduce range(1000000) as $i (null; .[$i * 60000] = 1)`,
	`[range(1000000000)]`, `[range(1000000000)] | length`, `range(1000000000)`, `repeat(1)`, `[repeat(1)]`, `last(range(1000000000))`, `def f: f; f`, `def f: 1 + f; f`, `def f: [f]; f`, `[recurse(. + 1)] | length`, `0 | until(. < 0; . + 1)`, `[limit(1000000000; repeat(1))]`, `range(0; 1; 0)`, `first(range(1000000000) | select(. < 0))`, `label $x | repeat(1)`, `[range(1000)] | combinations(9) | select(false)`, `[range(2000) as $a | range(2000) as $b | {a: $a, b: $b}]`,
	`reduce range(1000000) as $i (1; [.]) | tojson`, `reduce range(1000000) as $i (1; [.])`, `reduce range(1000000) as $i (1; {a: .}) | . == 1`, `reduce range(2000000) as $i (1; [.]) | flatten`, `"[" * 1000000 | fromjson`, `"9" * 1000000 | tonumber`, `("9" * 900000 | fromjson) * 2`,
	`reduce range(64) as $i (10; . * .)`, `reduce range(64) as $i (99999999999999999999; . * .) | . * .`, `[range(200000)] as $x | $x - $x`, `[range(200000)] as $x | $x | contains($x)`, `[range(200000) | 1] as $x | $x | indices($x[0:100000])`, `("a" * 1000000) as $x | $x | indices("a" * 500000)`, `("a" * 1000000) as $x | $x | index("a" * 500000 + "b")`, `[range(100000) | [.]] | .[0] = [range(100000)] | transpose`,
	`"a" * 1000000 | [match("";"g")] | length`, `"a" * 1000000 | gsub("a"; "b" * 1000)`, `"a" * 1000000 | test("(a{0,30}){0,30}b")`, `"a" * 60000 | gsub(""; "x" * 100000)`, `"a" * 900000 | [scan("a")] | length`, `"a" * 1000000 | [splits("")] | length`, `"a" * 1000000 | [range(100000) as $i | ascii_downcase] | length`, `"a" * 1000000 | [range(100000) as $i | explode] | length`, `[range(100000) as $i | "\($i)" * 100000] | length`,
	`"%1024d" * 100000 as $f | 0 | strftime($f)`, `[range(1000000) | tostring] | add`, `[.[1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9][1,2,3,4,5,6,7,8,9]?] | length`, `reduce range(100) as $i ([1]; . + .)`, `reduce range(1000000) as $i ({}; .["\($i)"] = $i)`, `[range(100000)] | map(. as $x | [range(100000)])`,
}

func TestBombsStop(t *testing.T) {
	for _, src := range bombs {
		name := src
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			debug.FreeOSMemory()
			p, err := Compile(src, WithTimeout(100*time.Millisecond))
			if err != nil {
				return // refused from the start is as good
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			before := allocated()
			out, err := p.Run(ctx, nil)
			if ctx.Err() != nil {
				t.Fatal("did not stop by itself")
			}
			if err == nil && len(out) > maxOutputs {
				t.Fatalf("%d values", len(out))
			}
			if grown := allocated() - before; grown > 3<<30 {
				t.Fatalf("allocated %d MB", grown>>20)
			}
		})
	}
}

// A limit is an error of the whole program: what catches errors, // as well, does not
// turn it into a value.
func TestLimitsAreNotCaught(t *testing.T) {
	for _, src := range []string{
		`try ("x" * 1e9) catch "caught"`, `("x" * 1e9)? // "caught"`, `"x" * 1e9 // "caught"`, `[.[]?, ("x" * 1e9)?]`, `try ("a" * 1000000 | test("(a{0,30}){0,30}b")) catch "caught"`,
		`("[" * 9000 + "]" * 9000 | fromjson) // "caught"`, `[limit(3; repeat(try ("x" * 1e9) catch 1))]`, `("a" * 1000000 | explode) // "caught"`, `label $out | try ([range(1e9)]) catch (1, break $out)`,
	} {
		p, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := p.Run(t.Context(), nil); !errors.Is(err, ErrLimit) {
			t.Errorf("%s yields %v, %v", src, out, err)
		}
	}
}

// What patterns made from data compile to is not kept for ever.
func TestRegexpsKept(t *testing.T) {
	p, err := Compile(`test("k" * 4000 + .)`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := p.Run(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, re := range p.regexps.known {
			size += re.size
		}
		if size > maxRegexp || size != p.regexps.size {
			t.Fatalf("%d instructions are kept, %d counted", size, p.regexps.size)
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		src    string
		offset int
		msg    string
	}{
		{`env.HOME`, 0, "env is not available here: there is no environment"},
		{`.a | $ENV`, 5, "$ENV is not available here: there is no environment"},
		{`{$ENV}`, 1, "unknown name $ENV"},
		{`[inputs]`, 1, "inputs is not available here: there is no input but ."},
		{`input`, 0, "input is not available here: there is no input but ."},
		{`1 | debug`, 4, "debug is not available here: there is nowhere to print to"},
		{`halt`, 0, "halt is not available here: use error(...)"},
		{`import "x" as x; .`, 0, "modules cannot be imported"},
		{`include "x"; .`, 0, "modules cannot be imported"},
		{`_multiply("x"; 9)`, 0, "unknown name _multiply"},
		{`$_erb`, 0, "unknown name $_erb"},
		{`1 as $_erb | 2`, 5, "names that start with an underscore are reserved: $_erb"},
		{`def sort: .; sort`, 4, "sort cannot be defined anew"},
		{`def f(tojson): tojson; f(1)`, 6, "tojson cannot be defined anew"},
		{`.a |`, 4, "jq syntax: the expression ends too early"},
		{`.a | | .b`, 5, `jq syntax: unexpected token "|"`},
		{`.a == 'x'`, 6, `jq syntax: unexpected token "'"`},
		{`.a | tets("x")`, 5, "unknown function tets"},
		{`.a | test`, 5, "function test does not take 0 arguments"},
		{`$nope`, 0, "unknown variable $nope"},
		{`  `, 0, "the expression is empty"},
		{strings.Repeat("(", 600) + "1" + strings.Repeat(")", 600), 0, "the expression is nested deeper than 500 levels"},
	} {
		t.Run(tt.src[:min(len(tt.src), 30)], func(t *testing.T) {
			_, err := Compile(tt.src)
			serr, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("error is %v", err)
			}
			if serr.Msg != tt.msg || serr.Offset != tt.offset {
				t.Errorf("\n got %d: %s\nwant %d: %s", serr.Offset, serr.Msg, tt.offset, tt.msg)
			}
		})
	}
}

func TestHints(t *testing.T) {
	_, err := Compile(`.a | tets("x")`)
	if serr, _ := errors.AsType[*SyntaxError](err); serr == nil || serr.Hint != `did you mean "test"?` && serr.Hint != "did you mean test?" {
		t.Errorf("hint for tets: %v", err)
	}
}

// An int64 makes gojq return an error whose own text panics.
func TestNotPlainInput(t *testing.T) {
	type odd struct{ X int }
	for _, input := range []any{int64(1), map[string]any{"a": int64(1)}, []any{odd{1}}, struct{}{}, map[string]string{"a": "b"}, float32(1)} {
		for _, src := range []string{`.`, `.a`, `.a + 1`, `.[0]`, `.[]`, `tojson`, `length`, `. == 1`, `.a.b`, `keys`, `"\(.)"`, `sort`, `error`, `try error catch .`, `.[0] | .x`} {
			p, err := Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.Run(t.Context(), input)
			if err != nil {
				if err.Error() == "" {
					t.Errorf("%s on %T: an error without text", src, input)
				}
				continue
			}
			for _, v := range out {
				if again, err := soar.Plain(v); err != nil || !reflect.DeepEqual(again, v) {
					t.Errorf("%s on %T yields %T, which is not plain", src, input, v)
				}
			}
			if _, err := p.Value(t.Context(), input); err != nil && err.Error() == "" {
				t.Errorf("%s on %T: an error without text", src, input)
			}
		}
	}
}

func TestValueAndTrue(t *testing.T) {
	for _, tt := range []struct {
		src   string
		value string
		truth string
	}{
		{`.a`, "1", "true"}, {`.n`, "<nil>", "false"}, {`.t | not`, "false", "false"}, {`0`, "0", "true"}, {`""`, "", "true"},
		{`empty`, "none", "none"}, {`.b[]`, "several", "several"}, {`.b[] | select(. == 3)`, "3", "true"}, {`.a.b`, "error", "error"},
	} {
		t.Run(tt.src, func(t *testing.T) {
			p, err := Compile(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			describe := func(v any, err error) string {
				switch {
				case errors.Is(err, ErrOutputs) && strings.Contains(err.Error(), "none"):
					return "none"
				case errors.Is(err, ErrOutputs):
					return "several"
				case err != nil:
					return "error"
				}
				return fmt.Sprint(v)
			}
			value, err := p.Value(t.Context(), decode(t, sample))
			if got := describe(value, err); got != tt.value {
				t.Errorf("Value = %s, want %s", got, tt.value)
			}
			truth, err := p.True(t.Context(), decode(t, sample))
			if got := describe(truth, err); got != tt.truth {
				t.Errorf("True = %s, want %s", got, tt.truth)
			}
		})
	}
}

func TestClockVariablesFunctions(t *testing.T) {
	p, err := Compile(`[now, $x, (.a | double)]`, WithVariables("$x"), WithNow(func() time.Time { return time.Unix(1000, 0) }),
		WithFunction("double", 0, 0, func(in any, _ []any) any { return in.(float64) * 2 }))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Value(t.Context(), map[string]any{"a": 4.0}, "v")
	if want := []any{1000.0, "v", 8.0}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := p.Value(t.Context(), "no number", "v"); err == nil {
		t.Error("a panic in a function is not an error")
	}
	if _, err := p.Run(t.Context(), nil); err == nil {
		t.Error("a missing variable is not an error")
	}
}

func TestCancelled(t *testing.T) {
	p, err := Compile(`repeat(1) | select(false)`, WithTimeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("shutting down")
	cancel(why)
	if _, err := p.Run(ctx, nil); !errors.Is(err, why) {
		t.Errorf("error is %v, want %v", err, why)
	}
}

func TestPaths(t *testing.T) {
	for src, want := range map[string]string{
		`.alert.event.cmdline // "" | test("x")`:                          ".alert.event.cmdline",
		`.steps.contain.error`:                                            ".steps.contain.error",
		`.alert.host | .name`:                                             ".alert.host .alert.host.name",
		`.alert.host.tags[] | select(. == "x")`:                           ".alert.host.tags[]",
		`any(.host.tags[]; . == "dc")`:                                    ".host.tags[]",
		`.host.tags | index("backup")`:                                    ".host.tags",
		`"a \(.alert.rule.name) b \(.run.id)"`:                            ".alert.rule.name .run.id",
		`if .alert.severity | at_least("high") then .vars.x else "y" end`: ".alert.severity .vars.x",
		`.alert["event"]["a b"]`:                                          ".alert.event.a b",
		`.enrich.tree.files | map(.path)`:                                 ".enrich.tree.files .enrich.tree.files[].path",
		`. as $all | $all.alrt`:                                           ".alrt",
		`.alert as $a | .steps | $a.id`:                                   ".alert .alert.id .steps",
		`{id: .alert.id, alrt}`:                                           ".alert.id .alrt",
		`[.alert.id, .alert.event[.vars.key]]`:                            ".alert.event .alert.id .vars.key",
		`.enrich.seen.rows[-1].pid`:                                       ".enrich.seen.rows[].pid",
		`.enrich.seen.rows[1 + 1].pid`:                                    ".enrich.seen.rows",
		`.enrich.seen["a" + .alert.id]`:                                   ".alert.id .enrich.seen",
		`. as {enrich: {$seen, other: [$x]}} | [$seen.id, $x]`:            ".enrich .enrich.other .enrich.other[] .enrich.seen .enrich.seen.id",
		`nth(.alert.n; .enrich.seen.rows[])`:                              ".alert.n .enrich.seen.rows[]",
		`reduce .steps.a.output[] as $x (.vars.start; . + $x)`:            ".steps.a.output[] .vars.start",
		`def f: .nope; f`:                                                 "",
		`.alert.id | in_list(.vars.ids)`:                                  ".alert.id .alert.id.vars.ids",
		`(.alert.a, .alert.b) | length`:                                   ".alert.a .alert.b",
		`.alert.event | to_entries | map(.key)`:                           ".alert.event",
		`.a[0].b`:                                                         ".a[].b",
		`.a?.b`:                                                           ".a.b",
		`.. | .x?`:                                                        "",
	} {
		p, err := Compile(src, WithFunction("at_least", 1, 1, nil), WithFunction("in_list", 1, 1, nil))
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := strings.Join(p.Paths(), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", src, got, want)
		}
	}
}

func FuzzProgram(f *testing.F) {
	for _, src := range bombs {
		f.Add(src, sample)
	}
	for _, src := range []string{`.a`, `.b | sort`, `.s | gsub("l";"x")`, `.. |= .`, `.o.list | group_by(.k)`, `.[0] = 1`, `@sh "x\(.)"`, `{"a\(1)"}`, `. as [$a, {b: $c}] | $a`} {
		f.Add(src, sample)
	}
	f.Fuzz(func(t *testing.T, src, text string) {
		var input any
		if json.Unmarshal([]byte(text), &input) != nil {
			return
		}
		p, err := Compile(src, WithTimeout(50*time.Millisecond))
		if err != nil {
			return
		}
		p.Paths()
		before := allocated()
		out, err := p.Run(t.Context(), input)
		if grown := allocated() - before; grown > 2<<30 {
			t.Fatalf("allocated %d MB", grown>>20)
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without text")
			}
			return
		}
		for _, v := range out {
			if _, err := soar.Plain(v); err != nil {
				t.Fatalf("yields something that is not JSON: %v", err)
			}
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	p, err := Compile(`.s // "" | test("h.*w"; "i")`)
	if err != nil {
		b.Fatal(err)
	}
	input := decode(b, sample)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.True(b.Context(), input); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
