package actions

import (
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// Of a host with more rows than fit, those that fit are kept, and the summary says so.
func TestLiveQueryClipsRows(t *testing.T) {
	b := newBench(t, ersim.Options{})
	long := strings.Repeat("x", 60<<10)
	call := playbooks.Call{With: map[string]any{
		"hosts": []any{b.windows().Identifier}, "sql": "select name, '" + long + "' as long from processes",
	}}
	out := b.run("live.query", call)
	got := out.Output.(LiveQueryOutput)
	if out.State != soar.StepExecuted || !got.Partial || len(got.Rows) != 4 || got.Hosts[0].Rows != 4 || !strings.Contains(out.Summary, "with 4 rows; more rows were left out, since all of them have more than 256 KiB") {
		t.Errorf("%s: %d rows, partial %t: %s", out.State, len(got.Rows), got.Partial, out.Summary)
	}
}
