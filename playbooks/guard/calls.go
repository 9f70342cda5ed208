package guard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Calls says which calls a rule is about: those of the actions or kinds, as far as they
// belong to the playbooks.
type Calls struct {
	// Actions are names of actions: host.contain, process.*. Without actions and kinds,
	// the rule is about every call with an effect, messages to people aside: what is
	// carried out in observe mode too.
	Actions []string `yaml:"actions"`

	// Kinds are what actions work on at a host, such as containment, process or file.
	Kinds []string `yaml:"kinds"`

	// Playbooks are names of playbooks; a call belongs to the playbook whose step it is, and to
	// those that call it. Empty means all.
	Playbooks []string `yaml:"playbooks"`
}

// check looks for patterns that fit nothing.
func (c *Calls) check(at []string, wrong *mistakes) {
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"actions", c.Actions}, {"kinds", c.Kinds}, {"playbooks", c.Playbooks}} {
		checkNames(at, list.name, list.patterns, wrong)
	}
}

func checkNames(at []string, setting string, patterns []string, wrong *mistakes) {
	for i, p := range patterns {
		if strings.TrimSpace(p) == "" {
			wrong.addf(append(slices.Clone(at), setting, fmt.Sprint(i)), "* stands for any characters", "an empty name fits nothing")
		}
	}
}

// which is Calls, made ready.
type which struct {
	actions, kinds, playbooks nameList

	reads bool       // calls that only read count too
	jobs  bool       // calls of jobs count, whatever else is said
	job   soar.RunID // only those of this job; 0: see above
}

func (c *Calls) ready() which {
	return which{actions: nameList{patterns: c.Actions}, kinds: nameList{patterns: c.Kinds}, playbooks: nameList{patterns: c.Playbooks}}
}

// holds reports whether the rule is about a call.
func (w *which) holds(s *subject) bool {
	switch {
	case w.job != 0:
		return s.Job == w.job
	case w.jobs && s.Job != 0:
		return true
	case w.jobs && len(w.actions.patterns)+len(w.kinds.patterns)+len(w.playbooks.patterns) == 0:
		return false
	case s.Reads && !w.reads:
		return false
	case len(w.actions.patterns)+len(w.kinds.patterns) == 0:
		if s.Always {
			return false
		}
	case !w.actions.has(s.Action) && (s.Kind == "" || !w.kinds.has(s.Kind)):
		return false
	}
	return len(w.playbooks.patterns) == 0 || slices.ContainsFunc(s.Playbooks, w.playbooks.has)
}

func (w *which) String() string {
	text := "all calls"
	if list := slices.Concat(w.actions.patterns, w.kinds.patterns); len(list) > 0 {
		text = "calls of " + strings.Join(list, ", ")
	}
	if len(w.playbooks.patterns) > 0 {
		text += " by " + strings.Join(w.playbooks.patterns, ", ")
	}
	return text
}

// subject is what rules look at in a call, and what is kept of it to look at later.
type subject struct {
	Action    string   `json:"action"`
	Kind      string   `json:"kind,omitempty"`
	Sense     string   `json:"sense,omitempty"`
	Always    bool     `json:"always,omitempty"`
	Playbooks []string `json:"playbooks"` // that of the run first

	Reads bool       `json:"reads,omitempty"`
	Job   soar.RunID `json:"job,omitempty"`
}

func (r *Request) subject() *subject {
	s := &subject{Action: r.Action, Kind: r.Kind, Sense: r.Sense, Always: r.Always, Playbooks: r.Chain}
	if len(s.Playbooks) == 0 {
		s.Playbooks = []string{r.Playbook}
	}
	if s.Reads = r.Reads; r.Job != nil {
		s.Job = r.Job.ID
	}
	return s
}

// nameList are patterns of names. What each name came to is remembered: there are few.
type nameList struct {
	patterns []string
	seen     map[string]bool
}

// maxSeen bounds what is remembered; playbooks that were renamed stay until then.
const maxSeen = 4096

func (l *nameList) has(name string) bool {
	is, ok := l.seen[name]
	if !ok {
		if l.seen == nil || len(l.seen) >= maxSeen {
			l.seen = map[string]bool{}
		}
		is = slices.ContainsFunc(l.patterns, func(p string) bool { return fits(p, name) })
		l.seen[name] = is
	}
	return is
}
