package format

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/erbridge/erbridge/internal/soar"
)

// Line is text of any origin on one line: hidden characters and all that some reader takes
// for the end of a line are spelled out as \n, \r, \x1b or \u202e, and what is not UTF-8
// becomes U+FFFD. Tabs stay, because templates put them between fields.
func Line(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if !strings.ContainsFunc(text, escaped) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !escaped(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func escaped(r rune) bool {
	return r != '\t' && (soar.IsHidden(r) || r == '\u2028' || r == '\u2029')
}

// Compact is plain JSON values (see soar.Plain) as JSON on one line, with the keys of
// objects in alphabetical order and hidden characters escaped.
func Compact(v any) []byte { return marshal(v) }
