package jq

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/testenv"
)

// hoarders try to keep as much as they can alive, each by another way of the
// interpreter: its stacks, arrays and objects, the copies that assignments make,
// texts that grow when they are written in another form, results.
var hoarders = []string{
	// The stacks of the interpreter.
	`def f: [f]; f`, `def f: 1 + f; f`, `def f: {a: f}; f`, `def f($x): f($x + 1) + 1; f(0)`, `def f(g): f(g | g) | 1; f(.)`, `def f: f, f; [f]`, `def f: (f | .a?) // 1; f`,
	`def f: try f catch error; f`, `def f: label $x | f | break $x; f`, `def f: reduce f as $x (0; 1); f`, `[recurse([.])]`, `def f: . as [$a, $b] | f | $a; f`, `def f: first(f); f`,
	// Arrays.
	`[range(1000000000)]`, `[repeat("x")]`, `[recurse(. + 1)]`, `[range(1e9) | [.]]`, `[range(1e9) | [[[[.]]]]]`, `[limit(1e9; repeat([1, 2, 3]))]`, `[range(1e9) | [range(100)]]`, `[range(1e5)] as $x | [range(1e5) | $x + [.]]`,
	`[range(1e5)] as $x | [range(1e5) | $x | reverse]`, `[range(1e5)] as $x | [range(1e5) | $x | sort]`, `[range(1e5)] as $x | [range(1e5) | $x | unique]`, `[range(1e5)] as $x | [range(1e5) | $x | flatten]`, `[range(1e5)] as $x | [range(1e5) | $x - [1]]`,
	`[range(1e5)] as $x | [range(1e5) | $x | map(.)]`, `[range(1e5)] as $x | [range(1e5) | $x | .[5] = 1]`, `[range(1e5)] as $x | [range(1e5) | $x | .[50000] |= 1]`, `[range(1e5)] as $x | [range(1e5) | $x | del(.[0])]`, `[range(1e5)] as $x | [range(1e5) | $x | .[2:4] = [7]]`,
	`[range(1e5)] as $x | [range(1e5) | $x | add]`, `[range(1e5)] as $x | [range(1e5) | $x | to_entries]`, `[range(1e5)] as $x | [range(1e5) | $x | indices(1)]`, `[range(1e5)] as $x | [range(1e5) | [$x, $x] | transpose]`, `[range(1e5)] as $x | [range(1e5) | $x | group_by(.)]`,
	`[range(1e5)] as $x | range(1e5) | $x`, `[range(5e4)] as $x | range(1e5) | [$x, .]`, `range(1e9) | [range(1000)]`, `[range(1e6) | now | gmtime]`, `[range(1e6) | 5 | frexp]`, `[[range(400)] | combinations(2)?]`, `[range(400) | [range(400)]] | combinations`,
	`reduce range(1e9) as $i ([]; . + [[$i]])`, `reduce range(1e9) as $i ([]; .[$i] = [$i])`, `reduce range(100) as $i ([1]; . + .)`, `reduce range(1e9) as $i ([]; [., $i])`, `[foreach range(1e9) as $i ([]; . + [$i])]`, `[while(true; . + 1)]`, `[.[65535] = 1 | .[65535] = 2, .[65534] = 3] | [range(1e5) as $i | .[0] | .[$i % 100] = 1]`,
	// Objects.
	`[range(1e9) | {a: .}]`, `[range(1e9) | {"\(.)": .}]`, `reduce range(1e9) as $i ({}; .["\($i)"] = $i)`, `reduce range(1e9) as $i ({}; . + {"\($i)": 1})`, `[range(2000) as $a | range(2000) as $b | {a: $a, b: $b}]`, `reduce range(1e9) as $i (1; {a: .})`, `reduce range(1e9) as $i (1; {a: ., b: .})`,
	`[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o | .x = 1]`, `[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o | keys]`, `[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o * {a: 1}]`,
	`[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o | map_values(.)]`, `[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o | with_entries(.)]`, `[range(1e4) | {key: "\(.)", value: .}] | from_entries as $o | [range(1e5) | $o | keys_unsorted]`,
	`[range(1e9) | {} | .a.b.c.d.e = 1]`, `[range(1e9) | null | .a.b.c.d.e |= 1]`, `[range(1e6)] | INDEX(.)`, `[range(1e6) | null | setpath(["a", "b", "c"]; 1)]`, `[range(1e6) | {a: 1} | to_entries]`, `[range(1e6) | [{name: "a"}] | from_entries]`, `[range(1e6) | "ab" | capture("(?<a>.)(?<b>.)")]`,
	// Texts.
	`[range(1e5) | "x" * 1000000]`, `reduce range(100) as $i ("x"; . + .)`, `"a" * 1000000 | [range(1e5) as $i | explode]`, `"ä" * 500000 | [range(1e5) as $i | explode | implode]`, `"a" * 1000000 | [range(1e5) as $i | split("")]`, `"a" * 1000000 | [range(1e5) as $i | split("a")]`, `"a" * 1000000 | [range(1e5) as $i | ascii_upcase]`,
	`"a" * 1000000 | [range(1e5) as $i | .[$i:]]`, `"a" * 1000000 | [range(1e5) as $i | .[:-1] + "b"]`, `"a" * 1000000 | [range(1e5) as $i | "\($i)\(.)"]`, `"a" * 1000000 | [range(1e5) as $i | [., .] | tojson]`, `"a" * 1000000 | [range(1e5) as $i | ltrimstr("a") + "c"]`, `"a" * 1000000 | [range(1e5) as $i | [.] | join("")]`,
	`"a" * 1000000 | [range(1e5) as $i | @base64]`, `"<" * 200000 | [range(1e5) as $i | @html]`, `"<" * 1000000 | @html`, `"ä" * 500000 | [range(1e5) as $i | @uri]`, `"\u0000" * 1000000 | [range(1e5) as $i | tojson]`, `"\u0000" * 1000000 | @json`, `"'" * 1000000 | [range(1e5) as $i | @sh]`, `[("\"" * 100000)] | [range(1e5) as $i | @csv]`, `reduce range(100) as $i ("\u0000"; tojson)`, `reduce range(100) as $i ("&"; @html)`, `reduce range(100) as $i ("x"; @base64)`, `reduce range(100) as $i ("x"; [., .] | tojson)`,
	`[range(1e9) | tostring]`, `[range(1e9) | "a\(.)b\(.)"]`, `"[" + ("{}," * 300000) + "1]" | fromjson`, `"[" + ("{}," * 100000) + "1]" | [range(1e5) as $i | fromjson]`, `"[" + ("0," * 500000) + "1]" | [range(1e5) as $i | fromjson]`, `"[" * 9000 + "]" * 9000 | [range(1e5) as $i | fromjson]`, `"{\"a\":" * 9000 + "1" + "}" * 9000 | [range(1e5) as $i | fromjson]`,
	`"a b " * 250000 | [range(1e5) as $i | split(" ")]`, `"a" * 1000000 | [range(1e5) as $i | [match("a";"g")]]`, `"a" * 15000 | [range(1e5) as $i | [match("a";"g")]]`, `"a" * 15000 | [range(1e5) as $i | [match("(a)(b)?(c)?(d)?(e)?";"g")]]`, `"a" * 15000 | gsub("a"; "bb")`, `"a" * 15000 | [range(1e5) as $i | [scan(".")]]`, `"ab" * 9000 | gsub("(?<x>a)"; "\(.x)\(.x)", "c")`,
	// Regular expressions.
	`"x" | test("((a{100}){100}){100}")`, `"x" | test("((((a{10}){10}){10}){10}){10}")`, `"x" | test("(((a{1000}){10}){10}){10}")`, `"x" | [range(1e5) as $i | test("(x{100}){100}\($i)")]`, `"a" * 30000 | test("(a|aa|aaa|aaaa|aaaaa|aaaaaa|aaaaaaa)*$b")`, `"a" * 20000 | test("(a?){400}a{400}b")`, `"x" | test("[" + "\\p{L}" * 1000 + "]{1000}")`, `[range(1e5) as $i | "x" | test("\\p{L}\\p{Greek}\($i)"; "i")]`,
	// Paths.
	`reduce range(250) as $i (1; [.]) | [range(1e5) as $i | paths]`, `reduce range(20000) as $i (1; [.]) | [paths]`, `reduce range(20000) as $i (1; [.]) | [tostream]`, `reduce range(20000) as $i (1; [.]) | [path(..)]`, `reduce range(20000) as $i (1; [.]) | [paths(true)]`, `reduce range(20000) as $i (1; [.]) | del(..)`, `reduce range(20000) as $i (1; [.]) | .. |= 1`, `reduce range(20000) as $i (1; {a: .}) | [leaf_paths?]`,
	`[range(250) | "a"] as $p | [range(1e5) | null | path(getpath($p))]`, `[range(250) | "a"] as $p | [range(1e5) | null | setpath($p; 1)]`, `[range(250) | "a"] as $p | [range(1e5) | null | getpath($p) = 1]`, `[range(250) | 60000] as $p | null | setpath($p; 1)`, `[range(1e5)] | [tostream]`, `[range(1e5)] | [paths]`, `[range(1e5)] | .. |= 1`, `[range(1e5)] | walk(.)`, `[range(1e5)] | walk([.])`, `[range(1e5)] | pick(.[])`, `[[range(1e5)]] | .[0] |= map([.])`,
	// What takes long or much in one piece.
	`jn(1000000000; 999999999)`, `yn(1000000000; 1000000001)`, `"[" * 9000 + "]" * 9000 | [range(1e5) as $i | try fromjson catch 1]`, `"ab" * 500000 | [range(1e5) as $i | indices("ab")]`, `"ab" * 120000 | split("") | sort | unique | sort | unique | sort | unique | sort | unique`,
	`[range(1e5) | "\(.)x"] as $x | [range(1e5) | $x | unique]`, `[range(1e5)] as $x | [range(1e5) | $x | min, max, min_by(.), max_by(.)]`, `"x" * 800000 | [match("(x*)(x*)(x*)(x*)(x*)y$")]`, `"(a|b)" * 1600 | . as $re | [range(1e5) as $i | "x" | test($re + "\($i)")]`, `"k" * 8000 | . as $re | [range(1e5) as $i | "x" | test($re + "\($i)"; "i")]`,
	`"x" * 1000000 | until(length == 0; .[1:])`, `"ä" * 500000 | [range(1e5) as $i | .[-1:]]`, `"x" * 500000 | [test("(.*)(.*)(.*)y"), test("(.*)(.*)(.*)z"), test("(.*)(.*)(.*)a"), test("(.*)(.*)(.*)b"), test("(.*)(.*)(.*)c")]`,
	`[range(1e5)] as $x | [range(1e5) | $x | join(",")]`, `[range(1e5)] as $x | [range(1e5) | $x | @csv, @sh]`, `" " * 1000000 | [range(1e5) as $i | trim, ltrim, rtrim]`,
	// Catching limits.
	`repeat(try ("x" * 1e9) catch .)`, `def f: try ([range(1e6)]) catch f; f`, `[repeat(try (reduce range(100) as $i (1; [., .]) | tojson) catch .)]`, `repeat(try ("a" * 1000000 | test("(a{0,30}){0,30}b")) catch .) | empty`, `[range(1e9) | ([range(1e5)] | . - .) // 1]`, `def f: (f | error)? // f; f`,
	// Shared parts.
	`reduce range(100) as $i (1; [., .])`, `reduce range(100) as $i (1; [., .]) | [..]`, `reduce range(100) as $i (1; [., .]) | tojson`, `reduce range(17) as $i (1; [., .]) | [range(1e5) as $i | tojson | fromjson]`, `reduce range(17) as $i (1; [., .]) | [range(1e5) as $i | walk(.)]`, `reduce range(17) as $i ("x" * 100000; [., .]) | tojson`, `reduce range(17) as $i (1; [., .]) | [range(1e5) as $i | flatten]`,
}

// mostGrown is what a process may grow by while it evaluates one expression.
const mostGrown = 64 << 20

// longest is far above the 250 ms that an expression gets, and is time of a processor:
// this tells a call that nothing interrupts from one that had to wait for a busy machine.
const longest = 5 * time.Second

// Each expression runs in a process of its own, since only the process knows how
// much memory it took at most. That one also goes on to evaluate an innocent one.
func TestHoardersStop(t *testing.T) {
	if os.Getenv("JQ_TEST_EXPRESSION") != "" {
		hoard(t, os.Getenv("JQ_TEST_EXPRESSION"))
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("how much memory a process took at most is read from /proc")
	}
	if raceEnabled {
		t.Skip("the race detector takes several times the memory")
	}
	for _, src := range append(hoarders, bombs...) {
		name := src
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestHoardersStop$", "-test.v")
			cmd.Env = append(os.Environ(), "JQ_TEST_EXPRESSION="+src)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("the process did not go on: %v\n%s", err, out)
			}
			_, text, _ := strings.Cut(string(out), "result: ")
			var r hoarded
			if err := json.NewDecoder(strings.NewReader(text)).Decode(&r); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if r.GrownBytes > mostGrown {
				t.Errorf("the process grew by %d MB, the limit is %d MB", r.GrownBytes>>20, mostGrown>>20)
			}
			if r.Took > longest {
				t.Errorf("it took %s", r.Took)
			}
			t.Logf("%d MB, %s %s", r.GrownBytes>>20, r.Took.Round(time.Millisecond), r.Error)
		})
	}
}

// hoarded is what the process of one expression tells.
type hoarded struct {
	GrownBytes int64
	Took       time.Duration
	Error      string
}

func hoard(t *testing.T, src string) {
	innocent, err := Compile(`[range(10)] | map(. * 2) | add`)
	if err != nil {
		t.Fatal(err)
	}
	var r hoarded
	p, err := Compile(src)
	if err != nil {
		r.Error = err.Error() // refused from the start is as good
	} else {
		debug.FreeOSMemory()
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
			t.Fatal(err)
		}
		before, start := peak(t), testenv.ProcessorTime(t)
		_, err = p.Run(t.Context(), nil)
		r.Took = testenv.ProcessorTime(t) - start
		if r.GrownBytes = peak(t) - before; err != nil {
			r.Error = err.Error()
		}
	}
	if v, err := innocent.Value(t.Context(), nil); err != nil || v != 90.0 {
		t.Errorf("afterwards, an innocent expression yields %v, %v", v, err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("result: %s\n", text)
}

// peak is the most memory that this process had at once.
func peak(t *testing.T) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), "VmHWM:"); found {
			var kilobytes int64
			if _, err := fmt.Sscan(text, &kilobytes); err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
