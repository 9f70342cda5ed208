package lint

import (
	"slices"
	"strings"
)

// Rule is one code: what it stands for, and what to do about it.
type Rule struct {
	Code  string
	Title string
	Level Level
	// Text explains it, in Markdown.
	Text string
	// Bad is a playbook that has the mistake, and Good one without it. Beside is
	// another playbook of the same set, where it takes two.
	Bad, Good, Beside string
	// OfSet is set when it takes the other playbooks of the set to tell.
	OfSet bool
	// Fixes is set when --fix corrects it, at least in most cases.
	Fixes bool

	words []string // the loader's codes that it stands for
}

// Group is what the codes of one hundred have in common.
type Group struct{ Prefix, Title string }

// Groups lists the groups of codes in order.
func Groups() []Group {
	return []Group{
		{"PB1", "The file as YAML"},
		{"PB2", "Keys and their values"},
		{"PB3", "Expressions"},
		{"PB4", "Actions and their arguments"},
		{"PB5", "What a playbook does"},
		{"PB6", "Playbooks among each other"},
		{"PB7", "Comments to lint"},
	}
}

// Rules lists all codes in order.
func Rules() []Rule { return slices.Clone(rules) }

// Codes lists the codes alone.
func Codes() []string {
	codes := make([]string, len(rules))
	for i, r := range rules {
		codes[i] = r.Code
	}
	return codes
}

// Lookup finds a code in any case, or the code that a word of the loader, such as
// unknown-key, stands for.
func Lookup(code string) (Rule, bool) {
	for _, r := range rules {
		if strings.EqualFold(r.Code, code) || slices.Contains(r.words, code) {
			return r, true
		}
	}
	return Rule{}, false
}

// Words are the codes of the loader that the rule stands for.
func (r *Rule) Words() []string { return slices.Clone(r.words) }

// Group is the group of the rule's code.
func (r *Rule) Group() Group {
	for _, g := range Groups() {
		if strings.HasPrefix(r.Code, g.Prefix) {
			return g
		}
	}
	return Group{}
}

const (
	note       = "steps:\n  - {do: alert.note, with: {text: seen}}\n"
	suspicious = "match:\n  all:\n    - it is the dropper: .alert.event.md5 == \"d41d8cd98f00b204e9800998ecf8427e\"\n"
)

var rules = []Rule{
	{
		Code: "PB101", Title: "not valid YAML", Level: Error, words: []string{"yaml"},
		Text: "The file cannot be read as YAML. Often a quote or bracket is not closed, a text with `: ` or ` #` in it stands without quotes, or a line is indented differently from its neighbours. The line is the one where it came to light; the cause may stand above it.",
		Bad:  "playbook: p\ndescription: stop it: now\n" + note,
		Good: "playbook: p\ndescription: \"stop it: now\"\n" + note,
	},
	{
		Code: "PB102", Title: "tab in the indentation", Level: Error, Fixes: true,
		Text: "YAML is indented with blanks; a tab in the indentation is not allowed. `--fix` writes two blanks for each, where that makes the file readable.",
		Bad:  "playbook: p\nsteps:\n\t- {do: alert.note, with: {text: seen}}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}}\n",
	},
	{
		Code: "PB103", Title: "not UTF-8 text", Level: Error,
		Text: "Playbooks are UTF-8 text without control characters. Editors of Windows may save UTF-16 or an older code page.",
		Bad:  "playbook: p\ndescription: caf\xe9\n" + note,
		Good: "playbook: p\ndescription: café\n" + note,
	},
	{
		Code: "PB104", Title: "empty file", Level: Error, words: []string{"empty"},
		Text: "The file holds nothing, or comments only. Write a playbook, or delete it: the engine takes the whole folder or none of it.",
		Bad:  "# to be written\n",
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB105", Title: "several documents", Level: Error,
		Text: "A line `---` begins a second YAML document. A file holds one playbook: its name, its version and its findings are those of the file.",
		Bad:  "playbook: p\n" + note + "---\nplaybook: q\n" + note,
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB106", Title: "YAML alias", Level: Error, words: []string{"alias"},
		Text: "Aliases (`*name`, and merge keys `<<: *name`) are refused: a handful of them can expand to gigabytes, and a reviewer would have to look elsewhere for what a step does. Write the value out, or put it under `vars`.",
		Bad:  "playbook: p\nvars: {a: &list [1], b: *list}\n" + note,
		Good: "playbook: p\nvars: {a: [1]}\n" + note,
	},
	{
		Code: "PB107", Title: "repeated key", Level: Error, words: []string{"repeated-key"},
		Text: "A key stands twice in one mapping. Other tools take the last of them without a word.",
		Bad:  "playbook: p\nmode: observe\nmode: enforce\n" + note,
		Good: "playbook: p\nmode: observe\n" + note,
	},
	{
		Code: "PB108", Title: "too large or too deep", Level: Error, words: []string{"too-large", "too-deep"},
		Text: "A playbook has at most 1 MiB, 100,000 values and 64 levels of nesting.",
		Bad:  "playbook: p\nvars: {a: " + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}\n" + note,
		Good: "playbook: p\nvars: {a: [[1]]}\n" + note,
	},
	{
		Code: "PB109", Title: "cannot be read", Level: Error, words: []string{"unreadable"},
		Text: "The folder or a file in it cannot be read. The message says why.",
	},
	{
		Code: "PB110", Title: "byte order mark", Level: Error, Fixes: true,
		Text: "The file begins with the three bytes of a byte order mark, which some editors put there. The engine skips them; other tools that read the file stumble over them.",
		Bad:  byteOrderMark + "playbook: p\n" + note,
		Good: "playbook: p\n" + note,
	},

	{
		Code: "PB200", Title: "not allowed here", Level: Error,
		Text: "The engine refuses the playbook for a reason that has no code of its own yet. The message says what is wrong.",
	},
	{
		Code: "PB201", Title: "unknown key", Level: Error, Fixes: true, words: []string{"unknown-key"},
		Text: "There is no such key here. The [reference](playbook.md) lists them. `--fix` corrects a slip of the finger.",
		Bad:  "playbook: p\nvarz: {a: 1}\n" + note,
		Good: "playbook: p\nvars: {a: 1}\n" + note,
	},
	{
		Code: "PB202", Title: "missing key", Level: Error, words: []string{"missing"},
		Text: "A key that must be there is not: every playbook has `playbook` and `steps`, every step says what it does with `do`, `call` or `parallel`.",
		Bad:  note,
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB203", Title: "wrong type", Level: Error, Fixes: true, words: []string{"wrong-type"},
		Text: "A list, mapping, text or number stands where something else belongs. Texts that YAML would read as a number or as true and false need quotes; `--fix` puts them there.",
		Bad:  "playbook: p\ndescription: 2026\n" + note,
		Good: "playbook: p\ndescription: \"2026\"\n" + note,
	},
	{
		Code: "PB204", Title: "not a name", Level: Error, words: []string{"name"},
		Text: "Playbooks are named with small letters, digits, `-` and `_`; steps, enrichments and variables with small letters, digits and `_`, a letter first, because expressions name them: `.steps.my_step`.",
		Bad:  "playbook: My Playbook\n" + note,
		Good: "playbook: my-playbook\n" + note,
	},
	{
		Code: "PB205", Title: "repeated name", Level: Error, words: []string{"repeated-name"},
		Text: "Two steps have the same id, or two conditions the same name. Journal, explain and expressions tell them apart by it.",
		Bad:  "playbook: p\nsteps:\n  - {id: a, do: alert.note, with: {text: x}}\n  - {id: a, do: alert.note, with: {text: y}}\n",
		Good: "playbook: p\nsteps:\n  - {id: a, do: alert.note, with: {text: x}}\n  - {id: b, do: alert.note, with: {text: y}}\n",
	},
	{
		Code: "PB206", Title: "unknown word", Level: Error, words: []string{"mode", "on", "on_error", "severity", "unknown-name"},
		Text: "The value must be one of a few words, which the hint names.",
		Bad:  "playbook: p\nmode: enforced\n" + note,
		Good: "playbook: p\nmode: enforce\n" + note,
	},
	{
		Code: "PB207", Title: "out of range", Level: Error, words: []string{"range", "schedule"},
		Text: "A number or duration is too small or too large, or a schedule has no times. The message has the bounds.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}, timeout: 31d}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}, timeout: 1h}\n",
	},
	{
		Code: "PB208", Title: "too many", Level: Error, words: []string{"too-many"},
		Text: "More steps, conditions, enrichments, variables or calls than a playbook may have. Split it, and let one part `call` the other.",
		Bad:  "playbook: p\nsteps:\n" + strings.Repeat("  - {do: alert.note, with: {text: seen}}\n", 101),
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB209", Title: "not a technique", Level: Error, Fixes: true, words: []string{"technique"},
		Text: "`attack` lists MITRE ATT&CK techniques by number: `T1490`, `T1059.001`.",
		Bad:  "playbook: p\nattack: [t1490]\n" + note,
		Good: "playbook: p\nattack: [T1490]\n" + note,
	},
	{
		Code: "PB210", Title: "condition without a name", Level: Error, words: []string{"condition"},
		Text: "Each condition is one name and one expression: `- the file is signed: .alert.event.signed == \"1\"`. The names are what explain, tests and the page of a run show.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - .alert.event.signed == \"1\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - the file is signed: .alert.event.signed == \"1\"\n" + note,
	},
	{
		Code: "PB211", Title: "keys that do not go together", Level: Error, words: []string{"step-kind"},
		Text: "A step does one thing: an action (`do`), another playbook (`call`) or several steps at once (`parallel`). Some keys belong to one of them only.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}, max_parallel: 2}\n",
		Good: "playbook: p\nsteps:\n  - {for_each: .alert.host.tags, max_parallel: 2, do: alert.note, with: {text: \"${{ .item }}\"}}\n",
	},
	{
		Code: "PB212", Title: "not a list", Level: Error, words: []string{"list"},
		Text: "What stands under `lists` is the same for every alert: texts, numbers, true, false and null, without `${{ }}` and without lists inside.",
		Bad:  "playbook: p\nlists: {shells: [[sh, bash]]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
		Good: "playbook: p\nlists: {shells: [sh, bash]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
	},
	{
		Code: "PB213", Title: "list file that cannot be read", Level: Error, words: []string{"list-file"},
		Text: "The items of a list stand in a file that is missing, cannot be read, is no UTF-8 text, is too large, or lies outside of the playbook's folder. A list file lies beside the playbook or below, has one item on each line, and the lists of a playbook have at most 100,000 lines and 4 MiB in all. Links are followed as long as they stay in the folder; hidden files are left out.",
		Bad:  "playbook: p\nlists: {shells: {file: ../shells.txt}}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
		Good: "playbook: p\nlists: {shells: [sh, bash]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
	},

	{
		Code: "PB301", Title: "not valid jq", Level: Error, words: []string{"jq"},
		Text: "The expression does not compile: a syntax error, a function that does not exist, or one that is not available, such as `env`. The [functions](jq-functions.md) of playbooks come beside those of jq.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is a shell: .alert.event.name | tset(\"bash\")\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is a shell: .alert.event.name // \"\" | test(\"bash\")\n" + note,
	},
	{
		Code: "PB302", Title: "expression without an end", Level: Error, words: []string{"expression"},
		Text: "A text has `${{` without `}}`. Write `$${{` for the characters themselves.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.note, with: {text: \"on ${{ .alert.host.name\"}}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.note, with: {text: \"on ${{ .alert.host.name }}\"}}\n",
	},
	{
		Code: "PB303", Title: "nothing of that name to start from", Level: Error, words: []string{"unknown-root"},
		Text: "Expressions begin at `.alert`, `.host`, `.enrich`, `.enrich_errors`, `.enrich_status` and `.vars`; in steps also at `.steps` and `.run`, and below `for_each` at `.item`.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is open: .alrt.status == \"open\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is open: .alert.status == \"open\"\n" + note,
	},
	{
		Code: "PB304", Title: "field that an alert cannot have", Level: Error, words: []string{"unknown-field"},
		Text: "A normalised alert, host or run has no such field, so the expression would always see null. What the sensor reported stands under `.alert.event`, and every name is possible there.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is the server: .alert.hostname == \"srv\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is the server: .alert.host.name == \"srv\"\n" + note,
	},
	{
		Code: "PB305", Title: "unknown step", Level: Error, words: []string{"unknown-step"},
		Text: "No step of the playbook has that id.",
		Bad:  "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.lok.summary }}\"}}\n",
		Good: "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.summary }}\"}}\n",
	},
	{
		Code: "PB306", Title: "step that has not run by then", Level: Error,
		Text: "The step exists and its result is not there yet: it stands further down, in another branch of `parallel`, or in an `on_error` block that is done only when another step fails.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.note, with: {text: \"${{ .steps.look.summary }}\"}}\n  - {id: look, do: host.get, with: {host: h}}\n",
		Good: "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.summary }}\"}}\n",
	},
	{
		Code: "PB307", Title: "field that a step does not have", Level: Error, words: []string{"unknown-step-field"},
		Text: "A step leaves `state`, `summary`, `error`, `ref` and `output`; what the action returned stands under `output`. A step with `for_each` leaves a list of them.",
		Bad:  "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.name }}\"}}\n",
		Good: "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.output.name }}\"}}\n",
	},
	{
		Code: "PB308", Title: "unknown enrichment", Level: Error, words: []string{"unknown-enrichment"},
		Text: "Nothing stands under `enrich` by that name.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it has a parent: .enrich.tree != null\n" + note,
		Good: "playbook: p\nenrich: {tree: {do: process.tree, with: {guid: \"${{ .alert.event.process_guid }}\"}}}\nmatch:\n  all:\n    - it has a parent: .enrich.tree != null\n" + note,
	},
	{
		Code: "PB309", Title: "unknown variable", Level: Error, words: []string{"unknown-variable"},
		Text: "Nothing stands under `vars` by that name; for a `call`, under `vars` of the playbook that is called.",
		Bad:  "playbook: p\nvars: {limit: 3}\nmatch:\n  all:\n    - often: .alert.event_count > .vars.limt\n" + note,
		Good: "playbook: p\nvars: {limit: 3}\nmatch:\n  all:\n    - often: .alert.event_count > .vars.limit\n" + note,
	},
	{
		Code: "PB310", Title: "value that a field never has", Level: Error,
		Text: "The field holds one of a few words, and not this one, so the comparison comes out the same for every alert. Severities are compared with `at_least`, since as texts they go by the alphabet.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is new: .alert.status == \"new\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is open: .alert.status == \"open\"\n" + note,
	},
	{
		Code: "PB311", Title: "${{ }} around bare jq", Level: Error, Fixes: true,
		Text: "Conditions, `if`, `for_each` and `cooldown.key` take jq as it is. `${{ }}` is for jq inside of texts.",
		Bad:  "playbook: p\nsteps:\n  - if: ${{ .alert.status == \"open\" }}\n    do: alert.note\n    with: {text: seen}\n",
		Good: "playbook: p\nsteps:\n  - if: .alert.status == \"open\"\n    do: alert.note\n    with: {text: seen}\n",
	},
	{
		Code: "PB312", Title: "jq that stays a text", Level: Error, Fixes: true,
		Text: "An argument looks like a path of jq and stands without `${{ }}`: the action would get these very characters, not what they lead to. So does a text with `{{ }}` as other tools have it.",
		Bad:  "playbook: p\nsteps:\n  - do: host.get\n    with: {host: .alert.host.identifier}\n",
		Good: "playbook: p\nsteps:\n  - do: host.get\n    with: {host: \"${{ .alert.host.identifier }}\"}\n",
	},
	{
		Code: "PB313", Title: "text compared with a number", Level: Error, Fixes: true,
		Text: "All columns of an event are texts. In jq a text never equals a number, and is greater than every number: `.alert.event.pid > 4` is always true. Write `== \"4\"`, or make a number of it with `tonumber`.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is the kernel: .alert.event.pid == 4\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is the kernel: .alert.event.pid == \"4\"\n" + note,
	},

	{
		Code: "PB314", Title: "field that an action does not return", Level: Error,
		Text: "What an action leaves under `output`, and what an enrichment holds, has the fields that the [reference](actions.md) lists. Any other is always null.",
		Bad:  "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.output.hostname }}\"}}\n",
		Good: "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.look.output.name }}\"}}\n",
	},
	{
		Code: "PB315", Title: "assignment instead of a comparison", Level: Error,
		Text: "In jq, `=` sets a value and returns the whole input, which counts as true. Comparisons are written `==`.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is open: .alert.status = \"open\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is open: .alert.status == \"open\"\n" + note,
	},
	{
		Code: "PB316", Title: "default that takes the comparison", Level: Error,
		Text: "In jq, `//` binds weaker than `==`: `.a // \"\" == \"x\"` means `.a // (\"\" == \"x\")`, which is true whenever `.a` is there. Put the default into brackets.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is a shell: .alert.event.name // \"\" == \"sh\"\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is a shell: (.alert.event.name // \"\") == \"sh\"\n" + note,
	},
	{
		Code: "PB317", Title: "not before what it negates", Level: Error,
		Text: "In jq, `not` stands behind a pipe and negates what comes out of it: `.a | not`. `not .a` asks for the field `a` of a truth value, and ends with an error for every alert.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is new: not .alert.backfill\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it is new: .alert.backfill | not\n" + note,
	},
	{
		Code: "PB318", Title: "unknown list", Level: Error, words: []string{"unknown-list"},
		Text: "`in_list(\"name\")`, `.lists.name` and `$lists.name` name a list that does not stand under `lists`.",
		Bad:  "playbook: p\nlists: {shells: [sh, bash]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shell\")\n" + note,
		Good: "playbook: p\nlists: {shells: [sh, bash]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
	},
	{
		Code: "PB319", Title: "network in a list of texts", Level: Warning,
		Text: "`in_list` compares texts as a whole: `10.1.2.3` is not in a list that holds `10.0.0.0/8`. Networks are for `cidr`, which takes a list of them.",
		Bad:  "playbook: p\nlists: {internal: [10.0.0.0/8]}\nmatch:\n  all:\n    - it comes from inside: .alert.event.remote_address | in_list(\"internal\")\n" + note,
		Good: "playbook: p\nlists: {internal: [10.0.0.0/8]}\nmatch:\n  all:\n    - it comes from inside: .alert.event.remote_address | cidr($lists.internal)\n" + note,
	},
	{
		Code: "PB320", Title: "list that nothing uses", Level: Warning,
		Text: "No expression names the list. Often it is one that was meant to be asked.",
		Bad:  "playbook: p\nlists: {shells: [sh, bash]}\n" + note,
		Good: "playbook: p\nlists: {shells: [sh, bash]}\nmatch:\n  all:\n    - it is a shell: .alert.event.name | in_list(\"shells\")\n" + note,
	},

	{
		Code: "PB321", Title: "regular expression or network that is none", Level: Error,
		Text: "A regular expression (RE2 syntax: no look-around, no references back) or a network is written in a way that cannot be read. Every alert that comes to it gets an error instead of a verdict.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it has brackets: .alert.event.cmdline // \"\" | test(\"[\")\n" + note,
		Good: "playbook: p\nmatch:\n  all:\n    - it has brackets: .alert.event.cmdline // \"\" | test(\"[[]\")\n" + note,
	},

	{
		Code: "PB401", Title: "unknown action", Level: Error, words: []string{"unknown-action"},
		Text: "There is no action of that name; the [reference](actions.md) lists them. Since an action is what a playbook does to the world, `--fix` does not guess.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.nte, with: {text: seen}}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}}\n",
	},
	{
		Code: "PB402", Title: "unknown argument", Level: Error, Fixes: true, words: []string{"unknown-argument"},
		Text: "The action takes no argument of that name.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen, alrt: 7}}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen, alert: 7}}\n",
	},
	{
		Code: "PB403", Title: "missing argument", Level: Error, words: []string{"missing-argument"},
		Text: "The action cannot do without this argument.",
		Bad:  "playbook: p\nsteps:\n  - do: host.get\n",
		Good: "playbook: p\nsteps:\n  - do: host.get\n    with: {host: h}\n",
	},
	{
		Code: "PB404", Title: "argument of a wrong type", Level: Error, Fixes: true, words: []string{"argument-type"},
		Text: "An argument is a text, number, list or mapping where the action takes something else; also when it is computed, as far as the type of a field of the alert is known: `${{ .alert.host }}` is an object, `${{ .alert.host.identifier }}` a text. `--fix` puts quotes around what must be a text.",
		Bad:  "playbook: p\nsteps:\n  - {do: host.tag, with: {host: h, tag: 2026}}\n",
		Good: "playbook: p\nsteps:\n  - {do: host.tag, with: {host: h, tag: \"2026\"}}\n",
	},
	{
		Code: "PB405", Title: "argument that the action refuses", Level: Error, words: []string{"argument-value"},
		Text: "The argument has the right type, and the action would refuse it all the same. The message says why.",
		Bad:  "playbook: p\nsteps:\n  - {do: alert.resolve, with: {verdict: maybe}}\n",
		Good: "playbook: p\nsteps:\n  - {do: alert.resolve, with: {verdict: false_positive}}\n",
	},
	{
		Code: "PB406", Title: "action that may not stand here", Level: Error, words: []string{"effect"},
		Text: "Enrichments only read: they run before anybody has decided anything. And an action that must not happen twice is not repeated after a failure.",
		Bad:  "playbook: p\nenrich: {a: {do: alert.note, with: {text: seen}}}\n" + note,
		Good: "playbook: p\nenrich: {a: {do: host.get, with: {host: h}}}\n" + note,
	},

	{
		Code: "PB501", Title: "action on endpoints without a scope", Level: Error,
		Text: "The playbook may act (`mode: enforce`, which is the default), a step changes something on the host of the alert, and no condition looks at what happened or where: every alert would set it off. Conditions on severity and status alone are no scope, nor are those under `none`; under `any`, each must be one.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is bad: .alert.severity | at_least(\"high\")\nsteps:\n  - {do: agent.restart, with: {host: \"${{ .alert.host.identifier }}\"}}\n",
		Good: "playbook: p\nmatch:\n  all:\n    - the agent hangs: .alert.rule.name == \"agent hangs\"\nsteps:\n  - {do: agent.restart, with: {host: \"${{ .alert.host.identifier }}\"}}\n",
	},
	{
		Code: "PB502", Title: "containment without a release", Level: Error, OfSet: true,
		Text: "`host.contain` closes a host, and neither this playbook nor one that runs on a schedule in the same set opens it again. Say for how long with `for`: then it is released by itself, and people are told before. Or add a step with `host.release`, or such a playbook. Where a person does it, say so: `# lint:ignore PB502 released by the analyst`.",
		Bad:  "playbook: p\n" + suspicious + "steps:\n  - {do: host.contain, with: {host: \"${{ .alert.host.identifier }}\"}}\n",
		Good: "playbook: p\n" + suspicious + "steps:\n  - {do: host.contain, with: {host: \"${{ .alert.host.identifier }}\", for: 4h}}\n",
	},
	{
		Code: "PB503", Title: "kill by number alone", Level: Error,
		Text: "Systems use the number of a process again. Between the event and the kill it may have come to belong to another one; with the name, the kill hits the one that is meant or none.",
		Bad:  "playbook: p\n" + suspicious + "steps:\n  - {do: process.kill, with: {host: h, pid: \"${{ .alert.event.pid }}\"}}\n",
		Good: "playbook: p\n" + suspicious + "steps:\n  - {do: process.kill, with: {host: h, pid: \"${{ .alert.event.pid }}\", name: \"${{ .alert.event.path }}\"}}\n",
	},
	{
		Code: "PB504", Title: "secret in plain text", Level: Error, words: []string{"plain-secret"},
		Text: "Playbooks are committed, shown and kept with each run. Put the secret into a file or the environment, and name that. If this one was real, change it: it has been read by whoever read the file.",
		Bad:  "playbook: p\nsteps:\n  - {do: http.request, with: {url: \"https://ti.example.org\", auth: s3cr3t-t0ken}}\n",
		Good: "playbook: p\nsteps:\n  - {do: http.request, with: {url: \"https://ti.example.org\", auth: {env: TI_TOKEN}}}\n",
	},
	{
		Code: "PB505", Title: "step that is never reached", Level: Error,
		Text: "The `if` of the step is false whatever happens: it is a constant, it contradicts the conditions of the playbook, or it waits for the failure of a step that ends the run when it fails.",
		Bad:  "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}}\n  - if: .steps.look.state == \"failed\"\n    do: alert.note\n    with: {text: the host is not known}\n",
		Good: "playbook: p\nsteps:\n  - {id: look, do: host.get, with: {host: h}, on_error: continue}\n  - if: .steps.look.state == \"failed\"\n    do: alert.note\n    with: {text: the host is not known}\n",
	},
	{
		Code: "PB506", Title: "playbook that never matches", Level: Error,
		Text: "The conditions contradict each other, or one of them is a constant that decides against a match.",
		Bad:  "playbook: p\nmatch:\n  all:\n    - it is Windows: .alert.host.platform == \"windows\"\n    - it is a Mac: .alert.host.platform == \"darwin\"\n" + note,
		Good: "playbook: p\nmatch:\n  any:\n    - it is Windows: .alert.host.platform == \"windows\"\n    - it is a Mac: .alert.host.platform == \"darwin\"\n" + note,
	},
	{
		Code: "PB507", Title: "approval without an expiry", Level: Error, words: []string{"approval-expiry"},
		Text: "A step asks people and says nothing of how long they have. An answer of next month would still set the run off, when nobody remembers the question.",
		Bad:  "playbook: p\nsteps:\n  - {do: approval.ask, with: {text: \"Contain it?\", from: [soc]}}\n",
		Good: "playbook: p\nsteps:\n  - {do: approval.ask, with: {text: \"Contain it?\", from: [soc], expires: 15m}}\n",
	},
	{
		Code: "PB508", Title: "silence that agrees to what cannot be undone", Level: Error,
		Text: "`on_expiry: approve` lets a question pass that nobody has answered, and a step behind it changes an endpoint in a way that no other action takes back, such as killing a process. Somebody has to say yes to that.",
		Bad:  "playbook: p\n" + suspicious + "steps:\n  - {id: ask, do: approval.ask, with: {text: \"Delete it?\", expires: 15m, on_expiry: approve}}\n  - {if: .steps.ask.granted, do: file.delete, with: {host: h, path: \"C:\\\\x.exe\"}}\n",
		Good: "playbook: p\n" + suspicious + "steps:\n  - {id: ask, do: approval.ask, with: {text: \"Delete it?\", expires: 15m}}\n  - {if: .steps.ask.granted, do: file.delete, with: {host: h, path: \"C:\\\\x.exe\"}}\n",
	},
	{
		Code: "PB509", Title: "wait that its own time-out cuts short", Level: Error,
		Text: "A step lets time pass, and its `timeout` is over before: it would end `expired`, and fail the run. Such steps need no `timeout`.",
		Bad:  "playbook: p\nsteps:\n  - {do: sleep, with: {for: 1h}, timeout: 10m}\n",
		Good: "playbook: p\nsteps:\n  - {do: sleep, with: {for: 1h}}\n",
	},

	{
		Code: "PB601", Title: "two playbooks of one name", Level: Error,
		Text: "Runs, metrics and cool-downs go by the name of a playbook. With two of one name the engine takes none of the set.",
		Bad:  "playbook: p\n" + note, Beside: "playbook: p\n" + note,
		Good: "playbook: q\n" + note,
	},
	{
		Code: "PB602", Title: "playbooks that act on the same kind of host", Level: Warning, OfSet: true,
		Text:   "Two playbooks do the same to endpoints, or the opposite, and nothing in their conditions keeps an alert from matching both. This is a warning: it does not fail lint.",
		Bad:    "playbook: q\nmatch:\n  all:\n    - the agent hangs: .alert.rule.name // \"\" | test(\"hang\")\nsteps:\n  - {do: agent.restart, with: {host: \"${{ .alert.host.identifier }}\"}}\n",
		Beside: "playbook: p\nmatch:\n  all:\n    - the agent is slow: .alert.rule.name // \"\" | test(\"slow\")\nsteps:\n  - {do: agent.restart, with: {host: \"${{ .alert.host.identifier }}\"}}\n",
		Good:   "playbook: q\nmatch:\n  all:\n    - the agent hangs: .alert.rule.name // \"\" | test(\"hang\")\n" + note,
	},
	{
		Code: "PB603", Title: "unknown playbook", Level: Error, words: []string{"unknown-playbook"},
		Text: "`call` names a playbook that is not in the set.",
		Bad:  "playbook: p\nsteps:\n  - call: q\n",
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB604", Title: "playbook that calls itself", Level: Error, words: []string{"recursion"},
		Text: "A playbook calls itself, by itself or through others. A run must end.",
		Bad:  "playbook: p\nsteps:\n  - call: p\n",
		Good: "playbook: p\n" + note,
	},

	{
		Code: "PB701", Title: "suppression without a reason", Level: Error,
		Text: "`# lint:ignore CODE reason` suppresses a finding on its line, or in what begins below it. Who reads the playbook later must learn why.",
		Bad:  "playbook: p # lint:ignore PB501\n" + note,
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB702", Title: "suppression of nothing", Level: Error, Fixes: true,
		Text: "Nothing at this place gives the code, so the comment would hide a later mistake. What the engine refuses cannot be suppressed. Codes that depend on the other playbooks of the set, PB502 and PB602, may be suppressed where they are not given: a file may be looked at without the others.",
		Bad:  "playbook: p # lint:ignore PB501 the test fleet only\n" + note,
		Good: "playbook: p\n" + note,
	},
	{
		Code: "PB703", Title: "suppression of an unknown code", Level: Error,
		Text: "There is no such code.",
		Bad:  "playbook: p # lint:ignore PB999 the test fleet only\n" + note,
		Good: "playbook: p\n" + note,
	},
}
