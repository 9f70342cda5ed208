package playtest

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// File is the tests of one playbook: NAME_test.yaml beside NAME.yaml.
type File struct {
	// Playbook is the file under test, relative to this one. Without it, it is the
	// file whose name this one has before _test.
	Playbook string `yaml:"playbook"`

	// Alert is the alert of every test that names none of its own: a JSON or YAML
	// file, relative to this one, or the alert itself. `alerts capture` writes such files.
	Alert Fixture `yaml:"alert"`

	// Given says what actions answer, in every test. What a test itself gives comes first.
	Given []Given `yaml:"given"`

	// Tests are the tests, each in a world of its own.
	Tests []Case `yaml:"tests" required:"true"`
}

// Case is one test: an alert comes in, or something else starts a run, and the real
// engine works on it, on a clock that moves by itself.
type Case struct {
	// Name says what is tested, in words. It is unique in the file.
	Name string `yaml:"name" required:"true"`

	// Alert is the alert of this test. on: manual and on: run.failed may do without one,
	// and on: schedule has none.
	Alert Fixture `yaml:"alert"`

	// Patch is laid over the alert, as a JSON merge patch (RFC 7396): it names the
	// fields that are different, and null takes one away.
	Patch map[string]any `yaml:"patch"`

	// On is what starts the run: an alert that is new, or one that has changed; the
	// clock; a person; another run that has failed. Without it, it is the first of these
	// that the playbook takes.
	On string `yaml:"on" enum:"alert,alert.updated,schedule,manual,run.failed"`

	// Now is when that happens. A schedule comes due at its first time then or later.
	// Without it, it is when the server raised the alert, or 1 January 2026.
	Now time.Time `yaml:"now"`

	// Missed is how many times of the schedule passed before, while nobody looked.
	Missed int `yaml:"missed"`

	// By is the person who starts the run by hand. Without it, it is test.
	By string `yaml:"by"`

	// Input is what that person gave: .input in expressions.
	Input any `yaml:"input"`

	// Changed is what changed of the alert, with on: alert.updated. Without it, one event
	// more came together in the alert.
	Changed *Changed `yaml:"changed"`

	// Failed is the run that has failed: .run in expressions. Its alert is that of the
	// test.
	Failed *FailedRun `yaml:"failed"`

	// Ceiling holds the playbook at observe, as playbooks.mode of the configuration does.
	Ceiling string `yaml:"ceiling" enum:"observe,approve,enforce"`

	// Before are alerts that came in earlier, for playbooks that look at more than one,
	// or what else started runs then. What the playbook does about them is not looked at.
	Before []Earlier `yaml:"before"`

	// After are alerts that come in later, while the run goes on, or what else happens
	// then.
	After []Later `yaml:"after"`

	// Given says what actions answer in this test. Each must be asked for.
	Given []Given `yaml:"given"`

	// Expect is what must come of it.
	Expect Expect `yaml:"expect" required:"true"`
}

// SetDefaults lets the playbook's own mode decide.
func (c *Case) SetDefaults() { c.Ceiling = "enforce" }

// FailedRun is a run that has failed.
type FailedRun struct {
	// Playbook is the name of its playbook; there need be no such playbook.
	Playbook string `yaml:"playbook" required:"true"`

	// Error is why it failed, with the step in front: "step stop: access denied".
	Error string `yaml:"error"`

	// Mode is the mode in which it ran.
	Mode string `yaml:"mode" enum:"observe,approve,enforce"`

	// Ran is how long it took. It ended when the test begins.
	Ran time.Duration `yaml:"ran"`
}

// Changed is a change that an analyst made on the server: .change in expressions.
type Changed struct {
	// Was is laid over the alert, as a JSON merge patch, and gives the alert of before:
	// {status: open} for one that was resolved.
	Was map[string]any `yaml:"was"`

	// Note is the text of a note that was added.
	Note string `yaml:"note"`

	// By is the user who did it.
	By string `yaml:"by"`
}

// SetDefaults names the user.
func (c *Changed) SetDefaults() { c.By = "analyst" }

// SetDefaults makes it a run that was in earnest.
func (f *FailedRun) SetDefaults() { f.Mode = "enforce" }

// Earlier is an alert that came in before the one that is looked at, or what else
// happened then.
type Earlier struct {
	// On is what happened. Without it, it is the same as in the test; where an alert
	// comes in there, a new one did here.
	On string `yaml:"on" enum:"alert,alert.updated,schedule,manual,run.failed"`

	// Alert is the alert; without it, it is the test's own, under another id.
	Alert Fixture `yaml:"alert"`

	// Patch is laid over it.
	Patch map[string]any `yaml:"patch"`

	// Ago is how long before the other it came in.
	Ago time.Duration `yaml:"ago"`
}

// Later is an alert that comes in after the one that is looked at, or what else
// happens then.
type Later struct {
	// On is what happens. Without it, it is the same as in the test; where an alert comes
	// in there, a new one does here.
	On string `yaml:"on" enum:"alert,alert.updated,schedule,manual,run.failed"`

	// Alert is the alert; without it, it is the test's own, under another id.
	Alert Fixture `yaml:"alert"`

	// Patch is laid over it.
	Patch map[string]any `yaml:"patch"`

	// In is how long after the other it comes in.
	In time.Duration `yaml:"in"`
}

// Given is the answer of an action. The first that fits a call answers it.
type Given struct {
	// Step is the id of the step that calls; collect[2] is one item of it, and
	// check/look a step of the playbook that the step check calls. Enrichment has no
	// step: name the action.
	Step string `yaml:"step"`

	// Do is the action that is called.
	Do string `yaml:"do"`

	// With are arguments that the call must have, among others.
	With map[string]any `yaml:"with"`

	// State is how the call ends. unknown: its answer is lost, and nobody can look it
	// up. transient: it surely did not happen and may be tried again, as retry does.
	State string `yaml:"state" enum:"executed,verified,failed,refused,expired,cancelled,transient,unknown"`

	// Output is what the step sees as .steps.<id>.output, or .enrich.<name>.
	Output any `yaml:"output"`

	// Error says why it failed.
	Error string `yaml:"error"`

	// Summary says what was done, in a few words.
	Summary string `yaml:"summary"`

	// Target is the host identifier that was acted on.
	Target string `yaml:"target"`

	// Approval is what people answer when the step asks for approval: because the playbook
	// is in mode approve, or with approval.ask. expired: nobody answers in time. State,
	// output and the like do not go with it.
	Approval string `yaml:"approval" enum:"granted,denied,expired"`

	// By is the person who answers.
	By string `yaml:"by"`

	// Reason is what the person says.
	Reason string `yaml:"reason"`

	// After is how long the host takes for it, on the test's clock; or how long people do.
	After time.Duration `yaml:"after"`

	// Times is how many calls it answers; 0 answers all.
	Times int `yaml:"times"`
}

// SetDefaults makes the action succeed.
func (g *Given) SetDefaults() { g.State = "executed" }

// Expect is what must come of it. What is not named is not looked at.
type Expect struct {
	// Verdict is what the playbook makes of it. suppressed: it matches, and a
	// cool-down holds it back. grouped: it matches, and joins the run of like alerts.
	Verdict string `yaml:"verdict" enum:"match,no match,error,suppressed,grouped" required:"true"`

	// Reason is the name of the condition that stands against a match, or that fails.
	Reason string `yaml:"reason"`

	// Error is a part of what an error of the evaluation or of the run says.
	Error string `yaml:"error"`

	// Actions are the calls of steps, in their order, and no others. In observe mode,
	// they are the calls that would have been sent.
	Actions *[]ExpectedAction `yaml:"actions"`

	// Outcome is how the run ends.
	Outcome string `yaml:"outcome" enum:"done,failed,unknown,cancelled"`

	// Steps are how steps end, by id: executed, verified, observed, skipped, failed,
	// expired, refused, cancelled, unknown; none for one that is not reached.
	Steps map[string]string `yaml:"steps"`
}

// ExpectedAction is a call that must be made.
type ExpectedAction struct {
	// Do is the action.
	Do string `yaml:"do" required:"true"`

	// Step is the id of the step that calls.
	Step string `yaml:"step"`

	// With are the arguments that the call must have, among others. The id of the run
	// stands in texts as RUN, that of a failed run that started it as FAILED, and the
	// time of the clock does not move by itself.
	With map[string]any `yaml:"with"`
}

// Fixture is an alert: the path of a file, or the alert itself.
type Fixture struct {
	Path   string         // as it stands in the file
	Inline map[string]any // when it is no path
	At     registry.Position
}

// IsSet reports whether there is one.
func (f *Fixture) IsSet() bool { return f.Path != "" || f.Inline != nil }

// DecodeYAML reads a path or a mapping.
func (f *Fixture) DecodeYAML(file string, n *yaml.Node) registry.Problems {
	f.At = registry.At(file, n)
	if n.Kind == yaml.MappingNode {
		return registry.Decode(file, n, &f.Inline)
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
		return registry.Problems{{Position: f.At, Code: "wrong-type", Message: "expected the path of an alert, or an alert"}}
	}
	f.Path = n.Value
	return nil
}

// JSONSchema says the same.
func (f *Fixture) JSONSchema(registry.DocFunc) map[string]any {
	return map[string]any{"type": []any{"string", "object"}, "minLength": 1}
}

// Schema is the JSON Schema of a test file.
func Schema(docs registry.DocFunc) map[string]any {
	schema := registry.Schema(new(File), docs)
	schema["title"] = "erbridge playbook test"
	return schema
}

// document is a test file that was read.
type document struct {
	File
	name string // as it is shown
	data []byte
	crlf bool // the lines of the file end so, and those of data do not
	root *yaml.Node
}

// stepKey is the id of a step: with the number of an item, as collect[2], and
// behind that of the step that calls its playbook, as check/look.
var stepKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}(\[\d+\])?(/[a-z][a-z0-9_]{0,39}(\[\d+\])?)*$`)

// stepEnds are the words for how a step ends.
var stepEnds = []string{"executed", "verified", "observed", "skipped", "failed", "expired", "refused", "cancelled", "unknown", "none"}

// parse reads a test file, and reports every mistake in it.
func parse(name string, data []byte) (*document, registry.Problems) {
	// The YAML parser loses comments that end with a carriage return.
	unix := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	root, problems := registry.Parse(name, unix)
	if problems != nil {
		return nil, problems
	}
	d := &document{name: name, data: unix, crlf: len(unix) < len(data), root: root}
	problems = registry.Decode(name, root, &d.File)
	if len(problems) == 0 {
		problems = d.check()
	}
	if err := problems.Err(); err != nil { // sorts
		return nil, problems
	}
	return d, nil
}

// check looks for what types cannot show.
func (d *document) check() (problems registry.Problems) {
	if len(d.Tests) == 0 {
		problems.Addf(d.at("tests"), "missing", "", "there is no test here")
	}
	problems = append(problems, d.checkGiven(d.Given, "given")...)
	names := map[string]bool{}
	for i := range d.Tests {
		c := &d.Tests[i]
		if strings.TrimSpace(c.Name) == "" {
			problems.Addf(d.at("tests", i, "name"), "empty", "say in words what is tested", "the test has no name")
		} else if names[c.Name] {
			problems.Addf(d.at("tests", i, "name"), "repeated-name", "", "two tests have the name %q", c.Name)
		}
		names[c.Name] = true
		for j, b := range c.Before {
			if b.Ago <= 0 {
				problems.Addf(d.at("tests", i, "before", j), "range", "such as ago: 5m", "what happened before must say how long ago")
			}
		}
		for j, a := range c.After {
			if a.In <= 0 {
				problems.Addf(d.at("tests", i, "after", j), "range", "such as in: 5m", "what happens later must say how long after")
			}
		}
		problems = append(problems, d.checkGiven(c.Given, "tests", i, "given")...)
		if c.Expect.Verdict != "match" && c.Expect.Outcome != "" {
			problems.Addf(d.at("tests", i, "expect", "outcome"), "outcome", "", "there is no run, and so no outcome, without a match")
		}
		for _, id := range sortedKeys(c.Expect.Steps) {
			if state := c.Expect.Steps[id]; !slices.Contains(stepEnds, state) {
				problems = append(problems, registry.Unknown(d.at("tests", i, "expect", "steps", id), "state", state, stepEnds))
			}
		}
	}
	return problems
}

func (d *document) checkGiven(given []Given, path ...any) (problems registry.Problems) {
	for i, g := range given {
		at := d.at(append(path[:len(path):len(path)], i)...)
		switch {
		case g.Step == "" && g.Do == "":
			problems.Addf(at, "missing", "", "name the step or the action that this answers")
		case g.Step != "" && !stepKey.MatchString(g.Step):
			problems.Addf(at, "name", "", "%q is no name of a step", g.Step)
		case g.Approval == "" && (g.By != "" || g.Reason != ""):
			problems.Addf(at, "missing", "such as approval: granted", "by and reason say who answers, and there is no answer")
		case g.Approval != "" && (g.State != "executed" || g.Output != nil || g.Error != "" || g.Summary != "" || g.Target != ""):
			problems.Addf(at, "foreign-key", "write two answers: one of people, one of the action", "an answer of people has by, reason and after, and nothing of what the action returns")
		case g.Times < 0:
			problems.Addf(at, "range", "", "it cannot answer %d calls", g.Times)
		}
	}
	return problems
}

// fixtures are the alerts that the file names or holds.
func (d *document) fixtures() []*Fixture {
	all := []*Fixture{&d.Alert}
	for i := range d.Tests {
		c := &d.Tests[i]
		all = append(all, &c.Alert)
		for j := range c.Before {
			all = append(all, &c.Before[j].Alert)
		}
		for j := range c.After {
			all = append(all, &c.After[j].Alert)
		}
	}
	return all
}

// AlertFiles are the files that a test file names as alerts, relative to it.
func AlertFiles(data []byte) (names []string) {
	root, problems := registry.Parse("", data)
	if problems != nil {
		return nil
	}
	d := &document{root: root}
	_ = registry.Decode("", root, &d.File) // what has mistakes names none
	for _, f := range d.fixtures() {
		if f.Path != "" {
			names = append(names, f.Path)
		}
	}
	return names
}

// node finds a place in the file: names of keys, and numbers of items. Where the
// path ends too early, it is the last node on it.
func (d *document) node(path ...any) *yaml.Node {
	n := d.root
	for _, part := range path {
		next := under(n, part)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

func under(n *yaml.Node, part any) *yaml.Node {
	switch part := part.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && part < len(n.Content) {
			return n.Content[part]
		}
	case string:
		if n.Kind == yaml.MappingNode {
			for key, value := range registry.Pairs(n) {
				if key.Value == part {
					return value
				}
			}
		}
	default:
		panic(fmt.Sprintf("playtest: %T in a path", part))
	}
	return nil
}

func (d *document) at(path ...any) registry.Position { return registry.At(d.name, d.node(path...)) }
