package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Verdict is what a condition or a whole match says of an alert.
type Verdict string

// The verdicts. Failed is an expression that could not be evaluated: it is never
// taken for NoMatch.
const (
	Match   Verdict = "match"
	NoMatch Verdict = "no match"
	Failed  Verdict = "error"
)

// Block is the word under which a condition stands.
type Block string

// The blocks of match. All: every condition is true. Any: at least one is. None:
// no one is. All that stand in a playbook must hold.
const (
	All  Block = "all"
	Any  Block = "any"
	None Block = "none"
)

// Condition is the result of one named condition.
type Condition struct {
	Block      Block  `json:"block"`
	Name       string `json:"name"`
	Expression string `json:"expression"`
	// Verdict is what the expression itself says, before none turns it around.
	Verdict Verdict `json:"verdict"`
	Value   any     `json:"value,omitempty"`
	// Reads are the fields that the expression surely reads, and what they hold. Only
	// an explanation tells them.
	Reads map[string]any `json:"reads,omitempty"`
	Error string         `json:"error,omitempty"`
}

// Holds reports whether the condition speaks for a match.
func (c *Condition) Holds() bool {
	if c.Block == None {
		return c.Verdict == NoMatch
	}
	return c.Verdict == Match
}

type condition struct {
	block Block
	name  string
	expr  *expr
	// enrich names the enrichments that it reads; host is the host record.
	enrich []string
	host   bool
	count  bool // it reads .count
	// errorsToo is set when it looks at .enrich_errors or .enrich_status and so copes
	// with the absence of values by itself.
	errorsToo bool
}

type matcher struct {
	conditions []*condition
}

var errNotYet = errors.New("not evaluated yet")

// combine is the three-valued logic of a match. An error counts only when the
// result depends on it: a false condition under all, a true one under none, or no
// true one under any decide against a match whatever the others say; a true one
// under any settles that block.
func combine(results []Condition) Verdict {
	total := Match
	worse := func(v Verdict) {
		if total == NoMatch || v == NoMatch {
			total = NoMatch
		} else if v == Failed {
			total = Failed
		}
	}
	anyBlock, seen := NoMatch, false
	for i := range results {
		c := &results[i]
		switch c.Block {
		case All:
			worse(c.Verdict)
		case None:
			worse(negate(c.Verdict))
		case Any:
			seen = true
			if c.Verdict == Match || anyBlock == NoMatch {
				anyBlock = c.Verdict
			}
		}
	}
	if seen {
		worse(anyBlock)
	}
	return total
}

func negate(v Verdict) Verdict {
	switch v {
	case Match:
		return NoMatch
	case NoMatch:
		return Match
	}
	return v
}

// firstError is the text of the failed conditions that decided the verdict: not of
// those under any, when another one of them is true.
func firstError(results []Condition) string {
	settled := slices.ContainsFunc(results, func(c Condition) bool { return c.Block == Any && c.Verdict == Match })
	for i := range results {
		if c := &results[i]; c.Verdict == Failed && (c.Block != Any || !settled) {
			return fmt.Sprintf("%s: %s", c.Name, c.Error)
		}
	}
	return ""
}

// missing names an enrichment that the condition reads and that has no value.
func (c *condition) missing(in *input) string {
	if c.errorsToo {
		return ""
	}
	failures, _ := in.object["enrich_errors"].(map[string]any)
	for _, name := range c.enrich {
		if why, failed := failures[name]; failed {
			return fmt.Sprintf("enrichment %s failed: %v", name, why)
		}
	}
	if why, failed := failures["host"]; failed && c.host {
		return fmt.Sprintf("the host record could not be read: %v", why)
	}
	if why, failed := failures[countName]; failed && c.count {
		return fmt.Sprintf("like alerts could not be counted: %v", why)
	}
	return ""
}

// cheap reports whether the condition can be evaluated from the alert alone.
func (c *condition) cheap() bool { return !c.looksUp() && !c.count }

// looksUp reports whether the condition needs what reading actions return.
func (c *condition) looksUp() bool { return len(c.enrich) > 0 || c.host }

// evaluate runs the conditions that ready accepts; the others are left failed with
// errNotYet. Values are kept when keep is set.
func (m *matcher) evaluate(ctx context.Context, in *input, results []Condition, ready func(*condition) bool, keep bool) []Condition {
	if results == nil {
		results = make([]Condition, len(m.conditions))
		for i, c := range m.conditions {
			results[i] = Condition{Block: c.block, Name: c.name, Expression: c.expr.String(), Verdict: Failed, Error: errNotYet.Error()}
		}
	}
	for i, c := range m.conditions {
		if !ready(c) {
			continue
		}
		r := &results[i]
		r.Error = ""
		if why := c.missing(in); why != "" {
			r.Verdict, r.Error = Failed, why
			continue
		}
		value, err := c.expr.value(ctx, in)
		switch {
		case err != nil:
			r.Verdict, r.Error = Failed, err.Error()
		case value != nil && value != false:
			r.Verdict = Match
		default:
			r.Verdict = NoMatch
		}
		if keep {
			r.Value = value
		}
		if !keep && !r.Holds() && r.Verdict != Failed && c.block != Any {
			return results // decided: whatever the others say, it is no match
		}
	}
	return results
}

// needs reports what the conditions that are not yet evaluated read.
func (m *matcher) needs() (host bool, enrich []string) {
	for _, c := range m.conditions {
		host = host || c.host
		for _, name := range c.enrich {
			if !slices.Contains(enrich, name) {
				enrich = append(enrich, name)
			}
		}
	}
	return host, enrich
}
