package guard

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Budget bounds on how many different hosts calls act within a time. The call that would
// go beyond it is refused, and the budget latches: everything it is about is refused until
// a person who gives a name has re-armed it. A host counts once, however often it is
// acted on. An action that acts on all hosts counts as the whole fleet.
//
// One budget is built in: see builtIn.
type Budget struct {
	// Name is what answers call it, and erbridge budget rearm.
	Name string `yaml:"name" required:"true"`

	Calls `yaml:",inline"`

	// Per counts the calls of each playbook by itself, or those of each action. A playbook
	// that is called counts for the one that began the run. Empty or all counts all
	// together.
	Per string `yaml:"per" enum:"all,playbook,action"`

	// Hosts is how many different hosts there may be within the window.
	Hosts int `yaml:"hosts"`

	// Share is a part of the fleet, as 5%. Of hosts and share, the smaller counts. While
	// nobody knows how large the fleet is, hosts alone counts, or at_least where there is
	// no hosts.
	Share string `yaml:"share"`

	// AtLeast is how many hosts a share comes to at least, so that something can be done
	// in a small fleet; 0 means 1. It does not go beyond hosts.
	AtLeast int `yaml:"at_least"`

	// Window is the time it is about; 0s means 1h.
	Window time.Duration `yaml:"window"`
}

// BuiltInBudget is the name of the budget that there always is.
const BuiltInBudget = "destructive"

// builtIn is the budget that there always is, for what takes something away from a host.
// Its numbers are those of a bad day that people still look after one by one: ten hosts,
// fewer in a small fleet, and three in the smallest. A budget of its name changes them.
func builtIn() Budget {
	return Budget{
		Name: BuiltInBudget,
		Calls: Calls{
			Actions: []string{"host.contain", "host.deactivate", "process.kill*", "file.delete*", "script.run*", "live.response*"},
			Kinds:   []string{"containment", "process", "file"},
		},
		Hosts: 10, Share: "5%", AtLeast: 3, Window: time.Hour,
	}
}

// The values of Budget.Per.
const (
	perAll      = "all"
	perPlaybook = "playbook"
	perAction   = "action"
)

const (
	defaultWindow = time.Hour
	maxWindow     = 31 * 24 * time.Hour
	maxHosts      = 1_000_000
)

// checkBudgets looks for mistakes in the budgets.
func (s *Settings) checkBudgets(wrong *mistakes) {
	seen := map[string]bool{}
	for i := range s.Budgets {
		b, at := &s.Budgets[i], []string{"budgets", fmt.Sprint(i)}
		below := func(name string) []string { return append(slices.Clone(at), name) }
		switch {
		case strings.TrimSpace(b.Name) == "" || strings.ContainsAny(b.Name, "/ "):
			wrong.addf(below("name"), "one word, such as containment", "%q cannot be the name of a budget", b.Name)
		case seen[b.Name]:
			wrong.addf(below("name"), "", "there are two budgets %q", b.Name)
		}
		seen[b.Name] = true
		if b.Name == BuiltInBudget && len(b.Actions)+len(b.Kinds)+len(b.Playbooks) > 0 {
			wrong.addf(at, "leave actions, kinds and playbooks out, or give another budget another name", "what the budget %s is about is built in", b.Name)
		}
		if b.Name != BuiltInBudget && b.Hosts == 0 && b.Share == "" {
			wrong.addf(at, "give it hosts, a share as 5%, or both", "the budget bounds nothing")
		}
		if b.Hosts < 0 || b.Hosts > maxHosts {
			wrong.addf(below("hosts"), "", "hosts is %d, and must be from 1 to %d", b.Hosts, maxHosts)
		}
		if _, err := readShare(b.Share); b.Share != "" && err != nil {
			wrong.addf(below("share"), "such as 5% or 0.5%", "%v", err)
		}
		if b.AtLeast < 0 || b.AtLeast > maxHosts {
			wrong.addf(below("at_least"), "", "at_least is %d, and must be from 1 to %d", b.AtLeast, maxHosts)
		}
		if b.Window < 0 || b.Window > maxWindow {
			wrong.addf(below("window"), "", "window is %s, and must be from 1s to %s", registry.FormatDuration(b.Window), registry.FormatDuration(maxWindow))
		}
		b.Calls.check(at, wrong)
	}
}

// budget is a Budget, made ready.
type budget struct {
	Budget
	which   which
	share   float64 // 0: none
	builtIn bool
}

// readyBudgets makes budgets ready; the built-in one comes first.
func readyBudgets(list []Budget) []*budget {
	first := builtIn()
	all := []*budget{nil}
	for _, b := range list {
		if b.Name != BuiltInBudget {
			all = append(all, readyBudget(b))
			continue
		}
		first.Hosts, first.Share = cmp.Or(b.Hosts, first.Hosts), cmp.Or(b.Share, first.Share)
		first.AtLeast, first.Window, first.Per = cmp.Or(b.AtLeast, first.AtLeast), cmp.Or(b.Window, first.Window), b.Per
	}
	all[0] = readyBudget(first)
	all[0].builtIn = true
	return all
}

func readyBudget(b Budget) *budget {
	b.Window, b.Per = cmp.Or(b.Window, defaultWindow), cmp.Or(b.Per, perAll)
	share, _ := readShare(b.Share) // Check found no mistake
	return &budget{Budget: b, which: b.ready(), share: share}
}

// holds reports whether the budget is about a call. Taking a host out of containment
// gives it something back.
func (b *budget) holds(s *subject) bool {
	return b.which.holds(s) && (!b.builtIn || s.Sense != "release")
}

// of is what the call counts for, where the budget counts by something.
func (b *budget) of(s *subject) string {
	switch b.Per {
	case perPlaybook:
		return s.Playbooks[0]
	case perAction:
		return s.Action
	}
	return ""
}

// limit is how many hosts there may be, in a fleet of that size; 0: nobody knows.
func (b *budget) limit(fleet int) int {
	least := max(b.AtLeast, 1)
	switch {
	case b.share == 0:
		return b.Hosts
	case fleet == 0 && b.Hosts > 0:
		return b.Hosts
	case fleet == 0:
		return least
	}
	n := max(least, int(b.share*float64(fleet)+1e-6)) // 7% of 100 is 7
	if b.Hosts > 0 {
		n = min(n, b.Hosts)
	}
	return n
}

// numbers is the limit in words.
func (b *budget) numbers(fleet int) string {
	n, window := b.limit(fleet), registry.FormatDuration(b.Window)
	switch {
	case b.share == 0:
		return fmt.Sprintf("%d within %s", n, window)
	case fleet == 0:
		return fmt.Sprintf("%d within %s; the %s of the fleet cannot be worked out before it is known how many hosts there are", n, window, b.Share)
	case n == b.Hosts:
		return fmt.Sprintf("%d within %s", n, window)
	}
	return fmt.Sprintf("%d within %s, for %s of %d hosts", n, window, b.Share, fleet)
}

// readShare reads a percentage.
func readShare(text string) (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	var percent float64
	if n, err := fmt.Sscanf(strings.TrimSpace(number)+" ", "%f ", &percent); !ok || n != 1 || err != nil || !(percent > 0 && percent <= 100) {
		return 0, fmt.Errorf("%q is not a share above 0%% and up to 100%%", text)
	}
	return percent / 100, nil
}

// ErrNotLatched means that there is nothing to re-arm.
var ErrNotLatched = errors.New("the budget is not latched")

// Latch says when and by what a budget was tripped.
type Latch struct {
	Budget   string     `json:"budget"`
	For      string     `json:"for,omitempty"` // the playbook or action it counts by
	At       time.Time  `json:"at"`
	Run      soar.RunID `json:"run"`
	Step     string     `json:"step"`
	Playbook string     `json:"playbook"`
	Action   string     `json:"action"`
	Hosts    []string   `json:"hosts"` // on which the call would have acted
	Used     int        `json:"used"`
	Limit    int        `json:"limit"`
	Words    string     `json:"words"`

	kept bool // in the journal
	held bool // in a commit under way
}

// Rearmed says who re-armed a budget.
type Rearmed struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// BudgetStatus is how far a budget is used.
type BudgetStatus struct {
	Name    string `json:"name"`
	For     string `json:"for,omitempty"` // the playbook or action it counts by
	BuiltIn bool   `json:"built_in,omitempty"`
	About   string `json:"about"`
	Used    int    `json:"used"`
	Limit   int    `json:"limit"`
	Window  string `json:"window"`
	Fleet   int    `json:"fleet,omitempty"` // 0: not known
	Share   string `json:"share,omitempty"`
	// Hosts are those that count, the one acted on last at the end. * stands for all.
	Hosts []string `json:"hosts"`
	// Free is when the first of them no longer counts.
	Free    time.Time `json:"free,omitzero"`
	Latched *Latch    `json:"latched,omitempty"`
	Rearmed *Rearmed  `json:"rearmed,omitempty"`
	Trips   int       `json:"-"` // since the process began
}
