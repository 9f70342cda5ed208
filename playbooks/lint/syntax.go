package lint

import (
	"bytes"
	"errors"
	"io"
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
	if at, message, hint := wrongCharacter(data); message != "" {
		b.addAt(b.text.place(b.file, at), "PB103", message, hint)
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
func wrongCharacter(data []byte) (offset int, message, hint string) {
	const save = "save the file as UTF-8"
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0, "the file is UTF-16, not UTF-8", save
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, "this is not UTF-8", save
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f, r > 0x7f && r < 0xa0 && r != 0x85:
			return i, "a control character stands here", "take it out; in double quotes, \\x07 stands for the character 7"
		}
		i += size
	}
	return 0, "", ""
}

// syntax finds the cause of a problem that the YAML library reports.
func (b *book) syntax(p registry.Problem) {
	if at, edits := b.tabs(); edits != nil {
		b.addAt(at, "PB102", "a tab stands in the indentation", "indent with blanks", edits...)
		return
	}
	if line := b.secondDocument(); line > 0 && readsAsYAML(b.text.data) {
		b.addAt(registry.Position{File: b.file, Line: line, Column: 1}, "PB105", "a second document begins here", "put each playbook into a file of its own")
		return
	}
	at := p.Position
	if found, ok := b.firstWrong(); ok {
		at = found
	} else {
		at.Column = 1 + indentOf(b.text.line(at.Line))
	}
	hint := p.Hint
	if strings.Contains(b.text.line(at.Line), "${{") {
		hint = "inside of { } and [ ], a text with ${{ }} needs quotes"
	}
	b.addAt(at, "PB101", p.Message, hint)
}

// Bounds on the search for the place of a mistake, which parses beginnings of the
// file again and again.
const (
	maxSearchBytes = 2 << 20 // in all
	maxSearchLine  = 300     // of one line
)

// firstWrong finds the place from which on the file cannot be read, whatever
// follows: yaml.v3 tells only the line where the innermost mapping or list begins.
// In large files, where that would take long, it gives up.
func (b *book) firstWrong() (registry.Position, bool) {
	data, budget := b.text.data, maxSearchBytes
	wrong := func(end int) bool {
		budget -= end
		return budget > 0 && !readsAsYAML(data[:end])
	}
	line := len(b.text.lines)
	for line > 1 && wrong(b.text.starts[line-1]) {
		line--
	}
	text, start := b.text.lines[line-1], b.text.starts[line-1]
	end := min(len(text), maxSearchLine)
	for end > 0 && wrong(start+end) {
		_, size := utf8.DecodeLastRuneInString(text[:end])
		end -= size
	}
	return b.text.place(b.file, start+max(end, indentOf(text))), budget > 0
}

// readsAsYAML reports whether the first document of a text can be read, or there
// is none.
func readsAsYAML(data []byte) bool {
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(new(yaml.Node))
	return err == nil || errors.Is(err, io.EOF)
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
