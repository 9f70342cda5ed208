package playbooks

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/jq"
)

// combine must say what every way of replacing the errors by answers agrees on,
// and error when they do not agree: that is what three-valued logic means.
func TestCombineExhaustively(t *testing.T) {
	verdicts := []Verdict{Match, NoMatch, Failed}
	blocks := []Block{All, Any, None}
	const n = 4
	for blockCode := range 81 {
		for verdictCode := range 81 {
			conditions := make([]Condition, n)
			for i, b, v := 0, blockCode, verdictCode; i < n; i, b, v = i+1, b/3, v/3 {
				conditions[i] = Condition{Block: blocks[b%3], Verdict: verdicts[v%3]}
			}
			for k := range n + 1 {
				if got, want := combine(conditions[:k]), possible(conditions[:k]); got != want {
					t.Fatalf("combine(%v) = %s, want %s", conditions[:k], got, want)
				}
			}
		}
	}
}

func possible(conditions []Condition) Verdict {
	for i, c := range conditions {
		if c.Verdict != Failed {
			continue
		}
		yes, no := append([]Condition(nil), conditions...), append([]Condition(nil), conditions...)
		yes[i].Verdict, no[i].Verdict = Match, NoMatch
		a, b := possible(yes), possible(no)
		if a != b {
			return Failed
		}
		return a
	}
	hasAny, anyTrue := false, false
	for _, c := range conditions {
		switch c.Block {
		case All:
			if c.Verdict != Match {
				return NoMatch
			}
		case None:
			if c.Verdict == Match {
				return NoMatch
			}
		case Any:
			hasAny, anyTrue = true, anyTrue || c.Verdict == Match
		}
	}
	if hasAny && !anyTrue {
		return NoMatch
	}
	return Match
}

// Stopping at the first condition that decides must not change the verdict.
func TestShortCutsChangeNothing(t *testing.T) {
	answers := []string{"true", "false", `error("x")`}
	server := newFakeServer()
	actions := server.actions()
	for code := range 81 {
		var b strings.Builder
		b.WriteString("playbook: p\nsteps: [{do: fake.read}]\nmatch:\n")
		for i, block := range []string{"all", "all", "any", "none"} {
			if i != 1 {
				fmt.Fprintf(&b, "  %s:\n", block)
			}
			fmt.Fprintf(&b, "    - c%d: %s\n", i, answers[code/[]int{1, 3, 9, 27}[i]%3])
		}
		pb := loadText(t, actions, b.String()).Get("p")
		alert := testAlert("1")
		quick := newEvaluation(nil, &alert, map[string]any{}, pb)
		quick.match(t.Context(), false)
		full := newEvaluation(nil, &alert, map[string]any{}, pb)
		full.match(t.Context(), true)
		if quick.verdict != full.verdict {
			t.Errorf("%s\nquick %s, full %s", b.String(), quick.verdict, full.verdict)
		}
		if (quick.verdict == Failed) != (quick.err != "") {
			t.Errorf("%s\n%s with error %q", b.String(), quick.verdict, quick.err)
		}
	}
}

func TestFunctions(t *testing.T) {
	fixed := func() time.Time { return time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC) }
	eval := func(src string) (any, error) {
		e, err := compileExpr(src, world{fixed, new(namedLists)})
		if err != nil {
			return nil, err
		}
		return e.value(t.Context(), &input{object: map[string]any{}, vars: map[string]any{"x": "v"}})
	}
	for _, f := range Functions() {
		got, err := eval(f.Example)
		var want any
		if uerr := json.Unmarshal([]byte(f.Result), &want); uerr != nil {
			t.Fatal(uerr)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("example of %s: %s = %v, %v, want %s", f.Name, f.Example, got, err, f.Result)
		}
		if !strings.Contains(f.Example, f.Name) || f.Summary == "" {
			t.Errorf("%s is not documented", f.Name)
		}
	}
	for src, want := range map[string]string{
		`"HIGH" | at_least("medium")`:                             "true",
		`"low" | at_least("medium")`:                              "false",
		`"bogus" | at_least("medium")`:                            "true",
		`"high" | at_least("hgih")`:                               "error",
		`null | at_least("high")`:                                 "error",
		`"2026-11-22T03:22:00Z" | age`:                            "30",
		`"1795317690" | age`:                                      "60",
		`1795317690 | age`:                                        "60",
		`"yesterday" | age`:                                       "error",
		`null | age`:                                              "error",
		`"10.0.0.1" | cidr("10.0.0.0/8")`:                         "true",
		`"::ffff:10.0.0.1" | cidr("10.0.0.0/8")`:                  "true",
		`"fe80::1%eth0" | cidr("fe80::/10")`:                      "true",
		`"11.0.0.1" | cidr("10.0.0.0/8")`:                         "false",
		`"" | cidr("10.0.0.0/8")`:                                 "false",
		`null | cidr("10.0.0.0/8")`:                               "false",
		`"10.0.0.1" | cidr("10.0.0.0")`:                           "error",
		`"10.0.0.1" | cidr(["10.0.0.0/8", 5])`:                    "error",
		`5 | in_list([1, 5])`:                                     "true",
		`null | in_list([null])`:                                  "true",
		`"5" | in_list([5])`:                                      "false",
		`"a" | in_list("a")`:                                      "error",
		`"a" | in_list([["a"]])`:                                  "error",
		`("a" * 64) | hash_kind`:                                  "sha256",
		`("g" * 64) | hash_kind`:                                  "<nil>",
		`"" | hash_kind`:                                          "<nil>",
		`null | defang`:                                           "<nil>",
		`"https://a.b.c/x.exe?u=http://d.e a@b.c ok. v" | defang`: "hxxps://a[.]b[.]c/x.exe?u=hxxp://d.e a[@]b[.]c ok. v",
		`5 | defang`:                                              "error",
		`"x" | in_list($vars.x)`:                                  "error",
		`$vars.x`:                                                 "v",
	} {
		got, err := eval(src)
		text := fmt.Sprint(got)
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%s = %s (%v), want %s", src, text, err, want)
		}
	}
	if _, err := jq.Compile(`"high" | at_least("x")`); err == nil {
		t.Error("the functions of playbooks are known outside of them")
	}
}

func TestExplain(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	set := loadText(t, actions, `
playbook: p
mode: observe
enrich: {x: {do: fake.read, with: {host: "${{ .alert.host.identifier }}"}}}
match:
  all:
    - severity is high: .alert.severity | at_least("high")
    - the tool is named: .alert.event.cmdline
  any:
    - it was read: .enrich.x.read == "fake.read"
    - it fails: .alert.event.cmdline | tonumber
  none:
    - it is a server: .alert.host.platform == "windows"
cooldown: {key: .alert.host.identifier, for: 1h}
steps:
  - {id: a, do: fake.read, with: {h: "${{ .alert.host.name }}"}}
  - {id: b, do: fake.once, with: {h: "${{ .alert.host.name }}"}, on_error: [{do: fake.tell}]}
  - {id: c, do: fake.tell, if: .steps.a.state == "done"}
  - {id: c2, do: fake.tell, if: .steps.b.state == "done"}
  - {id: d, do: fake.tell, if: .alert.source == "ioc"}
  - {id: e, do: fake.tell, with: {t: "${{ .alert.event.cmdline }}"}}
`)
	alert := testAlert("1")
	x, err := Explain(t.Context(), set.Get("p"), alert, actions)
	if err != nil {
		t.Fatal(err)
	}
	if x.Verdict != NoMatch || x.Closest != "it is a server" || !slices.Equal(x.Against, []string{"it is a server"}) ||
		x.Conditions[4].Reads[".alert.host.platform"] != "windows" {
		t.Errorf("verdict %s, closest %q", x.Verdict, x.Closest)
	}
	if _, err := json.Marshal(x); err != nil {
		t.Error(err)
	}
	alert.Host.Platform = "darwin"
	alert.Event["cmdline"] = "evil\x1b[2J"
	if x, err = Explain(t.Context(), set.Get("p"), alert, actions); err != nil {
		t.Fatal(err)
	}
	want := `p on er-1: match
  all
    + severity is high
    + the tool is named (evil\x1b[2J)
  any
    + it was read
    ! it fails: error: tonumber cannot be applied to "evil\u001b[2J": invalid number
        .alert.event.cmdline is "evil\u001b[2J"
  none
    + it is a server
  guard: mode: observe: the playbook only observes
  guard: cool-down: one run for "host-1" in 1h0m0s
  step a: fake.read reads
    h: pc-1
  step b: fake.once is not sent: observe: the playbook only observes
    h: pc-1
  step step3: fake.tell only when a step before it fails
  step c: fake.tell depends on what earlier steps return
  step c2: fake.tell is skipped: if is false
  step d: fake.tell is skipped: if is false
  step e: fake.tell is sent: observe: the playbook only observes; fake.tell is carried out in observe mode too
    t: evil\x1b[2J
`
	if got := withoutStepGuard(x.Text()); got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
	if len(server.commands) != 0 {
		t.Error("explain sent something")
	}
}
