package playtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// every runs tests of a playbook p, in which the rest of the playbook and the tests
// follow after the first lines.
func every(t *testing.T, o playtest.Options, playbook, tests string) []*playtest.Result {
	t.Helper()
	if o.Actions == nil {
		o.Actions = all
	}
	fsys := fstest.MapFS{"p.yaml": {Data: []byte("playbook: p\n" + playbook)}, "p_test.yaml": {Data: []byte(tests)}}
	report, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return report.Files[0].Results
}

// messages are those of the failures, line by line.
func messages(r *playtest.Result) string {
	var lines []string
	for _, f := range r.Failures {
		lines = append(lines, f.Message)
	}
	return strings.Join(lines, "\n")
}

// Every action that there is, bound to a server that can be reached, in a step and
// under finally: the server hears of none, and each fails its test.
func TestNoActionReachesAServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the server", r.Method, r.URL)
	}))
	defer server.Close()
	client, err := connector.New(connector.Options{URL: server.URL, Username: "soc", Password: soar.SecretValue("secret")})
	if err != nil {
		t.Fatal(err)
	}
	bound := func(now func() time.Time) map[string]playbooks.Action {
		return actions.All(actions.Deps{Now: now, Client: client, CarveDir: t.TempDir()})
	}
	const alert = `alert: {host: {identifier: h1, name: WIN-01}, rule: {id: 7, name: r}, event: {target_path: 'C:\a', md5: d41d8cd98f00b204e9800998ecf8427e, pid: "7", process_guid: g, path: 'C:\b'}}
tests: [{name: a, expect: {verdict: match}}]`
	all := bound(time.Now)
	delete(all, playbooks.CallAction) // it is the actions of the other playbook that are called
	for name, action := range all {
		t.Run(name, func(t *testing.T) {
			spec := action.Spec()
			example := strings.NewReplacer("https://tickets.example.com", server.URL, "${{ .steps.contain.output.rule }}", "r1").Replace(spec.Example)
			if !strings.HasPrefix(example, "id:") {
				example = "id: it\n" + example
			}
			step := "  - " + strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n    ") + "\n"
			result := every(t, playtest.Options{Actions: bound}, "steps:\n"+step, alert)[0]
			switch unanswered := messages(result); {
			case spec.Asks != nil:
				if len(result.Failures) != 1 || !strings.Contains(unanswered, "the test does not say what people answer") {
					t.Errorf("failures %s", unanswered)
				}
			case spec.Inside:
				if len(result.Failures) > 0 {
					t.Error(unanswered)
				}
			case len(result.Failures) != 1 || !strings.Contains(unanswered, "calls "+name+" with") || !strings.Contains(unanswered, "and the test gives no answer"):
				t.Errorf("failures %s", unanswered)
			}
			if spec.Effect != playbooks.Reads || spec.Waits {
				return
			}
			look := "enrich:\n  it:\n    " + strings.ReplaceAll(strings.TrimSpace(spec.Example), "\n", "\n    ") + "\nsteps: [{do: notify.send, with: {sink: s, text: t}}]\n"
			result = every(t, playtest.Options{Actions: bound}, look, alert)[0]
			if got := messages(result); !strings.Contains(got, "enrichment calls "+name) {
				t.Errorf("failures of enrichment %s", got)
			}
		})
	}
}

// A call with arguments that the action does not take is never sent: no answer of a
// test makes it good.
func TestArgumentsAreThoseOfTheAction(t *testing.T) {
	const playbook = `steps: [{id: kill, do: process.kill, with: {host: "${{ .alert.host.identifier }}", pid: "${{ .alert.event.pidd }}", name: x}}]`
	const tests = `alert: {host: {identifier: h1}, event: {pid: "7"}}
given: [{step: kill, state: verified}]
tests:
  - name: it is not stopped
    expect: {verdict: match, outcome: failed, error: "step kill: pid: expected a whole number", actions: [], steps: {kill: failed}}
  - name: it is
    expect: {verdict: match, actions: [{do: process.kill}], steps: {kill: verified}}
`
	results := every(t, playtest.Options{}, playbook, tests)
	if len(results[0].Failures) > 0 {
		t.Errorf("failures %+v", results[0].Failures)
	}
	failures := results[1].Failures
	if len(failures) != 2 || failures[0].Message != "call 1 of process.kill is not made" || !strings.HasPrefix(failures[0].Hint, "the run failed: step kill: pid:") ||
		!strings.HasPrefix(failures[1].Fields[0].Got, "failed: pid:") {
		t.Errorf("failures %+v", failures)
	}
}

// Explain is asked at the moment when the alert comes in: it uses no answer up, and
// knows what was looked up before.
func TestExplainChangesNothing(t *testing.T) {
	const playbook = `enrich: {h: {do: host.get, with: {host: "${{ .alert.host.identifier }}"}, ttl: 10m}}
match: {all: [{it is B: .enrich.h.name == "B"}]}
steps: [{id: note, do: alert.note, with: {text: hello}}]`
	const tests = `alert: {host: {identifier: h1}}
given: [{do: host.get, times: 1, output: {name: A}}, {do: host.get, output: {name: B}}, {do: alert.note}]
tests:
  - {name: the first answer, expect: {verdict: no match, reason: it is B}}
  - {name: the first answer is still good, before: [{ago: 5m}], expect: {verdict: no match, reason: it is B}}
  - {name: the second answer, before: [{ago: 15m}], expect: {verdict: match, outcome: done}}
  - {name: observed, ceiling: observe, before: [{ago: 15m}], expect: {verdict: match}}
`
	results := every(t, playtest.Options{}, playbook, tests)
	for _, r := range results {
		if len(r.Failures) > 0 {
			t.Errorf("%s: %+v", r.Name, r.Failures)
		}
	}
	if guard := results[3].Explanation.Guard[0]; guard.OK || !strings.HasPrefix(guard.Words, "observe") {
		t.Errorf("the guard says %+v", guard)
	}
}

// What a failure proposes can be pasted: it is YAML, and answers the call.
func TestProposedAnswer(t *testing.T) {
	const playbook = `steps: [{id: mark, for_each: '["a", "b"]', do: host.tag, with: {host: h1, tag: "${{ .item }}"}}]`
	const tests = "alert: {}\n%s\ntests: [{name: a, expect: {verdict: match}}]"
	given := "given: [{step: \"mark[0]\", state: executed}]"
	failures := every(t, playtest.Options{}, playbook, strings.Replace(tests, "%s", "", 1))[0].Failures
	if len(failures) != 1 || failures[0].Hint != given {
		t.Fatalf("failures %+v", failures)
	}
	failures = every(t, playtest.Options{}, playbook, strings.Replace(tests, "%s", given, 1))[0].Failures
	if len(failures) != 1 || !strings.HasPrefix(failures[0].Message, "step mark[1] calls") {
		t.Errorf("failures %+v", failures)
	}
}

// Time passes at once in tests, as long as a playbook lets pass: what follows sees the
// later time.
func TestTimePassesAtOnce(t *testing.T) {
	const playbook = `steps:
  - {id: nap, do: sleep, with: {for: 5m}}
  - {id: morning, do: wait.until, with: {time: "08:00", zone: Europe/Berlin}}
  - {id: month, do: sleep, with: {for: 30d}}
  - {id: note, do: alert.note, with: {text: "${{ .steps.nap.output.until }} ${{ .steps.morning.output.until }} ${{ now | todate }}"}}`
	const tests = `alert: {created_at: 2026-05-04T10:00:00Z, host: {identifier: h1}}
given: [{do: alert.note, state: verified}]
tests:
  - name: a
    expect:
      verdict: match
      outcome: done
      actions: [{do: sleep}, {do: wait.until}, {do: sleep}, {do: alert.note, with: {text: "2026-05-04T10:05:00Z 2026-05-05T06:00:00Z 2026-06-04T06:00:00Z"}}]
      steps: {nap: executed, morning: executed, month: executed}
`
	for _, r := range every(t, playtest.Options{}, playbook, tests) {
		for _, f := range r.Failures {
			t.Errorf("%+v", f)
		}
	}
}
