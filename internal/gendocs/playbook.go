package gendocs

import (
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// key is one key of a playbook. The engine reads most of them from YAML nodes, so
// what they take is said here; a test holds this against the engine's lint.
type key struct {
	name     string
	kind     string // in words
	required bool
	doc      string
	schema   map[string]any
}

type object = map[string]any

const (
	namePattern  = `^[a-z0-9][a-z0-9_-]{0,79}$`
	stepPattern  = `^[a-z][a-z0-9_]{0,39}$`
	exprPattern  = `\$\{\{`
	durationText = "a duration: `30s`, `5m`, `4h`, `7d`"
)

func duration() object {
	return object{"type": "string", "pattern": `^([0-9]+d)?([0-9.]+(ns|us|ms|s|m|h))*$`, "minLength": 1}
}

func texts() object { return object{"type": "string"} }

// conditionList is a list of expressions, each under a name.
func conditionList() object {
	named := object{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": object{"type": []any{"string", "boolean", "number"}}}
	return object{"type": "array", "minItems": 1, "items": named}
}

func matchSchema() object {
	return object{
		"type": "object", "additionalProperties": false,
		"properties": object{"all": conditionList(), "any": conditionList(), "none": conditionList()},
	}
}

var playbookKeys = []key{
	{"playbook", "name", true, "The name of the playbook: lower-case letters, digits, - and _. It is what runs, metrics and cool-downs go by.",
		object{"type": "string", "pattern": namePattern}},
	{"description", "text", false, "What it is for, in a sentence.", texts()},
	{"attack", "list of techniques", false, "The MITRE ATT&CK techniques that it answers, such as `T1490`.",
		object{"type": []any{"array", "null"}, "items": object{"type": "string", "pattern": `^T\d{4}(\.\d{3})?$`}}},
	{"mode", "`observe`, `enforce`", false, "How far it may go; the default is enforce, under the ceiling `playbooks.mode` of the configuration. In observe mode it does everything but send calls with an effect.",
		object{"type": "string", "enum": []any{"observe", "enforce"}}},
	{"on", "`alert`, `alert.updated`, `run.failed`, `manual`, `{schedule: ...}`, or a list of these", false, "What starts it: see [triggers](#triggers). The default is a new alert.", onSchema()},
	{"match", "conditions", false, "Which alerts it is about: lists of conditions under `all`, `any` and `none`. Each has a name, which explain and the run's page show, and a jq expression. A condition whose expression fails is neither a match nor none: it is counted and shown.",
		object{"$ref": "#/$defs/match"}},
	{"enrich", "mapping of names to reading actions", false, "What else the conditions and steps need to know, as `.enrich.<name>`: `{do: action, with: arguments, ttl: duration, empty_ttl: duration, stale: duration}`: see [look-ups](#look-ups).",
		object{"type": []any{"object", "null"}, "propertyNames": object{"pattern": stepPattern}, "additionalProperties": object{"$ref": "#/$defs/enrichment"}}},
	{"vars", "mapping", false, "Values and lists for the expressions, as `.vars` and `$vars`. A playbook that calls this one may set them.", object{"type": []any{"object", "null"}}},
	{"cooldown", "`{key: expression, for: duration}`", false, "After a run, alerts with the same value of `key` start no other run of this playbook for that long.",
		object{"type": []any{"object", "null"}, "additionalProperties": false, "required": []any{"key", "for"},
			"properties": object{"key": texts(), "for": duration()}}},
	{"group", "`{by: expression or list of them, window: duration}`", false, "One run for like alerts. The first alert that matches opens a group, whose run begins when `window`, at most a day, is over; until then matching alerts with the same values of `by` join it, and start no run of their own. Steps see the alerts as `.alerts`, the oldest first and at most 100 of them, and how many there are as `.group.count`; `.alert`, `.host` and `.enrich` are those of the alert that opened the group. A group outlives a restart. For a run at once and none after it, take `cooldown`; with both, the cool-down is asked when a group opens.",
		object{"type": []any{"object", "null"}, "additionalProperties": false, "required": []any{"by", "window"},
			"properties": object{"by": object{"anyOf": []any{texts(), object{"type": "array", "minItems": 1, "items": texts()}}}, "window": duration()}}},
	{"count", "`{by: expression or list of them, window: duration}`", false, "How many alerts are like this one, as `.count`: those taken in before it that have the same values of `by` and were created less than `window`, at most 7 days, before or after it; and itself. It follows from the stored alerts alone, so that explain and backtest find the same number. `by` sees `.alert` as it was taken in, and takes nothing of it that changes later, such as its status. Where there is nothing to count, a condition that reads `.count` is an error.",
		object{"type": []any{"object", "null"}, "additionalProperties": false, "required": []any{"by", "window"},
			"properties": object{"by": object{"anyOf": []any{texts(), object{"type": "array", "minItems": 1, "items": texts()}}}, "window": duration()}}},
	{"steps", "list of steps", true, "What is done, from top to bottom.", stepList()},
	{"finally", "list of steps", false, "What is done at the end of every run, whether its steps went well or failed: `.run.error` says what failed. Each of these steps is done, also after one of them failed; the run fails then. A run that ended unknown comes here once the step in doubt is settled.", stepList()},
}

// onSchema is one trigger, or a list of them.
func onSchema() object {
	one := []any{
		object{"enum": []any{"alert", "alert.updated", "run.failed", "manual"}},
		object{"type": "object", "additionalProperties": false, "required": []any{"schedule"}, "properties": object{"schedule": object{
			"type": "object", "additionalProperties": false,
			"properties": object{"every": duration(), "cron": texts(), "zone": texts()},
			"oneOf":      []any{object{"required": []any{"every"}}, object{"required": []any{"cron"}}},
		}}},
	}
	return object{"anyOf": append(one, object{"type": "array", "minItems": 1, "items": object{"anyOf": one}})}
}

// triggers says what starts runs.
const triggers = `| in ` + "`on`" + ` | what starts a run | what expressions see beside the usual |
|---|---|---|
| ` + "`alert`" + ` | A new alert. | |
| ` + "`alert.updated`" + ` | Status, verdict or event count of an alert changed. | |
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
const lookUps = `What stands under ` + "`enrich`" + ` is looked up when a condition or a step needs it, and kept for all playbooks that ask for the same with the same
arguments. Those that ask at the same moment wait for one answer.

| key of an enrichment | default | what it is for |
|---|---|---|
| ` + "`ttl`" + ` | 5m | How long an answer is kept. |
| ` + "`empty_ttl`" + ` | 1m | How long it is remembered that there is nothing; never longer than ` + "`ttl`" + `. |
| ` + "`stale`" + ` | 1h | For how long after that an answer stands in when it cannot be looked up again. ` + "`0s`" + `: not at all. |

Each is at most 24h. A failed look-up is not tried again for 15 seconds. The host record, ` + "`.host`" + `, is kept by the defaults. When the answers take more
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

func stepList() object {
	return object{"type": "array", "minItems": 1, "items": object{"$ref": "#/$defs/step"}}
}

var stepKeys = []key{
	{"id", "name", false, "The name of the step, by which later steps see it: `.steps.<id>.state`, `.summary`, `.error`, `.output`. With `for_each`, `.steps.<id>` is a list of these.",
		object{"type": "string", "pattern": stepPattern}},
	{"do", "action", false, "The [action](actions.md). A step has one of `do`, `call` and `parallel`.", nil},
	{"call", "name of a playbook", false, "Does the steps of another playbook, its `enrich` and its `finally`; its `on`, `match` and `cooldown` are not asked, and it observes if it or the caller does. What it has under `vars` can be set by `with`. `.steps.<id>.output` holds the results of its steps by their ids. A run keeps the version that was in force when it began. No playbook may call itself, on whatever way.",
		object{"type": "string", "pattern": namePattern}},
	{"parallel", "list of steps, or of lists of steps", false, "Branches that are done side by side: each is one step, or a list of steps that follow each other. All go to their own end; the step fails when one of them did. Steps behind it see the results of all branches, those in a branch none of the others.",
		object{"type": "array", "minItems": 1, "items": object{"anyOf": []any{object{"$ref": "#/$defs/step"}, stepList()}}}},
	{"if", "jq expression", false, "The step is skipped when this is false. With `for_each` it is asked once, before the list.", object{"type": []any{"string", "boolean"}}},
	{"for_each", "jq expression", false, "Does the step once for each item of a list, which the step sees as `.item`: at most 1000 items. With `on_error: continue` every item is done; else none begins after one has failed. `timeout` and `retry` are those of each item.",
		object{"type": "string"}},
	{"max_parallel", "number", false, "How many items of `for_each` are under way at the same time, from 1, the default, to 100.",
		object{"type": "integer", "minimum": 1, "maximum": 100}},
	{"with", "arguments", false, "The arguments of the action, or the vars of the playbook that is called. `${{ }}` holds jq; a value that is one whole expression keeps its type.", nil},
	{"timeout", durationText, false, "Bounds the whole step, waiting for the host included. Steps that call or go side by side have none; those inside do.", duration()},
	{"retry", "`{attempts, delay, on}`", false, "How often the step is tried in all, and how long after. With `on: transient`, the default, only calls that surely did not happen are repeated; with `on: failed`, certain failures too. A call that may have happened is never repeated.",
		object{"type": []any{"object", "null"}, "additionalProperties": false, "required": []any{"attempts"},
			"properties": object{"attempts": object{"type": "integer", "minimum": 1, "maximum": 20}, "delay": duration(), "on": object{"enum": []any{"transient", "failed"}}}}},
	{"on_error", "`stop`, `continue` or steps", false, "What happens when the step fails: the run ends as failed (`stop`, the default), goes on, or does the steps here and then ends as failed.",
		object{"anyOf": []any{object{"enum": []any{"stop", "continue"}}, stepList()}}},
}

// stepSchema is a step with an action, a call or branches, and the keys of that.
func stepSchema(docs registry.DocFunc) object {
	schema := doing(objectOf(stepKeys), docs, func(playbooks.Spec) bool { return true })
	kind := func(key string, without ...string) object {
		form := object{"required": []any{key}}
		if len(without) > 0 {
			var keys []any
			for _, w := range without {
				keys = append(keys, object{"required": []any{w}})
			}
			form["not"] = object{"anyOf": keys}
		}
		return form
	}
	schema["oneOf"] = []any{kind("do"), kind("call", "timeout", "retry"), kind("parallel", "timeout", "retry", "with", "for_each")}
	schema["dependentRequired"] = object{"max_parallel": []any{"for_each"}}
	return schema
}

// PlaybookSchema is the JSON Schema of a playbook.
func PlaybookSchema(docs registry.DocFunc) map[string]any {
	schema := objectOf(playbookKeys)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "erbridge playbook"
	schema["$defs"] = object{
		"match":      matchSchema(),
		"step":       stepSchema(docs),
		"enrichment": doing(enrichmentSchema(), docs, func(s playbooks.Spec) bool { return s.Effect == playbooks.Reads }),
	}
	return schema
}

func objectOf(keys []key) object {
	properties, required := object{}, []any{}
	for _, k := range keys {
		s := object{}
		for name, value := range k.schema {
			s[name] = value
		}
		s["description"] = k.doc
		properties[k.name] = s
		if k.required {
			required = append(required, k.name)
		}
	}
	return object{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
}

func enrichmentSchema() object {
	return object{"type": "object", "additionalProperties": false, "required": []any{"do"},
		"properties": object{"do": object{}, "with": object{}, "ttl": duration(), "empty_ttl": duration(), "stale": duration()}}
}

// doing says which arguments go with which action.
func doing(schema object, docs registry.DocFunc, wanted func(playbooks.Spec) bool) object {
	var names, forms []any
	for _, name := range actions.Types.Names() {
		t, _ := actions.Types.Get(name)
		if !wanted(t.Spec) {
			continue
		}
		names = append(names, name)
		with := object{"type": []any{"object", "null"}}
		if t.Spec.Input != nil {
			with = registry.Schema(t.Spec.Input, docs)
			delete(with, "$schema")
			orExpression(with)
		}
		then := object{"properties": object{"with": with}}
		if required, _ := with["required"].([]any); len(required) > 0 {
			then["required"] = []any{"with"}
		}
		forms = append(forms, object{"if": object{"required": []any{"do"}, "properties": object{"do": object{"const": name}}}, "then": then})
	}
	schema["properties"].(object)["do"] = object{"enum": names, "description": "The action."}
	schema["allOf"] = forms
	return schema
}

// orExpression lets every argument be text with an expression in it.
func orExpression(schema object) {
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range properties {
		literal, _ := value.(map[string]any)
		both := object{"anyOf": []any{literal, object{"type": "string", "pattern": exprPattern}}}
		if doc, ok := literal["description"]; ok {
			both["description"] = doc
			delete(literal, "description")
		}
		properties[name] = both
	}
}

func playbookPage() *page {
	p := newPage("Playbooks", `A playbook is a YAML file that says which alerts it is about and what is done about them. Put this line on top of a file and
an editor helps with it: `+"`# yaml-language-server: $schema=playbook.schema.json`"+`. Check it with `+"`erbridge playbook lint`"+`.

Keys that are conditions take bare [jq](jq-functions.md); text takes `+"`${{ jq }}`"+`. The input is one object: `+"`.alert .host .enrich .steps .vars .run`"+`, and
`+"`.item`"+` in the arguments of a step with `+"`for_each`"+`.`)
	for _, part := range []struct {
		title string
		keys  []key
	}{{"Keys of a playbook", playbookKeys}, {"Keys of a step", stepKeys}} {
		p.head(2, part.title)
		p.printf("| key | value | meaning |\n|---|---|---|\n")
		for _, k := range part.keys {
			kind := k.kind
			if k.required {
				kind += ", required"
			}
			p.printf("| `%s` | %s | %s |\n", k.name, cell(kind), cell(k.doc))
		}
	}
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
