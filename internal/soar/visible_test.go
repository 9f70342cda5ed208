package soar

import (
	"testing"
	"unicode"
)

func TestVisible(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain text", "a b\n\tc: ünï 日本", "a b\n\tc: ünï 日本"},
		{"escape and NUL", "\x1b[31mred\x00", `\x1b[31mred\x00`},
		{"DEL and C1", "a\x7fb\u009bc", `a\x7fb\x9bc`},
		{"line ends", "a\r\nb\rc", "a\nb" + `\x0d` + "c"},
		{"direction", "invoice\u202efdp.exe", "invoiceU+202Efdp.exe"},
		{"isolates", "\u2066a\u2069", "U+2066aU+2069"},
		{"no width", "a\u200bb\ufeffc\u00add", "aU+200BbU+FEFFcU+00ADd"},
		{"tags", "a\U000E0041", "aU+E0041"},
		{"joiners", "می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"},
		{"sign of a year", "\u06011447", "\u06011447"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
	} {
		if got := Visible(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The short way for ASCII is not another rule.
func TestHiddenCharacters(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) && r != '\u200c' && r != '\u200d'
		if IsHidden(r) != want {
			t.Errorf("U+%04X is hidden: %t, want %t", r, IsHidden(r), want)
		}
	}
}
