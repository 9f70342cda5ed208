package lint

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// edit puts text in place of some bytes of a file; all else stays as it is.
type edit struct {
	start, end int
	text       string
}

// apply carries out edits. Of two that meet, the first counts.
func apply(data []byte, edits []edit) []byte {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out bytes.Buffer
	from := 0
	for _, e := range edits {
		if e.start < from {
			continue
		}
		out.Write(data[from:e.start])
		out.WriteString(e.text)
		from = e.end
	}
	out.Write(data[from:])
	return out.Bytes()
}

// maxFixRounds bounds how often a corrected file is looked at again: one mistake
// can hide another.
const maxFixRounds = 10

// Fix corrects what can be corrected without knowing what is meant: misspelt keys,
// missing quotes, tabs, ${{ }} in the wrong place, comments that suppress nothing.
// It returns the files that changed. A file that would become worse stays as it is.
func Fix(files, known []File, actions map[string]playbooks.Action) []File {
	current := slices.Clone(files)
	before := countByFile(Run(files, known, actions))
	for range maxFixRounds {
		edits := map[string][]edit{}
		for _, f := range Run(current, known, actions) {
			edits[f.File] = append(edits[f.File], f.edits...)
		}
		changed := false
		for i, f := range current {
			if fixed := apply(f.Data, edits[f.Name]); !bytes.Equal(fixed, f.Data) {
				current[i].Data, changed = fixed, true
			}
		}
		if !changed {
			break
		}
	}
	after := countByFile(Run(current, known, actions))
	var changed []File
	for i, f := range current {
		if !bytes.Equal(f.Data, files[i].Data) && (after[f.Name] < before[f.Name] || readable(f.Data) && !readable(files[i].Data)) {
			changed = append(changed, f)
		}
	}
	return changed
}

func readable(data []byte) bool {
	_, problems := registry.Parse("", data)
	return problems == nil
}

func countByFile(findings []Finding) map[string]int {
	n := map[string]int{}
	for _, f := range findings {
		n[f.File]++
	}
	return n
}

var technique = regexp.MustCompile(`^t\d{4}(\.\d{3})?$`)

// mechanical is the correction of a problem of the loader, where it needs no
// thought.
func (b *book) mechanical(p registry.Problem) []edit {
	if b.root == nil {
		return nil
	}
	switch p.Code {
	case "unknown-key", "unknown-argument":
		mapping, key := b.keyAt(p.Position)
		if p.Instead == "" || key == nil || get(mapping, p.Instead) != nil {
			return nil
		}
		if start, end, ok := b.text.scalar(key); ok {
			return []edit{{start, end, p.Instead}}
		}
	case "wrong-type", "argument-type":
		n := b.scalarAt(p.Position)
		if p.Instead == "" || n == nil || n.Style != 0 || n.Tag == "!!null" { // who left a text out meant none
			return nil
		}
		if start, end, ok := b.text.scalar(n); ok { // as it is written: 007 stays 007
			return []edit{{start, end, `"` + n.Value + `"`}}
		}
	case "technique":
		n := b.scalarAt(p.Position)
		if n == nil || !technique.MatchString(n.Value) {
			return nil
		}
		if start, end, ok := b.text.scalar(n); ok {
			return []edit{{start, end, strings.ToUpper(string(b.text.data[start:end]))}}
		}
	}
	return nil
}

// keyAt finds the key that stands at a place, or whose value does.
func (b *book) keyAt(at registry.Position) (mapping, key *yaml.Node) {
	b.readPlaces()
	e := b.entries[[2]int{at.Line, at.Column}]
	return e.mapping, e.key
}

func (b *book) scalarAt(at registry.Position) *yaml.Node {
	b.readPlaces()
	return b.scalars[[2]int{at.Line, at.Column}]
}

// entry is a key in its mapping.
type entry struct{ mapping, key *yaml.Node }

// readPlaces notes what stands where, by line and column.
func (b *book) readPlaces() {
	if b.entries != nil || b.root == nil {
		return
	}
	b.entries, b.scalars = map[[2]int]entry{}, map[[2]int]*yaml.Node{}
	walk(b.root, func(n *yaml.Node) {
		switch n.Kind {
		case yaml.ScalarNode:
			b.scalars[[2]int{n.Line, n.Column}] = n
		case yaml.MappingNode:
			for k, value := range registry.Pairs(n) {
				for _, c := range []*yaml.Node{k, value} {
					if at := [2]int{c.Line, c.Column}; b.entries[at].key == nil {
						b.entries[at] = entry{n, k}
					}
				}
			}
		}
	})
}

func walk(n *yaml.Node, f func(*yaml.Node)) {
	f(n)
	for _, c := range n.Content {
		walk(c, f)
	}
}

var plainSafe = regexp.MustCompile(`^\.[A-Za-z_][A-Za-z0-9_.]*$`)

// replace puts another text in place of a scalar, in a form that is right wherever
// it stands.
func (b *book) replace(n *yaml.Node, text string) []edit {
	start, end, ok := b.text.scalar(n)
	switch {
	case !ok:
		return nil
	case plainSafe.MatchString(text):
	case !strings.ContainsAny(text, "\"\\\n"):
		text = `"` + text + `"`
	case !strings.Contains(text, "\n"):
		text = "'" + strings.ReplaceAll(text, "'", "''") + "'"
	default:
		return nil
	}
	return []edit{{start, end, text}}
}
