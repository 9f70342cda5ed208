package lint

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// unusedLists finds lists that no expression names. Where one is misspelt, or the name
// is computed, every list may be meant.
func unusedLists(b *book) {
	lists := get(b.root, "lists")
	if lists == nil || lists.Kind != yaml.MappingNode || slices.ContainsFunc(b.found, func(f Finding) bool { return f.Code == "PB318" }) {
		return
	}
	used := map[string]bool{}
	for _, e := range b.expressions() {
		if !b.namesLists(e.src, used) {
			return
		}
	}
	for key := range registry.Pairs(lists) {
		if !used[key.Value] {
			b.add(key, "PB320", fmt.Sprintf("nothing uses the list %q", key.Value), fmt.Sprintf("ask it with in_list(%q), or take it out", key.Value))
		}
	}
}

var readsList = regexp.MustCompile(`[.$]lists\b(?:\.([a-z][a-z0-9_]*)|\["([a-z][a-z0-9_]*)"\])?`)

// namesLists adds the lists that an expression uses; false when it may be any.
func (b *book) namesLists(src string, used map[string]bool) bool {
	told := true
	for _, m := range readsList.FindAllStringSubmatch(src, -1) {
		used[m[1]+m[2]] = true
		told = told && m[1]+m[2] != ""
	}
	b.listCalls(src, func(name string, arg *gojq.Query) {
		if name != "" {
			used[name] = true
		} else if _, constant := constantOf(arg); !constant && !b.isListVariable(arg.String()) {
			told = false
		}
	})
	return told
}

// isListVariable reports whether an expression is a variable that holds a list, and so
// names none.
func (b *book) isListVariable(src string) bool {
	for _, root := range []string{".vars.", "$vars."} {
		if name, ok := strings.CutPrefix(src, root); ok {
			n := get(get(b.root, "vars"), name)
			return n != nil && n.Kind == yaml.SequenceNode
		}
	}
	return false
}

// listCalls calls found for every in_list: with the list that it names, or "".
func (b *book) listCalls(src string, found func(name string, arg *gojq.Query)) {
	if !strings.Contains(src, "in_list") {
		return
	}
	q := b.query(src)
	if q == nil {
		return
	}
	jq.Calls(q, func(f *gojq.Func) {
		if f.Name == "in_list" && len(f.Args) == 1 {
			name, _ := playbooks.ListName(f)
			found(name, f.Args[0])
		}
	})
}

// networksInLists finds networks in lists that are asked with in_list: no address is in
// them.
func networksInLists(b *book) {
	for _, e := range b.expressions() {
		b.listCalls(e.src, func(name string, arg *gojq.Query) {
			var items []any
			what, hint := "the list", "write cidr([...])"
			if name != "" && b.loaded != nil {
				items = b.loaded.List(name)
				what, hint = fmt.Sprintf("the list %q", name), fmt.Sprintf("write cidr($lists.%s), of a list with networks only", name)
			} else if list, ok := constantOf(arg); ok {
				items, _ = list.([]any)
			}
			i := slices.IndexFunc(items, isNetwork)
			if i < 0 {
				return
			}
			at := b.placeIn(e.node, e.offset+max(strings.Index(e.src, "in_list"), 0))
			b.addAt(at, "PB319", fmt.Sprintf("in_list compares texts: no address is in %q of %s", items[i], what), hint)
		})
	}
}

func isNetwork(item any) bool {
	text, _ := item.(string)
	if !strings.Contains(text, "/") {
		return false
	}
	_, err := netip.ParsePrefix(text)
	return err == nil
}
