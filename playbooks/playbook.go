package playbooks

import (
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Playbook is a playbook as it was read; it never changes afterwards. The zero
// value is of no use: LoadDir and LoadFS make playbooks.
type Playbook struct {
	Name        string
	Description string
	Attack      []string // MITRE ATT&CK techniques that it answers: T1490
	Mode        soar.Mode
	On          []string // pending words that it takes: alert, alert.updated
	File        string
	Hash        string // of Source; names the version
	Source      []byte

	match    *matcher
	enrich   []*enrichment
	vars     map[string]any
	cooldown *cooldownRule
	// program holds all steps in order; those of an on_error block stand right
	// after the step that they belong to.
	program []*step
	// hostFrom tells what of it needs the host record.
	matchNeedsHost, stepsNeedHost bool
}

// step is one step of the program. A run's PC is an index into it.
type step struct {
	id      string
	index   int
	do      string
	action  Action
	spec    Spec
	cond    *expr // nil: always
	with    *template
	timeout time.Duration
	retry   retryRule
	// next is where the run goes on after success, failed after a failure; -1
	// ends the run as failed. handler marks a step of an on_error block, after
	// whose last step the run ends as failed too.
	next, failed int
	handler      bool
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
	ttl    time.Duration
	onHost bool // with refers to .host
}

// endFailed as step.next or step.failed ends the run as failed.
const endFailed = -1

// StepInfo describes a step for people.
type StepInfo struct {
	ID      string        `json:"id"`
	Action  string        `json:"action"`
	Effect  Effect        `json:"effect"`
	Timeout time.Duration `json:"timeout_ns"`
	OnError bool          `json:"on_error,omitempty"` // it belongs to an on_error block
}

// Steps lists the steps in the order of the file, those of on_error blocks
// after the step that they belong to.
func (p *Playbook) Steps() []StepInfo {
	infos := make([]StepInfo, len(p.program))
	for i, s := range p.program {
		infos[i] = StepInfo{s.id, s.do, s.spec.Effect, s.timeout, s.handler}
	}
	return infos
}

// Takes reports whether the playbook looks at alerts pending as word: alert or
// alert.updated.
func (p *Playbook) Takes(word string) bool { return slices.Contains(p.On, word) }

func (p *Playbook) version() soar.PlaybookVersion {
	return soar.PlaybookVersion{Hash: p.Hash, Name: p.Name, Source: p.Source}
}

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
