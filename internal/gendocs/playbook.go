package gendocs

import (
	"reflect"
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// PlaybookSchema is the JSON Schema of a playbook.
func PlaybookSchema(docs registry.DocFunc) map[string]any {
	return playbooks.Schema(docs, actions.All(actions.Deps{}))
}

// triggers says what starts runs.
const triggers = `| in ` + "`on`" + ` | what starts a run | what expressions see beside the usual |
|---|---|---|
| ` + "`alert`" + ` | A new alert. | |
| ` + "`alert.updated`" + ` | Status, verdict, comment, notes or event count of an alert changed, and not by erbridge itself: see [mirror.md](../howto/mirror.md). | ` + "`.change`" + `: ` + "`.what`" + ` (a list of ` + "`resolved reopened verdict comment severity events note.added note.edited note.removed`" + `), ` + "`.origin`" + ` (` + "`analyst`" + `, ` + "`server`" + `), ` + "`.by .at`" + `, ` + "`.from`" + ` and ` + "`.to`" + ` (` + "`.status .verdict .comment .severity .event_count`" + `), ` + "`.notes[]`" + ` (` + "`.id .what .by .text .at`" + `) |
| ` + "`run.failed`" + ` | A run of any playbook ended as failed. ` + "`.alert`" + ` is that of the failed run. The failure of a run that was started so starts no other. | ` + "`.run`" + ` is the failed run: ` + "`.id .playbook .mode .state .alert .started_at .ended_at .error`" + ` |
| ` + "`{schedule: {every: 1h}}`" + ` | The clock, at an interval that divides the hour, or whole hours that divide the day; counted from midnight. | ` + "`.schedule.at`" + `, ` + "`.schedule.missed`" + ` |
| ` + "`{schedule: {cron: \"0 7 * * mon-fri\", zone: Europe/Berlin}}`" + ` | The clock, at the times of a [crontab(5)](https://man7.org/linux/man-pages/man5/crontab.5.html) line in a time zone; UTC is the default. | the same |
| ` + "`manual`" + ` | A person: ` + "`erbridge playbook run NAME`" + `, with or without an alert. | ` + "`.input`" + `, what the person gave |

Whatever starts a run, ` + "`match`, `enrich`, `mode` and `cooldown`" + ` are asked in the same way. Without an alert, ` + "`.alert`" + ` is null.

Times of a schedule that passed while erbridge was down start one run, for the last of them; ` + "`.schedule.missed`" + ` is how many more there
were. A schedule that is new or was changed begins with its next time. When clocks go back, times at fixed hours come once; when they go
forward, times that the clock leaves out come right after.

`

// lookUps says how what is under enrich is read and kept.
const lookUps = `What stands under ` + "`enrich`" + ` is looked up when a condition needs it that the alert alone has not decided, and the rest once the alert matches,
before the steps. Answers are kept for all playbooks that ask for the same with the same arguments. Those that ask at the same moment wait for one answer.

What a condition needs follows from its text. When that does not tell, as with ` + "`tojson`, `..`, `to_entries`" + ` or a ` + "`def`" + ` that is given all of ` + "`.`" + `, it needs everything:
it waits for all look-ups, the host record and the count, and is an error when one of them failed. Write ` + "`.alert | tojson`" + ` to look at the alert alone.

A look-up whose arguments read ` + "`.host`" + ` fails when the host record could not be read.

How long is said by ` + "`ttl`, `empty_ttl` and `stale`" + `, each at most 24h. A failed look-up is not tried again for 15 seconds. The host record, ` + "`.host`" + `, is kept by the defaults. When the answers take more
than 64 MiB, or are more than 4096, some are forgotten early.

` + "`.enrich_status.<name>`" + ` tells what a value is worth, for the host record under the name ` + "`host`" + `:

| field | |
|---|---|
| ` + "`state`" + ` | ` + "`found`" + `: there is something. ` + "`empty`" + `: looked up, and there is nothing: the server knows no such thing, a live query of which all hosts answered has no row, or the answer is null, an empty text, list or object. ` + "`failed`" + `: nobody knows. |
| ` + "`stale`" + ` | Whether it is an old answer, because it could not be looked up again. |
| ` + "`age_seconds`" + ` | How old the answer was when it was taken; null when there is none. |

A condition that reads a value which could not be looked up, or of which the server says that there is no such thing, is an error, and neither a match nor none.
A condition that also reads ` + "`.enrich_status`" + ` or ` + "`.enrich_errors`" + ` (the reasons, by name) decides by itself; the value is null then. So a missing answer is
never taken for a clean one:

| it should hold when | condition |
|---|---|
| it is known to be clean | ` + "`.enrich_status.seen.state == \"empty\"`" + ` |
| it is known and fresh | ` + "`.enrich_status.seen \\| .state == \"found\" and (.stale \\| not)`" + ` |
| nobody knows | ` + "`.enrich_status.seen.state == \"failed\"`" + ` |

`

func playbookPage(src *sources) *page {
	p := newPage("Playbooks", `A playbook is a YAML file that says which alerts it is about and what is done about them. Put this line on top of a file and
an editor helps with it: `+"`# yaml-language-server: $schema=playbook.schema.json`"+`. Check it with `+"`erbridge playbook lint`"+`.

Keys that are conditions take bare [jq](jq-functions.md); text takes `+"`${{ jq }}`"+`. The input is one object: `+"`.alert .host .enrich .steps .vars .run`"+`, and
`+"`.item`"+` in the arguments of a step with `+"`for_each`"+`.`)
	playbook, step := playbooks.Keys()
	p.head(2, "Keys of a playbook")
	p.settings(src, reflect.ValueOf(playbook).Elem(), "", 3)
	p.head(2, "Keys of a step")
	p.settings(src, reflect.ValueOf(step).Elem(), "", 3)
	p.head(2, "Triggers")
	p.printf("%s", triggers)
	p.head(2, "Look-ups")
	p.printf("%s", lookUps)
	p.head(2, "Example")
	p.yaml(strings.TrimSpace(playbookExample))
	return p
}

const playbookExample = `
playbook: contain-shadow-copy-deletion
description: Close a workstation on which shadow copies are being deleted.
attack: [T1490]
match:
  all:
    - severity is high or worse: .alert.severity | at_least("high")
    - shadow copies are deleted: .alert.event.cmdline // "" | test("vssadmin.*delete"; "i")
  none:
    - it is a backup server: (.alert.host.tags // []) | any(. == "backup")
cooldown: {key: .alert.host.identifier, for: 30m}
steps:
  - id: contain
    do: host.contain
    with: {host: "${{ .alert.host.identifier }}"}
    timeout: 10m
  - do: alert.note
    with: {text: "Contained by erbridge: ${{ .steps.contain.summary }}"}
`
