package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// suppression is a comment: # lint:ignore CODE[,CODE] reason. Behind something, it
// is about its line; on a line of its own, about what begins on the next.
type suppression struct {
	at         registry.Position
	codes      []string
	reason     string
	from, to   int // lines, both included
	start, end int // bytes of the comment
	alone      bool
	used       bool
}

var ignoreComment = regexp.MustCompile(`(?m)(^|[ \t])(#[ \t]*lint:ignore\b)([^\r\n]*)`)

func (b *book) suppressions() []*suppression {
	if b.root == nil || !bytes.Contains(b.text.data, []byte("lint:ignore")) {
		return nil
	}
	var all []*suppression
	texts := b.quotedRanges()
	for _, m := range ignoreComment.FindAllSubmatchIndex(b.text.data, -1) {
		start, end := m[4], m[7]
		i := sort.Search(len(texts), func(i int) bool { return start < texts[i][1] })
		if i < len(texts) && texts[i][0] <= start {
			continue
		}
		s := &suppression{at: b.text.place(b.file, start), start: start, end: end}
		words := strings.Fields(string(b.text.data[m[6]:m[7]]))
		if len(words) > 0 {
			s.codes, s.reason = strings.Split(strings.Trim(words[0], ","), ","), strings.Join(words[1:], " ")
		}
		line := b.text.lines[s.at.Line-1]
		s.from, s.to = s.at.Line, s.at.Line
		if s.alone = strings.HasPrefix(strings.TrimLeft(line, " \t"), "#"); s.alone {
			s.from, s.to = b.blockAfter(s.at.Line)
		}
		all = append(all, s)
	}
	return all
}

// blockAfter finds what begins below a line: the lines of a key and its value, or
// of an item of a list.
func (b *book) blockAfter(line int) (from, to int) {
	blank := func(n int) bool {
		trimmed := strings.TrimSpace(b.text.lines[n-1])
		return trimmed == "" || trimmed[0] == '#'
	}
	last := len(b.text.lines)
	for from = max(line+1, b.below); from <= last && blank(from); {
		from++
	}
	b.below = from
	if from > last {
		return line, line
	}
	if known, ok := b.blocks[from]; ok { // of the comment above
		return known[0], known[1]
	}
	defer func() { b.blocks[from] = [2]int{from, to} }()
	first := b.text.line(from)
	indent, item := indentOf(first), strings.HasPrefix(strings.TrimSpace(first), "- ")
	to = from
	for n := from + 1; n <= last; n++ {
		text := b.text.lines[n-1]
		ofList := !item && indentOf(text) == indent && strings.HasPrefix(strings.TrimSpace(text), "- ")
		if !blank(n) && indentOf(text) <= indent && !ofList {
			break
		}
		to = n
	}
	return from, to
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// quotedRanges are the bytes in which a # is no comment.
func (b *book) quotedRanges() [][2]int {
	var ranges [][2]int
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for _, c := range n.Content {
			walk(c)
		}
		if n.Kind != yaml.ScalarNode {
			return
		}
		start := b.text.offset(registry.At("", n))
		switch n.Style &^ yaml.TaggedStyle {
		case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
			ranges = append(ranges, [2]int{start, start + quotedLength(b.text.whole[min(start, len(b.text.whole)):])})
		case yaml.LiteralStyle, yaml.FoldedStyle:
			from, indent := n.Line, -1 // the line below the one with | or >
			to := from
			for ; to < len(b.text.lines); to++ {
				line := b.text.lines[to]
				if strings.TrimSpace(line) == "" {
					continue
				}
				if indent < 0 {
					indent = indentOf(line)
				}
				if indentOf(line) < indent {
					break
				}
			}
			if from < len(b.text.starts) && indent > 0 {
				end := len(b.text.data)
				if to < len(b.text.starts) {
					end = b.text.starts[to]
				}
				ranges = append(ranges, [2]int{b.text.starts[from], end})
			}
		}
	}
	walk(b.root)
	return ranges
}

// suppress takes out the findings that comments are about, and reports comments
// that are of no use. What the engine refuses cannot be suppressed.
func (b *book) suppress() {
	all := b.suppressions()
	valid := slices.DeleteFunc(slices.Clone(all), func(s *suppression) bool { return !b.wellFormed(s) })
	b.found = slices.DeleteFunc(b.found, func(f Finding) bool {
		if f.engine {
			return false
		}
		taken := false
		for _, s := range valid {
			if s.from <= f.Line && f.Line <= s.to && slices.Contains(s.codes, f.Code) {
				s.used, taken = true, true
			}
		}
		return taken
	})
	refused := slices.DeleteFunc(slices.Clone(b.found), func(f Finding) bool { return !f.engine })
	for _, s := range valid {
		if s.used || slices.ContainsFunc(s.codes, ofSet) {
			continue
		}
		hint := "take the comment out"
		if slices.ContainsFunc(refused, func(f Finding) bool {
			return s.from <= f.Line && f.Line <= s.to && slices.Contains(s.codes, f.Code)
		}) {
			hint = "the engine refuses the playbook for this; correct it"
		}
		b.addAt(s.at, "PB702", fmt.Sprintf("nothing here gives %s", strings.Join(s.codes, " or ")), hint, b.withoutComment(s))
	}
}

// ofSet reports whether a code depends on which other playbooks are looked at.
func ofSet(code string) bool {
	rule, _ := Lookup(code)
	return rule.OfSet
}

// wellFormed reports whether a comment names known codes and a reason.
func (b *book) wellFormed(s *suppression) bool {
	good := true
	if len(s.codes) == 0 || s.reason == "" {
		good = false
		b.addAt(s.at, "PB701", "lint:ignore needs a code and a reason", "write # lint:ignore PB502 released by hand after the investigation")
	}
	for _, code := range s.codes {
		if _, known := Lookup(code); !known {
			good = false
			hint := ""
			if near := registry.Near(code, Codes(), 1); len(near) > 0 {
				hint = fmt.Sprintf("did you mean %s?", near[0])
			}
			b.addAt(s.at, "PB703", fmt.Sprintf("there is no code %q", short(code)), hint)
		}
	}
	return good
}

// withoutComment takes a comment out, with its line when it has one of its own.
func (b *book) withoutComment(s *suppression) edit {
	if s.alone {
		end := len(b.text.data)
		if s.at.Line < len(b.text.starts) {
			end = b.text.starts[s.at.Line]
		}
		return edit{b.text.starts[s.at.Line-1], end, ""}
	}
	start := s.start
	for start > 0 && (b.text.data[start-1] == ' ' || b.text.data[start-1] == '\t') {
		start--
	}
	return edit{start, s.end, ""}
}
