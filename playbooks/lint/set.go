package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// set is what is checked together.
type set struct {
	books []*book
	// others are known and not reported on. They are read only when one of the books
	// calls a playbook.
	others []*book
}

// called finds the playbook that a step calls, or nil.
func (s *set) called(by *step) *book {
	name := value(by.called())
	if name == "" {
		return nil
	}
	for _, list := range [][]*book{s.books, s.others} {
		for _, b := range list {
			if b.root != nil && b.name() == name {
				return b
			}
		}
	}
	return nil
}

// does reports whether a step, or a step of a playbook that it calls, does what is
// asked for.
func (s *set) does(b *book, at *step, what func(*book, *step) bool) bool {
	return s.doesBelow(b, at, what, 0)
}

// maxCallDepth is more than the engine allows; calls may go in a circle here.
const maxCallDepth = 20

func (s *set) doesBelow(b *book, at *step, what func(*book, *step) bool, depth int) bool {
	if what(b, at) {
		return true
	}
	callee := s.called(at)
	if callee == nil || depth >= maxCallDepth {
		return false
	}
	return slices.ContainsFunc(callee.steps, func(inner *step) bool { return s.doesBelow(callee, inner, what, depth+1) })
}

// repeatedNames finds playbooks of one name, of which the engine takes none.
func repeatedNames(set *set) {
	first := map[string]*book{}
	for _, b := range set.books {
		n := get(b.root, "playbook")
		if value(n) == "" {
			continue
		}
		if other := first[n.Value]; other != nil {
			b.add(n, "PB601", fmt.Sprintf("playbook %q stands in %s already", n.Value, other.file), "give one of them another name")
			b.found[len(b.found)-1].engine = true
			continue
		}
		first[n.Value] = b
	}
}

// reach is what a playbook does to which hosts.
type reach struct {
	book    *book
	actions []string            // on endpoints
	demands map[string][]string // what its conditions demand of a path
}

// overlaps finds playbooks that do the same to the same kind of host, or one the
// opposite of the other: an alert that both match sets off both.
func overlaps(set *set) {
	var all []reach
	for _, b := range set.books {
		if b.root == nil || !b.enforces() || !b.startedByAlerts() {
			continue
		}
		r := reach{book: b, demands: map[string][]string{}}
		for _, s := range b.steps {
			if a := b.action(s); changesEndpoint(a) && !slices.Contains(r.actions, s.do.Value) {
				r.actions = append(r.actions, s.do.Value)
			}
		}
		for _, c := range b.conditions() {
			if c.block != "all" {
				continue
			}
			for _, d := range demands(b.query(c.node.Value)) {
				r.demands[d.path] = d.texts
			}
		}
		if len(r.actions) > 0 {
			all = append(all, r)
		}
	}
	for i, r := range all {
		var others []string
		for _, before := range all[:i] {
			if what := r.meets(before); what != "" {
				others = append(others, fmt.Sprintf("%s (%s)", before.book.name(), what))
			}
		}
		if len(others) == 0 {
			continue
		}
		n := get(r.book.root, "playbook")
		if n == nil {
			n = r.book.root
		}
		r.book.addAt(registry.At(r.book.file, n), "PB602", fmt.Sprintf("%s acts on the same kind of host as %s", r.book.name(), strings.Join(others, ", ")),
			"tell them apart by a condition, or make one playbook of them")
	}
}

// meets says what two playbooks both do to one host; empty when no alert matches
// both, as far as can be told, or they do different things.
func (r reach) meets(other reach) string {
	for _, path := range slices.Sorted(maps.Keys(r.demands)) {
		texts, both := other.demands[path]
		if both && !slices.ContainsFunc(r.demands[path], func(t string) bool {
			return slices.ContainsFunc(texts, func(u string) bool { return strings.EqualFold(t, u) })
		}) {
			return ""
		}
	}
	var what []string
	for _, name := range r.actions {
		inverse := r.book.actions[name].Spec().Inverse
		switch {
		case slices.Contains(other.actions, name):
			what = append(what, "both "+name)
		case inverse != "" && slices.Contains(other.actions, inverse):
			what = append(what, inverse+" against "+name)
		}
	}
	return strings.Join(what, ", ")
}

// link resolves calls between playbooks. A call of a playbook that has mistakes of
// its own is no mistake.
func (s *set) link(known []File, actions map[string]playbooks.Action) {
	calls := slices.ContainsFunc(s.books, func(b *book) bool {
		return slices.ContainsFunc(b.steps, func(s *step) bool { return s.called() != nil })
	})
	if !calls {
		return
	}
	byFile, refused := map[string]*book{}, map[string]bool{}
	for _, b := range s.books {
		byFile[b.file] = b
	}
	for _, f := range known {
		if byFile[f.Name] == nil {
			s.others = append(s.others, read(f, actions))
		}
	}
	loaded := func(books []*book) (all []*playbooks.Playbook) {
		for _, b := range books {
			if b.loaded != nil {
				all = append(all, b.loaded)
			} else {
				refused[b.name()] = true
			}
		}
		return all
	}
	for _, p := range playbooks.Link(loaded(s.books), loaded(s.others)...) {
		if b := byFile[p.File]; b != nil && (p.Code != "unknown-playbook" || !refused[b.text.word(p.Position)]) {
			b.problem(p)
		}
	}
}
