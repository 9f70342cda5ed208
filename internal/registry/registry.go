// Package registry ties the names that users write in YAML to Go code. It holds
// the named kinds (sinks, actions), decodes their settings strictly and with
// positions, and derives JSON Schema from the same Go types.
package registry

import (
	"fmt"
	"slices"
	"strings"
)

// Set is a table of named kinds. Fill it from init functions; afterwards it is
// read-only and safe for concurrent use.
type Set[T any] struct {
	what  string
	kinds map[string]T
}

// NewSet makes a table; what is the word for one entry, such as "sink type".
func NewSet[T any](what string) *Set[T] { return &Set[T]{what: what, kinds: map[string]T{}} }

// Add registers a kind. A second kind of the same name is a programming error.
func (s *Set[T]) Add(name string, kind T) {
	if _, dup := s.kinds[name]; dup {
		panic(fmt.Sprintf("registry: %s %q registered twice", s.what, name))
	}
	s.kinds[name] = kind
}

// Get finds a kind by name.
func (s *Set[T]) Get(name string) (T, bool) {
	kind, ok := s.kinds[name]
	return kind, ok
}

// Names lists the kinds in alphabetical order.
func (s *Set[T]) Names() []string {
	names := make([]string, 0, len(s.kinds))
	for name := range s.kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Unknown is the problem for a name that is not in the table, with the nearest
// names as a hint.
func (s *Set[T]) Unknown(at Position, name string) Problem {
	return Unknown(at, s.what, name, s.Names())
}

// Unknown is the problem for a word that is not among those allowed.
func Unknown(at Position, what, word string, allowed []string) Problem {
	p := Problem{Position: at, Code: "unknown-name", Message: fmt.Sprintf("unknown %s %q", what, word)}
	if near := Nearest(word, allowed); near != "" {
		p.Hint, p.Instead = fmt.Sprintf("did you mean %q?", near), near
	} else if len(allowed) > 0 && len(allowed) <= 40 {
		p.Hint = "known: " + strings.Join(allowed, ", ")
	}
	return p
}

// Nearest returns the word of among that is closest to word, or "" when none is
// close enough to be a likely slip.
func Nearest(word string, among []string) string {
	best, bestDistance := "", len(word)/3+2
	for _, candidate := range among {
		if d := distance(strings.ToLower(word), candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: insertions, deletions,
// replacements and swaps of neighbours cost one each.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
