package lint

import (
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// text is the file, for places and comments: nodes know lines and columns, edits
// need bytes.
type text struct {
	data   []byte
	whole  string
	lines  []string // without their ends
	starts []int    // offset of each line
	last   struct { // the place that was asked for last, since the next is often near
		at     registry.Position
		offset int
	}
}

const byteOrderMark = "\uFEFF"

func newText(data []byte) *text {
	t := &text{data: data, whole: string(data)}
	from := 0
	for line := range strings.SplitSeq(t.whole, "\n") {
		t.starts, t.lines = append(t.starts, from), append(t.lines, strings.TrimSuffix(line, "\r"))
		from += len(line) + 1
	}
	return t
}

// line is a line of the file; lines count from 1.
func (t *text) line(n int) string {
	if n < 1 || n > len(t.lines) {
		return ""
	}
	return strings.TrimPrefix(t.lines[n-1], byteOrderMark)
}

// offset is the byte at which a place stands. Columns count characters, and a byte
// order mark is none.
func (t *text) offset(at registry.Position) int {
	if at.Line < 1 || at.Line > len(t.lines) {
		return len(t.data)
	}
	line, offset, column := t.lines[at.Line-1], t.starts[at.Line-1], 1
	if rest, found := strings.CutPrefix(line, byteOrderMark); found {
		line, offset = rest, offset+len(byteOrderMark)
	}
	if t.last.at.Line == at.Line && t.last.at.Column <= at.Column {
		line, offset, column = line[t.last.offset-offset:], t.last.offset, t.last.at.Column
	}
	for ; column < at.Column && line != ""; column++ {
		_, size := utf8.DecodeRuneInString(line)
		line, offset = line[size:], offset+size
	}
	t.last.at, t.last.offset = registry.Position{Line: at.Line, Column: column}, offset
	return offset
}

// place is the inverse of offset.
func (t *text) place(file string, offset int) registry.Position {
	n, found := slices.BinarySearch(t.starts, offset)
	if !found {
		n--
	}
	before := strings.TrimPrefix(t.whole[t.starts[n]:min(offset, len(t.whole))], byteOrderMark)
	return registry.Position{File: file, Line: n + 1, Column: utf8.RuneCountInString(before) + 1}
}

// word is the name that stands at a place, without a dot before it.
func (t *text) word(at registry.Position) string {
	rest := strings.TrimPrefix(t.whole[min(t.offset(at), len(t.whole)):], ".")
	end := strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		return rest
	}
	return rest[:end]
}

// scalar is where a scalar that stands on one line begins and ends, quotes
// included; ok is false for those over several lines.
func (t *text) scalar(n *yaml.Node) (start, end int, ok bool) {
	start = t.offset(registry.At("", n))
	if n.Kind != yaml.ScalarNode || n.Line < 1 || n.Line > len(t.lines) || n.Anchor != "" {
		return 0, 0, false
	}
	limit := t.starts[n.Line-1] + len(t.lines[n.Line-1])
	rest := t.whole[start:limit]
	switch n.Style {
	case 0, yaml.TaggedStyle:
		if strings.HasPrefix(rest, n.Value) && n.Style == 0 {
			return start, start + len(n.Value), true
		}
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		if length := quotedLength(rest); length > 0 {
			return start, start + length, true
		}
	}
	return 0, 0, false
}

// quotedLength is the length of the quoted scalar that text begins with, or 0 when
// it does not end there.
func quotedLength(text string) int {
	if text == "" {
		return 0
	}
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] != quote:
		case quote == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
		default:
			return i + 1
		}
	}
	return 0
}
