package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/itchyny/gojq"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
)

const maxLists = 20 // of a playbook

// namedList is one of the lists of a playbook, made to be asked often: whether a
// value is in it takes the same time for ten items and for a hundred thousand. It
// never changes.
type namedList struct {
	items []any           // in their order
	texts map[string]bool // folded
	other map[any]bool    // numbers, as float64, and true, false and null
}

func newNamedList(items []any) *namedList {
	l := &namedList{items: items, texts: make(map[string]bool, len(items)), other: map[any]bool{}}
	for _, item := range items {
		switch item := item.(type) {
		case string:
			l.texts[folded(item)] = true
		default:
			l.other[plainKey(item)] = true
		}
	}
	return l
}

// has reports whether a value is in the list, by the same measure as in_list with the
// items written out: texts without regard to case, and a text never equals a number.
func (l *namedList) has(v any) bool {
	switch v := v.(type) {
	case string:
		return l.texts[folded(v)]
	case []any, map[string]any:
		return false
	}
	return l.other[plainKey(v)]
}

// plainKey makes one key of the number types of jq.
func plainKey(v any) any {
	if f, ok := gojq.ToFloat64(v); ok {
		return f
	}
	return v
}

// folded is the same for all texts that strings.EqualFold takes for equal, and for no
// others: each letter stands for the first of those that differ in case only.
func folded(text string) string {
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf || 'a' <= c && c <= 'z' {
			return strings.Map(firstOfCase, text)
		}
	}
	return text
}

func firstOfCase(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return r - 'a' + 'A'
	case r < utf8.RuneSelf:
		return r
	}
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return first
}

// namedLists are the lists of a playbook.
type namedLists struct {
	byName map[string]*namedList
	values map[string]any // their items, as expressions see them: .lists and $lists
}

func (l *namedLists) add(name string, list *namedList) {
	if l.byName == nil {
		l.byName, l.values = map[string]*namedList{}, map[string]any{}
	}
	l.byName[name], l.values[name] = list, list.items
}

// find is for a name that an expression comes to only when it is evaluated.
func (l *namedLists) find(name string) (*namedList, error) {
	if found := l.byName[name]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("in_list: the playbook has no list %s", gojq.Preview(name))
}

func (l *loader) world() world { return world{l.now, &l.pb.lists} }

// lists reads what stands under lists: each a list of plain values, or {file: name}.
// A list with mistakes counts as known, so that they are told once.
func (l *loader) lists(n *yaml.Node) {
	if n.Kind == 0 || n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.wrong(n, "a mapping of names to lists, or to {file: name}")
		return
	}
	if len(n.Content)/2 > maxLists {
		l.problems.Addf(l.at(n), "too-many", "", "%d lists, the limit is %d", len(n.Content)/2, maxLists)
		return
	}
	for key, value := range registry.Pairs(n) {
		switch {
		case !stepName.MatchString(key.Value):
			l.problems.Addf(l.at(key), "name", "small letters, digits and _, a letter first", "%q is no name for a list", key.Value)
		case l.pb.lists.byName[key.Value] != nil:
			l.problems.Addf(l.at(key), "repeated-key", "", "%q stands here twice", key.Value)
		}
		l.pb.lists.add(key.Value, newNamedList(l.listItems(value)))
	}
}

func (l *loader) listItems(n *yaml.Node) []any {
	items := []any{}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				l.problems.Addf(l.at(item), "list", "", "an item of a list is a text, a number, true, false or null")
				continue
			}
			if strings.Contains(item.Value, "${{") {
				l.problems.Addf(l.at(item), "list", "a list is the same for every alert; take enrich for what is not", "expressions are not evaluated in a list")
				continue
			}
			var v any
			l.problems = append(l.problems, registry.Decode(l.file, item, &v)...)
			items = append(items, v)
		}
	case yaml.MappingNode:
		var doc listDocument
		problems := registry.Decode(l.file, n, &doc)
		if l.problems = append(l.problems, problems...); len(problems) > 0 {
			return items
		}
		file := l.files.open(doc.File.Value)
		if file.err != nil {
			l.problems.Addf(doc.File.At, "list-file", file.hint, "%v", file.err)
		}
		for _, text := range file.items {
			items = append(items, text)
		}
	default:
		l.wrong(n, "a list, or {file: name}")
	}
	return items
}

// List are the items of a list; nil when there is none of that name. They may not be
// changed.
func (p *Playbook) List(name string) []any {
	if list := p.lists.byName[name]; list != nil {
		return list.items
	}
	return nil
}

// listNames checks the lists that an expression names.
func (l *loader) listNames(e *expr, n *yaml.Node, offset int) {
	if !strings.Contains(e.String(), listFunction) || strings.Contains(e.String(), "def "+listFunction) {
		return
	}
	q, err := gojq.Parse(e.String())
	if err != nil {
		return // what compiles can be parsed
	}
	jq.Calls(q, func(f *gojq.Func) {
		name, ok := ListName(f)
		if !ok || l.pb.lists.byName[name] != nil {
			return
		}
		problem := registry.Problem{
			Position: l.source.place(l.file, n, offset+listOffset(e.String(), name)), Code: "unknown-list",
			Message: fmt.Sprintf("there is no list %q under lists", name), Hint: nearHint(name, sortedNames(l.pb.lists.byName)),
		}
		if len(l.pb.lists.byName) == 0 {
			problem.Hint = fmt.Sprintf("write it under lists, or the items themselves: %s([...])", listFunction)
		}
		if !slices.Contains(l.problems, problem) {
			l.problems = append(l.problems, problem)
		}
	})
}

const listFunction = "in_list"

// ListName is the list that a call of in_list names. It is not known when the name
// is computed, or the items stand in the call.
func ListName(f *gojq.Func) (name string, known bool) {
	if f.Name != listFunction || len(f.Args) != 1 {
		return "", false
	}
	t := f.Args[0].Term
	for t != nil && t.Type == gojq.TermTypeQuery && len(t.SuffixList) == 0 {
		t = t.Query.Term
	}
	if t == nil || t.Type != gojq.TermTypeString || t.Str.Queries != nil || len(t.SuffixList) > 0 {
		return "", false
	}
	return t.Str.Str, true
}

// listOffset finds where a list is named, right behind a call; 0 when it is written
// with escapes.
func listOffset(src, name string) int {
	for from := 0; ; {
		i := strings.Index(src[from:], listFunction)
		if i < 0 {
			return 0
		}
		from += i + len(listFunction)
		at := from + len(src[from:]) - len(strings.TrimLeft(src[from:], " \t\r\n("))
		if strings.HasPrefix(src[at:], `"`+name+`"`) {
			return at
		}
	}
}
