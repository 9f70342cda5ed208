package playbooks

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Waits tells of a step that waits before its call is sent, what it would send and
// until when it waits.
type Waits struct {
	Action string    `json:"action"`
	Host   string    `json:"host,omitempty"` // of several, the first one
	Until  time.Time `json:"until"`
}

// waits is what a step that waits would send.
func (r *runner) waits(i *instance, p *progress) *Waits {
	w := &Waits{Action: i.step.do, Until: p.since.Add(r.patience(i))}
	if hosts := targets(p.with); len(hosts) > 0 {
		w.Host = hosts[0]
	}
	return w
}

// HeldStep is a step that waits before its call is sent.
type HeldStep struct {
	Step string `json:"step"`
	Waits
	Since time.Time `json:"since"`
	Words string    `json:"waits_for"`
	// Check is what has it wait: a check of the guard, or ready for its host.
	Check string `json:"check"`
}

// HeldSteps finds in the journal of a run which of its steps wait before their calls
// are sent, in the order in which they began to.
func HeldSteps(entries []soar.Entry) []HeldStep {
	var held []HeldStep
	for _, entry := range entries {
		if entry.Step == "" {
			continue
		}
		at := slices.IndexFunc(held, func(h HeldStep) bool { return h.Step == entry.Step })
		var d Decision
		switch entry.Kind {
		case soar.EntryDecision:
			if json.Unmarshal(entry.Body, &d) != nil || len(d.Answers) == 0 {
				continue
			}
			if d.Waits == nil {
				if at >= 0 && d.Answers[len(d.Answers)-1].OK { // it goes out, and only reads: there is no intent
					held = slices.Delete(held, at, at+1)
				}
				continue
			}
			last := &d.Answers[len(d.Answers)-1]
			one := HeldStep{Step: entry.Step, Waits: *d.Waits, Since: d.Since, Words: last.Words, Check: last.Check}
			if at < 0 {
				held = append(held, one)
			} else {
				held[at] = one
			}
		case soar.EntryIntent, soar.EntrySent, soar.EntryResult:
			if at >= 0 {
				held = slices.Delete(held, at, at+1)
			}
		}
	}
	return held
}
