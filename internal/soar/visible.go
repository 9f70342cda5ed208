package soar

import (
	"fmt"
	"strings"
	"unicode"
)

// IsHidden reports whether a character acts on a text instead of standing in it:
// control characters, which terminals obey, and format characters (Unicode
// category Cf), which turn the direction of writing or have no width. With U+202E
// "cod.exe" reads as "exe.doc". The joiners U+200C and U+200D, without which some
// scripts cannot be written, and the signs that enclose digits are not hidden.
func IsHidden(r rune) bool {
	switch {
	case ' ' <= r && r <= '~': // nearly all that is asked about
		return false
	case unicode.IsControl(r):
		return true
	case r == '\u200c' || r == '\u200d' || unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return unicode.Is(unicode.Cf, r)
}

// Visible is a text for people, in which hidden characters are spelled out: \x1b
// for control characters and U+202E for the others. Line feeds and tabs stay as
// they are, the two characters that end a line elsewhere become one line feed, and
// what is not UTF-8 becomes U+FFFD.
func Visible(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	if !strings.ContainsFunc(text, spelledOut) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !spelledOut(r):
			b.WriteRune(r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, "%U", r)
		}
	}
	return b.String()
}

func spelledOut(r rune) bool { return r != '\n' && r != '\t' && IsHidden(r) }
