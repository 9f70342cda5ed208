package playtest

import (
	"fmt"
	"strings"
)

// draftedTrigger is what a draft proposes for a word of on that has no alert.
type draftedTrigger struct {
	on, vars, condition string // of the playbook
	description, text   string
	start, refused      string // keys of a test that matches, and of one that does not
	reason, said        string
}

var draftedTriggers = map[string]draftedTrigger{
	onSchedule: {
		description: "Says once an hour that it is time.",
		on: "on:\n  # From midnight on. Or at certain times: {cron: \"0 7 * * mon-fri\", zone: Europe/Berlin}\n" +
			"  - schedule: {every: 1h}\n",
		condition: "    # Times that passed while erbridge was down start one run, for the last of them.\n    - too many times were missed: .schedule.missed > 3\n",
		text:      "It is ${{ .schedule.at }}, and ${{ .schedule.missed }} times were missed.",
		start:     "    now: 2026-01-01T06:00:00Z\n    missed: 3\n", refused: "    missed: 4\n",
		reason: "too many times were missed", said: "It is 2026-01-01T06:00:00Z, and 3 times were missed.",
	},
	onManual: {
		description: "Says what a person asks it to say.",
		on:          "on: manual # erbridge playbook run NAME --input '{\"text\": \"hello\"}', with --alert or without\n",
		condition:   "    - there is nothing to say: (.input.text // \"\") == \"\"\n",
		text:        "${{ .input.text }}",
		start:       "    input: {text: hello}\n", refused: "    input: {}\n",
		reason: "there is nothing to say", said: "hello",
	},
	onFailed: {
		description: "Says which run has failed, and why.",
		on:          "on: run.failed\n",
		vars:        "vars:\n  may_fail: [triage-note] # playbooks whose failures nobody has to hear of\n",
		condition:   "    - its playbook may fail: .run.playbook | in_list($vars.may_fail)\n",
		text:        "A run of ${{ .run.playbook }} has failed: ${{ .run.error }}",
		start:       "    failed: {playbook: kill-miner, error: \"step stop: access denied\"}\n", refused: "    failed: {playbook: triage-note}\n",
		reason: "its playbook may fail", said: "A run of kill-miner has failed: step stop: access denied",
	},
}

// DraftTriggers are the words that NewDraftOn takes.
func DraftTriggers() []string { return []string{onSchedule, onManual, onFailed} }

// NewDraftOn proposes a playbook that no new alert starts, and tests of it. on is one
// of DraftTriggers. The playbook only observes.
func NewDraftOn(name, on string) *Draft {
	d := draftedTriggers[on]
	var b, t strings.Builder
	fmt.Fprintf(&b, modeline, "playbook")
	fmt.Fprintf(&b, "playbook: %s\ndescription: %s\n# Nothing is done before this says enforce. Test first: erbridge playbook test\nmode: observe\n%s%s", name, d.description, d.on, d.vars)
	fmt.Fprintf(&b, `match:
  # Where it should keep out of the way.
  none:
%ssteps:
  # docs/reference/actions.md lists what a step can do.
  - id: tell
    do: notify.send
    with:
      sink: soc-slack # a sink of your configuration
      text: %s
`, d.condition, scalar(d.text))
	fmt.Fprintf(&t, modeline, "playbook-test")
	fmt.Fprintf(&t, `tests:
  - name: it says so
%s    expect:
      verdict: match
      actions: [{do: notify.send, step: tell, with: {text: %s}}]
      outcome: done
  - name: %s
%s    expect:
      verdict: no match
      reason: %s
`, d.start, quoted(d.said), scalar("not when "+d.reason), d.refused, scalar(d.reason))
	return &Draft{[]byte(b.String()), []byte(t.String())}
}
