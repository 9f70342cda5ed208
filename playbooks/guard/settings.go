package guard

import (
	"errors"
	"fmt"
	"slices"
)

// Settings are the section guard of the configuration. The zero value has no rule of
// its own; what is built in holds all the same.
type Settings struct {
	// Protected are rules that keep calls away from hosts, whatever a playbook says.
	// Protected without any rule: the Endpoint Response server, the machine erbridge runs
	// on, and every host of which nothing is known.
	Protected []Protection `yaml:"protected"`

	// Hosts are groups of hosts, and how far calls on them may go.
	Hosts []Group `yaml:"hosts"`

	// Everywhere are the actions that may act on all hosts at once, protected ones among
	// them, as ioc.* does. No other such action is sent.
	Everywhere []string `yaml:"everywhere"`

	// Limits bound how often calls are sent and how many are under way at the same time.
	// What is above them waits. One is built in, called jobs: 50 calls of jobs over many hosts
	// at the same time, those that only read included. A limit of that name changes its
	// numbers, and with actions, kinds or playbooks, it counts those calls as well.
	Limits []Limit `yaml:"limits"`

	// Budgets bound on how many different hosts calls act. What is above them is refused,
	// and so is everything after it until a person has looked (erbridge budget rearm). One is
	// built in, called destructive: 10 hosts within 1h and no more than 5% of the fleet, but
	// 3 hosts in any case, for containment, deactivation, stopping processes, deleting
	// files, scripts and live response. A budget of that name changes its numbers.
	Budgets []Budget `yaml:"budgets"`

	// Freezes are times in which nothing is changed.
	Freezes []Freeze `yaml:"freezes"`

	// Approvers are groups of people who may decide about calls, by a name of your own:
	// `{soc-leads: [ann, ben]}`. People are called as on this machine.
	Approvers map[string][]string `yaml:"approvers"`

	// Approval says who is asked before a call of a playbook in mode approve is sent.
	Approval ApprovalSettings `yaml:"approval"`

	// AnybodyDecides lets everybody decide, whoever is asked: for tests of playbooks, which
	// know of no groups.
	AnybodyDecides bool `yaml:"-"`

	// PauseFile is a file that pauses everything while it exists, as erbridge pause does:
	// for those who can reach the machine and have nothing else at hand. When it is
	// removed, what waits goes on, unless a person paused it as well.
	PauseFile string `yaml:"pause_file" path:"true"`
}

// Check looks for mistakes that the types cannot show. Its error joins mistakes, of
// type *Mistake.
func (s *Settings) Check() error {
	var wrong mistakes
	s.readRules(&wrong)
	s.checkApprovals(&wrong)
	s.checkLimits(&wrong)
	s.checkBudgets(&wrong)
	s.checkFreezes(&wrong)
	return errors.Join(wrong...)
}

// Mistake is one mistake in the settings.
type Mistake struct {
	Path  []string // below guard: protected, 0, match, networks, 1
	Words string
	Hint  string
}

func (m *Mistake) Error() string {
	text := ""
	for _, part := range m.Path {
		text += part + ": "
	}
	return text + m.Words
}

type mistakes []error

func (m *mistakes) addf(path []string, hint, format string, args ...any) {
	*m = append(*m, &Mistake{slices.Clone(path), fmt.Sprintf(format, args...), hint})
}
