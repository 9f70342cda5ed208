package lint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// However much is wrong with a file, what is said of it is bounded, and that more is
// wrong is said too.
func TestManyFindings(t *testing.T) {
	const most = 1000
	var text strings.Builder
	text.WriteString("playbook: p\nsteps:\n  - {do: alert.note, with: {text: seen}}\n")
	for i := range 3 * most {
		fmt.Fprintf(&text, "k%d: 1\n", i)
	}
	findings := lintOne(text.String())
	if len(findings) != most+1 || findings[0].Code != "PB208" || findings[0].Line != 1 {
		t.Fatalf("%d findings, the first is %v", len(findings), findings[0])
	}
	if got := slices.Compact(codes(findings[1:])); !slices.Equal(got, []string{"PB201"}) {
		t.Errorf("codes %v", got)
	}
}

// Many comments above one step are all about it, and each of its own line is not.
func TestManyComments(t *testing.T) {
	const n = 200
	in := "playbook: p\nsteps:\n" + strings.Repeat("  # lint:ignore PB505 not yet\n", n) + "  - {if: false, do: alert.note, with: {text: \"#\"}}\n"
	if findings := lintOne(in); len(findings) > 0 {
		t.Errorf("findings %v", findings)
	}
	in += strings.Repeat("  # lint:ignore PB505 not yet\n  - {do: alert.note, with: {text: '# lint:ignore'}}\n", n/4)
	if got := codes(lintOne(in)); len(got) != n/4 || slices.ContainsFunc(got, func(code string) bool { return code != "PB702" }) {
		t.Errorf("findings %v", got)
	}
}

// Behind an expression that does not parse, nothing is known.
func TestExpressionsBehindABrokenOne(t *testing.T) {
	in := "playbook: p\nsteps:\n  - do: alert.note\n    with: {text: \"${{ .alert.status == }} ${{ .alert.status == 'x' }} " + strings.Repeat("${{ 1 ", 200) + strings.Repeat("}}", 300) + "\"}\n"
	if got := codes(lint.Run([]lint.File{{Name: "p.yaml", Data: []byte(in)}}, nil, known())); !slices.Equal(got, []string{"PB301"}) {
		t.Errorf("findings %v", got)
	}
}
