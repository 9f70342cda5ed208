package playtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// Result is what came of one test.
type Result struct {
	registry.Position
	Name     string
	Failures []Failure
	// Explanation is what explain says at the moment when the alert came in, or what
	// else it was happened.
	Explanation *playbooks.Explanation
	Took        time.Duration

	play     *play
	got      *happened
	lacking  bool // an answer is missing
	complete bool // Update adds what the test does not look at
}

// Failure is one thing that is not as the test expects it.
type Failure struct {
	registry.Position
	Message string `json:"message"`
	// Fields tells the differences, where something is there and looks otherwise.
	Fields []Difference `json:"fields,omitempty"`
	Hint   string       `json:"hint,omitempty"`

	expectation bool // Update can rewrite what it is about
}

// Difference is one field that is not as expected. A value that is not there is "".
type Difference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// splitVerdict reads a verdict of the journal.
func splitVerdict(text string) (verdict, words string) {
	switch verdict, words, _ = strings.Cut(text, ": "); verdict {
	case "":
		return "no match", ""
	case "match", "error", "suppressed", "grouped":
		return verdict, words
	}
	return text, ""
}

// checker compares what happened with what a test expects.
type checker struct {
	*Result
	*play
	want *Expect
}

// check fills the failures of a result.
func (p *play) check(r *Result, o *outside, noEnd error) {
	c := &checker{r, p, &p.test().Expect}
	c.missing(o)
	c.unasked(o)
	c.verdict()
	c.run(noEnd)
	c.calls()
	c.steps()
	c.unused(o)
	slices.SortStableFunc(r.Failures, func(a, b Failure) int { return a.Line - b.Line })
}

func (c *checker) fail(message string, path ...any) *Failure {
	at := c.doc.at(append([]any{"tests", c.index}, path...)...)
	expectation := len(path) > 0 && path[0] == "expect"
	c.Failures = append(c.Failures, Failure{Position: at, Message: message, expectation: expectation})
	return &c.Failures[len(c.Failures)-1]
}

func (c *checker) differ(what, want, got string, path ...any) {
	c.fail(what+" is another", path...).Fields = []Difference{{what, want, got}}
}

// missing reports calls that would have left the process.
func (c *checker) missing(o *outside) {
	for _, m := range o.missing {
		who := "enrichment"
		given := "{do: " + m.Do + ", output: ...}"
		if m.Step != "" {
			who, given = "step "+m.Step, "{step: "+inFlow(m.Step)+", state: executed}"
		}
		c.lacking = true
		message := fmt.Sprintf("%s calls %s with %s, and the test gives no answer", who, m.Do, inJSON(m.With))
		if !slices.ContainsFunc(c.Failures, func(f Failure) bool { return f.Message == message }) {
			c.fail(message).Hint = "given: [" + given + "]"
		}
	}
}

func (c *checker) verdict() {
	if c.want.Verdict != c.got.verdict {
		f := c.fail("the verdict is another", "expect", "verdict")
		f.Fields = []Difference{{"verdict", c.want.Verdict, withWords(c.got.verdict, c.got.words)}}
	} else if against := c.against(); c.want.Reason != "" && !slices.Contains(against, c.want.Reason) {
		c.differ("reason", c.want.Reason, strings.Join(against, "; "), "expect", "reason")
	}
	// One evaluator serves them all: where they differ, it is our mistake.
	said := string(c.Explanation.Verdict)
	heldBack := c.got.verdict == "suppressed" || c.got.verdict == "grouped" || strings.HasPrefix(c.got.words, "cooldown.") || strings.HasPrefix(c.got.words, "group.")
	if said != c.got.verdict && (said != "match" || !heldBack) {
		c.fail(fmt.Sprintf("explain says %s, and the engine %s: this is a defect of erbridge", said, withWords(c.got.verdict, c.got.words)))
	}
	if c.want.Error != "" {
		words := c.got.words
		if c.got.run != nil {
			words = c.got.run.Error
		}
		if !strings.Contains(words, c.want.Error) {
			c.differ("error", c.want.Error, words, "expect", "error")
		}
	}
}

func withWords(word, words string) string { return strings.TrimSuffix(word+": "+words, ": ") }

// against are the conditions that stand against a match: those that fail, when the
// verdict is error, and else those that do not hold in a block that does not hold.
func (c *checker) against() []string { return against(c.got.verdict, c.Explanation.Conditions) }

func against(verdict string, conditions []playbooks.Condition) (names []string) {
	anyHolds := slices.ContainsFunc(conditions, func(one playbooks.Condition) bool { return one.Block == playbooks.Any && one.Holds() })
	for i := range conditions {
		one := &conditions[i]
		switch failed := one.Verdict == playbooks.Failed; {
		case one.Holds(), one.Block == playbooks.Any && anyHolds, verdict == "match", verdict == "suppressed", verdict == "grouped", verdict == "error" != failed:
		default:
			names = append(names, one.Name)
		}
	}
	return names
}

func (c *checker) run(noEnd error) {
	if noEnd != nil {
		c.fail(noEnd.Error())
	}
	got, words := "no run", ""
	if run := c.got.run; run != nil {
		got, words = string(run.State), run.Error
	}
	if c.want.Outcome != "" && c.want.Outcome != got {
		c.differ("outcome", c.want.Outcome, withWords(got, words), "expect", "outcome")
	}
}

// calls compares the calls one by one.
func (c *checker) calls() {
	if c.want.Actions == nil {
		return
	}
	want, got := *c.want.Actions, c.got.actions
	for i := range min(len(want), len(got)) {
		if fields := differences(&want[i], &got[i]); len(fields) > 0 {
			c.fail(fmt.Sprintf("call %d is another", i+1), "expect", "actions", i).Fields = fields
		}
	}
	for i := len(got); i < len(want); i++ {
		f := c.fail(fmt.Sprintf("call %d of %s is not made", i+1, want[i].Do), "expect", "actions", i)
		if c.got.run != nil && c.got.run.Error != "" {
			f.Hint = "the run failed: " + c.got.run.Error
		}
	}
	for _, more := range got[min(len(want), len(got)):] {
		c.fail(fmt.Sprintf("step %s calls %s with %s, which is not expected", more.Step, more.Do, inJSON(more.With)), "expect", "actions")
	}
}

func differences(want *ExpectedAction, got *Call) (fields []Difference) {
	if want.Do != got.Do {
		fields = append(fields, Difference{"do", want.Do, got.Do})
	}
	if want.Step != "" && !isStep(got.Step, want.Step) {
		fields = append(fields, Difference{"step", want.Step, got.Step})
	}
	for _, name := range sortedKeys(want.With) {
		fields = append(fields, valueDifferences("with."+name, want.With[name], got.With[name])...)
	}
	return fields
}

// valueDifferences goes down to the values that differ.
func valueDifferences(field string, want, got any) (fields []Difference) {
	if reflect.DeepEqual(want, got) {
		return nil
	}
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			names := append(sortedKeys(want), sortedKeys(got)...)
			slices.Sort(names)
			for _, name := range slices.Compact(names) {
				fields = append(fields, valueDifferences(field+"."+name, want[name], got[name])...)
			}
			return fields
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			for i := range want {
				fields = append(fields, valueDifferences(fmt.Sprintf("%s[%d]", field, i), want[i], got[i])...)
			}
			return fields
		}
	}
	return []Difference{{field, inJSON(want), inJSON(got)}}
}

func (c *checker) steps() {
	for _, id := range sortedKeys(c.want.Steps) {
		if got := cmp.Or(c.got.steps[id], "none"); got != c.want.Steps[id] {
			c.differ("step "+id, c.want.Steps[id], withWords(got, c.got.reasons[id]), "expect", "steps", id)
		}
	}
}

// unused reports answers that nobody asked for: a test that gives them is about
// something else than it says.
func (c *checker) unused(o *outside) {
	i := 0
	for _, g := range o.given {
		if !g.own {
			continue
		}
		if g.used == 0 {
			c.fail(fmt.Sprintf("nothing asks for the answer %d that the test gives", i+1), "given", i)
		}
		i++
	}
}

// inFlow is the name of a step as it stands between braces, where [ has a meaning.
func inFlow(step string) string {
	if strings.ContainsRune(step, '[') {
		return strconv.Quote(step)
	}
	return step
}

// inJSON writes a value; nothing for one that is not there.
func inJSON(v any) string {
	if v == nil {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // > is to be read as it is
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
