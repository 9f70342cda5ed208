package lint

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// unreadable reports what keeps the file from being read as YAML, at the place of
// the cause: the library knows the line at best, and of some mistakes only the line
// where they came to light.
func (b *book) unreadable() bool {
	data := b.text.data
	if bytes.HasPrefix(data, []byte(byteOrderMark)) {
		b.addAt(registry.Position{File: b.file, Line: 1, Column: 1}, "PB110", "the file begins with a byte order mark",
			"save it as UTF-8 without one", edit{0, len(byteOrderMark), ""})
	}
	if at, message := wrongCharacter(data); message != "" {
		b.addAt(b.text.place(b.file, at), "PB103", message, "save the file as UTF-8")
		return true
	}
	_, problems := registry.Parse(b.file, data)
	for _, p := range problems {
		if p.Code == "yaml" {
			b.syntax(p)
		} else {
			b.problem(p)
		}
	}
	return problems != nil
}

// wrongCharacter finds the first byte that no YAML file may hold (YAML 1.2.2,
// section 5.1).
func wrongCharacter(data []byte) (offset int, message string) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0, "the file is UTF-16, not UTF-8"
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, "this is not UTF-8"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f, r > 0x7f && r < 0xa0 && r != 0x85:
			return i, "control characters may not stand in a file"
		}
		i += size
	}
	return 0, ""
}

// syntax finds the cause of a problem that the YAML library reports.
func (b *book) syntax(p registry.Problem) {
	if at, edits := b.tabs(); edits != nil {
		b.addAt(at, "PB102", "a tab stands in the indentation", "indent with blanks", edits...)
		return
	}
	if line := b.secondDocument(); line > 0 && firstDocumentReads(b.text.data) {
		b.addAt(registry.Position{File: b.file, Line: line, Column: 1}, "PB105", "a second document begins here", "put each playbook into a file of its own")
		return
	}
	at := p.Position
	// yaml.v3 counts lines from 0 in what its parser says, and from 1 in what its
	// scanner says; the parser's texts all begin like this.
	if strings.Contains(p.Message, ": did not find expected ") && at.Line < len(b.text.lines) {
		at.Line++
	}
	for at.Line > 1 && strings.TrimSpace(b.text.line(at.Line)) == "" {
		at.Line--
	}
	at.Column = 1 + len(b.text.line(at.Line)) - len(strings.TrimLeft(b.text.line(at.Line), " "))
	b.addAt(at, "PB101", p.Message, p.Hint)
}

var leadingTab = regexp.MustCompile(`(?m)^ *\t[ \t]*`)

// tabs tells whether tabs in the indentation are the cause: without them, the file
// can be read.
func (b *book) tabs() (at registry.Position, edits []edit) {
	for _, m := range leadingTab.FindAllIndex(b.text.data, -1) {
		indentation := b.text.data[m[0]:m[1]]
		if edits == nil {
			at = b.text.place(b.file, m[0]+bytes.IndexByte(indentation, '\t'))
		}
		edits = append(edits, edit{m[0], m[1], strings.ReplaceAll(string(indentation), "\t", "  ")})
	}
	if edits == nil {
		return at, nil
	}
	if _, problems := registry.Parse(b.file, apply(b.text.data, edits)); problems == nil {
		return at, edits
	}
	// Some other number of blanks may be meant; that the tab is wrong is clear all
	// the same when what stands before it can be read.
	if _, problems := registry.Parse(b.file, b.text.data[:b.text.starts[at.Line-1]]); problems == nil {
		return at, []edit{}
	}
	return at, nil
}

// secondDocument is the line of the --- that begins one, or 0.
func (b *book) secondDocument() int {
	content := false
	for i, line := range b.text.lines {
		marker := line == "---" || strings.HasPrefix(line, "--- ") || line == "..."
		switch {
		case marker && content:
			return i + 1
		case marker || strings.TrimSpace(line) == "" || line[0] == '#' || line[0] == '%':
		default:
			content = true
		}
	}
	return 0
}

func firstDocumentReads(data []byte) bool {
	var doc yaml.Node
	return yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc) == nil
}
