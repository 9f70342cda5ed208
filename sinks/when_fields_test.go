package sinks_test

import "testing"

// Whatever an event may have is known, and what nobody can tell is let through.
func TestFieldsThatEventsHave(t *testing.T) {
	for _, when := range []string{
		`.alert.severity | at_least("high")`,
		`.alert.event.anything == "x"`,
		`.alert.event["any thing"] // "" | test("x")`,
		`.alert.host.tags | index("dc")`,
		`[.alert.host.tags[] | ascii_downcase] | length > 1`,
		`.alert.rule.name // .alert.title? // "" | test("x")`,
		`.alert.intel.whatever[0].there == 1`,
		`.run.id == "x" or .outcome.state == "failed" or .outcome.took_ns > 1`,
		`.approval.votes[].by == "ann"`,
		`.row.columns.domain_name // "" | endswith("x") | not`,
		`.change.what | index("resolved")`,
		`.change.to.status == "resolved"`,
		`.group.count > 3`,
		`any(.. | strings; test("x"))`,
		`.undo.at > "2026"`,
		`.text | test("x")`,
	} {
		want := 0
		if when == `.alert.rule.name // .alert.title? // "" | test("x")` {
			want = 1 // an alert has no title of its own: that is made of its rule or its type
		}
		if _, problems := readSinks(t, "a: {type: stdout, when: '"+when+"'}"); len(problems) != want {
			t.Errorf("%s: %v", when, problems)
		}
	}
}
