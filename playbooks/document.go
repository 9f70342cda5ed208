package playbooks

import (
	"cmp"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// The types of this file are the shape of a playbook in YAML. The loader decodes
// into them, and the JSON Schema, the reference page and the names that are proposed
// for a misspelt key are made of them: their comments are what users read. What
// needs to know what stands around it is kept as a YAML node until then.

// document is a playbook as it stands in YAML.
type document struct {
	// Playbook is the name of the playbook: lower-case letters, digits, - and _. It is
	// what runs, metrics and cool-downs go by.
	Playbook bookName `yaml:"playbook" required:"true"`

	// Description says what it is for, in a sentence.
	Description string `yaml:"description"`

	// Attack lists the MITRE ATT&CK techniques that it answers, such as `T1490`.
	Attack []technique `yaml:"attack"`

	// Mode is how far it may go: observe sends no call with an effect, approve sends one
	// when a person has agreed to it; the default is enforce, under the ceiling
	// `playbooks.mode` of the configuration. In observe mode it does everything but
	// send calls with an effect.
	Mode modeWord `yaml:"mode"`

	// On is what starts it. The default is a new alert.
	On triggers `yaml:"on"`

	// Match says which alerts it is about: lists of conditions under `all`, `any` and
	// `none`. Each has a name, which explain and the run's page show, and a jq
	// expression. A condition whose expression fails is neither a match nor none: it is
	// counted and shown.
	Match blocks `yaml:"match"`

	// Enrich is what else the conditions and steps need to know, as `.enrich.<name>`.
	Enrich enrichments `yaml:"enrich"`

	// Vars are values and lists for the expressions, as `.vars` and `$vars`. A playbook
	// that calls this one may set them.
	Vars map[string]any `yaml:"vars"`

	// Lists are values by name that hold for every alert: written here, or one on each
	// line of a file. `in_list("name")` asks whether a value is among them, as fast for a
	// hundred thousand as for ten; `.lists.name` and `$lists.name` are the items. A run
	// keeps the lists that it began with, and a playbook that is called has its own.
	Lists listsByName `yaml:"lists" example:"{vip_hosts: {file: vip-hosts.txt}}"`

	// Cooldown holds back other runs of this playbook for some time after one.
	Cooldown *cooldownDocument `yaml:"cooldown"`

	// Group makes one run for like alerts. The first alert that matches opens a group,
	// whose run begins when `window` is over; until then matching alerts with the same
	// values of `by` join it, and start no run of their own. Steps see the alerts as
	// `.alerts`, the oldest first and at most 100 of them, and how many there are as
	// `.group.count`; `.alert`, `.host` and `.enrich` are those of the alert that opened
	// the group. A group outlives a restart. For a run at once and none after it, take
	// `cooldown`; with both, the cool-down is asked when a group opens.
	Group *groupDocument `yaml:"group"`

	// Count is how many alerts are like this one, as `.count`: those taken in before it
	// that have the same values of `by` and were created less than `window` before or
	// after it; and itself. It follows from the stored alerts alone, so that explain and
	// backtest find the same number. Where there is nothing to count, a condition that
	// reads `.count` is an error.
	Count *countDocument `yaml:"count"`

	// Steps are what is done, from top to bottom.
	Steps stepList `yaml:"steps" required:"true"`

	// Finally is what is done at the end of every run, whether its steps went well or
	// failed: `.run.error` says what failed. Each of these steps is done, also after one
	// of them failed; the run fails then. A run that ended unknown comes here once the
	// step in doubt is settled.
	Finally stepList `yaml:"finally"`
}

// matchDocument is what stands under match.
type matchDocument struct {
	// All are conditions that must hold, every one of them.
	All conditionList `yaml:"all"`

	// Any are conditions of which at least one must hold.
	Any conditionList `yaml:"any"`

	// None are conditions of which no one may hold.
	None conditionList `yaml:"none"`
}

// timedDocument is a trigger by the clock.
type timedDocument struct {
	// Schedule says when a run starts: `every` or `cron`.
	Schedule times `yaml:"schedule" required:"true"`
}

// scheduleDocument is when a run starts: every or cron.
type scheduleDocument struct {
	// Every is an interval that divides the hour, or whole hours that divide the day;
	// counted from midnight.
	Every *time.Duration `yaml:"every" example:"1h"`

	// Cron is a line of crontab(5): minute, hour, day of the month, month, day of the week.
	Cron cronLine `yaml:"cron" example:"0 7 * * mon-fri"`

	// Zone is the time zone of the times; the default is UTC.
	Zone zoneName `yaml:"zone" example:"Europe/Berlin"`
}

// enrichDocument is a look-up: an action that only reads.
type enrichDocument struct {
	// Do is the action; one that only reads.
	Do actionName `yaml:"do" required:"true"`

	// With holds the arguments of the action. `${{ }}` holds jq, which sees `.alert`,
	// `.host` and `.vars`.
	With arguments `yaml:"with"`

	// TTL is how long an answer is kept.
	TTL *time.Duration `yaml:"ttl"`

	// EmptyTTL is how long it is remembered that there is nothing; never longer than `ttl`.
	EmptyTTL *time.Duration `yaml:"empty_ttl"`

	// Stale is for how long after that an answer stands in when it cannot be looked up
	// again. `0s`: not at all.
	Stale *time.Duration `yaml:"stale"`
}

// SetDefaults are the lifetimes of an answer.
func (d *enrichDocument) SetDefaults() {
	d.TTL, d.EmptyTTL, d.Stale = new(defaultEnrichTTL), new(defaultEmptyTTL), new(defaultStale)
}

// listDocument is a list whose items stand in a file of their own.
type listDocument struct {
	// File is where the items stand, one on each line: beside the playbook or below, by
	// its name relative to that of the playbook. What follows a `#` at the start of a line
	// or after a blank is a comment. Items are texts, and the lists of a playbook have at
	// most 100,000 lines and 4 MiB in all.
	File listFileName `yaml:"file" required:"true" example:"vip-hosts.txt"`
}

// cooldownDocument is how long like alerts start no other run.
type cooldownDocument struct {
	// Key is a jq expression: alerts with the same value of it start no other run of
	// this playbook.
	Key expression `yaml:"key" required:"true" example:".alert.host.identifier"`

	// For is how long that holds, from the beginning of a run.
	For time.Duration `yaml:"for" required:"true"`
}

// groupDocument makes one run for like alerts.
type groupDocument struct {
	// By is what like alerts have in common: a jq expression, or a list of them.
	By expressions `yaml:"by" required:"true" example:".alert.host.identifier"`

	// Window is how long alerts join, from the first of them: 1s to 24h.
	Window time.Duration `yaml:"window" required:"true"`
}

// countDocument counts like alerts.
type countDocument struct {
	// By is what like alerts have in common: a jq expression, or a list of them. It sees
	// `.alert` as it was taken in, and takes nothing of it that changes later, such as
	// its status.
	By expressions `yaml:"by" required:"true" example:".alert.host.identifier"`

	// Window is how far the alerts may lie apart: 1s to 7d.
	Window time.Duration `yaml:"window" required:"true"`
}

// stepDocument is a step as it stands in YAML.
type stepDocument struct {
	// ID is the name of the step, by which later steps see it: `.steps.<id>.state`,
	// `.summary`, `.error`, `.output`. With `for_each`, `.steps.<id>` is a list of these.
	ID stepID `yaml:"id"`

	// Do is the action. A step has one of `do`, `call` and `parallel`.
	Do actionName `yaml:"do"`

	// Call does the steps of another playbook, its `enrich` and its `finally`; its `on`,
	// `match` and `cooldown` are not asked, and it observes if it or the caller does. What
	// it has under `vars` can be set by `with`. `.steps.<id>.output` holds the results of
	// its steps by their ids. A run keeps the version that was in force when it began. No
	// playbook may call itself, on whatever way.
	Call bookName `yaml:"call"`

	// Parallel are branches that are done side by side: each is one step, or a list of
	// steps that follow each other. All go to their own end; the step fails when one of
	// them did. Steps behind it see the results of all branches, those in a branch none
	// of the others.
	Parallel branchList `yaml:"parallel"`

	// If skips the step when it is false. With `for_each` it is asked once, before the list.
	If expression `yaml:"if" example:".steps.look.state == \"verified\""`

	// ForEach does the step once for each item of a list, which the step sees as `.item`:
	// at most 1000 items. With `on_error: continue` every item is done; else none begins
	// after one has failed. `timeout` and `retry` are those of each item.
	ForEach expression `yaml:"for_each" example:".alert.host.tags"`

	// MaxParallel is how many items of `for_each` are under way at the same time, from 1,
	// the default, to 100.
	MaxParallel *atOnce `yaml:"max_parallel"`

	// With holds the arguments of the action, or the vars of the playbook that is called.
	// `${{ }}` holds jq; a value that is one whole expression keeps its type.
	With arguments `yaml:"with"`

	// Timeout bounds the whole step once its call may be sent, from 1s to 30d; the default
	// is that of the action. Steps that call or go side by side have none; those inside do.
	Timeout *time.Duration `yaml:"timeout"`

	// Wait is how long a call with an effect may wait before it is sent: for a host that is
	// offline, for the guard. `0s`: not at all; at most 30d; the default is `limits.hold`.
	// When the host is back, everything is checked again: that the alert is still open,
	// that the host is the same one. What waited for too long ends `expired`, and was never
	// sent. Of many that can go on at once, those of the severest alerts go first.
	Wait *time.Duration `yaml:"wait" example:"4h"`

	// Verify looks whether a call had its effect after the server reported success; the
	// default is true. What cannot be looked at within the time of the step ends `failed`.
	// With false it ends `executed`, and says why nobody could tell; what the look
	// contradicts ends `failed` either way.
	Verify *bool `yaml:"verify"`

	// Retry repeats the step when it did not go through. A call that may have happened is
	// never repeated.
	Retry *retryDocument `yaml:"retry"`

	// OnError is what happens when the step fails: the run ends as failed (`stop`, the
	// default), goes on (`continue`), or does the steps here and then ends as failed.
	OnError failure `yaml:"on_error"`
}

// retryDocument is how often a step is tried.
type retryDocument struct {
	// Attempts is how often the step is tried in all, from 1 to 20.
	Attempts attempts `yaml:"attempts" required:"true"`

	// Delay is how long it waits between two attempts.
	Delay time.Duration `yaml:"delay"`

	// On says what is repeated: with `transient` only calls that surely did not happen,
	// with `failed` certain failures too.
	On string `yaml:"on" enum:"transient,failed"`
}

// SetDefaults repeats what surely did not happen.
func (d *retryDocument) SetDefaults() { d.On = "transient" }

// Keys are the documents of which a playbook consists, as pointers to structs that
// hold the defaults: that of the playbook, and that of a step.
func Keys() (playbook, step any) { return new(document), new(stepDocument) }

// node is a part of a document that the loader reads once it knows what is around it.
type node struct{ yaml.Node }

// DecodeYAML keeps the node.
func (n *node) DecodeYAML(_ string, from *yaml.Node) registry.Problems {
	n.Node = *from
	return nil
}

// name is a text that expressions and other playbooks go by.
type name struct{ registry.Text }

// DecodeYAML reads a text or a whole number; true, null and 1e3 have other ways to
// be written.
func (t *name) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!bool" || n.Tag == "!!null" || n.Tag == "!!float") {
		return registry.Decode(file, n, new(string)) // says what is expected
	}
	return t.Text.DecodeYAML(file, n)
}

// The scalars of a document.
type (
	bookName   struct{ name }
	stepID     struct{ name }
	actionName struct{ registry.Text }
	technique  struct{ registry.Text }
	modeWord   struct{ registry.Text }
	cronLine   struct{ registry.Text }
	zoneName   struct{ registry.Text }

	listFileName struct{ registry.Text }

	atOnce   int // items of for_each
	attempts int // of a step

	expression  struct{ node } // bare jq
	expressions struct{ node } // one, or a list of them
)

// The mappings and lists of a document.
type (
	triggers      struct{ node }
	times         struct{ node } // a scheduleDocument
	blocks        struct{ node } // a matchDocument
	conditionList struct{ node }
	enrichments   struct{ node } // enrichDocuments by name
	listsByName   struct{ node } // each a list, or a listDocument
	arguments     struct{ node }
	stepList      struct{ node } // of stepDocuments
	branchList    struct{ node } // of stepDocuments and lists of them
	failure       struct{ node } // a word, or a list of stepDocuments
)

// DecodeYAML takes a list that is not empty.
func (c *conditionList) DecodeYAML(file string, n *yaml.Node) (problems registry.Problems) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		problems.Addf(registry.At(file, n), "wrong-type", "", "expected a list of conditions, each a name and a jq expression")
		return problems
	}
	return c.node.DecodeYAML(file, n)
}

// blockDocument is one of the lists under match.
type blockDocument struct {
	block Block
	*conditionList
}

// inOrder lists the blocks in the order of the file.
func (d *matchDocument) inOrder() []blockDocument {
	lists := []blockDocument{{All, &d.All}, {Any, &d.Any}, {None, &d.None}}
	slices.SortStableFunc(lists, func(a, b blockDocument) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return lists
}

// The words that keys take.
const (
	stopRun = "stop"
	carryOn = "continue"
)

var (
	modeWords    = []string{string(soar.ModeObserve), string(soar.ModeApprove), string(soar.ModeEnforce)}
	failureWords = []string{stopRun, carryOn}
)
