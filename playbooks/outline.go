package playbooks

import (
	"cmp"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
)

// Outline is what a playbook consists of, for drawing it.
type Outline struct {
	Playbook   string
	On         []string
	Schedule   string // when it is due: every 6h, or a cron expression and its time zone; empty: never
	Conditions []ConditionInfo
	Enrich     []EnrichInfo
	// Cooldown, Group and Count are how long each of them reaches; zero: there is none.
	Cooldown, Group, Count time.Duration

	Steps   []OutlineStep
	Finally []OutlineStep
}

// ConditionInfo describes a condition for people.
type ConditionInfo struct {
	Block      Block
	Name       string
	Expression string
}

// EnrichInfo describes an enrichment for people.
type EnrichInfo struct {
	Name, Action string
}

// OutlineStep is a step with those that stand inside it.
type OutlineStep struct {
	StepInfo
	If          string // the expression, or empty
	Attempts    int
	MaxParallel int  // items of a for_each at the same time
	Bounded     bool // it has a Timeout of its own
	CarryOn     bool // on_error: continue
	Handlers    []OutlineStep
	Branches    [][]OutlineStep // of a parallel group
}

// Outline tells what the playbook consists of.
func (p *Playbook) Outline() *Outline {
	o := &Outline{Playbook: p.Name, On: p.On, Enrich: p.Enrichments(), Steps: outlines(p.steps), Finally: outlines(p.finally)}
	for _, c := range p.match.conditions {
		o.Conditions = append(o.Conditions, ConditionInfo{c.block, c.name, c.expr.String()})
	}
	if p.cooldown != nil {
		o.Cooldown = p.cooldown.dur
	}
	if p.group != nil {
		o.Group = p.group.window
	}
	if p.count != nil {
		o.Count = p.count.window
	}
	if p.schedule != nil {
		o.Schedule = p.schedule.String()
		if every, zone, _ := strings.Cut(o.Schedule, " "); zone != "" {
			if d, err := time.ParseDuration(every); err == nil && d > 0 {
				o.Schedule = "every " + registry.FormatDuration(d)
			}
		}
	}
	return o
}

// ReadsHost reports whether an expression of it looks at the host record, which is read
// as host.get reads it.
func (p *Playbook) ReadsHost() bool { return p.matchNeedsHost || p.keysNeedHost || p.stepsNeedHost }

// Enrichments lists what the playbook reads before it starts, in the order of the file.
func (p *Playbook) Enrichments() []EnrichInfo {
	infos := make([]EnrichInfo, len(p.enrich))
	for i, e := range p.enrich {
		infos[i] = EnrichInfo{e.name, e.do}
	}
	return infos
}

func outlines(steps []*step) (list []OutlineStep) {
	for _, s := range steps {
		o := OutlineStep{
			StepInfo: s.info(), Attempts: s.retry.attempts, MaxParallel: s.maxParallel, Bounded: s.action != nil && s.timeout != cmp.Or(s.spec.Timeout, defaultStepTimeout),
			CarryOn: s.carryOn, Handlers: outlines(s.handlers),
		}
		if s.cond != nil {
			o.If = s.cond.String()
		}
		for _, branch := range s.branches {
			o.Branches = append(o.Branches, outlines(branch))
		}
		list = append(list, o)
	}
	return list
}
