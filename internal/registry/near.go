package registry

import (
	"cmp"
	"slices"
	"strings"
)

// Near returns the names of among that word may be meant for, the likeliest first,
// at most limit of them: those that hold every part of word, and those that are a
// slip of the finger away. Case makes no difference.
func Near(word string, among []string, limit int) []string {
	word = strings.ToLower(word)
	parts := strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune("-_./ ", r) })
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	for _, name := range among {
		lower := strings.ToLower(name)
		far := distance(word, lower)
		holds := len(parts) > 0 && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(lower, part) })
		switch {
		case far < len(word)/3+2:
		case holds:
			far += len(word) // behind every slip
		default:
			continue
		}
		found = append(found, candidate{name, far})
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	names := make([]string, 0, min(limit, len(found)))
	for _, c := range found[:min(limit, len(found))] {
		names = append(names, c.name)
	}
	return names
}
