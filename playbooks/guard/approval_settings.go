package guard

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// ApprovalSettings say who is asked, and for how long, before a call of a playbook in
// mode approve is sent.
type ApprovalSettings struct {
	// From are the groups of approvers and the people who may decide. Without it,
	// everybody may who can run the commands of this erbridge.
	From []string `yaml:"from"`

	// Count is how many people have to agree; 1 by default. One who denies is enough to
	// deny.
	Count int `yaml:"count"`

	// Not keeps the person who started a run by hand from agreeing to its calls: requester.
	Not string `yaml:"not" enum:"requester"`

	// Expires is how long people have to answer; 30m by default.
	Expires time.Duration `yaml:"expires"`

	// OnExpiry is what silence means; deny by default. approve counts only for calls that
	// can be undone, such as host.tag; all others are denied.
	OnExpiry string `yaml:"on_expiry" enum:"deny,approve"`
}

const (
	defaultExpires = 30 * time.Minute
	// longestExpiry keeps an answer from counting that nobody remembers the question of.
	longestExpiry = 7 * 24 * time.Hour
	maxApprovers  = 20
	requesterWord = "requester"
	approveWord   = "approve"
)

// CheckQuestion looks for mistakes in the settings of an approval: those of the
// configuration, or of a step that asks. Their paths are names of settings.
func CheckQuestion(count int, expires time.Duration) (wrong []*Mistake) {
	if count < 1 || count > maxApprovers {
		wrong = append(wrong, &Mistake{Path: []string{"count"}, Words: fmt.Sprintf("must lie between 1 and %d", maxApprovers)})
	}
	if expires < time.Second || expires > longestExpiry {
		wrong = append(wrong, &Mistake{Path: []string{"expires"}, Words: "must lie between 1s and 7d"})
	}
	return wrong
}

// checkApprovals looks for mistakes in who may decide.
func (s *Settings) checkApprovals(wrong *mistakes) {
	a := &s.Approval
	for _, m := range CheckQuestion(cmp.Or(a.Count, 1), cmp.Or(a.Expires, defaultExpires)) {
		wrong.addf([]string{"approval", m.Path[0]}, "", "%s", m.Words)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Approvers)) {
		if people := s.Approvers[name]; len(people) == 0 || slices.ContainsFunc(people, func(p string) bool { return strings.TrimSpace(p) == "" }) {
			wrong.addf([]string{"approvers", name}, "list the names that people have on this machine, such as ann", "a group needs names of people")
		}
	}
	people, open := s.people(a.From)
	if need := max(a.Count, 1); !open && len(people) < need {
		wrong.addf([]string{"approval", "count"}, "ask fewer, or name more under from", "%d people have to agree, and from names %d", need, len(people))
	}
}

// people are those whom names mean: members of groups, and people themselves. open
// means that everybody is.
func (s *Settings) people(names []string) (people []string, open bool) {
	for _, name := range names {
		members, group := s.Approvers[name]
		if !group {
			members = []string{name}
		}
		for _, m := range members {
			if !slices.ContainsFunc(people, func(p string) bool { return strings.EqualFold(p, m) }) {
				people = append(people, m)
			}
		}
	}
	return people, len(names) == 0
}

// mayDecide tells why a person may not decide; nil: they may. Who started the run is
// known by name and by system user: another name does not make another person.
func (s *Settings) mayDecide(a *soar.Approval, v *soar.Vote) error {
	same := func(name string) bool { return strings.EqualFold(name, v.By) }
	people, open := s.people(a.From)
	requester, user, signed := soar.ParseSigned(a.Requester)
	switch {
	case a.NotRequester && requester != "" && same(requester):
		return fmt.Errorf("%w: %s started the run, and somebody else has to decide", ErrMayNot, v.By)
	case a.NotRequester && signed && sameUser(&user, v.User):
		return fmt.Errorf("%w: %s and %s, who started the run, are both %s; somebody else has to decide", ErrMayNot, v.By, requester, v.User)
	case open || s.AnybodyDecides || slices.ContainsFunc(people, same):
		return nil
	}
	return fmt.Errorf("%w: %s is not among those who may decide: %s", ErrMayNot, v.By, s.whom(a.From))
}

// sameUser compares users as the system knows them. Root, and whoever this process runs
// as, are not one person: where nobody logged in by name, such as in a container, all
// who can reach the socket look like them, and only their names tell them apart.
func sameUser(a, b *soar.SystemUser) bool {
	return a != nil && b != nil && a.UID == b.UID && a.UID != 0 && a.UID != int64(os.Geteuid())
}

// whom is who may decide, in words.
func (s *Settings) whom(from []string) string {
	if len(from) == 0 {
		return "everybody who can run the commands of erbridge"
	}
	words := make([]string, len(from))
	for i, name := range from {
		words[i] = name
		if members, group := s.Approvers[name]; group {
			words[i] += " (" + strings.Join(members, ", ") + ")"
		}
	}
	return strings.Join(words, ", ")
}
