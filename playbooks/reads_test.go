package playbooks

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// judged is the verdict of a playbook on an alert, and its error. Look-ups answer
// {n: 7} and the host record {site: "north"}, or fail when the flag is set.
func judged(t *testing.T, text string, fail bool) (*evaluation, *fakeServer) {
	t.Helper()
	server := newFakeServer()
	actions := server.actions()
	answer := func(output any) func(context.Context, Call) (Outcome, error) {
		return func(context.Context, Call) (Outcome, error) {
			if fail {
				return Outcome{}, errors.New("out of order")
			}
			return Outcome{State: soar.StepExecuted, Output: output}, nil
		}
	}
	server.add(actions, hostGet, Reads, answer(map[string]any{"site": "north"}))
	server.add(actions, "fake.read", Reads, answer(map[string]any{"n": 7.0}))
	e, err := NewEngine(newMemJournal(), actions, loadText(t, actions, text), EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	alert := testAlert("1")
	plain, err := plainAlert(&alert)
	if err != nil {
		t.Fatal(err)
	}
	return e.judge(t.Context(), &alert, plain, e.Set().Get("p")), server
}

// However a condition comes by what is looked up, it is not decided before.
func TestConditionsWaitForWhatTheyRead(t *testing.T) {
	for _, expression := range []string{
		`.enrich.look.n == 7`,
		`. as $x | $x.enrich.look.n == 7`,
		`def look: .enrich.look; look.n == 7`,
		`getpath(["enrich", "look", "n"]) == 7`,
		`getpath(["enrich", "look"] + ["n"]) == 7`,
		`[.. | .n? | select(. == 7)] | length > 0`,
		`any(.[]; .look?.n? == 7)`,
		`to_entries | any(.key == "enrich" and .value.look.n == 7)`,
		`[paths] | any(. == ["enrich", "look", "n"])`,
		`tojson | test("\"n\":7")`,
		`"\(.)" | test("\"n\":7")`,
		`.["en" + "rich"].look.n == 7`,
		`reduce . as {enrich: {look: {$n}}} (false; . or $n == 7)`,
		`. as [$a] ?// $a | $a.enrich.look.n == 7`,
		`.host.site == "north"`,
		`. as $x | $x.host.site == "north"`,
		`with_entries(select(.key == "host")) | .host.site == "north"`,
		`(.enrich_errors | length) == 0 and .enrich_status.look.state == "found"`,
	} {
		text := "playbook: p\nenrich: {look: {do: fake.read}}\nmatch:\n  all:\n    - it is so: >-\n        " + expression + "\n    - always: \"true\"\n"
		if ev, _ := judged(t, text+"steps: [{do: fake.tell}]", false); ev.verdict != Match {
			t.Errorf("%s: found %s %s", expression, ev.verdict, ev.err)
		}
		none := strings.Replace(text, "  all:", "  none:", 1)
		if ev, _ := judged(t, none+"steps: [{do: fake.tell}]", false); ev.verdict != NoMatch {
			t.Errorf("none of %s: found %s %s", expression, ev.verdict, ev.err)
		}
	}
}

// What could not be looked up makes no verdict, unless the condition asks for that.
func TestMissingPartsOfHiddenReads(t *testing.T) {
	for expression, want := range map[string]string{
		`[.. | .n? | select(. == 7)] | length > 0`: "it is so: enrichment look failed: out of order",
		`def look: .enrich.look; look.n == null`:   "it is so: enrichment look failed: out of order",
		`. as $x | $x.host.site == null`:           "it is so: the host record could not be read: out of order",
		`.enrich_errors.look != null`:              "",
		`(.enrich_errors | length) == 1`:           "",
	} {
		ev, _ := judged(t, "playbook: p\nenrich: {look: {do: fake.read}}\nmatch:\n  all:\n    - it is so: >-\n        "+expression+"\nsteps: [{do: fake.tell}]", true)
		if ev.err != want || (want == "") != (ev.verdict == Match) {
			t.Errorf("%s: found %s %q, want %q", expression, ev.verdict, ev.err, want)
		}
	}
}

// That like alerts cannot be counted is known only after the attempt.
func TestErrorOfTheCountIsAwaited(t *testing.T) {
	ev, _ := judged(t, `
playbook: p
count: {by: .alert.event.nothing, window: 1h}
match: {all: [{it could be counted: .enrich_errors.count == null}]}
steps: [{do: fake.tell}]`, false)
	if ev.verdict != NoMatch {
		t.Errorf("found %s %s", ev.verdict, ev.err)
	}
}

// Keys of cool-down and group see the host record, though nothing else reads it.
func TestKeysSeeTheHostRecord(t *testing.T) {
	for _, rule := range []string{"cooldown: {key: .host.site, for: 1h}", "group: {by: [.host.site], window: 1h}"} {
		ev, _ := judged(t, "playbook: p\n"+rule+"\nsteps: [{do: fake.tell}]", false)
		for _, key := range ev.pb.keys() {
			if got, err := key.value(t.Context(), ev.input()); got != "north" || err != nil {
				t.Errorf("%s: found %v, %v", rule, got, err)
			}
		}
	}
}

// An enrichment is not asked with half of a host record: what it found would be
// taken for an answer.
func TestEnrichmentWithoutTheHostRecord(t *testing.T) {
	text := `
playbook: p
enrich: {look: {do: fake.read, with: {site: "${{ .host.site }}"}}}
match: {all: [{it is so: .enrich.look.n == 7}]}
steps: [{do: fake.tell}]`
	ev, server := judged(t, text, true)
	if want := "it is so: enrichment look failed: the host record could not be read: out of order"; ev.err != want || server.called("fake.read") != 0 {
		t.Errorf("found %q after %d calls, want %q", ev.err, server.called("fake.read"), want)
	}
	if ev, _ = judged(t, text, false); ev.verdict != Match {
		t.Errorf("found %s %s", ev.verdict, ev.err)
	}
}

// The error that is told is one that the verdict depends on.
func TestErrorThatDecides(t *testing.T) {
	ev, _ := judged(t, `
playbook: p
match:
  any: [{broken and settled: error("no")}, {settles it: "true"}]
  all: [{broken: error("yes")}]
steps: [{do: fake.tell}]`, false)
	if ev.err != "broken: error: yes" {
		t.Errorf("found %q", ev.err)
	}
}

// An action that takes the host of the alert does not get the answer for another.
func TestAnswersOfOneAlert(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	server.add(actions, "fake.tree", Reads, func(_ context.Context, call Call) (Outcome, error) {
		return Outcome{State: soar.StepExecuted, Output: call.Alert.Host.Identifier}, nil
	}).spec.OfAlert = true
	e, err := NewEngine(newMemJournal(), actions, loadText(t, actions, "playbook: p\nenrich: {tree: {do: fake.tree}}\nsteps: [{do: fake.tell}]"), EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"a", "b", "a"} {
		alert := onHost("of "+host, host)
		plain, err := plainAlert(&alert)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.judge(t.Context(), &alert, plain, e.Set().Get("p")).found.values["tree"]; got != host {
			t.Errorf("found %v for host %s", got, host)
		}
	}
	if n := server.called("fake.tree"); n != 2 {
		t.Errorf("%d look-ups for two alerts", n)
	}
}
