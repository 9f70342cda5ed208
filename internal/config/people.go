package config

import (
	"maps"
	"regexp"
	"slices"
)

// People are the people who decide in a chat, by the name that erbridge has for them:
// the one that guard.approvers, votes and the audit record name.
type People map[string]Person

// Person says which accounts are a person's.
type Person struct {
	// Slack is the member id of the account, such as U0123456789: in Slack, in the
	// profile, under "Copy member ID". A name or an address of mail is no proof of who
	// somebody is, since people can change theirs.
	Slack string `yaml:"slack"`
}

// Named finds the person whom an account of a chat belongs to.
func (p People) Named(chat, account string) (name string, ok bool) {
	if chat != "slack" || account == "" {
		return "", false
	}
	for name, person := range p {
		if person.Slack == account {
			return name, true
		}
	}
	return "", false
}

var (
	// Slack's ids of people: U, or W in an organisation of several workspaces
	// (https://docs.slack.dev/reference/objects/user-object).
	slackMember = regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`)
	personName  = regexp.MustCompile(`^[^\s()]([^()\x00-\x1f]{0,62}[^\s()])?$`)
)

// checkPeople looks for accounts that cannot be, and for those that two people have.
func (c *checker) checkPeople() {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.People)) {
		account := c.cfg.People[name].Slack
		switch {
		case !personName.MatchString(name):
			c.addf([]string{"people", name}, "bad-name", "at most 64 characters, without brackets", "%q cannot be the name of a person", name)
		case account == "":
			c.addf([]string{"people", name}, "missing", "such as slack: U0123456789", "%s has no account", name)
		case !slackMember.MatchString(account):
			c.addf([]string{"people", name, "slack"}, "bad-account", "in Slack, open the profile of the person: ⋮, Copy member ID",
				"%q is no member id of Slack, which looks like U0123456789", account)
		case owner[account] != "":
			c.addf([]string{"people", name, "slack"}, "conflict", "", "%s is the account of %s already", account, owner[account])
		default:
			owner[account] = name
		}
	}
}
