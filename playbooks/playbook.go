package playbooks

import (
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
)

// Playbook is a playbook as it was read; it never changes afterwards. The zero
// value is of no use: LoadDir and LoadFS make playbooks.
type Playbook struct {
	Name        string
	Description string
	Attack      []string // MITRE ATT&CK techniques that it answers: T1490
	Mode        soar.Mode
	On          []string // what it takes: alert, alert.updated, run.failed, schedule, manual
	File        string
	Hash        string // of Source; names the version
	// Source is the text of the file and, where lists stand in files of their own, what
	// those held, as a second YAML document. ParseWithClock reads it.
	Source []byte

	match    *matcher
	enrich   []*enrichment
	vars     map[string]any
	lists    namedLists
	cooldown *cooldownRule
	group    *groupRule
	count    *countRule
	schedule *schedule.Times // nil: none
	steps    []*step
	finally  []*step
	// program holds all steps in the order of the file: those inside a step stand
	// right after it.
	program []*step
	// calls are the steps that call another playbook, and called holds those, by
	// name, as far as they were loaded with this one.
	calls  []*step
	called map[string]*Playbook
	// What of it needs the host record; keys are those of cooldown and group.
	matchNeedsHost, keysNeedHost, stepsNeedHost bool
}

// step is one step of a playbook: it does an action, calls a playbook, or is a
// parallel group of other steps.
type step struct {
	id      string
	index   int // in the program
	at      registry.Position
	do      string
	action  Action
	spec    Spec
	cond    *expr // nil: always
	with    *template
	timeout time.Duration
	retry   retryRule

	forEach     *expr // nil: once
	maxParallel int
	branches    [][]*step     // of a parallel group
	call        registry.Text // the name of a playbook
	withPlaces  map[string]registry.Position

	// carryOn lets the run go on after a failure. handlers are the steps of on_error.
	carryOn  bool
	handlers []*step

	wait     *time.Duration // how long it may wait to be sent; nil: as the engine says
	trusting bool           // what cannot be verified counts as executed

	// Where it stands: in an on_error block, under finally, in these branches.
	handler, last bool
	within        []branch
}

// branch is one of those of a parallel group.
type branch struct {
	group  *step
	number int
}

// word is what the step does, as its results say.
func (s *step) word() string {
	switch {
	case s.call.Value != "":
		return "call " + s.call.Value
	case s.branches != nil:
		return "parallel"
	}
	return s.do
}

type retryRule struct {
	attempts int // how often in all; at least 1
	delay    time.Duration
	failed   bool // certain failures too, not only calls that did not happen
}

type cooldownRule struct {
	key *expr
	dur time.Duration
}

type enrichment struct {
	name   string
	do     string
	action Action
	with   *template
	life   lifetimes
	onHost bool // with refers to .host
}

// StepInfo describes a step for people.
type StepInfo struct {
	ID      string        `json:"id"`
	Action  string        `json:"action,omitempty"`
	Effect  Effect        `json:"effect,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	OnError bool          `json:"on_error,omitempty"` // it belongs to an on_error block
	Finally bool          `json:"finally,omitempty"`
	// ForEach is the expression whose items it is done for.
	ForEach  string `json:"for_each,omitempty"`
	Call     string `json:"call,omitempty"`     // the playbook that it calls
	Parallel int    `json:"parallel,omitempty"` // the number of its branches
	// Group is the parallel group that it stands in.
	Group string `json:"group,omitempty"`
}

func (s *step) info() StepInfo {
	info := StepInfo{
		ID: s.id, Action: s.do, Effect: s.spec.Effect, Timeout: s.timeout, OnError: s.handler, Finally: s.last,
		Call: s.call.Value, Parallel: len(s.branches),
	}
	if s.forEach != nil {
		info.ForEach = s.forEach.String()
	}
	if n := len(s.within); n > 0 {
		info.Group = s.within[n-1].group.id
	}
	return info
}

// Steps lists all steps in the order of the file; those inside a step come after it.
func (p *Playbook) Steps() []StepInfo {
	infos := make([]StepInfo, len(p.program))
	for i, s := range p.program {
		infos[i] = s.info()
	}
	return infos
}

// Takes reports whether word is among the triggers of the playbook: it looks at
// alerts pending as alert, at failed runs as run.failed.
func (p *Playbook) Takes(word string) bool { return slices.Contains(p.On, word) }

// Set is the playbooks of one loading, sorted by name. It never changes.
type Set struct {
	playbooks []*Playbook
}

// NewSet makes a set of playbooks that were loaded one by one.
func NewSet(playbooks ...*Playbook) *Set {
	sorted := slices.Clone(playbooks)
	slices.SortFunc(sorted, func(a, b *Playbook) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return &Set{sorted}
}

// Playbooks lists the playbooks by name.
func (s *Set) Playbooks() []*Playbook {
	if s == nil {
		return nil
	}
	return slices.Clone(s.playbooks)
}

// Get finds a playbook by name; nil when there is none.
func (s *Set) Get(name string) *Playbook {
	if s == nil {
		return nil
	}
	for _, p := range s.playbooks {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// taking lists the playbooks with a trigger.
func (s *Set) taking(word string) []*Playbook {
	var found []*Playbook
	for _, p := range s.playbooks {
		if p.Takes(word) {
			found = append(found, p)
		}
	}
	return found
}
