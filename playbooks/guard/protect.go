package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Protection is a rule that keeps calls away from hosts.
type Protection struct {
	// Name is what the rule is called in answers, such as domain controllers.
	Name string `yaml:"name" required:"true"`

	// Match says which hosts are protected.
	Match Match `yaml:"match" required:"true"`

	// Actions are those that are kept away, as host.contain or process.*. Empty means all
	// that change something on a host; those that only tag it or note something about it
	// are kept away where they are named here.
	Actions []string `yaml:"actions"`
}

// Group are hosts on which calls may not go further than a mode.
type Group struct {
	// Name is what the group is called in answers.
	Name string `yaml:"name" required:"true"`

	// Match says which hosts belong to it.
	Match Match `yaml:"match" required:"true"`

	// Mode is how far calls on them may go, whatever a playbook says: observe sends
	// nothing, approve asks a person first. Of all that has a say, the strictest decides.
	Mode soar.Mode `yaml:"mode" required:"true" enum:"observe,approve"`
}

// unreadAgain is how soon a host is looked at again that could not be read.
const unreadAgain = 30 * time.Second

// rules are what settings say of hosts. They do not change.
type rules struct {
	own        Own
	protected  []protection
	groups     []hostGroup
	everywhere []string
}

type protection struct {
	name    string
	actions []string
	match   matcher
}

type hostGroup struct {
	name  string
	mode  soar.Mode
	match matcher
}

// readRules reads what settings say of hosts.
func (s *Settings) readRules(wrong *mistakes) *rules {
	out := &rules{everywhere: s.Everywhere}
	for i := range s.Protected {
		p, at := &s.Protected[i], []string{"protected", fmt.Sprint(i)}
		for n, name := range p.Actions {
			if strings.TrimSpace(name) == "" {
				wrong.addf(append(slices.Clone(at), "actions", fmt.Sprint(n)), "such as host.contain or process.*", "the name of an action is empty")
			}
		}
		if strings.TrimSpace(p.Name) == "" {
			wrong.addf(at, "", "a rule needs a name, which answers tell")
		}
		out.protected = append(out.protected, protection{p.Name, p.Actions, p.Match.read(append(slices.Clone(at), "match"), wrong)})
	}
	for i := range s.Hosts {
		g, at := &s.Hosts[i], []string{"hosts", fmt.Sprint(i)}
		if strings.TrimSpace(g.Name) == "" {
			wrong.addf(at, "", "a group of hosts needs a name, which answers tell")
		}
		if g.Mode != soar.ModeObserve && g.Mode != soar.ModeApprove {
			wrong.addf(append(slices.Clone(at), "mode"), "observe or approve", "%q is no mode of a group of hosts", g.Mode)
		}
		out.groups = append(out.groups, hostGroup{g.Name, g.Mode, g.Match.read(append(slices.Clone(at), "match"), wrong)})
	}
	for i, name := range s.Everywhere {
		if strings.TrimSpace(name) == "" {
			wrong.addf([]string{"everywhere", fmt.Sprint(i)}, "such as ioc.add", "the name of an action is empty")
		}
	}
	return out
}

// judged is what the rules say of a request. It depends on nothing else, and is found
// out before the guard is locked: a condition in jq takes its time.
type judged struct {
	rules   *rules
	protect Answer
	voice   Voice // the strictest of all that have a say
}

func (t *rules) judge(r *Request) judged {
	return judged{t, t.protect(r), t.mode(r)}
}

// protect says whether a call may act on its hosts.
func (t *rules) protect(r *Request) Answer {
	if r.Everywhere && !r.Harmless && !t.allowsEverywhere(r.Action) {
		return Refuse("%s acts on all hosts at once, the protected ones too. If that is meant, list it under guard.everywhere and reload", r.Action)
	}
	var held Answer
	for i := range r.Hosts {
		h := &r.Hosts[i]
		if a := t.protectHost(r, h); !a.OK {
			if a.Until.IsZero() {
				return a // also when another host only has to be waited for
			}
			held = a
		}
	}
	switch {
	case held.Words != "":
		return held
	case len(r.Hosts) == 0 && r.Everywhere:
		return Pass("%s acts on all hosts at once, which %s", r.Action, map[bool]string{true: "does nothing to them", false: "guard.everywhere allows"}[r.Harmless])
	case len(r.Hosts) == 0:
		return Pass("%s acts on no host", r.Action)
	case r.Harmless:
		return Pass("%s does nothing to a host", r.Action)
	}
	labels := make([]string, 0, 3)
	for i := range r.Hosts {
		if i == cap(labels) {
			return Pass("%s and %d more are not protected", strings.Join(labels, ", "), len(r.Hosts)-i)
		}
		labels = append(labels, r.Hosts[i].Label())
	}
	return Pass("%s: not protected", strings.Join(labels, ", "))
}

// protectHost says whether a call may act on one host.
func (t *rules) protectHost(r *Request, h *Host) Answer {
	if rule := t.lifts(r, h); rule != "" {
		return Refuse("after this %s the rule %q would no longer hold for %s. If that is meant, a person changes its tags on the server", r.Action, rule, h.Label())
	}
	switch {
	case r.Harmless:
	case !h.Known && h.Unread:
		return Hold(r.At.Add(unreadAgain), "what host %s is cannot be read now: %s. It is asked again; until then it counts as protected", h.Label(), h.Why)
	case !h.Known:
		return Refuse("nothing is known of host %s, so it counts as protected: %s. "+
			"Look whether the server lists it under this identifier; when it does, run the playbook again", h.Label(), first(h.Why, "the server was not asked"))
	default:
		if a := t.own.judge(r, h); !a.OK {
			return a
		}
	}
	for i := range t.protected {
		p := &t.protected[i]
		if !p.about(r) {
			continue
		}
		if is, why := p.match.of(h); is != no {
			return Refuse("%s is protected from %s by the rule %q: %s. If it has to be done, a person does it on the server, or changes guard.protected",
				h.Label(), r.Action, p.name, why)
		}
	}
	return Pass("")
}

func (p *protection) about(r *Request) bool {
	if len(p.actions) == 0 {
		return !r.Harmless
	}
	return slices.ContainsFunc(p.actions, func(name string) bool { return fits(name, r.Action) })
}

func (t *rules) allowsEverywhere(action string) bool {
	return slices.ContainsFunc(t.everywhere, func(name string) bool { return fits(name, action) })
}

// lifts finds a rule that would no longer hold for a host after the call. A playbook
// that may tag hosts must not get round the guard by it.
func (t *rules) lifts(r *Request, h *Host) (rule string) {
	tags := tagsOf(r.With)
	if !r.Harmless || len(tags) == 0 {
		return ""
	}
	without := slices.DeleteFunc(slices.Clone(h.Tags), func(tag string) bool { return slices.Contains(tags, tag) })
	before, after := h.tagged(h.Tags), h.tagged(append(slices.Clone(without), tags...))
	if remove, _ := r.With["remove"].(bool); remove || strings.HasSuffix(r.Action, ".untag") {
		before, after = after, h.tagged(without)
	}
	lifted := func(m matcher) bool {
		was, _ := m.of(before)
		is, _ := m.of(after)
		return was != no && is == no
	}
	for i := range t.protected {
		if lifted(t.protected[i].match) {
			return t.protected[i].name
		}
	}
	for i := range t.groups {
		if lifted(t.groups[i].match) {
			return t.groups[i].name
		}
	}
	return ""
}

// tagsOf are the tags that a call gives or takes.
func tagsOf(with map[string]any) (tags []string) {
	list, _ := with["tags"].([]any)
	for _, v := range append([]any{with["tag"]}, list...) {
		if tag, ok := v.(string); ok && tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// tagged is the host with other tags.
func (h *Host) tagged(tags []string) *Host {
	other := *h
	other.Tags, other.Facts = tags, maps.Clone(h.Facts)
	if other.Facts == nil {
		other.Facts = map[string]any{}
	}
	list := make([]any, len(tags))
	for i, tag := range tags {
		list[i] = tag
	}
	other.Facts["tags"] = list
	return &other
}

// mode is the strictest of all that have a say in a call: those that it brings along,
// and the groups of its hosts.
func (t *rules) mode(r *Request) Voice {
	voices := r.Modes
	for n := range t.groups {
		g := &t.groups[n]
		if r.Everywhere {
			voices = append(slices.Clone(voices), Voice{g.mode, fmt.Sprintf("%s acts on all hosts, those of the group %q too", r.Action, g.name)})
		}
		for i := range r.Hosts {
			h := &r.Hosts[i]
			is, why := g.match.of(h)
			if !h.Known {
				is, why = maybe, "nothing is known of it"
			}
			if is != no {
				voices = append(slices.Clone(voices), Voice{g.mode, fmt.Sprintf("%s belongs to the hosts %q: %s", h.Label(), g.name, why)})
				break
			}
		}
	}
	return Strictest(voices)
}

// protect is the rail of protected hosts.
type protect struct{}

func (protect) name() string { return "protected hosts" }

func (protect) ask(r *Request) Answer { return r.judged.protect }
