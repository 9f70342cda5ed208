package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// vague are fields that say how bad an alert is and not what it is about.
var vague = []string{"alert.severity", "alert.severity_text", "alert.status", "alert.verdict", "alert.server", "alert.backfill", "alert.event_count"}

var readsPath = regexp.MustCompile(`\.(alert|host|enrich)\b((?:\.[a-z_]+)*)`)

// narrows reports whether an expression looks at what happened, or where.
func narrows(src string) bool {
	for _, m := range readsPath.FindAllStringSubmatch(src, -1) {
		if !slices.Contains(vague, m[1]+m[2]) {
			return true
		}
	}
	return false
}

// scopes finds actions on endpoints that any alert sets off.
func scopes(b *book) {
	if !b.enforces() || b.startedByHand() {
		return
	}
	for _, c := range b.conditions() {
		if c.block != "none" && narrows(c.node.Value) {
			return
		}
	}
	for _, s := range b.steps {
		if !changesEndpoint(b.action(s)) || s.narrowed() {
			continue
		}
		b.add(s.do, "PB501", fmt.Sprintf("%s acts on the host of every alert: no condition says which", s.do.Value),
			"add a condition under match that looks at the host or the event, or set mode: observe")
		return // one is enough to say it
	}
}

// startedByHand reports whether no alert starts the playbook.
func (b *book) startedByHand() bool {
	on := get(b.root, "on")
	if on == nil {
		return false
	}
	byAlert := false
	scalars(on, func(n *yaml.Node) { byAlert = byAlert || strings.HasPrefix(n.Value, "alert") })
	return !byAlert
}

// narrowed reports whether a condition of a step, or of one around it, is a scope.
func (s *step) narrowed() bool {
	for ; s != nil; s = s.parent {
		for _, key := range bareKeys {
			if n := get(s.node, key); n != nil && narrows(n.Value) {
				return true
			}
		}
	}
	return false
}

const (
	contain = "host.contain"
	release = "host.release"
)

// releases is the part of PB502 that one file can tell: it marks the steps that
// contain a host and leave it so.
func releases(b *book) {
	if slices.ContainsFunc(b.steps, func(s *step) bool { return value(s.do) == release }) {
		return
	}
	for _, s := range b.steps {
		action := b.action(s)
		if value(s.do) != contain || action == nil || s.with["for"] != nil || !b.enforces() {
			continue
		}
		hint := "add a step with host.release, or a playbook that releases hosts; or say with a comment who does it: # lint:ignore PB502 ..."
		if takes(action.Spec(), "for") {
			hint = "say how long with for, or add a step with host.release"
		}
		b.add(s.do, "PB502", "the host is contained and nothing releases it again", hint)
	}
}

// unreleased takes PB502 back where another playbook of the set releases hosts by
// itself, as one that runs on a schedule does.
func unreleased(books []*book) {
	for _, b := range books {
		if b.root == nil || !b.startedByHand() || !slices.ContainsFunc(b.steps, func(s *step) bool { return value(s.do) == release }) {
			continue
		}
		for _, other := range books {
			other.found = slices.DeleteFunc(other.found, func(f Finding) bool { return f.Code == "PB502" })
		}
		return
	}
}

var killsByPID = regexp.MustCompile(`(?i)taskkill[^|;&\n]*/pid|stop-process[^|;&\n]*-id\b|\bkill(\s+-[a-z0-9]+)*\s+(\$\{\{|\$?\{?pid|[0-9]+)`)

// kills finds processes that are stopped by their number alone.
func kills(b *book) {
	for _, s := range b.steps {
		switch value(s.do) {
		case "process.kill":
			pid := s.with["pid"]
			if pid == nil || s.with["name"] != nil {
				continue
			}
			at := registry.At(b.file, s.node)
			b.found = slices.DeleteFunc(b.found, func(f Finding) bool { return f.Code == "PB403" && f.Position == at })
			b.add(pid, "PB503", "a process is stopped by its number alone", "add name: the number may belong to another process by now")
			b.found[len(b.found)-1].engine = true
		case "script.run":
			content := s.with["content"]
			if content == nil || content.Kind != yaml.ScalarNode {
				continue
			}
			if m := killsByPID.FindStringIndex(content.Value); m != nil {
				b.addAt(b.placeIn(content, m[0]), "PB503", "the script stops a process by its number alone", "use process.kill, which looks at the name too")
			}
		}
	}
}
