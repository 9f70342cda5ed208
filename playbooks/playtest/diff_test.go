package playtest

import (
	"slices"
	"strings"
	"testing"
)

func TestDifferenceLines(t *testing.T) {
	for _, tt := range []struct{ name, want, got, lines string }{
		{"values", `"a"`, `7`, `- "a"|+ 7`},
		{"nothing there", `"a"`, "", `- "a"|+ (nothing)`},
		{"texts of several lines", `"a\nb\nc"`, `"a\nx\nc\nd"`, "  a|- b|+ x|  c|+ d"},
		{"a line that is missing", `"a\nb"`, `"b"`, "- a|  b"},
		{"several lines and none", `"a\nb"`, "", "- a|- b|+ "},
		{"hidden characters", `"a\u001b\nb"`, `"a\nb"`, `- a\x1b|+ a|  b`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Difference{"x", tt.want, tt.got}
			if got := d.lines(); !slices.Equal(got, strings.Split(tt.lines, "|")) {
				t.Errorf("lines %q, want %q", got, tt.lines)
			}
		})
	}
}
