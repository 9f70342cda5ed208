package actions

import (
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func TestHostActivity(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		b := newBench(t, ersim.Options{Profile: profile})
		h := b.windows()
		alert := b.raise(h, evil)
		counts := b.run("host.activity", call("count", alert, object{"host": h.Identifier})).Output.(HostActivityOutput)
		query, most := "", 0
		for name, n := range counts.Counts {
			if n > most {
				query, most = name, n
			}
		}
		if most == 0 || len(counts.Events) != 0 || counts.Partial {
			t.Fatalf("%s: counts %+v", profile, counts)
		}
		rows := b.run("host.activity", call("rows", alert, object{"host": float64(h.ID), "query": query})).Output.(HostActivityOutput)
		if len(rows.Events) != most || rows.Partial || rows.Events[0].Time.IsZero() || len(rows.Events[0].Columns) == 0 || rows.FoundNothing() {
			t.Errorf("%s: %d rows of %s, want %d: %+v", profile, len(rows.Events), query, most, rows.Events[:1])
		}
		if most > 1 {
			if some := b.run("host.activity", call("rows", alert, object{"host": h.Identifier, "query": query, "limit": float64(most - 1)})).Output.(HostActivityOutput); len(some.Events) != most-1 || !some.Partial {
				t.Errorf("%s: a limit of %d: %d rows, partial %t", profile, most-1, len(some.Events), some.Partial)
			}
		}
		none := b.run("host.activity", call("none", alert, object{"host": h.Identifier, "query": query, "search": "no such text \\%_"})).Output.(HostActivityOutput)
		if !none.FoundNothing() {
			t.Errorf("%s: found %+v", profile, none)
		}
		_, err := b.actions["host.activity"].Do(t.Context(), call("x", alert, object{"host": "NOBODY"}))
		if err == nil || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s: activity of nobody: %v", profile, err)
		}
	}
}

func TestHostActivityRefuses(t *testing.T) {
	b := newBench(t, ersim.Options{})
	h := b.windows()
	for _, tt := range []struct {
		with object
		want string
	}{
		{object{"host": h.Identifier, "search": "x"}, "search: chooses among the rows of a query"},
		{object{"host": h.Identifier, "query": "q", "column": "path"}, "values: column and values go together"},
		{object{"host": h.Identifier, "query": "q", "limit": 1001.0}, "limit: expected a whole number from 1 to 1000"},
		{object{"host": h.Identifier, "query": "it's"}, "apostrophe"},
		{object{"host": "", "query": "q"}, "host: is empty"},
	} {
		_, err := b.actions["host.activity"].Do(t.Context(), call("x", soar.Alert{}, tt.with))
		if err == nil || errors.Is(err, playbooks.ErrTransient) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.with, err)
		}
	}
}
