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

// scopes finds actions on endpoints that any alert sets off. The conditions of a
// playbook that is called are not asked, so those of the caller count.
func scopes(set *set) {
	for _, b := range set.books {
		if b.root == nil || !b.enforces() || !b.startedByAlerts() || b.hasScope() {
			continue
		}
		for _, s := range b.steps {
			acts := func(b *book, s *step) bool { return b.enforces() && changesEndpoint(b.action(s)) }
			if s.narrowed() || !set.does(b, s, acts) {
				continue
			}
			n := s.called()
			if n == nil {
				n = s.do
			}
			b.add(n, "PB501", fmt.Sprintf("%s acts on the host of every alert: no condition says which", n.Value),
				"add a condition under match that looks at the host or the event, or set mode: observe")
			break // one is enough to say it
		}
	}
}

// hasScope reports whether the conditions are a scope: one that must hold, or all of
// those of which one will do.
func (b *book) hasScope() bool {
	scoped, open, there := false, false, false
	for _, c := range b.conditions() {
		narrow := narrows(c.node.Value)
		switch c.block {
		case "all":
			scoped = scoped || narrow
		case "any":
			there, open = true, open || !narrow
		}
	}
	return scoped || there && !open
}

// startedBy reports whether on has a trigger that begins with a word: alert, which is
// the default, run.failed, schedule, manual.
func (b *book) startedBy(word string) (found bool) {
	on := get(b.root, "on")
	if on == nil {
		return word == "alert"
	}
	walk(on, func(n *yaml.Node) {
		found = found || n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, word)
	})
	return found
}

// startedByAlerts reports whether alerts start the playbook, or runs that failed.
func (b *book) startedByAlerts() bool { return b.startedBy("alert") || b.startedBy("run.failed") }

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

func releasesHost(_ *book, s *step) bool { return value(s.do) == release }

// releases finds steps that contain a host when nothing releases it: not the engine,
// since the step does not say for how long, not the playbook, not one that it calls, and
// none that runs by itself, on a schedule.
func releases(set *set) {
	somebody := slices.ContainsFunc(set.books, func(b *book) bool {
		return b.root != nil && b.startedBy("schedule") && slices.ContainsFunc(b.steps, func(s *step) bool { return set.does(b, s, releasesHost) })
	})
	if somebody {
		return
	}
	for _, b := range set.books {
		if b.root == nil || !b.enforces() || slices.ContainsFunc(b.steps, func(s *step) bool { return set.does(b, s, releasesHost) }) {
			continue
		}
		for _, s := range b.steps {
			action := b.action(s)
			if value(s.do) != contain || action == nil || s.with["for"] != nil {
				continue
			}
			hint := "add a step with host.release, or a playbook that releases hosts; or say with a comment who does it: # lint:ignore PB502 ..."
			if takes(action.Spec(), "for") {
				hint = "say for how long, such as for: 4h, or add a step with host.release; or say with a comment who releases it: # lint:ignore PB502 ..."
			}
			b.add(s.do, "PB502", "the host is contained and nothing releases it again", hint)
		}
	}
}

// approvals finds questions to people where silence is an agreement to what cannot be
// undone.
func approvals(b *book) {
	for i, s := range b.steps {
		action := b.action(s)
		if action == nil || action.Spec().Asks == nil || value(s.with["on_expiry"]) != "approve" {
			continue
		}
		for _, after := range b.steps[i+1:] {
			if a := b.action(after); changesEndpoint(a) && a.Spec().Inverse == "" {
				b.add(s.with["on_expiry"], "PB508", fmt.Sprintf("silence would be an agreement to %s, which cannot be undone", value(after.do)), "write on_expiry: deny")
				break
			}
		}
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
		case "script.run", "live.response":
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
