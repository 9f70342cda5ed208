package playbooks

import "time"

// Outline is what a playbook consists of, for drawing it.
type Outline struct {
	Playbook   string
	On         []string
	Conditions []ConditionInfo
	Enrich     []EnrichInfo
	Cooldown   time.Duration // zero: none
	Steps      []OutlineStep
	Finally    []OutlineStep
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
	If       string // the expression, or empty
	Attempts int
	CarryOn  bool // on_error: continue
	Handlers []OutlineStep
	Branches [][]OutlineStep // of a parallel group
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
	return o
}

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
		o := OutlineStep{StepInfo: s.info(), Attempts: s.retry.attempts, CarryOn: s.carryOn, Handlers: outlines(s.handlers)}
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
